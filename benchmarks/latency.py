"""From record() in a service to a row that a query returns, at a steady rate, over the warehouse's HTTP protocol."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from benchmarks.events import one_event
from benchmarks.ground import BenchmarkFailed, Ground, WorkerProcess
from benchmarks.sizes import Sizes
from costream import UsageProducer
from costream.topics import EVENTS
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from tests.support.databases import migrated
from tests.support.warehouse import Endpoint

POLL_S: Final = 0.05
WARM_UP_S: Final = 3.0  # of events that are sent and not measured: connections open, code is loaded
ARRIVAL_MAX_S: Final = 30.0
# stored_at is taken when an insert begins; rows of one that took this long would still be seen.
INSERT_MAX: Final = timedelta(seconds=10)
NEW_ROWS: Final = (
    "SELECT request_id, received_at, stored_at FROM usage_events_rows WHERE stored_at >= {since:DateTime64(3)}"
)
_SECONDS: Final = [pl.col(name).dt.timestamp("ms") / 1_000 for name in ("received_at", "stored_at")]
EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - bound as a DateTime64 of the server's own zone, which is UTC


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from just before record() until a poll has returned the row; polls are 50 ms apart."""

    events: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    stages: tuple[StageTime, ...]


@dataclass(frozen=True, slots=True)
class StageTime:
    """Milliseconds of one stretch of the way; those of all stretches add up to an event's whole time."""

    name: str
    p50_ms: float
    p99_ms: float


class Seen(NamedTuple):
    """When a row was first returned by a poll, by the monotonic clock; and the times in it, in seconds since 1970."""

    at: float
    received: float
    stored: float


def run(ground: Ground, sizes: Sizes) -> Latency:
    folder = ground.new_folder("latency")
    with Endpoint(folder / "clickhouse") as endpoint:
        address = migrated(endpoint.address())
        settings = ground.settings(topic_prefix="latency.", consumer_group="latency", clickhouse_url=endpoint.url)
        ground.create_topics(settings)
        with (
            WorkerProcess(settings, folder) as worker,
            UsageProducer(
                bootstrap_servers=ground.bootstrap_servers, topic=settings.topic(EVENTS), spool_dir=folder / "spool"
            ) as producer,
        ):
            worker.wait_until_ready()
            sender = Sender(producer, per_second=sizes.latency_per_second)
            warm_up = sender.send(WARM_UP_S)
            _await_rows(address, warm_up)
            latency = _measure(sender, address, sizes)
            worker.stop()
    return latency


class Sender:
    """Sends at a steady rate and remembers when: what comes late because the machine was busy is sent late, at once."""

    def __init__(self, producer: UsageProducer, *, per_second: int) -> None:
        self._producer, self._per_second = producer, per_second

    def send(self, seconds: float, sent: dict[str, float] | None = None) -> dict[str, float]:
        sent = {} if sent is None else sent
        started = time.monotonic()
        for number in range(int(seconds * self._per_second)):
            time.sleep(max(0.0, started + number / self._per_second - time.monotonic()))
            event = one_event(number)
            sent[event.request_id] = time.monotonic()
            self._producer.record(event)
        return sent


def _measure(sender: Sender, address: ClickHouseAddress, sizes: Sizes) -> Latency:
    sent: dict[str, float] = {}
    started, since_1970 = time.monotonic(), time.time() - time.monotonic()
    sending = threading.Thread(target=sender.send, args=(sizes.latency_seconds, sent), daemon=True)
    sending.start()
    seen = _await_rows(address, sent, sending)
    # A row a moment: record() is called, Kafka has it, its insert begins, a query returns it.
    moments = np.array(
        [(sent[one], seen[one].received - since_1970, seen[one].stored - since_1970, seen[one].at) for one in sent]
    )
    waits = (moments[:, -1] - moments[:, 0]) * 1_000
    p50, p90, p99 = np.percentile(waits, [50, 90, 99])
    took = max(sent.values()) - started
    names = ("until Kafka has it", "until its insert begins", "until a query returns it")
    stages = tuple(
        StageTime(name, *map(float, np.percentile(times, [50, 99])))
        for name, times in zip(names, np.diff(moments, axis=1).T * 1_000, strict=True)
    )
    return Latency(len(sent), len(sent) / took, float(p50), float(p90), float(p99), float(waits.max()), stages)


def _await_rows(
    address: ClickHouseAddress, sent: dict[str, float], sending: threading.Thread | None = None
) -> dict[str, Seen]:
    """Each row as the first poll that returned it. Ends when all that was sent is there."""
    reader = Reader(address)
    visible: dict[str, Seen] = {}
    since: Any = EPOCH
    deadline = time.monotonic() + ARRIVAL_MAX_S
    try:
        while (sending and sending.is_alive()) or not sent.keys() <= visible.keys():
            began = time.monotonic()
            rows = reader.frame(NEW_ROWS, since=since)
            now = time.monotonic()
            for request_id, received, stored in rows.select("request_id", *_SECONDS).iter_rows():
                visible.setdefault(request_id, Seen(now, received, stored))
            if rows.height:
                newest = rows["stored_at"].max()
                assert isinstance(newest, datetime)
                since = newest.replace(tzinfo=None) - INSERT_MAX
            if sending and sending.is_alive():
                deadline = now + ARRIVAL_MAX_S
            elif now > deadline:
                missing = len(sent.keys() - visible.keys())
                raise BenchmarkFailed(f"{missing} of {len(sent)} events were not to be seen after {ARRIVAL_MAX_S} s")
            time.sleep(max(0.0, began + POLL_S - time.monotonic()))
    finally:
        reader.close()
    return visible
