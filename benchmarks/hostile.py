"""What one message costs a worker at most, of the kinds that are worst, against what a plain one costs it.

    python -m benchmarks.run --only hostile
    python -m benchmarks.hostile                   the same, as one JSON object

The whole job without a broker: the batch as Kafka has it is decompressed and read, decoded, told apart from what was
seen, priced, rolled up, stored by the embedded engine with fsync, and written out as the records that would be
published. CPU time of the process, all threads of the engine included. What is refused is refused in a minute of its
own each, so that its dead letter is kept whole, which is the dearest.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

from aiokafka.structs import TopicPartition

from benchmarks.ground import Ground, ask_child, python_module
from benchmarks.hostile_kinds import LIMITS, NOW, Kind, kinds
from costream.pricing import PriceBook
from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.consume.faust_patches import FetchedBytes, FetchedRecords
from stream.consume.reading import look
from stream.consume.wire import FetchedRecord
from stream.decode.frame import Decoded
from stream.ingest import Ingest
from stream.runtime.memory import calm_the_collector
from stream.store.letters import dead_letter_message
from stream.store.order import hourly_messages, insert_rows, unit_messages, user_messages
from tests.support.records import wire
from tests.support.wire import LZ4, WireBatch, WireRecord

NEIGHBOURS: Final = 2_000  # plain events in each batch: their cost is taken off
PLAIN: Final = Kind("a plain event", wire())
PLAIN_MEASURED: Final = 20_000  # to see what one more plain event costs
ROUNDS: Final = 3
FEW: Final = 10  # so many times fewer are in the batch that each kind is compared with
BYTES_MEASURED: Final = 10_000_000  # of a kind, in a batch
SOURCE: Final = "benchmark"
BATCH_BYTES: Final = 900_000  # of records in a batch of Kafka's


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time for one message; ``ratio`` is to a plain one. ``decode_us`` is the decoding in it."""

    kind: str
    bytes: int
    us: float
    decode_us: float
    ratio: float


def run(ground: Ground) -> tuple[Cost, ...]:
    """The plain one, and then the dearest first."""
    answer = ask_child(python_module("hostile"), folder=ground.new_folder("hostile"), seconds_max=900)
    return tuple(Cost(**cost) for cost in answer["costs"])


def measure(folder: Path) -> list[Cost]:
    job, chosen = _Job(folder), list(kinds())
    for _ in range(3):  # what polars and the engine take once
        job.spent([(PLAIN, NEIGHBOURS)])
    plain = _each(job, [PLAIN])[PLAIN.name]
    found = _each(job, chosen)
    costs = [Cost(kind.name, kind.size, *found[kind.name], found[kind.name][0] / plain[0]) for kind in chosen]
    return [Cost(PLAIN.name, PLAIN.size, *plain, 1.0), *sorted(costs, key=lambda cost: -cost.us)]


def _each(job: _Job, measured: Sequence[Kind]) -> dict[str, tuple[float, float]]:
    """By name: microseconds for one message, of the whole job and of decoding; the median of some rounds."""
    rounds = [_round(job, measured) for _ in range(ROUNDS)]
    return {
        kind.name: (
            statistics.median(spent[kind.name][0] for spent in rounds),
            statistics.median(spent[kind.name][1] for spent in rounds),
        )
        for kind in measured
    }


def _round(job: _Job, measured: Sequence[Kind]) -> dict[str, tuple[float, float]]:
    """From a batch that has a few of a kind to one that has many: what its first one costs a batch is paid once."""
    spent = {}
    for kind in measured:
        few, many = (_spent_with(job, kind, number) for number in (_number(kind) // FEW, _number(kind)))
        number = _number(kind) - _number(kind) // FEW
        spent[kind.name] = tuple(max(0.0, more - less) / number * 1e6 for less, more in zip(few, many, strict=True))
    return spent  # type: ignore[return-value]  # two each


def _spent_with(job: _Job, kind: Kind, number: int) -> tuple[float, float]:
    return job.spent([(PLAIN, NEIGHBOURS), (kind, number)])


def _number(kind: Kind) -> int:
    return PLAIN_MEASURED if kind is PLAIN else max(20, min(500, BYTES_MEASURED // kind.size))


class _Job:
    """A worker's work on one partition, and the engine that it stores with."""

    def __init__(self, folder: Path) -> None:
        address = ClickHouseAddress(f"chdb://{folder}", database="hostile")
        migrate.up(address)
        self._writer = Writer(address)
        book = PriceBook.bundled()
        self._ingest = Ingest(
            reader=Reader(address), book=lambda: book, limits=LIMITS, ids_max=20_000_000, clock=lambda: NOW
        )
        self._ingest.assign([0], partition_count=1, source=SOURCE, since=NOW - timedelta(days=1))
        self._offset, self._ids = 0, count()
        calm_the_collector()

    def spent(self, parts: Sequence[tuple[Kind, int]]) -> tuple[float, float]:
        """Seconds of CPU time for a batch of so many of these kinds: of all of it, and of decoding it."""
        legal = sum(number for kind, number in parts if kind.legal or kind is PLAIN)
        raw = self._fetched(parts)
        began = time.process_time()
        records = self._read(raw)
        read = time.process_time()
        decoded = self._ingest.decode(records)
        decoded_at = time.process_time()
        stored = self._store(decoded)
        ended = time.process_time()
        assert stored == legal, f"{stored} were stored and not {legal}: a kind is not what it says"
        return ended - began, decoded_at - read

    def _store(self, decoded: Decoded) -> int:
        flush = self._ingest.process(decoded)
        for messages in (hourly_messages(flush), unit_messages(flush), user_messages(flush)):
            assert all(message.value for message in messages)
        assert len([dead_letter_message(refusal, source=SOURCE) for refusal in flush.refusals]) == len(flush.refusals)
        insert_rows(self._writer, flush)
        self._ingest.settle(flush)
        return flush.stored

    def _fetched(self, parts: Sequence[tuple[Kind, int]]) -> bytes:
        """What a fetch brings of them."""
        sent, minute = [], 0
        for kind, number in parts:
            for _ in range(number):
                minute += kind is not PLAIN
                value = kind.numbered(next(self._ids))
                sent.append(WireRecord(value, key=kind.key, headers=kind.headers, timestamp_delta=60_000 * minute))
        raw = b""
        step = max(1, BATCH_BYTES * len(sent) // sum(map(_size, sent)))
        for records in (sent[at : at + step] for at in range(0, len(sent), step)):
            raw += WireBatch(records, codec=LZ4, timestamp=round(NOW.timestamp() * 1000)).encoded(self._offset)
            self._offset += len(records)
        return raw

    def _read(self, raw: bytes) -> list[FetchedRecord]:
        look.begin()
        fetched = FetchedRecords(TopicPartition("usage.events", 0), FetchedBytes(raw), [], 0, None, None, True, 0)
        return [record for records, _ in fetched for record in records]


def _size(record: WireRecord) -> int:
    return len(record.value or b"") + len(record.key or b"") + 16


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"costs": [asdict(cost) for cost in measure(Path(folder))]}), flush=True)
