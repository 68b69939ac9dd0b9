"""The topic ``usage.alerts``: what was decided, for anyone to read, and for a restarted watch to go on from.

It is read from outside, as any subscriber may: no group, no commits, no trace left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from pydantic import ValidationError

from costream.alerts import Alert, fault_of
from costream.topics import ALERTS
from stream.runtime.kafka import kafka_config
from stream.runtime.rights import READ, RightMissing, right_on_topic
from stream.runtime.settings import Settings
from stream.runtime.topics import KafkaUnavailable, TopicMissing, require_reachable
from stream.store.flush import Outgoing
from stream.store.outbox import Outbox

ANSWER_SECONDS_MAX: Final = 10.0  # an address where nobody answers is said soon
POLL_SECONDS: Final = 0.5  # how long Ctrl-C may wait


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record on the topic that is no alert: somebody else's, or of a later schema version."""

    partition: int
    offset: int
    reason: str


def publish_alerts(outbox: Outbox, topic: str, alerts: Sequence[Alert]) -> None:
    """Publish revisions, keyed by alert so that they stay in order; returns once Kafka has them."""
    outbox.publish(topic, (Outgoing(alert.alert_id.encode(), alert.to_json(), []) for alert in alerts))


@dataclass(frozen=True, slots=True)
class Published:
    """Our alerts on the topic, and how many records are somebody else's, with why of the first."""

    alerts: list[Alert]
    strange: int = 0
    reason: str = ""


def published_alerts(settings: Settings) -> Published:
    """Every revision on the topic, oldest first. A crash may have fallen between publishing one and storing it.

    What no worker of ours has written is passed over: to go on from it would be to judge by a stranger's word.
    """
    alerts: list[Alert] = []
    faults: list[str] = []
    for each in alert_feed(settings, from_beginning=True, follow=False):
        if isinstance(each, Unreadable):
            faults.append(each.reason)
        elif fault := fault_of(each):
            faults.append(fault)
        else:
            alerts.append(each)
    return Published(alerts, len(faults), faults[0][:REASON_CHARS_MAX] if faults else "")


REASON_CHARS_MAX: Final = 200


def alert_feed(settings: Settings, *, from_beginning: bool, follow: bool) -> Iterator[Alert | Unreadable]:
    """Every revision on the topic in order of arrival; ends where the topic ends, unless told to follow.

    Raises ``KafkaUnavailable``, ``TopicMissing`` or ``RightMissing`` if it cannot be read: an alert that nobody hears
    of must not look like peace.
    """
    require_reachable(settings)
    with closing(_consumer(settings)) as consumer:
        topic = settings.topic(ALERTS)
        unfinished = _partitions(consumer, topic, settings)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign([TopicPartition(topic, partition, start) for partition in sorted(unfinished)])
        while follow or unfinished:
            message = consumer.poll(POLL_SECONDS)
            if message is None:
                continue
            if (error := message.error()) is not None:
                _pass_over(error, settings)
                if error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition())
            elif (value := message.value()) is not None:  # a tombstone says nothing
                yield _read(value, message)


def _consumer(settings: Settings) -> Consumer:
    return Consumer(
        kafka_config(settings)
        | {
            "group.id": f"{settings.consumer_group}-alerts-tail",  # asked for by the client; nothing joins it
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
        raise _refused(settings)
    if metadata.error is not None or not metadata.partitions:
        raise TopicMissing(topic=topic, bootstrap_servers=settings.kafka_bootstrap_servers)
    return set(metadata.partitions)


def _pass_over(error: KafkaError, settings: Settings) -> None:
    """librdkafka reconnects by itself; what it cannot mend ends the reading."""
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise _refused(settings)
    if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise _no_answer(settings, error)


def _refused(settings: Settings) -> RightMissing:
    return RightMissing(
        rights=[right_on_topic(settings.topic(ALERTS), [READ])],
        user=settings.kafka_sasl_username,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        data="No alert was read or published",
    )


def _no_answer(settings: Settings, error: KafkaError) -> KafkaUnavailable:
    return KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason=error.str())


def _read(value: bytes, message: Message) -> Alert | Unreadable:
    try:
        return Alert.from_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']}"
        return Unreadable(message.partition() or 0, message.offset() or 0, reason)
