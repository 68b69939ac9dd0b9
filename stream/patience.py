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

from sinks.errors import WarehouseUnavailable
from stream.errors import PublishFailed
from stream.topics import KafkaUnavailable

T = TypeVar("T")

WAIT_SECONDS_FIRST: Final = 0.2
WAIT_SECONDS_MAX: Final = 5.0  # an outage is over for us at most this long after it is over
EXIT_TEMPORARY: Final = 75  # EX_TEMPFAIL: start me again

log = structlog.get_logger(__name__)


class Patience:
    """Repeats an action until it succeeds; says so once an outage, and once when it is over."""

    def __init__(self, stalled: Gauge, *, dice: Callable[[], float] = random.random) -> None:
        self._stalled = stalled
        self._dice = dice
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0  # several stages may wait at once

    def stop(self) -> None:
        """Someone wants the process to end: an outage is no longer waited out."""
        self._stopping.set()

    def insist(self, action: Callable[[], T], *, doing: str) -> T:
        """The action's result. Its data stays in Kafka unacknowledged however long it takes, or if the process ends."""
        since: float | None = None
        wait = WAIT_SECONDS_FIRST
        while True:
            try:
                result = action()
            except (WarehouseUnavailable, PublishFailed, KafkaUnavailable) as error:
                since = since or self._begin_outage(doing, error)
                self._pause(wait, doing)
                wait = min(wait * 2, WAIT_SECONDS_MAX)
            else:
                if since is not None:
                    self._end_outage(doing, since)
                return result

    def _begin_outage(self, doing: str, error: Exception) -> float:
        log.warning("stalled", doing=doing, error=str(error), next="retried until it works; Kafka keeps the rest")
        self._count(1)
        return time.monotonic()

    def _end_outage(self, doing: str, since: float) -> None:
        log.warning("going on", doing=doing, stalled_seconds=round(time.monotonic() - since, 1))
        self._count(-1)

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
