"""Calls that are priced anew: a warehouse with a worker's state over it, books of prices, and a writer that dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costream.pricing import PriceBook
from sinks.clickhouse.calls_of_span import Span
from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import audit
from stream.ingest import Ingest
from stream.repricing.run import Repriced, Repricer
from tests.support.ingest import Warehouse, home_of, ingest_of, run
from tests.support.records import FakeRecord, wire

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)  # the engine drops what its own clock calls expired
TODAY = NOW.replace(hour=0, minute=0)
WEEK = Span(TODAY - timedelta(days=6), TODAY + timedelta(days=1))
SOURCE = "topic-1"
PARTITIONS = 2
DEAR = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
source = "our contract"
rates.input_tokens = { price = "9", per = "1M" }
rates.output_tokens = { price = "0.000000000001", per = "1" }

[[price]]
provider = "acme"
models = ["a"]
source = "our contract"
rates.input_tokens = { price = "2", per = "1M" }
"""
LIST = PriceBook.bundled()
OURS = LIST.with_files({"ours.toml": DEAR})


def call(number: int, **fields: Any) -> bytes:
    models = {
        0: {"provider": "openai", "model": "gpt-4o-mini"},
        1: {"provider": "OpenAI", "model": "gpt-4o-mini"},
        2: {"provider": "openai", "model": "gpt-4o"},
        3: {"provider": "acme", "model": "a", "output_tokens": 0},
        4: {"provider": "nobody", "model": "knows"},
    }
    usual = {
        "occurred_at": (NOW - timedelta(hours=number % 40, minutes=1)).isoformat(),
        "feature": ("chat", "search")[number % 2],
        "user_id": f"user-{number % 3}",
        "input_tokens": 1_000 + number,
        "output_tokens": 7,
        "quantities": {"images": "0.5"} if number % 11 == 0 else None,
    }
    return wire(f"call-{number}", **usual | models[number % 5] | fields)


class Killed(Exception):
    """The process ends here."""


@dataclass
class MortalWriter:
    """Dies before its write number ``dies_at``, or after it."""

    writer: Writer
    dies_at: int
    after: bool = False
    writes: list[str] = field(default_factory=list)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        return self._write(table, self.writer.insert, frame)

    def insert_at_once(self, table: str, frame: pl.DataFrame) -> int:
        return self._write(table, self.writer.insert_at_once, frame)

    def _write(self, table: str, insert: Callable[[str, pl.DataFrame], int], frame: pl.DataFrame) -> int:
        if frame.is_empty():
            return 0
        self.writes.append(table)
        if len(self.writes) == self.dies_at and not self.after:
            raise Killed(table)
        written = insert(table, frame)
        if len(self.writes) == self.dies_at:
            raise Killed(table)
        return written


@dataclass
class Right:
    """To write corrections: nobody else does here. Counts how often it was asked for."""

    asked: int = 0

    def require(self) -> None:
        self.asked += 1


class Place:
    """A warehouse, a worker's state over it, and re-pricings of what it stored."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self.address = address
        self.warehouse = Warehouse(Reader(address), Writer(address))
        self.clients = Clients(address)
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.ingest = self.started()

    @property
    def reader(self) -> Reader:
        return self.warehouse.reader

    def started(self, book: PriceBook = LIST) -> Ingest:
        since = NOW - timedelta(days=7)
        both = range(PARTITIONS)
        return ingest_of(self.warehouse, SOURCE, both, count=PARTITIONS, since=since, book=book, clock=lambda: NOW)

    def records(self, values: Sequence[bytes]) -> list[FakeRecord]:
        found = []
        for value in values:
            home = home_of(json.loads(value)["request_id"], total=PARTITIONS)
            found.append(FakeRecord(value, home, self.offsets[home], round(NOW.timestamp() * 1_000)))
            self.offsets[home] += 1
        return found

    def store(self, values: Sequence[bytes]) -> None:
        run(self.warehouse, self.ingest, self.records(values))

    def repricer(self, book: PriceBook = OURS, *, writer: Any = None, **options: Any) -> Repricer:
        right: Any = Right()
        usual: dict[str, Any] = {"clock": lambda: NOW, "pause": lambda: None, "rows_max": 1_000}
        mortal = writer or self.warehouse.writer
        return Repricer(self.reader, mortal, right, book, revision=1, **usual | options)

    def reprice(self, book: PriceBook = OURS, span: Span = WEEK, **options: Any) -> Repriced:
        return self.repricer(book, **options).run(span, by="ada", reason="the contract came late")

    def frame(self, sql: str) -> pl.DataFrame:
        return self.reader.frame(sql)

    def command(self, sql: str) -> None:
        with self.clients.use() as client:
            client.command(sql)

    def costs(self) -> dict[str, tuple[Decimal | None, str]]:
        rows = self.frame("SELECT request_id, cost_usd, cost_status FROM usage_events").iter_rows()
        return {request_id: (cost, status) for request_id, cost, status in rows}

    def broken(self) -> dict[str, int]:
        report = audit(self.reader, clock=lambda: NOW, pause=lambda: None)
        return {check.name: check.differing for check in report.checks if not check.holds}

    def close(self) -> None:
        for part in (self.reader, self.warehouse.writer, self.clients):
            part.close()
