"""Which stored calls get another price, the rows that say so, and what that adds up to. Frames in, frames out."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from costream.pricing import PriceBook
from sinks.clickhouse.repricings import ADJUSTMENT, Block
from sinks.clickhouse.rows import to_decimal, to_integers
from stream.pricing.columns import COSTS, USED, WHY, price


def changed(calls: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """Of whole rows of ``usage_events`` those that the book prices otherwise than they are stored, with what it says
    in the columns of COSTS. It is asked by the names that were sent; those that are stored stay.

    Otherwise is another cost, or the same by another price or for another reason: so a second time there are none.
    """
    stored = to_integers(calls.with_columns(stored_cost_pico=pl.col("cost_usd")), pl.Int64)
    counts = [pl.col(name).cast(pl.Int64) for name in USED if name.endswith("_tokens")]
    priced = price(as_sent(calls).with_columns(counts), book).select(*COSTS)
    differs = [pl.col("cost_pico").ne_missing(stored["stored_cost_pico"])]
    differs += [pl.col(name) != stored[name].cast(pl.String) for name in WHY]
    other = priced.select(pl.any_horizontal(differs)).to_series()
    kept = stored.rename({name: f"stored_{name}" for name in WHY})
    return pl.concat([kept, priced], how="horizontal").filter(other)


def as_sent(calls: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``usage_events`` with the names that were sent in place of those that are stored."""
    return calls.with_columns(
        pl.when(pl.col(f"{name}_sent") == "").then(pl.col(name)).otherwise(pl.col(f"{name}_sent"))
        for name in ("provider", "model")
    )


def as_rows(changes: pl.DataFrame, *, repricing: int) -> pl.DataFrame:
    """Rows of ``usage_events`` in place of those that are stored: the same calls, by other prices."""
    replaced = {"stored_cost_pico", *(f"stored_{name}" for name in WHY)}
    costs = {"cost_usd": to_decimal(pl.col("cost_pico")).cast(pl.Decimal(18, 12))}
    rows = changes.with_columns(**costs, price_rev=pl.lit(repricing, dtype=pl.UInt16))
    return rows.drop(*replaced, "cost_pico")


def adjustments(changes: pl.DataFrame, *, repricing: int, block: Block, now: datetime) -> pl.DataFrame:
    """What changes: a row, as ADJUSTMENT has it, for each hour, provider, model and feature, and each re-pricing that
    gave the calls the price before. Money is of the calls whose cost is known."""
    sums = changes.group_by(
        pl.col("occurred_at").dt.truncate("1h").alias("hour"),
        "provider",
        "model",
        "feature",
        pl.col("price_rev").alias("price_rev_before"),
    ).agg(
        calls=pl.len(),
        cost_usd_before=to_decimal(pl.col("stored_cost_pico").cast(pl.Int128).sum()),
        cost_usd=to_decimal(pl.col("cost_pico").cast(pl.Int128).sum()),
        **{
            f"{status}_calls{when}": (pl.col(f"{of}cost_status") == status).sum()
            for status in ("unpriced", "partial")
            for when, of in (("_before", "stored_"), ("", ""))
        },
    )
    place = {"repricing": repricing, "part": block.part, "parts": block.parts}
    rows = sums.with_columns(**{name: pl.lit(value) for name, value in place.items()}, adjusted_at=pl.lit(now))
    return rows.select(ADJUSTMENT.names()).cast(ADJUSTMENT)
