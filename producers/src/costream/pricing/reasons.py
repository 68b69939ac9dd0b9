"""Why a call has no cost, or not a sure one: a closed set of codes, stored as ``cost_reason``.

Each comes with a ``Note`` for a person, stored as ``cost_detail``: which name, which unit, which rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    # No cost at all: unpriced.
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"
    NO_PRICE_AT_THAT_TIME = "no_price_at_that_time"
    NO_RATE = "no_rate"  # the table lists the model, and no rate for it
    USAGE_MISSING = "usage_missing"
    USAGE_CONTRADICTORY = "usage_contradictory"
    COST_TOO_LARGE = "cost_too_large"
    # No cost where nothing that was used has a price, else a partial one.
    QUANTITY_UNPRICED = "quantity_unpriced"
    # A cost that may not be the right one: partial.
    SPLIT_MISSING = "split_missing"  # tokens that cost more in one form than in another, and no word of which they were
    SERVICE_TIER_UNPRICED = "service_tier_unpriced"
    INFERENCE_GEO_UNPRICED = "inference_geo_unpriced"
    BASE_MODEL_PRICE = "base_model_price"  # a fine-tuned model, charged as the one that it was made of
    BORROWED_PRICE = "borrowed_price"  # from the table of another provider
    # A sure cost with a doubt about the usage: priced.
    ZERO_USAGE = "zero_usage"


@dataclass(frozen=True, slots=True)
class Note:
    reason: Reason
    detail: str


def joined(notes: Iterable[Note]) -> Note | None:
    """One note of several: the reason of the first, the details of all."""
    several = tuple(notes)
    return Note(several[0].reason, "; ".join(note.detail for note in several)) if several else None
