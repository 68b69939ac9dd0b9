"""What changes between two books of prices: for which model, from when, and which price of which unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from costream.pricing.book import PriceBook
from costream.pricing.entries import PriceEntry
from costream.pricing.rates import Exact, Linear, NoPrice
from costream.pricing.sku import Sku
from costream.pricing.units import PER_CALL
from costream.pricing.validity import ALL, turns

Prices = dict[tuple[int, str], Exact]  # of each unit, by the input tokens above which a call pays it


@dataclass(frozen=True, slots=True)
class Difference:
    """``old`` and ``new`` are in 1e-12 USD for one of the unit; None where there is no price."""

    sku: Sku
    since: datetime
    unit: str
    above: int  # the input tokens above which a call pays it; -1 for all calls
    old: Exact | None
    new: Exact | None


def differences(
    old: PriceBook, new: PriceBook, *, named: Sequence[PriceEntry], known: Sequence[tuple[str, str]], since: datetime
) -> Iterator[Difference]:
    """Of every model that an entry names, at every moment from ``since`` on at which its price may change; of ``known``
    providers and models those that a star stands for. One that goes on is told once, and so is one that comes again
    with an hour or a day of the week."""
    for sku in dict.fromkeys(sku for entry in named for sku in _skus(entry, known)):
        entries = [entry for entry in named if any(one == sku for one in _skus(entry, known))]
        before: set[tuple[tuple[int, str], Exact | None, Exact | None]] = set()
        bounds = _bounds(entries, since)
        for moment in _moments(entries, since):
            was_at, is_at = old.at(sku, moment), new.at(sku, moment)
            kept = _rules(was_at) & _rules(is_at)  # a change of the total says it all
            found = set(_changes(_prices(was_at, kept), _prices(is_at, kept)))
            for (above, unit), was, becomes in sorted(found - before, key=lambda change: change[0]):
                yield Difference(sku, moment, unit, above, was, becomes)
            before = found if moment in bounds else before | found


def _changes(old: Prices, new: Prices) -> Iterator[tuple[tuple[int, str], Exact | None, Exact | None]]:
    """What a call pays otherwise, and from how many input tokens on. A price goes on until the next one of its unit, so
    where only one of the two has a tier the other is held against it by what a call pays there."""
    told = dict[str, tuple[Exact | None, Exact | None]]()
    for above, unit in sorted(old.keys() | new.keys()):
        was, becomes = _paid(old, above, unit), _paid(new, above, unit)
        if was != becomes and told.get(unit) != (was, becomes):
            yield (above, unit), was, becomes
        told[unit] = was, becomes


def _paid(prices: Prices, above: int, unit: str) -> Exact | None:
    """By a call with more input tokens than that, up to the next tier."""
    tiers = [tier for tier, one in prices if one == unit and tier <= above]
    return prices[max(tiers), unit] if tiers else None


def _skus(entry: PriceEntry, known: Sequence[tuple[str, str]]) -> Iterator[Sku]:
    for model in entry.models:
        if not model.endswith(ALL):
            yield Sku.of(entry.provider, model, entry.service_tier, entry.inference_geo)
            continue
        start = model.removesuffix(ALL).lower()
        for provider, name in known:
            if provider == entry.provider and name.lower().startswith(start):
                yield Sku.of(entry.provider, name, entry.service_tier, entry.inference_geo)


def _moments(entries: Sequence[PriceEntry], since: datetime) -> list[datetime]:
    """Where an entry begins or ends, and, where one goes by the hour, each turn of the week that follows."""
    bounds = _bounds(entries, since)
    if not any(entry.when for entry in entries):
        return sorted(bounds)
    clocks = {at for entry in entries for at in turns(entry)}
    week = {
        datetime.combine(bound.date() + timedelta(days=day), clock, UTC)
        for bound in bounds
        for day in range(8)
        for clock in clocks
    }
    return sorted(bounds | {moment for moment in week if moment > since})


def _bounds(entries: Sequence[PriceEntry], since: datetime) -> set[datetime]:
    ends = (bound for entry in entries for bound in (entry.valid_from, entry.valid_to))
    return {since, *(bound for bound in ends if bound and bound > since)}


def _rules(price: Linear | NoPrice) -> Set[tuple[str, str]]:
    """The units that are charged as a total, each with it."""
    if isinstance(price, NoPrice):
        return set()
    return {(unit, rule.total) for unit, rule in price.same.items() if price.covers(unit)}


def _prices(price: Linear | NoPrice, kept: Set[tuple[str, str]]) -> Prices:
    """Of every unit, but for those with a rule that is kept."""
    if isinstance(price, NoPrice):
        return {}
    units = {*price.units, *(unit for unit, _ in _rules(price))} - {unit for unit, _ in kept}
    has_fee = any(bracket.per_call for bracket in price.brackets)
    fee = {(bracket.above, PER_CALL): bracket.per_call for bracket in price.brackets if has_fee}
    return fee | {(bracket.above, unit): bracket.charged(unit) for bracket in price.brackets for unit in units}
