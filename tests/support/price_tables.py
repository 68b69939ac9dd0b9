"""Builds that know other prices than one another: what an upgrade, or its way back, brings."""

from __future__ import annotations

from collections.abc import Collection
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


BUILDS = (
    PriceBook([Table("first", ["gpt-4o-mini"], rate=150)]),
    PriceBook([Table("second", ["gpt-4o-mini", "nobody-knows"], rate=400)]),
    PriceBook([Table("third", [], rate=0)]),
)
