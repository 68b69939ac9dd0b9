"""Rollups: sums that no order, batch, replay or rival can change, and the offset each row has applied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.budgets.counted import Counted, Spending
from stream.decode.frame import decode
from stream.pricing import price
from stream.rollup import rows as rollup_rows
from stream.rollup.sums import (
    BUDGET_SPEND,
    DAILY,
    HOURLY,
    LEDGER,
    UNITS,
    USER_DAILY,
    ListCodes,
    Rollup,
    RollupSpec,
    by_hour,
    metered,
)
from tests.support.ingest import BOOK, Warehouse, ingest_of, run
from tests.support.properties import examples
from tests.support.records import LIMITS, log_of, wire

COLUMNS = {
    "source_partition": 0,
    "source_offset": 0,
    "occurred_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
    "provider": "openai",
    "model": "m",
    "operation": "chat",
    "feature": "f",
    "task_type": "",
    "team": "",
    "environment": "",
    "user_id": "u",
    "status": "ok",
    "cost_status": "priced",
    "price_version": "v1",
    "quantities": "",
    "counted": True,
}
NUMBERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_pico",
    "revenue_pico",
    "duration_ms",
)


def spent(*events: dict[str, Any]) -> pl.DataFrame:
    """Priced events, with only what a test is about written down."""
    rows = [COLUMNS | dict.fromkeys(NUMBERS) | {"cost_pico": 1} | event for event in events]
    return pl.DataFrame(
        rows,
        schema_overrides=dict.fromkeys(NUMBERS, pl.Int64) | {"occurred_at": pl.Datetime("ms", "UTC")},
        orient="row",
    )


def at(*offsets: int, **event: Any) -> pl.DataFrame:
    return spent(*({"source_offset": offset} | event for offset in offsets))


class Stored:
    """The rows of a table as ClickHouse would keep them: of one key, the row that has applied most."""

    def __init__(self, spec: RollupSpec) -> None:
        self.spec, self.stored, self.asked = spec, pl.DataFrame(schema=spec.schema), list[Any]()

    def insert(self, rows: pl.DataFrame) -> None:
        all_rows = pl.concat([self.stored, rows.select(self.stored.columns)]).sort("applied", maintain_order=True)
        self.stored = all_rows.unique(self.spec.by, keep="last", maintain_order=True)

    def rows(self, partitions: Sequence[int], buckets: Sequence[Any], *, limit: int) -> pl.DataFrame:
        self.asked.append((list(partitions), list(buckets)))
        return self._of(partitions, buckets).head(limit)

    def keys(self, partitions: Sequence[int], buckets: Sequence[Any]) -> Iterator[pl.DataFrame]:
        self.asked.append("keys")
        in_an_order_of_its_own = self._of(partitions, buckets).select(reversed(self.spec.by))
        yield from in_an_order_of_its_own.iter_slices(2)

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        self.asked.append(keys.height)
        return self.stored.join(keys, on=self.spec.by, how="semi")

    def _of(self, partitions: Sequence[int], buckets: Sequence[Any]) -> pl.DataFrame:
        wanted = pl.col("source_partition").is_in(list(partitions))
        return self.stored.filter(wanted & pl.col(self.spec.bucket).is_in(list(buckets)))

    def worker(self, **bounds: int) -> Rollup:
        """A rollup as after taking over."""
        rollup = Rollup(self.spec, self, **bounds)
        rollup.assign(self.stored["source_partition"].unique())
        return rollup


def cells(rows: pl.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return sorted(rows.select(*names).rows())


# --- what is summed ---------------------------------------------------------------------------------------------------


def test_both_sides_of_an_hour_fall_into_their_own_rows() -> None:
    last, first = datetime(2026, 11, 23, 11, 59, 59, 999_000, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC)
    rows = (
        Stored(HOURLY)
        .worker()
        .add(spent({"occurred_at": last}, {"occurred_at": first, "source_offset": 1}, {"source_offset": 2}))
    )
    assert cells(rows, "hour", "calls") == [(first.replace(hour=11), 1), (first, 2)]


def test_both_sides_of_midnight_utc_fall_into_their_own_day() -> None:
    last = datetime(2026, 11, 22, 23, 59, 59, 999_000, tzinfo=UTC)
    rows = (
        Stored(USER_DAILY)
        .worker()
        .add(spent({"occurred_at": last}, {"occurred_at": datetime(2026, 11, 23, tzinfo=UTC), "source_offset": 1}))
    )
    assert [day.isoformat() for day in rows["day"].sort()] == ["2026-11-22", "2026-11-23"]


@given(
    hours=st.lists(st.integers(0, 47), min_size=1, max_size=30),
    ends=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    back=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    data=st.data(),
)
@examples(60)
def test_days_added_up_from_hours_are_the_days_of_the_events_whatever_is_delivered_again(
    hours: list[int], ends: list[int], back: list[int], data: st.DataObject
) -> None:
    """Some batches overlap what was applied: of a day a part of them, of an hour all or nothing."""
    log = [
        {
            "source_offset": offset,
            "occurred_at": datetime(2026, 11, 23 + hour // 24, hour % 24, 30, tzinfo=UTC),
            "feature": f"f{hour % 2}",
            "cost_pico": 10**offset % 997,
            "price_version": f"v{hour % 3}",
            "counted": hour % 5 != 0,
        }
        for offset, hour in enumerate(hours)
    ]
    fine, coarse, plain = Stored(HOURLY), Stored(DAILY), Stored(DAILY)
    hourly, whole, start = fine.worker(), plain.worker(), 0
    daily = Rollup(DAILY, coarse, codes=hourly.codes)
    for length, step in zip(ends, back, strict=False):
        some = log[start : start + length]
        if not some:
            break
        events = spent(*some)
        fine.insert(hourly.add(events))
        coarse.insert(daily.add(events, summed=by_hour(hourly.summed)))
        plain.insert(whole.add(events))
        if data.draw(st.booleans(), label="another worker goes on"):
            hourly, whole = fine.worker(), plain.worker()
            daily = Rollup(DAILY, coarse, codes=hourly.codes)
            daily.assign(coarse.stored["source_partition"].unique())
        start = max(0, start + length - step)
    order = [*DAILY.by, "applied"]
    assert coarse.stored.sort(order).to_dicts() == plain.stored.sort(order).to_dicts()


def test_both_sides_of_a_block_of_offsets_fall_into_their_own_ledger_row() -> None:
    positions = pl.DataFrame(
        {
            "source_partition": [0, 0, 0],
            "source_offset": [65_535, 65_536, 65_537],
            "outcome": ["stored", "duplicates", "stored"],
        }
    )
    rows = Stored(LEDGER).worker().add(positions)
    assert cells(rows, "offset_block", "offset_first", "received", "stored", "duplicates") == [
        (0, 65_535, 1, 1, 0),
        (1, 65_536, 2, 1, 1),
    ]


def test_sums_beyond_sixty_four_bits_of_picodollars_are_exact() -> None:
    most = 2**63 - 1  # 9.2 million USD, the last that Int64 holds
    stored = Stored(HOURLY)
    rows = stored.worker().add(spent(*({"source_offset": offset, "cost_pico": most} for offset in range(5))))
    assert rows["cost_pico"].to_list() == [5 * most]
    stored.insert(rows)
    assert stored.worker().add(at(5, cost_pico=most))["cost_pico"].to_list() == [6 * most]


def test_each_number_of_an_event_is_summed_in_the_column_of_its_name() -> None:
    small, large = ({name: factor * 2**at for at, name in enumerate(NUMBERS)} for factor in (1, 1_000))
    for spec in (HOURLY, USER_DAILY):
        row = Stored(spec).worker().add(spent(small, large | {"source_offset": 1})).row(0, named=True)
        summed = {name: row[name] for name in NUMBERS if name in row}
        assert summed == {name: 1_001 * 2**at for at, name in enumerate(NUMBERS) if name in row}
        assert summed.keys() == set(NUMBERS) if spec is HOURLY else set(NUMBERS) - PER_HOUR_ALONE


PER_HOUR_ALONE = {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "duration_ms"}


def test_an_unknown_cost_adds_nothing_and_is_counted() -> None:
    events = spent(
        {"cost_pico": None, "cost_status": "unpriced"},
        {"cost_pico": 3, "cost_status": "partial", "source_offset": 1},
        {"status": "error", "source_offset": 2, "duration_ms": 0},
    )
    rows = Stored(HOURLY).worker().add(events)
    names = ("calls", "errors", "unpriced_calls", "partial_calls", "cost_pico", "duration_calls")
    assert cells(rows, *names) == [(3, 1, 1, 1, 4, 1)]


@pytest.mark.parametrize("spec", [HOURLY, DAILY, USER_DAILY], ids=lambda spec: spec.table)
def test_tokens_without_a_price_are_summed_apart(spec: RollupSpec) -> None:
    stored = Stored(spec)
    first = spent(
        {"input_tokens": 1, "output_tokens": 2},
        {"input_tokens": 4, "output_tokens": 8, "cost_status": "unpriced", "source_offset": 1},
        {"input_tokens": 16, "output_tokens": None, "cost_status": "partial", "source_offset": 2},
        {"input_tokens": None, "output_tokens": None, "cost_status": "unpriced", "source_offset": 3},
    )
    stored.insert(rows := stored.worker().add(first))
    assert cells(rows, "unpriced_tokens", "partial_tokens") == [(12, 16)]
    later = spent({"input_tokens": 32, "output_tokens": 64, "cost_status": "unpriced", "source_offset": 4})
    assert cells(stored.worker().add(later), "unpriced_tokens", "partial_tokens") == [(108, 16)]


def test_tokens_that_a_row_from_before_does_not_know_stay_unknown() -> None:
    stored = Stored(HOURLY)
    first = stored.worker().add(spent({"cost_status": "unpriced", "input_tokens": 5}))
    stored.insert(first.with_columns(unpriced_tokens=pl.lit(None, pl.Int64)))
    worker = stored.worker()
    for offset in (1, 2):
        more = spent({"cost_status": "unpriced", "input_tokens": 7, "source_offset": offset})
        rows = worker.add(more)
        assert cells(rows, "unpriced_calls", "unpriced_tokens", "partial_tokens") == [(offset + 1, None, 0)]


def test_a_duplicate_stands_in_its_column_and_nowhere_else() -> None:
    nothing = dict.fromkeys(("cost_pico", "status", "cost_status", "price_version", "quantities"))
    rows = Stored(HOURLY).worker().add(spent({"input_tokens": 5}, {"counted": False, "source_offset": 1} | nothing))
    assert cells(rows, "calls", "duplicates", "input_tokens", "cost_pico", "applied") == [(1, 1, 5, 1, 1)]


def test_the_price_versions_of_a_row_are_the_union_of_those_met() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(spent({"price_version": "b"}, {"price_version": "a", "source_offset": 1})))
    rows = stored.worker().add(
        spent({"price_version": "b", "source_offset": 2}, {"price_version": "c", "source_offset": 3})
    )
    assert rows["price_versions"].to_list() == [["a", "b", "c"]]


def test_a_call_without_a_price_names_no_price_version() -> None:
    rows = Stored(HOURLY).worker().add(spent({"price_version": ""}, {"feature": "other", "source_offset": 1}))
    assert sorted(rows["price_versions"].to_list()) == [[], ["v1"]]


def test_quantities_are_summed_unit_by_unit() -> None:
    stored = Stored(UNITS)
    first = spent({"quantities": '{"images":"1"}'}, {"source_offset": 1})
    stored.insert(stored.worker().add(metered(first)))
    later = spent({"quantities": '{"images":"0.000000000001","gpu_hours":"2.5"}', "source_offset": 2})
    stored.insert(stored.worker().add(metered(later)))
    assert cells(stored.stored, "unit", "amount_whole", "amount_pico", "applied") == [
        ("gpu_hours", 2, 500_000_000_000, 2),
        ("images", 1, 1, 2),
    ]


def test_an_amount_without_a_point_has_nothing_behind_it_which_is_not_unknown() -> None:
    rows = metered(spent({"quantities": '{"images":"7","gpu_hours":"0.25"}'}))
    assert cells(rows, "unit", "amount_whole", "amount_pico") == [("gpu_hours", 0, 250_000_000_000), ("images", 7, 0)]


def test_amounts_beyond_sixty_four_bits_are_exact_also_where_they_are_read_back() -> None:
    most = {"quantities": '{"images":"999999999999999999.5"}'}
    stored = Stored(UNITS)
    stored.insert(stored.worker().add(metered(at(*range(10), **most))))
    rows = stored.worker().add(metered(at(10, **most)))
    assert cells(rows, "amount_whole", "amount_pico") == [(11 * 999_999_999_999_999_999, 11 * 500_000_000_000)]


def test_an_event_without_quantities_and_a_duplicate_add_to_no_unit() -> None:
    assert metered(spent({}, {"quantities": None, "counted": False})).is_empty()
    assert Stored(UNITS).worker().add(metered(spent({}))).is_empty()


AMOUNTS = st.decimals(min_value=0, max_value=10**18 - 1, places=12, allow_nan=False)


@given(
    st.lists(st.dictionaries(st.sampled_from(["images", "gpu_hours"]), AMOUNTS, max_size=2), min_size=1, max_size=20)
)
def test_a_sum_of_quantities_is_exact_to_the_last_digit(maps: list[dict[str, Decimal]]) -> None:
    texts = [json.dumps({unit: f"{amount:f}" for unit, amount in units.items()}) if units else "" for units in maps]
    events = spent(*({"quantities": text, "source_offset": offset} for offset, text in enumerate(texts)))
    rows = Stored(UNITS).worker().add(metered(events))
    found = {row["unit"]: row["amount_whole"] + Fraction(row["amount_pico"], 10**12) for row in rows.to_dicts()}
    assert found == {unit: sum(Fraction(units[unit]) for units in maps if unit in units) for unit in set().union(*maps)}


def test_no_number_of_events_that_a_partition_can_hold_makes_an_amount_overflow() -> None:
    """The most that 2^48 events add, taken as two rows of half of it each, is still told to the last digit."""
    most = pl.DataFrame({"amount_whole": [2**47 * (10**18 - 1)] * 2, "amount_pico": [2**47 * (10**12 - 1)] * 2})
    wide = most.cast(pl.Int128)
    keys = spent({}, {}).select("source_partition", "occurred_at", "provider").with_columns(unit=pl.lit("images"))
    rows = pl.concat([keys, wide], how="horizontal").group_by("unit").agg(pl.col("amount_whole", "amount_pico").sum())
    halves = pl.col("amount_whole", "amount_pico")
    assert rows.select(halves.cast(pl.Decimal(38, 0))).row(0) == (2**48 * (10**18 - 1), 2**48 * (10**12 - 1))


# --- the offset a row has applied -------------------------------------------------------------------------------------


def test_an_event_changes_a_row_only_if_its_offset_is_above_the_row_s() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(at(3, 4, 5)))
    rollup = stored.worker()
    assert cells(rollup.add(at(3, 4, 5)), "calls", "applied") == [(3, 5)]
    assert cells(rollup.add(at(5, 6)), "calls", "applied") == [(4, 6)]


def test_the_same_batch_again_in_the_same_worker_changes_nothing() -> None:
    rollup = Stored(HOURLY).worker()
    first = rollup.add(at(0, 1, 2))
    assert cells(rollup.add(at(0, 1, 2)), "calls", "applied") == cells(first, "calls", "applied") == [(3, 2)]


def test_a_replay_hands_out_the_rows_it_belongs_to_though_they_do_not_change() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(at(0, feature="a")))
    stored.insert(stored.worker().add(at(1, feature="b")))
    assert cells(stored.worker().add(at(0, feature="a")), "feature", "calls") == [("a", 1)]


def test_in_a_replayed_stretch_each_row_takes_up_where_it_stood() -> None:
    """A torn flush: of three rows one was stored at 8, one at 4, one not at all."""
    events = pl.concat(
        [at(*range(0, 9, 3), feature="a"), at(*range(1, 9, 3), feature="b"), at(*range(2, 9, 3), feature="c")]
    )
    events = events.sort("source_offset")
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(events.filter(pl.col("feature") == "a")))
    stored.insert(stored.worker().add(events.filter((pl.col("feature") == "b") & (pl.col("source_offset") <= 4))))
    rows = stored.worker().add(events)
    assert cells(rows, "feature", "calls", "applied") == [("a", 3, 6), ("b", 3, 7), ("c", 3, 8)]


def test_partitions_have_rows_of_their_own() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(at(7, 8)))
    rows = stored.worker().add(pl.concat([at(8), at(0, source_partition=1)]))
    assert cells(rows, "source_partition", "calls", "applied") == [(0, 2, 8), (1, 1, 0)]


def test_a_worker_that_lost_its_partition_cannot_take_away_what_another_has_counted() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(at(0)))
    zombie, heir = stored.worker(), stored.worker()
    late = zombie.add(at(1))
    stored.insert(heir.add(at(1, 2, 3)))
    stored.insert(late)
    assert cells(stored.stored, "calls", "applied") == [(4, 3)]


def test_a_rival_ahead_of_this_worker_is_met_when_an_hour_is_read_back() -> None:
    """The rival stored hour 11 after this worker took over: what it has applied is not applied a second time."""
    eleven, twelve = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (11, 12))
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(at(0, occurred_at=twelve)))
    late_starter = stored.worker()
    stored.insert(stored.worker().add(at(1, 2, occurred_at=eleven)))
    assert cells(late_starter.add(at(1, 2, occurred_at=eleven)), "calls", "applied") == [(2, 2)]
    assert cells(late_starter.add(at(3, occurred_at=eleven)), "calls", "applied") == [(3, 3)]


class ReadStored(Stored):
    """Remembers what was last told of each row."""

    def __init__(self, spec: RollupSpec) -> None:
        super().__init__(spec)
        self.told: dict[tuple[Any, ...], int] = {}

    def rows(self, partitions: Sequence[int], buckets: Sequence[Any], *, limit: int) -> pl.DataFrame:
        return self._tell(super().rows(partitions, buckets, limit=limit))

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        return self._tell(super().find(keys))

    def _tell(self, rows: pl.DataFrame) -> pl.DataFrame:
        self.told.update(versions(rows))
        return rows


def versions(rows: pl.DataFrame) -> dict[tuple[Any, ...], int]:
    return {tuple(key): applied for *key, applied in rows.select(*HOURLY.by, "applied").iter_rows()}


@examples(60)
@given(st.data())
def test_no_worker_ever_writes_a_version_below_one_that_it_has_read_or_written(data: st.DataObject) -> None:
    """Two workers hold the partition at once, from wherever they took it up, and let go of rows and read them back."""
    stored = ReadStored(HOURLY)
    workers = [stored.worker(rows_max=1), stored.worker(rows_max=1)]
    known: list[dict[tuple[Any, ...], int]] = [{}, {}]
    for _ in range(data.draw(st.integers(1, 8), label="turns")):
        turn = data.draw(st.integers(0, 1), label="worker")
        if data.draw(st.booleans(), label="starts anew"):
            workers[turn], known[turn] = stored.worker(rows_max=1), {}
        first = data.draw(st.integers(0, 12), label="from offset")
        offsets = range(first, first + data.draw(st.integers(1, 6), label="records"))
        stored.told.clear()
        rows = workers[turn].add(pl.concat(at(offset, occurred_at=HOURS[offset % 3]) for offset in offsets))
        known[turn] |= stored.told
        assert all(applied >= known[turn].get(key, 0) for key, applied in versions(rows).items())
        known[turn] |= versions(rows)
        stored.insert(rows)
        workers[turn].trim()


# --- reading back and letting go --------------------------------------------------------------------------------------

HOURS = [datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in range(12)]


def test_an_hour_is_read_back_once_and_only_if_its_partition_has_rows() -> None:
    stored = Stored(HOURLY)
    rollup = stored.worker()
    rollup.add(at(0))
    assert stored.asked == []
    stored.insert(rollup.add(at(1)))
    rollup = stored.worker()
    rollup.add(at(2))
    rollup.add(at(3))
    rollup.add(at(0, source_partition=1))
    assert stored.asked == [([0], [COLUMNS["occurred_at"]])]


def test_a_read_back_does_not_undo_what_is_newer_in_memory() -> None:
    """One question covers a rectangle of partitions and hours, and memory is ahead in a corner of it."""
    stored = Stored(HOURLY)
    stored.insert(
        stored.worker().add(pl.concat([at(0, occurred_at=HOURS[0]), at(0, occurred_at=HOURS[1], source_partition=1)]))
    )
    rollup = stored.worker()
    rollup.add(at(1, occurred_at=HOURS[0]))
    rollup.add(pl.concat([at(2, occurred_at=HOURS[1]), at(1, occurred_at=HOURS[0], source_partition=1)]))
    assert cells(rollup.add(at(3, occurred_at=HOURS[0])), "calls", "applied") == [(3, 3)]


def test_beyond_the_bound_the_rows_idle_for_longest_go_and_come_back_alone_when_needed() -> None:
    stored = Stored(HOURLY)
    rollup = stored.worker(rows_max=5)
    for offset in range(12):
        stored.insert(rollup.add(at(offset, feature=f"f{offset}")))
        rollup.trim()
    assert (len(rollup), rollup.evicted, stored.asked) == (5, 7, [])
    rows = rollup.add(pl.concat([at(12, feature="f0"), at(13, feature="new"), at(14, feature="f11")]))
    assert cells(rows, "feature", "calls") == [("f0", 2), ("f11", 2), ("new", 1)]
    assert (stored.asked, rollup.read_back) == ([1], 1)


def test_what_is_not_stored_yet_is_never_let_go() -> None:
    stored = Stored(HOURLY)
    rollup = stored.worker(rows_max=2)
    for offset in range(6):
        rollup.add(at(offset, feature=f"f{offset}"), flush=offset + 1)
    assert (len(rollup), rollup.evicted) == (6, 0)
    rollup.settle(3)
    rollup.add(at(6, feature="f6"), flush=7)
    assert (len(rollup), rollup.evicted) == (4, 3)


def test_a_row_that_is_not_stored_yet_is_counted_on_from_memory_whatever_the_number_of_its_flush() -> None:
    """The first five flushes had nothing for this table."""
    stored = Stored(HOURLY)
    rollup = stored.worker(rows_max=1)
    rollup.settle(5)
    for offset, feature in enumerate(("a", "b")):
        rollup.add(at(offset, feature=feature), flush=6 + offset)
    assert cells(rollup.add(at(2, feature="a"), flush=8), "feature", "calls") == [("a", 2)]


def test_no_more_rows_go_than_there_are_beyond_the_bound() -> None:
    """However many are in the piece that is the oldest."""
    stored = Stored(HOURLY)
    rollup = stored.worker(rows_max=45)
    for number in range(12):
        rows = rollup.add(pl.concat([at(10 * number + n, feature=f"f{10 * number + n}") for n in range(10)]))
        stored.insert(rows)
        rollup.trim()
    assert (len(rollup), rollup.evicted) == (45, 75)


def test_a_row_is_found_as_it_was_left_in_pieces_that_were_packed_and_joined() -> None:
    rollup = Stored(HOURLY).worker()
    with patch.object(rollup_rows, "PACKED_MIN", 1), patch.object(rollup_rows, "PIECES_MAX", 1):
        for number, batch in enumerate((range(10), range(10, 30), range(5, 25))):
            events = [at(100 * number + n, feature=f"f{n}", input_tokens=n, cost_pico=n * 2**40) for n in batch]
            rows = rollup.add(pl.concat(events))
    assert cells(rows, "feature", "calls", "input_tokens", "cost_pico") == sorted(
        (f"f{n}", 2, 2 * n, n * 2**41) for n in range(5, 25)
    )
    assert len(rollup) == 30


def test_of_an_hour_with_more_rows_than_are_read_at_once_only_those_that_events_touch_come_back() -> None:
    stored = Stored(HOURLY)
    stored.insert(stored.worker().add(pl.concat([at(n, feature=f"f{n}") for n in range(9)])))
    rollup = stored.worker(read_rows_max=8)
    rows = rollup.add(pl.concat([at(9, feature="f3"), at(10, feature="new")]))
    assert cells(rows, "feature", "calls") == [("f3", 2), ("new", 1)]
    assert stored.asked == [([0], [COLUMNS["occurred_at"]]), "keys", 1]
    assert len(rollup) == 2


def test_beyond_the_bound_of_hashes_every_row_of_a_bucket_is_asked_for() -> None:
    stored = Stored(HOURLY)
    rollup = stored.worker(rows_max=1, hashes_max=3)
    for offset in range(6):
        stored.insert(rollup.add(at(offset, feature=f"f{offset}")))
        rollup.trim()
    stored.asked.clear()
    assert cells(rollup.add(pl.concat([at(6, feature="new"), at(7, feature="f0")])), "feature", "calls") == [
        ("f0", 2),
        ("new", 1),
    ]
    assert stored.asked == [2]


BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=8),
    min_size=1,
    max_size=8,
)


@examples(100)
@given(BATCHES, st.data())
def test_a_rollup_with_room_for_three_rows_says_what_one_without_a_bound_says(
    batches: list[list[tuple[int, int, int]]], data: st.DataObject
) -> None:
    """Whatever is let go, read back, replayed after a restart, or stored late, and in whatever pieces it is kept."""
    packed_min, pieces_max = data.draw(st.sampled_from([(1, 2), (3, 4), (rollup_rows.PACKED_MIN, 1)]), label="pieces")
    with (
        patch.object(rollup_rows, "PACKED_MIN", packed_min),
        patch.object(rollup_rows, "PIECES_MAX", pieces_max),
    ):
        calm, shaken = calm_and_shaken(batches, data)
    assert shaken.sort(HOURLY.by).equals(calm.sort(HOURLY.by))


def calm_and_shaken(
    batches: list[list[tuple[int, int, int]]], data: st.DataObject
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is stored of these batches in the end, by workers without bounds and by one that is disturbed."""
    log = [
        pl.concat(
            at(
                8 * number + place,
                source_partition=p,
                feature=f"f{feature}",
                occurred_at=HOURS[hour],
                input_tokens=place,
            )
            for place, (p, feature, hour) in enumerate(batch)
        )
        for number, batch in enumerate(batches)
    ]
    calm, shaken = Stored(HOURLY), Stored(HOURLY)
    for batch in log:
        calm.insert(calm.worker().add(batch))
    bounds = {
        "rows_max": 3,
        "hashes_max": data.draw(st.sampled_from([2, 100])),
        "read_rows_max": data.draw(st.integers(0, 6)),
    }
    rollup, number, waiting = shaken.worker(**bounds), 0, list[tuple[int, pl.DataFrame]]()
    for flush in range(1, 40):
        if number == len(log):
            break
        waiting.append((flush, rollup.add(log[number], flush=flush)))
        number += 1
        match data.draw(st.sampled_from(["store", "wait", "restart"])):
            case "store":
                for stored, rows in waiting:
                    shaken.insert(rows)
                    rollup.settle(stored)
                waiting.clear()
            case "restart":
                torn = data.draw(st.integers(0, len(waiting)))
                for _, rows in waiting[:torn]:
                    shaken.insert(rows)
                number -= data.draw(st.integers(len(waiting) - torn, number))
                rollup, waiting = shaken.worker(**bounds), []
    else:
        return calm.stored, calm.stored  # restarted again and again: nothing was finished
    for _, rows in waiting:
        shaken.insert(rows)
    return calm.stored, shaken.stored


