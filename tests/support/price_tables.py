"""Builds that know other prices and names than one another: what an upgrade, or its way back, brings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from costream.pricing import Bracket, Linear, NoPrice, PriceBook, Reason, Resolution, Sku


class Table:
    """A price table with one rate, in 1e-12 USD a token, for the models that it knows."""

    changes = ()

    def __init__(self, version: str, models: Collection[str], *, rate: int) -> None:
        self.version, self._models = version, models
        self._price = Linear(f"{version}@base", (Bracket.of(-1, {"input_tokens": rate, "output_tokens": rate}),))

    def resolve(self, sku: Sku, on: date) -> Resolution:
        if sku.model in self._models:
            return self._price
        return NoPrice.of(Reason.UNKNOWN_MODEL, f"{self.version} does not know {sku.model}")

    def spelling(self, sku: Sku) -> str | None:
        return sku.model if sku.model in self._models else None

    def name_of(self, provider: str, model: str) -> str | None:
        return model if model in self._models else None

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        return self._price if price_version.startswith(self.version) else None


class Build(PriceBook):
    """A book of one table, with other names of its own: of providers, and of models."""

    def __init__(self, table: Table, providers: Mapping[str, str], models: Mapping[str, str]) -> None:
        super().__init__([table])
        self._providers, self._models = providers, models

    def canonical(self, provider: str, model: str) -> tuple[str, str]:
        return self._providers.get(provider, provider), self._models.get(model, model)


FIRST = Table("first", ["gpt-4o-mini"], rate=150)
AS_SENT = Build(FIRST, {}, {})  # a release that kept every name as it was sent
BUILDS = (
    Build(FIRST, {"google-gla": "google"}, {"GPT-4o-mini": "gpt-4o-mini"}),
    Build(Table("second", ["gpt-4o-mini", "nobody-knows"], rate=400), {"google-gla": "gcp", "OpenAI": "openai"}, {}),
    Build(Table("third", [], rate=0), {"OpenAI": "openai"}, {"GPT-4o-mini": "gpt-4o-mini-2024"}),
)
