"""Alerts to people: what is due on each channel is sent by a thread of its own, and every attempt is written down.

The worker whose turn it is sends, and nobody else. An attempt is in the ledger before its channel sends the next
message. So after a crash each channel repeats one message at the most; and if the warehouse was away, those that were
sent since it went away. An alert that was published in this turn is sent at once, whatever the warehouse does; what
earlier turns have left is sent once the ledger can be read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from queue import SimpleQueue
from typing import Final

import structlog

from costream.alerts import Alert
from sinks.channels.notice import NotDelivered, NotDeliveredToAll
from sinks.clickhouse.deliveries import Attempt
from sinks.errors import WarehouseError
from stream.notify.lane import Due, Lane, Outcome, attempt_at, wait_after
from stream.notify.ledger import TRY_AGAIN, Ledger
from stream.notify.receivers import Receiver, Receivers
from stream.notify.secrets import Secrets
from stream.runtime.errors import StreamError
from stream.runtime.telemetry import Telemetry

LOOK_AGAIN: Final = timedelta(seconds=5)  # at a channel of which nothing was heard
REST: Final = timedelta(minutes=1)
FORGET_EVERY: Final = timedelta(hours=1)
SENDING_MAX: Final = timedelta(minutes=1)
POLL_SECONDS: Final = 0.05

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Channel:
    """A receiver, and what it was told."""

    receiver: Receiver
    lane: Lane
    look_at: datetime | None = None  # None: at once

    def is_due_at(self, now: datetime) -> bool:
        return self.look_at is None or now >= self.look_at


@dataclass(slots=True)
class _Held:
    """What is known in one turn. Until it is restored, only what was published in it is told."""

    turn: int
    began: datetime
    forget_at: datetime
    restored: bool = False
    restore_at: datetime | None = None
    acts_at: datetime | None = None  # when what people have done is looked at next
    in_force: Receivers = field(default_factory=Receivers)
    channels: dict[str, _Channel] = field(default_factory=dict)

    def hear(self, alerts: Iterable[Alert], channels: Iterable[_Channel]) -> None:
        channels = list(channels)
        for alert in alerts:
            for channel in channels:
                if channel.receiver.is_told(alert, self.in_force.routes):
                    channel.lane.hear(alert)
                    channel.look_at = None


@dataclass(frozen=True, slots=True)
class _Message:
    """One that a thread is sending."""

    number: int
    name: str  # of the channel
    due: Due
    began: datetime


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a message."""

    message: _Message
    outcome: Outcome
    at: datetime
    reason: str = ""


