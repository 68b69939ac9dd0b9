"""What the stream relies on from Kafka, the same cases on the embedded broker and on a real one.

What the embedded broker cannot do is a strict xfail with its reason: if librdkafka learns it, the run says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError as AiokafkaError
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from stream.runtime.settings import Settings
from stream.runtime.topics import TopicMissing, partition_count, topic_id
from stream.up.broker import PARTITION_BYTES_MAX, EmbeddedBroker, EmbeddedBrokerOverflowed

WAIT_MAX_S = 30.0


@dataclass
class Broker:
    """A broker as a test sees it: an address, a topic of its own, and how topics come and go."""

    bootstrap_servers: str
    prefix: str
    embedded: EmbeddedBroker | None

    @property
    def session_timeout_ms(self) -> int:
        """Kafka takes no less than 6 s; the embedded broker makes every rebalance last this long less a second."""
        return 1_500 if self.embedded else 6_000

    @property
    def settings(self) -> Settings:
        return Settings(kafka_bootstrap_servers=self.bootstrap_servers, topic_prefix=self.prefix)

    def create(self, name: str, partitions: int, **config: str) -> str:
        topic = self.prefix + name
        if self.embedded:
            self.embedded.create_topic(topic, partitions)
        else:
            spec = NewTopic(
                topic, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()}
            )
            admin = self.admin()  # held until the answer: a client that is dropped takes its requests with it
            admin.create_topics([spec])[topic].result(WAIT_MAX_S)
        return topic

    def delete(self, topic: str) -> None:
        if self.embedded:
            self.embedded.delete_topic(topic)
        else:
            admin = self.admin()
            admin.delete_topics([topic])[topic].result(WAIT_MAX_S)

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def producer(self, **config: Any) -> Producer:
        names = {key.replace("_", "."): value for key, value in config.items()}
        return Producer({"bootstrap.servers": self.bootstrap_servers, "partitioner": "murmur2_random", **names})

    def consume(self, topic: str, count: int, *, group: str = "readers", commit: bool = False) -> list[Message]:
        """Read ``count`` records from where the group stands."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": self.prefix + group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": self.session_timeout_ms,
                "heartbeat.interval.ms": 100,
            }
        )
        consumer.subscribe([topic])
        try:
            records = take(consumer, count)
            if commit:
                consumer.commit(asynchronous=False)
            return records
        finally:
            consumer.close()


def take(consumer: Consumer, count: int) -> list[Message]:
    records: list[Message] = []
    deadline = time.monotonic() + WAIT_MAX_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records within {WAIT_MAX_S} s"
        for record in consumer.consume(count - len(records), timeout=0.5):
            assert record.error() is None, record.error()
            records.append(record)
    return records


def produce(producer: Producer, topic: str, values: Sequence[bytes], **fields: Any) -> None:
    refused: list[Any] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None, **fields)
    assert producer.flush(WAIT_MAX_S) == 0, "not everything was acknowledged"
    assert refused == []


def until(holds: Callable[[], bool]) -> None:
    """Brokers learn of a topic's change a moment after the controller; this is the most we wait for that."""
    deadline = time.monotonic() + WAIT_MAX_S
    while not holds():
        assert time.monotonic() < deadline, f"still not so after {WAIT_MAX_S} s"
        time.sleep(0.05)


EMBEDDED, KAFKA = "embedded", pytest.param("kafka", marks=pytest.mark.kafka)
on_both = pytest.mark.parametrize("broker", [EMBEDDED, KAFKA], indirect=True)


def embedded_cannot(reason: str, raises: type[BaseException]) -> pytest.MarkDecorator:
    embedded = pytest.param(EMBEDDED, marks=pytest.mark.xfail(strict=True, reason=reason, raises=raises))
    return pytest.mark.parametrize("broker", [embedded, KAFKA], indirect=True)


@pytest.fixture
def broker(request: pytest.FixtureRequest, kafka_prefix: str) -> Iterator[Broker]:
    if request.param == EMBEDDED:
        with EmbeddedBroker() as embedded:
            yield Broker(embedded.bootstrap_servers, kafka_prefix, embedded)
    else:
        yield Broker(request.getfixturevalue("kafka_bootstrap"), kafka_prefix, None)


