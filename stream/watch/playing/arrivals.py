"""What arrived within each minute, or each hour, of a history."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from sinks.clickhouse.rows import to_decimal


def arrivals(events: pl.DataFrame, *, every: str, by: Sequence[str]) -> pl.DataFrame:
    """``calls``, ``unpriced_calls`` and ``cost_usd``, a row for each ``arrived_by`` (the end of the minute or hour in
    which they came), ``occurred_at`` (their own minute or hour) and values of ``by``, sorted by these. ``every`` is
    ``1m`` or ``1h``."""
    times = {
        "arrived_by": pl.col("arrived_at").dt.truncate(every).dt.offset_by(every),
        "occurred_at": pl.col("occurred_at").dt.truncate(every),
    }
    sums = (
        events.with_columns(**times)
        .group_by(*times, *by)
        .agg(
            calls=pl.len().cast(pl.Int64),
            unpriced_calls=pl.col("cost_pico").is_null().sum().cast(pl.Int64),
            cost_usd=pl.col("cost_pico").cast(pl.Int128).sum(),
        )
    )
    return sums.with_columns(to_decimal(pl.col("cost_usd"))).sort(*times, *by)
