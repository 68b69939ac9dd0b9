"""The parts under attack: a broker, a warehouse and worker processes, all owned by one run and gone with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from costream.topics import EVENTS
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import SETTLE_SECONDS, Revisions
from sinks.clickhouse.rule_revisions import RULES
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseError
from stream.runtime import topics
from stream.runtime.settings import Settings
from tests.chaos.tail import Tail
from tests.support.databases import migrated
from tests.support.kafka import KafkaBroker
from tests.support.small_disk import SmallDisk
from tests.support.warehouse import Endpoint

COSTREAM: Final = Path(sysconfig.get_path("scripts")) / "costream"
REPRICE_MAX_S: Final = 120.0  # of the last one; half a minute of it may be the right of one that was killed
# Whether a channel still tries something, or nothing was told at all.
UNTOLD: Final = """
  SELECT countIf(outcome = 'failed') > 0 OR count() = 0
  FROM (SELECT argMax(outcome, (revision, reminder)) AS outcome FROM alert_deliveries GROUP BY channel, alert_id)"""
# Whether an alert stands of which a channel has told nothing: in a queue it is behind those that are tried again.
UNHEARD: Final = """
  SELECT count() > 0
  FROM (
    SELECT rule, scope FROM alerts
    GROUP BY alert_id, rule, scope HAVING argMax(status, revision) IN ('open', 'updated')) AS standing
  CROSS JOIN (SELECT channel FROM alert_channels WHERE is_on) AS on
  WHERE (on.channel, standing.rule, standing.scope) NOT IN (
    SELECT channel, rule, scope FROM alert_deliveries WHERE outcome = 'delivered')"""
LEAVE_MAX_S: Final = 45.0  # from SIGTERM to the end; beyond it a worker hangs
START_MAX_S: Final = 90.0
# All stored; or stopped while the warehouse was away (EX_TEMPFAIL); or before it had begun to listen for signals.
LEFT_WELL: Final = (0, 75, -signal.SIGTERM)
SESSION_TIMEOUT_S: Final = 6  # the least that a broker takes: what a killed worker held is soon taken over


@dataclass(slots=True)
class WorkerProcess:
    """One `costream worker`; what it says stands in a file of its own."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    leaving_since: float | None = None
    seen_off: bool = False  # its end is known and judged

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def staying(self) -> bool:
        return self.alive and self.leaving_since is None

    def last_words(self) -> str:
        """The end of what it said, whatever it was."""
        return self.log.read_text(errors="replace").strip()[-300:]

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; a line cut off by a SIGKILL is left out."""
        found = []
        for text in self.log.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                found.append(line)
        return found


@dataclass(slots=True)
class Ended:
    """A worker that ended unasked, or not as it should when asked."""

    name: str
    status: int
    last_words: str


@dataclass(slots=True)
class Counts:
    kills: int = 0
    leaves: int = 0
    joins: int = 0
    outages: int = 0
    broker_restarts: int = 0
    expired_records: int = 0
    full_disks: int = 0
    repricings: int = 0
    repricings_killed: int = 0


class Cluster:
    """Everything that runs. Use as a context: on leaving it, each process it started is ended by its id."""

    def __init__(self, folder: Path, *, partitions: int, prefix: str, disk: SmallDisk | None = None) -> None:
        self.partitions = partitions
        self.counts = Counts()
        self.workers: list[WorkerProcess] = []
        self.repricing: subprocess.Popen[bytes] | None = None
        self.ended: list[Ended] = []
        self.hung: list[str] = []
        self.broker = KafkaBroker(folder / "kafka")
        self.disk = disk  # mounted by whoever gives it
        self.endpoint = Endpoint((disk.path if disk else folder) / "clickhouse")
        self.settings = Settings(
            kafka_bootstrap_servers=self.broker.bootstrap_servers,
            topic_prefix=prefix,
            consumer_group=f"{prefix}costream",
            clickhouse_url=self.endpoint.url,
        )
        self.reader = Reader(self.address)
        self._folder = folder
        self._starting: list[Future[Any]] = []
        self._starters = ThreadPoolExecutor(2, "starter")

    def __enter__(self) -> Self:
        try:
            self._start_parts()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start_parts(self) -> None:
        self._starting = [self._starters.submit(self.broker.start), self._starters.submit(self.endpoint.start)]
        for started in self._starting:
            started.result(START_MAX_S)
        topics.create(self.settings, partitions=self.partitions)
        migrated(self.address)
        self._admin = AdminClient({"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 0})
        self._offsets = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap_servers,
                "group.id": self.settings.consumer_group,  # asks for its offsets, and never joins it
                "log_level": 0,
            }
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")} | {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "COSTREAM_TOPIC_PREFIX": self.settings.topic_prefix,
            "COSTREAM_CONSUMER_GROUP": self.settings.consumer_group,
            "COSTREAM_CLICKHOUSE_URL": self.endpoint.url,
            "COSTREAM_CLICKHOUSE_DATABASE": self.settings.clickhouse_database,
        }

    @property
    def address(self) -> ClickHouseAddress:
        return ClickHouseAddress(self.endpoint.url, database=self.settings.clickhouse_database)

    # --- workers ---

    def start_worker(self) -> WorkerProcess:
        name = f"worker-{len(self.workers) + 1:03d}"
        log = self._folder / f"{name}.log"
        environment = self._environment | {
            "COSTREAM_HEALTH_PORT": "0",
            "COSTREAM_SESSION_TIMEOUT": f"PT{SESSION_TIMEOUT_S}S",
            "COSTREAM_BATCH_ROWS_MAX": "4000",  # many flushes, so that a random moment is often inside one
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [COSTREAM, "worker"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        worker = WorkerProcess(name, process, log)
        self.workers.append(worker)
        return worker

    @property
    def staying(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers if worker.staying]

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL, at whatever it is doing."""
        worker.seen_off = True
        worker.process.kill()
        worker.process.wait()

    def ask_to_leave(self, worker: WorkerProcess) -> None:
        worker.leaving_since = time.monotonic()
        worker.process.terminate()

    def supervise(self) -> int:
        """What an orchestrator does: note who ended badly, end who hangs. Returns how many must be replaced."""
        missing = 0
        for worker in self.workers:
            status = worker.process.poll()
            if status is not None and not worker.seen_off:
                worker.seen_off = True
                missing += worker.leaving_since is None
                if worker.leaving_since is None or status not in LEFT_WELL:
                    self.ended.append(Ended(worker.name, status, worker.last_words()))
            if status is None and worker.leaving_since and time.monotonic() - worker.leaving_since > LEAVE_MAX_S:
                self.hung.append(worker.name)
                self.kill(worker)
        return missing

    def stop_workers(self) -> None:
        """SIGTERM to all, and wait."""
        for worker in self.staying:
            self.ask_to_leave(worker)
        while any(worker.alive for worker in self.workers):
            self.supervise()
            time.sleep(0.05)
        self.supervise()

    # --- prices ---

    def publish_rules(self, text: str) -> None:
        """Before the storm."""
        assert self._publish(RULES, text)

    def publish_prices(self, text: str) -> bool:
        """The next revision of own prices, which workers take over one by one. False while the warehouse is away."""
        return self._publish(PRICES, text)

    def _publish(self, revisions: Revisions, text: str) -> bool:
        writer = Writer(self.address)
        try:
            revisions.publish(
                self.reader,
                writer,
                {"chaos.toml": text},
                published_by="chaos",
                note="",
                build="",
                new_id=lambda: str(uuid4()),
                pause=lambda: time.sleep(SETTLE_SECONDS),
            )
        except WarehouseError:
            return False
        finally:
            writer.close()
        return True

    def all_told(self) -> bool:
        """Whether something was told, and no channel tries anything any more or has anything to try."""
        try:
            return not (self.reader.frame(UNTOLD).item() or self.reader.frame(UNHEARD).item())
        except WarehouseError:
            return False

    def start_repricing(self, since: datetime, until: datetime) -> None:
        """`costream reprice` of the whole history, by the newest revision."""
        span = [f"--from={since:%Y-%m-%d}", f"--to={until:%Y-%m-%dT%H:%M}"]
        with (self._folder / f"repricing-{self.counts.repricings:03d}.log").open("wb") as out:
            self.repricing = subprocess.Popen(
                [COSTREAM, "reprice", *span, "--reason", "chaos", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        self.counts.repricings += 1

    def kill_repricing(self) -> bool:
        """SIGKILL, at whatever it is doing. Returns whether it had not ended before."""
        assert self.repricing is not None, "one was started"
        was_alive = self.repricing.poll() is None
        self.repricing.kill()
        self.repricing.wait()
        self.counts.repricings_killed += was_alive
        return was_alive

    def finish_repricing(self, since: datetime, until: datetime) -> int:
        """The last one, which nobody kills; returns its exit status."""
        self.start_repricing(since, until)
        assert self.repricing is not None
        return self.repricing.wait(REPRICE_MAX_S)

    # --- warehouse and broker ---

    def take_warehouse_away(self, *, rudely: bool) -> None:
        if rudely:
            self.endpoint.kill()
        else:
            self.endpoint.stop()

    def bring_warehouse_back(self) -> None:
        self._starting.append(self._starters.submit(self.endpoint.start))

    def fill_disk(self) -> None:
        assert self.disk is not None, "only a small disk is filled"
        self.disk.fill()

    def make_room(self) -> None:
        assert self.disk is not None, "only a small disk is filled"
        self.disk.empty()

    def take_broker_away(self, *, rudely: bool) -> None:
        if rudely:
            self.broker.kill()
        else:
            self.broker.stop()

    def bring_broker_back(self) -> None:
        self._starting.append(self._starters.submit(self.broker.start))

    def all_back(self) -> bool:
        """Whether every part has started again; raises what kept one from it."""
        for started in self._starting:
            if started.done():
                started.result()
        return all(started.done() for started in self._starting)

    # --- how far it is ---

    def stored(self) -> int | None:
        """Rows of raw events, copies not yet merged included; None while the warehouse is away."""
        try:
            return int(self.reader.frame("SELECT count() AS rows FROM usage_events_rows").item())
        except WarehouseError:
            return None

    def lag(self, tail: Tail) -> int | None:
        """Records of usage.events whose offsets are not committed; None while nobody knows.

        Committed offsets are asked before ends: what a committed record had forwarded stands before the end that is
        compared. Only records count: a marker at the end of a transaction is none.
        """
        try:
            committed = self._committed()
            marks = [self._offsets.get_watermark_offsets(each, timeout=5) for each in self._event_partitions()]
        except KafkaException:
            return None
        read = tail.positions()
        if any(read[partition] < end for partition, (_, end) in enumerate(marks)):
            return None
        return sum(max(0, end - committed[partition]) for partition, end in tail.ends().items())

    def expire(self, tail: Tail) -> int | None:
        """Delete from the log what is committed and read along; returns how many offsets. None while the broker is
        away."""
        try:
            committed, read = self._committed(), tail.positions()
            upto = {number: min(committed[number], read[number]) for number in committed}
            begins = {
                each.partition: self._offsets.get_watermark_offsets(each, timeout=5)[0]
                for each in self._event_partitions()
            }
            wanted = [
                TopicPartition(each.topic, each.partition, upto[each.partition]) for each in self._event_partitions()
            ]
            for answer in self._admin.delete_records(
                [each for each in wanted if each.offset > begins[each.partition]]
            ).values():
                answer.result(10)
        except KafkaException:
            return None
        return sum(max(0, upto[number] - begins[number]) for number in upto)

    def _committed(self) -> dict[int, int]:
        found = self._offsets.committed(self._event_partitions(), timeout=5)
        return {each.partition: max(each.offset, 0) for each in found}

    def _event_partitions(self) -> list[TopicPartition]:
        topic = self.settings.topic(EVENTS)
        return [TopicPartition(topic, partition) for partition in range(self.partitions)]

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        return [
            line | {"worker": worker.name}
            for worker in self.workers
            for line in worker.lines()
            if line.get("event") == event
        ]

    def close(self) -> None:
        for worker in self.workers:
            if worker.alive:
                self.kill(worker)
        if self.repricing is not None:
            self.repricing.kill()
            self.repricing.wait()
        self._starters.shutdown(wait=True, cancel_futures=True)
        if self.endpoint.process is not None:
            self.endpoint.kill()
        self.broker.kill()


def end_with_cleanup(number: int, _: Any) -> None:
    """A SIGTERM to the run ends it the way an error would, so that its processes end with it."""
    raise SystemExit(128 + signal.Signals(number))
