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

    def name_of(self, provider: str, model: str) -> str | None:
        """The one name, in one case, of all spellings of a model that surely cost the same; None where none is known.
        ``provider`` is an id of a table. What is found by its name has the same prices and notes, and the same name."""
        ...

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        """The price that a stored row names; None if the version is not of this table."""
        ...
