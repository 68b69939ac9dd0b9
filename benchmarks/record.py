"""What record() costs the caller: p50, p99 and the longest call, with Kafka up and down.

    python -m benchmarks.record up|down CALLS RATE [BOOTSTRAP]

Each call is timed on its own, in the thread of a host that builds the event just before and does nothing else (rate 0:
as fast as it can; else so many a second). The timer's own cost, about 0.05 us, is in the figures. Without a broker's
address, Kafka is the embedded one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Final

from confluent_kafka import Producer

from benchmarks.events import one_event
from benchmarks.ground import Ground, ask_child, python_module
from benchmarks.sizes import Sizes
from costream import ProducerStats, UsageProducer
from costream.topics import EVENTS

WARM_UP: Final = 1_000
NOBODY: Final = "127.0.0.1:1"  # refuses every connection
PREFIX: Final = "record."
RATE: Final = 1_000  # events a second of a busy service


@dataclass(frozen=True, slots=True)
class Calls:
    """Microseconds of a single call, and what became of the events."""

    kafka: str
    calls: int
    per_second: int  # 0: no pause between calls
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    delivered: int
    on_disk: int
    dropped: int


def run(ground: Ground, sizes: Sizes) -> tuple[Calls, ...]:
    ground.create_topics(ground.settings(topic_prefix=PREFIX))
    return tuple(
        _in_child(ground, kafka, calls, rate)
        for kafka in ("up", "down")
        for calls, rate in ((sizes.record_calls, 0), (sizes.record_rate_calls, RATE))
    )


def _in_child(ground: Ground, kafka: str, calls: int, rate: int) -> Calls:
    """A host with no other threads: what other benchmarks have left in this process would be measured with it."""
    command = python_module("record", kafka, calls, rate, ground.bootstrap_servers)
    return Calls(**ask_child(command, folder=ground.new_folder("record"), seconds_max=180))


def measure(kafka: str, calls: int, rate: int, bootstrap_servers: str) -> Calls:
    address = bootstrap_servers if kafka == "up" else NOBODY
    with tempfile.TemporaryDirectory() as spool_dir:
        producer = UsageProducer(bootstrap_servers=address, spool_dir=spool_dir, topic=PREFIX + EVENTS)
        for number in range(WARM_UP):
            producer.record(one_event(number))
        producer.flush(10)
        taken = sorted(_timed(producer, calls, rate))
        producer.close(30)
        stats = producer.stats()
    return _calls(kafka, taken, rate, stats)


def _timed(producer: UsageProducer, calls: int, rate: int) -> list[int]:
    """Nanoseconds of each call."""
    taken = []
    started = time.perf_counter()
    for number in range(calls):
        event = one_event(number)
        began = time.perf_counter_ns()
        producer.record(event)
        taken.append(time.perf_counter_ns() - began)
        if rate:
            time.sleep(max(0.0, started + (number + 1) / rate - time.perf_counter()))
    return taken


def _calls(kafka: str, taken: list[int], rate: int, stats: ProducerStats) -> Calls:
    p50, p99, p999 = (taken[int(len(taken) * share)] / 1_000 for share in (0.5, 0.99, 0.999))
    return Calls(
        kafka=kafka,
        calls=len(taken),
        per_second=rate,
        p50_us=p50,
        p99_us=p99,
        p999_us=p999,
        max_us=taken[-1] / 1_000,
        delivered=stats.delivered,
        on_disk=stats.spool_rows,
        dropped=stats.dropped,
    )


def main(kafka: str, calls: str, rate: str, bootstrap_servers: str = "") -> None:
    embedded = None
    if not bootstrap_servers:
        embedded = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = embedded.list_topics(timeout=10).brokers.values()
        bootstrap_servers = f"{broker.host}:{broker.port}"
    print(json.dumps(asdict(measure(kafka, int(calls), int(rate), bootstrap_servers))))
    del embedded  # the broker lives as long as this producer


if __name__ == "__main__":
    main(*sys.argv[1:])
