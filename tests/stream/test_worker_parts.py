"""A worker never goes on from fewer rows than were stored: broken parts are mended, or it waits for a person."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from sinks.clickhouse.connect import ClickHouseAddress, open_client
from stream.runtime.process import EXIT_TEMPORARY
from stream.up.broker import EmbeddedBroker
from tests.support.databases import migrated
from tests.support.records import rfc3339, wire
from tests.support.warehouse import Endpoint, fill_and_merge, lose_what_was_merged
from tests.support.worker import MAIN, ROOT, TOPICS, Totals, WorkerProcess, group_offsets, producer_of

EVENTS: Final = 20  # published at once
BROKEN_WITHIN_S: Final = 50.0  # what was merged is kept for 60 s (engine.xml)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.mark.slow
def test_a_worker_does_not_start_on_a_warehouse_that_has_set_rows_aside(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with Endpoint(tmp_path / "clickhouse") as endpoint:
        address = migrated(endpoint.address())
        merged = fill_and_merge(address)
        endpoint.kill()
        lose_what_was_merged(merged)
        endpoint.start()
        with WorkerProcess(broker.bootstrap_servers, address) as worker:
            worker.until(lambda: worker.log("stalled"), "says what it waits for")
            said = worker.log("stalled")[-1]
            assert said["doing"] == "looking for parts that are set aside"
            assert f"broken-on-start_{merged.name} of {address.database}.usage_hourly_rows" in said["error"]
            assert "set aside" in worker.page("/readyz")[1]
            with closing(open_client(address)) as client:
                client.command(re.findall("`(ALTER TABLE .*)`$", said["error"])[0])
            worker.until(lambda: worker.log("going on"), "goes on once a person has seen to it")
            assert worker.stop() == 0


@pytest.mark.slow
def test_a_broken_part_ends_a_worker_with_the_engine_in_its_process_and_the_next_start_has_all_rows(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    folder = tmp_path / "clickhouse"
    address = ClickHouseAddress(f"chdb://{folder}")
    environment = os.environ | {"COSTREAM_CLICKHOUSE_URL": address.url}
    subprocess.run([sys.executable, "-c", MAIN, "migrate", "up"], cwd=ROOT, env=environment, check=True, timeout=60)
    producer = producer_of(broker.bootstrap_servers)
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        published = break_merged_parts(folder, worker, lambda: publish(producer, EVENTS))
        assert worker.ended() == EXIT_TEMPORARY
        assert worker.log("a merge broke a part")
        worker.start()
        published += publish(producer, EVENTS)
        worker.until(lambda: applied(broker) == published, "all is stored")
        assert worker.stop() == 0
    assert not list(folder.glob("store/*/*/detached/*")), "what was made good is deleted"
    with Endpoint(folder) as endpoint, closing(Totals(endpoint.address())) as totals:
        assert totals.counted() == (published, published, published, 0, 0)


def publish(producer: Producer, count: int) -> int:
    occurred_at = rfc3339(datetime.now(UTC))
    for _ in range(count):
        request_id = str(uuid4())
        producer.produce("usage.events", key=request_id, value=wire(request_id, occurred_at=occurred_at))
    assert producer.flush(30) == 0
    return count


def break_merged_parts(folder: Path, worker: WorkerProcess, publish: Callable[[], int]) -> int:
    """Publish until the worker has ended, and empty each merged part as soon as it is there; returns how much was
    published. A part that the worker has looked at before it was emptied is not looked at again, so one is not
    enough."""
    published, seen = 0, set[Path]()
    deadline = time.monotonic() + BROKEN_WITHIN_S
    while worker.process.poll() is None:
        assert time.monotonic() < deadline, f"{len(seen)} merged parts were emptied:\n{worker.log_tail()}"
        published += publish()
        for _ in range(20):
            for part in set(merged_parts(folder)) - seen:
                seen.add(part)
                for file in part.iterdir():
                    file.write_bytes(b"")
            time.sleep(0.02)
    return published


def applied(broker: EmbeddedBroker) -> int:
    partitions = TOPICS["usage.events"]
    return sum(
        max(offset, 0) for offset in group_offsets(broker.bootstrap_servers, "costream", "usage.events", partitions)
    )


def merged_parts(folder: Path) -> list[Path]:
    """Parts of a level above 0 that no other part holds: what the engine uses, but for one that is being written."""
    found = [(path, *map(int, path.name.split("_")[1:4])) for path in folder.glob("store/*/*/[0-9]*_*_*_*")]
    return [
        path
        for path, lowest, highest, level in found
        if level
        and not any(
            (other.parent, low <= lowest, highest <= high) == (path.parent, True, True)
            for other, low, high, _ in found
            if other != path and other.name.split("_")[0] == path.name.split("_")[0]
        )
    ]
