"""Every rule as one function: from the moments, values and counts of a series to a score of each point.

A score of a point depends on it and on a bounded part of what was before it, never on what comes later. The higher, the
more unusual. ``counts`` are the calls of each point, or None where nobody knows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.detect.labelled import Floats, Moments
from benchmarks.detect.scoring import NEVER
from stream.rulebook.entries import WEEK_HOURS, HourlyAnomaly, HourlySpike
from stream.watch import few_calls
from stream.watch.usual import COST_NOISE, HISTORY_HOURS, Usual, first_week, logs_of, usual_of

Scores = Callable[[Moments, Floats, Floats | None], Floats]

CHUNK_HOURS: Final = 1_000  # judged at once, so that a series may be of any length
HOURS_MIN: Final = HourlySpike().history_hours_min  # before that neither rule says anything
COST_USD_MIN: Final = float(HourlyAnomaly().cost_usd_min)


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    sentence: str
    scores: Scores
    shipped: float  # the threshold that it is shipped with


@dataclass(frozen=True, slots=True)
class _Hours:
    """Points in their clock hours: an hour without any has cost nothing, and one of several is known to date."""

    costs: Floats  # or calls: of each hour, the whole of it
    hour: np.ndarray[tuple[int], np.dtype[np.int64]]  # of each point
    to_date: Floats  # what its hour had with each point

    @property
    def places(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Of each point, how many its hour had before."""
        first = np.searchsorted(self.hour, self.hour, "left")
        return np.arange(len(self.hour)) - first


def _in_hours(moments: Moments, values: Floats) -> _Hours:
    of_point = moments.astype("datetime64[h]").astype(np.int64)
    hour = of_point - of_point[0]
    costs: Floats = np.bincount(hour, weights=values).astype(np.float64)
    before = np.cumsum(costs) - costs
    return _Hours(costs, hour, np.cumsum(values) - before[hour])


def hourly_anomaly(moments: Moments, values: Floats, counts: Floats | None = None) -> Floats:
    """What the worker judges by: ``stream.watch.usual``, and the least rise in cost that is worth an alert."""
    hours = _in_hours(moments, values)
    calls = None if counts is None else _in_hours(moments, counts)
    place = hours.places
    to_date = np.full((place.max() + 1, len(hours.costs)), np.nan)
    to_date[place, hours.hour] = hours.to_date
    scores = np.full(to_date.shape, NEVER)
    logs = logs_of(hours.costs)
    for hour in range(HOURS_MIN, min(WEEK_HOURS, len(logs))):
        scores[:, hour] = _scores(first_week(logs[:hour]), to_date[:, hour : hour + 1])[:, 0]
        scores[to_date[:, hour] <= 2 * hours.costs[:hour].max(), hour] = NEVER
    for first in range(WEEK_HOURS, len(logs), CHUNK_HOURS):
        end = min(len(logs), first + CHUNK_HOURS)
        known = usual_of(logs[max(0, first - HISTORY_HOURS) : end - 1], count=end - first)
        scores[:, first:end] = _scores(known, to_date[:, first:end])
    by_cost = scores[place, hours.hour]
    return by_cost if calls is None else _by_calls(hours, calls, by_cost)


def _by_calls(hours: _Hours, calls: _Hours, by_cost: Floats) -> Floats:
    """Where calls are few, their number is asked, or a cost beyond all; what costs too little for an alert is none."""
    every = len(calls.costs)
    mean = few_calls.mean_calls(calls.costs[:-1], count=every)
    asked = (few_calls.are_few(mean) & (np.arange(every) >= WEEK_HOURS))[calls.hour] & (by_cost > NEVER)
    if not asked.any():
        return by_cost
    most = few_calls.dearest(hours.costs[:-1], count=every)[hours.hour]
    rare = np.maximum(few_calls.scores(calls.to_date, mean[calls.hour]), few_calls.cost_scores(hours.to_date, most))
    return np.where(asked, rare, by_cost)


def _scores(known: Usual, costs: Floats) -> Floats:
    dear = costs > np.exp(known.expected) - COST_NOISE + COST_USD_MIN
    return np.where(dear, known.scores(logs_of(costs)), NEVER)


def hourly_spike(moments: Moments, values: Floats, counts: Floats | None = None) -> Floats:
    """How many times the average of the last week an hour costs."""
    hours = _in_hours(moments, values)
    total = np.concatenate([[0.0], np.cumsum(hours.costs)])
    every = np.arange(len(hours.costs))
    first = np.maximum(0, every - WEEK_HOURS)
    average = (total[every] - total[first]) / np.maximum(1, every - first)
    known = (every >= HOURS_MIN) & (average > 0)
    times = hours.to_date / np.where(known, average, 1.0)[hours.hour]
    return np.where(known[hours.hour], times, NEVER)


METHODS: Final = (
    Method(
        "hourly_anomaly",
        "an hour lies further above the usual cost of this hour of the week and of the day than hours of the last five "
        "weeks hardly ever did, or goes on with hours that do so together, or has many calls where they are few",
        hourly_anomaly,
        float(HourlyAnomaly().score),
    ),
    Method(
        "hourly_spike",
        "an hour costs several times the average hour of the last week",
        hourly_spike,
        float(HourlySpike().threshold),
    ),
)
