"""The topic ``usage.alerts``: what was decided, for anyone to read, and for a restarted watch to go on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream.alerts import Alert
from stream.errors import PublishFailed
from stream.ingest import Message
from stream.kafka import kafka_config
from stream.outbox import Outbox
from stream.settings import Settings
from stream.store import ALERTS

TAIL_MAX: Final = 1_000  # revisions; only those of the last hours can be missing in the warehouse
READ_SECONDS_MAX: Final = 10.0


def publish_alerts(outbox: Outbox, topic: str, alerts: Sequence[Alert]) -> None:
    """Publish revisions, keyed by alert so that they stay in order; returns once Kafka has them."""
    outbox.publish(topic, (Message(alert.alert_id.encode(), alert.to_json(), []) for alert in alerts))


def published_alerts(settings: Settings) -> list[Alert]:
    """The last revisions on the topic, oldest first. A crash may have fallen between publishing one and storing it."""
    consumer = Consumer(
        {
            **kafka_config(settings),
            "group.id": f"{settings.consumer_group}-watch",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        return [Alert.from_json(value) for value in _tail(consumer, settings.topic(ALERTS))]
    except KafkaException as error:
        raise PublishFailed(topic=settings.topic(ALERTS), unacknowledged=0, reason=str(error)) from error
    finally:
        consumer.close()


def _tail(consumer: Consumer, topic: str) -> Iterable[bytes]:
    partitions = consumer.list_topics(topic, timeout=READ_SECONDS_MAX).topics[topic].partitions
    for partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_SECONDS_MAX)
        if high > low:
            yield from _read(consumer, TopicPartition(topic, partition, max(low, high - TAIL_MAX)), high)


def _read(consumer: Consumer, start: TopicPartition, end: int) -> Iterable[bytes]:
    consumer.assign([start])
    position = start.offset
    while position < end and (message := consumer.poll(READ_SECONDS_MAX)) is not None:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        position = (message.offset() or 0) + 1
        if (value := message.value()) is not None:
            yield value
