"""What a price is, and what one call costs by it: exact integers and fractions of 1e-12 USD, rounded once at the end.

A call reports amounts of *units* (``input_tokens``, ``audio_seconds``, ...). Units nest: ``cache_read_tokens`` is part
of ``input_tokens``, and whoever prices both charges the part at its own rate and only the rest at the total's. Seen the
other way round, a part costs the difference between its rate and what its totals already charge. Those differences are
the ``rates`` of a bracket, so a cost is one sum of products, in columns too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, time
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Final, TypeAlias

from genai_prices.data_units import unit_data

Exact: TypeAlias = int | Fraction  # what is whole stays an int: ten times faster than a fraction

PICO: Final = 10**12  # costs are counted in 1e-12 USD, the last digit of Decimal(18, 12)
COST_PICO_MAX: Final = 10**18 - 1  # 999,999.999999999999 USD, the most Decimal(18, 12) holds; far inside Int64

PER_CALL: Final = "requests"  # the unit of a price that every call costs once, whatever it used

TOKEN_TOTALS: Final = frozenset({"input_tokens", "output_tokens"})
# The event's token fields, by the units of the price table.
TOKEN_UNITS: Final[Mapping[str, str]] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}

VERDICTS_MAX: Final = 1_024  # of a price and the units that a call reports: 5 MB where each is as long as it can be

Dimensions: TypeAlias = frozenset[tuple[str, str]]

# A unit is a part of another when it has all of the other's dimensions, and more.
DIMENSIONS: Final[Mapping[str, Dimensions]] = {
    unit: frozenset(definition["dimensions"].items()) for unit, definition in unit_data.items() if unit != PER_CALL
}


def dimensions(unit: str) -> Dimensions:
    """A unit outside the table, such as ``gpu_hours``, is a part of nothing."""
    return DIMENSIONS.get(unit) or frozenset({("unit", unit)})


@lru_cache(maxsize=16_384)  # every pair of the table's units; other names come and go
def is_part(unit: str, total: str) -> bool:
    """Whether every ``unit`` is counted in ``total`` too; nothing is a part of itself."""
    return dimensions(total) < dimensions(unit)


def exact(number: Exact) -> Exact:
    return number.numerator if number.denominator == 1 else number


@dataclass(frozen=True, slots=True)
class Bracket:
    """The rates of calls with more than ``above`` input tokens; the whole call is charged by its bracket."""

    above: int
    per_call: Exact
    rates: dict[str, Exact]

    @classmethod
    def of(cls, above: int, prices: Mapping[str, Exact]) -> Bracket:
        """From the price of each unit in 1e-12 USD; ``requests`` is what every call costs."""
        rates: dict[str, Exact] = {}
        for unit in sorted(prices.keys() - {PER_CALL}, key=lambda unit: (len(dimensions(unit)), unit)):
            charged = sum(rate for total, rate in rates.items() if is_part(unit, total))
            rates[unit] = exact(prices[unit] - charged)
        return cls(above, exact(prices.get(PER_CALL, 0)), rates)

    def cost(self, amounts: Mapping[str, int]) -> Exact:
        """In 1e-24 USD, of amounts in 1e-12 of their units."""
        used = sum(self.rates[unit] * amount for unit, amount in amounts.items() if unit in self.rates)
        return self.per_call * PICO + used


@dataclass(frozen=True, slots=True, eq=False)  # a table holds each price once, so identity will do, and it hashes
class Linear:
    """A price that is linear in the amounts within each bracket of input tokens; the first bracket starts at zero.

    ``audio_seconds_min`` is the least a call with audio is charged for. ``caveat`` says why the true cost may be
    higher; it makes every call priced by it partial.
    """

    version: str
    brackets: tuple[Bracket, ...]
    audio_seconds_min: int = 0
    caveat: str = ""

    def bracket(self, input_tokens: int) -> Bracket:
        """By input tokens in 1e-12 of one, like all amounts."""
        return next(bracket for bracket in reversed(self.brackets) if input_tokens > bracket.above * PICO)

    @property
    def units(self) -> Set[str]:
        """The units with a rate of their own, totals before their parts."""
        return self.brackets[0].rates.keys()

    @property
    def per_call_only(self) -> bool:
        return not self.units and self.brackets[0].per_call > 0

    def covers(self, unit: str) -> bool:
        """Whether the unit, or a total that it is a part of, has a price."""
        return unit in self.units or any(is_part(unit, total) for total in self.units)

    def charges(self, unit: str) -> bool:
        return any(bracket.rates.get(unit) for bracket in self.brackets)


@dataclass(frozen=True, slots=True)
class Period:
    """A part of every day in UTC, from ``start`` up to ``end``; it runs past midnight where ``end`` comes first."""

    start: time
    end: time

    def __contains__(self, moment: time) -> bool:
        if self.end < self.start:
            return moment >= self.start or moment < self.end
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """Prices that change within the day: the first period that holds the moment decides."""

    periods: tuple[tuple[Period, Linear], ...]
    otherwise: Linear

    def at(self, moment: datetime) -> Linear:
        """The price at a moment in UTC."""
        return next((price for period, price in self.periods if moment.time() in period), self.otherwise)


@dataclass(frozen=True, slots=True)
class NoPrice:
    reason: str


Resolution: TypeAlias = Linear | TimeOfDay | NoPrice


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


@dataclass(frozen=True, slots=True)
class Partial:
    """The cost of what has a price; something that was used has none, so the true cost is higher."""

    cost_pico: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    reason: str


Quote: TypeAlias = Priced | Partial | Unpriced


def quote(price: Linear, call: Call) -> Quote:
    """What the call costs. Never a guess: usage that contradicts itself or lacks a needed part has no cost."""
    amounts = _billed(price, call.amounts)
    used = frozenset(unit for unit, amount in amounts.items() if amount)
    verdict = _verdict(price, call.operation, call.failed, frozenset(amounts), used)
    fault = verdict.fault or _above_total(price, amounts)
    if fault:
        return Unpriced(fault)
    cost = price.bracket(amounts.get("input_tokens", 0)).cost(amounts)
    cost_pico = round(Fraction(cost, PICO))  # half to even, once
    if cost_pico > COST_PICO_MAX:
        return Unpriced("the cost is above 999,999 USD, more than one event can hold")
    return Partial(cost_pico, verdict.caveat) if verdict.caveat else Priced(cost_pico)


def _billed(price: Linear, amounts: Mapping[str, int]) -> Mapping[str, int]:
    seconds = amounts.get("audio_seconds") or amounts.get("input_audio_seconds")
    if not price.audio_seconds_min or not seconds:
        return amounts
    least = max(seconds, price.audio_seconds_min * PICO)
    return {**amounts, **dict.fromkeys(("audio_seconds", "input_audio_seconds"), least)}


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What can be said of a call by which units it reports, whatever their amounts."""

    fault: str = ""  # why it has no cost
    caveat: str = ""  # why its cost is partial


