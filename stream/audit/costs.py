"""Costs that are worked out again: of a sample of the calls, from what each reports and the stored text of its price.

The stream prices batches in columns, by its price book. Here every call is added up line by line, as ``costream
explain`` does it, and nothing but its row and the text is asked. A row names its price and is whole by itself, so one
reading is enough while workers and re-pricings go on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias, assert_never

from costream.pricing import (
    CALLER,
    PICO,
    BundledPrices,
    Linear,
    NoPrice,
    Note,
    Partial,
    Reason,
    Unpriced,
    completed,
    quote,
)
from costream.pricing.items import items
from costream.pricing.texts import is_read_whole, price_of, text_id
from costream.pricing.usage import call_of, prices_of
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.sampled_calls import CallKey, price_texts, sampled_calls
from stream.audit.ground import Ground
from stream.audit.report import FINDINGS_MAX, Check, Finding, Value

NAME: Final = "costs"
CALLS_MAX: Final = 2_000  # of a sample: of millions of calls it is a seventh of what an audit takes
AGAIN_MAX: Final = 20  # calls that are looked at again whatever the sample is: their names are one parameter

TABLE: Final = "genai-prices/"  # before the version of the table, in that of a price
BY_THE_CALLER: Final = NoPrice.of(Reason.UNKNOWN_MODEL, "the event named its own price")

# Why a call was not compared, or only in part.
UNPRICED: Final = "without a price"
BEFORE_TEXTS: Final = "stored before prices had texts"
OTHER_BUILD: Final = "priced by another build, which writes other texts"
OTHER_TABLE: Final = "compared by their cost alone, as another price table judged them"

NO_TEXT: Final = "every price that a call names has a text"
OTHER_TEXT: Final = "the text of a price is the one that its id was made of"
UNREADABLE: Final = "what a call reports can be read"
UNKNOWN_COST: Final = "the cost of a call is unknown exactly if it is unpriced"
OTHER_COST: Final = "a call costs what its amounts and the text of its price come to"
OTHER_STATUS: Final = "a call is priced or partial by the units that the text of its price has"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """It cannot be worked out here, which is no fault."""

    why: str


@dataclass(frozen=True, slots=True)
class Fault:
    """It cannot be worked out, which breaks a rule."""

    rule: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the call costs, in 1e-12 USD: None where it has no cost. ``status`` is empty where it may hang on what
    another price table knew of units."""

    pico: int | None
    status: str


@dataclass(frozen=True, slots=True)
class NamedPrice:
    """``judged``: whether it was made of the table of this build, which then says the same of a call."""

    price: Linear | NoPrice
    judged: bool


Texts: TypeAlias = Mapping[str, NamedPrice | LeftOut | Fault]


def costs_check(
    reader: Reader, on: Ground, *, salt: str, again: Sequence[CallKey] = (), calls_max: int = CALLS_MAX
) -> Check:
    """Of the calls that ``salt`` draws, and of those that are to be looked at ``again``."""
    rows = sampled_calls(reader, start=on.start, salt=salt, calls_max=calls_max, again=again[:AGAIN_MAX]).to_dicts()
    ids = {row["price_id"] for row in rows} - {""}
    stored = price_texts(reader, ids)
    return judged(rows, {named: read(named, stored.get(named)) for named in ids})


def looked_at_again(check: Check) -> tuple[CallKey, ...]:
    """The calls that its findings name."""
    return tuple(
        (hour, str(where["model"]), str(where["feature"]), str(where["request_id"]))
        for where in (finding.where for finding in check.findings[:AGAIN_MAX])
        if isinstance(hour := where["hour"], datetime)
    )


