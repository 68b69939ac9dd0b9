"""The embedded broker: Kafka's protocol in this process and in memory, for the demo and for tests.

It is the mock cluster that librdkafka carries inside confluent-kafka, reached through librdkafka's own C functions.
Producers, consumers, commits, headers, compressed batches, idempotent producers and topic ids are real protocol. What
it is not, as measured with librdkafka 2.16 (tests/stream/test_broker_contract.py holds the line):

- Memory only, one broker, gone with the object. Offsets start at 0 in the next one, and topic ids are new there.
- It keeps at most ``PARTITION_BYTES_MAX`` bytes as sent (compressed) or ``PARTITION_BATCHES_MAX`` batches in a
  partition and silently drops the oldest above that; the bound is a constant of librdkafka. ``assert_complete`` raises
  if it ever did. Of our events that is about 12,000 uncompressed, 60,000 with lz4, 100,000 with zstd. One batch above
  the bound is accepted and then not found by a reader that starts at the beginning.
- One batch of a partition per fetch, found by walking a list: tens of thousands of small batches are slow.
- No admin requests: topics are created here, by ``topics`` or ``create_topic``; any other name that a client asks for
  appears with 4 partitions. No added partitions, compaction, timed retention, broker timestamps or security.
- One worker: a second aiokafka member that joins a group gets InvalidRequest from SyncGroup. A member that comes after
  another has left waits the session timeout less a second before it is let in.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, TopicPartition, cimpl

PARTITION_BYTES_MAX = 5 * 1024 * 1024
PARTITION_BATCHES_MAX = 100_000

_BROKER_ID = 1
_PRODUCER = 0  # rd_kafka_type_t; the mock cluster hangs on a client handle that otherwise does nothing


class EmbeddedBrokerOverflowed(Exception):
    """The embedded broker has dropped records that nobody can read any more."""

    def __init__(self, *, topic: str, partition: int, dropped: int):
        super().__init__(
            f"the embedded broker dropped the first {dropped} records of {topic!r} partition {partition}: it keeps "
            f"{PARTITION_BYTES_MAX:,} bytes a partition; give the topic more partitions or use a real Kafka"
        )
        self.topic, self.partition, self.dropped = topic, partition, dropped


class EmbeddedBroker:
    """One broker on a free port of 127.0.0.1; lives until ``close`` or the end of the ``with`` block."""

    def __init__(self, topics: Mapping[str, int] | None = None):
        self._pid = os.getpid()
        self._rdkafka = _librdkafka()
        self._handle = self._new_handle()
        self._cluster = self._rdkafka.rd_kafka_handle_mock_cluster(self._handle)
        # Without a named controller every admin question, topic ids among them, waits for one until it times out.
        self._rdkafka.rd_kafka_mock_set_controller_id(self._cluster, _BROKER_ID)
        # Kafka waits 3 s for more members before it serves a new group; here there are none to wait for.
        self._rdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers: str = self._rdkafka.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        for name, partitions in (topics or {}).items():
            self.create_topic(name, partitions)

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic, which Kafka's own admin request cannot do here."""
        self._check(self._rdkafka.rd_kafka_mock_topic_create(self._open(), name.encode(), partitions, 1), name)

    def delete_topic(self, name: str) -> None:
        self._check(self._rdkafka.rd_kafka_mock_topic_delete(self._open(), name.encode()), name)

    def set_reachable(self, reachable: bool) -> None:
        """Cut off every client, or let them in again: an outage. What the broker holds stays."""
        change = self._rdkafka.rd_kafka_mock_broker_set_up if reachable else self._rdkafka.rd_kafka_mock_broker_set_down
        self._check(change(self._open(), -1), "broker")

    def assert_complete(self, *topics: str) -> None:
        """Raise ``EmbeddedBrokerOverflowed`` if a record of these topics has been dropped to make room."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": "costream-assert-complete"})
        try:
            for topic in topics:
                for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                    low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                    if low > 0:
                        raise EmbeddedBrokerOverflowed(topic=topic, partition=partition, dropped=low)
        finally:
            consumer.close()

    def close(self) -> None:
        """End the broker; clients still connected see it as gone. Closing twice is harmless."""
        cluster, self._cluster = self._cluster, None
        if cluster and os.getpid() == self._pid:  # a forked child has the object, but not the threads it would wait for
            self._rdkafka.rd_kafka_destroy(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_cluster", None):
            self.close()

    def _open(self) -> int:
        assert self._cluster, "the embedded broker is closed"
        return int(self._cluster)

    def _new_handle(self) -> int:
        conf = self._rdkafka.rd_kafka_conf_new()
        fault = ctypes.create_string_buffer(512)
        self._rdkafka.rd_kafka_conf_set(conf, b"test.mock.num.brokers", b"1", fault, len(fault))
        self._rdkafka.rd_kafka_conf_set(conf, b"log_level", b"0", fault, len(fault))  # it would warn that it is a mock
        handle = self._rdkafka.rd_kafka_new(_PRODUCER, conf, fault, len(fault))
        if not handle:
            self._rdkafka.rd_kafka_conf_destroy(conf)
            raise RuntimeError(f"librdkafka could not start: {fault.value.decode()}")
        return int(handle)

    def _check(self, code: int, name: str) -> None:
        if code:
            raise ValueError(f"embedded broker: {name!r}: {self._rdkafka.rd_kafka_err2str(code).decode()}")


def _librdkafka() -> ctypes.CDLL:
    """The very librdkafka that confluent-kafka runs on: symbols are looked up through the extension that links it."""
    rdkafka = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_destroy": (None, [pointer]),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [number]),
        "rd_kafka_handle_mock_cluster": (pointer, [pointer]),
        "rd_kafka_mock_set_controller_id": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_topic_delete": (number, [pointer, text]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(rdkafka, name)
        function.restype, function.argtypes = result, arguments
    return rdkafka
