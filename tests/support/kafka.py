"""A real Apache Kafka for the tests: one that is already running, one in a container, or one in a local JVM.

``KafkaBroker`` is a process that a test owns: it can stop it, kill it and start it again on the same ports and data.
Everything that only needs *a* broker takes the session's fixture ``kafka_bootstrap`` and, to stay apart from other
tests, ``kafka_prefix``.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.shared import shareable, shared, shared_so_far

ROOT = Path(__file__).resolve().parents[2]
MAVEN = Path(__file__).parent / "maven"
CACHE = ROOT / ".cache" / "kafka"
CLUSTER_ID = "costream-tests-kraft-1"  # 22 characters, as Kafka wants an id; a cluster of one has no neighbours
IMAGE = "apache/kafka:4.1.0"

# A cold JVM on two busy cores takes 4 s to answer; a fourth of a minute would be no bound at all for one that hangs.
START_MAX_S = 90.0
# The largest hostile message of the tests is 10 MB; it has to reach the topic before the worker can refuse it.
MESSAGE_BYTES_MAX = 12 * 1024 * 1024


class KafkaMissing(Exception):
    """No Kafka can be had on this machine; the text says what to install."""


class KafkaBroker:
    """Apache Kafka 4.1 in KRaft mode, one node, in a JVM of its own with its own folder and free ports."""

    client: Mapping[str, str] = {}  # what a client that may do everything is told besides the address

    def __init__(self, folder: Path | None = None, *, heap_mb: int = 512, options: Mapping[str, str] | None = None):
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="costream-kafka-"))
        self.log = self.folder / "broker.log"
        self._heap_mb = heap_mb
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._controller_port = free_ports(2)

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start, or start again on the same ports and data, and return once it answers a metadata request."""
        assert self._process is None, "the broker already runs"
        java, libs = find_java(), fetch_jars()
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        if not (self.folder / "data" / "meta.properties").exists():
            self._run_tool(java, libs, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._java(java, libs), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        atexit.register(self.kill)
        wait_for_metadata(self.bootstrap_servers, alive=self._assert_alive, client=self.client)
        return self

    def stop(self) -> None:
        """End it the polite way; data and ports stay reserved for the next ``start``."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def kill(self) -> None:
        """SIGKILL: what the broker had not told its clients is undone, what it had is on disk."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._forget()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good and remove the folder, if it is this broker's own."""
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _forget(self) -> None:
        self._process = None
        atexit.unregister(self.kill)

    def _assert_alive(self) -> None:
        if self._process is not None and (status := self._process.poll()) is not None:
            self._forget()
            raise RuntimeError(f"the Kafka broker ended with status {status} while starting:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _java(self, java: str, libs: Path) -> list[str]:
        return [
            java,
            "-Xms64m",
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",  # two cores are shared with workers and tests; concurrent collectors would take theirs
            f"-Dlog4j2.configurationFile={MAVEN / 'log4j2.xml'}",
            "-cp",
            f"{libs}/*",
        ]

    def _run_tool(self, java: str, libs: Path, *command: str) -> None:
        done = subprocess.run([*self._java(java, libs), *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:2])} failed:\n{done.stdout}{done.stderr}")

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
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "log.retention.ms": "-1",
            "message.max.bytes": str(MESSAGE_BYTES_MAX),
            "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # its default alone is a fourth of this heap
            "log.cleaner.backoff.ms": "500",  # a test of compaction need not wait 15 s for it
            **self._options,
        }


def find_java() -> str:
    java = os.environ.get("JAVA_HOME")
    found = str(Path(java) / "bin" / "java") if java else shutil.which("java")
    if found is None or not Path(found).exists():
        raise KafkaMissing(
            "no `java` on PATH. The tests marked `kafka` run Apache Kafka: install a Java runtime 17 or newer and "
            "Maven (Debian: apt-get install openjdk-17-jre-headless maven), or start a Docker daemon, "
            "or name a broker in COSTREAM_TEST_KAFKA=host:port"
        )
    return found


def fetch_jars() -> Path:
    """The folder of the broker's jars, copied by Maven once and then found in the cache.

    Two test runs may start together: the second waits for the first, and no one ever sees half a folder.
    """
    pom = MAVEN / "pom.xml"
    libs = CACHE / f"libs-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if libs.exists():
        return libs
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not libs.exists():
            _copy_jars(pom, libs)
    return libs


def _copy_jars(pom: Path, libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(
            "no `mvn` on PATH. The tests marked `kafka` take Apache Kafka's jars from Maven Central: install "
            "Maven (Debian: apt-get install maven), or start a Docker daemon, "
            "or name a broker in COSTREAM_TEST_KAFKA=host:port"
        )
    partial = libs.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    done = subprocess.run([*command, f"-DoutputDirectory={partial}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise KafkaMissing(f"Maven could not copy Apache Kafka's jars:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    partial.rename(libs)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different because all are held until the last is found."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for_metadata(
    bootstrap_servers: str,
    *,
    alive: Callable[[], None],
    wait_max_s: float = START_MAX_S,
    client: Mapping[str, str] | None = None,
) -> None:
    """Return once a broker describes itself; ``alive`` raises as soon as waiting has become pointless."""
    # log_level 0: a refused connection is what is waited out here, not news.
    quiet: dict[str, Any] = {"log_level": 0, "reconnect.backoff.max.ms": 500}
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, **quiet, **(client or {})})
    deadline = time.monotonic() + wait_max_s
    while True:
        alive()
        with contextlib.suppress(KafkaException):
            if admin.list_topics(timeout=1).brokers:
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"no broker at {bootstrap_servers} answered within {wait_max_s:.0f} s")