def judged(rows: Sequence[Mapping[str, Any]], texts: Texts) -> Check:
    """What is wrong with these calls, by the texts that they name."""
    findings, left_out = list[Finding](), Counter[str]()
    for row in rows:
        match found := recomputed(row, texts):
            case LeftOut(why):
                left_out[why] += 1
            case Fault(rule):
                findings.append(_finding(row, rule))
            case Cost(pico, status):
                left_out[OTHER_TABLE] += not status
                if rule := _broken(row, found):
                    findings.append(_finding(row, rule, cost_usd_recomputed=_usd(pico), cost_status_recomputed=status))
            case _:
                assert_never(found)
    return Check(
        name=NAME,
        question="calls of a sample cost what their amounts and the stored texts of their prices come to",
        compared=len(rows) - sum(left_out[why] for why in (UNPRICED, BEFORE_TEXTS, OTHER_BUILD)),
        differing=len(findings),
        findings=tuple(findings[:FINDINGS_MAX]),
        drawn=len(rows),
        left_out=dict(sorted((why, calls) for why, calls in left_out.items() if calls)),
    )


def recomputed(row: Mapping[str, Any], texts: Texts) -> Cost | LeftOut | Fault:
    """What a call costs, from its row and the text of its price."""
    match named := _named(row, texts):
        case NamedPrice():
            try:
                return _cost(row, named)
            except (ArithmeticError, AttributeError, TypeError, ValueError):
                return Fault(UNREADABLE)
        case LeftOut() | Fault():
            return named
        case _:
            assert_never(named)


def read(named: str, text: str | None) -> NamedPrice | LeftOut | Fault:
    """The price that a stored text tells."""
    if text is None:
        return Fault(NO_TEXT)
    if text_id(text) != named:
        return Fault(OTHER_TEXT)
    if not is_read_whole(text):
        return LeftOut(OTHER_BUILD)
    price = price_of(text)
    tables = {part.partition("@")[0] for part in price.version.split("+") if part.startswith(TABLE)}
    return NamedPrice(price, judged=tables <= {BundledPrices.version})


def _named(row: Mapping[str, Any], texts: Texts) -> NamedPrice | LeftOut | Fault:
    if row["price_id"]:
        return texts[row["price_id"]]
    if row["price_version"] == CALLER:
        return NamedPrice(BY_THE_CALLER, judged=True)
    if (row["cost_pico"] is None) != (row["cost_status"] == "unpriced"):
        return Fault(UNKNOWN_COST)
    return LeftOut(UNPRICED if row["cost_pico"] is None else BEFORE_TEXTS)


def _cost(row: Mapping[str, Any], named: NamedPrice) -> Cost:
    call = call_of(row)
    if isinstance(call, Note):
        return Cost(None, "unpriced")
    price = _completed(named.price, row["unit_prices"])
    cost = round(sum((Fraction(item.cost) for item in items(price, call)), Fraction(0)) / PICO)  # half to even
    if not named.judged:
        return Cost(cost, "")
    match quote(price, call):
        case Unpriced():
            return Cost(None, "unpriced")
        case Partial():
            return Cost(cost, "partial")
        case _:
            return Cost(cost, "priced")


def _completed(price: Linear | NoPrice, unit_prices: str) -> Linear:
    """With what the caller names beside it."""
    if isinstance(price, Linear) and not unit_prices:
        return price
    return completed(price, prices_of(json.loads(unit_prices)))


def _broken(row: Mapping[str, Any], found: Cost) -> str:
    """The rule that does not hold; empty where both do."""
    if row["cost_pico"] != found.pico:
        return OTHER_COST
    return OTHER_STATUS if found.status not in ("", row["cost_status"]) else ""


def _finding(row: Mapping[str, Any], rule: str, **recomputed: Value) -> Finding:
    return Finding(
        where={name: row[name] for name in ("request_id", "hour", "provider", "model", "feature", "price_id")},
        rule=rule,
        numbers={
            "cost_usd_stored": _usd(row["cost_pico"]),
            "cost_status_stored": row["cost_status"],
            **recomputed,
        },
    )


def _usd(pico: int | None) -> Decimal | None:
    return None if pico is None else Decimal(pico).scaleb(-12)