def murmur2(key: bytes) -> int:
    """Kafka's hash, written from its definition, one step a line."""
    hashed = (0x9747B28C ^ len(key)) & 0xFFFFFFFF
    for at in range(0, len(key) - len(key) % 4, 4):
        word = int.from_bytes(key[at : at + 4], "little") * 0x5BD1E995 & 0xFFFFFFFF
        word = (word ^ word >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        hashed = hashed * 0x5BD1E995 & 0xFFFFFFFF ^ word
    if rest := key[len(key) - len(key) % 4 :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15


@on_both
def test_a_keyed_record_meets_the_partition_that_murmur2_gives_its_key(broker: Broker) -> None:
    topic = broker.create("keyed", 7)
    keys = [b"k" * size + str(size).encode() for size in range(60)] + ["Schlüssel-ß".encode(), b"\xff\xfe\xfd"]
    producer = broker.producer()
    for key in keys:
        producer.produce(topic, b"value", key=key)
    assert producer.flush(WAIT_MAX_S) == 0

    met = {record.key(): record.partition() for record in broker.consume(topic, len(keys))}

    assert met == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in keys}


@on_both
def test_a_group_goes_on_where_it_committed(broker: Broker) -> None:
    topic = broker.create("resumed", 1)
    produce(broker.producer(), topic, [str(number).encode() for number in range(100)])

    first = broker.consume(topic, 40, commit=True)
    second = broker.consume(topic, 60, commit=False)
    again = broker.consume(topic, 60, commit=True)

    assert [int(record.value()) for record in first] == list(range(40))
    assert [int(record.value()) for record in second] == list(range(40, 100))
    assert [record.offset() for record in again] == list(range(40, 100))


@on_both
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_reach_the_client_that_faust_uses(broker: Broker, codec: str) -> None:
    topic = broker.create("compressed", 1)
    values = [b"%06d " % number * 40 for number in range(300)]
    produce(broker.producer(compression_type=codec), topic, values)

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        read = [(await asyncio.wait_for(consumer.getone(), WAIT_MAX_S)).value for _ in values]
    finally:
        await consumer.stop()

    assert read == values


@on_both
def test_headers_arrive_as_they_were_sent_in_order_and_with_repeats(broker: Broker) -> None:
    topic = broker.create("headers", 1)
    headers = [("schema", b"1"), ("empty", b""), ("nothing", None), ("schema", b"\xff\x00"), ("ü", b"name")]
    produce(broker.producer(), topic, [b"value"], headers=headers)

    (record,) = broker.consume(topic, 1)

    assert record.headers() == headers


@on_both
def test_a_tombstone_and_an_empty_value_stay_apart(broker: Broker) -> None:
    topic = broker.create("tombstones", 1)
    producer = broker.producer()
    producer.produce(topic, None, key=b"")
    producer.produce(topic, b"", key=None)
    assert producer.flush(WAIT_MAX_S) == 0

    records = broker.consume(topic, 2)

    assert [(record.key(), record.value()) for record in records] == [(b"", None), (None, b"")]


@on_both
def test_a_message_of_900_kilobytes_passes(broker: Broker) -> None:
    topic = broker.create("large", 1)
    value = bytes(range(250)) * 3_600
    produce(broker.producer(), topic, [value])

    (record,) = broker.consume(topic, 1)

    assert record.value() == value


@on_both
def test_an_idempotent_producer_stores_each_record_once_and_in_order(broker: Broker) -> None:
    topic = broker.create("idempotent", 1)
    values = [str(number).encode() for number in range(2_000)]
    produce(broker.producer(enable_idempotence=True, acks="all", linger_ms=0, batch_num_messages=10), topic, values)

    records = broker.consume(topic, len(values))

    assert [record.value() for record in records] == values
    assert [record.offset() for record in records] == list(range(len(values)))


@embedded_cannot("librdkafka's mock answers SyncGroup of a member that joins later with InvalidRequest", AiokafkaError)
async def test_two_members_of_a_group_share_the_partitions(broker: Broker) -> None:
    topic = broker.create("shared", 4)
    async with contextlib.AsyncExitStack() as members:
        consumers = [await _member(members, broker, topic) for _ in range(2)]
        await asyncio.wait_for(_shared(consumers), WAIT_MAX_S)
        assigned = [{tp.partition for tp in consumer.assignment()} for consumer in consumers]

    assert assigned[0] | assigned[1] == {0, 1, 2, 3}
    assert not assigned[0] & assigned[1]


async def _member(members: contextlib.AsyncExitStack, broker: Broker, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=broker.prefix + "group",
        enable_auto_commit=False,
        session_timeout_ms=broker.session_timeout_ms,
        heartbeat_interval_ms=100,
    )
    members.push_async_callback(consumer.stop)
    await consumer.start()
    return consumer


async def _shared(consumers: list[AIOKafkaConsumer]) -> None:
    while any(len(consumer.assignment()) != 2 for consumer in consumers):
        for consumer in consumers:
            await consumer.getmany(timeout_ms=50)


@on_both
def test_every_topic_has_an_id_of_its_own_that_stays(broker: Broker) -> None:
    one, other = broker.create("one", 1), broker.create("other", 1)
    until(lambda: _exists(broker, one) and _exists(broker, other))

    assert topic_id(broker.settings, one) == topic_id(broker.settings, one)
    assert topic_id(broker.settings, one) not in {None, topic_id(broker.settings, other)}


@on_both
def test_a_topic_created_again_has_another_id_and_starts_at_offset_0(broker: Broker) -> None:
    topic = broker.create("recreated", 1)
    produce(broker.producer(), topic, [b"first", b"second"])
    before = topic_id(broker.settings, topic)

    broker.delete(topic)
    until(lambda: not _exists(broker, topic))
    broker.create("recreated", 1)
    until(lambda: _exists(broker, topic))
    produce(broker.producer(), topic, [b"third"])

    assert topic_id(broker.settings, topic) not in {None, before}
    (record,) = broker.consume(topic, 1, group="new-readers")
    assert (record.value(), record.offset()) == (b"third", 0)


def _exists(broker: Broker, topic: str) -> bool:
    with contextlib.suppress(TopicMissing):
        topic_id(broker.settings, topic)
        return True
    return False


@embedded_cannot("the mock cluster serves no admin request that changes a topic", KafkaException)
def test_partitions_can_be_added(broker: Broker) -> None:
    topic = broker.create("grown", 2)
    until(lambda: _exists(broker, topic))

    admin = broker.admin()
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(WAIT_MAX_S)

    until(lambda: partition_count(broker.settings, topic) == 5)
    produce(broker.producer(), topic, [b"in the new one"], partition=4)


@embedded_cannot("the mock cluster keeps the producer's timestamp", AssertionError)
def test_a_topic_with_the_brokers_time_ignores_the_producers(broker: Broker) -> None:
    topic = broker.create("timed", 1, message_timestamp_type="LogAppendTime")
    produce(broker.producer(), topic, [b"sent long ago"], timestamp=1_000)

    (record,) = broker.consume(topic, 1)

    assert record.timestamp()[1] > 1_000_000_000_000


@embedded_cannot("the mock cluster keeps 5 MiB a partition and drops the oldest", AssertionError)
def test_a_partition_keeps_more_than_five_megabytes(broker: Broker) -> None:
    topic = broker.create("kept", 1)
    produce(broker.producer(), topic, [b"x" * 100_000] * (2 * PARTITION_BYTES_MAX // 100_000))

    assert _low(broker, topic) == 0


def _low(broker: Broker, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": broker.prefix + "watermarks"})
    try:
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=WAIT_MAX_S)
        return int(low)
    finally:
        consumer.close()


def test_the_embedded_broker_tells_when_it_has_dropped_records() -> None:
    with EmbeddedBroker({"small": 1, "full": 2}) as embedded:
        producer = Producer({"bootstrap.servers": embedded.bootstrap_servers})
        produce(producer, "small", [b"x" * 1_000])
        embedded.assert_complete("small", "full")

        produce(producer, "full", [b"x" * 100_000] * 60, partition=1)
        with pytest.raises(EmbeddedBrokerOverflowed, match=r"dropped the first \d+ records of 'full' partition 1"):
            embedded.assert_complete("small", "full")


def test_the_embedded_broker_has_the_partitions_it_was_asked_for() -> None:
    with EmbeddedBroker({"usage.events": 6, "usage.alerts": 1}) as embedded:
        settings = Settings(kafka_bootstrap_servers=embedded.bootstrap_servers)
        counts = [partition_count(settings, topic) for topic in ("usage.events", "usage.alerts")]
    assert counts == [6, 1]


def test_the_embedded_broker_keeps_its_records_through_an_outage() -> None:
    with EmbeddedBroker({"topic": 1}) as embedded:
        producer = Producer(
            {"bootstrap.servers": embedded.bootstrap_servers, "log_level": 0, "reconnect.backoff.max.ms": 100}
        )
        produce(producer, "topic", [b"before"])
        embedded.set_reachable(False)
        producer.produce("topic", b"during")
        assert producer.flush(0.3) == 1, "an unreachable broker acknowledged a record"
        embedded.set_reachable(True)
        assert producer.flush(WAIT_MAX_S) == 0

        records = Broker(embedded.bootstrap_servers, "", embedded).consume("topic", 2)
    assert [record.value() for record in records] == [b"before", b"during"]


def test_a_closed_embedded_broker_refuses_clients_and_closes_twice() -> None:
    embedded = EmbeddedBroker({"topic": 1})
    admin = AdminClient({"bootstrap.servers": embedded.bootstrap_servers, "log_level": 0})
    assert admin.list_topics(timeout=WAIT_MAX_S).brokers
    embedded.close()
    embedded.close()

    stranger = AdminClient({"bootstrap.servers": embedded.bootstrap_servers, "log_level": 0})
    with pytest.raises(KafkaException, match="_TRANSPORT"):
        stranger.list_topics(timeout=0.5)


def test_a_forked_child_that_drops_the_embedded_broker_leaves_it_running() -> None:
    with EmbeddedBroker({"topic": 1}) as embedded:
        done = multiprocessing.get_context("fork").Process(target=embedded.close)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of fork beside threads: our case
            done.start()
        done.join(WAIT_MAX_S)
        assert done.exitcode == 0
        assert topic_id(Settings(kafka_bootstrap_servers=embedded.bootstrap_servers), "topic")
