"""Warnings that do not flood: each kind of trouble is said at most once a minute, with how often it happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from costream.delivery.real import new_reentrant_lock

INTERVAL_S: Final = 60.0
Say = Callable[[int, str, str], None]  # level, kind and text


@dataclass(slots=True)
class _Trouble:
    level: int = logging.WARNING
    text: str = ""
    times: int = 0
    said_at: float | None = None


@dataclass(slots=True)
class Complaints:
    """``text`` is the newest of its kind; the count is of all since the last line."""

    speak: Say
    monotonic: Callable[[], float]
    _troubles: dict[str, _Trouble] = field(default_factory=dict)
    # Reentrant, because a signal handler may record an event while the same thread is in here.
    _lock: Any = field(default_factory=new_reentrant_lock)

    def say(self, kind: str, text: str, *, times: int = 1, level: int = logging.WARNING) -> None:
        with self._lock:
            trouble = self._troubles.setdefault(kind, _Trouble())
            trouble.text, trouble.level = text, level
            trouble.times += times
        self.say_what_is_due()

    def say_what_is_due(self, *, everything: bool = False) -> None:
        now = self.monotonic()
        for kind, trouble in list(self._troubles.items()):
            with self._lock:
                due = everything or trouble.said_at is None or now - trouble.said_at >= INTERVAL_S
                times, text = trouble.times, trouble.text
                if not times or not due:
                    continue
                trouble.times, trouble.said_at = 0, now
            self.speak(trouble.level, kind, f"{text} ({times} x since the last such line)" if times > 1 else text)
