"""What a table of prices answers, whatever it is read from."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, time
from typing import Protocol

from costream.pricing.rates import Linear, NoPrice, Resolution
from costream.pricing.sku import Sku


class PriceSource(Protocol):
    """A table of prices. ``version`` names its content: the same version never gives another price."""

    @property
    def version(self) -> str: ...

    @property
    def changes(self) -> Collection[time]:
        """The times of day, in UTC, at which some price of the table may change."""
        ...

    def resolve(self, sku: Sku, on: date) -> Resolution:
        """The price in force on a day in UTC, or the reason why there is none."""
        ...

    def spelling(self, sku: Sku) -> str | None:
        """As what the table knows the model; None if it does not."""
        ...

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        """The price that a stored row names; None if the version is not of this table."""
        ...
