"""What the whole system has cost: of the last hours, and of each month beside the one before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.figures.people import hours
from sinks.figures.spans import BETWEEN, Span
from sinks.figures.spend import Asked, spend, total

GROUPS_MAX: Final = 1_000
HOUR: Final = timedelta(hours=1)

MonthsBy = Literal["", "feature", "model"]

_WHOLE: Final = f"SELECT * FROM system_cost_summary{BETWEEN}"
_HOURS: Final = f"""
SELECT u.hour AS hour, toInt64(sum(u.calls)) AS total_calls, sum(u.cost_usd) AS total_cost,
  toInt64(sum(u.unpriced_calls)) AS unpriced_calls
FROM usage_hourly{BETWEEN} AS u
GROUP BY hour ORDER BY hour"""
_MONTHS: Final = "SELECT * FROM {view} ORDER BY month DESC, cost_usd DESC NULLS LAST, {by} LIMIT {{limit:UInt32}}"


def whole(reader: Reader, span: Span) -> dict[str, Any]:
    """All calls of a span, as ``system_cost_summary_between`` has them."""
    (row,) = reader.frame(_WHOLE, **span.parameters).to_dicts()
    return row


def system_metrics(reader: Reader, *, period_hours: int, now: datetime) -> dict[str, Any]:
    """The last hours until ``now``, in USD: ``total_cost``, ``total_calls``, ``avg_cost_per_call`` (of the priced
    calls) and ``unpriced_calls``; ``hourly_costs``, whose first one is the part of an hour that the span begins in;
    ``provider_costs`` and ``task_costs``, the dearest first. Hours, providers and tasks sum to the total each. A cost
    is None where no call has a price."""
    start = now - hours(period_hours) * HOUR
    span = Span(start, now)
    found = whole(reader, span)
    return {
        "period_hours": period_hours,
        "start_time": start,
        "end_time": now,
        "currency": span.currency,
        "total_cost": found["cost_usd"],
        "total_calls": found["calls"],
        "avg_cost_per_call": found["avg_cost_usd"],
        "unpriced_calls": found["unpriced_calls"],
        "partial_calls": found["partial_calls"],
        "hourly_costs": _hourly(reader, span),
        "provider_costs": _by(reader, span, "provider"),
        "task_costs": _by(reader, span, "task_type"),
    }


def _hourly(reader: Reader, span: Span) -> list[dict[str, Any]]:
    """Hours that begin in the span, and before them what is left of the one that it begins in."""
    first = span.since.replace(minute=0, second=0, microsecond=0)
    begun = reader.frame(_HOURS, **span.parameters).to_dicts()
    if first == span.since:
        return begun
    (part,) = total(reader, Asked(Span(span.since, min(first + HOUR, span.until)))).to_dicts()
    if not part["calls"]:
        return begun
    row = {"hour": first, "total_calls": part["calls"], "total_cost": part["cost_usd"]}
    return [row | {"unpriced_calls": part["unpriced_calls"]}, *begun]


def _by(reader: Reader, span: Span, dimension: str) -> list[dict[str, Any]]:
    rows = spend(reader, Asked(span, by=(dimension,)), limit=GROUPS_MAX).iter_rows(named=True)
    return [
        {
            dimension: row[dimension],
            "total_calls": row["calls"],
            "total_cost": row["cost_usd"],
            "unpriced_calls": row["unpriced_calls"],
        }
        for row in rows
    ]


def months(reader: Reader, *, by: MonthsBy, limit: int) -> pl.DataFrame:
    """Months of UTC, the newest first, each beside the one before it, in USD; all calls together, or by one word."""
    view = f"month_over_month_by_{by}" if by else "month_over_month"
    order = {"": "calls", "feature": "feature", "model": "provider, model"}[by]
    return reader.frame(_MONTHS.format(view=view, by=order), limit=limit)
