"""Hourly costs of 60 days in ten shapes, with three events of known kinds in each. A seed is a series, forever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.detect.labelled import HOURS, LEARNING_HOURS, MOMENTS, Event, Floats, Labelled, Truth

SHAPES: Final = (
    *("daily_weekly", "flat_noisy", "trend", "sparse", "bursty", "level_shift", "weekends_off", "holiday"),
    *("night_batch", "wandering"),
)
KINDS: Final = ("x3_1h", "x5_1h", "x10_1h", "x2_6h", "ramp3_12h", "night")
FACTORS: Final = {"x3_1h": 3.0, "x5_1h": 5.0, "x10_1h": 10.0, "x2_6h": 2.0}
LASTING: Final = {"x2_6h": 6, "ramp3_12h": 12}
EVENTS: Final = 3
APART_HOURS: Final = 15 * 24
CALL_USD: Final = 1.02  # what a call of a sparse series costs on average

HOUR: Final = np.arange(HOURS)
HOUR_OF_DAY: Final = HOUR % 24
WEEKDAY: Final = HOUR // 24 % 7
DAY: Final = HOUR // 24


def series(seed: int) -> Labelled:
    """The order in which dice are thrown is part of the series: another order is another series."""
    dice = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    mean, sigma = profile(dice, shape)
    calls = dice.poisson(mean / 1.3 * 0.4) if shape == "sparse" else None
    costs = _of_calls(dice, calls) if calls is not None else _noisy(dice, shape, mean, sigma)
    if calls is not None:
        mean = np.full(HOURS, costs.mean())
    before = costs.copy()
    events = tuple(_inject(dice, kind, number, costs, mean) for number, kind in enumerate(_kinds(seed)))
    counts: Floats | None = None
    if calls is not None:
        counts = calls.astype(np.float64) + np.where(
            costs > before, np.maximum(1.0, np.round((costs - before) / CALL_USD)), 0.0
        )
    return Labelled(shape, MOMENTS, np.round(costs, 6), counts, events, Truth(mean, sigma))


def profile(dice: np.random.Generator, shape: str) -> tuple[Floats, float]:
    """The mean of each hour without noise, USD, and the noise's sigma in logarithms."""
    scale = float(np.exp(dice.uniform(np.log(3), np.log(200))))
    depth, peak = dice.uniform(0.4, 0.85), dice.uniform(11, 17)
    by_day = 1 + depth * np.cos(2 * np.pi * (HOUR_OF_DAY - peak) / 24)
    by_week = np.where(WEEKDAY >= 5, dice.uniform(0.4, 0.8), 1.0)
    sigma = dice.uniform(0.1, 0.35)
    mean: Floats = scale * by_day * by_week
    match shape:
        case "flat_noisy":
            return scale * np.ones(HOURS), dice.uniform(0.2, 0.5)
        case "trend":
            mean = mean * np.exp(np.log(dice.uniform(1.5, 4)) * HOUR / HOURS)
        case "sparse":
            mean, sigma = dice.uniform(0.5, 4) * by_day * by_week, 0.0
        case "bursty":
            sigma = dice.uniform(0.2, 0.4)
        case "level_shift":
            up, down = dice.integers(12 * 24, 30 * 24), dice.integers(34 * 24, 55 * 24)
            mean = mean * np.where(up <= HOUR, dice.uniform(1.5, 3), 1) * np.where(down <= HOUR, _fall(dice), 1)
        case "weekends_off":
            works = (HOUR_OF_DAY >= 8) & (HOUR_OF_DAY < 19) & (WEEKDAY < 5)
            mean = scale * np.where(works, 1.0, dice.choice([0.0, 0.02, 0.05]))
        case "holiday":
            for day in dice.choice(np.arange(8, 60), 3, replace=False):
                mean = np.where(day == DAY, mean * dice.uniform(0.2, 0.5), mean)
        case "night_batch":
            at, long = dice.integers(0, 6), dice.integers(1, 3)
            mean = mean + np.where(np.isin(HOUR_OF_DAY, np.arange(at, at + long)), scale * dice.uniform(3, 8), 0)
    return mean, sigma


def _fall(dice: np.random.Generator) -> float:
    return dice.uniform(0.4, 0.8)


def _of_calls(dice: np.random.Generator, calls: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    """A few calls an hour, each of a price with a heavy tail."""
    return np.array([dice.lognormal(-0.3, 0.8, count).sum() if count else 0.0 for count in calls])


def _noisy(dice: np.random.Generator, shape: str, mean: Floats, sigma: float) -> Floats:
    noise = dice.normal(0, sigma, HOURS)
    if shape == "wandering":  # the level walks, and forgets within a day or two
        level = np.zeros(HOURS)
        for hour in range(1, HOURS):
            level[hour] = 0.97 * level[hour - 1] + dice.normal(0, 0.08)
        noise = noise + level
    if shape == "bursty":  # 2 % of the hours, Pareto in logarithms
        noise = noise + np.where(dice.random(HOURS) < 0.02, dice.pareto(2.5, HOURS), 0)
        noise = np.minimum(noise, np.log(30))
    result: Floats = mean * np.exp(noise - sigma**2 / 2)
    return result


def _kinds(seed: int) -> Iterator[str]:
    return (KINDS[(3 * (seed // len(SHAPES)) + number + seed) % len(KINDS)] for number in range(EVENTS))


def _inject(dice: np.random.Generator, kind: str, number: int, costs: Floats, mean: Floats) -> Event:
    """Add an event to ``costs``."""
    first = LEARNING_HOURS + APART_HOURS * number
    start = int(dice.integers(first, first + 14 * 24))
    if kind == "night":
        return _at_night(start, costs, mean)
    while mean[start] <= 0.05 * mean.max():  # where nothing is spent a multiple means nothing
        start += 1
    hours = LASTING.get(kind, 1)
    end = min(HOURS, start + hours)
    for hour in range(end - start):
        factor = FACTORS.get(kind) or 1 + 2 * (hour + 1) / hours
        costs[start + hour] += (factor - 1) * mean[start + hour]
    return Event(kind, start, end)


def _at_night(hour: int, costs: Floats, mean: Floats) -> Event:
    """The cheapest hour of a day, raised to 0.8 of that day's dearest; at least three times as dear as usual."""
    midnight = hour // 24 * 24
    day = mean[midnight : midnight + 24]
    start = midnight + int(np.argmin(day + np.arange(24) * 1e-9))
    costs[start] = max(0.8 * day.max(), 3 * mean[start], costs[start])
    return Event("night", start, start + 1)
