"""Where a flush goes and in which order; what is published arrives, or the batch is tried again."""

from __future__ import annotations

from collections.abc import Iterable
from os import urandom
from typing import Any
from uuid import uuid4

import pytest

from sinks.errors import WarehouseUnavailable
from stream.runtime.errors import PublishFailed, PublishRefused
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings
from stream.store.flush import Flush, Outgoing
from stream.store.order import Store
from stream.store.outbox import Outbox
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import TABLES, Warehouse, flush_of, id_at_home_in, ingest_of
from tests.support.kafka import create_topics
from tests.support.records import log_of, wire
from tests.support.worker import read_topic


class Edges:
    """A warehouse and a broker that note what reaches them, in order, and fail when told to."""

    def __init__(self, *, fails_at: str = "") -> None:
        self.reached: list[str] = []
        self.fails_at = fails_at

    def insert(self, table: str, rows: Any) -> int:
        self._reach(table)
        return len(rows)

    def publish(self, topic: str, messages: Iterable[Outgoing]) -> int:
        self._reach(topic)
        return len(list(messages))

    def _reach(self, name: str) -> None:
        if name == self.fails_at:
            raise WarehouseUnavailable(where="here", reason="down")
        self.reached.append(name)


TOPICS = ["p.usage.rollups", "p.usage.rollups.user_daily", "p.usage.events", "p.usage.deadletter"]
ORDER = ["prices", *TABLES, *TOPICS]


def store_of(edges: Edges) -> Store:
    return Store(writer=edges, outbox=edges, settings=Settings(topic_prefix="p."))  # type: ignore[arg-type]  # the edges


@pytest.fixture
def flush(warehouse: Warehouse) -> Flush:
    ids = [id_at_home_in(home, total=2) for home in (0, 1)]
    records = log_of([*(wire(request_id) for request_id in ids), b"junk"])
    return flush_of(ingest_of(warehouse, f"test-{uuid4()}", [0], count=2), records)


def test_rows_come_before_the_topics_that_tell_of_them(flush: Flush) -> None:
    edges = Edges()
    store_of(edges).save(flush, source="s")
    assert edges.reached == ORDER


@pytest.mark.parametrize("fails_at", ORDER)
def test_a_failure_is_raised_and_nothing_after_it_is_written(flush: Flush, fails_at: str) -> None:
    edges = Edges(fails_at=fails_at)
    with pytest.raises(WarehouseUnavailable):
        store_of(edges).save(flush, source="s")
    assert edges.reached == ORDER[: ORDER.index(fails_at)]


# --- the outbox -------------------------------------------------------------------------------------------------------


def outbox_to(broker: EmbeddedBroker) -> Outbox:
    return Outbox(kafka_config(Settings(kafka_bootstrap_servers=broker.bootstrap_servers)))


def test_what_is_published_has_arrived_with_key_headers_and_partition() -> None:
    with EmbeddedBroker({"t": 3}) as broker:
        messages = [
            Outgoing(b"k", b"v", [("a", b"1"), ("a", None), ("b", "text")], partition=2),
            Outgoing(None, None, [], partition=0),
        ]
        assert outbox_to(broker).publish("t", messages) == 2
        found = read_topic(broker.bootstrap_servers, "t", partitions=3)
    assert [(one.partition(), one.key(), one.value()) for one in found] == [(0, None, None), (2, b"k", b"v")]
    assert found[1].headers() == [("a", b"1"), ("a", None), ("b", b"text")]


def test_an_outbox_can_tell_where_each_record_stands() -> None:
    with EmbeddedBroker({"t": 2}) as broker:
        outbox = Outbox(kafka_config(Settings(kafka_bootstrap_servers=broker.bootstrap_servers)), tells_places=True)
        messages = [Outgoing(b"k", bytes([number]), [], partition=number % 2) for number in range(5)]
        assert outbox.placed("t", messages) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
        assert outbox.placed("t", messages[:1]) == [(0, 3)]
        assert outbox.placed("t", []) == []


def test_an_outbox_that_tells_places_tells_failures_too() -> None:
    with EmbeddedBroker({"t": 1}) as broker:
        outbox = Outbox(kafka_config(Settings(kafka_bootstrap_servers=broker.bootstrap_servers)), tells_places=True)
        with pytest.raises(PublishFailed, match="'t'"):
            outbox.placed("t", [Outgoing(None, b"v", [], partition=0), Outgoing(None, b"v", [], partition=7)])


def test_nothing_to_publish_asks_kafka_nothing() -> None:
    outbox = Outbox({"bootstrap.servers": "127.0.0.1:1"})
    assert outbox.publish("t", []) == 0


def test_a_message_that_kafka_would_never_take_is_told_with_its_topic() -> None:
    with EmbeddedBroker({"t": 1}) as broker, pytest.raises(PublishRefused, match="'t' for good"):
        outbox_to(broker).publish("t", [Outgoing(None, b"x" * 13_000_000, [])])


def test_after_a_failure_the_outbox_takes_the_same_messages_again() -> None:
    with EmbeddedBroker({"t": 1}) as broker:
        outbox = outbox_to(broker)
        with pytest.raises(PublishRefused):
            outbox.publish("t", [Outgoing(None, b"good", []), Outgoing(None, b"x" * 13_000_000, [])])
        assert outbox.publish("t", [Outgoing(None, b"good", [])]) == 1
        assert read_topic(broker.bootstrap_servers, "t")[-1].value() == b"good"


@pytest.mark.kafka
def test_what_the_broker_refuses_is_told_though_its_neighbours_arrive(kafka_bootstrap: str, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}t"
    create_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": "1000000"})
    outbox = Outbox(kafka_config(Settings(kafka_bootstrap_servers=kafka_bootstrap)))
    larger_than_a_topic_takes = Outgoing(b"large", urandom(2_000_000), [])  # and no compression makes it smaller
    with pytest.raises(PublishRefused, match=r"1 .* too large"):
        outbox.publish(topic, [larger_than_a_topic_takes])
    assert outbox.publish(topic, [Outgoing(b"good", b"v", [])]) == 1
    assert [one.key() for one in read_topic(kafka_bootstrap, topic)] == [b"good"]
