"""Why a call has no cost, or not a sure one: a closed set of codes, stored as ``cost_reason``.

Each comes with a ``Note`` for a person, stored as ``cost_detail``: which name, which unit, which rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    # No cost at all: unpriced.
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"
    NO_PRICE_AT_THAT_TIME = "no_price_at_that_time"
    NO_EXCHANGE_RATE = "no_exchange_rate"
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


# What each says of a cost, and when it is given.
REASONS: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.UNKNOWN_PROVIDER: ("unpriced", "no table has the provider"),
    Reason.UNKNOWN_MODEL: ("unpriced", "the table of the provider does not have the model"),
    Reason.NO_PRICE_AT_THAT_TIME: (
        "unpriced",
        "no price held then; or partial, where it goes by a calendar that has ended",
    ),
    Reason.NO_EXCHANGE_RATE: ("unpriced", "the price is in another currency, and no exchange rate held then"),
    Reason.NO_RATE: ("unpriced", "the table lists the model, and no rate for it"),
    Reason.USAGE_MISSING: ("unpriced", "no usage was reported, or not a total that the price needs"),
    Reason.USAGE_CONTRADICTORY: ("unpriced", "the parts of a total exceed it, come without it, or come twice"),
    Reason.COST_TOO_LARGE: ("unpriced", "the cost is above 999,999 USD"),
    Reason.QUANTITY_UNPRICED: (
        "partial; unpriced if nothing has a price",
        "a unit that was used has no price of its own; a part of a total is charged as the total then",
    ),
    Reason.SPLIT_MISSING: (
        "partial",
        "tokens of one kind cost more than those of another, and a total alone was reported",
    ),
    Reason.SERVICE_TIER_UNPRICED: ("partial", "the service tier has no price; charged as the standard one"),
    Reason.INFERENCE_GEO_UNPRICED: ("partial", "the place has no price; charged as without a place"),
    Reason.BASE_MODEL_PRICE: ("partial", "charged at the rate of the model that it was made of"),
    Reason.BORROWED_PRICE: ("partial", "the price is that of another provider's table"),
    Reason.ZERO_USAGE: ("priced", "a call that succeeded reports no token in and none out: look at who publishes it"),
}


@dataclass(frozen=True, slots=True)
class Note:
    reason: Reason
    detail: str


def joined(notes: Iterable[Note]) -> Note | None:
    """One note of several: the reason of the first, the details of all."""
    several = tuple(notes)
    return Note(several[0].reason, "; ".join(note.detail for note in several)) if several else None
