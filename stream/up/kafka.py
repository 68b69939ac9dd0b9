"""Apache Kafka in a JVM of this machine: one node, its data in one folder, its jars from Maven Central."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stream.runtime.errors import StreamError

VERSION: Final = "4.1.0"  # as in jars/pom.xml
CLUSTER_ID: Final = "costream-local-kraft-1"  # 22 characters, as Kafka wants an id; a cluster of one has no neighbours
START_SECONDS_MAX: Final = 90.0  # a cold JVM on two busy cores takes 4 s to answer
STOP_SECONDS_MAX: Final = 30.0
JARS: Final = Path(str(files("stream.up") / "jars"))


class KafkaMissing(StreamError):
    """No Kafka can be had on this machine; the text says what to install."""


class KafkaFailed(StreamError):
    """The broker ended, or does not answer; the text has the end of its log."""


class LocalKafka:
    """A broker in KRaft mode on ports of 127.0.0.1. What it was told stays in ``folder`` from one start to the next."""

    client: Mapping[str, str] = {}  # what a client that may do everything is told besides the address

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        controller_port: int,
        cache: Path,
        heap_mb: int = 512,
        options: Mapping[str, str] | None = None,
        child: Mapping[str, Any] | None = None,
    ) -> None:
        """``cache``: the folder that jars are kept in, once for all brokers of a machine; ``child``: more arguments for
        ``subprocess.Popen``."""
        self.folder, self.port, self._controller_port = folder, port, controller_port
        self.log = folder / "broker.log"
        self._cache, self._heap_mb, self._options = cache, heap_mb, dict(options or {})
        self._child = dict(child or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start, or start again on the same ports and data, and return once it answers a metadata request."""
        assert self._process is None, "the broker already runs"
        java, libs = find_java(), fetch_jars(self._cache)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        if not (self.folder / "data" / "meta.properties").exists():
            self._run_tool(java, libs, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - java, and what is written here
                [*self._java(java, libs), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                **self._child,
            )
        wait_for_metadata(self.bootstrap_servers, alive=self._require_alive, client=self.client)
        return self

    def stop(self) -> None:
        """End it the polite way; the data stays for the next ``start``."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: what the broker had not told its clients is undone, what it had is on disk."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def log_tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _require_alive(self) -> None:
        if self._process is not None and (status := self._process.poll()) is not None:
            self._process = None
            raise KafkaFailed(f"the Kafka broker ended with status {status} while starting:\n{self.log_tail()}")

    def _java(self, java: str, libs: Path) -> list[str]:
        return [
            java,
            "-Xms64m",
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",  # a concurrent collector would take cores from workers and the engine
            f"-Dlog4j2.configurationFile={JARS / 'log4j2.xml'}",
            "-cp",
            f"{libs}/*",
        ]

    def _run_tool(self, java: str, libs: Path, *command: str) -> None:
        tool = [*self._java(java, libs), *command]
        done = subprocess.run(tool, capture_output=True, text=True, check=False)  # noqa: S603 - as above
        if done.returncode:
            raise KafkaFailed(f"{' '.join(command[:2])} failed:\n{done.stdout}{done.stderr}")

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            # A killed broker is let in again once the old one counts as gone; the default makes a restart wait 9 s.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.retention.minutes": "525600",  # a stack that nobody looked at for weeks goes on where it was
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.retention.ms": "-1",  # each topic says how long it keeps
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # its default alone is a fourth of this heap
            **self._options,
        }


def find_java() -> str:
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None or not Path(found).exists():
        raise KafkaMissing(
            "there is no `java` here: Apache Kafka needs a Java runtime 17 or newer, and Maven once, for its jars "
            "(Debian: apt-get install openjdk-17-jre-headless maven)"
        )
    return found


def fetch_jars(cache: Path, pom: Path = JARS / "pom.xml") -> Path:
    """The folder of the jars that ``pom`` names, the broker's own by default: copied by Maven once, then in the cache.

    Two processes may ask together: the second waits for the first, and no one ever sees half a folder.
    """
    libs = cache / f"libs-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if libs.exists():
        return libs
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not libs.exists():
            _copy_jars(pom, libs)
    return libs


def _copy_jars(pom: Path, libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(
            "there is no `mvn` here: jars are copied from Maven Central by Maven, once (Debian: apt-get install maven)"
        )
    partial = libs.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}")
    command = [maven, "-q", "-B", "-f", str(pom), *goal]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    if done.returncode:
        raise KafkaMissing(f"Maven could not copy the jars of {pom}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    partial.rename(libs)


def wait_for_metadata(
    bootstrap_servers: str,
    *,
    alive: Callable[[], None],
    seconds_max: float = START_SECONDS_MAX,
    client: Mapping[str, str] | None = None,
) -> None:
    """Return once a broker describes itself; ``alive`` raises as soon as waiting has become pointless."""
    # log_level 0: a refused connection is what is waited out here, not news.
    quiet: dict[str, Any] = {"log_level": 0, "reconnect.backoff.max.ms": 500}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **quiet, **(client or {})})
    deadline = time.monotonic() + seconds_max
    while True:
        alive()
        with suppress(KafkaException):
            if admin.list_topics(timeout=1).brokers:
                return
        if time.monotonic() > deadline:
            raise KafkaFailed(f"no broker at {bootstrap_servers} answered within {seconds_max:.0f} s")
