"""What money is worth by day: exchange rates, the price of a credit, and what features are sold for in credits.

Prices of calls go by moments. What is shown in another currency, and what a feature earns, go by days of UTC: a day
goes by what holds at its first moment. So sums by hour, day and month are the same money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Protocol, TypeVar

from costream.pricing.entries import ExchangeRate, PriceFile, read

BEGINNING: Final = date(1970, 1, 1)  # of what has no date

T = TypeVar("T")


class _Dated(Protocol):
    @property
    def valid_from(self) -> datetime | None: ...


D = TypeVar("D", bound=_Dated)


@dataclass(frozen=True, slots=True)
class RateOfDays:
    """What one USD is worth in a currency, from a day on."""

    currency: str
    first_day: date
    per_usd: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class CreditPriceOfDays:
    """What one credit is sold for, from a day on."""

    first_day: date
    price: Decimal
    currency: str
    source: str


@dataclass(frozen=True, slots=True)
class FeatureCreditsOfDays:
    """How many credits a call of a feature is sold for, from a day on; None from where it has none any more."""

    feature: str
    first_day: date
    credits: Decimal | None


@dataclass(frozen=True, slots=True)
class Money:
    """All of it, each in the order of its days; without what is shipped. The warehouse has columns of these names."""

    exchange_rates: Sequence[RateOfDays]
    credit_prices: Sequence[CreditPriceOfDays]
    feature_credits: Sequence[FeatureCreditsOfDays]


def told(files: Mapping[str, str]) -> Money:
    """What files of own prices say of it. Of two from one day the later one counts, in a file and among files.

    Raises ``PricesRefused``.
    """
    read_files = [read(text, file=name) for name, text in files.items()]
    return Money(
        exchange_rates=_last(
            (
                RateOfDays(rate.currency, first_day(rate.valid_from), rate.per_usd, rate.source)
                for rate in _by_moment(rate for file in read_files for rate in file.exchange_rate)
            ),
            lambda rate: (rate.currency, rate.first_day),
        ),
        credit_prices=_last(
            (
                CreditPriceOfDays(first_day(price.valid_from), price.price, price.currency, price.source)
                for price in _by_moment(price for file in read_files for price in file.credit_price)
            ),
            lambda price: ("", price.first_day),
        ),
        feature_credits=_credits(read_files),
    )


class DayRates:
    """What one USD is worth in a currency on a day of UTC: the published rates, and under them those that are
    shipped."""

    def __init__(self, published: Iterable[RateOfDays], *, shipped: Iterable[ExchangeRate] = ()) -> None:
        self._rates: dict[str, dict[date, Decimal]] = {}
        for rate in shipped:
            self._rates.setdefault(rate.currency, {})[first_day(rate.valid_from)] = rate.per_usd
        for of_days in published:
            self._rates.setdefault(of_days.currency, {})[of_days.first_day] = of_days.per_usd

    @property
    def currencies(self) -> Set[str]:
        """Of which there is a rate for some day."""
        return self._rates.keys()

    def __call__(self, currency: str, day: date) -> Decimal | None:
        return _at(self._rates.get(currency, {}), day)


@dataclass(frozen=True, slots=True)
class MoneyDifference:
    """What is worth something else from a day on. ``kind`` is of KINDS; ``name`` is a currency, a feature, or empty;
    ``old`` and ``new`` are text, None where there is none."""

    kind: str
    name: str
    first_day: date
    old: str | None
    new: str | None


RATE, CREDIT_PRICE, CREDITS = KINDS = ("exchange_rate", "credit_price", "feature_credits")


def differences(before: Money, after: Money, *, shipped: Sequence[ExchangeRate] = ()) -> list[MoneyDifference]:
    """What changes between two, from each day at which it becomes another change. Both have the ``shipped`` rates."""
    of_both = _by_name(before, shipped), _by_name(after, shipped)
    found = []
    for kind, name in sorted({*of_both[0], *of_both[1]}, key=lambda one: (KINDS.index(one[0]), one[1])):
        old, new = (side.get((kind, name), {}) for side in of_both)
        last: tuple[str | None, str | None] = (None, None)
        for day in sorted({*old, *new}):
            now = _at(old, day), _at(new, day)
            if now[0] != now[1] and now != last:
                found.append(MoneyDifference(kind, name, day, *now))
            last = now
    return found


_Told = dict[tuple[str, str], dict[date, str | None]]  # by kind and name, what is told from a day on


def _by_name(money: Money, shipped: Sequence[ExchangeRate]) -> _Told:
    by_name: _Told = {}
    for rate in shipped:
        by_name.setdefault((RATE, rate.currency), {})[first_day(rate.valid_from)] = f"{rate.per_usd:f}"
    for of_days in money.exchange_rates:
        by_name.setdefault((RATE, of_days.currency), {})[of_days.first_day] = f"{of_days.per_usd:f}"
    for price in money.credit_prices:
        by_name.setdefault((CREDIT_PRICE, ""), {})[price.first_day] = f"{price.price:f} {price.currency}"
    for one in money.feature_credits:
        amount = None if one.credits is None else f"{one.credits:f}"
        by_name.setdefault((CREDITS, one.feature), {})[one.first_day] = amount
    return by_name


def _at(of_days: Mapping[date, T], day: date) -> T | None:
    known = [since for since in of_days if since <= day]
    return of_days[max(known)] if known else None


def first_day(moment: datetime | None) -> date:
    """The first day of UTC that begins at ``moment`` or after it."""
    if moment is None:
        return BEGINNING
    at = moment.astimezone(UTC)
    day = at.date() if at.timetz() == time(tzinfo=UTC) else at.date() + timedelta(days=1)
    return max(day, BEGINNING)


def _by_moment(dated: Iterable[D]) -> list[D]:
    """Of two that begin within one day, the later one holds at the first moment of the next."""
    earliest = datetime.min.replace(tzinfo=UTC)
    return sorted(dated, key=lambda one: one.valid_from or earliest)


def _last(of_days: Iterable[T], key: Callable[[T], tuple[str, date]]) -> list[T]:
    kept = {key(one): one for one in of_days}
    return [kept[at] for at in sorted(kept)]


def _credits(files: Iterable[PriceFile]) -> list[FeatureCreditsOfDays]:
    """Of several that hold on a day the one that stands last counts."""
    entries = [entry for file in files for entry in file.feature_credits]
    found = []
    for feature in sorted({entry.feature for entry in entries}):
        spans = [
            (first_day(entry.valid_from), first_day(entry.valid_to) if entry.valid_to else date.max, entry.credits)
            for entry in entries
            if entry.feature == feature
        ]
        before: Decimal | None = None
        for start in sorted({edge for first, after, _ in spans for edge in (first, after) if edge < date.max}):
            holding = [amount for first, after, amount in spans if first <= start < after]
            now = holding[-1] if holding else None
            if now != before:
                found.append(FeatureCreditsOfDays(feature, start, now))
            before = now
    return found