# --- properties over events -------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "nobody-knows"]),
            "provider": st.sampled_from(["openai", "anthropic"]),
            "feature": st.sampled_from(["a", "b"]),
            "user_id": st.sampled_from(["u", ""]),
            "occurred_at": st.sampled_from(
                ["2026-11-23T11:59:59.999Z", "2026-11-23T12:00:00Z", "2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00Z"]
            ),
            "input_tokens": st.one_of(st.none(), st.integers(0, 1_000_000_000)),
            "output_tokens": st.one_of(st.none(), st.integers(0, 1_000_000_000)),
            "quantities": st.one_of(st.none(), st.just({"images": "0.000000000003"})),
            "revenue_usd": st.one_of(st.none(), st.just("999999.999999999999")),
        }
    ),
    min_size=1,
    max_size=25,
)


def priced(values: Sequence[bytes]) -> pl.DataFrame:
    frame = decode(log_of(values), source="s", limits=LIMITS).frame
    return price(frame, BOOK).with_columns(counted=True)


def rolled_up(spec: RollupSpec, batches: Sequence[pl.DataFrame]) -> list[dict[str, Any]]:
    """The rows that ClickHouse keeps of these batches, but for where they stood in the log."""
    stored = Stored(spec)
    rollup = stored.worker()
    for batch in batches:
        stored.insert(rollup.add(metered(batch) if spec is UNITS else batch))
    return sorted(stored.stored.drop("applied").to_dicts(), key=repr)


