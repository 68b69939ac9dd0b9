"""The arithmetic of a cost, line by line: how much of each unit, times its price; and which of them a rule prices."""

from __future__ import annotations

from dataclasses import dataclass

from costream.pricing.quote import Call, billed
from costream.pricing.rates import PICO, Exact, Linear
from costream.pricing.units import PER_CALL, is_part


@dataclass(frozen=True, slots=True)
class Item:
    """``amount`` in 1e-12 of the unit: what is charged at this price, without the parts that have one of their own.
    ``price`` in 1e-12 USD for one."""

    unit: str
    amount: int
    price: Exact

    @property
    def cost(self) -> Exact:
        """In 1e-24 USD."""
        return self.amount * self.price


def items(price: Linear, call: Call) -> tuple[Item, ...]:
    """Of a call that has a cost: the sum of their costs is what ``quote`` rounds."""
    amounts = billed(price, call.amounts)
    bracket = price.bracket(amounts.get("input_tokens", 0))
    prices = bracket.prices()
    left: dict[str, int] = {}
    for unit in reversed(bracket.rates):  # parts before what they are parts of
        left[unit] = amounts.get(unit, 0) - sum(left[part] for part in left if is_part(part, unit))
    charged = [Item(unit, left[unit], prices[unit]) for unit in bracket.rates if left[unit]]
    if bracket.per_call and (any(amounts.values()) or not call.failed):
        charged.append(Item(PER_CALL, amounts.get(PER_CALL, PICO), bracket.per_call))
    return tuple(charged)


@dataclass(frozen=True, slots=True)
class Within:
    """``amount``, in 1e-12 of the unit, costs what ``total`` does, which it is counted in, by the rule of an entry."""

    unit: str
    amount: int
    total: str
    by: str


def within(price: Linear, call: Call) -> tuple[Within, ...]:
    """What of a call is charged as its total because a rule says so."""
    used = ((unit, call.amounts[unit], price.same[unit]) for unit in sorted(price.same) if call.amounts.get(unit))
    return tuple(Within(unit, amount, rule.total, rule.by) for unit, amount, rule in used if price.covers(unit))
