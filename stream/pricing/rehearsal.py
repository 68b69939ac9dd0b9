"""What stored calls would cost by other prices, beside what they were stored to cost. Nothing is changed by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from costream.pricing import PriceBook
from stream.pricing.columns import price

SERIES: Final = ("day", "provider", "model", "feature")
_SUMS: Final = (
    *(
        "calls",
        "changed_calls",
        "unpriced_calls",
        "rehearsed_unpriced_calls",
        "partial_calls",
        "rehearsed_partial_calls",
    ),
    *("cost_pico", "rehearsed_cost_pico"),
)


def rehearsed(blocks: Iterable[pl.DataFrame], book: PriceBook) -> pl.DataFrame:
    """A row for each day (UTC), provider and model (as they are stored) and feature, with its calls, how many of them
    would change, and each figure as it is and as it would be (``rehearsed_``). Money is Int128 of 1e-12 USD, of the
    calls whose cost is known.

    ``blocks`` have the columns that ``price`` reads, and ``provider_stored``, ``model_stored``, ``feature``,
    ``cost_stored_pico`` and ``cost_status_stored``.
    """
    empty = pl.DataFrame(schema=SCHEMA)
    parts = pl.concat([empty, *(_summed(price(calls, book)) for calls in blocks)])
    return parts.group_by(SERIES).agg(pl.col(_SUMS).sum()).sort(SERIES)


SCHEMA: Final = pl.Schema(
    {
        "day": pl.Date(),
        **dict.fromkeys(SERIES[1:], pl.String()),
        **{name: pl.Int128() if "pico" in name else pl.Int64() for name in _SUMS},
    }
)


def _summed(priced: pl.DataFrame) -> pl.DataFrame:
    changed = pl.col("cost_pico").ne_missing(pl.col("cost_stored_pico")) | (
        pl.col("cost_status") != pl.col("cost_status_stored")
    )
    series = {"provider": "provider_stored", "model": "model_stored", "feature": "feature"}
    keys = [pl.col("occurred_at").dt.date().alias("day"), *(pl.col(name).alias(key) for key, name in series.items())]
    sums = priced.group_by(keys).agg(
        calls=pl.len(),
        changed_calls=changed.sum(),
        unpriced_calls=(pl.col("cost_status_stored") == "unpriced").sum(),
        rehearsed_unpriced_calls=(pl.col("cost_status") == "unpriced").sum(),
        partial_calls=(pl.col("cost_status_stored") == "partial").sum(),
        rehearsed_partial_calls=(pl.col("cost_status") == "partial").sum(),
        cost_pico=pl.col("cost_stored_pico").cast(pl.Int128).sum(),
        rehearsed_cost_pico=pl.col("cost_pico").cast(pl.Int128).sum(),
    )
    return sums.select(SCHEMA.names()).cast(SCHEMA)
