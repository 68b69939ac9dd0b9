"""The topic ``usage.alerts``: what was decided, for anyone to read, and for a restarted watch to go on from."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from costream.alerts import Alert, fault_of
from costream.reasons import first_fault
from costream.topics import ALERTS
from stream.runtime.settings import Settings
from stream.store.flush import Outgoing
from stream.store.outbox import Outbox
from stream.watch.topic_feed import Found, feed


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
            for found in feed(self._settings, ALERTS, starts=self._next, follow=False):
                self._next[found.partition] = found.offset + 1
                if found.value is None:
                    continue  # a tombstone says nothing
                each = _read(found, found.value)
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
    starts: Mapping[int, int] | None = {} if from_beginning else None
    for found in feed(settings, ALERTS, starts=starts, follow=follow):
        if found.value is not None:
            yield _read(found, found.value)


def _read(found: Found, value: bytes) -> Alert | Unreadable:
    try:
        return Alert.from_json(value)
    except ValidationError as error:
        return Unreadable(found.partition, found.offset, first_fault(error))