def create_topics(
    bootstrap_servers: str, partitions: Mapping[str, int], *, config: Mapping[str, str] | None = None
) -> None:
    """Create plain topics for a test that is not about ``stream.runtime.topics``."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    topics = [
        NewTopic(name, num_partitions=count, replication_factor=1, config=dict(config or {}))
        for name, count in partitions.items()
    ]
    for done in admin.create_topics(topics, operation_timeout=20).values():
        done.result(timeout=30)


def delete_topics(bootstrap_servers: str, *names: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for done in admin.delete_topics(list(names), operation_timeout=20).values():
        done.result(timeout=30)


# The fixtures. COSTREAM_TEST_KAFKA is an address, or `container` or `jvm` to insist on one kind.


def _wanted() -> str:
    return os.environ.get("COSTREAM_TEST_KAFKA", "")


def docker_answers() -> bool:
    """Whether a Docker daemon is there; asked only where one could be, because the question costs an import."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    # A client that is refused leaves its socket to the garbage collector, which would blame the test that runs by then.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _docker_pings()
        gc.collect()
    return answers


def _docker_pings() -> bool:
    import docker
    from docker.errors import DockerException

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return bool(client.ping())
    except DockerException:
        return False


def pytest_report_header(config: pytest.Config) -> str:
    return f"kafka: {_plan()}"


def _plan() -> str:
    wanted = _wanted()
    if wanted and wanted not in {"container", "jvm"}:
        return f"{wanted} (COSTREAM_TEST_KAFKA)"
    if wanted == "container" or (not wanted and docker_answers()):
        return f"{IMAGE} in a container"
    return "Apache Kafka 4.1.0 in a local JVM"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes the real broker is marked `kafka`; nobody has to remember it."""
    for item in items:
        if "kafka_bootstrap" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if found := shared_so_far(config).get("kafka"):
        address, kind = found
        terminalreporter.write_line(f"kafka: the tests ran against {kind} at {address}")


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """The address of a real Apache Kafka, one for the whole run. Without one a test is skipped; in CI it fails."""
    try:
        address, _ = shared(request.config, "kafka")
    except KafkaMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run these tests: {error}", pytrace=False)
        pytest.skip(str(error))  # a machine without Java and Docker may still run the other tests
    return str(address)


@pytest.fixture
def kafka_prefix() -> str:
    """Put before topic and group names: the tests of a run share one broker."""
    return f"t{uuid.uuid4().hex[:10]}."


@shareable("kafka")
def _start(running: contextlib.ExitStack) -> tuple[str, str]:
    wanted = _wanted()
    if wanted and wanted not in {"container", "jvm"}:
        wait_for_metadata(wanted, alive=lambda: None, wait_max_s=30)
        return wanted, "the broker of COSTREAM_TEST_KAFKA"
    if wanted == "container":
        return running.enter_context(container()), f"{IMAGE} in a container"
    if not wanted and docker_answers():
        # A daemon that has no such image and cannot pull it is no reason to go without Kafka.
        with contextlib.suppress(KafkaMissing):
            return running.enter_context(container()), f"{IMAGE} in a container"
    return running.enter_context(KafkaBroker()).bootstrap_servers, "Apache Kafka 4.1.0 in a local JVM"


@contextlib.contextmanager
def container() -> Iterator[str]:
    """Kafka in a container; the image is local, or pulled, or built by tests/images/prepare.sh."""
    # Ryuk is one more image to pull; this container is removed by the `with` below instead.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from docker.errors import DockerException
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    broker = DockerContainer(IMAGE).with_bind_ports(9092, port)
    environment = {
        "CLUSTER_ID": CLUSTER_ID,
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093,INTERNAL://:9094",
        # The broker speaks to itself before it takes a record of a transaction. The port outside is not its own inside.
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port},INTERNAL://localhost:9094",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "2000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_MESSAGE_MAX_BYTES": str(MESSAGE_BYTES_MAX),
        "KAFKA_REPLICA_FETCH_MAX_BYTES": str(MESSAGE_BYTES_MAX),
        "KAFKA_LOG_CLEANER_BACKOFF_MS": "500",
        "KAFKA_HEAP_OPTS": "-Xms64m -Xmx512m",
    }
    for name, value in environment.items():
        broker = broker.with_env(name, value)
    try:
        broker.start()
    except DockerException as error:
        raise KafkaMissing(f"{IMAGE} could not be started in a container: {error}") from error
    try:
        wait_for_metadata(f"127.0.0.1:{port}", alive=lambda: None)
        yield f"127.0.0.1:{port}"
    finally:
        broker.stop()
