"""What an hour usually costs, and how far from it is worth waking somebody: two baselines, both pure.

Amounts are exact. The usual cost of the anomaly rule is a statistic of logarithms, computed in floats and rounded to
1e-6 USD once; from there on it too is an exact number, so an hour is on one side of a level or on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from stream.rulebook.entries import WEEK_HOURS, HourlyAnomaly, HourlySpike
from stream.watch.series import Series

WEEKS_MAX: Final = 5  # five Mondays outvote two odd ones, and forget a quarter that is over
COST_NOISE_USD: Final = 0.01  # added before the logarithm: below a cent, one hour is like another
SCALE_MIN: Final = 0.2  # costs that repeat to the cent must not make +10 % an anomaly; at a score of 3.5 it means 2.0x
SCALE_MIN_COLD: Final = 0.4  # with no week to compare to, twice as wide: 4.1x
RESIDUALS_MIN: Final = 24  # fewer hours of an earlier week say too little about the spread
LEVEL_HOURS: Final = 24  # the last active hours tell whether everything has grown since last week
LEVEL_HOURS_MIN: Final = 12
MAD_TO_SIGMA: Final = 1.4826  # what makes the median absolute deviation a standard deviation for normal noise
LOG_COST_MAX: Final = 42.0  # 1.7e18 USD, above every possible cost; keeps the exponential finite

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the two rules about 60 minutes go by."""

    spike_enabled: bool = True
    spike_threshold: Decimal = Decimal(3)
    spike_clear: Decimal = Decimal(2)
    history_hours_max: int = WEEK_HOURS
    history_hours_min: int = 24
    anomaly_enabled: bool = True
    anomaly_score: Decimal = Decimal("3.5")
    anomaly_score_clear: Decimal = Decimal(2)
    cost_usd_min: Decimal = Decimal(1)

    @classmethod
    def of(cls, spike: HourlySpike, anomaly: HourlyAnomaly) -> Self:
        return cls(
            spike_enabled=spike.on,
            spike_threshold=spike.threshold,
            spike_clear=spike.clear,
            history_hours_max=spike.history_hours_max,
            history_hours_min=spike.history_hours_min,
            anomaly_enabled=anomaly.on,
            anomaly_score=anomaly.score,
            anomaly_score_clear=anomaly.score_clear,
            cost_usd_min=anomaly.cost_usd_min,
        )

    @property
    def hours_needed(self) -> int:
        """How far back the baselines of one hour look."""
        return max(self.history_hours_max, WEEK_HOURS * WEEKS_MAX)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual cost of one hour, and the two levels around it: trips above one, is quiet only below the other."""

    expected: Fraction
    open_above: Fraction
    clear_below: Fraction
    compared_to: tuple[datetime, ...]  # the hours that are "usual" for this one
    basis: str  # the same in words

    def trips(self, cost_usd: Decimal) -> bool:
        """Strictly above: exactly at the level is still usual."""
        return cost_usd > self.open_above

    def quiet(self, cost_usd: Decimal) -> bool:
        return not self.trips(cost_usd) and cost_usd < self.clear_below


def spike_baseline(series: Series, hour: datetime, thresholds: Thresholds) -> Baseline | None:
    """The plain average of the last whole hours, without ``hour`` itself.

    None while there are too few of them, and where they cost nothing: no multiple of zero means anything.
    """
    before = series.whole_hours_before(hour, at_most=thresholds.history_hours_max)
    total = sum((Fraction(series.at(each).cost_usd) for each in before), Fraction(0))
    if len(before) < thresholds.history_hours_min or total <= 0:
        return None
    average = total / len(before)
    return Baseline(
        expected=average,
        open_above=average * Fraction(thresholds.spike_threshold),
        clear_below=average * Fraction(thresholds.spike_clear),
        compared_to=tuple(before),
        basis=f"the average of the last {len(before)} hours",
    )


def anomaly_baseline(series: Series, hour: datetime, thresholds: Thresholds) -> Baseline | None:
    """What this hour of the week usually costs, in logarithms, with medians that one odd hour cannot move.

    Under a week of history: the median of all hours, a wider scale, and never below twice the dearest hour so far,
    since nobody knows yet what a Monday morning looks like. Too few hours: None.
    """
    before = series.whole_hours_before(hour, at_most=WEEK_HOURS * WEEKS_MAX)
    if len(before) < WEEK_HOURS * WEEKS_MAX:
        before = before[1:]  # the very first hour: events began somewhere in it, so it says too little
    if len(before) < thresholds.history_hours_min:
        return None
    logs = np.log([max(float(series.at(each).cost_usd), 0.0) + COST_NOISE_USD for each in before])
    if len(before) < WEEK_HOURS:
        centre, scale = float(np.median(logs)), max(SCALE_MIN_COLD, _spread(logs))
        floor = 2 * max(series.at(each).cost_usd for each in before)
        compared_to, basis = before, f"the median of the last {len(before)} hours"
    else:
        centre, scale = _hour_of_week(logs)
        floor = Decimal(0)
        compared_to = before[-WEEK_HOURS::-WEEK_HOURS]
        basis = f"this hour of the week, over {_weeks(len(compared_to))}"
    return _levels(centre, scale, thresholds, floor=floor, compared_to=compared_to, basis=basis)


def _weeks(count: int) -> str:
    return "the last week" if count == 1 else f"the last {count} weeks"


def _levels(
    centre: float, scale: float, thresholds: Thresholds, *, floor: Decimal, compared_to: list[datetime], basis: str
) -> Baseline:
    """Amounts from logarithms. A rise below the minimum cost opens nothing; half of it keeps nothing open."""
    expected = _amount(centre)
    open_above = max(
        _amount(centre + float(thresholds.anomaly_score) * scale),
        expected + Fraction(thresholds.cost_usd_min),
        Fraction(floor),
    )
    clear_below = max(
        _amount(centre + float(thresholds.anomaly_score_clear) * scale),
        expected + Fraction(thresholds.cost_usd_min) / 2,
    )
    return Baseline(
        expected=expected,
        open_above=open_above,
        clear_below=min(clear_below, open_above),
        compared_to=tuple(compared_to),
        basis=basis,
    )


def _amount(log_cost: float) -> Fraction:
    """USD behind a logarithm, rounded to 1e-6: this is where the statistic becomes an exact number."""
    usd = max(math.exp(min(log_cost, LOG_COST_MAX)) - COST_NOISE_USD, 0.0)
    return Fraction(round(usd * 1_000_000), 1_000_000)


def _hour_of_week(logs: Floats) -> tuple[float, float]:
    """Centre and scale for the hour that follows ``logs`` (oldest first, at least a week of them).

    centre = median of this hour in the earlier weeks + how much the last day lies above its own earlier weeks.
    scale = spread of every hour around the median of its other weeks. Hours that are always silent say nothing.
    """
    hours = np.full(WEEK_HOURS * WEEKS_MAX, np.nan)
    hours[-len(logs) :] = logs
    weeks = hours.reshape(WEEKS_MAX, WEEK_HOURS)  # column 0 is the hour judged, in earlier weeks
    usual = np.vstack([_medians(np.delete(weeks, week, axis=0)) for week in range(WEEKS_MAX)])
    silent = math.log(COST_NOISE_USD) + 1e-9
    active = (weeks > silent) | (usual > silent)  # NaN, a week not seen, compares as false
    residuals = (weeks - usual)[active]  # row by row: oldest first
    residuals = residuals[~np.isnan(residuals)]
    latest = residuals[-LEVEL_HOURS:]
    level = float(np.median(latest)) if len(latest) >= LEVEL_HOURS_MIN else 0.0
    scale = max(SCALE_MIN, _spread(residuals)) if len(residuals) >= RESIDUALS_MIN else SCALE_MIN_COLD
    return float(_medians(weeks[:, :1])[0]) + level, scale


def _medians(columns: Floats) -> Floats:
    """The median of each column over the weeks that were seen; NaN for a column that never was."""
    ordered = np.sort(columns, axis=0)  # NaN sorts last
    seen = np.count_nonzero(~np.isnan(columns), axis=0)
    every = np.arange(columns.shape[1])
    result: Floats = (ordered[np.maximum(seen - 1, 0) // 2, every] + ordered[seen // 2, every]) / 2
    return result


def _spread(values: Floats) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
