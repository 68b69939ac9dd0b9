"""What is being waited out, and since when: the flush that does not get through, for whoever tells people of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Insists(Protocol):
    """What is needed of ``stream.runtime.patience.Patience``."""

    def insist(self, action: Callable[[], T], *, doing: str) -> T: ...


@dataclass(frozen=True, slots=True)
class Stall:
    """An action that has failed at least once, and not got through since it was begun."""

    doing: str
    since: datetime


class Stalls:
    """Passes actions on to somebody patient and remembers those that fail. Safe to use from many threads."""

    def __init__(self, patience: Insists, *, clock: Callable[[], datetime]) -> None:
        self._patience, self._clock = patience, clock
        self._lock = threading.Lock()
        self._failing: dict[object, Stall] = {}
        self._through = False

    def insist(self, action: Callable[[], T], *, doing: str) -> T:
        """The action's result, however long it takes."""
        begun, attempt = self._clock(), object()

        def tried() -> T:
            try:
                return action()
            except Exception:
                with self._lock:
                    self._failing[attempt] = Stall(doing, begun)
                raise

        try:
            result = self._patience.insist(tried, doing=doing)
        finally:
            with self._lock:
                self._failing.pop(attempt, None)
        self._through = True
        return result

    @property
    def longest(self) -> Stall | None:
        """Of what fails now, what was begun first."""
        with self._lock:
            return min(self._failing.values(), key=lambda stall: stall.since, default=None)

    @property
    def got_through(self) -> bool:
        """Whether anything has ever succeeded: before, that nothing fails says nothing."""
        return self._through