class Notifier:
    """Any thread calls its methods, ``tick`` several times a second."""

    def __init__(
        self,
        *,
        turn: Callable[[], int | None],
        receivers: Callable[[], Receivers | None],
        published: Callable[[], list[Alert]],
        ledger: Ledger,
        secrets: Secrets,
        dashboard: str,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
    ) -> None:
        """``turn`` gives the number of the turn that it is, ``receivers`` None while they are not known, ``published``
        what is on ``usage.alerts``."""
        self._turn, self._receivers, self._published = turn, receivers, published
        self._ledger, self._secrets, self._dashboard = ledger, secrets, dashboard
        self._telemetry, self._clock = telemetry, clock
        self._held: _Held | None = None
        self._news, self._sent = SimpleQueue[Alert](), SimpleQueue[_Sent]()
        self._under_way: dict[str, _Message] = {}  # by channel
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._rests_until: datetime | None = None  # after a failure that nobody has thought of

    def hear(self, alerts: Sequence[Alert]) -> None:
        """These are on ``usage.alerts`` now."""
        for alert in alerts:
            self._news.put(alert)

    def tick(self) -> None:
        """Note what was sent, write it down, and send what is due. No failure ends the loop."""
        with self._lock:
            now = self._clock()
            if self._rests_until is not None and now < self._rests_until:
                return
            try:
                self._rests_until = None
                self._tick(now)
            except Exception:
                self._held, self._rests_until = None, now + REST
                log.exception("people are not told", next="tried again in a minute, by the ledger and the topic")

    def _tick(self, now: datetime) -> None:
        receivers = self._receivers()  # also out of turn: whoever takes over in an outage knows them
        self._note_sent()
        self._give_up_on_silent(now)
        held = self._hold(now)
        if held is None or receivers is None:
            self._ledger.store(now)
            return
        self._restore(held, receivers, now)
        self._take_over(held, receivers, now)
        self._take_news(held)
        self._look_at_acts(held, now)
        self._ledger.store(now)
        self._send_what_is_due(held, now)

    def finish(self, *, seconds: float) -> None:
        """The turn is over. Wait for what is being sent, but no longer than this, and write it down."""
        end = time.monotonic() + seconds
        while self._under_way and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            with self._lock:
                self._note_sent()
        with self._lock:
            self._ledger.store(self._clock(), at_once=True)

    # --- what is known ---

    def _hold(self, now: datetime) -> _Held | None:
        turn = self._turn()
        if turn is None:
            self._held = None
        elif self._held is None or self._held.turn != turn:
            self._held = _Held(turn, began=now, forget_at=now + FORGET_EVERY)
        return self._held

    def _restore(self, held: _Held, receivers: Receivers, now: datetime) -> None:
        """What earlier turns have told and left."""
        if held.restored or (held.restore_at is not None and now < held.restore_at):
            return
        try:
            on, made = self._ledger.channels(), self._ledger.attempts(now)
            published = self._published()  # what was heard before is on the topic
        except (WarehouseError, StreamError) as error:
            if held.restore_at is None:
                log.warning(
                    "what was told is not known",
                    reason=str(error),
                    next="what is published from now on is sent; the rest is, once the ledger can be read",
                )
            held.restore_at = now + TRY_AGAIN
            return
        held.restored, held.in_force, held.acts_at = True, receivers, None
        held.channels = {one.name: self._known(one, on, held.began) for one in held.in_force.all}
        for name, channel in held.channels.items():
            channel.lane.recall((one for one in made if one.channel == name), published)
        held.hear(published, held.channels.values())
        self._end({name for name, (is_on, _) in on.items() if is_on} - held.channels.keys(), now)

    def _known(self, receiver: Receiver, on: Mapping[str, tuple[bool, datetime]], began: datetime) -> _Channel:
        is_on, since = on.get(receiver.name, (False, began))
        return _Channel(receiver, Lane(receiver.name, receiver.limits(since))) if is_on else self._new(receiver, began)

    def _new(self, receiver: Receiver, since: datetime) -> _Channel:
        """Told what comes from now on."""
        self._ledger.note_channel(receiver.name, is_on=True, since=since)
        return _Channel(receiver, Lane(receiver.name, receiver.limits(since)))

    def _end(self, names: Iterable[str], now: datetime) -> None:
        for name in names:
            self._ledger.note_channel(name, is_on=False, since=now)

    def _take_over(self, held: _Held, receivers: Receivers, now: datetime) -> None:
        """Other rules: channels that are new, that changed, or that are off now."""
        if receivers is held.in_force:
            return
        held.in_force, before, held.channels, held.acts_at = receivers, held.channels, {}, None
        for receiver in receivers.all:
            if channel := before.get(receiver.name):
                channel.receiver, channel.lane.limits = receiver, receiver.limits(channel.lane.limits.since)
            elif held.restored:
                channel = self._new(receiver, now)
            else:
                channel = _Channel(receiver, Lane(receiver.name, receiver.limits(held.began)))
            held.channels[receiver.name] = channel
        if held.restored:
            self._end(before.keys() - held.channels.keys(), now)

    def _take_news(self, held: _Held) -> None:
        news = list[Alert]()
        while not self._news.empty():
            news.append(self._news.get())
        held.hear(news, held.channels.values())

    def _look_at_acts(self, held: _Held, now: datetime) -> None:
        """While the warehouse is away those hold that were there."""
        if held.acts_at is None or now >= held.acts_at:
            held.acts_at = now + LOOK_AGAIN
            with suppress(WarehouseError):
                acts = self._ledger.acts(now)
                for channel in held.channels.values():
                    channel.lane.acts = acts

    # --- what is sent ---

    def _send_what_is_due(self, held: _Held, now: datetime) -> None:
        for name, channel in held.channels.items():
            if name in self._under_way or not channel.is_due_at(now):
                continue
            due = channel.lane.due(now)
            if due is None:
                channel.look_at = now + LOOK_AGAIN
                self._telemetry.deliveries_waiting.labels(name).set(channel.lane.waiting(now))
            else:
                message = self._under_way[name] = _Message(next(self._numbers), name, due, now)
                threading.Thread(target=self._send, args=(channel.receiver, message), name=name, daemon=True).start()
        if now >= held.forget_at:
            held.forget_at = now + FORGET_EVERY
            for channel in held.channels.values():
                channel.lane.forget(now)

    def _give_up_on_silent(self, now: datetime) -> None:
        """A receiver that sends a byte now and then keeps every timeout, and would have its channel for ever."""
        for message in list(self._under_way.values()):
            if now >= message.began + SENDING_MAX:
                reason = f"it was not over after {SENDING_MAX.total_seconds():.0f} s"
                self._note(_Sent(message, "failed", now, reason))

    def _send(self, receiver: Receiver, message: _Message) -> None:
        """In a thread of its own. Whatever happens, its channel is free again."""
        outcome: Outcome = "failed"
        reason = ""
        try:
            notice = receiver.notice(message.due, self._dashboard)
            receiver.channel(self._secrets).send(notice)
            outcome = "delivered"
        except NotDeliveredToAll as error:
            outcome, reason = "delivered", str(error)
        except NotDelivered as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}, which is a defect and not the receiver's"
            log.exception("a channel broke", channel=receiver.name)
        finally:
            self._sent.put(_Sent(message, outcome, self._clock(), reason))

    def _note_sent(self) -> None:
        while not self._sent.empty():
            sent = self._sent.get()
            if self._under_way.get(sent.message.name) == sent.message:  # else it was given up meanwhile
                self._note(sent)

    def _note(self, sent: _Sent) -> None:
        name, due = sent.message.name, sent.message.due
        del self._under_way[name]
        attempt = self._attempt(sent)
        self._ledger.note(attempt, due.alert)
        self._telemetry.deliveries.labels(name, attempt.outcome).inc()
        _say(attempt, due.alert)

    def _attempt(self, sent: _Sent) -> Attempt:
        held, name, due = self._held, sent.message.name, sent.message.due
        if held is None or (channel := held.channels.get(name)) is None:
            return attempt_at(name, due, sent.outcome, sent.at, sent.reason)
        attempt = channel.lane.note(due, sent.outcome, sent.at, sent.reason)
        channel.look_at = None
        return attempt


def _say(attempt: Attempt, alert: Alert) -> None:
    told = {
        "channel": attempt.channel,
        "alert_id": attempt.alert_id,
        "revision": attempt.revision,
        "rule": alert.rule,
        "level": alert.level.value,
        "attempt": attempt.attempt,
        **({"reason": attempt.reason} if attempt.reason else {}),
    }
    if attempt.outcome == "delivered":
        log.info("alert sent", **told)
    elif attempt.outcome == "failed":
        wait = wait_after(attempt.attempt).total_seconds()
        log.warning("alert not sent", **told, next=f"tried again in {wait:.0f} s, for a day")
    else:
        next_step = "nobody hears of it on this channel; it is on usage.alerts and in the view alert_deliveries"
        log.error("alert given up", **told, next=next_step)
