"""The topic ``usage.alerts``: what was decided, for anyone to read, and for a restarted watch to go on from.

It is read from outside, as any subscriber may: no group, no commits, no trace left.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

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
from costream.reasons import rule_of
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


def outbox_for_alerts(config: Mapping[str, Any]) -> Outbox:
    """Alerts are few and go out as they are: not every subscriber's library reads LZ4 (kafkajs does not)."""
    return Outbox(config, compression="none")


def publish_alerts(outbox: Outbox, topic: str, alerts: Sequence[Alert]) -> None:
    """Publish revisions, keyed by alert so that they stay in order; returns once Kafka has them."""
    outbox.publish(topic, (Outgoing(alert.alert_id.encode(), alert.to_json(), []) for alert in alerts))


@dataclass(frozen=True, slots=True)
class Published:
    """Our alerts on the topic, and how many records are somebody else's, with why of the first."""

    alerts: list[Alert]
    strange: int = 0
    reason: str = ""


class PublishedAlerts:
    """Our alerts on the topic, as far as they may still change. The topic is read whole once, and then what is new.

    What no worker of ours has written is passed over: to go on from it would be to judge by a stranger's word. Safe to
    use from many threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._next: dict[int, int] = {}  # of each partition, the offset after the last one read
        self._alerts: list[Alert] = []
        self._strange, self._reason = 0, ""

    def read(self, now: datetime) -> Published:
        """Every revision, oldest first, of what stands or has ended lately. A crash may have fallen between publishing
        a revision and storing it."""
        with self._lock:
            for place, each in _feed(self._settings, starts=self._next, follow=False):
                self._next[place.partition] = place.offset + 1
                fault = each.reason if isinstance(each, Unreadable) else fault_of(each)
                if isinstance(each, Alert) and not fault:
                    self._alerts.append(each)
                else:
                    self._strange, self._reason = self._strange + 1, self._reason or fault[:REASON_CHARS_MAX]
            self._alerts = _still_to_change(self._alerts, now=now)
            return Published(list(self._alerts), self._strange, self._reason)


def _still_to_change(alerts: Sequence[Alert], *, now: datetime) -> list[Alert]:
    latest = {alert.alert_id: alert for alert in sorted(alerts, key=lambda alert: alert.revision)}
    kept = {name for name, alert in latest.items() if alert.standing or alert.timestamp >= now - REMEMBERED}
    return [alert for alert in alerts if alert.alert_id in kept]


REASON_CHARS_MAX: Final = 200
REMEMBERED: Final = timedelta(days=8)  # a day longer than an alert that has ended may be revived or told of again


def alert_feed(settings: Settings, *, from_beginning: bool, follow: bool) -> Iterator[Alert | Unreadable]:
    """Every revision on the topic in order of arrival; ends where the topic ends, unless told to follow.

    Raises ``KafkaUnavailable``, ``TopicMissing`` or ``RightMissing`` if it cannot be read: an alert that nobody hears
    of must not look like peace.
    """
    for _, each in _feed(settings, starts={} if from_beginning else None, follow=follow):
        yield each


class _Place(NamedTuple):
    partition: int
    offset: int


def _feed(
    settings: Settings, *, starts: Mapping[int, int] | None, follow: bool
) -> Iterator[tuple[_Place, Alert | Unreadable]]:
    """From the offset in ``starts``, or from where a partition that is not in it begins; None: what comes from now."""
    require_reachable(settings)
    with closing(_consumer(settings)) as consumer:
        topic = settings.topic(ALERTS)
        unfinished = _partitions(consumer, topic, settings)
        consumer.assign([_start(consumer, topic, partition, starts) for partition in sorted(unfinished)])
        while follow or unfinished:
            message = consumer.poll(POLL_SECONDS)
            if message is None:
                continue
            if (error := message.error()) is not None:
                _pass_over(error, settings)
                if error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(message.partition() or 0)
            elif (value := message.value()) is not None:  # a tombstone says nothing
                yield _Place(message.partition() or 0, message.offset() or 0), _read(value, message)


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
        reason = f"{'.'.join(map(str, first['loc'])) or 'value'}: {rule_of(first)}"
        return Unreadable(message.partition() or 0, message.offset() or 0, reason)
