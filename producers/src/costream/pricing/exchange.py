"""Prices in other currencies as prices in USD: an entry becomes one for each span in which one exchange rate holds.

A rate holds from its moment until the next one of its currency. So a new rate changes nothing before it, and what holds
is told like any other price: by the dates of an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from costream.pricing.entries import USD, ExchangeRate, PriceEntry, PriceFile, PricesRefused, read
from costream.pricing.names import DATA

SHIPPED_RATES_FILE: Final = "exchange_rates.toml"
BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


def shipped_rates() -> tuple[ExchangeRate, ...]:
    """Undated, for those who have none of their own yet."""
    return read((DATA / SHIPPED_RATES_FILE).read_text("utf-8"), file=SHIPPED_RATES_FILE).exchange_rate


def load_all(files: Mapping[str, str]) -> dict[str, tuple[PriceEntry, ...]]:
    """The entries of TOML files by their names, in their order, in USD. Raises ``PricesRefused`` with every fault of
    all of them."""
    read_files, faults = dict[str, PriceFile](), list[str]()
    for name, text in files.items():
        try:
            read_files[name] = read(text, file=name)
        except PricesRefused as error:
            faults += error.faults
    rates = _rates_of(read_files.values())
    for name, file in read_files.items():
        faults += _faults(name, file, rates)
    if faults:
        raise PricesRefused(faults)
    return {
        name: tuple(in_usd for entry in file.price for in_usd in _in_usd(entry, rates))
        for name, file in read_files.items()
    }


def shipped_in_use(files: Mapping[str, str]) -> list[ExchangeRate]:
    """The shipped rates that prices of these files go by, since the files have none of the currency."""
    read_files = [read(text, file=name) for name, text in files.items()]
    own = {rate.currency for file in read_files for rate in file.exchange_rate}
    asked = {entry.currency for file in read_files for entry in file.price if entry.exchange_rate is None}
    asked |= {price.currency for file in read_files for price in file.credit_price}
    return [rate for rate in shipped_rates() if rate.currency in asked - own]


Rates = Mapping[str, Mapping[datetime, ExchangeRate]]  # by currency, and the moment from which each holds


def _rates_of(files: Iterable[PriceFile]) -> Rates:
    """Those that are shipped, and over them those of the files: of two from one moment the later one counts."""
    rates: dict[str, dict[datetime, ExchangeRate]] = {}
    for rate in (*shipped_rates(), *(rate for file in files for rate in file.exchange_rate)):
        rates.setdefault(rate.currency, {})[rate.valid_from or BEGINNING] = rate
    return rates


def _faults(name: str, file: PriceFile, rates: Rates) -> Iterator[str]:
    for at, entry in enumerate(file.price, start=1):
        if entry.currency != USD and entry.exchange_rate is None and entry.currency not in rates:
            told = f"currency: there is no exchange rate of {entry.currency}: add an [[exchange_rate]] of it"
            yield f"{name}: entry {at} ({entry.provider}/{entry.models[0]}): {told}"
    for at, price in enumerate(file.credit_price, start=1):
        if price.currency != USD and price.currency not in rates:
            told = f"currency: there is no exchange rate of {price.currency}: add an [[exchange_rate]] of it"
            yield f"{name}: credit price {at}: {told}"


def _in_usd(entry: PriceEntry, rates: Rates) -> Iterator[PriceEntry]:
    """The entry with an exchange rate, once for each span in which one holds; without one before the first."""
    if entry.currency == USD or entry.exchange_rate is not None:
        yield entry
        return
    of_currency = rates[entry.currency]
    starts = sorted({BEGINNING, *of_currency})
    for start, end in pairwise([*starts, None]):
        assert start is not None, "the last one alone has no end"
        first = max(start, entry.valid_from or BEGINNING)
        after = min(end, entry.valid_to) if end and entry.valid_to else end or entry.valid_to
        if after is None or first < after:
            rate = of_currency.get(start)
            yield entry.model_copy(
                update={
                    "valid_from": None if first == BEGINNING else first,
                    "valid_to": after,
                    "exchange_rate": rate.per_usd if rate else None,
                }
            )