@examples(40)
@given(EVENTS, st.data())
def test_arrival_order_and_chunk_boundaries_never_change_a_rollup(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    values = [wire(f"r-{number}", **event) for number, event in enumerate(events)]
    shuffled = data.draw(st.permutations(values))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(values)), max_size=5)))
    borders = list(zip([0, *cuts], [*cuts, len(values)], strict=True))
    frame = priced(shuffled)
    for spec in (HOURLY, UNITS, USER_DAILY):
        in_pieces = rolled_up(spec, [frame[start:end] for start, end in borders if end > start])
        assert in_pieces == rolled_up(spec, [priced(values)])


@examples(40)
@given(EVENTS)
def test_a_rollup_costs_exactly_what_its_events_cost(events: list[dict[str, Any]]) -> None:
    frame = priced([wire(f"r-{number}", **event) for number, event in enumerate(events)])
    costs = [pico for pico in frame["cost_pico"] if pico is not None]
    for spec in (HOURLY, USER_DAILY):
        rows = rolled_up(spec, [frame])
        assert sum(row["cost_pico"] for row in rows) == sum(costs)
        assert sum(row["calls"] - row["unpriced_calls"] for row in rows) == len(costs)


SPENDING = Spending("it's \\ a sum", ("user", "model"), {}, "month", "Asia/Kathmandu")


