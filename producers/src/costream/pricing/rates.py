"""What a price is: exact integers and fractions of 1e-12 USD for each unit.

A call reports amounts of *units* (``input_tokens``, ``audio_seconds``, ...). Units nest: ``cache_read_tokens`` is part
of ``input_tokens``, and whoever prices both charges the part at its own rate and only the rest at the total's. Seen the
other way round, a part costs the difference between its rate and what its totals already charge. Those differences are
the ``rates`` of a bracket, so a cost is one sum of products, in columns too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from fractions import Fraction
from typing import Final, TypeAlias

from costream.pricing.reasons import Note, Reason
from costream.pricing.units import DIMENSIONS, PER_CALL, dimensions, is_part, is_the_same, modality

Exact: TypeAlias = int | Fraction  # what is whole stays an int: ten times faster than a fraction

PICO: Final = 10**12  # costs are counted in 1e-12 USD, the last digit of Decimal(18, 12)

# Where a price is from: the table, an entry of a file over it, an entry of what no table has, or the event itself.
LIST, OVERRIDE, RATE_CARD, CALLER = "list", "override", "rate_card", "caller"


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
        """From the price of each unit in 1e-12 USD, of which what is whole becomes an int; ``requests`` is what every
        call costs."""
        rates: dict[str, Exact] = {}
        for unit in sorted(prices.keys() - {PER_CALL}, key=lambda unit: (len(dimensions(unit)), unit)):
            charged = sum(rate for total, rate in rates.items() if is_part(unit, total))
            rates[unit] = exact(prices[unit] - charged)
        return cls(above, exact(prices.get(PER_CALL, 0)), rates)

    def prices(self) -> dict[str, Exact]:
        """The price of each unit, which ``of`` made the rates of."""
        whole: dict[str, Exact] = {PER_CALL: self.per_call} if self.per_call else {}
        for unit, rate in self.rates.items():
            whole[unit] = rate + sum(self.rates[total] for total in self.rates if is_part(unit, total))
        return whole

    def with_prices(self, others: Mapping[str, Exact]) -> Bracket:
        return Bracket.of(self.above, {**self.prices(), **others})

    def without(self, unit: str) -> Bracket:
        return Bracket.of(self.above, {one: price for one, price in self.prices().items() if one != unit})

    def charged(self, unit: str) -> Exact:
        """What one of the unit costs: its own price, or what the totals that it is counted in come to."""
        return sum(rate for total, rate in self.rates.items() if _counts(total, unit))


def _counts(total: str, unit: str) -> bool:
    """Whether every ``unit`` is charged by the rate of ``total`` too."""
    return unit == total or is_part(unit, total)


@dataclass(frozen=True, slots=True)
class ChargedAs:
    """A rule: a unit costs what ``total`` costs, which it is counted in. ``by`` is the id of the entry that says so."""

    total: str
    by: str


Rules: TypeAlias = Mapping[str, ChargedAs]


def by_rules(brackets: Sequence[Bracket], rules: Rules) -> tuple[Bracket, ...]:
    """The brackets, in which each unit with a rule costs what its total does. It has no rate of its own, unless other
    totals that it is counted in would make it cost something else."""
    ruled = tuple(brackets)
    for unit in sorted(rules, key=lambda unit: (len(dimensions(unit)), unit)):  # a total is right before its parts
        wanted = [bracket.charged(rules[unit].total) for bracket in ruled]
        ruled = tuple(bracket.without(unit) for bracket in ruled)
        if [bracket.charged(unit) for bracket in ruled] != wanted:
            ruled = tuple(bracket.with_prices({unit: price}) for bracket, price in zip(ruled, wanted, strict=True))
    return ruled


@dataclass(frozen=True, slots=True, eq=False)  # a table holds each price once, so identity will do, and it hashes
class Linear:
    """A price that is linear in the amounts within each bracket of input tokens; the first bracket starts at zero.

    ``audio_seconds_min`` is the least a call with audio is charged for. ``caveats`` say why the cost may be another;
    they make every call priced by it partial. ``same`` says which units cost what a total does, ``unsure`` which rates
    may not be those of this price, and ``callers`` which the caller has named. ``source`` says where it is from.
    """

    version: str
    brackets: tuple[Bracket, ...]
    audio_seconds_min: int = 0
    caveats: tuple[Note, ...] = ()
    same: Rules = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    callers: frozenset[str] = frozenset()
    source: str = LIST

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
        """Whether the unit has a rate of its own, or one that is known to be the same as its total's."""
        if unit == PER_CALL:
            return self.brackets[0].per_call > 0
        if rule := self.same.get(unit):
            return self.covers(rule.total)
        if unit in self.units:
            return unit not in self.unsure
        if unit not in DIMENSIONS:
            return False
        return any(is_the_same(unit, total) and self.covers(total) for total in (*self.units, *self.same))

    @property
    def made_of(self) -> str:
        """Its version, and after it the entries of its rules that the version need not name: they change no rate."""
        return with_ids(self.version, sorted({rule.by for rule in self.same.values()}))

    def dear(self, direction: str) -> Set[str]:
        """The kinds of tokens, by modality, that cost otherwise than those that nothing is said of."""
        return {
            unit
            for unit in self.units
            if modality(unit, direction) not in ("", "text") and any(bracket.rates[unit] for bracket in self.brackets)
        }

    def counts(self, unit: str) -> bool:
        """Whether something is paid for the unit, if only as a part of a total."""
        return any(_counts(total, unit) for total in self.units)

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

    periods: tuple[tuple[Period, Linear | NoPrice], ...]
    otherwise: Linear | NoPrice

    def at(self, moment: datetime) -> Linear | NoPrice:
        """The price at a moment in UTC."""
        return next((price for period, price in self.periods if moment.time() in period), self.otherwise)


@dataclass(frozen=True, slots=True)
class NoPrice:
    note: Note

    @classmethod
    def of(cls, reason: Reason, detail: str) -> NoPrice:
        return cls(Note(reason, detail))


Resolution: TypeAlias = Linear | TimeOfDay | NoPrice


def with_ids(version: str, ids: Iterable[str]) -> str:
    """A version that names these entries too."""
    parts = [part for part in version.split("+") if part]
    return "+".join(dict.fromkeys([*parts, *ids]))


def completed(price: Linear | NoPrice, unit_prices: Mapping[str, Exact]) -> Linear:
    """The price with those that the caller names for what the table has none of; in 1e-12 USD a unit."""
    if isinstance(price, NoPrice):
        return Linear(CALLER, (Bracket.of(-1, unit_prices),), callers=frozenset(unit_prices), source=CALLER)
    lacking = {unit: rate for unit, rate in unit_prices.items() if unit != PER_CALL and not price.covers(unit)}
    same = {unit: rule for unit, rule in price.same.items() if unit not in lacking}
    return replace(
        price,
        brackets=by_rules([bracket.with_prices(lacking) for bracket in price.brackets], same),
        same=same,
        unsure=price.unsure - lacking.keys(),
        callers=frozenset(lacking),
    )
