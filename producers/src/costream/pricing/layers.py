"""Prices of files over those of a table: rate by rate, entry by entry, at every moment of a day."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from costream.pricing.entries import PriceEntry
from costream.pricing.exchange import load_all
from costream.pricing.names import DATA, provider_id, spellings
from costream.pricing.rates import (
    OVERRIDE,
    RATE_CARD,
    Bracket,
    ChargedAs,
    Linear,
    NoPrice,
    Period,
    Resolution,
    TimeOfDay,
    by_rules,
    with_ids,
)
from costream.pricing.reasons import Note, Reason
from costream.pricing.sku import Sku
from costream.pricing.source import PriceSource
from costream.pricing.units import TOKEN_FAMILY
from costream.pricing.validity import hold, is_for, names_one, turns

SHIPPED_FILE: Final = "overrides.toml"
SHIPPED: Final = "shipped"  # the layer of corrections that come with this package
OWN: Final = "own"  # the layer of those who run it
OVERLAID_MAX: Final = 4_096


def shipped() -> tuple[PriceEntry, ...]:
    """What the table says wrong or does not say, each with a source and a date."""
    return load_all({SHIPPED_FILE: (DATA / SHIPPED_FILE).read_text("utf-8")})[SHIPPED_FILE]


class Layer:
    """A price source: the entries of files over what ``under`` says. ``name`` begins the id of each of their prices."""

    def __init__(self, name: str, files: Mapping[str, Sequence[PriceEntry]], *, under: PriceSource) -> None:
        self.name, self.under = name, under
        self.entries = tuple(entry for entries in files.values() for entry in entries)
        whole = hashlib.sha256("".join(entry.digest for entry in self.entries).encode()).hexdigest()[:12]
        self.version = f"{under.version}+{name}/{whole}"
        self.changes: Collection[time] = {*under.changes, *(at for entry in self.entries for at in turns(entry))}
        self._by_provider: dict[str, list[PriceEntry]] = {}
        for entry in self.entries:
            self._by_provider.setdefault(entry.provider, []).append(entry)
        self._by_id = {self._id(entry): entry for entry in self.entries}
        self._file_of = {entry.digest: file for file, entries in files.items() for entry in entries}
        self._overlaid = lru_cache(maxsize=OVERLAID_MAX)(self._over)

    def told(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Of these entries those that are in the layer: as they stand in their files, each with its id and the file."""
        for one in ids:
            if entry := self._by_id.get(one):
                fields = entry.model_dump(mode="json", exclude_defaults=True)
                yield {"id": one, "file": self._file_of[entry.digest], **fields}

    def resolve(self, sku: Sku, on: date) -> Resolution:
        entries = self._for(sku)
        found = self.under.resolve(sku, on)
        if not entries:
            return found
        moments = _moments(on, entries, found)
        prices = [self._at(sku, moment, found, entries) for moment in moments]
        if len(set(map(id, prices))) == 1 or all(isinstance(price, NoPrice) for price in prices):
            return prices[0]
        return _of_day([moment.time() for moment in moments], prices)

    def spelling(self, sku: Sku) -> str | None:
        """As what the table or an entry knows the model; None if neither does."""
        return self.under.spelling(sku) or (sku.model if self._for(sku) else None)

    def name_of(self, provider: str, model: str) -> str | None:
        """As what lies under it writes the model, or else as an entry does, but for one with a star, which names none.
        A spelling that an entry is for and the others are not has a price, and so a name, of its own."""
        below, entries = self.under.name_of(provider, model), self._naming(provider, model)
        if below and self._naming(provider, below) == entries:
            return below
        spelled = self._names(provider, model)
        written = (name for entry in entries for name in entry.models if name.lower() in spelled)
        return next((name for name in written if self._is_same(provider, model, name)), None)

    def _is_same(self, provider: str, model: str, name: str) -> bool:
        """Whether the model surely costs the same by this name of it."""
        if self._naming(provider, model) != self._naming(provider, name):
            return False
        if below := self.under.name_of(provider, model):
            return below == self.under.name_of(provider, name)
        return not any(self.under.spelling(Sku(provider, one)) for one in (model, name))

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        """The price that ``price_version`` names: that of the table, and over it the entries by their ids."""
        parts = price_version.split("+")
        ids = [part for part in parts if part.startswith(f"{self.name}/")]
        below = "+".join(part for part in parts if part not in ids)
        price = self.under.lookup(below, sku) if below else NO_PRICE
        if price is None or not ids:
            return price
        missing = [one for one in ids if one not in self._by_id]
        if missing:
            return NoPrice.of(Reason.UNKNOWN_MODEL, f"{self.version} has no price '{missing[0]}'")
        return self._overlaid(price, tuple(one for one in self._by_id if one in ids))

    def _for(self, sku: Sku) -> list[PriceEntry]:
        candidates = self._by_provider.get(provider_id(sku.provider))
        if not candidates:
            return []
        names = self._names(sku.provider, sku.model)
        return [entry for entry in candidates if is_for(entry, sku, names)]

    def _naming(self, provider: str, model: str) -> list[PriceEntry]:
        """The entries that name the model, of any tier and place."""
        candidates = self._by_provider.get(provider_id(provider))
        names = self._names(provider, model) if candidates else []
        return [entry for entry in candidates or () if names_one(entry, names)]

    def _names(self, provider: str, model: str) -> list[str]:
        """The spellings of a model by which an entry may be for it, in small letters."""
        names = [name.lower() for name, note in spellings(provider_id(provider), model) if note is None]
        known = self.under.spelling(Sku(provider, model))
        if known and known.lower() in names:  # what the table knows by a longer name is not what has the shorter one
            return names[: names.index(known.lower()) + 1]
        return names

    def _at(self, sku: Sku, moment: datetime, found: Resolution, entries: Sequence[PriceEntry]) -> Linear | NoPrice:
        price = found.at(moment) if isinstance(found, TimeOfDay) else found
        said = [(entry, hold(entry, moment)) for entry in entries if self._applies(entry, sku, price)]
        holding = [entry for entry, held in said if held.holds]
        if not holding:
            return self._before(sku, moment, entries) if isinstance(price, NoPrice) else price
        laid = self._overlaid(price, tuple(map(self._id, holding)))
        doubts = [Note(Reason.NO_PRICE_AT_THAT_TIME, held.unsure) for _, held in said if held.holds and held.unsure]
        if isinstance(price, NoPrice):  # a card alone, and none of its entries names the tier or the place
            doubts += [] if sku.standard_tier or any(one.service_tier for one in holding) else [sku.tier_unpriced]
            doubts += [] if sku.standard_geo or any(one.inference_geo for one in holding) else [sku.geo_unpriced]
        return replace(laid, caveats=(*laid.caveats, *doubts)) if doubts and isinstance(laid, Linear) else laid

    def _applies(self, entry: PriceEntry, sku: Sku, price: Linear | NoPrice) -> bool:
        """A price of the standard tier is none of another tier, but where that is charged as the standard one."""
        if sku.standard_tier or entry.service_tier:
            return True
        return isinstance(price, NoPrice) or any(note.reason == Reason.SERVICE_TIER_UNPRICED for note in price.caveats)

    def _before(self, sku: Sku, moment: datetime, entries: Sequence[PriceEntry]) -> NoPrice:
        told = f"no price known for model '{sku.model}' of provider '{sku.provider}' at {moment:%Y-%m-%d %H:%M} UTC"
        starts = min((entry.valid_from for entry in entries if entry.valid_from), default=None)
        first = f"; the first known is of {starts:%Y-%m-%d %H:%M} UTC" if starts and moment < starts else ""
        return NoPrice.of(Reason.NO_PRICE_AT_THAT_TIME, told + first)

    def _over(self, price: Linear | NoPrice, ids: tuple[str, ...]) -> Linear | NoPrice:
        for one in ids:
            price = _laid(price, self._by_id[one], one)
        return price

    def _id(self, entry: PriceEntry) -> str:
        return f"{self.name}/{entry.digest}"


