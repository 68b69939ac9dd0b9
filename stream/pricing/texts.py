"""The texts of prices, as rows to be stored before the first call that names them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import polars as pl

from costream.pricing.book import PriceBook
from costream.pricing.rates import NoPrice
from costream.pricing.sku import Sku
from costream.pricing.texts import price_id, price_text

TEXTS: Final = pl.Schema(
    {
        **dict.fromkeys(("price_id", "price_version", "price"), pl.String()),
        "stored_at": pl.Datetime("ms", "UTC"),
    }
)


def price_rows(priced: pl.DataFrame, ids: Collection[str], book: PriceBook, *, now: datetime) -> pl.DataFrame:
    """Rows of ``prices`` with these ids, which calls of ``priced`` name.

    What was priced before by another book keeps that price: its text was stored before the call was, so one that this
    book does not give is left out. So is the empty id, of calls without a price.
    """
    if not ids:
        return pl.DataFrame(schema=TEXTS)
    calls = priced.filter(pl.col("price_id").is_in(ids)).unique("price_id", keep="last", maintain_order=True)
    rows = []
    asked = ("provider", "model", "service_tier", "inference_geo", "occurred_at", "price_id")
    for *sku, moment, named in calls.select(asked).iter_rows():
        price = book.at(Sku.of(*sku), moment)
        if not isinstance(price, NoPrice) and price_id(price) == named:
            text = price_text(price, book.entries(price.made_of))
            rows.append((named, price.version, text, now))
    return pl.DataFrame(rows, schema=TEXTS, orient="row")
