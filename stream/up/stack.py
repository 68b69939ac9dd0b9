"""Broker, engine and workers on this machine: started in the order of their needs, and ended backwards."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

from costream.topics import EVENTS
from sinks.clickhouse import migrate, retention
from sinks.errors import WarehouseUnavailable
from stream.runtime import topics
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.up.broker import PARTITION_BYTES_MAX, EmbeddedBroker
from stream.up.children import Child, with_us
from stream.up.kafka import VERSION, LocalKafka

LOOK_SECONDS: Final = 0.2
ENGINE_SECONDS_MAX: Final = 60.0  # a cold engine of 500 MB on two busy cores takes up to ten
STOP_EXTRA_SECONDS: Final = 5.0  # beyond what a worker may take by its own settings
EMBEDDED_PARTITIONS: Final = 12
JARS: Final = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "costream" / "kafka"

Broker = Literal["jvm", "embedded"]
Tell = Callable[[str], None]


class UpFailed(StreamError):
    """The stack cannot be started here as asked; nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run where. ``health_port`` is that of the first worker; None takes the usual one or else a free one,
    and 0 a free one. ``page_port`` is that of the page; None: there is none."""

    folder: Path
    broker: Broker
    kafka_port: int = 9092
    clickhouse_port: int = 8123
    health_port: int | None = None
    page_port: int | None = None
    workers: int = 1
    jars: Path = JARS


def default_broker() -> Broker:
    """The real one where it can be had."""
    return "jvm" if shutil.which("java") and (shutil.which("mvn") or JARS.exists()) else "embedded"


class Stack:
    """Use as a context: it runs inside, and has ended after."""

    def __init__(self, wanted: Wanted, *, settings: Settings, environment: Mapping[str, str], tell: Tell) -> None:
        """``environment`` is what the parts are started with, ``settings`` is what they make of it. Their addresses are
        the stack's own."""
        self.wanted, self.settings, self._environment, self._tell = wanted, settings, environment, tell
        self._running = ExitStack()
        self._children: list[Child] = []
        self._kafka: LocalKafka | None = None
        self._with_us: Mapping[str, Any] = {}

    def __enter__(self) -> Stack:
        with ExitStack() as starting:
            starting.enter_context(_locked(self.wanted.folder))
            self._with_us = with_us(keep_open=starting.enter_context(self._locked_by_parts()))
            self._require_ports()
            self._addressed(starting.enter_context(self._broker()))
            if self.wanted.broker == "jvm":
                topics.create(self.settings)
            engine = starting.enter_context(self._engine())
            starting.enter_context(self._page())
            starting.enter_context(self._workers())  # they take as long to start, and wait for the tables by themselves
            self._await_engine(engine)
            self._make_tables()
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def watch(self, *, until: Callable[[], bool]) -> None:
        """Return when ``until`` holds. What ends meanwhile is started again."""
        while not until():
            for child in self._children:
                if said := child.tend():
                    self._tell(said)
            self._tend_kafka()
            time.sleep(LOOK_SECONDS)

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.wanted.page_port}"

    @property
    def exports(self) -> dict[str, str]:
        """What other commands need to be told to find this stack; empty where it is all as they expect."""
        told = {
            "kafka_bootstrap_servers": self.settings.kafka_bootstrap_servers,
            "clickhouse_url": self.settings.clickhouse_url,
        }
        if self.wanted.health_port:
            told["health_port"] = str(self.wanted.health_port)
        return {
            variable: value
            for name, value in told.items()
            if self._environment.get(variable := f"COSTREAM_{name.upper()}", str(Settings.model_fields[name].default))
            != value
        }

    # --- the parts ---

    @contextmanager
    def _locked_by_parts(self) -> Iterator[int]:
        """A file that every part holds locked until it has ended: where an earlier stack was killed, its parts have
        the folder and the ports a moment longer."""
        with (self.wanted.folder / "parts.lock").open("w") as lock:
            deadline, told = time.monotonic() + self._stop_seconds_max, False
            while not _taken(lock):
                if not told:
                    self._tell("waiting      for the parts of an earlier `costream up` in this folder to end")
                    told = True
                if time.monotonic() > deadline:
                    raise UpFailed(
                        f"parts of an earlier `costream up` still run in {self.wanted.folder}, "
                        f"{self._stop_seconds_max:.0f} s after it ended; nothing was started. "
                        f"End them: fuser -k {lock.name}"
                    )
                time.sleep(LOOK_SECONDS)
            yield lock.fileno()

    @property
    def _stop_seconds_max(self) -> float:
        return self.settings.stop_max.total_seconds() + STOP_EXTRA_SECONDS

    def _addressed(self, bootstrap_servers: str) -> None:
        addresses = {
            "kafka_bootstrap_servers": bootstrap_servers,
            "clickhouse_url": f"http://127.0.0.1:{self.wanted.clickhouse_port}",
        }
        self.settings = self.settings.model_copy(update=addresses)

    def _require_ports(self) -> None:
        ports = {"--clickhouse-port": self.wanted.clickhouse_port}
        if self.wanted.broker == "jvm":
            ports["--kafka-port"] = self.wanted.kafka_port
        if self.wanted.health_port:
            ports["--health-port"] = self.wanted.health_port
        if self.wanted.page_port is not None:
            ports["--page-port"] = self.wanted.page_port
        for option, port in ports.items():
            if not _is_free(port):
                raise UpFailed(
                    f"port {port} of 127.0.0.1 is taken, by an earlier `costream up` or by something else; nothing was "
                    f"started. End that, or name another port: {option}"
                )

    @contextmanager
    def _broker(self) -> Iterator[str]:
        wanted = self.wanted
        if wanted.broker == "embedded":
            with EmbeddedBroker(
                {self.settings.topic(spec.name): _partitions(spec) for spec in topics.TOPICS}
            ) as broker:
                self._tell(
                    f"kafka        {broker.bootstrap_servers}  the embedded broker: it keeps the last "
                    f"{PARTITION_BYTES_MAX // 1024**2} MB a partition, in memory; none of it outlives this command"
                )
                yield broker.bootstrap_servers
            return
        kafka = LocalKafka(
            wanted.folder / "kafka",
            port=wanted.kafka_port,
            controller_port=free_port(),
            cache=wanted.jars,
            child=self._with_us,
        )
        try:
            self._kafka = kafka.start()
            self._tell(f"kafka        {kafka.bootstrap_servers}  Apache Kafka {VERSION}: keeps all in {kafka.folder}")
            yield kafka.bootstrap_servers
        finally:
            self._kafka = None
            kafka.stop()

    @contextmanager
    def _engine(self) -> Iterator[Child]:
        folder, port = self.wanted.folder / "clickhouse", self.wanted.clickhouse_port
        command = ("clickhouse", "--data-dir", str(folder), "--port", str(port))
        engine = self._child("clickhouse", command)
        try:
            engine.start()
            self._tell(f"clickhouse   {self.settings.clickhouse_url}  the embedded engine: keeps all in {folder}")
            self._children.append(engine)
            yield engine
        finally:
            self._end([engine])

    @contextmanager
    def _page(self) -> Iterator[None]:
        if self.wanted.page_port is None:
            yield
            return
        page = self._child("page", ("serve", "--bind", "127.0.0.1", "--port", str(self.wanted.page_port)))
        try:
            page.start()
            self._tell(f"page         {self.page_url}  what is spent, and the HTTP API under /v1")
            self._children.append(page)
            yield
        finally:
            self._end([page])

    def _await_engine(self, engine: Child) -> None:
        address, deadline = warehouse_address(self.settings), time.monotonic() + ENGINE_SECONDS_MAX
        while True:
            if (status := engine.ended) is not None:
                raise UpFailed(f"the engine ended with status {status} while starting:\n{engine.log_tail()}")
            try:
                migrate.status(address)
            except WarehouseUnavailable as error:
                if time.monotonic() > deadline:
                    raise UpFailed(f"the engine did not answer within {ENGINE_SECONDS_MAX:.0f} s: {error}") from error
                time.sleep(LOOK_SECONDS)
            else:
                return

    def _make_tables(self) -> None:
        address = warehouse_address(self.settings)
        migrate.up(address)
        retention.apply(address, self.settings.retention, now=datetime.now(UTC))

    @contextmanager
    def _workers(self) -> Iterator[None]:
        workers = [self._child(f"worker-{number + 1}", ("worker",)) for number in range(self.wanted.workers)]
        try:
            for number, worker in enumerate(workers):
                if number == 0 and self.wanted.health_port is not None:
                    worker.environment["COSTREAM_HEALTH_PORT"] = str(self.wanted.health_port)
                worker.start()
                self._tell(f"{worker.name:12} consumes {self.settings.topic(EVENTS)}; its log is {worker.log}")
            self._children += workers
            yield
        finally:
            self._end(workers)

    def _child(self, name: str, arguments: tuple[str, ...]) -> Child:
        environment = {
            **self._environment,
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "COSTREAM_CLICKHOUSE_URL": self.settings.clickhouse_url,
        }
        log = self.wanted.folder / "logs" / f"{name}.log"
        return Child(name, arguments, environment=environment, log=log, popen=self._with_us)

    def _end(self, children: list[Child]) -> None:
        self._children = [child for child in self._children if child not in children]
        for child in children:
            child.terminate()
        for child in children:
            child.wait(self._stop_seconds_max)

    def _tend_kafka(self) -> None:
        if self._kafka is not None and not self._kafka.runs:
            self._tell(f"kafka has ended; it is started again on the same data ({self._kafka.log})")
            self._kafka.kill()
            self._kafka.start()


def _partitions(spec: topics.TopicSpec) -> int:
    return EMBEDDED_PARTITIONS if spec.partitions_may_grow else spec.partitions


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One stack a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        if not _taken(lock):
            raise UpFailed(f"{folder} is in use by another `costream up`; nothing was started")
        yield


def _taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now, and with us of whoever inherits the file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def usual_or_free(port: int) -> int:
    return port if port and _is_free(port) else free_port()
