"""The price table inside the genai-prices package: dated, tiered, exact, and the same on every machine.

The table that was installed is the table that counts: nothing is fetched, and no global of the package is set. Prices
of service tiers (batch, flex, priority, fast) stand over those of the standard tier, rate by rate, as in the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import Final

import genai_prices
from genai_prices.data_units import unit_data
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from rapidfuzz import fuzz, process

from costream.events import NAME_CHARS_MAX
from costream.pricing.names import provider_id, spellings
from costream.pricing.rates import PICO, Bracket, Linear, NoPrice, Period, Resolution, TimeOfDay
from costream.pricing.reasons import Note, Reason
from costream.pricing.sku import Sku
from costream.pricing.units import TOKEN_FAMILY

# The table writes a free model down without rates; its name alone tells it from one whose price is not known.
FREE_SUFFIX: Final = ":free"
FREE: Final = (Bracket.of(-1, {"input_tokens": 0, "output_tokens": 0}),)

GROQ_WHISPER: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
GROQ_AUDIO_SECONDS_MIN: Final = 10  # Groq charges every transcription for at least ten seconds

_UNITS: Final[Mapping[str, tuple[str, int]]] = {
    definition["price_key"]: (unit, definition["per"]) for unit, definition in unit_data.items()
}


NEAREST_MIN: Final = 70  # percent of their letters that two names must share for one to be suggested for the other

# Keys by which the table tells its tiers apart. Their values are those of ``service_tier``.
TIER_KEYS: Final = ("service_tier", "processing", "speed")

# Of whom a provider takes models over at the same price: Microsoft sells OpenAI's, Google sells Anthropic's. Any other
# price from another provider's table may be wrong, and says so.
SAME_PRICE_AS: Final[Mapping[str, str]] = {"azure": "openai", "google": "anthropic"}


@dataclass(frozen=True, slots=True)
class _Dated:
    """One price of a model's history: in force from a day on, or in a part of every day, or always."""

    effective: str
    starts: date | None
    period: Period | None
    price: Linear


@dataclass(frozen=True, slots=True)
class _Found:
    """A model, the provider whose table has it, and why its price may be another."""

    table: Provider
    model: ModelInfo
    name: str  # the shortest by which it is found: many are known by what they begin with or hold
    notes: tuple[Note, ...]
    sure: bool  # whether the name stands for this very model


