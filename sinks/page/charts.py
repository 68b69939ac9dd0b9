"""What a chart shows, as ``page.js`` draws it. Amounts travel as decimal text."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

import polars as pl

from costream.alerts import rounded
from sinks.answers.forecast import Forecast, Outlook
from sinks.figures.plain import decimal_text
from sinks.figures.spend import REST

DIGITS: Final = 6


def costs_over_time(rows: pl.DataFrame, *, currency: str, clocks: tzinfo, step: str) -> dict[str, Any]:
    """Bars that stand on each other: one line of ``names`` each, the dearest lowest, by the times of all."""
    times = sorted(set(rows["time"]))
    sums: dict[str, dict[datetime, Decimal | None]] = defaultdict(dict)
    unpriced: dict[datetime, int] = defaultdict(int)
    for row in rows.iter_rows(named=True):
        sums[row["name"]][row["time"]] = row["cost"]
        unpriced[row["time"]] += row["unpriced_calls"]
    order = sorted(sums, key=lambda name: (name == REST, -_weight(sums[name]), name))
    return {
        "kind": "bars",
        "currency": currency,
        "times": [_label(at, clocks, step) for at in times],
        "lines": [{"name": name, "values": [_text(sums[name].get(at)) for at in times]} for name in order],
        "unpriced": [unpriced[at] for at in times],
    }


def month_with_end(days: pl.DataFrame, found: Forecast, *, clocks: tzinfo, currency: str) -> dict[str, Any]:
    """What was spent of the month by the end of each of its ``days``, the oldest first, and from now until its end what
    is expected, with the band that widens to that of the end."""
    month = next(one for one in found.outlooks if one.period == "month")
    spent, running = [], Decimal(0)
    for day in days.iter_rows(named=True):
        running += day["cost_usd"] or Decimal(0)
        spent.append([_label(day["time"], clocks, "day"), _text(running)])
    return {
        "kind": "forecast",
        "currency": currency,
        "spent": spent,
        "coming": _coming(month, found.made_at, clocks),
        "days": _days(month, clocks),
    }


def _coming(month: Outlook, now: datetime, clocks: tzinfo) -> list[list[Any]]:
    """Day, expected, low, high. The band grows as the expected spending that is left comes to pass."""
    if month.expected is None:
        return []
    today = _label(now, clocks, "day")
    rows: list[list[Any]] = [[today, *[_text(month.so_far)] * 3]]
    left = month.expected - month.so_far
    running = month.so_far
    for stretch in month.coming:
        running += stretch.cost
        share = (running - month.so_far) / left if left else Decimal(1)
        low, high = (
            None if edge is None else running + (edge - month.expected) * share for edge in (month.low, month.high)
        )
        rows.append(
            [_label(stretch.end - timedelta(seconds=1), clocks, "day"), _text(running), _text(low), _text(high)]
        )
    return rows


def _days(month: Outlook, clocks: tzinfo) -> list[str]:
    first, last = month.start.astimezone(clocks).date(), (month.end - timedelta(seconds=1)).astimezone(clocks).date()
    return [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]


def _label(at: datetime, clocks: tzinfo, step: str) -> str:
    local = at.replace(tzinfo=at.tzinfo or UTC).astimezone(clocks)
    return f"{local:%Y-%m-%d}" if step == "day" else f"{local:%m-%d %H:%M}"


def _weight(values: dict[datetime, Decimal | None]) -> Decimal:
    return sum((value for value in values.values() if value is not None), Decimal(0))


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else decimal_text(rounded(amount, digits=DIGITS))
