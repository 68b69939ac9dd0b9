"""What calls are measured in: the units of the price table, which is a part of which, and other names for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias

from genai_prices.data_units import unit_data

PER_CALL: Final = "requests"  # the unit of a price that every call costs once, whatever it used

TOKEN_TOTALS: Final = frozenset({"input_tokens", "output_tokens"})
# The event's token fields, by the units of the price table.
TOKEN_UNITS: Final[Mapping[str, str]] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}

# Other names for units of the table, as providers and people write them.
UNIT_ALIASES: Final[Mapping[str, str]] = {
    "calls": PER_CALL,
    "characters": "input_characters",
    "pages": "input_document_pages",
    "reasoning_tokens": "output_reasoning_tokens",
    "search_units": "rerank_searches",
    "web_search_requests": "web_searches",
    "num_search_queries": "web_searches",
}

Dimensions: TypeAlias = frozenset[tuple[str, str]]

# A unit is a part of another when it has all of the other's dimensions, and more.
DIMENSIONS: Final[Mapping[str, Dimensions]] = {
    unit: frozenset(definition["dimensions"].items()) for unit, definition in unit_data.items() if unit != PER_CALL
}
_BY_DIMENSIONS: Final[Mapping[Dimensions, str]] = {of: unit for unit, of in DIMENSIONS.items()}
TOKEN_FAMILY: Final = frozenset(unit for unit, of in DIMENSIONS.items() if ("family", "tokens") in of)

# What leaves the rate of a total as it is, by direction: text is what a rate without a modality is for, reasoning is
# output and results of tools are input to every provider of the table, a cache is written for five minutes unless said
# otherwise, and a rate for both directions is that of each. An entry may say more of a model (``Linear.same``).
SAME: Final[frozenset[tuple[str, str, str]]] = frozenset(
    {
        ("input", "modality", "text"),
        ("output", "modality", "text"),
        ("output", "token_type", "reasoning"),
        ("input", "token_type", "tool"),
        ("input", "cache_ttl", "5m"),
        ("input", "direction", "input"),
        ("output", "direction", "output"),
    }
)


def dimensions(unit: str) -> Dimensions:
    """A unit outside the table, such as ``gpu_hours``, is a part of nothing."""
    return DIMENSIONS.get(unit) or frozenset({("unit", unit)})


def is_part(unit: str, total: str) -> bool:
    """Whether every ``unit`` is counted in ``total`` too; nothing is a part of itself. A producer may invent as many
    units as it likes, so those that the table does not know are passed over first."""
    return unit in DIMENSIONS and total in DIMENSIONS and _is_part(unit, total)


@cache  # of every pair of the table's units
def _is_part(unit: str, total: str) -> bool:
    return DIMENSIONS[total] < DIMENSIONS[unit]


def is_the_same(unit: str, total: str) -> bool:
    """Whether a part of ``total`` costs what it does at every model."""
    if not is_part(unit, total):
        return False
    own = DIMENSIONS[unit]
    direction = dict(own).get("direction", "")
    return all((direction, key, value) in SAME for key, value in own - DIMENSIONS[total])


def overlap(one: str, other: str) -> str:
    """The unit of what is both, such as cached tokens of images; empty where there is none, or it is one of the two."""
    if one not in DIMENSIONS or other not in DIMENSIONS:
        return ""
    both = _BY_DIMENSIONS.get(DIMENSIONS[one] | DIMENSIONS[other], "")
    return "" if both in (one, other) else both


def modality(unit: str, direction: str) -> str:
    """What tokens that went one way are of: text, image, audio, video. Empty where they went the other way, or where
    the unit says it of some of them only, such as of those that were cached."""
    if unit not in TOKEN_FAMILY:
        return ""
    named = dict(DIMENSIONS[unit])
    return named.get("modality", "") if named["direction"] == direction and "token_type" not in named else ""


def canonical(unit: str) -> str:
    """The table's name of a unit, which is its own where the table does not know it."""
    return UNIT_ALIASES.get(unit, unit)
