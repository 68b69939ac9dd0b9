"""What one call costs by a price: a sum of products in whole numbers, rounded once at the end.

*Priced* is said only of a call whose every unit has a rate of its own, or one that is known to be the same as its
total's: at every model, or by a rule about this one. A part that has neither is charged as its total, and the cost is
*partial*: it may be too high or too low.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Final, TypeAlias

from costream.pricing.rates import PICO, Linear
from costream.pricing.reasons import Note, Reason, joined
from costream.pricing.units import DIMENSIONS, PER_CALL, TOKEN_TOTALS, dimensions, is_part, modality, overlap

COST_PICO_MAX: Final = 10**18 - 1  # 999,999.999999999999 USD, the most Decimal(18, 12) holds; far inside Int64
MADE_OF: Final = {"image": "image", "speech": "audio"}  # operation -> what most of its output is
VERDICTS_MAX: Final = 1_024  # of a price and the units that a call reports: 5 MB where each is as long as it can be


@dataclass(frozen=True, slots=True)
class Call:
    """What a price needs to know of an event: how much of each unit it used, in 1e-12 of one, which is the last digit
    that an event can give. An amount that is absent was not reported."""

    operation: str
    failed: bool
    amounts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Priced:
    cost_pico: int
    note: Note | None = None  # a doubt about what was reported
    by_caller: bool = False  # whether a price that the caller named was used


@dataclass(frozen=True, slots=True)
class Partial:
    """The cost of what has a price. The true cost is another where something that was used has none of its own."""

    cost_pico: int
    note: Note
    by_caller: bool = False


@dataclass(frozen=True, slots=True)
class Unpriced:
    note: Note

    @classmethod
    def of(cls, reason: Reason, detail: str) -> Unpriced:
        return cls(Note(reason, detail))


Quote: TypeAlias = Priced | Partial | Unpriced

COST_TOO_LARGE: Final = Unpriced.of(
    Reason.COST_TOO_LARGE, "the cost is above 999,999 USD, more than one event can hold"
)
USED_NOTHING: Final = Note(Reason.ZERO_USAGE, "the call succeeded and reports no token in and none out")


def quote(price: Linear, call: Call) -> Quote:
    """What the call costs. Never a guess: usage that contradicts itself or lacks a needed part has no cost."""
    amounts = billed(price, call.amounts)
    used = frozenset(filter(amounts.get, amounts))
    found = verdict(price, call.operation, failed=call.failed, reported=frozenset(amounts), used=used)
    if found.fault:
        return Unpriced(found.fault)
    if contradiction := _above_total(found, amounts):
        return Unpriced.of(Reason.USAGE_CONTRADICTORY, contradiction)
    cost_pico = _cost(price, found, amounts)
    if cost_pico > COST_PICO_MAX:
        return COST_TOO_LARGE
    if found.caveat:
        return Partial(cost_pico, found.caveat, found.by_caller)
    return Priced(cost_pico, found.doubt, found.by_caller)


def _cost(price: Linear, found: Verdict, amounts: Mapping[str, int]) -> int:
    """In 1e-12 USD, half to even; an event is one request unless it says how many."""
    bracket = price.bracket(amounts.get("input_tokens", 0))
    rates = bracket.rates
    cost = sum(rates[unit] * amounts[unit] for unit in found.charged)  # in 1e-24 USD
    if found.fee and bracket.per_call:
        cost += bracket.per_call * amounts.get(PER_CALL, PICO)
    if isinstance(cost, int) and not cost % PICO:
        return cost // PICO
    return round(Fraction(cost, PICO))


def billed(price: Linear, amounts: Mapping[str, int]) -> Mapping[str, int]:
    """With the least that is charged for."""
    if not price.audio_seconds_min:
        return amounts
    seconds = amounts.get("audio_seconds") or amounts.get("input_audio_seconds")
    if not seconds:
        return amounts
    least = max(seconds, price.audio_seconds_min * PICO)
    return {**amounts, **dict.fromkeys(("audio_seconds", "input_audio_seconds"), least)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of a call by which units it reports and uses, whatever their amounts."""

    fault: Note | None = None  # why it has no cost
    caveat: Note | None = None  # why its cost is partial
    doubt: Note | None = None  # about what was reported, where the cost is sure
    fee: bool = True  # whether what every call costs is due
    charged: tuple[str, ...] = ()  # the units that were used and have a rate
    # What amounts may contradict: totals, parts before what they are parts of, each with those of its parts that were
    # used; and parts without a rate, each with its total.
    nested: tuple[tuple[str, tuple[str, ...]], ...] = ()
    beside: tuple[tuple[str, str], ...] = ()
    by_caller: bool = False  # whether it is charged by a price that the caller named


