"""What many different series in one hour cost: the same events once under few series and once each under its own.

python -m benchmarks.run --only series

Each in a process of its own with the memory of a worker, so that nothing else is in it.

Then all series again, each by one more event and in random order: the worst case for rows that were let go.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import psutil

from benchmarks.ground import Ground, ask_child
from benchmarks.sizes import Sizes
from costream.pricing import PriceBook
from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.decode.cut import Cut, Header
from stream.decode.frame import AgeLimits, Record
from stream.ingest import Ingest
from stream.runtime.memory import calm_the_collector
from stream.store.order import hourly_messages, insert_rows, user_messages

BATCH: Final = 50_000
FEW: Final = 1_200  # the series of a company with some hundred features
POLL_SECONDS: Final = 0.05
SOURCE: Final = "benchmark"
# With the memory of a worker: the allocator is set up before polars is imported.
AS_A_WORKER: Final = (
    "from stream.runtime.memory import keep_memory; keep_memory(); from benchmarks.series import main; main()"
)


@dataclass(frozen=True, slots=True)
class Series:
    """One worker's work without Kafka, its rows stored by the embedded engine; megabytes are 1e6 bytes."""

    series: int
    events: int
    events_per_second: float
    memory_above_idle_mb: float
    again_per_second: float
    memory_after_again_mb: float  # with twice as many ids


def run(ground: Ground, sizes: Sizes) -> tuple[Series, Series]:
    few, many = (
        Series(
            **ask_child(
                [sys.executable, "-c", AS_A_WORKER, str(series), str(sizes.series)],
                folder=ground.new_folder(f"series-{series}"),
                seconds_max=900,
            )
        )
        for series in (FEW, sizes.series)
    )
    return few, many


def measure(series: int, events: int, folder: Path) -> Series:
    address = ClickHouseAddress(f"chdb://{folder}", database="series")
    migrate.up(address)
    reader, writer, now = Reader(address), Writer(address), datetime.now(UTC)
    limits = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))
    book = PriceBook.bundled()
    ingest = Ingest(reader=reader, book=lambda: book, limits=limits, ids_max=20_000_000)
    ingest.assign([0], partition_count=1, source=SOURCE, since=now - timedelta(days=1))
    _store(ingest, writer, _records(0, range(BATCH), FEW, now))  # what polars and the engine take once
    idle, peak = _resident(), _Peak()
    in_order = range(events)
    first = events / _seconds(ingest, writer, _batches(BATCH, in_order, series, now))
    after_first = peak.most
    again = Random(1).sample(in_order, events)
    second = events / _seconds(ingest, writer, _batches(BATCH + events, again, series, now))
    return Series(
        series=series,
        events=events,
        events_per_second=first,
        memory_above_idle_mb=(after_first - idle) / 1e6,
        again_per_second=second,
        memory_after_again_mb=(peak.end() - idle) / 1e6,
    )


def _seconds(ingest: Ingest, writer: Writer, batches: Iterable[list[Record]]) -> float:
    """What the batches took, without making them."""
    seconds = 0.0
    for records in batches:
        began = time.perf_counter()
        _store(ingest, writer, records)
        seconds += time.perf_counter() - began
    return seconds


def _batches(first: int, numbers: Sequence[int], series: int, now: datetime) -> Iterator[list[Record]]:
    for at in range(0, len(numbers), BATCH):
        yield _records(first + at, numbers[at : at + BATCH], series, now)


def _store(ingest: Ingest, writer: Writer, records: list[Record]) -> None:
    flush = ingest.process(ingest.decode(records))
    assert flush.stored == len(records), "each is new and valid"
    for messages in (hourly_messages(flush), user_messages(flush)):  # written out, and sent nowhere
        assert all(message.value for message in messages)
    insert_rows(writer, flush)
    ingest.settle(flush)


def _records(first: int, numbers: Sequence[int], series: int, now: datetime) -> list[Record]:
    moment = now.strftime("%Y-%m-%dT%H:00:00.000Z")  # as clients write it
    return [
        _Record(_value(offset, number, number % series, moment), offset, round(now.timestamp() * 1000))
        for offset, number in enumerate(numbers, start=first)
    ]


def _value(offset: int, number: int, series: int, moment: str) -> bytes:
    fields = {
        "schema_version": 1,
        "request_id": f"r-{offset}",
        "occurred_at": moment,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "feature": f"feature-{series}",
        "user_id": f"u-{series}",
        "input_tokens": 100 + number * 7_919 % 4_000,  # as different as those of calls
        "output_tokens": 10 + number * 104_729 % 1_000,
    }
    return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class _Record:
    """What the stream reads of a Kafka record."""

    value: bytes | None
    offset: int
    timestamp: int
    partition: int = 0
    key: bytes | None = None
    headers: Sequence[Header] = ()
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False


class _Peak:
    """The most memory that this process has held since then."""

    def __init__(self) -> None:
        self.most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return self.most

    def _watch(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            self.most = max(self.most, _resident())


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    calm_the_collector()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asdict(measure(int(sys.argv[1]), int(sys.argv[2]), Path(folder)))), flush=True)
