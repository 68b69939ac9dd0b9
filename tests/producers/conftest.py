"""Brokers, topics and events for the tests of the client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from costream import UsageEvent

WAIT_MAX_S = 20.0  # a test that waits longer than this for Kafka has failed
AT = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Published:
    """A message found on a topic."""

    key: str
    event: UsageEvent
    headers: dict[str, bytes]
    partition: int


def usage_event(number: int = 0, **fields: Any) -> UsageEvent:
    return UsageEvent.create(
        **{"request_id": f"request-{number}", "occurred_at": AT, "provider": "openai", "model": "gpt-5"} | fields
    )


@pytest.fixture(name="usage_event")
def usage_event_fixture() -> Callable[..., UsageEvent]:
    return usage_event


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("COSTREAM_", "LLM_USAGE_"))]:
        if not name.startswith("COSTREAM_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COSTREAM_SPOOL_DIR", str(tmp_path / "spool"))


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """librdkafka's mock cluster: it lives as long as the producer that makes it."""
    owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = owner.list_topics(timeout=WAIT_MAX_S).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del owner


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_bootstrap"))


@pytest.fixture
def closed_port() -> Iterator[socket.socket]:
    """A port where nobody listens, and nobody else will: it is bound, so connecting to it is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A name of its own; where a test runs on a real Kafka, the topic is there with four partitions."""
    name = f"usage.events.{uuid.uuid4().hex[:8]}"
    if "kafka_bootstrap" in request.fixturenames or request.node.get_closest_marker("kafka"):
        admin = AdminClient({"bootstrap.servers": request.getfixturevalue("kafka_bootstrap")})
        for created in admin.create_topics([NewTopic(name, num_partitions=4, replication_factor=1)]).values():
            created.result(timeout=WAIT_MAX_S)
    return name


@pytest.fixture
def read_topic() -> Callable[[str, str], list[Published]]:
    """Everything on a topic, from the beginning of every partition to its present end."""

    def read(bootstrap: str, topic: str) -> list[Published]:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "log_level": 0})
        try:
            partitions = consumer.list_topics(topic, timeout=WAIT_MAX_S).topics[topic].partitions
            spans = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
            waiting = sum(
                high - low for low, high in (consumer.get_watermark_offsets(span, timeout=WAIT_MAX_S) for span in spans)
            )
            consumer.assign(spans)
            return [_published(consumer.poll(WAIT_MAX_S)) for _ in range(waiting)]
        finally:
            consumer.close()

    return read


def _published(message: Any) -> Published:
    assert message is not None, f"no message within {WAIT_MAX_S} s"
    assert message.error() is None, message.error()
    return Published(
        key=message.key().decode(),
        event=UsageEvent.model_validate_json(message.value()),
        headers=dict(message.headers() or []),
        partition=message.partition(),
    )


class Host:
    """Another process that uses the client; ``script`` finds ``arg`` (a list of texts) and prints to the test."""

    PREAMBLE = """
import os, signal, sys, threading
from datetime import UTC, datetime
from costream import UsageEvent, UsageProducer, get_default_producer, record
arg = sys.argv[1:]
def event(name, number):
    return UsageEvent.create(request_id=f"{name}-{number}", occurred_at=datetime(2025, 1, 1, tzinfo=UTC),
                             provider="openai", model="gpt-5")
def say(text):
    print(text, flush=True)
"""

    def __init__(self, script: str, *args: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.PREAMBLE + script, *args],
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ended(self) -> tuple[int, str, str]:
        """Its exit status, what else it printed, and what it wrote to stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.process.kill()
        self.ended()


@pytest.fixture
def host() -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(script: str, *args: str, **environ: str) -> Host:
        hosts.append(Host(script, *args, **environ))
        return hosts[-1]

    yield start
    for one in hosts:
        if one.process.poll() is None:
            one.kill()
