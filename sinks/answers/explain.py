"""Why a call costs what it costs: its quantities times the prices that its row names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

from costream.pricing import CALLER, PICO, Linear, NoPrice, Note, PriceBook, Reason, Sku, completed
from costream.pricing.items import items, within
from costream.pricing.texts import price_of
from costream.pricing.usage import call_of, prices_of

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
class Part:
    """``amount`` of a unit costs what ``total`` does, which it is counted in, by the rule of the entry ``by``."""

    unit: str
    amount: Decimal
    total: str
    by: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``lines`` sum to ``sum_usd``, which rounded to 1e-12 is the cost of the row. Where there are none, ``why`` says
    it. ``difference_usd`` is what the call was reported to cost, less what it costs. ``charged_as`` are the units that
    are charged as a total by a rule. ``entries`` are those of files that its price is made of, and those of its rules,
    as they stood there."""

    lines: tuple[Line, ...]
    sum_usd: Decimal | None
    why: str
    difference_usd: Decimal | None
    charged_as: tuple[Part, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()


def explained(row: Mapping[str, Any], prices: Mapping[str, str], book: PriceBook) -> Explanation:
    """Of a row of ``usage_events``, by the text of its price: ``prices`` has them by their ids. A row from before there
    were any is explained by ``book``, if that holds its price."""
    reported, cost = row["reported_cost_usd"], row["cost_usd"]
    difference = reported - cost if reported is not None and cost is not None else None
    if cost is None:
        return Explanation((), None, row["cost_detail"], difference)
    price, entries = _price_of(row, prices, book)
    if isinstance(price, NoPrice):
        return Explanation((), None, price.note.detail, difference)
    call = call_of(row)
    assert not isinstance(call, Note), "a call that contradicts itself has no cost"
    lines = tuple(
        Line(item.unit, _decimal(item.amount), _decimal(item.price), _decimal(Fraction(item.cost) / PICO))
        for item in items(price, call)
    )
    total = sum((line.cost_usd for line in lines), Decimal(0))
    rules = tuple(Part(one.unit, _decimal(one.amount), one.total, one.by) for one in within(price, call))
    return Explanation(lines, total, row["cost_detail"], difference, rules, entries)


class Known(Protocol):
    """What is needed of ``sinks.clickhouse.calls.KnownCall``."""

    @property
    def calls(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def removed(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def letters(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def prices(self) -> Mapping[str, str]: ...

    @property
    def repricings(self) -> Mapping[int, Mapping[str, Any]]: ...


def as_document(request_id: str, known: Known, book: PriceBook) -> dict[str, Any]:
    """All that is known of a call as one object: ``calls`` (rows of ``usage_events``, each with the lines of its cost,
    the text of its price and the re-pricing that gave it), ``removed`` and ``dead_letters``."""
    calls = [
        {
            **row,
            **asdict(explained(row, known.prices, book)),
            "price": json.loads(known.prices.get(row["price_id"], "null")),
            "repricing": known.repricings.get(row["price_rev"]),
        }
        for row in known.calls
    ]
    return {"request_id": request_id, "calls": calls, "removed": known.removed, "dead_letters": known.letters}


def _price_of(
    row: Mapping[str, Any], prices: Mapping[str, str], book: PriceBook
) -> tuple[Linear | NoPrice, tuple[Mapping[str, Any], ...]]:
    """The price that the row names, over it those that the event brought; and the entries that it is made of."""
    version, text = row["price_version"], prices.get(row["price_id"])
    if text:
        price: Linear | NoPrice = price_of(text)
        entries = tuple(json.loads(text)["entries"])
    elif version == CALLER:
        price, entries = NO_PRICE, ()
    else:
        price = book.lookup(version, Sku.of(row["provider"], row["model"], row["service_tier"], row["inference_geo"]))
        entries = tuple(book.entries(version))
    if row["price_source"] != CALLER or (isinstance(price, NoPrice) and version != CALLER):
        return price, entries
    return completed(price, prices_of(json.loads(row["unit_prices"]))), entries


def _decimal(pico: int | Fraction) -> Decimal:
    """Of 1e-12; what has no end is cut at DIGITS."""
    whole = Fraction(pico) / PICO * 10**DIGITS
    return Decimal(whole.numerator // whole.denominator).scaleb(-DIGITS).normalize()
