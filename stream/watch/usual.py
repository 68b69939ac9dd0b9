"""How far above its usual cost an hour is, and how rarely the series itself has gone as far.

An hour is unusual if it lies further above its usual cost than hours of this series hardly ever do, or if it goes on
with hours that do so together. All that is known of an hour comes from the ``HISTORY_HOURS`` before it. Costs are
logarithms here, plain floats: one step is one factor. Exact amounts are made of them in ``baseline``.

The same functions judge the hour that runs and, in ``benchmarks.detect``, years of hours at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.rulebook.entries import WEEK_HOURS

DAY_HOURS: Final = 24
WEEKS: Final = 4  # this hour of the week, so often: two odd ones do not move the median
DAYS: Final = 10  # this hour of the day: more recent, and more of them
UNLIKE: Final = 1.5  # a day whose usual cost at this hour is 4.5 times as high or low says nothing of this one
RECORD_HOURS: Final = 840  # how far the series went from its usual in five weeks
# The level is the greatest of the medians over a week and these hours: what has fallen for a day is not the usual yet.
LEVEL_WINDOWS: Final = (8, DAY_HOURS)
LEVEL_WINDOWS_LASTING: Final = (48,)  # a rise of some hours must not hide itself
LEVEL_HOURS_MIN: Final = 4  # of a window; fewer active hours say too little
LASTING_HOURS: Final = 4  # an hour goes on with two of these before it
LASTING_WEIGHT: Final = 0.75  # by it alone more would alarm, so hours that go on must be rarer than one by itself

EDGE: Final = 0.95  # the record is "far" from here on: one hour of 20
HALF_BEYOND: Final = 0.975  # half of the far hours lie beyond this
RAREST: Final = 0.9975  # two hours of 840 lie beyond: where dear hours are many, this is so many steps from the edge
RAREST_STEPS: Final = 2.8
RECORDED_MAX: Final = 2.5  # two runaways must not hide the third: no more than 12 times the usual is recorded
RUN: Final = 1.0  # after an hour that was 2.7 times the usual, the next is not recorded: one runaway counts once
UNSEEN_HOURS: Final = 120  # a short record has not seen its rarest hours yet: of a week they lie 1.7 times as far
EDGE_MIN: Final = 0.3  # costs that repeat to the cent must not make +10 % an anomaly;
STEP_MIN: Final = 0.07  # with both, a score of 3 is at least 1.7 times the usual
RECORD_HOURS_MIN: Final = WEEK_HOURS  # a shorter record says too little:
EDGE_MIN_SHORT: Final = 0.8  # then a score of 3 is at least 3.7 times the usual
STEP_MIN_SHORT: Final = 0.175

MAD_TO_SIGMA: Final = 1.4826  # what makes the median absolute deviation a standard deviation of normal noise,
NORMAL_EDGE: Final = 1.645  # and the edge and the step of such noise, in these
NORMAL_STEP: Final = 0.363

COST_NOISE: Final = 0.01  # added before the logarithm: below a cent, one hour is like another
SILENT: Final = math.log(COST_NOISE) + 1e-9
# What the record of an hour goes by: its hours, their level, the usual cost of these, and days that are like them.
HISTORY_HOURS: Final = RECORD_HOURS + 1 + LASTING_HOURS + WEEK_HOURS + WEEKS * WEEK_HOURS + DAYS * DAY_HOURS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """How far the hours before each hour went: ``edge`` is passed by one of 20, each ``step`` more by half of those."""

    edge: Floats
    step: Floats

    def score(self, excess: Floats) -> Floats:
        """How many steps beyond the edge."""
        return (excess - self.edge) / self.step

    def excess(self, score: float) -> Floats:
        return self.edge + score * self.step


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known of some hours before they begin, one value for each; costs as logarithms."""

    base: Floats  # the usual cost, while everything is on its usual level
    level: Floats  # how far above it everything has been lately
    record: Record
    lasting_level: Floats  # the same, before a rise of the last hours began
    lasting_record: Record
    lasting: Floats  # how far above their base two of the four hours before were

    @property
    def expected(self) -> Floats:
        """A rise is told by what was usual before it began."""
        return self.base + np.minimum(self.level, self.lasting_level)

    def scores(self, logs: Floats) -> Floats:
        """How rare each hour is, by itself or as one that goes on with those before it."""
        above = logs - self.base
        alone = self.record.score(above - self.level)
        lasts = self.lasting_record.score(np.minimum(above, self.lasting) - self.lasting_level)
        return np.maximum(alone, LASTING_WEIGHT * lasts)

    def levels(self, score: float) -> Floats:
        """The costs above which the hours have more than this score."""
        return np.minimum(self.levels_alone(score), self._levels_lasting(score))

    def levels_alone(self, score: float) -> Floats:
        return self.base + self.level + self.record.excess(score)

    def _levels_lasting(self, score: float) -> Floats:
        above = self.lasting_level + self.lasting_record.excess(score / LASTING_WEIGHT)
        return np.where(self.lasting > above, self.base + above, np.inf)


