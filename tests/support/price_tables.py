"""Builds that know other prices than one another: what an upgrade, or its way back, brings."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from costream.pricing import Bracket, Linear, NoPrice, PriceBook, Resolution


class Table:
    """A price table with one rate, in 1e-12 USD a token, for the models that it knows."""

    changes = ()

    def __init__(self, version: str, models: Collection[str], *, rate: int) -> None:
        self.version, self._models = version, models
        self._price = Linear(f"{version}@base", (Bracket.of(-1, {"input_tokens": rate, "output_tokens": rate}),))

    def resolve(self, provider: str, model: str, on: date) -> Resolution:
        return self._price if model in self._models else NoPrice(f"{self.version} does not know {model}")

    def lookup(self, effective: str, provider: str, model: str) -> Linear | NoPrice:
        return self._price


BUILDS = (
    PriceBook([Table("first", ["gpt-4o-mini"], rate=150)]),
    PriceBook([Table("second", ["gpt-4o-mini", "nobody-knows"], rate=400)]),
    PriceBook([Table("third", [], rate=0)]),
)
