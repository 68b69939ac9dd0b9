"""What an event reports and names, as the arithmetic takes it: in 1e-12 of a unit, and in 1e-12 USD for one of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from costream.pricing.quote import Call
from costream.pricing.rates import PICO
from costream.pricing.reasons import Note, Reason
from costream.pricing.units import TOKEN_UNITS, canonical


def call_of(row: Mapping[str, Any]) -> Call | Note:
    """The call that a row of ``usage_events`` is of; a note where what it reports contradicts itself."""
    amounts = amounts_of([row[field] for field in TOKEN_UNITS], json.loads(row["quantities"] or "{}"))
    if isinstance(amounts, Note):
        return amounts
    return Call(row["operation"], failed=row["status"] == "error", amounts=amounts)


def amounts_of(counts: Sequence[int | None], quantities: Mapping[str, str]) -> dict[str, int] | Note:
    """The amount of each unit: ``counts`` in the order of TOKEN_UNITS, and what is beside them as plain decimal text. A
    note where the two name one unit."""
    amounts = {
        unit: count * PICO for unit, count in zip(TOKEN_UNITS.values(), counts, strict=True) if count is not None
    }
    for name, text in quantities.items():
        unit = canonical(name)
        if unit in amounts:
            return Note(Reason.USAGE_CONTRADICTORY, f"{unit} reported twice")
        amounts[unit] = pico(text)
    return amounts


def prices_of(unit_prices: Mapping[str, str]) -> dict[str, int]:
    """The prices that an event names."""
    return {canonical(unit): pico(text) for unit, text in unit_prices.items()}


def pico(amount: str) -> int:
    """Plain decimal text, with at most 12 digits after the point, in 1e-12."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction.ljust(12, "0"))
