"""What has been seen before: new, replayed, duplicate, conflict, or not at home.

An id is counted once, at its home partition (home.py). Of every partition it holds, a worker keeps the recent ids with
the offset they came from. The same id again
- at the same offset is the same record, delivered again by Kafka: a *replay*, applied only where it was not yet;
- at another offset with the same content is a *duplicate*: recognised and counted apart;
- at another offset with other content is a *conflict*: the first wins, the second goes to the dead-letter topic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.dedup.home import home_partitions
from stream.dedup.ids import ELSEWHERE, IdTable, Keys, Sightings

# Two events with one id are the same event if these agree. What only describes a call (metadata, session, error text,
# time to first token) may differ between two reports of it.
CONTENT: Final = (
    "occurred_at",
    *DIMENSIONS,
    "user_id",
    "service_tier",
    "inference_geo",
    "status",
    "usage_status",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "quantities",
    "unit_prices",
    "reported_cost_pico",
    "revenue_pico",
    "duration_ms",
    "utilization_micro",
)
HOUR: Final = timedelta(hours=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Reads stored events of some ids in some hours back: request_id, source, source_partition, source_offset and CONTENT.
FindStored = Callable[[Sequence[str], Sequence[datetime]], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Sorted:
    """The rows of a batch by what they are; every row is in one of the five frames, in the order it came."""

    new: pl.DataFrame
    replayed: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame
    away: pl.DataFrame


class SeenIds:
    """The recent ids of the partitions that this worker holds. One batch at a time."""

    def __init__(self, *, find_stored: FindStored, ids_max: int) -> None:
        self._find_stored = find_stored
        self._ids_max = ids_max
        self.revoke()

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    @property
    def memory_bytes(self) -> int:
        return sum(table.memory_bytes for table in self._tables.values())

    @property
    def known_since(self) -> datetime:
        """From this hour on every stored id of the partitions held is in memory."""
        return EPOCH + self._since * HOUR

    def revoke(self) -> None:
        self._tables: dict[int, IdTable] = {}
        self._partition_count = 0
        self._source = ""
        self._since = 0

    def assign(
        self,
        partitions: Iterable[int],
        *,
        partition_count: int,
        source: str,
        since: datetime,
        stored: Iterable[pl.DataFrame],
    ) -> None:
        """Take over partitions; ``stored`` are blocks of all stored events since then whose home or source they are."""
        self._partition_count, self._source = partition_count, source
        self._since = _hour_number(since)
        self._tables = {partition: IdTable() for partition in partitions}
        for block in stored:
            self._remember_stored(block)
            if len(self) > self._ids_max:
                self.trim()

    def sort_out(self, events: pl.DataFrame) -> Sorted:
        """Tell each event's kind, and remember the new ones."""
        kinds = np.empty(events.height, dtype=np.int8)
        homes = home_partitions(events["request_id"], self._partition_count)
        at_home = homes == events["source_partition"].to_numpy()
        batch = _Batch.of(events)
        self._recall_old(events, batch)
        for partition in np.unique(batch.partitions).tolist():
            rows = np.flatnonzero(batch.partitions == partition)
            kinds[rows] = self._sort_partition(self._tables[partition], batch.take(rows), at_home[rows])
        return _split(events, kinds)

    def trim(self) -> bool:
        """Forget the oldest hours beyond ``ids_max``. Only when every event handed out is stored: a late event's id,
        once forgotten, is looked up in ClickHouse."""
        since = self._hour_that_fits()
        if since <= self._since:
            return False
        self.forget_before(EPOCH + since * HOUR)
        return True

    def forget_before(self, since: datetime) -> None:
        """Forget the ids of events that occurred before; the same condition as for trim."""
        self._since = max(self._since, _hour_number(since))
        for table in self._tables.values():
            table.forget_before(self._since)

    def _sort_partition(self, table: IdTable, batch: _Batch, at_home: NDArray[np.bool_]) -> NDArray[np.int8]:
        kinds = np.full(len(batch.offsets), AWAY, dtype=np.int8)
        slots = table.find(batch.keys)
        known = np.flatnonzero(slots >= 0)
        # Read before the insert below: it may have to enlarge the table, and then every id has another slot.
        kinds[known] = _kinds_of_known(table.sightings(slots[known]), batch.take(known), at_home[known])
        unknown = np.flatnonzero((slots < 0) & at_home)
        is_first = _is_first(batch.keys.take(unknown))
        first, again = unknown[is_first], unknown[~is_first]
        table.insert(batch.keys.take(first), batch.sightings.take(first))
        kinds[first] = NEW
        seen = table.sightings(table.find(batch.keys.take(again)))
        kinds[again] = _kinds_of_known(seen, batch.take(again), at_home[again])
        return kinds

    def _recall_old(self, events: pl.DataFrame, batch: _Batch) -> None:
        """Events from before the hours in memory: whether their ids are stored, only ClickHouse knows."""
        old = np.flatnonzero(batch.sightings.hours < self._since)
        unknown = [
            row for partition, table in self._tables.items() for row in _unknown_to(table, partition, batch, old)
        ]
        if unknown:
            hours = np.unique(batch.sightings.hours[unknown]).tolist()
            ids = events["request_id"].gather(unknown).to_list()
            self._remember_stored(self._find_stored(ids, [EPOCH + hour * HOUR for hour in hours]))

    def _remember_stored(self, block: pl.DataFrame) -> None:
        """Stored events go to the table of their home and, where that is another, of the partition they came from."""
        if block.is_empty():
            return
        homes = home_partitions(block["request_id"], self._partition_count)
        batch = _Batch.of(block)
        own = (block["source"] == self._source).to_numpy()
        for partition, table in self._tables.items():
            came_from_here = own & (batch.partitions == partition)
            rows = np.flatnonzero((homes == partition) | came_from_here)
            rows = rows[table.find(batch.keys.take(rows)) < 0]
            rows = rows[_is_first(batch.keys.take(rows))]
            offsets = np.where(came_from_here[rows], batch.offsets[rows], ELSEWHERE)
            seen = batch.sightings.take(rows)
            table.insert(batch.keys.take(rows), Sightings(offsets, seen.digests, seen.hours))

    def _hour_that_fits(self) -> int:
        """The earliest hour from which on at most nine tenths of ids_max are remembered."""
        counts: dict[int, int] = {}
        for table in self._tables.values():
            for hour, count in zip(*table.hours_counted(), strict=True):
                counts[int(hour)] = counts.get(int(hour), 0) + int(count)
        kept = 0
        for hour in sorted(counts, reverse=True):
            kept += counts[hour]
            if kept > self._ids_max * 0.9:
                return hour + 1
        return self._since


