"""Why a call costs what it costs: its quantities times the prices that its row names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from costream.pricing import CALLER, PICO, Call, Linear, NoPrice, Note, PriceBook, Reason, Sku, completed
from costream.pricing.items import items
from costream.pricing.units import TOKEN_UNITS
from costream.pricing.usage import amounts_of, prices_of

NO_PRICE: Final = NoPrice.of(Reason.UNKNOWN_MODEL, "no table had a price: the event named its own")
DIGITS: Final = 24  # after the point, of a price for one of a unit


@dataclass(frozen=True, slots=True)
class Line:
    """``amount`` of a unit, the price of one in USD, and what that comes to in USD."""

    unit: str
    amount: Decimal
    price_usd: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Explanation:
    """``lines`` sum to ``sum_usd``, which rounded to 1e-12 is the cost of the row. Where there are none, ``why`` says
    it. ``difference_usd`` is what the call was reported to cost, less what it costs."""

    lines: tuple[Line, ...]
    sum_usd: Decimal | None
    why: str
    difference_usd: Decimal | None


def explained(row: Mapping[str, Any], book: PriceBook) -> Explanation:
    """Of a row of ``usage_events``."""
    reported, cost = row["reported_cost_usd"], row["cost_usd"]
    difference = reported - cost if reported is not None and cost is not None else None
    if cost is None:
        return Explanation((), None, row["cost_detail"], difference)
    price = _price_of(row, book)
    if isinstance(price, NoPrice):
        return Explanation((), None, price.note.detail, difference)
    amounts = amounts_of([row[field] for field in TOKEN_UNITS], json.loads(row["quantities"] or "{}"))
    assert not isinstance(amounts, Note), "a call that contradicts itself has no cost"
    call = Call(row["operation"], failed=row["status"] == "error", amounts=amounts)
    lines = tuple(
        Line(item.unit, _decimal(item.amount), _decimal(item.price), _decimal(Fraction(item.cost) / PICO))
        for item in items(price, call)
    )
    return Explanation(lines, sum((line.cost_usd for line in lines), Decimal(0)), row["cost_detail"], difference)


def _price_of(row: Mapping[str, Any], book: PriceBook) -> Linear | NoPrice:
    """The price that the row names; over it those that the event brought."""
    sku = Sku.of(row["provider"], row["model"], row["service_tier"], row["inference_geo"])
    version = row["price_version"]
    price = book.lookup(version, sku) if version != CALLER else NO_PRICE
    if row["price_source"] != CALLER or (isinstance(price, NoPrice) and version != CALLER):
        return price
    return completed(price, prices_of(json.loads(row["unit_prices"])))


def _decimal(pico: int | Fraction) -> Decimal:
    """Of 1e-12; what has no end is cut at DIGITS."""
    whole = Fraction(pico) / PICO * 10**DIGITS
    return Decimal(whole.numerator // whole.denominator).scaleb(-DIGITS).normalize()
