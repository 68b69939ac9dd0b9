"""The book that calls are priced by: this build's prices, and over them the own prices of the newest revision.

A revision counts for what is worked on from then on. What was priced before keeps its price.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Final

import structlog

from costream.pricing import PriceBook
from costream.pricing.entries import PricesRefused
from costream.pricing.exchange import shipped_rates
from costream.pricing.money import DayRates, told
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revision
from sinks.errors import PricesNotUnderstood
from stream.runtime.stage import Stage
from stream.runtime.stalls import Stalls

LOOK_SECONDS: Final = 5.0  # how long a worker may price by a revision that is not the newest any more

log = structlog.get_logger(__name__)


def book_of(found: Revision | None, bundled: PriceBook, *, where: str) -> PriceBook:
    """The prices of this build, and over them those of a revision. Raises ``PricesNotUnderstood``."""
    try:
        return bundled.with_files(found.files) if found else bundled
    except PricesRefused as error:
        assert found is not None, "no files, no faults"
        raise PricesNotUnderstood(where=where, revision=found.number, faults=error.faults) from None


def book_in_force(reader: Reader) -> PriceBook:
    """By what a worker of this build would price now. Raises ``PricesNotUnderstood``, and what any question raises."""
    return book_of(PRICES.newest(reader), PriceBook.bundled(), where=reader.address.url)


def _rates_of(files: Mapping[str, str]) -> DayRates:
    return DayRates(told(files).exchange_rates, shipped=shipped_rates())


class PriceRevisions:
    """One book for all threads, exchanged as a whole."""

    def __init__(self, reader: Reader, bundled: PriceBook, *, looking: Stage, stalls: Stalls) -> None:
        self._reader, self._bundled, self._looking, self._stalls = reader, bundled, looking, stalls
        self._number, self._book, self._rates = 0, bundled, _rates_of({})
        self._refused: PricesNotUnderstood | None = None
        self._lock = threading.Lock()  # who takes partitions over looks too, and the older answer must not come last

    def book(self) -> PriceBook:
        """Raises ``PricesNotUnderstood`` where the newest revision is none that this build can read."""
        if self._refused:
            raise self._refused
        return self._book

    def rates(self) -> DayRates:
        """What money is worth by day, by the revision that is priced by."""
        return self._rates

    def look(self) -> None:
        """Take over the newest revision, if it is another."""
        with self._lock:
            self._look()

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._looking.run(self._stalls.insist, self.look, doing="looking for new prices")

    def _look(self) -> None:
        found = PRICES.newest(self._reader, above=self._number)
        if found is None:
            return
        try:
            self._book = book_of(found, self._bundled, where=self._reader.address.url)
        except PricesNotUnderstood as error:
            self._refused = error
        else:
            self._number, self._refused, self._rates = found.number, None, _rates_of(found.files)
            log.info("prices taken over", revision=found.number, files=list(found.files), digest=found.digest)
