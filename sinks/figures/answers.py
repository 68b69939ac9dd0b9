"""Answers that many ask for and the warehouse is asked for once.

An answer is kept as long as nothing new was stored, half a minute at the most; and for a moment in any case, longer
where it took long, so that a hundred viewers of a busy system make one question, and what is stored does not wait for
what is read. Who asks while the same question is under way waits for its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread

from sinks.clickhouse.reader import Reader
from sinks.figures.pulse import pulse

KEPT_SECONDS: Final = 2.0  # in any case
KEPT_TIMES: Final = 5  # or so many times as long as the answer took
RELAXED_SECONDS: Final = 15.0  # the same of what nobody watches second by second
RELAXED_TIMES: Final = 30
KEPT_SECONDS_MAX: Final = 30.0  # though it took long, and though nothing new was stored: spans move on
ANSWERS_MAX: Final = 500
ROWS_MAX: Final = 500_000  # of all answers together, some 100 MB
AT_ONCE: Final = 2  # questions under way in the warehouse: what is stored must not wait for what is read

T = TypeVar("T")
_PULSE: Final = ("pulse",)


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Any
    rows: int
    made_at: float  # seconds of the monotonic clock
    took_seconds: float
    pulse: str

    def until(self, seconds: float, times: float) -> float:
        """Kept in any case."""
        return self.made_at + min(KEPT_SECONDS_MAX, max(seconds, times * self.took_seconds))


class Answers:
    """Asks ``reader`` in threads. Use from one event loop."""

    def __init__(self, reader: Reader, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._monotonic = reader, monotonic
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._rows = 0
        self._pulse: _Kept | None = None
        self._under_way: dict[Hashable, asyncio.Task[_Kept]] = {}
        self._limiter: CapacityLimiter | None = None
        self.asked = 0  # questions that the warehouse was asked

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    async def get(self, key: Hashable, ask: Callable[[Reader], T], *, relaxed: bool = False) -> T:
        """The answer of ``ask``, which ``key`` says all of. ``relaxed``: it may be a little older though there is
        news."""
        now_stored = await self.pulse()
        kept = self._kept.get(key)
        if kept is None or not self._holds(kept, now_stored, relaxed=relaxed):
            kept = await self._asked(key, ask, now_stored)
        else:
            self._kept.move_to_end(key)
        answer: T = kept.answer
        return answer

    async def pulse(self) -> str:
        """What is another text when anything new was stored."""
        kept = self._pulse
        if kept is None or self._monotonic() >= kept.until(KEPT_SECONDS, KEPT_TIMES):
            kept = await self._asked(_PULSE, pulse, "")
        return str(kept.answer)

    def _holds(self, kept: _Kept, now_stored: str, *, relaxed: bool) -> bool:
        now = self._monotonic()
        least = (RELAXED_SECONDS, RELAXED_TIMES) if relaxed else (KEPT_SECONDS, KEPT_TIMES)
        return now < kept.until(*least) or (kept.pulse == now_stored and now < kept.made_at + KEPT_SECONDS_MAX)

    async def _asked(self, key: Hashable, ask: Callable[[Reader], Any], now_stored: str) -> _Kept:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._ask(key, ask, now_stored))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # who goes away takes the answer from nobody

    async def _ask(self, key: Hashable, ask: Callable[[Reader], Any], now_stored: str) -> _Kept:
        if self._limiter is None:  # it belongs to the loop that runs
            self._limiter = CapacityLimiter(AT_ONCE)
        self.asked += 1
        made_at, answer, took = await to_thread.run_sync(self._timed, ask, limiter=self._limiter)
        kept = _Kept(answer, _rows(answer), made_at, took, now_stored)
        if key == _PULSE:
            self._pulse = kept
        else:
            self._keep(key, kept)
        return kept

    def _timed(self, ask: Callable[[Reader], Any]) -> tuple[float, Any, float]:
        began = self._monotonic()
        answer = ask(self._reader)
        return began, answer, self._monotonic() - began

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        before = self._kept.pop(key, None)
        self._rows += kept.rows - (before.rows if before else 0)
        self._kept[key] = kept
        while len(self._kept) > ANSWERS_MAX or (self._rows > ROWS_MAX and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._rows -= gone.rows


def _rows(answer: Any) -> int:
    try:
        return len(answer)
    except TypeError:
        return 1
