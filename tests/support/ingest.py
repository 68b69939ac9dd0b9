"""A worker's state without its worker: process a log, store all or some of each flush, begin again from ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import uuid4

import polars as pl

from costream.pricing import PriceBook
from costream.pricing.money import DayRates
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from stream.budgets.counted import Counted
from stream.decode.frame import AgeLimits, Record
from stream.dedup.home import home_partitions
from stream.ingest import Ingest
from stream.rulebook.rulebook import load
from stream.store.flush import Flush
from tests.support.records import LIMITS, NOW, FakeRecord

TABLES: Final = (
    *("dead_letters", "usage_events", "usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily"),
    *("budget_spend", "ingest_ledger"),
)
SINCE: Final = NOW - timedelta(days=7)
BOOK: Final = PriceBook.bundled()
SHIPPED: Final = load({}, zone="UTC", rates=DayRates(())).budgets
COUNTED: Final = Counted.by(SHIPPED)


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The embedded engine's tables, shared by the tests of a run."""

    reader: Reader
    writer: Writer

    def store(self, flush: Flush, tables: Collection[str] = TABLES) -> None:
        """Write these tables of a flush, in the order the worker does; with fewer than all it is a torn flush."""
        frames = (
            *(flush.dead_letters, flush.events, flush.hourly, flush.units, flush.daily, flush.user_daily),
            *(flush.budget_spend, flush.ledger),
        )
        self.writer.insert("prices", flush.prices)
        for table, frame in zip(TABLES, frames, strict=True):
            if table in tables:
                self.writer.insert(table, frame)

    def rows(self, table: str, source: str, *, without: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The rows that count, in one order."""
        frame = self.reader.frame(
            f"SELECT * FROM {rows_of(table)} FINAL WHERE source = {{source:String}}", source=source
        )
        kept = frame.drop("stored_at", *without, strict=False)
        return sorted(kept.to_dicts(), key=repr)

    def cells(self, source: str) -> dict[str, list[dict[str, Any]]]:
        """Everything that a redelivery must leave as it was."""
        return {table: self.rows(table, source) for table in TABLES}


def ingest_of(
    warehouse: Warehouse,
    source: str,
    partitions: Sequence[int] = (0,),
    *,
    count: int = 1,
    since: datetime = SINCE,
    ids_max: int = 1_000_000,
    rows_max: int = 1_000_000,
    book: PriceBook = BOOK,
    budgets: Counted = COUNTED,
    limits: AgeLimits = LIMITS,
    clock: Callable[[], datetime] = lambda: NOW,
) -> Ingest:
    """A worker's state as after a start: read back from ClickHouse."""
    ingest = Ingest(
        reader=warehouse.reader,
        book=lambda: book,
        budgets=lambda: budgets,
        limits=limits,
        ids_max=ids_max,
        rows_max=rows_max,
        clock=clock,
    )
    ingest.assign(partitions, partition_count=count, source=source, since=since)
    return ingest


def flush_of(ingest: Ingest, records: Sequence[Record]) -> Flush:
    """Both halves of the work on one batch."""
    return ingest.process(ingest.decode(records))


def run(warehouse: Warehouse, ingest: Ingest, records: Sequence[FakeRecord], *, batch: int = 1_000) -> list[Flush]:
    """Process and store in batches."""
    flushes = []
    for some in cut(records, batch):
        flushes.append(flush_of(ingest, some))
        warehouse.store(flushes[-1])
        ingest.settle(flushes[-1])
    return flushes


def cut(records: Sequence[FakeRecord], size: int) -> Iterator[Sequence[FakeRecord]]:
    for at in range(0, len(records), size):
        yield records[at : at + size]


def total(frame: pl.DataFrame, column: str) -> Any:
    return frame[column].sum()


def home_of(request_id: str, *, total: int) -> int:
    return int(home_partitions(pl.Series([request_id]), total)[0])


def ids_at_home_in(partition: int, *, total: int) -> Iterator[str]:
    """New ids without end."""
    made = (f"r-{uuid4()}" for _ in count())
    return (request_id for request_id in made if home_of(request_id, total=total) == partition)


def id_at_home_in(partition: int, *, total: int) -> str:
    return next(ids_at_home_in(partition, total=total))