def logs_of(costs: Sequence[float] | Floats) -> Floats:
    result: Floats = np.log(np.maximum(np.asarray(costs, dtype=np.float64), 0.0) + COST_NOISE)
    return result


def usual_of(logs: Floats, *, count: int = 1) -> Usual:
    """Of the ``count`` last hours: the one that follows ``logs`` (oldest first), and the last but one of ``logs``.

    Needs a week of hours before the first of them. Only ``HISTORY_HOURS`` before each hour are looked at.
    """
    end = len(logs) + 1  # of the hours that something is known of; what the last of them costs is not
    first, recorded = end - count, max(0, end - count - RECORD_HOURS - 1)
    base = _base(np.append(logs, np.nan))
    above = np.append(logs, np.nan) - base
    active = np.where((logs > SILENT) | (base[:-1] > SILENT), above[:-1], np.nan)
    before = max(0, recorded - LASTING_HOURS)
    of_week = _medians(_windows(active, WEEK_HOURS, before, end), least=LEVEL_HOURS_MIN)
    level = _level(active, LEVEL_WINDOWS, of_week[recorded - before :])
    lasting_level = np.full(end - recorded, np.nan)
    lasting_level[before + LASTING_HOURS - recorded :] = _level(
        active[: end - 1 - LASTING_HOURS], LEVEL_WINDOWS_LASTING, of_week[: end - LASTING_HOURS - before]
    )
    lasting = np.sort(np.nan_to_num(_windows(above, LASTING_HOURS, recorded, end), nan=-np.inf), axis=1)[:, -2]
    together = np.minimum(above[recorded:], lasting)
    return Usual(
        base=base[first:],
        level=level[first - recorded :],
        record=_record(_recorded(above[recorded:] - level, base[recorded:]), count),
        lasting_level=lasting_level[first - recorded :],
        lasting_record=_record(_recorded(together - lasting_level, base[recorded:]), count),
        lasting=lasting[first - recorded :],
    )


def first_week(logs: Floats) -> Usual:
    """Of the hour that follows ``logs``, all of one week: it is like any other, and they go as far as noise does."""
    middle = float(np.median(logs))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(logs - middle)))
    edge, step = max(EDGE_MIN_SHORT, NORMAL_EDGE * spread), max(STEP_MIN_SHORT, NORMAL_STEP * spread)
    record = Record(np.array([edge]), np.array([step]))
    nothing = np.zeros(1)
    return Usual(np.array([middle]), nothing, record, nothing, record, lasting=np.full(1, -np.inf))