@lru_cache(maxsize=VERDICTS_MAX)
def verdict(price: Linear, operation: str, *, failed: bool, reported: frozenset[str], used: frozenset[str]) -> Verdict:
    if not reported and (failed or not price.per_call_only):
        return Verdict(Note(Reason.USAGE_MISSING, "usage not reported"))
    if missing := _missing(price, operation, failed, reported):
        return Verdict(Note(Reason.USAGE_MISSING, missing))
    if contradiction := _without_total(price, reported, used):
        return Verdict(Note(Reason.USAGE_CONTRADICTORY, contradiction))
    unpriced = sorted(unit for unit in used | _overlaps(price, reported, used) if not price.covers(unit))
    if unpriced and not any(price.counts(unit) for unit in used) and not price.brackets[0].per_call:
        return Verdict(Note(Reason.QUANTITY_UNPRICED, f"no price for {', '.join(unpriced)}"))
    used_nothing = not used and "input_tokens" in reported and not failed
    return Verdict(
        caveat=joined(_caveats(price, operation, reported, used, unpriced)),
        doubt=USED_NOTHING if used_nothing else None,
        fee=bool(used) or not failed,  # a call that failed before it used anything owes none
        charged=tuple(unit for unit in price.units if unit in used),
        nested=_nested(price, used),
        beside=tuple(
            (part, total)
            for part in (used & DIMENSIONS.keys()) - price.units
            for total in price.units
            if is_part(part, total)
        ),
        by_caller=bool(price.callers & (used | {PER_CALL})),
    )


def _overlaps(price: Linear, reported: Set[str], used: Set[str]) -> Set[str]:
    """What may be both of two units that were used, where one is charged by a rule. Tokens of images may have been
    cached, and the rule does not speak of cached ones. What was reported is known."""
    return {overlap(unit, other) for unit in price.same.keys() & used for other in used} - {""} - reported


def _caveats(
    price: Linear, operation: str, reported: Set[str], used: Set[str], unpriced: Sequence[str]
) -> Iterator[Note]:
    yield from price.caveats
    without = [unit for unit in unpriced if not price.counts(unit)]
    if without:
        yield Note(Reason.QUANTITY_UNPRICED, f"no price for {', '.join(without)}")
    as_total = [unit for unit in unpriced if price.counts(unit)]
    if as_total:
        rate = "a rate of their own" if len(as_total) > 1 else "a rate of its own"
        yield Note(Reason.QUANTITY_UNPRICED, f"{', '.join(as_total)} without {rate}, charged as the total")
    if unsplit := _unsplit(price, operation, reported, used):
        yield Note(Reason.SPLIT_MISSING, unsplit)


def _unsplit(price: Linear, operation: str, reported: Set[str], used: Set[str]) -> str:
    """Why the total alone does not say what the call costs: some tokens of it cost otherwise than text does."""
    for total, direction in (("output_tokens", "output"), ("input_tokens", "input")):
        if total not in used or any(modality(unit, direction) for unit in reported):
            continue
        # Models take images and sound beside text and say so; a transcription is of sound, and of sound alone.
        dear = price.dear(direction) if direction == "output" or operation == "transcription" else ()
        if direction == "output" and operation in MADE_OF:
            dear = dear or {f"output_{MADE_OF[operation]}_tokens"}
        if dear:
            return f"{total} without how many of them are {' or '.join(sorted(dear))}"
    return ""


def _missing(price: Linear, operation: str, failed: bool, reported: frozenset[str]) -> str:
    """A chat needs both token totals, an embedding the input, where the price charges for them.

    Any other operation may be metered in other units, but once it reports one total it needs the other too. A failed
    call is priced by whatever was reported: it may have ended before anything came out.
    """
    reports_tokens = not TOKEN_TOTALS.isdisjoint(reported)
    if failed or not (operation in ("chat", "embedding") or reports_tokens):
        return ""
    needed = {"input_tokens"} if operation == "embedding" else TOKEN_TOTALS
    return next((f"{unit} not reported" for unit in sorted(needed - reported) if price.charges(unit)), "")


def _without_total(price: Linear, reported: frozenset[str], used: frozenset[str]) -> str:
    """Free quantities may name a part without its total, or parts that overlap."""
    totals = price.units | ({"input_tokens"} if len(price.brackets) > 1 else set())
    return next(_parts_without(totals - reported, sorted(used & DIMENSIONS.keys())), "")


def _parts_without(totals: Set[str], used: Sequence[str]) -> Iterator[str]:
    for total in sorted(totals):
        yield from (f"{part} reported without {total}" for part in used if is_part(part, total))
        yield from (f"{a} and {b} reported without {total}" for a, b in combinations(used, 2) if _meet(a, b, total))


def _meet(one: str, other: str, both: str) -> bool:
    """Cached tokens and audio tokens meet in the cached audio tokens: without those nothing tells the two apart."""
    return dimensions(one) | dimensions(other) == dimensions(both)


def _nested(price: Linear, used: Set[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Totals with parts that were used, parts before what they are parts of."""
    units = [unit for unit in reversed(price.brackets[0].rates) if unit in DIMENSIONS]
    parts = [unit for unit in units if unit in used]
    totals = {total for total in units if any(is_part(part, total) for part in parts)}
    order = [unit for unit in units if totals and (unit in used or unit in totals)]
    return tuple((total, tuple(part for part in order[:at] if is_part(part, total))) for at, total in enumerate(order))


def _above_total(found: Verdict, amounts: Mapping[str, int]) -> str:
    """The parts of a total may not exceed it. Where a part was used, its total was reported."""
    rest: dict[str, int] = {}
    for total, parts in found.nested:
        left = amounts[total]
        for part in parts:
            left -= rest[part]
        if left < 0:
            return f"the parts of {total} exceed it"
        rest[total] = left
    for part, total in found.beside:
        if amounts[part] > amounts[total]:
            return f"the parts of {total} exceed it"
    return ""
