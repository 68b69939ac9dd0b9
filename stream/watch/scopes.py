"""What an alert about 60 minutes is about: all calls together, or those with one value of a dimension."""

from __future__ import annotations

from typing import Final, NamedTuple

from sinks.clickhouse.vocabulary import DIMENSIONS

SYSTEM: Final = "system"


class Value(NamedTuple):
    """Of a dimension, such as a feature's name. It may be empty: calls may have none."""

    dimension: str
    value: str

    @property
    def scope(self) -> str:
        return f"{self.dimension}={self.value}"


def value_of(scope: str) -> Value | None:
    """None of all calls together."""
    dimension, is_named, value = scope.partition("=")
    return Value(dimension, value) if is_named and dimension in DIMENSIONS else None