class BundledPrices:
    """A price source over the providers of genai-prices; every price is translated once, when this is built."""

    version = f"genai-prices/{genai_prices.__version__}"

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.providers = list(providers)
        self._by_id = {provider.id: provider for provider in self.providers}
        # By identity: a model found through another provider's table must keep its own prices, and ids repeat there.
        self._owners = {id(model): provider for provider in providers for model in provider.models}
        self._histories = {
            id(model): _history(self.version, provider, model) for provider in providers for model in provider.models
        }
        self._names = list(self._by_id)
        self._models = {provider.id: [model.id.lower() for model in provider.models] for provider in providers}
        self._homes = {model.id.lower(): provider.id for provider in reversed(providers) for model in provider.models}
        self._tiers = lru_cache(maxsize=FOUND_MAX)(self._of_tier)
        self._found = lru_cache(maxsize=FOUND_MAX)(self._find)

        periods = (dated.period for history in self._histories.values() for dated in history)
        self.changes = {moment for period in periods if period for moment in (period.start, period.end)}

    @classmethod
    @cache  # half a second, and the same all along
    def load(cls) -> BundledPrices:
        from genai_prices.data import providers

        return cls(providers)

    def resolve(self, sku: Sku, on: date) -> Resolution:
        """The price in force on a day in UTC; names are the event's own."""
        found = self._found(sku.provider, sku.model)
        if isinstance(found, NoPrice):
            return found
        notes = [*found.notes, *([] if sku.standard_geo else [sku.geo_unpriced])]
        history = self._histories[id(found.model)]
        if not any(dated.price.units or dated.price.brackets[0].per_call for dated in history):
            return NoPrice.of(Reason.NO_RATE, f"{self.version} lists no rate for {_named(sku)}")
        if not sku.standard_tier:
            starts = _tier_starts(found.model, sku.service_tier, on) if self._is_own(found) else None
            if starts is None:
                notes.append(sku.tier_unpriced)
            else:
                history = self._tiers(id(found.model), sku.service_tier, starts)
        return _in_force([_doubted(dated, tuple(notes)) for dated in history] if notes else history, on)

    def spelling(self, sku: Sku) -> str | None:
        """As what the table knows the model; None if it does not."""
        found = self._found(sku.provider, sku.model)
        return None if isinstance(found, NoPrice) else found.name

    def name_of(self, provider: str, model: str) -> str | None:
        """As the table writes it, where it does at all; in small letters what it knows by a rule for many names."""
        found = self._found(provider, model)
        if isinstance(found, NoPrice) or not found.sure:
            return None
        lowered = found.name.lower()
        name = next((name for name in _written(found.model) if name.lower() == lowered), lowered)
        return name if len(name) <= NAME_CHARS_MAX else None

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        """The price that is named after the ``@``."""
        version, _, effective = price_version.partition("@")
        if version != self.version:
            return None
        found = self._found(sku.provider, sku.model)
        if isinstance(found, NoPrice):
            return found
        history = self._histories[id(found.model)]
        if "/" in effective:
            _, _, starts = effective.partition(":")
            history = self._tiers(id(found.model), sku.service_tier, _tier_starts_of(starts))
        unknown = NoPrice.of(Reason.UNKNOWN_MODEL, f"{self.version} has no price '{effective}' for {_named(sku)}")
        return next((dated.price for dated in history if dated.effective == effective), unknown)

    def _find(self, provider: str, model_name: str) -> _Found | NoPrice:
        table = self._by_id.get(provider_id(provider))
        if table is None:
            known = _nearest(provider_id(provider), self._names)
            return NoPrice.of(Reason.UNKNOWN_PROVIDER, f"no prices known for provider '{provider}'{known}")
        spelled = list(spellings(table.id, model_name))
        for name, note in spelled:
            if model := self._model_of(table, name):
                owner = self._owners[id(model)]
                borrowed = owner.id not in (table.id, SAME_PRICE_AS.get(table.id))
                lent = Note(Reason.BORROWED_PRICE, f"the price is that of provider '{owner.id}'") if borrowed else None
                same = [other for other, doubt in spelled if not doubt and self._model_of(table, other) is model]
                notes = tuple(doubt for doubt in (note, lent) if doubt)
                return _Found(table, model, same[-1] if same else name, notes, sure=note is None)
        sku = Sku(provider, model_name)
        known = self._known_elsewhere(model_name) or _nearest(model_name, self._models[table.id])
        return NoPrice.of(Reason.UNKNOWN_MODEL, f"no price known for {_named(sku)}{known}")

    def _model_of(self, table: Provider, name: str) -> ModelInfo | None:
        return table.find_model(name, all_providers=self.providers)

    def _known_elsewhere(self, model: str) -> str:
        elsewhere = self._homes.get(model.lower())
        return f"; provider '{elsewhere}' has one of that name" if elsewhere else ""

    def _is_own(self, found: _Found) -> bool:
        return self._owners[id(found.model)].id == found.table.id

    def _of_tier(self, model_id: int, tier: str, starts: date) -> tuple[_Dated, ...]:
        provider = self._owners[model_id]
        model = next(model for model in provider.models if id(model) == model_id)
        return _tier_history(self.version, provider, model, tier, starts)


FOUND_MAX: Final = 4_096  # models by their names, and prices of tiers: a layer asks as what a model is known, too


def _written(model: ModelInfo) -> Iterator[str]:
    """The names of a model that stand in the table, letter by letter."""
    yield model.id
    clauses: list[MatchLogic] = [model.match]
    while clauses:
        clause = clauses.pop()
        if isinstance(clause, ClauseEquals):
            yield clause.equals
        elif isinstance(clause, ClauseOr):
            clauses += reversed(clause.or_)


def _named(sku: Sku) -> str:
    return f"model '{sku.model}' of provider '{sku.provider}'"


def _nearest(name: str, known: Sequence[str]) -> str:
    """``known`` are in small letters."""
    found = process.extractOne(name.lower(), known, scorer=fuzz.ratio, score_cutoff=NEAREST_MIN)
    return f"; the nearest known is '{found[0]}'" if found else ""


def _doubted(dated: _Dated, caveats: tuple[Note, ...]) -> _Dated:
    return replace(dated, price=replace(dated.price, caveats=caveats))


def _history(version: str, provider: Provider, model: ModelInfo) -> tuple[_Dated, ...]:
    if isinstance(model.prices, ModelPrice):
        return (_dated(version, provider, model, None, model.prices),)
    return tuple(_dated(version, provider, model, entry.constraint, entry.prices) for entry in model.prices)


