"""What scores are worth: how much is found at so many false alarms.

A false alarm is the first of some hours in a row that trip where nothing is unusual, from the third week on. An event
is found within one hour if it trips in its first hour or the next, by its end if it trips in any up to the one after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.detect.labelled import LEARNING_HOURS, Event, Floats, Labelled

MONTH: Final = np.timedelta64(30 * 24 * 3_600, "s")
HOUR: Final = np.timedelta64(3_600, "s")
HALVINGS: Final = 40
NEVER: Final = -1e9  # the score of a point that no threshold is low enough for
GRACE: Final = 2  # points from the last of an event on in which it may still trip, and is no false alarm


@dataclass(frozen=True, slots=True)
class Found:
    """Of some events, and of the series that they are in."""

    events: int
    within_hour: float  # shares of 100
    by_end: float
    delay_hours: float | None  # the median of those found by their end
    false_alarms: float  # a series and month


@dataclass(frozen=True, slots=True)
class Outcome:
    threshold: float
    all: Found
    by_kind: dict[str, Found]
    by_shape: dict[str, Found]

    @property
    def worst_shape(self) -> str:
        return max(self.by_shape, key=lambda shape: self.by_shape[shape].false_alarms)


@dataclass(frozen=True, slots=True)
class Scored:
    """A series with the scores of its points."""

    one: Labelled
    scores: Floats

    def false_alarms(self, threshold: float) -> int:
        trips = self.scores > threshold
        wrong = trips & ~self._excused
        return int(np.count_nonzero(wrong & ~np.concatenate([[False], trips[:-1]])))

    @property
    def months(self) -> float:
        judged = self.one.moments >= self._judged_from
        return float((self.one.moments[-1] + HOUR - self.one.moments[judged][0]) / MONTH) if judged.any() else 0.0

    def delay(self, event: Event, threshold: float) -> float | None:
        """Hours from its start to the point that trips; None where none does by its end."""
        tripped = np.flatnonzero(self.scores[event.start : event.end + GRACE - 1] > threshold)
        if not len(tripped):
            return None
        return float((self.one.moments[event.start + tripped[0]] - self.one.moments[event.start]) / HOUR)

    @property
    def _judged_from(self) -> np.datetime64:
        first: np.datetime64 = self.one.moments[0]
        return first + LEARNING_HOURS * HOUR

    @property
    def _excused(self) -> npt.NDArray[np.bool_]:
        excused = self.one.moments < self._judged_from
        for event in self.one.events:
            excused[event.start : event.end + GRACE] = True
        return excused


def outcome(scored: Sequence[Scored], threshold: float) -> Outcome:
    kinds = sorted({event.kind for each in scored for event in each.one.events})
    shapes = sorted({each.one.shape for each in scored})
    return Outcome(
        threshold=threshold,
        all=_found(scored, threshold, lambda _: True),
        by_kind={kind: _found(scored, threshold, lambda event, kind=kind: event.kind == kind) for kind in kinds},  # type: ignore[misc]  # mypy cannot type a lambda's defaults
        by_shape={
            shape: _found([each for each in scored if each.one.shape == shape], threshold, lambda _: True)
            for shape in shapes
        },
    )


def _found(scored: Sequence[Scored], threshold: float, wanted: Callable[[Event], bool]) -> Found:
    delays = [each.delay(event, threshold) for each in scored for event in each.one.events if wanted(event)]
    by_end = [delay for delay in delays if delay is not None]
    return Found(
        events=len(delays),
        within_hour=_share([delay <= 1 for delay in by_end], len(delays)),
        by_end=_share([True for _ in by_end], len(delays)),
        delay_hours=float(np.median(by_end)) if by_end else None,
        false_alarms=sum(each.false_alarms(threshold) for each in scored) / sum(each.months for each in scored),
    )


def _share(hits: Sequence[bool], of: int) -> float:
    return 100 * sum(hits) / of if of else 0.0


def threshold_at(scored: Sequence[Scored], *, false_alarms: float) -> float:
    """The one threshold of all series at which they make so many false alarms a series and month."""
    months = sum(each.months for each in scored)
    known = np.concatenate([each.scores[each.scores > NEVER] for each in scored])
    low, high = float(known.min()), float(known.max())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_many = sum(each.false_alarms(middle) for each in scored) / months > false_alarms
        low, high = (middle, high) if too_many else (low, middle)
    return high