NO_PRICE: Final = NoPrice.of(Reason.UNKNOWN_MODEL, "the table has no price")


def _laid(price: Linear | NoPrice, entry: PriceEntry, id_of_entry: str) -> Linear | NoPrice:
    """An entry over a price: the rates that it names, or its factor on all of them; and its rules."""
    if isinstance(price, NoPrice) and not entry.named:
        return price
    if entry.lacks_exchange:
        told = f"a price in {entry.currency}, and no exchange rate of that time is known"
        return NoPrice.of(Reason.NO_EXCHANGE_RATE, told)
    base = Linear("", (Bracket.of(-1, {}),), source=RATE_CARD) if isinstance(price, NoPrice) else price
    laid = base
    if entry.factor is not None:
        scaled = tuple(_scaled(bracket, Fraction(entry.factor)) for bracket in base.brackets)
        laid = _marked(replace(base, brackets=scaled), entry, id_of_entry, named=base.units)
    elif entry.named:
        laid = _marked(replace(base, brackets=_with_rates(base, entry)), entry, id_of_entry, named=entry.named)
    return _ruled(laid, entry, id_of_entry)


def _with_rates(price: Linear, entry: PriceEntry) -> tuple[Bracket, ...]:
    thresholds = sorted({bracket.above for bracket in price.brackets} | {tier.above for tier in entry.tiers})
    brackets = list[Bracket]()
    rates = {unit: entry.pico_usd(unit, rate) for unit, rate in entry.rates.items()}
    for above in thresholds:
        under = next(bracket for bracket in reversed(price.brackets) if bracket.above <= above)
        for tier in entry.tiers:
            if tier.above == above:
                rates = rates | {unit: entry.pico_usd(unit, rate) for unit, rate in tier.rates.items()}
        brackets.append(Bracket.of(above, {**under.prices(), **rates}))
    return tuple(brackets)