def rows_of_one_sum(warehouse: Warehouse, table: str, source: str) -> list[dict[str, Any]]:
    """The rows that count; of sums of budgets without the control total."""
    return [row for row in warehouse.rows(table, source) if row.get("spending", SPENDING.spending) == SPENDING.spending]


@pytest.mark.parametrize(
    "spec",
    [HOURLY, BUDGET_SPEND, *(pytest.param(spec, marks=pytest.mark.slow) for spec in (UNITS, USER_DAILY, LEDGER))],
    ids=lambda spec: spec.table,
)
def test_a_row_comes_back_from_clickhouse_as_it_went(
    warehouse: Warehouse, spec: RollupSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"test-{uuid4()}"
    values = [
        wire(f"{source}-{number}", revenue_usd="999999.999999999999", quantities={"images": "123456789012345678.5"})
        for number in range(20)
    ]
    records = log_of([*values, values[0], b"junk"])
    budgets = Counted((SPENDING,))
    run(warehouse, ingest_of(warehouse, source, budgets=budgets), records)
    before = rows_of_one_sum(warehouse, spec.table, source)
    more = wire(f"{source}-more", input_tokens=1, quantities={"images": "1"})
    with monkeypatch.context() as patched:
        patched.setattr("stream.ingest.Rollup", partial(Rollup, read_rows_max=0))  # its hash is known, then it is asked
        run(warehouse, ingest_of(warehouse, source, budgets=budgets), log_of([more], first=len(records)))
    run(warehouse, ingest_of(warehouse, source, budgets=budgets), records, batch=5)
    after = rows_of_one_sum(warehouse, spec.table, source)
    assert len(before) == len(after) == 1
    changed = {name for name in before[0] if before[0][name] != after[0][name]}
    of_calls = {"calls", "partial_calls", "partial_tokens", "input_tokens", "output_tokens", "cost_usd", "version"}
    grown = {
        "usage_hourly": of_calls,
        "usage_hourly_units": {"amount_whole", "version"},
        "usage_user_daily": of_calls,
        "budget_spend": {"calls", "cost_usd", "version"},
        "ingest_ledger": {"received", "stored", "version"},
    }
    assert changed == grown[spec.table]
    assert before[0].get("revenue_usd", Decimal("19999999.99999999998")) == Decimal("19999999.99999999998")


def test_equal_lists_of_texts_have_one_code_however_often_they_come() -> None:
    codes = ListCodes()
    for _ in range(3):
        texts = codes.of_texts(pl.Series(["a", None, "b", "a"]))
        lists = codes.of(pl.Series([["b", "a"], [], ["a", "b"], ["a"]]))
        unions = codes.union(pl.Series([[texts[0], texts[2]], [texts[1]]]))
        assert lists[0] == lists[2] == unions[0]
        assert (lists[1], lists[3], unions[1]) == (texts[1], texts[0], texts[1])
    assert sorted(map(sorted, codes.lists(pl.Series(range(4), dtype=pl.UInt32)))) == [[], ["a"], ["a", "b"], ["b"]]
    assert len(codes._lists) == 4
