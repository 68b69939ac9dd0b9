"""A worker with the embedded engine in its process, on a disk that fills and empties again and again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.vocabulary import rows_of
from stream.up.broker import EmbeddedBroker
from tests.support.records import rfc3339, wire
from tests.support.small_disk import SmallDisk
from tests.support.warehouse import Endpoint
from tests.support.worker import MAIN, ROOT, TOPICS, Totals, WorkerProcess, producer_of

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

ROUNDS: Final = 6
KILLED_IN_ROUND: Final = 2  # the next worker starts while the disk is full
EVENTS_OF_A_ROUND: Final = 400
SAID_SECONDS_MAX: Final = 5.0
COST: Final = 1000 * Decimal("0.00000015") + 500 * Decimal("0.0000006")  # of one event that ``wire`` makes


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def test_a_disk_that_fills_again_and_again_loses_nothing_and_every_stall_is_said_and_ends_by_itself(
    broker: EmbeddedBroker, small_disk: SmallDisk
) -> None:
    folder = small_disk.path / "clickhouse"
    address = ClickHouseAddress(f"chdb://{folder}")
    migrate(address)
    producer, published = producer_of(broker.bootstrap_servers), list[str]()
    worker = WorkerProcess(broker.bootstrap_servers, address)
    with worker:
        publish(producer, published, EVENTS_OF_A_ROUND)
        worker.until(lambda: stored(worker) == len(published), "stored while there is room")
        kept = 0  # what earlier workers had stored: each counts from 0
        for round_ in range(ROUNDS):
            small_disk.fill(leave_bytes=(0, 4_096, 300_000)[round_ % 3])
            said = len(worker.log("stalled"))
            publish(producer, published, EVENTS_OF_A_ROUND)
            check_stall_is_said(worker, said=said)
            if round_ == KILLED_IN_ROUND:
                kept += int(stored(worker))
                said = len(worker.log("stalled"))
                kill_and_start(worker)
                check_stall_is_said(worker, said=said)
            publish(producer, published, EVENTS_OF_A_ROUND)
            assert worker.page("/healthz")[0] == 200  # a restart would not help
            small_disk.empty()
            expected = len(published) - kept
            worker.until(lambda expected=expected: stored(worker) >= expected, "all stored once there is room")
            worker.until(lambda: metric(worker, "costream_stalled") == 0, "no longer stalled")
        worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
        assert worker.stop() == 0
        assert len(worker.log("going on")) >= ROUNDS
        assert not worker.log("bug")
    with Endpoint(folder) as endpoint:
        recount(endpoint.address(), published)


def migrate(address: ClickHouseAddress) -> None:
    environment = os.environ | {"COSTREAM_CLICKHOUSE_URL": address.url}
    subprocess.run([sys.executable, "-c", MAIN, "migrate", "up"], cwd=ROOT, env=environment, check=True, timeout=60)


def publish(producer: Producer, published: list[str], count: int) -> None:
    occurred_at = rfc3339(datetime.now(UTC))
    for _ in range(count):
        published.append(str(uuid4()))
        producer.produce("usage.events", key=published[-1], value=wire(published[-1], occurred_at=occurred_at))
    assert producer.flush(30) == 0


def kill_and_start(worker: WorkerProcess) -> None:
    worker.process.kill()
    worker.process.wait()
    before = len(worker.log("partitions taken over"))
    worker.start()
    worker.until(lambda: len(worker.log("partitions taken over")) > before, "started on a full disk")


def check_stall_is_said(worker: WorkerProcess, *, said: int) -> None:
    """By another line in the log and by the metric, soon after there is something that cannot be stored."""
    began = time.monotonic()
    worker.until(lambda: len(worker.log("stalled")) > said, "the stall is said")
    worker.until(lambda: metric(worker, "costream_stalled") == 1, "and measured")
    assert time.monotonic() - began < SAID_SECONDS_MAX
    assert re.search("enough space|space left", worker.log("stalled")[-1]["error"])


def metric(worker: WorkerProcess, name: str, labels: str = "") -> float:
    lines = (line for line in worker.page("/metrics")[1].splitlines() if line.startswith(f"{name}{labels} "))
    return float(next(lines, f"{name} nan").rpartition(" ")[2])


def stored(worker: WorkerProcess) -> float:
    return metric(worker, "costream_records_total", '{outcome="stored"}')


def recount(address: ClickHouseAddress, published: list[str]) -> None:
    totals = Totals(address)
    found = Counter(totals.column("SELECT request_id FROM usage_events_rows FINAL"))
    assert found == Counter(published)
    calls = len(published)
    assert totals.counted() == (calls, calls, calls, 0, 0)
    for table in ("usage_hourly", "usage_user_daily"):
        assert totals.one(f"SELECT sum(cost_usd) FROM {rows_of(table)} FINAL") == (calls * COST,)
    totals.close()
