"""Own prices in the warehouse, and beside each revision what its files say of money by day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import polars as pl

from costream.pricing.money import told
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revisions
from sinks.clickhouse.writer import Writer

_AMOUNT: Final = pl.Decimal(38, 12)
_MONEY: Final[Mapping[str, pl.DataType]] = {
    "exchange_rates": pl.List(
        pl.Struct({"currency": pl.String, "first_day": pl.Date, "per_usd": _AMOUNT, "source": pl.String})
    ),
    "credit_prices": pl.List(
        pl.Struct({"first_day": pl.Date, "price": _AMOUNT, "currency": pl.String, "source": pl.String})
    ),
    "feature_credits": pl.List(pl.Struct({"feature": pl.String, "first_day": pl.Date, "credits": _AMOUNT})),
    "money_told": pl.UInt8(),
}


def _money(files: Mapping[str, str]) -> dict[str, Any]:
    return {**asdict(told(files)), "money_told": 1}


PRICES: Final = Revisions("price_revisions", besides=_money, kinds=_MONEY)


def tell_money(reader: Reader, writer: Writer) -> list[int]:
    """Put beside revisions of an earlier release what their files say of money by day, and return their numbers."""
    untold = PRICES.asked(reader, "WHERE NOT money_told")
    for one in untold:
        by = {name: getattr(one, name) for name in ("publication", "published_at", "published_by", "note", "build")}
        PRICES.write(writer, one.number, one.files, **by)
    return [one.number for one in untold]
