"""The reasons of an alert, as a person reads them; values from events are made safe for a line."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from costream.alerts import Driver, plain
from stream.watch.reasons.difference import CACHED, CALLS, MIX, OUTPUT, PRICE, TOKENS, Difference
from stream.watch.rounding import adding_up

# The three causes every message names, marked or not.
CAUSES: Final = {
    "calls": "more calls than usual",
    "model_mix": "dearer model chosen",
    "tokens_per_call": "unusually large requests",
}
CHANGED: Final = {
    CALLS: "number of calls",
    TOKENS: "tokens a call",
    MIX: "choice of models",
    OUTPUT: "share of output",
    CACHED: "share of cached input",
    PRICE: "price of a token",
}


def causes(drivers: tuple[Driver, ...]) -> str:
    """All three likely causes; those that the data supports are marked with their figures, then the top spenders."""
    found = {driver.kind: driver.text for driver in drivers}
    listed = [f"[x] {cause}: {found[kind]}" if kind in found else f"[ ] {cause}" for kind, cause in CAUSES.items()]
    spenders = [found[kind] for kind in ("top_feature", "top_user") if kind in found]
    return f"Likely causes: {'; '.join(listed)}." + (f" Top spenders: {'; '.join(spenders)}." if spenders else "")


def made_of(difference: Difference) -> str:
    """What the rise is made of, to the cent. What made less than one is left out, and the rest adds up all the same."""
    (total,) = in_cents([difference.usd])
    effects = in_cents(difference.effects[kind] for kind in CHANGED)
    lines = [("what changed", zip(CHANGED.values(), effects, strict=True))]
    for by, nameless in (("model", ""), ("feature", "calls without a feature")):
        parts = difference.contributions.get(by, ())
        names = ["all others" if part.name is None else plain(part.name) or nameless for part in parts]
        lines.append((by, zip(names, in_cents(part.usd for part in parts), strict=True)))
    told = [f"{total:+,.2f} USD against a usual hour.", *(_line(by, amounts) for by, amounts in lines)]
    return " ".join(filter(None, told))


def in_cents(parts: Iterable[Fraction]) -> list[Decimal]:
    """Amounts of USD to the cent, which add up to their sum to the cent."""
    return adding_up([*parts], digits=2)


def _line(by: str, amounts: Iterable[tuple[str, Decimal]]) -> str:
    made = [f"{name} {amount:+,.2f}" for name, amount in amounts if amount]
    return f"By {by}: {', '.join(made)}." if made else ""
