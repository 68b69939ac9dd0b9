"""A forecast as one object, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sinks.answers.forecast.outlook import Forecast, Outlook


def as_document(found: Forecast, *, scope: Mapping[str, str], zone: str, currency: str = "USD") -> dict[str, Any]:
    """Money is decimal text, None where it is not known; moments are ISO 8601."""
    return {
        "scope": dict(scope),
        "zone": zone,
        "currency": currency,
        "made_at": found.made_at.isoformat(),
        "method": found.method,
        "whole_days": found.whole_days,
        "weeks": found.weeks,
        "calls": found.calls,
        "unpriced_calls": found.unpriced_calls,
        "outlooks": [_outlook(one) for one in found.outlooks],
    }


def _outlook(one: Outlook) -> dict[str, Any]:
    return {
        "period": one.period,
        "start": one.start.isoformat(),
        "end": one.end.isoformat(),
        "so_far": _exactly(one.so_far),
        "expected": _exactly(one.expected),
        "low": _exactly(one.low),
        "high": _exactly(one.high),
    }


def _exactly(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"
