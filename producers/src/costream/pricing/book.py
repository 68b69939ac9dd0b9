"""Which price was in force: for a provider, a model and a day; or by the version that a priced row names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from functools import cache, lru_cache
from typing import Any, Final

from costream.events import NAME_CHARS_MAX
from costream.pricing.bundled import BundledPrices
from costream.pricing.exchange import load_all
from costream.pricing.layers import OWN, SHIPPED, SHIPPED_FILE, Layer, shipped
from costream.pricing.names import provider_id
from costream.pricing.rates import Linear, NoPrice, Resolution, TimeOfDay
from costream.pricing.reasons import Reason
from costream.pricing.sku import Sku
from costream.pricing.source import PriceSource

CANONICAL_MAX: Final = 8_192  # providers and models as they are sent, in memory: a producer may invent them
RESOLVED_MAX: Final = 32_768  # what was bought and a day, in memory: 90 days of 360 models, some 10 MB


class PriceUnknown(LookupError):
    """A direct look-up found no price; the stream itself never raises it, it stores the reason with the event."""


class PriceBook:
    """Price sources in the order in which they are asked; the first that knows a price decides."""

    def __init__(self, sources: Sequence[PriceSource], *, price_rev: int = 0) -> None:
        assert sources, "a price book needs a price source"
        self.sources = tuple(sources)
        self.price_rev = price_rev
        self.changes = sorted({moment for source in sources for moment in source.changes} - {time.min})
        self._resolved = lru_cache(maxsize=RESOLVED_MAX)(self._ask)
        self._canonical = lru_cache(maxsize=CANONICAL_MAX)(self._normalised)

    @classmethod
    def bundled(cls) -> PriceBook:
        """The prices of the installed genai-prices package, and over them the corrections that are shipped here."""
        return cls([_corrected_table()])

    def with_files(self, files: Mapping[str, str]) -> PriceBook:
        """This book, and prices of your own over it: the texts of TOML files by their names, of which the later ones
        win. Raises ``PricesRefused`` with every fault of all of them."""
        loaded = load_all(files)
        under, *others = self.sources
        over = Layer(OWN, loaded, under=under) if any(loaded.values()) else under
        return PriceBook([over, *others], price_rev=self.price_rev)

    def entries(self, price_version: str) -> list[dict[str, Any]]:
        """What of files stands in a price, as it stands there, and where: ``id``, ``file`` and the fields."""
        return [entry for source in self.sources for entry in _entries(source, price_version.split("+"))]

    @property
    def version(self) -> str:
        return "+".join(source.version for source in self.sources)

    def resolve(self, sku: Sku, on: date) -> Resolution:
        """The price in force on a day in UTC, or the reason why there is none."""
        return self._resolved(sku, on)

    def canonical(self, provider: str, model: str) -> tuple[str, str]:
        """The provider and the model by the names under which all their spellings are one.

        The provider by its id. The model as a table or an entry writes it, where what was sent surely is that model:
        without the path of an API, an ARN or the provider around it, and in one case. A date in a name stays, and so
        does what may change the price: the base of a fine-tuned model, a route, a zone of data. What nobody knows is
        trimmed, and a provider put into small letters. No price and no note changes by it, and a canonical name is its
        own. A name is never empty, and never longer than that of an event may be.
        """
        return self._canonical(provider, model)

    def at(self, sku: Sku, moment: datetime) -> Linear | NoPrice:
        """The one price in force at a moment in UTC."""
        price = self.resolve(sku, moment.date())
        return price.at(moment) if isinstance(price, TimeOfDay) else price

    def get_model_pricing(self, provider: str, model: str, on: date) -> Linear | TimeOfDay:
        """Like ``resolve``, for callers who cannot go on without a price. Raises ``PriceUnknown``."""
        price = self.resolve(Sku(provider, model), on)
        if isinstance(price, NoPrice):
            raise PriceUnknown(f"{price.note.detail} (model '{model}', provider '{provider}', {on}, {self.version})")
        return price

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice:
        """The price that a stored row names: with it ``quote`` gives the row's cost again."""
        for source in self.sources:
            found = source.lookup(price_version, sku)
            if found is not None:
                return found
        unknown = f"price version '{price_version}' is not of this book, which holds {self.version}"
        return NoPrice.of(Reason.UNKNOWN_MODEL, unknown)

    def _normalised(self, provider: str, model: str) -> tuple[str, str]:
        owner = provider_id(provider)
        if not 0 < len(owner) <= NAME_CHARS_MAX:  # some letters are two in small
            owner = provider.strip() or provider
        for source in self.sources:
            if name := source.name_of(owner, model):
                return owner, name
            if source.spelling(Sku(owner, model)):
                break
        return owner, model.strip() or model

    def _ask(self, sku: Sku, on: date) -> Resolution:
        first, *others = self.sources
        answer = first.resolve(sku, on)
        for source in others:
            if not isinstance(answer, NoPrice):
                break
            answer = source.resolve(sku, on)
        return answer


@cache
def _corrected_table() -> Layer:
    return Layer(SHIPPED, {SHIPPED_FILE: shipped()}, under=BundledPrices.load())


def _entries(source: PriceSource, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [*_entries(source.under, ids), *source.told(ids)] if isinstance(source, Layer) else []
