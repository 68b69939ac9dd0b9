"""Waiting out what mends itself: ClickHouse or Kafka away for a while. Nothing is skipped and nothing is dropped."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from prometheus_client import Gauge

from sinks.errors import PricesNotUnderstood, RowsSetAside, SchemaBehind, WarehouseUnavailable
from stream.runtime.errors import ConfigurationError, PublishFailed
from stream.runtime.process import EXIT_TEMPORARY
from stream.runtime.rights import RightMissing
from stream.runtime.topics import KafkaUnavailable, LoginRefused

T = TypeVar("T")

WAIT_SECONDS_FIRST: Final = 0.2
WAIT_SECONDS_MAX: Final = 5.0  # an outage is over for us at most this long after it is over
REMIND_SECONDS: Final = 60.0  # who reads the log of an hour's outage finds the reason near the end of it too

log = structlog.get_logger(__name__)


# What may be over by itself, or because somebody mends it. Anything else is a bug or a refusal that stands.
WAITED_OUT: Final = (WarehouseUnavailable, PublishFailed, KafkaUnavailable, RightMissing)
# Of these nobody is away: somebody says no, and a person is needed.
REFUSALS: Final = (ConfigurationError, SchemaBehind, RowsSetAside, PricesNotUnderstood, RightMissing, LoginRefused)


class Outage:
    """One thing that is being waited for. Safe to use from one thread at a time."""

    def __init__(self, doing: str, *, count: Callable[[int], None], refusals: dict[Outage, str] | None = None) -> None:
        self._doing, self._count = doing, count
        self._refusals = {} if refusals is None else refusals  # of all that wait now
        self._since: float | None = None
        self._said, self._said_at = "", 0.0

    def because(self, error: Exception, *, refused: bool = False) -> None:
        """It failed once more. ``refused``: it is not away, it says no, and a person is needed."""
        reason, now = str(error), time.monotonic()
        if refused:
            self._refusals[self] = f"{self._doing}: {reason}"
        else:
            self._refusals.pop(self, None)
        say = log.error if refused else log.warning
        if self._since is None:
            self._since = now
            self._count(1)
            say("stalled", doing=self._doing, error=reason, next="retried until it works; Kafka keeps the rest")
        elif reason != self._said or now - self._said_at >= REMIND_SECONDS:
            stalled_seconds = round(now - self._since, 1)
            say("still stalled", doing=self._doing, error=reason, stalled_seconds=stalled_seconds)
        else:
            return
        self._said, self._said_at = reason, now

    def over(self) -> None:
        """It works, or is no longer wanted."""
        self._refusals.pop(self, None)
        if self._since is None:
            return
        stalled_seconds = round(time.monotonic() - self._since, 1)
        log.warning("going on", doing=self._doing, stalled_seconds=stalled_seconds)
        self._since = None
        self._count(-1)


class Patience:
    """Repeats an action until it succeeds; says so once an outage, again when the reason changes or a minute has
    passed, and once when it is over."""

    def __init__(self, stalled: Gauge, *, dice: Callable[[], float] = random.random) -> None:
        self._stalled = stalled
        self._dice = dice
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0  # several stages may wait at once
        self._refusals: dict[Outage, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether anything is being waited out now: a restart would not help."""
        return self._waiting > 0

    @property
    def refusals(self) -> list[str]:
        """What is refused now, and waits for a person."""
        return list(self._refusals.values())

    def outage(self, doing: str) -> Outage:
        """For whoever waits in its own way: tell it of each failure, and of the end."""
        return Outage(doing, count=self._count, refusals=self._refusals)

    def stop(self) -> None:
        """Someone wants the process to end: an outage is no longer waited out."""
        self._stopping.set()

    def insist(self, action: Callable[[], T], *, doing: str) -> T:
        """The action's result. Its data stays in Kafka unacknowledged however long it takes, or if the process ends."""
        outage = self.outage(doing)
        wait = WAIT_SECONDS_FIRST
        while True:
            try:
                result = action()
            except WAITED_OUT as error:
                outage.because(error, refused=isinstance(error, REFUSALS))
                self._pause(wait, doing)
                wait = min(wait * 2, WAIT_SECONDS_MAX)
            else:
                outage.over()
                return result

    def _count(self, more: int) -> None:
        with self._lock:
            self._waiting += more
            self._stalled.set(min(self._waiting, 1))

    def _pause(self, seconds: float, doing: str) -> None:
        """Jittered, so that workers do not come back in step. When stopping there is nothing to wait for: whatever is
        not stored was not acknowledged, and the next start reads it again."""
        if self._stopping.wait(seconds * (0.5 + self._dice() / 2)):
            log.warning("stopped while stalled", doing=doing, next="what was not stored stays in Kafka")
            os._exit(EXIT_TEMPORARY)
