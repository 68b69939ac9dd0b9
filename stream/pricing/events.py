"""Events that come one by one, and not from a topic, as pricing takes them: a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import polars as pl

from costream.events import UsageEvent
from costream.pricing.units import TOKEN_UNITS

TEXTS: Final = ("provider", "model", "operation", "status", "service_tier", "inference_geo")
MAPS: Final = ("quantities", "unit_prices")


def frame_of(events: Sequence[UsageEvent]) -> pl.DataFrame:
    """The columns that ``price`` reads, in the order of ``events``."""
    schema = pl.Schema(
        {
            "occurred_at": pl.Datetime("ms", "UTC"),
            **dict.fromkeys(TEXTS, pl.String()),
            **dict.fromkeys(TOKEN_UNITS, pl.Int64()),
            **dict.fromkeys(MAPS, pl.String()),
        }
    )
    return pl.DataFrame([_row(event) for event in events], schema=schema, orient="row")


def _row(event: UsageEvent) -> tuple[Any, ...]:
    names = ("occurred_at", *TEXTS, *TOKEN_UNITS)
    return *(getattr(event, name) for name in names), *(_text(getattr(event, name)) for name in MAPS)


def _text(by_unit: dict[str, Any]) -> str:
    return msgspec.json.encode({unit: f"{amount:f}" for unit, amount in by_unit.items()}).decode() if by_unit else ""
