"""Hourly costs of 60 days made of the requests of two real services, with what goes wrong in practice.

The traces that the demo plays last an hour. How dear each request is, and how many come in a minute, is theirs; that
there are days and weeks is made up. Each series has three events. Some have quiet weekends or hours without any data as
well, and those are nothing to alarm about.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice, product
from pathlib import Path
from typing import Final, Self

import numpy as np

import stream.demo
from benchmarks.detect.labelled import HOURS, LEARNING_HOURS, MOMENTS, Event, Floats, Labelled
from benchmarks.detect.synth import APART_HOURS, EVENTS, HOUR, HOUR_OF_DAY, WEEKDAY
from stream.demo.trace import read_requests

DATA: Final = Path(stream.demo.__file__).parent / "data"
SERVICES: Final = ("code", "conv")
QUIRKS: Final = ("steady", "quiet_weekends", "missing_hours")
SHAPES: Final = tuple(f"{service}, {quirk.replace('_', ' ')}" for quirk, service in product(QUIRKS, SERVICES))
KINDS: Final = ("runaway_loop", "price_change", "model_swap", "slow_creep")
FROM_THEN_ON_HOURS: Final = 24  # what stays is to be found within a day
CREEP_HOURS: Final = 72
USD_PER_INPUT_TOKEN: Final = 2.5e-6
USD_PER_OUTPUT_TOKEN: Final = 10e-6
BURST_MINUTES: Final = 10  # an hour is as busy as so many minutes in a row of the trace


@dataclass(frozen=True, slots=True)
class Service:
    """What its requests cost, added up in their order, and how busy each of its minutes was (1 is usual)."""

    costs: Floats
    minutes: Floats

    @classmethod
    def of(cls, path: Path) -> Self:
        requests = read_requests(path)
        costs = [one.input_tokens * USD_PER_INPUT_TOKEN + one.output_tokens * USD_PER_OUTPUT_TOKEN for one in requests]
        began = requests[0].arrived_at
        minutes = np.bincount([int((one.arrived_at - began).total_seconds() // 60) for one in requests])[:-1]
        return cls(np.concatenate([[0.0], np.cumsum(costs)]), minutes / minutes.mean())

    def spent(self, dice: np.random.Generator, calls: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
        """What each of so many calls in a row costs, from a random one on; after the last comes the first."""
        requests = len(self.costs) - 1
        first = dice.integers(0, requests, len(calls))
        end = first + calls
        result: Floats = end // requests * self.costs[-1] + self.costs[end % requests] - self.costs[first]
        return result

    def busy(self, dice: np.random.Generator) -> Floats:
        first = dice.integers(0, len(self.minutes) - BURST_MINUTES, HOURS)
        return np.array([self.minutes[each : each + BURST_MINUTES].mean() for each in first])


@cache
def service(name: str) -> Service:
    return Service.of(DATA / f"azure_llm_2023_{name}.csv.gz")


def series(seed: int) -> Labelled:
    dice = np.random.default_rng([seed, 1])
    number = seed % len(SHAPES)
    quirk, trace = QUIRKS[number // len(SERVICES)], service(SERVICES[number % len(SERVICES)])
    mean = _calls(dice)
    calls = dice.poisson(mean * trace.busy(dice))
    costs, counts = trace.spent(dice, calls), calls.astype(np.float64)
    if quirk == "quiet_weekends":
        quiet = _two_weekends(dice)
        costs, counts = np.where(quiet, costs * 0.15, costs), np.where(quiet, np.round(counts * 0.15), counts)
    usual = trace.costs[-1] / (len(trace.costs) - 1)
    kinds = [KINDS[(seed // len(SHAPES) + each) % len(KINDS)] for each in range(EVENTS)]
    events = [
        _inject(dice, kind, number=each, costs=costs, counts=counts, usual=usual) for each, kind in enumerate(kinds)
    ]
    if quirk == "missing_hours":
        return _without(_missing(dice, events), SHAPES[number], costs, counts, events)
    return Labelled(SHAPES[number], MOMENTS, np.round(costs, 6), counts, tuple(events))


def _calls(dice: np.random.Generator) -> Floats:
    """How many calls an hour has on average."""
    scale = float(np.exp(dice.uniform(np.log(200), np.log(20_000))))
    by_day = 1 + dice.uniform(0.3, 0.8) * np.cos(2 * np.pi * (HOUR_OF_DAY - dice.uniform(9, 18)) / 24)
    by_week = np.where(WEEKDAY >= 5, dice.uniform(0.3, 0.9), 1.0)
    growth = np.exp(np.log(dice.uniform(0.9, 1.6)) * HOUR / HOURS)
    result: Floats = scale * by_day * by_week * growth
    return result


def _inject(dice: np.random.Generator, kind: str, *, number: int, costs: Floats, counts: Floats, usual: float) -> Event:
    first = LEARNING_HOURS + APART_HOURS * number
    start = int(dice.integers(first, first + 13 * 24))
    match kind:
        case "runaway_loop":  # it sends all that was said with every call, so each is dearer than the one before
            end = start + int(dice.integers(2, 7))
            calls = np.round(counts.mean() * dice.uniform(0.5, 3))
            counts[start:end] += calls
            costs[start:end] += calls * usual * np.linspace(1, 2, end - start)
        case "price_change":
            end = start + FROM_THEN_ON_HOURS
            costs[start:] *= dice.uniform(1.5, 2.5)
        case "model_swap":  # a part of the calls goes to a model several times as dear
            end = start + FROM_THEN_ON_HOURS
            costs[start:] *= 1 + dice.uniform(0.3, 0.8) * (dice.uniform(3, 8) - 1)
        case _:
            end = start + CREEP_HOURS
            costs[start:] *= np.minimum(3.0, 1 + 2 * (np.arange(len(costs) - start) + 1) / CREEP_HOURS)
    return Event(kind, start, end)


def _two_weekends(dice: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    weeks = dice.choice(np.arange(2, 8), 2, replace=False)
    return np.isin(HOUR // 168, weeks) & (WEEKDAY >= 5)


def _missing(dice: np.random.Generator, events: list[Event]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Three gaps of some hours, none of which touches an event."""
    missing = np.zeros(HOURS, dtype=bool)
    free = np.ones(HOURS, dtype=bool)
    for event in events:
        free[event.start - 12 : event.end + 12] = False
    for at in islice((int(hour) for hour in dice.permutation(HOURS - 12) if hour > LEARNING_HOURS and free[hour]), 3):
        missing[at : at + int(dice.integers(2, 9))] = True
    return missing


def _without(
    missing: np.ndarray[tuple[int], np.dtype[np.bool_]],
    shape: str,
    costs: Floats,
    counts: Floats,
    events: list[Event],
) -> Labelled:
    """The series without these hours; events are counted in what is left."""
    place: np.ndarray[tuple[int], np.dtype[np.int64]] = np.cumsum(~missing) - ~missing
    moved = tuple(Event(event.kind, int(place[event.start]), int(place[event.end - 1]) + 1) for event in events)
    return Labelled(shape, MOMENTS[~missing], np.round(costs[~missing], 6), counts[~missing], moved)