@lru_cache(maxsize=VERDICTS_MAX)
def _verdict(price: Linear, operation: str, failed: bool, reported: frozenset[str], used: frozenset[str]) -> _Verdict:
    if not reported and not price.per_call_only:
        return _Verdict(fault="usage not reported")
    fault = _missing(price, operation, failed, reported) or _without_total(price, reported, used)
    if fault:
        return _Verdict(fault)
    unpriced = sorted(unit for unit in used if not price.covers(unit))
    if not unpriced:
        return _Verdict(caveat=price.caveat)
    caveat = f"no price for {', '.join(unpriced)}"
    nothing_has_one = len(unpriced) == len(used) and not price.brackets[0].per_call
    return _Verdict(fault=caveat) if nothing_has_one else _Verdict(caveat=caveat)


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
    return next(_parts_without(totals - reported, sorted(used)), "")


def _parts_without(totals: Set[str], used: Sequence[str]) -> Iterator[str]:
    for total in sorted(totals):
        yield from (f"{part} reported without {total}" for part in used if is_part(part, total))
        yield from (f"{a} and {b} reported without {total}" for a, b in combinations(used, 2) if _meet(a, b, total))


def _meet(one: str, other: str, both: str) -> bool:
    """Cached tokens and audio tokens meet in the cached audio tokens: without those nothing tells the two apart."""
    return dimensions(one) | dimensions(other) == dimensions(both)


def _above_total(price: Linear, amounts: Mapping[str, int]) -> str:
    """The parts of a total may not exceed it."""
    rest: dict[str, int] = {}
    for total, parts in _nested(price):
        rest[total] = amounts.get(total, 0) - sum(rest[part] for part in parts)
        if rest[total] < 0:
            return f"the parts of {total} exceed it"
    return ""


@lru_cache(maxsize=4_096)
def _nested(price: Linear) -> Sequence[tuple[str, Sequence[str]]]:
    """The units of a price, parts before their totals; with each, those of them that are its parts."""
    units = list(reversed(price.brackets[0].rates))
    return [(total, [part for part in units[:at] if is_part(part, total)]) for at, total in enumerate(units)]
