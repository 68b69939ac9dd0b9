"""A real Apache Kafka for the tests: one that is already running, one in a container, or one in a local JVM.

``KafkaBroker`` is a process that a test owns: it can stop it, kill it and start it again on the same ports and data.
Everything that only needs *a* broker takes the session's fixture ``kafka_bootstrap`` and, to stay apart from other
tests, ``kafka_prefix``.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shutil
import socket
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stream.up.kafka import CLUSTER_ID, KafkaMissing, LocalKafka, wait_for_metadata
from tests.support.shared import shareable, shared, shared_so_far

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "kafka"
IMAGE = "apache/kafka:4.1.0"

# The largest hostile message of the tests is 10 MB; it has to reach the topic before the worker can refuse it.
MESSAGE_BYTES_MAX = 12 * 1024 * 1024
OPTIONS = {
    "message.max.bytes": str(MESSAGE_BYTES_MAX),
    "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
    "log.cleaner.backoff.ms": "500",  # a test of compaction need not wait 15 s for it
}


class KafkaBroker(LocalKafka):
    """A broker on free ports, in a folder that goes with it unless it is given."""

    def __init__(self, folder: Path | None = None, *, heap_mb: int = 512, options: Mapping[str, str] | None = None):
        self._own_folder = folder is None
        port, controller_port = free_ports(2)
        super().__init__(
            folder or Path(tempfile.mkdtemp(prefix="costream-kafka-")),
            port=port,
            controller_port=controller_port,
            cache=CACHE,
            heap_mb=heap_mb,
            options=OPTIONS | dict(options or {}),
        )

    def start(self) -> Self:
        super().start()
        atexit.register(self.kill)
        return self

    def stop(self) -> None:
        super().stop()
        atexit.unregister(self.kill)

    def kill(self) -> None:
        super().kill()
        atexit.unregister(self.kill)

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


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different because all are held until the last is found."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


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
        pytest.skip(str(error))  # a machine without Java and Docker may still run the other tests; in CI it fails
    return str(address)


@pytest.fixture
def kafka_prefix() -> str:
    """Put before topic and group names: the tests of a run share one broker."""
    return f"t{uuid.uuid4().hex[:10]}."


@shareable("kafka")
def _start(running: contextlib.ExitStack) -> tuple[str, str]:
    wanted = _wanted()
    if wanted and wanted not in {"container", "jvm"}:
        wait_for_metadata(wanted, alive=lambda: None, seconds_max=30)
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