def _ruled(price: Linear, entry: PriceEntry, id_of_entry: str) -> Linear:
    """With the rules of the entry, and those from under it but for the units that it gives a rate to. Its version names
    rules only where they change a rate."""
    said = {unit: ChargedAs(total, id_of_entry) for unit, total in entry.same.items()}
    rules = {unit: rule for unit, rule in {**price.same, **said}.items() if unit in said or unit not in entry.named}
    # A total without a rate has nothing that a part of it could be charged as.
    rules = {unit: rule for unit, rule in rules.items() if price.counts(rule.total)}
    ruled = replace(price, same=rules)
    brackets = by_rules(price.brackets, rules)
    if brackets == price.brackets:
        return ruled
    source = RATE_CARD if price.source == RATE_CARD else OVERRIDE
    return replace(ruled, brackets=brackets, version=ruled.made_of, source=source)


def _marked(price: Linear, entry: PriceEntry, id_of_entry: str, *, named: Collection[str]) -> Linear:
    """Under a version that names the entry too; what it settles is no doubt any more."""
    settled = {Reason.BORROWED_PRICE}
    settled |= {Reason.SERVICE_TIER_UNPRICED} if entry.service_tier else set()
    settled |= {Reason.INFERENCE_GEO_UNPRICED} if entry.inference_geo else set()
    # The rates that the entry does not name are still those of another provider, tier or place.
    others = price.units & TOKEN_FAMILY if any(note.reason in settled for note in price.caveats) else set()
    return replace(
        price,
        version=with_ids(price.version, [id_of_entry]),
        caveats=tuple(note for note in price.caveats if note.reason not in settled),
        unsure=(price.unsure | others).difference(named),
        source=RATE_CARD if price.source == RATE_CARD else OVERRIDE,
    )


def _scaled(bracket: Bracket, factor: Fraction) -> Bracket:
    return Bracket.of(bracket.above, {unit: factor * rate for unit, rate in bracket.prices().items()})


def _moments(on: date, entries: Sequence[PriceEntry], found: Resolution) -> list[datetime]:
    """Of a day, its first moment and every one at which a price may change."""
    clocks = {time.min, *(at for entry in entries for at in turns(entry))}
    if isinstance(found, TimeOfDay):
        clocks |= {at for period, _ in found.periods for at in (period.start, period.end)}
    return [datetime.combine(on, clock, UTC) for clock in sorted(clocks)]


def _of_day(starts: Sequence[time], prices: Sequence[Linear | NoPrice]) -> Resolution:
    ends = [*starts[1:], time.min]
    periods = tuple((Period(start, end), price) for start, end, price in zip(starts, ends, prices, strict=True))
    return TimeOfDay(periods[:-1], otherwise=prices[-1])
