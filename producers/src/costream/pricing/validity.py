"""For what and when an entry of a file holds."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Final

from costream.pricing.entries import WEEKDAYS, PriceEntry
from costream.pricing.names import DATA, folded, provider_id
from costream.pricing.rates import Period
from costream.pricing.sku import Sku

ALL: Final = "*"


@cache
def holidays(calendar: str) -> tuple[frozenset[date], date]:
    """The days off of a calendar, and the last day that it knows of."""
    known = tomllib.loads((DATA / "holidays.toml").read_text("utf-8"))[calendar]
    return frozenset(known["days"]), known["covers_to"]


def is_for(entry: PriceEntry, sku: Sku, names: Sequence[str]) -> bool:
    """Whether the entry is for what was bought. ``names`` are the spellings of its model, in small letters. One that
    names no tier or no place is for all."""
    if entry.provider != provider_id(sku.provider) or not names_one(entry, names):
        return False
    tier, geo = folded(entry.service_tier), folded(entry.inference_geo)
    return tier in ("", sku.service_tier) and geo in ("", sku.inference_geo)


def names_one(entry: PriceEntry, names: Sequence[str]) -> bool:
    """Whether the entry names a model of its provider, of whose spellings ``names`` are all, in small letters."""
    return any(_named(model, names) for model in entry.models)


def _named(model: str, names: Sequence[str]) -> bool:
    pattern = model.lower()
    if pattern.endswith(ALL):
        return any(name.startswith(pattern.removesuffix(ALL)) for name in names)
    return pattern in names


def turns(entry: PriceEntry) -> Iterator[time]:
    """The times of day in UTC at which the entry may begin or cease to hold."""
    for moment in (entry.valid_from, entry.valid_to):
        if moment:
            yield moment.time()
    if entry.when:
        offset = entry.when.offset
        for clock in {time.min, *(at for span in entry.when.spans for at in span)}:
            yield (datetime.combine(date(2000, 1, 2), clock, UTC) - offset).time()


@dataclass(frozen=True, slots=True)
class Hold:
    """Whether an entry holds at a moment; ``unsure`` if a calendar that it goes by ends before."""

    holds: bool
    unsure: str = ""


def hold(entry: PriceEntry, moment: datetime) -> Hold:
    if (entry.valid_from and moment < entry.valid_from) or (entry.valid_to and moment >= entry.valid_to):
        return Hold(holds=False)
    if entry.when is None:
        return Hold(holds=True)
    local = moment + entry.when.offset
    in_window = not entry.when.spans or any(local.time() in Period(*span) for span in entry.when.spans)
    if not in_window or WEEKDAYS[local.weekday()] not in entry.when.weekdays:
        return Hold(holds=False)
    if not entry.when.not_on_holidays:
        return Hold(holds=True)
    days, covers_to = holidays(entry.when.not_on_holidays)
    unsure = "" if local.date() <= covers_to else f"the holidays after {covers_to} are not known"
    return Hold(holds=local.date() not in days, unsure=unsure)