NEW, REPLAYED, DUPLICATE, CONFLICT, AWAY = range(5)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The columns of a batch that dedup works on, in numpy."""

    keys: Keys
    sightings: Sightings
    partitions: NDArray[np.int64]

    @classmethod
    def of(cls, events: pl.DataFrame) -> _Batch:
        digests = events.select(DIGEST).to_series().to_numpy().astype(np.uint32)
        hours = events["occurred_at"].dt.epoch("ms").to_numpy() // 3_600_000
        sightings = Sightings(events["source_offset"].to_numpy(), digests, hours.astype(np.uint32))
        return cls(Keys.of(events["request_id"]), sightings, events["source_partition"].to_numpy())

    @property
    def offsets(self) -> NDArray[np.int64]:
        return self.sightings.offsets

    def take(self, rows: NDArray[np.int64]) -> _Batch:
        return _Batch(self.keys.take(rows), self.sightings.take(rows), self.partitions[rows])


# Each field has a seed of its own, so that two of them cannot change places unseen. A sum of hashes (it wraps, as it
# should) takes a third of the time of the hash of a struct, which is written out row by row first.
DIGEST: Final = pl.sum_horizontal(pl.col(name).hash(seed=seed) for seed, name in enumerate(CONTENT))


def _unknown_to(table: IdTable, partition: int, batch: _Batch, rows: NDArray[np.int64]) -> list[int]:
    here = rows[batch.partitions[rows] == partition]
    return [int(row) for row in here[table.find(batch.keys.take(here)) < 0]]


def _kinds_of_known(seen: Sightings, batch: _Batch, at_home: NDArray[np.bool_]) -> NDArray[np.int8]:
    same_record = seen.offsets == batch.offsets
    same_content = seen.digests == batch.sightings.digests
    repeated = np.where(same_content, DUPLICATE, CONFLICT)
    return np.where(same_record, REPLAYED, np.where(at_home, repeated, AWAY)).astype(np.int8)


def _is_first(keys: Keys) -> NDArray[np.bool_]:
    """Of equal ids in a batch, the first."""
    pairs = pl.DataFrame({"high": keys.high, "low": keys.low})
    return pairs.select(pl.struct("high", "low").is_first_distinct()).to_series().to_numpy()


def _split(events: pl.DataFrame, kinds: NDArray[np.int8]) -> Sorted:
    def of(kind: int) -> pl.DataFrame:
        return events.filter(pl.Series(kinds == kind))

    return Sorted(
        new=of(NEW),
        replayed=of(REPLAYED),
        duplicates=of(DUPLICATE),
        conflicts=of(CONFLICT),
        away=of(AWAY),
    )


def _hour_number(moment: datetime) -> int:
    return int((moment - EPOCH) / HOUR)
