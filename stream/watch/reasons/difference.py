"""How much of the rise each thing that changed has made: amounts that add up to the whole. Pure.

What a usual hour costs is turned into what this one cost, one step after another, and each step is charged with what it
changed (chain substitution, as in price-volume-mix analysis): first as many calls as there were, at the usual cost of
one; then as many tokens a call, at the usual price of one; then by the models of this hour, each at its usual price;
then with as much output, and as much cached input, at the rates of this hour. What is left is the price of a token.
The order is always the same, so where two things changed together, the earlier one has none of the later one's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from pydantic import JsonValue

from stream.watch.reasons.evidence import Change, Evidence, Part, Rates
from stream.watch.rounding import adding_up

NAMED_MAX: Final = 3  # models, and features, that are named; the others are one sum

CALLS, TOKENS, MIX, OUTPUT, CACHED, PRICE = EFFECTS = (
    *("calls", "tokens_per_call", "model_mix", "output_share", "cached_share", "price"),
)


class Contribution(NamedTuple):
    """What one model or feature cost more than in a usual hour; without a name: all others together."""

    name: str | None
    usd: Fraction


@dataclass(frozen=True, slots=True)
class Difference:
    """What an hour cost more than a usual one, and what that is made of: by what changed, and by what each model and
    each feature brought. Each adds up to ``usd``."""

    usd: Fraction
    effects: Mapping[str, Fraction]
    contributions: Mapping[str, tuple[Contribution, ...]] = field(default_factory=dict)

    def told(self) -> dict[str, JsonValue]:
        """Decimal text in USD with six digits, that adds up."""
        effects = adding_up([*self.effects.values()], digits=6)
        return {
            "usd": f"{adding_up([self.usd], digits=6)[0]:f}",
            "effects": {kind: f"{usd:f}" for kind, usd in zip(self.effects, effects, strict=True)},
            **{by: _listed(parts) for by, parts in self.contributions.items()},
        }


def _listed(parts: tuple[Contribution, ...]) -> list[JsonValue]:
    amounts = adding_up([part.usd for part in parts], digits=6)
    return [{"name": part.name, "usd": f"{usd:f}"} for part, usd in zip(parts, amounts, strict=True)]


def difference(evidence: Evidence) -> Difference | None:
    """None without usual hours: there is nothing to compare with."""
    if evidence.usual_hours == 0:
        return None
    by = {"model": evidence.models, "feature": evidence.features}
    return Difference(
        evidence.excess_usd,
        _effects(evidence),
        {dimension: _contributions(evidence, changes) for dimension, changes in by.items() if changes},
    )


def _contributions(evidence: Evidence, changes: Mapping[str, Change]) -> tuple[Contribution, ...]:
    """Those that grew most, or fell most, by name where two are alike."""
    grown = {name: evidence.grown_usd(change) for name, change in changes.items()}
    named = sorted(grown, key=lambda name: (-abs(grown[name]), name))[:NAMED_MAX]
    rest = evidence.excess_usd - _sum(grown[name] for name in named)
    others = [Contribution(None, rest)] if rest else []
    return (*(Contribution(name, grown[name]) for name in named if grown[name]), *others)


def _effects(evidence: Evidence) -> dict[str, Fraction]:
    """All kinds, in their order."""
    return dict.fromkeys(EFFECTS, Fraction(0)) | dict(_steps(evidence))


def _steps(evidence: Evidence) -> Iterator[tuple[str, Fraction]]:
    now, usual, hours = evidence.now, evidence.usual, evidence.usual_hours
    if now.calls <= 0 or usual.calls <= 0:  # nothing is known of a call, usually or now
        yield CALLS, evidence.excess_usd
        return
    growth = Fraction(now.calls * hours, usual.calls)
    usual_usd = Fraction(usual.cost_usd) / hours
    yield CALLS, usual_usd * (growth - 1)
    by_token = now.tokens > 0 and usual.tokens > 0
    changes = [_Model(evidence, change, by_token) for change in (*evidence.models.values(), evidence.other_models)]
    measured = [model for model in changes if model.is_measured]
    as_many = _sum(model.usual_usd for model in measured) * growth  # what they cost with as many calls,
    units = _sum(model.usual_units for model in measured) * growth  # of which each is usual; there are some
    as_large = as_many * sum(model.units for model in measured) / units
    yield TOKENS, as_large - as_many
    by_models = _sum(model.at_usual_price for model in measured) - as_large
    yield MIX, by_models + _sum(model.usd - model.usual_usd * growth for model in changes if not model.is_measured)
    output, cached = _by_kind(evidence) if by_token else (Fraction(0), Fraction(0))
    yield OUTPUT, output
    yield CACHED, cached
    yield PRICE, _sum(model.usd - model.at_usual_price for model in measured) - output - cached


class _Model:
    """One model now and in a usual hour, measured in tokens or in calls."""

    def __init__(self, evidence: Evidence, change: Change, by_token: bool) -> None:
        hours = evidence.usual_hours
        self.units = _units(change.now, by_token)
        self.usual_units = Fraction(_units(change.usual, by_token), hours)
        self.usd, self.usual_usd = Fraction(change.now.cost_usd), Fraction(change.usual.cost_usd) / hours

    @property
    def is_measured(self) -> bool:
        return self.units > 0 or self.usual_units > 0

    @property
    def at_usual_price(self) -> Fraction:
        """What it would have cost now at its usual price. A new model has none, and so no change of price."""
        if self.usual_units == 0:
            return self.usd
        return self.usual_usd * self.units / self.usual_units


def _units(part: Part, by_token: bool) -> int:
    return max(0, part.tokens if by_token else part.calls)


def _by_kind(evidence: Evidence) -> tuple[Fraction, Fraction]:
    """What a larger share of output made, and a smaller share of cached input, at the rates that are known."""
    known = [
        (evidence.models[name], rates)
        for name, rates in evidence.rates.items()
        if evidence.models[name].now.tokens > 0 and evidence.models[name].usual.tokens > 0
    ]
    return _sum(_more_output(change, rates) for change, rates in known), _sum(
        _less_cached(change, rates) for change, rates in known
    )


def _more_output(change: Change, rates: Rates) -> Fraction:
    read = rates.read + change.usual.cached_share * (rates.cached - rates.read)
    return change.now.tokens * (change.now.output_share - change.usual.output_share) * (rates.written - read)


def _less_cached(change: Change, rates: Rates) -> Fraction:
    read = change.now.tokens - change.now.output_tokens
    return read * (change.now.cached_share - change.usual.cached_share) * (rates.cached - rates.read)


def _sum(parts: Iterable[Fraction]) -> Fraction:
    return sum(parts, start=Fraction(0))
