"""What the benchmarks stand on: one broker, one folder, and child processes that end with the run.

Whatever is measured runs in a process of its own, as it would in production, and says what it found as one JSON object.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil
from confluent_kafka import Consumer, TopicPartition

from costream.topics import EVENTS
from stream.runtime import memory, topics
from stream.runtime.settings import Settings
from tests.support.kafka import KafkaBroker, delete_topics, free_ports

ROOT: Final = Path(__file__).resolve().parents[1]
COSTREAM: Final = str(Path(sysconfig.get_path("scripts")) / "costream")
HEAP_MB: Final = 1_024  # the broker's; most of what it serves comes from the page cache
WAIT_MAX_S: Final = 90.0
TICK_S: Final = 0.05


class BenchmarkFailed(Exception):
    """A figure that cannot be had, or one that nobody should believe; the text says why."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One broker and one folder for a whole run; ``new_folder`` gives each measurement one of its own in it."""

    folder: Path
    broker: KafkaBroker
    tell: Callable[[str], None]

    @property
    def bootstrap_servers(self) -> str:
        return self.broker.bootstrap_servers

    def settings(self, **given: Any) -> Settings:
        """The defaults, whatever the environment says, and where things are."""
        defaults = {name: field.default for name, field in Settings.model_fields.items()}
        return Settings.model_validate(defaults | {"kafka_bootstrap_servers": self.bootstrap_servers} | given)

    def new_folder(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def create_topics(self, settings: Settings) -> None:
        topics.create(settings)

    def empty_what_workers_write(self, settings: Settings) -> None:
        """New topics beside usage.events, so that no round reads what an earlier one has left."""
        others = [settings.topic(spec.name) for spec in topics.TOPICS if spec is not topics.USAGE_EVENTS]
        delete_topics(self.bootstrap_servers, *others)
        wait_until(lambda: len(self._present(settings)) == 1, "the topics of the round before are gone")
        self.create_topics(settings)

    def _present(self, settings: Settings) -> list[str]:
        return [state.name for state in topics.describe(settings) if state.partitions]

    def uncommitted(self, settings: Settings) -> int:
        """Records of usage.events that the group of ``settings`` has not acknowledged."""
        topic = settings.topic(EVENTS)
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": settings.consumer_group})
        try:
            places = [TopicPartition(topic, number) for number in range(topics.partition_count(settings, topic))]
            committed = {place.partition: max(place.offset, 0) for place in consumer.committed(places, timeout=15)}
            ends = {place.partition: consumer.get_watermark_offsets(place, timeout=15)[1] for place in places}
        finally:
            consumer.close()
        return sum(ends[partition] - committed[partition] for partition in ends)


@contextmanager
def ground(tell: Callable[[str], None]) -> Iterator[Ground]:
    folder = Path(tempfile.mkdtemp(prefix="costream-bench-"))
    try:
        tell("starting Apache Kafka in a local JVM")
        with KafkaBroker(folder / "kafka", heap_mb=HEAP_MB) as broker:
            yield Ground(folder, broker, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- child processes -------------------------------------------------------------------------------------------------


def environment(settings: Settings | None = None, **more: str) -> dict[str, str]:
    """Ours without any COSTREAM_*, so that defaults are defaults; then only what ``settings`` says beside them. Nor
    what polars has set up for its allocator in this process: a worker would take it for the operator's wish."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COSTREAM_") and name != memory.POLARS_VARIABLE
    }
    said = settings.model_dump(exclude_defaults=True) if settings else {}
    return kept | {"PYTHONPATH": str(ROOT)} | {f"COSTREAM_{name.upper()}": str(v) for name, v in said.items()} | more


def ask_child(
    command: Sequence[str], *, folder: Path, seconds_max: float, settings: Settings | None = None
) -> dict[str, Any]:
    """Run a program to its end; its last line of output is the JSON object it was asked for."""
    text = run_child(command, folder=folder, seconds_max=seconds_max, settings=settings)
    answer: dict[str, Any] = json.loads(text.splitlines()[-1])
    return answer


def run_child(command: Sequence[str], *, folder: Path, seconds_max: float, settings: Settings | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"")[-2_000:]
        raise BenchmarkFailed(f"{command} did not end within {seconds_max:.0f} s: {said!r}") from error
    if done.returncode or not done.stdout.strip():
        raise BenchmarkFailed(f"{command} ended with status {done.returncode}:\n{done.stderr[-4_000:]}")
    return done.stdout


def python_module(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


class WorkerProcess:
    """`costream worker` with the given settings; every other setting is its default."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._log = folder / "worker.log"
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [COSTREAM, "worker"],
                cwd=self._folder,
                env=environment(self._settings, COSTREAM_HEALTH_PORT=str(self._port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._running.poll() is None:
            self._running.kill()
            self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start the worker first"
        return self._process

    def stop(self) -> None:
        self._running.terminate()
        if status := self._running.wait(WAIT_MAX_S):
            raise BenchmarkFailed(f"the worker ended with status {status}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    def page(self, path: str) -> str:
        """Empty while it does not answer with 200."""
        if (status := self._running.poll()) is not None:
            raise BenchmarkFailed(f"the worker ended with status {status}:\n{self.log_tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels as they are written."""
        lines = [line for line in self.page("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.page("/readyz"), "the worker is ready", log=self.log_tail)

    def handled(self) -> int:
        """Records that are stored and acknowledged, or were dealt with in another way."""
        return int(sum(v for name, v in self.metrics().items() if name.startswith("costream_records_total{")))

    def wait_until_handled(self, records: int, *, seconds: float = WAIT_MAX_S) -> None:
        wait_until(
            lambda: self.handled() >= records, f"{records} records are stored", seconds=seconds, log=self.log_tail
        )

    def memory_bytes(self) -> int:
        return int(psutil.Process(self._running.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        times = psutil.Process(self._running.pid).cpu_times()
        return float(times.user + times.system)


def wait_until(
    condition: Callable[[], object], what: str, *, seconds: float = WAIT_MAX_S, log: Callable[[], str] = str
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"not within {seconds:.0f} s: {what}\n{log()}".rstrip())
        time.sleep(TICK_S)
