"""Packed columns: every number comes back as it was, from few bytes where few are needed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.rollup.packed import PackedColumn

INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(
    st.lists(INT64, min_size=1, max_size=20),
    st.builds(
        lambda least, above: [min(least + number, 2**63 - 1) for number in above],
        INT64,
        st.sampled_from([2**8, 2**16, 2**32, 2**63]).flatmap(
            lambda end: st.lists(st.sampled_from([0, 1, end - 1, end]), min_size=1, max_size=20)
        ),
    ),
)


@given(NUMBERS, st.data())
def test_numbers_come_back_as_they_were(numbers: list[int], data: st.DataObject) -> None:
    column = pl.Series("n", numbers, dtype=pl.Int64)
    packed = PackedColumn.of(column)
    assert packed.all().to_list() == numbers
    places = data.draw(st.lists(st.integers(0, len(numbers) - 1)))
    taken = packed.take(np.array(places, dtype=np.int64))
    assert (taken.dtype, taken.to_list()) == (column.dtype, [numbers[place] for place in places])


@given(st.lists(st.none() | INT64, min_size=1, max_size=20))
def test_what_is_unknown_comes_back_unknown(numbers: list[int | None]) -> None:
    packed = PackedColumn.of(pl.Series(numbers, dtype=pl.Int64))
    assert (packed.all().dtype, packed.all().to_list()) == (pl.Int64, numbers)
    places = np.arange(len(numbers))[::-1].copy()
    assert packed.take(places).to_list() == numbers[::-1]


@given(NUMBERS, st.sampled_from([0, 2**64 - 1, 2**64, 2**100, -(2**100)]))
def test_money_beyond_sixty_four_bits_comes_back_as_it_was(numbers: list[int], more: int) -> None:
    wide = [*numbers, numbers[0] + more]
    packed = PackedColumn.of(pl.Series(wide, dtype=pl.Int128))
    assert (packed.all().dtype, packed.all().to_list()) == (pl.Int128, wide)


def test_times_and_days_come_back_as_they_were() -> None:
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    hours = pl.Series([noon + timedelta(hours=n) for n in (0, 5, 9_000)], dtype=pl.Datetime("ms", "UTC"))
    days = pl.Series([date(2026, 11, 28), date(1970, 1, 1)])
    for column in (hours, days):
        assert PackedColumn.of(column).all().equals(column)
        assert PackedColumn.of(column).all().dtype == column.dtype


@pytest.mark.parametrize(
    ("numbers", "size"),
    [
        *(([7, 7], 0), ([900, 1_155], 1), ([900, 1_156], 2), ([0, 65_535], 2)),
        *(([0, 65_536], 4), ([0, 2**32 - 1], 4), ([0, 2**32], 8), ([0, 2**64 - 1], 8), ([0, 2**64], 16)),
    ],
)
def test_a_number_takes_as_many_bytes_as_what_it_has_above_the_least_one(numbers: list[int], size: int) -> None:
    above = PackedColumn.of(pl.Series(numbers, dtype=pl.Int128)).above
    assert (0 if above is None else above.estimated_size() // 2) == size