def _tier_starts(model: ModelInfo, tier: str, on: date) -> date | None:
    """The day from which the prices of a tier hold that hold on a day; None where the table has none then."""
    days = [_starts(variant) for variant in _variants(model, tier, on)]
    return max(days, default=None)


def _variants(model: ModelInfo, tier: str, on: date) -> list[PriceVariant]:
    """Those of a tier that hold on a day, in the order of the table, which is that of their rank."""
    contexts = [{key: tier} for key in TIER_KEYS]
    return [variant for variant in model.price_variants or () if variant.when in contexts and _starts(variant) <= on]


def _starts(variant: PriceVariant) -> date:
    constraint = variant.constraint
    assert constraint is None or isinstance(constraint, StartDateConstraint), "a tier starts on a day"
    return date.min if constraint is None else constraint.start_date


def _tier_starts_of(text: str) -> date:
    return date.min if text == "base" else date.fromisoformat(text)


def _tier_history(version: str, provider: Provider, model: ModelInfo, tier: str, on: date) -> tuple[_Dated, ...]:
    """Rate by rate what the tier costs, and as the standard one where the tier names no rate: sure of what is not
    tokens, which costs the same in all tiers."""
    overrides: dict[str, Decimal | TieredPrices] = {}
    for variant in _variants(model, tier, on):
        overrides = _rates(variant.prices) | overrides
    if not overrides:
        return _history(version, provider, model)
    entries = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
    label = f"/{tier}:{'base' if on == date.min else on}"
    history = []
    for entry in entries:
        standard = _rates(entry.prices)
        dated = _dated(version, provider, model, entry.constraint, ModelPrice(**(standard | overrides)), label=label)
        left = frozenset(_UNITS[key][0] for key in standard.keys() - overrides.keys())
        history.append(replace(dated, price=replace(dated.price, unsure=left & TOKEN_FAMILY)))
    return tuple(history)


def _dated(
    version: str,
    provider: Provider,
    model: ModelInfo,
    constraint: StartDateConstraint | TimeOfDateConstraint | None,
    prices: ModelPrice,
    *,
    label: str = "",
) -> _Dated:
    starts = constraint.start_date if isinstance(constraint, StartDateConstraint) else None
    period = _period(constraint) if isinstance(constraint, TimeOfDateConstraint) else None
    effective = f"{period.start:%H:%M}-{period.end:%H:%M}Z" if period else starts.isoformat() if starts else "base"
    effective += label
    least = GROQ_AUDIO_SECONDS_MIN if provider.id == "groq" and model.id in GROQ_WHISPER else 0
    brackets = FREE if model.id.endswith(FREE_SUFFIX) and not _rates(prices) else _brackets(prices)
    return _Dated(effective, starts, period, Linear(f"{version}@{effective}", brackets, audio_seconds_min=least))


def _period(constraint: TimeOfDateConstraint) -> Period:
    return Period(_utc(constraint.start_time), _utc(constraint.end_time))


def _utc(moment: time) -> time:
    """The package reads a time without a zone as UTC."""
    return datetime.combine(_ANY_DAY, moment, moment.tzinfo or UTC).astimezone(UTC).time()


_ANY_DAY: Final = date.fromisoformat("1970-01-01")  # the zones of the table have the same offset on all


def _rates(prices: ModelPrice) -> dict[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _brackets(prices: ModelPrice) -> tuple[Bracket, ...]:
    rates = _rates(prices)
    starts = {tier.start for rate in rates.values() if isinstance(rate, TieredPrices) for tier in rate.tiers}
    return tuple(
        Bracket.of(above, dict(_unit_price(key, _rate_above(rate, above)) for key, rate in rates.items()))
        for above in (-1, *sorted(starts))
    )


def _rate_above(rate: Decimal | TieredPrices, above: int) -> Decimal:
    if isinstance(rate, Decimal):
        return rate
    return next((tier.price for tier in reversed(rate.tiers) if tier.start <= above), rate.base)


def _unit_price(key: str, rate: Decimal) -> tuple[str, Fraction]:
    unit, per = _UNITS[key]
    return unit, Fraction(rate) * PICO / per


def _in_force(history: Sequence[_Dated], on: date) -> Linear | TimeOfDay:
    """The last price whose condition holds; where none holds, the first."""
    periods: list[tuple[Period, Linear]] = []
    certain = history[0].price
    for dated in reversed(history):
        if dated.period:
            periods.append((dated.period, dated.price))
        elif dated.starts is None or dated.starts <= on:
            certain = dated.price
            break
    return TimeOfDay(tuple(periods), otherwise=certain) if periods else certain
