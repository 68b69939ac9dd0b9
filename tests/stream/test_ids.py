"""The table of recent ids against a dict that cannot be wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from stream.dedup.ids import FILL_MAX, SLOTS_MIN, IdTable, Keys, Sightings
from tests.support.properties import examples

HOUR = 497_000


def sightings(offsets: list[int], hours: list[int]) -> Sightings:
    digests = [offset % 1000 for offset in offsets]
    return Sightings(
        np.array(offsets, dtype=np.int64), np.array(digests, dtype=np.uint32), np.array(hours, dtype=np.uint32)
    )


def keys_of(ids: list[str]) -> Keys:
    return Keys.of(pl.Series(ids, dtype=pl.String))


class TableAgainstDict(RuleBasedStateMachine):
    """Inserts by batches, growths and forgettings in any order; lookups agree with the dict after each."""

    @initialize(slots=st.sampled_from([2, 5, 64, SLOTS_MIN]))
    def begin(self, slots: int) -> None:
        self.table, self.model, self.next = IdTable(slots), dict[str, tuple[int, int]](), 0

    @rule(hours=st.lists(st.integers(0, 5), max_size=60), times=st.sampled_from([1, 1, 1, 40]))
    def insert(self, hours: list[int], times: int) -> None:
        hours = [HOUR + hour for hour in hours * times]
        offsets = list(range(self.next, self.next + len(hours)))
        self.next += len(hours)
        ids = [f"id-{offset}" for offset in offsets]
        self.table.insert(keys_of(ids), sightings(offsets, hours))
        self.model.update(zip(ids, zip(offsets, hours, strict=True), strict=True))

    @rule(hour=st.integers(-1, 6))
    def forget_before(self, hour: int) -> None:
        self.table.forget_before(HOUR + hour)
        self.model = {name: seen for name, seen in self.model.items() if seen[1] >= HOUR + hour}

    @invariant()
    def agree(self) -> None:
        ids = [f"id-{offset}" for offset in range(self.next)] + ["never seen"]
        slots = self.table.find(keys_of(ids))
        assert [name for name, slot in zip(ids, slots, strict=True) if slot >= 0] == [n for n in ids if n in self.model]
        seen = self.table.sightings(slots[slots >= 0])
        assert list(zip(seen.offsets.tolist(), seen.hours.tolist(), strict=True)) == [
            self.model[name] for name in ids if name in self.model
        ]
        assert seen.digests.tolist() == [offset % 1000 for offset in seen.offsets.tolist()]
        assert len(self.table) == len(self.model)
        counted = dict(zip(*(column.tolist() for column in self.table.hours_counted()), strict=True))
        in_model = [hour for _, hour in self.model.values()]
        assert counted == {hour: in_model.count(hour) for hour in sorted(set(in_model))}


TestTableAgainstDict = TableAgainstDict.TestCase
TestTableAgainstDict.settings = examples(40, stateful_step_count=12)


def crowded(high: list[int]) -> Keys:
    """Keys that want the same slots."""
    return Keys(np.array(high, dtype=np.uint64), np.arange(len(high), dtype=np.uint32))


@pytest.mark.parametrize(
    "high", [[0] * 100, [2**64 - 1] * 100, [2**64 - 1, 0, 2**63] * 33], ids=["first", "last", "mixed"]
)
def test_ids_that_fall_into_one_slot_are_all_found_also_around_the_end_of_the_table(high: list[int]) -> None:
    table, keys = IdTable(160), crowded(high)
    table.insert(keys, sightings(list(range(len(high))), [HOUR] * len(high)))
    assert table.sightings(table.find(keys)).offsets.tolist() == list(range(len(high)))


def test_ids_are_spread_over_the_whole_table_whatever_its_size() -> None:
    ends = crowded([0, 2**62, 2**63, 2**64 - 1])
    assert IdTable(160)._home_slots(ends).tolist() == [0, 40, 80, 159]
    assert IdTable(161)._home_slots(ends).tolist() == [0, 40, 80, 160]


def test_two_ids_that_agree_in_64_bits_are_told_apart_by_the_other_32() -> None:
    table = IdTable()
    one, other = crowded([77, 77]).take(rows(0)), crowded([77, 77]).take(rows(1))
    table.insert(one, sightings([1], [HOUR]))
    assert table.find(other).tolist() == [-1]


def rows(*at: int) -> NDArray[np.int64]:
    return np.array(at, dtype=np.int64)


def test_the_table_is_never_fuller_than_its_bound_and_grows_by_steps() -> None:
    table, sizes = IdTable(), set()
    for at in range(0, 20_000, 500):
        ids = [f"id-{offset}" for offset in range(at, at + 500)]
        table.insert(keys_of(ids), sightings(list(range(at, at + 500)), [HOUR] * 500))
        slots = table.memory_bytes // (8 + 4 + 8 + 4 + 4)
        sizes.add(slots)
        assert len(table) <= FILL_MAX * slots
    assert len(sizes) < 10


def test_the_table_grows_with_the_first_id_beyond_its_bound() -> None:
    for ids, grows in ((13, False), (14, True)):  # of 20 slots 13 may be filled
        table = IdTable(20)
        before = table.memory_bytes
        table.insert(keys_of([str(at) for at in range(ids)]), sightings(list(range(ids)), [HOUR] * ids))
        assert (table.memory_bytes > before) is grows
    assert table.memory_bytes == (int(14 / FILL_MAX * 1.6) + SLOTS_MIN) * (8 + 4 + 8 + 4 + 4)


def test_forgetting_gives_the_memory_back() -> None:
    table = IdTable()
    before = table.memory_bytes
    table.insert(keys_of([str(at) for at in range(50_000)]), sightings(list(range(50_000)), [HOUR] * 50_000))
    assert table.memory_bytes > 30 * before
    table.forget_before(HOUR + 1)
    assert (len(table), table.memory_bytes) == (0, before)


def test_an_id_takes_less_than_seventy_bytes() -> None:
    table = IdTable()
    table.insert(keys_of([str(at) for at in range(100_000)]), sightings(list(range(100_000)), [HOUR] * 100_000))
    assert table.memory_bytes / 100_000 < 70


def test_ten_thousand_ids_with_common_beginnings_share_no_key() -> None:
    keys = keys_of([f"request-2026-11-23-{at:08}" for at in range(10_000)])
    assert len(set(keys.high.tolist())) == 10_000
    assert len(set(zip(keys.high.tolist(), keys.low.tolist(), strict=True))) == 10_000
