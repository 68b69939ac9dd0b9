"""A topic read from outside, as any subscriber may: no group, no commits, no trace left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from stream.runtime.kafka import kafka_config
from stream.runtime.rights import READ, RightMissing, right_on_topic
from stream.runtime.settings import Settings
from stream.runtime.topics import KafkaUnavailable, TopicMissing, require_reachable

ANSWER_SECONDS_MAX: Final = 10.0  # an address where nobody answers is said soon
POLL_SECONDS: Final = 0.5  # how long Ctrl-C may wait


class Found(NamedTuple):
    """A record, and where it stands. Without a value it is a tombstone."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def feed(settings: Settings, name: str, *, starts: Mapping[int, int] | None, follow: bool) -> Iterator[Found]:
    """The records of the topic of this name, in the order of each partition; ends where the topic ends, unless told to
    follow. It begins at the offset in ``starts``, or where a partition that is not in it begins; None: with what comes
    from now on.

    Raises ``KafkaUnavailable``, ``TopicMissing`` or ``RightMissing`` if it cannot be read: that must not look as if
    there were nothing.
    """
    require_reachable(settings)
    with closing(_consumer(settings)) as consumer:
        topic = settings.topic(name)
        unfinished = _partitions(consumer, topic, settings)
        consumer.assign([_start(consumer, topic, partition, starts) for partition in sorted(unfinished)])
        while follow or unfinished:
            message = consumer.poll(POLL_SECONDS)
            if message is None:
                continue
            if (error := message.error()) is not None:
                _pass_over(error, topic, settings)
                if error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition() or 0)
            else:
                yield Found(message.partition() or 0, message.offset() or 0, message.key(), message.value())


def _start(consumer: Consumer, topic: str, partition: int, starts: Mapping[int, int] | None) -> TopicPartition:
    if starts is None:
        return TopicPartition(topic, partition, OFFSET_END)
    known = starts.get(partition)
    if known is not None:
        begin, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_SECONDS_MAX)
        if begin <= known <= end:
            return TopicPartition(topic, partition, known)
    return TopicPartition(topic, partition, OFFSET_BEGINNING)  # also of a topic that was made anew meanwhile


def _consumer(settings: Settings) -> Consumer:
    return Consumer(
        kafka_config(settings)
        | {
            "group.id": f"{settings.consumer_group}-reader",  # asked for by the client; nothing joins it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 3,  # what it warns of while it reconnects by itself is no news to a reader
        }
    )


def _partitions(consumer: Consumer, topic: str, settings: Settings) -> set[int]:
    try:
        metadata = consumer.list_topics(topic, timeout=ANSWER_SECONDS_MAX).topics[topic]
    except KafkaException as error:
        raise _no_answer(settings, error.args[0]) from error
    if metadata.error is not None and metadata.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise _refused(settings, topic)
    if metadata.error is not None or not metadata.partitions:
        raise TopicMissing(topic=topic, bootstrap_servers=settings.kafka_bootstrap_servers)
    return set(metadata.partitions)


def _pass_over(error: KafkaError, topic: str, settings: Settings) -> None:
    """librdkafka reconnects by itself; what it cannot mend ends the reading."""
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise _refused(settings, topic)
    if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise _no_answer(settings, error)


def _refused(settings: Settings, topic: str) -> RightMissing:
    return RightMissing(
        rights=[right_on_topic(topic, [READ])],
        user=settings.kafka_sasl_username,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        data=f"Nothing of {topic} was read or published",
    )


def _no_answer(settings: Settings, error: KafkaError) -> KafkaUnavailable:
    return KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason=error.str())
