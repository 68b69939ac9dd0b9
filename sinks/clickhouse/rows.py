"""Frames as the stream sums them, and as the tables have them: the same numbers under two shapes.

The stream counts in integers of 1e-12 (``*_pico``), or of 1e-6 (``*_micro``: how busy a server was), and calls the
offset that a row of a rollup has applied last ``applied``. A table has money as Decimal (``*_usd``), amounts as
Decimal(38, 0), the source beside each row, and that offset as its ``version``: of two copies ClickHouse keeps the one
that has applied more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import polars as pl

MONEY: Final = pl.Decimal(38, 12)  # USD to 1e-12, as wide as ClickHouse's sums
_MONEY: Final = {"cost_pico": "cost_usd", "reported_cost_pico": "reported_cost_usd", "revenue_pico": "revenue_usd"}
_AMOUNTS: Final = ("amount_whole", "amount_pico")
SHARE: Final = pl.Decimal(7, 6)  # a part of one to 1e-6


def to_decimal(picodollars: pl.Expr) -> pl.Expr:
    """Integers of 1e-12 USD as Decimal(38, 12), exactly; null stays null (unknown is never 0)."""
    return (picodollars.cast(pl.Decimal(38, 0)) * Decimal("0.000000000001")).cast(MONEY)


def to_integers(frame: pl.DataFrame, dtype: type[pl.Int64] | type[pl.Int128]) -> pl.DataFrame:
    """Every column named ``*_pico``, ``*_micro`` or ``*_whole`` as the integer its Decimal is made of: exact, nothing
    multiplied."""
    return frame.with_columns(pl.col(r"^.*_(pico|micro|whole)$").to_physical().cast(dtype))


def of_events(counted: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``usage_events`` from priced events."""
    busy = (pl.col("utilization_micro").cast(pl.Decimal(38, 0)) * Decimal("0.000001")).cast(SHARE)
    return _with_money(counted).with_columns(utilization=busy).drop("row", "utilization_micro")


def of_rollup(summed: pl.DataFrame, *, source: str) -> pl.DataFrame:
    """Rows of a table of rollups, or of the ledger, from rows as the stream sums them."""
    amounts = [pl.col(name).cast(pl.Decimal(38, 0)) for name in _AMOUNTS if name in summed.columns]
    rows = _with_money(summed).with_columns(*amounts, source=pl.lit(source))
    return rows.rename({"applied": "version"})


def as_summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table of rollups, with its money read as integers, as the stream sums them."""
    return rows.rename({"version": "applied"})


def _with_money(frame: pl.DataFrame) -> pl.DataFrame:
    money = {pico: usd for pico, usd in _MONEY.items() if pico in frame.columns}
    return frame.with_columns(to_decimal(pl.col(pico)).alias(usd) for pico, usd in money.items()).drop(money)
