"""What a price is for: a model of a provider, in a service tier, in a place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from costream.pricing.names import folded
from costream.pricing.reasons import Note, Reason

# What providers call the tier that a call is in unless another was asked for, and the place where nothing was chosen.
STANDARD_TIERS: Final = frozenset({"", "default", "standard", "on_demand"})
STANDARD_GEOS: Final = frozenset({"", "global", "not_available"})


# Other names of tiers, as providers write them.
TIERS: Final[Mapping[str, str]] = {"on_demand_flex": "flex", "on_demand_priority": "priority"}


class Sku(NamedTuple):
    """Names as an event has them. ``service_tier`` is the tier that served the call, ``inference_geo`` the place where
    the model ran; both folded, and empty where nothing was said."""

    provider: str
    model: str
    service_tier: str = ""
    inference_geo: str = ""

    @classmethod
    def of(cls, provider: str, model: str, service_tier: str = "", inference_geo: str = "") -> Sku:
        """From the fields of an event."""
        tier = folded(service_tier)
        return cls(provider, model, TIERS.get(tier, tier), folded(inference_geo))

    @property
    def standard_tier(self) -> bool:
        return self.service_tier in STANDARD_TIERS

    @property
    def standard_geo(self) -> bool:
        return self.inference_geo in STANDARD_GEOS

    @property
    def tier_unpriced(self) -> Note:
        told = f"no price for service tier '{self.service_tier}', charged as the standard one"
        return Note(Reason.SERVICE_TIER_UNPRICED, told)

    @property
    def geo_unpriced(self) -> Note:
        told = f"no price for inference in '{self.inference_geo}', charged as without a place"
        return Note(Reason.INFERENCE_GEO_UNPRICED, told)
