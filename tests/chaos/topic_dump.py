"""Reading a topic from its beginning to its end, with a plain consumer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from confluent_kafka import Consumer, KafkaException, TopicPartition

READ_MAX_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Record:
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def dump(bootstrap_servers: str, topic: str) -> Iterator[Record]:
    """Every record that stands in the topic now."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "chaos-dump", "enable.auto.commit": False})
    try:
        numbers = consumer.list_topics(topic).topics[topic].partitions
        partitions = [TopicPartition(topic, number, 0) for number in numbers]
        ends = {each.partition: consumer.get_watermark_offsets(each)[1] for each in partitions}
        consumer.assign(partitions)
        yield from _read(consumer, {partition: end for partition, end in ends.items() if end})
    finally:
        consumer.close()


def _read(consumer: Consumer, ends: dict[int, int]) -> Iterator[Record]:
    deadline = time.monotonic() + READ_MAX_S
    while ends:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not read to the end within {READ_MAX_S} s: {ends}")
        for message in consumer.consume(10_000, timeout=1.0):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            partition, offset = message.partition() or 0, message.offset() or 0
            headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
            yield Record(partition, offset, message.key(), message.value(), headers)
            if offset + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)
