"""``BudgetGuard``: whether a budget is used up, from memory, before a call is made.

It never decides anything: whoever makes calls asks, and refuses or does not. And it fails open. Where it cannot tell,
calls are allowed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self, Unpack, cast

from confluent_kafka import Consumer

from costream.delivery import voice
from costream.delivery.clock import time_by
from costream.delivery.complaints import Complaints
from costream.delivery.fork import leak
from costream.delivery.lifetime import dismiss, enroll
from costream.delivery.real import wait_until
from costream.errors import BudgetLimited
from costream.guarding.asked import FIELDS, Call, Canonical, Values
from costream.guarding.known import KnownLimits
from costream.guarding.limited import Limited
from costream.guarding.reader import Kafka, Reader
from costream.settings import KafkaValue, resolve_guard

CLOSE_WAIT_MAX_S: Final = 1.0


class _Reader(Protocol):
    """Where a guard gets its limits from: ``Reader``, or the memory of ``costream.testing``."""

    known: KnownLimits
    is_started: bool
    has_read: bool
    has_ended: bool
    complaints: Complaints

    def start(self) -> None: ...
    def stop(self) -> None: ...


class BudgetGuard:
    """Knows which budgets are limited, by a thread that reads ``usage.budgets``.

    It is off unless ``COSTREAM_BUDGET_GUARD`` or ``enabled`` says otherwise; then it allows everything and connects to
    nothing. Arguments that are not given are taken from the environment. Raises ``InvalidSettings`` for arguments that
    break a rule, and touches no network in the caller's thread.

    ``canonical`` gives provider and model the names under which calls are stored. Without it they are compared as they
    are given, trimmed, the provider in small letters.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str | None = None,
        topic: str | None = None,
        enabled: bool | None = None,
        kafka: Mapping[str, KafkaValue] | None = None,
        canonical: Canonical | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        given = {
            "kafka_bootstrap_servers": bootstrap_servers,
            "topic": topic,
            "enabled": enabled,
            "kafka": None if kafka is None else dict(kafka),
        }
        self._settings = resolve_guard(given, os.environ)
        self._enabled = self._settings.enabled
        self._canonical, self._clock = canonical, clock
        self._reader = self._new_reader(KnownLimits())
        if self._enabled:
            enroll(self)
            self._reader.start()

    def _new_reader(self, known: KnownLimits) -> _Reader:
        return Reader(self._settings, connect=_connect, known=known, now=self._now, monotonic=time.monotonic)

    def check(self, **call: Unpack[Call]) -> Limited | None:
        """The limit that holds for this call, or None: it is allowed. Returns at once and raises nothing.

        Fields are those of ``record()``, as hosts have them; those that no budget goes by may be given too. Of several
        limits that hold it is the one that lasts longest.
        """
        if not self._enabled:
            return None
        self._see_that_it_reads()
        if voice.LINES:
            voice.lend_a_thread()
        known = self._reader.known
        if not known:
            return None
        try:
            if not FIELDS.issuperset(call):
                self._complain("field", f"check() was asked by {sorted(call.keys() - FIELDS)[0]!r}, which no event has")
            return known.limit_on(Values(call, self._canonical), self._now)
        except Exception as error:  # noqa: BLE001 - what a value or ``canonical`` does is the host's; it must not cost the call
            self._complain("check", f"whether a call is limited cannot be told, it is allowed: {type(error).__name__}")
            return None

    def require(self, **call: Unpack[Call]) -> None:
        """Raise ``BudgetLimited`` where ``check`` finds a limit."""
        limited = self.check(**call)
        if limited is not None:
            raise BudgetLimited(limited)

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether it is known which limits hold; wait for that, at most so many seconds. Until then calls are allowed,
        so a program that makes a few calls and ends should wait."""
        if not self._enabled:
            return False
        self._see_that_it_reads()
        return wait_until(lambda: self._reader.has_read, timeout)

    def close(self, timeout: float = CLOSE_WAIT_MAX_S) -> None:
        """End its thread; from here on everything is allowed. An open guard is closed at the interpreter's exit."""
        if not self._enabled:
            return
        self._enabled = False
        dismiss(self)
        self._reader.stop()
        wait_until(lambda: self._reader.has_ended or not self._reader.is_started, timeout)

    def hand_over(self, timeout: float) -> None:
        """Called where the process may end: there is nothing to deliver."""

    def start_over_in_child(self) -> None:
        """Called in a forked child: what the parent knew holds until the child has read the topic itself."""
        leak(self._reader)
        self._reader = self._new_reader(self._reader.known)

    def _see_that_it_reads(self) -> None:
        """In a forked child, or where no thread could be had before."""
        if not self._reader.is_started:
            self._reader.start()

    def _now(self) -> datetime:
        return time_by(self._clock, lambda fault: self._complain("clock", f"the clock of a guard {fault}"))

    def _complain(self, kind: str, text: str) -> None:
        self._reader.complaints.say(kind, text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"{len(self._reader.known)} limits" if self._enabled else "off"
        return f"BudgetGuard(topic={self._settings.topic_name!r}, {state})"


def _connect(config: Mapping[str, Any]) -> Kafka:
    return cast(Kafka, Consumer(dict(config)))
