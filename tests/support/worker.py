"""``costream worker`` as a process of its own: its settings, its pages, its log and its end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.errors import WarehouseUnavailable
from stream.runtime import topics
from tests.support.records import rfc3339, until, wire
from tests.support.warehouse import settings_of

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from stream.cli import main; main()"
TOPICS = {spec.name: 4 if spec.partitions_may_grow else spec.partitions for spec in topics.TOPICS}

# A prelude: the rule of floods looks every 15 s, and says nothing before it has looked twice.
LOOKS_OFTEN = """
import sys
from datetime import timedelta
from stream.watch.rules.flood import FloodRule
judge, FloodRule.every = FloodRule.judge, timedelta(seconds=1)
def judge_noted(self, tallies, known, now):
    print('{"event": "looked"}', file=sys.stderr, flush=True)
    return judge(self, tallies, known, now)
FloodRule.judge = judge_noted
"""


class WorkerProcess:
    """Start, ask, stop or kill. ``prelude`` is Python that runs before the command: how a test poisons a worker."""

    def __init__(
        self,
        bootstrap_servers: str,
        address: ClickHouseAddress,
        *,
        prefix: str = "",
        group: str = "costream",
        prelude: str = "",
        **settings: object,
    ) -> None:
        self.address = address
        self.log_path = Path(tempfile.mkstemp(prefix="costream-worker-", suffix=".log")[1])
        given: Mapping[str, object] = {
            "kafka_bootstrap_servers": bootstrap_servers,
            "topic_prefix": prefix,
            "consumer_group": f"{prefix}{group}",
            **settings_of(address),
            "health_port": 0,
            "session_timeout": 6,
            "batch_wait_max": 0.1,
        }
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
        self._environment |= {f"COSTREAM_{name.upper()}": str(value) for name, value in (given | settings).items()}
        self._command = [sys.executable, "-c", f"{prelude}\n{MAIN}", "worker"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, cwd=ROOT, stderr=log)
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start the worker first"
        return self._process

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.ended()

    def ended(self, *, seconds: float = 40) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the worker did not end within {seconds:.0f} s:\n{self.log_tail()}") from None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind is None:
            self.log_path.unlink()
        else:
            print(self.log_tail())  # noqa: T201 - pytest shows it with the failure

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log with this event."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        return [line for line in lines if isinstance(line, dict) and line.get("event") == event]

    def log_tail(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-40:])

    def until(self, condition: Any, what: str, *, seconds: float = 60) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, f"the worker ended with {self.process.poll()}:\n{self.log_tail()}"
            return bool(condition())

        try:
            until(holds, what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from error

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages; 0 while nobody answers."""
        started = self.log("health")
        if not started:
            return 0, ""
        url = started[-1]["url"].removesuffix("/readyz") + path
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""


def producer_of(bootstrap_servers: str, **config: Any) -> Producer:
    return Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0, "partitioner": "murmur2_random", **config})


def send_calls(bootstrap_servers: str, count: int, *, topic: str = "usage.events", **fields: Any) -> None:
    """Calls of 0.15 USD each, of one moment, so that all are of one day whatever the clock says."""
    producer = producer_of(bootstrap_servers)
    usual = {"input_tokens": 1_000_000, "output_tokens": 0, "occurred_at": rfc3339(datetime.now(UTC))}
    for _ in range(count):
        producer.produce(topic, wire(str(uuid4()), **usual | fields))
    assert producer.flush(30) == 0


COORDINATOR_MOVES: Final = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
COMMITTED_SECONDS_MAX: Final = 30.0


def group_offsets(bootstrap_servers: str, group: str, topic: str, partitions: int, **config: Any) -> list[int]:
    """What the group has committed, by partition; a negative number where it has committed nothing."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, **config})
    asked = [TopicPartition(topic, partition) for partition in range(partitions)]
    deadline = time.monotonic() + COMMITTED_SECONDS_MAX
    try:
        while True:
            try:
                return [found.offset for found in consumer.committed(asked, timeout=10)]
            except KafkaException as error:
                if error.args[0].code() not in COORDINATOR_MOVES or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
    finally:
        consumer.close()


def read_topic(bootstrap_servers: str, topic: str, *, partitions: int = 1) -> list[Any]:
    """Every message of a topic from its beginning to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"read-{uuid4()}",
            "fetch.max.bytes": 2**26,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    found: list[Any] = []
    try:
        for partition in range(partitions):
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
            while not _at_end(message := consumer.poll(10), topic, found):
                found.append(message)
    finally:
        consumer.close()
    return found


def _at_end(message: Any, topic: str, found: list[Any]) -> bool:
    assert message is not None, f"nothing came of {topic} for 10 s after {len(found)} records"
    error = message.error()
    assert error is None or error.code() == KafkaError._PARTITION_EOF, str(error)
    return error is not None


class Totals:
    """What the warehouse says, while a worker is writing to it."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self._reader = Reader(address)

    def one(self, sql: str) -> tuple[Any, ...]:
        try:
            return self._reader.frame(sql).row(0)
        except WarehouseUnavailable:
            return ()

    def column(self, sql: str) -> list[Any]:
        """The one column that a question answers with."""
        return self._reader.frame(sql).to_series().to_list()

    def counted(self) -> tuple[Any, ...]:
        """Rows kept, calls by hour, calls by day, duplicates, dead letters."""
        return self.one(
            "SELECT (SELECT count() FROM usage_events), (SELECT toInt64(sum(calls)) FROM usage_hourly), "
            "(SELECT toInt64(sum(calls)) FROM usage_user_daily_rows FINAL), "
            "(SELECT toInt64(sum(duplicates)) FROM usage_hourly), (SELECT count() FROM dead_letters)"
        )

    def cells(
        self,
        tables: Sequence[str] = (
            *("usage_events", "usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily", "ingest_ledger"),
        ),
    ) -> Any:
        return {
            table: sorted(
                self._reader.frame(f"SELECT * FROM {rows_of(table)} FINAL").drop("stored_at", strict=False).rows(),
                key=repr,
            )
            for table in tables
        }

    def close(self) -> None:
        self._reader.close()
