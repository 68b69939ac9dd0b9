"""Forecasts as rows of the table ``forecasts``: of each scope, period and day the one that was made last counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from sinks.answers.forecast import Forecast

TABLE: Final = "forecasts"

_MONEY: Final = pl.Decimal(38, 12)
COLUMNS: Final[dict[str, Any]] = {
    "day": pl.Date,
    "scope": pl.String,
    "period": pl.String,
    "zone": pl.String,
    "currency": pl.String,
    "period_start": pl.Datetime("ms", "UTC"),
    "period_end": pl.Datetime("ms", "UTC"),
    "so_far": _MONEY,
    "expected": _MONEY,
    "low": _MONEY,
    "high": _MONEY,
    "method": pl.String,
    "whole_days": pl.UInt16,
    "unpriced_calls": pl.Int64,
    "made_at": pl.Datetime("ms", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What was expected of a scope on a day of its zone, by the end of each of these periods."""

    scope: str
    currency: str
    zone: str
    day: date
    periods: Collection[str]
    forecast: Forecast


def forecast_rows(expected: Iterable[Expected]) -> pl.DataFrame:
    """The rows of the table ``forecasts``; writing one again is harmless."""
    return pl.DataFrame([row for one in expected for row in _rows(one)], schema=COLUMNS, orient="row")


def _rows(one: Expected) -> Iterator[tuple[Any, ...]]:
    found = one.forecast
    for outlook in found.outlooks:
        if outlook.period in one.periods:
            yield (
                *(one.day, one.scope, outlook.period, one.zone, one.currency, outlook.start, outlook.end),
                *(outlook.so_far, outlook.expected, outlook.low, outlook.high),
                *(found.method, found.whole_days, outlook.unpriced_calls, found.made_at),
            )
