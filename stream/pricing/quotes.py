"""What calls would cost: events as JSON lines, and for each the answer that the stream would store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from costream.events import UsageEvent
from costream.pricing import CALLER, PICO, Linear, PriceBook, Sku, completed
from costream.pricing.rates import Exact
from costream.pricing.usage import prices_of
from stream.decode.examination import Faulty, examine_value
from stream.pricing.columns import WHY, price
from stream.pricing.events import frame_of

USD_DIGITS: Final = 24  # after the point, of a price for one of a unit; most have fewer


def quotes(lines: Sequence[str], book: PriceBook, *, now: datetime, new_id: Callable[[], str]) -> list[dict[str, Any]]:
    """For each line, in order, its answer; or ``error``, where it is no event. An event without an id or a time gets
    ``new_id()`` and ``now``."""
    read = [_event(line, now=now, new_id=new_id) for line in lines]
    events = [event for event in read if isinstance(event, UsageEvent)]
    rows = iter(price(frame_of(events), book).iter_rows(named=True)) if events else iter(())
    return [_answer(next(rows), event, book) if isinstance(event, UsageEvent) else {"error": event} for event in read]


def _event(line: str, *, now: datetime, new_id: Callable[[], str]) -> UsageEvent | str:
    """The event of a line; or why it is none, in the words of a dead letter."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    value = line.encode()
    if isinstance(fields, dict):
        missing = {"request_id": new_id, "occurred_at": now.isoformat}
        value = json.dumps({name: make() for name, make in missing.items()} | fields).encode()
    found = examine_value(value)
    return found.reason if isinstance(found, Faulty) else UsageEvent.model_validate_json(value)


def _answer(row: Mapping[str, Any], event: UsageEvent, book: PriceBook) -> dict[str, Any]:
    sku = Sku.of(event.provider, event.model, event.service_tier, event.inference_geo)
    used = book.at(sku, event.occurred_at)
    if row["price_source"] == CALLER:
        used = completed(used, prices_of({unit: f"{usd:f}" for unit, usd in event.unit_prices.items()}))
    cost = row["cost_pico"]
    return {
        "request_id": event.request_id,
        "cost_usd": None if cost is None else usd_text(cost),
        **{name: row[name] for name in WHY},
        "rates": in_usd(used.bracket((event.input_tokens or 0) * PICO).prices()) if isinstance(used, Linear) else {},
    }


def in_usd(prices: Mapping[str, Exact]) -> dict[str, str]:
    """The price of one of each unit, as decimal text."""
    return {unit: usd_text(rate) for unit, rate in prices.items()}


def usd_text(pico: Exact) -> str:
    """An exact amount of 1e-12 USD as decimal text; what has no end is cut behind USD_DIGITS."""
    whole = Fraction(pico) / PICO * 10**USD_DIGITS
    text = f"{whole.numerator // whole.denominator:0{USD_DIGITS + 1}d}"
    return f"{text[:-USD_DIGITS]}.{text[-USD_DIGITS:]}".rstrip("0").rstrip(".")
