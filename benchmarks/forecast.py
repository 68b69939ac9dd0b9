"""How far off the forecast of a month's end is, beside simpler ones, on made series.

    python -m benchmarks.forecast                              200 series of each shape; half a minute
    python -m benchmarks.forecast --seeds 1000:1500 --json     other series, as one object

A series is the spend of 45 to 112 days and of the rest of the month: hours with a rhythm of the day, noise, and one of
ten shapes. On the 5th, 15th and 25th at noon the cost of the whole month is forecast. The error is the absolute one in
percent of what the month did cost; the median over the series is printed, and in how many of them the band of 80 % held
the truth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import exp
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from sinks.answers.forecast import Hour, forecast, known_since
from sinks.answers.forecast.outlook import DAYS_KNOWN

SHAPES: Final = (
    *("flat", "weekly", "growth", "decline", "linear"),
    *("launch", "end", "holiday", "bursts", "sparse"),
)
DAYS_OF_MONTH: Final = (5, 15, 25)
DAY: Final = timedelta(days=1)
BASE: Final = 100.0  # USD a day
HOURS: Final = {1: 0.02, 5: 0.04, 9: 0.3, 13: 0.34, 17: 0.2, 21: 0.1}  # what they have of a day
CENT: Final = Decimal("0.01")


@dataclass(frozen=True)
class Series:
    """``costs`` of all days up to the end of the month that ``now`` is in, the first one first."""

    first: date
    costs: Sequence[float]
    now: datetime

    @property
    def month(self) -> tuple[date, date]:
        first = self.now.date().replace(day=1)
        return first, (first + 32 * DAY).replace(day=1)

    def of(self, start: date, end: date) -> float:
        return sum(self.costs[max(0, (start - self.first).days) : (end - self.first).days])

    def hours(self) -> Iterator[Hour]:
        """Those with calls, until now."""
        since = max(self.first, self.now.date() - DAYS_KNOWN * DAY)
        for number in range((since - self.first).days, (self.now.date() - self.first).days + 1):
            midnight = datetime.combine(self.first + number * DAY, time.min, UTC)
            for hour, share in HOURS.items():
                cost = Decimal(self.costs[number] * share).quantize(CENT)
                if cost and (start := midnight + timedelta(hours=hour)) < self.now:
                    yield Hour(start, cost, 1, 0)


def series(shape: str, seed: int, day_of_month: int) -> Series:
    dice = np.random.Generator(np.random.PCG64([SHAPES.index(shape), seed, day_of_month]))
    now = datetime(2026, int(dice.integers(4, 12)), day_of_month, 12, tzinfo=UTC)
    known = int(dice.integers(45, 113))
    first = now.date() - known * DAY
    end = (now.date().replace(day=1) + 32 * DAY).replace(day=1)
    growth, jump = dice.uniform(0.004, 0.015), int(dice.integers(20, known))
    spread = 0.6 if shape == "bursts" else 0.15
    costs = list[float]()
    for number in range((end - first).days):
        day, cost = first + number * DAY, BASE
        if shape not in {"flat", "bursts", "sparse"}:
            cost *= 0.3 if day.weekday() >= 5 else 1.1
        cost *= {
            "growth": exp(growth * number),
            "decline": exp(-growth * number),
            "linear": 1 + 2 * growth * number,
            "launch": 2.2 if number >= jump else 1.0,
            "end": 0.4 if number >= jump else 1.0,
            "holiday": 0.2 if jump <= number < jump + 6 else 1.0,
            "sparse": float(dice.random() < 0.4),
        }.get(shape, 1.0)
        costs.append(cost * exp(dice.normal(-spread * spread / 2, spread)))
    return Series(first, costs, now)


# --- the ways to forecast: USD of the whole month ---

Way = Callable[[Series], float]


def run_rate(one: Series) -> float:
    """What was spent so far, divided by the share of the month that is over (requirement B-19)."""
    first, end = one.month
    start = datetime.combine(first, time.min, UTC)
    return spent(one) * ((end - first) / (one.now - start))


def last_week(one: Series) -> float:
    """Each day that is left costs what it did a week before."""
    today, (_, end) = one.now.date(), one.month
    left = [
        one.of(today - (7 - number % 7) * DAY, today - (6 - number % 7) * DAY) for number in range((end - today).days)
    ]
    return spent(one) + sum(left[1:], left[0] * (1 - spent_of_day(one.now)))


def line(one: Series) -> float:
    """A straight line through the whole days of eight weeks."""
    today, (_, end) = one.now.date(), one.month
    past = list(one.costs[max(0, (today - one.first).days - 56) : (today - one.first).days])
    slope, level = np.polyfit(range(len(past)), past, 1)
    left = [max(0.0, level + slope * (len(past) + number)) for number in range((end - today).days)]
    return spent(one) + float(sum(left[1:], left[0] * (1 - spent_of_day(one.now))))


def spent(one: Series) -> float:
    today = one.now.date()
    return one.of(one.month[0], today) + one.of(today, today + DAY) * spent_of_day(one.now)


def spent_of_day(now: datetime) -> float:
    return sum(share for hour, share in HOURS.items() if hour < now.hour)


OTHERS: Final[Mapping[str, Way]] = {"run rate": run_rate, "last week again": last_week, "straight line": line}


# --- the measurement ---


@dataclass(frozen=True)
class Row:
    shape: str
    day_of_month: int
    ours: float
    others: Mapping[str, float]
    covered: float


def measured(shape: str, day_of_month: int, seeds: Sequence[int]) -> Row:
    ours, held = list[float](), list[bool]()
    others: dict[str, list[float]] = {name: [] for name in OTHERS}
    for seed in seeds:
        one = series(shape, seed, day_of_month)
        truth = one.of(*one.month)
        month = forecast(list(one.hours()), now=one.now, since=known_since(one.now, UTC), zone=UTC).outlooks[-1]
        assert month.expected is not None
        ours.append(abs(float(month.expected) / truth - 1) * 100)
        if month.low is not None and month.high is not None:  # a sparse series may begin too late for a band
            held.append(float(month.low) <= truth <= float(month.high))
        for name, way in OTHERS.items():
            others[name].append(abs(way(one) / truth - 1) * 100)
    medians = {name: statistics.median(errors) for name, errors in others.items()}
    return Row(shape, day_of_month, statistics.median(ours), medians, 100 * statistics.mean(held))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.forecast", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=_seeds, default=range(200), metavar="FIRST:END", help="0:200, if not given")
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args(arguments)
    rows = list[Row]()
    try:
        for day in DAYS_OF_MONTH:
            for shape in SHAPES:
                rows.append(measured(shape, day, options.seeds))
                _tell(f"\r{len(rows)} of {len(DAYS_OF_MONTH) * len(SHAPES)} ")
    except KeyboardInterrupt:
        _tell("\nstopped: nothing is printed\n")
        return 130
    _tell("\n")
    if options.json:
        print(json.dumps([_as_dict(row) for row in rows], indent=1))
    else:
        _show(rows)
    return 0


def _seeds(text: str) -> range:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} names no seeds: write the first and the one after the last, 0:200")
    return range(int(first), int(end))


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def _as_dict(row: Row) -> dict[str, Any]:
    return {
        "shape": row.shape,
        "day_of_month": row.day_of_month,
        "median_error_percent": {"ours": round(row.ours, 2)} | {name: round(e, 2) for name, e in row.others.items()},
        "covered_percent": round(row.covered, 1),
    }


def _show(rows: Sequence[Row]) -> None:
    table = Table(
        *("day", "shape", "ours %", *(f"{name} %" for name in OTHERS), "band held %"), box=None, pad_edge=False
    )
    for row in rows:
        errors = (f"{error:.1f}" for error in (row.ours, *row.others.values()))
        table.add_row(str(row.day_of_month), row.shape, *errors, f"{row.covered:.0f}")
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    for day in DAYS_OF_MONTH:
        of_day = [row for row in rows if row.day_of_month == day]
        ratio = statistics.mean(row.ours / row.others["run rate"] for row in of_day)
        covered = statistics.mean(row.covered for row in of_day)
        console.print(
            f"day {day}: {ratio:.2f} of the run rate's error, mean of shapes; the band held in {covered:.0f} %"
        )


if __name__ == "__main__":
    sys.exit(main())
