"""The price table inside the genai-prices package: dated, tiered, exact, and the same on every machine.

The table that was installed is the table that counts: nothing is fetched, and no global of the package is set. Prices
for batch, flex and priority processing are not used: an event does not say how it was processed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Final

import genai_prices
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from costream.pricing.rates import PICO, Bracket, Linear, NoPrice, Period, Resolution, TimeOfDay

# Names of the OpenTelemetry GenAI conventions (gen_ai.provider.name, and gen_ai.system before it) and of common
# clients, by the id of the table. The package's own matching is not used: to it, azure.ai.openai is openai, and so is
# any name that has "openai" in it.
PROVIDER_ALIASES: Final[Mapping[str, str]] = {
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure-openai": "azure",
    "azure_openai": "azure",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "together-ai": "together",
    "together_ai": "together",
    "voyage": "voyageai",
    "x_ai": "x-ai",
    "xai": "x-ai",
}

# The table writes a free model down without rates; its name alone tells it from one whose price is not known.
FREE_SUFFIX: Final = ":free"
FREE: Final = (Bracket.of(-1, {"input_tokens": 0, "output_tokens": 0}),)

GROQ_WHISPER: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
GROQ_AUDIO_SECONDS_MIN: Final = 10  # Groq charges every transcription for at least ten seconds

_UNITS: Final[Mapping[str, tuple[str, int]]] = {
    definition["price_key"]: (unit, definition["per"]) for unit, definition in unit_data.items()
}


@dataclass(frozen=True, slots=True)
class _Dated:
    """One price of a model's history: in force from a day on, or in a part of every day, or always."""

    effective: str
    starts: date | None
    period: Period | None
    price: Linear


class BundledPrices:
    """A price source over the providers of genai-prices; every price is translated once, when this is built."""

    version = f"genai-prices/{genai_prices.__version__}"

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = list(providers)
        self._by_id = {provider.id: provider for provider in self._providers}
        # By identity: a model found through another provider's table must keep its own prices, and ids repeat there.
        self._histories = {
            id(model): _history(self.version, provider, model) for provider in providers for model in provider.models
        }

        periods = (dated.period for history in self._histories.values() for dated in history)
        self.changes = {moment for period in periods if period for moment in (period.start, period.end)}

    @classmethod
    def load(cls) -> BundledPrices:
        from genai_prices.data import providers

        return cls(providers)

    def resolve(self, provider: str, model: str, on: date) -> Resolution:
        """The price in force on a day in UTC; names are the event's own."""
        found = self._find(provider, model)
        return found if isinstance(found, NoPrice) else _in_force(found, on)

    def lookup(self, effective: str, provider: str, model: str) -> Linear | NoPrice:
        """The price that ``price_version`` names after its ``@``."""
        found = self._find(provider, model)
        if isinstance(found, NoPrice):
            return found
        unknown = NoPrice(f"{self.version} has no price '{effective}' for model '{model}' of provider '{provider}'")
        return next((dated.price for dated in found if dated.effective == effective), unknown)

    def _find(self, provider: str, model: str) -> Sequence[_Dated] | NoPrice:
        table = self._by_id.get(_provider_id(provider))
        if table is None:
            return NoPrice(f"no prices known for provider '{provider}'")
        for name, caveat in _spellings(table.id, model):
            if found := table.find_model(name, all_providers=self._providers):
                return self._rated(found, provider, model, caveat)
        return NoPrice(f"no price known for model '{model}' of provider '{provider}'")

    def _rated(self, found: ModelInfo, provider: str, model: str, caveat: str) -> Sequence[_Dated] | NoPrice:
        history = self._histories[id(found)]
        if not any(dated.price.units or dated.price.brackets[0].per_call for dated in history):
            return NoPrice(f"{self.version} lists no rate for model '{model}' of provider '{provider}'")
        return [replace(dated, price=replace(dated.price, caveat=caveat)) for dated in history] if caveat else history


def _provider_id(provider: str) -> str:
    name = provider.strip().lower()
    return PROVIDER_ALIASES.get(name, name)


def _spellings(provider_id: str, model: str) -> Iterator[tuple[str, str]]:
    """How the table may know a model, the surest first, each with the caveat that it brings."""
    yield model, ""
    prefix, slash, name = model.partition("/")
    if slash and _provider_id(prefix) == provider_id:
        yield name, ""
    else:
        name = model
    if name.lower().startswith("ft:"):
        base = name.split(":")[1]
        yield base, f"fine-tuned model charged at the rate of its base '{base}'"


def _history(version: str, provider: Provider, model: ModelInfo) -> tuple[_Dated, ...]:
    if isinstance(model.prices, ModelPrice):
        return (_dated(version, provider, model, None, model.prices),)
    return tuple(_dated(version, provider, model, entry.constraint, entry.prices) for entry in model.prices)


def _dated(
    version: str,
    provider: Provider,
    model: ModelInfo,
    constraint: StartDateConstraint | TimeOfDateConstraint | None,
    prices: ModelPrice,
) -> _Dated:
    starts = constraint.start_date if isinstance(constraint, StartDateConstraint) else None
    period = _period(constraint) if isinstance(constraint, TimeOfDateConstraint) else None
    effective = f"{period.start:%H:%M}-{period.end:%H:%M}Z" if period else starts.isoformat() if starts else "base"
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
