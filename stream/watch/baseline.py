"""What an hour usually costs, and how far from it is worth waking somebody: two baselines, both pure.

Amounts are exact. The levels of the anomaly rule are statistics of logarithms, computed in floats (``usual``) and
rounded to 1e-6 USD once; from there on they too are exact numbers: an hour is on one side of a level or on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Self

import numpy as np

from stream.rulebook.entries import WEEK_HOURS, HourlyAnomaly, HourlySpike
from stream.watch.few_calls import are_few, calls_above, cost_above, mean_calls
from stream.watch.series import Series
from stream.watch.usual import COST_NOISE, HISTORY_HOURS, RECORD_HOURS, WEEKS, Usual, first_week, logs_of, usual_of

LASTING: Final = "; hours just before it were above theirs too"
LOG_COST_MAX: Final = 42.0  # 1.7e18 USD, above every possible cost; keeps the exponential finite


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the two rules about 60 minutes go by."""

    spike_enabled: bool = True
    spike_threshold: Decimal = Decimal(3)
    spike_clear: Decimal = Decimal(2)
    history_hours_max: int = WEEK_HOURS
    history_hours_min: int = 24
    anomaly_enabled: bool = True
    anomaly_by: tuple[str, ...] = ("feature", "team")
    anomaly_score: Decimal = Decimal(3)
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
            anomaly_by=anomaly.by,
            anomaly_score=anomaly.score,
            anomaly_score_clear=anomaly.score_clear,
            cost_usd_min=anomaly.cost_usd_min,
        )


@dataclass(frozen=True, slots=True)
class ManyCalls:
    """Where calls are few: more than so many in an hour are rare, and worth an alert if they cost more than this."""

    calls_above: int
    cost_above: Fraction


@dataclass(frozen=True, slots=True)
class Baseline:
    """The usual cost of one hour, and the two levels around it: trips above one, is quiet only below the other."""

    expected: Fraction
    open_above: Fraction
    clear_below: Fraction
    compared_to: tuple[datetime, ...]  # the hours that are "usual" for this one
    basis: str  # the same in words
    many: ManyCalls | None = None

    def trips(self, cost_usd: Decimal | Fraction, calls: int | Fraction = 0) -> bool:
        """Strictly above: exactly at the level is still usual."""
        if cost_usd > self.open_above:
            return True
        return self.many is not None and calls > self.many.calls_above and cost_usd > self.many.cost_above

    def level_of(self, cost_usd: Decimal) -> Fraction:
        """The level that an hour of this cost crossed, if it trips."""
        return self.open_above if self.many is None or cost_usd > self.open_above else self.many.cost_above

    def quiet(self, cost_usd: Decimal, calls: int = 0) -> bool:
        return not self.trips(cost_usd, calls) and cost_usd < self.clear_below


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
    """What this hour usually costs, and the levels above which it is rare (``usual``).

    Under a week of history: the median of all hours, and never below twice the dearest hour so far, since nobody knows
    yet what a Monday morning looks like. Too few hours: None.
    """
    before = series.whole_hours_before(hour, at_most=HISTORY_HOURS)
    if len(before) < HISTORY_HOURS:
        before = before[1:]  # the very first hour: events began somewhere in it, so it says too little
    if len(before) < thresholds.history_hours_min:
        return None
    spent = [series.at(each) for each in before]
    costs = [each.cost_usd for each in spent]
    logs = logs_of([float(cost) for cost in costs])
    if len(before) < WEEK_HOURS:
        basis = f"the median of the last {len(before)} hours"
        return _levels(first_week(logs), thresholds, floor=2 * max(costs), compared_to=before, basis=basis)
    same_hours = before[-WEEK_HOURS::-WEEK_HOURS][:WEEKS]
    basis = f"this hour of the week and of the day, over {_weeks(len(same_hours))}"
    usual = _levels(usual_of(logs), thresholds, floor=Decimal(0), compared_to=same_hours, basis=basis)
    mean = mean_calls(np.array([each.calls for each in spent], dtype=np.float64))
    if not are_few(mean)[-1]:
        return usual
    return _by_calls(usual, float(mean[-1]), max(costs[-RECORD_HOURS:]), thresholds)


def _by_calls(usual: Baseline, mean: float, most: Decimal, thresholds: Thresholds) -> Baseline:
    """Where calls are few, many of them trip, and a cost far beyond the dearest hour of five weeks (``most``)."""
    score, score_clear = float(thresholds.anomaly_score), float(thresholds.anomaly_score_clear)
    above, least = calls_above(score, mean), Fraction(thresholds.cost_usd_min)
    return replace(
        usual,
        open_above=max(usual.expected + least, _in_micros(cost_above(score, float(most)))),
        clear_below=max(usual.expected + least / 2, _in_micros(cost_above(score_clear, float(most)))),
        basis=f"{usual.basis.removesuffix(LASTING)}; more than {above} calls an hour are rare",
        many=ManyCalls(above, usual.expected + least),
    )


def _weeks(count: int) -> str:
    return "the last week" if count == 1 else f"the last {count} weeks"


def _levels(
    known: Usual, thresholds: Thresholds, *, floor: Decimal, compared_to: list[datetime], basis: str
) -> Baseline:
    """Amounts from logarithms. A rise below the minimum cost opens nothing; half of it keeps nothing open."""
    score, score_clear = float(thresholds.anomaly_score), float(thresholds.anomaly_score_clear)
    expected, level = _amount(known.expected[-1]), known.levels(score)[-1]
    open_above = max(_amount(level), expected + Fraction(thresholds.cost_usd_min), Fraction(floor))
    clear_below = max(_amount(known.levels(score_clear)[-1]), expected + Fraction(thresholds.cost_usd_min) / 2)
    return Baseline(
        expected=expected,
        open_above=open_above,
        clear_below=min(clear_below, open_above),
        compared_to=tuple(compared_to),
        basis=basis + (LASTING if level < known.levels_alone(score)[-1] else ""),
    )


def _amount(log_cost: float) -> Fraction:
    """USD behind a logarithm, rounded to 1e-6: this is where the statistic becomes an exact number."""
    return _in_micros(max(math.exp(min(log_cost, LOG_COST_MAX)) - COST_NOISE, 0.0))


def _in_micros(usd: float) -> Fraction:
    return Fraction(round(usd * 1_000_000), 1_000_000)
