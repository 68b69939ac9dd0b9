"""Frames of accepted events as pricing sees them, with only what a test is about written down."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import polars as pl

SCHEMA = {
    "request_id": pl.String,
    "occurred_at": pl.Datetime("ms", "UTC"),
    "provider": pl.String,
    "model": pl.String,
    "operation": pl.String,
    "status": pl.String,
    "usage_status": pl.String,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cache_read_tokens": pl.Int64,
    "cache_write_tokens": pl.Int64,
    "reasoning_tokens": pl.Int64,
    "quantities": pl.String,
    "unit_prices": pl.String,
    "service_tier": pl.String,
    "inference_geo": pl.String,
}
DEFAULTS = {
    "request_id": "r",
    "occurred_at": datetime(2026, 11, 1, 12, tzinfo=UTC),
    "provider": "openai",
    "model": "gpt-4o-mini",
    "operation": "chat",
    "status": "ok",
    "usage_status": "reported",
    "quantities": "",
    "unit_prices": "",
    "service_tier": "",
    "inference_geo": "",
}


def usage_frame(events: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{**DEFAULTS, **event} for event in events], schema=SCHEMA)