def _base(logs: Floats) -> Floats:
    """What each hour usually costs: between the median of this hour of the week and that of this hour of the day.

    NaN in the first week.
    """
    of_week = _medians(np.stack([_later(logs, WEEK_HOURS * week) for week in range(1, WEEKS + 1)], axis=1))
    days = np.stack([_later(logs, DAY_HOURS * day) for day in range(1, DAYS + 1)], axis=1)
    theirs = np.stack([_later(of_week, DAY_HOURS * day) for day in range(1, DAYS + 1)], axis=1)
    like = np.abs(theirs - of_week[:, None]) < UNLIKE  # in the second week no day is: what they usually cost is unknown
    of_day = _medians(np.where(like, days, np.nan))
    result: Floats = (of_week + np.where(np.isnan(of_day), of_week, of_day)) / 2
    return result


def _level(above: Floats, windows: tuple[int, ...], of_week: Floats) -> Floats:
    """How far above their usual the hours before the last ones were, the one that follows ``above`` included: by a week
    (``of_week``), or by the window in which they were further."""
    end = len(above) + 1
    first = end - len(of_week)
    medians = [_medians(_windows(above, hours, first, end), least=LEVEL_HOURS_MIN) for hours in windows]
    result: Floats = np.nan_to_num(np.fmax.reduce([of_week, *medians]), nan=0.0)
    return result


def _recorded(excess: Floats, base: Floats) -> Floats:
    """What the record takes of how far hours went. Where nothing is usual, no multiple of it is too high."""
    kept = np.where((base > SILENT) & (excess > RECORDED_MAX), RECORDED_MAX, excess)
    result: Floats = np.where(np.isfinite(kept) & ~(_later(kept, 1) > RUN), kept, np.nan)
    return result


def _record(excess: Floats, count: int) -> Record:
    """Of the last ``count`` hours, from how far each hour was above its usual."""
    end = len(excess)
    ordered = np.sort(_windows(excess, RECORD_HOURS, end - count, end))
    seen = np.count_nonzero(~np.isnan(ordered), axis=1)
    edge, half, rarest = (_quantiles(ordered, seen, share) for share in (EDGE, HALF_BEYOND, RAREST))
    short = seen < RECORD_HOURS_MIN
    edge = np.fmax(edge, np.where(short, EDGE_MIN_SHORT, EDGE_MIN))
    rare = (rarest - edge) * (1 + UNSEEN_HOURS / np.maximum(seen, 1))
    step = np.fmax(half - edge, rare / RAREST_STEPS)
    return Record(edge, np.fmax(step, np.where(short, STEP_MIN_SHORT, STEP_MIN)))


def _quantiles(ordered: Floats, seen: npt.NDArray[np.int_], share: float) -> Floats:
    """Of each row the value that this share of those seen lie below, between two of them by distance."""
    place = share * np.maximum(seen - 1, 0)
    below = np.floor(place).astype(np.int_)
    rows = np.arange(len(ordered))
    low, high = ordered[rows, below], ordered[rows, np.minimum(below + 1, np.maximum(seen - 1, 0))]
    result: Floats = low + (place - below) * (high - low)
    return result


def _medians(rows: Floats, *, least: int = 1) -> Floats:
    """The median of those seen in each row; NaN where they are fewer than ``least``. NaN sorts last."""
    ordered = np.sort(rows, axis=1)
    seen = np.count_nonzero(~np.isnan(rows), axis=1)
    every = np.arange(len(rows))
    middle = (ordered[every, np.maximum(seen - 1, 0) // 2] + ordered[every, seen // 2 % rows.shape[1]]) / 2
    result: Floats = np.where(seen >= least, middle, np.nan)
    return result


def _windows(values: Floats, hours: int, first: int, end: int) -> Floats:
    """For the hours from ``first`` on and before ``end``, the values of so many hours before each; else NaN."""
    padded = np.concatenate([np.full(hours, np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, hours)[first:end]


def _later(values: Floats, hours: int) -> Floats:
    """The values, so many hours later."""
    return np.concatenate([np.full(min(hours, len(values)), np.nan), values[: max(0, len(values) - hours)]])
