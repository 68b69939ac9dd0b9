"""Prices in files: negotiated rates, rate cards of what no table has, and corrections of the table.

    [[price]]
    provider = "perplexity"
    models = ["sonar"]
    valid_from = 2025-01-01
    source = "https://docs.perplexity.ai/getting-started/pricing, read on 2026-11-01"
    rates.requests = { price = "5", per = "1K" }

An entry names the rates that it changes, and the units that are charged as their total (``same``). For the others, what
lies under it stays in force. Of several that hold at a moment, the later one wins, in a file and among files. ``read``
tells every fault of a file at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from costream import files
from costream.events import NAME_CHARS_MAX, UNIT, matches
from costream.files import Entries, FileRefused, Strict, above_zero, decimal_text, described
from costream.pricing.names import provider_id
from costream.pricing.rates import PICO
from costream.pricing.units import DIMENSIONS, is_part

USD: Final = "USD"
CURRENCY: Final = r"^[A-Z]{3}$"
PER: Final[Mapping[str, int]] = {"1": 1, "1K": 10**3, "1M": 10**6, "1B": 10**9}
PER_SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3_600}
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class PricesRefused(FileRefused):
    """Files of prices with faults in them."""


Price = Annotated[Decimal, BeforeValidator(decimal_text), described("in the currency of the entry")]


PerUSD = Annotated[
    Decimal,
    BeforeValidator(decimal_text),
    AfterValidator(above_zero),
    described("of the currency for one USD, such as 0.92"),
]


def _currency(value: str) -> str:
    if not matches(CURRENCY, value):
        raise ValueError(f"'{value}' is no currency: three capital letters, such as EUR")
    return value


Currency = Annotated[str, AfterValidator(_currency), Field(json_schema_extra={"pattern": CURRENCY})]


class Rate(Strict):
    """A price for so many of a unit."""

    price: Price
    per: Literal["1", "1K", "1M", "1B", "second", "minute", "hour"] = "1"

    def of(self, unit: str) -> Fraction:
        """In 1e-12 of its currency for one of the unit."""
        if self.per in PER:
            return Fraction(self.price) * PICO / PER[self.per]
        seconds = PER_SECONDS[self.per]
        return Fraction(self.price) * PICO / (seconds if unit.endswith("_seconds") else Fraction(seconds, 3_600))

    def fits(self, unit: str) -> bool:
        """Time is a price of units of time alone."""
        return self.per in PER or unit.endswith(("_seconds", "_hours"))


def _rates(rates: dict[str, Rate]) -> dict[str, Rate]:
    for unit, rate in rates.items():
        if not matches(UNIT, unit):
            raise ValueError(f"'{unit}' is no unit: small letters, digits and _")
        if not rate.fits(unit):
            raise ValueError(f"{unit}: a price per {rate.per} is for units that end in _seconds or _hours")
    return rates


Rates = Annotated[dict[str, Rate], AfterValidator(_rates)]


def _same(totals: dict[str, str]) -> dict[str, str]:
    faults = [fault for unit, total in totals.items() if (fault := _fault_of(unit, total, totals))]
    if faults:
        raise ValueError("; ".join(faults))
    return totals


def _fault_of(unit: str, total: str, totals: Mapping[str, str]) -> str:
    unknown = [one for one in (unit, total) if one not in DIMENSIONS]
    if unknown:
        return f"'{unknown[0]}' is no unit of the price table, and nothing is known to be a part of it"
    way = [unit, total]
    while way[-1] in totals and way[-1] not in way[:-1]:
        way.append(totals[way[-1]])
    if way[-1] == unit:
        return f"{' as '.join(way)} goes in a circle"
    if not is_part(unit, total):
        return f"{unit} is no part of {total}: only a part can be charged as its total"
    return ""


Totals = Annotated[dict[str, str], AfterValidator(_same)]


class Tier(Strict):
    """What a whole call costs that has more input tokens than ``above``."""

    above: int = Field(ge=0)
    rates: Rates = Field(min_length=1)


def _clock(value: str) -> time:
    try:
        return time.fromisoformat(value)
    except ValueError:
        raise ValueError(f"'{value}' is no time of day such as 09:30") from None


def _zone(value: str) -> str:
    try:
        zone = ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"'{value}' is no time zone such as Asia/Shanghai") from None
    if len({zone.utcoffset(datetime(2026, month, 1)) for month in range(1, 13)}) > 1:  # noqa: DTZ001 - its own clock
        raise ValueError(f"the clocks of '{value}' change within the year: write the times in UTC")
    return value


class When(Strict):
    """The times of the week at which a price holds, in a zone without changes of the clock."""

    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    windows: tuple[tuple[str, str], ...] = ()
    weekdays: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = WEEKDAYS
    not_on_holidays: Literal["", "cn"] = ""

    @property
    def offset(self) -> timedelta:
        """What the clocks of the zone are ahead of UTC."""
        return ZoneInfo(self.zone).utcoffset(datetime(2026, 1, 1)) or timedelta()  # noqa: DTZ001 - its own clock

    @property
    def spans(self) -> tuple[tuple[time, time], ...]:
        """The windows as times of day; one may run past midnight."""
        return tuple((_clock(start), _clock(end)) for start, end in self.windows)

    @model_validator(mode="after")
    def _is_a_time(self) -> Self:
        for (start, end), (opens, closes) in zip(self.windows, self.spans, strict=True):
            if opens == closes:
                raise ValueError(f"the window from {start} to {end} holds no moment")
        return self


def _moment(value: Any) -> Any:
    """A date is its first moment in UTC; a time without a zone is refused."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.min, UTC)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} has no zone: write {value.isoformat()}Z, or a date")
    return value.astimezone(UTC) if isinstance(value, datetime) else value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "description": "a date, or a time with a zone"}),
]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class PriceEntry(Strict):
    """One price, or one factor on prices, as it stands in a file."""

    provider: Annotated[Name, AfterValidator(provider_id)]
    models: tuple[Name, ...] = Field(
        min_length=1, description="as the provider writes them; a last * stands for any rest"
    )
    service_tier: str = ""
    inference_geo: str = ""
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    when: When | None = None
    currency: Currency = USD
    exchange_rate: PerUSD | None = Field(
        default=None, description="one of its own; else those of the files hold, each from its moment on"
    )
    rates: Rates = Field(default_factory=dict)
    tiers: tuple[Tier, ...] = ()
    factor: Price | None = Field(default=None, description="times what lies under it, in place of rates")
    same: Totals = Field(
        default_factory=dict, description="units that are charged as a total that they are a part of, by unit"
    )
    source: str = Field(min_length=1, description="where the price stands, and when it was read")
    note: str = ""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.exchange_rate is not None and self.currency == USD:
            raise ValueError("an exchange_rate is for a price in another currency than USD")
        if self.factor is not None and self.currency != USD:
            raise ValueError("a factor has no currency")
        if self.named and self.factor is not None:
            raise ValueError("an entry has either rates or a factor")
        if not self.named and self.factor is None and not self.same:
            raise ValueError("an entry has either rates or a factor, or says what is charged the `same`")
        if both := sorted(self.named & self.same.keys()):
            raise ValueError(f"same: {both[0]} has a rate in this entry too: give one of the two")
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError("valid_to must be after valid_from")
        if [tier.above for tier in self.tiers] != sorted({tier.above for tier in self.tiers}):
            raise ValueError("tiers must be in the order of `above`, each once")
        return self

    @property
    def named(self) -> Set[str]:
        """The units that it gives a rate to, for all calls or for large ones."""
        return {unit for rates in (self.rates, *(tier.rates for tier in self.tiers)) for unit in rates}

    @property
    def lacks_exchange(self) -> bool:
        """Whether its rates cannot be told in USD."""
        return bool(self.named) and self.currency != USD and self.exchange_rate is None

    def pico_usd(self, unit: str, rate: Rate) -> Fraction:
        """A rate of it in 1e-12 USD for one of the unit, exactly: a quotient without end is rounded with the cost."""
        price = rate.of(unit)
        return price if self.exchange_rate is None else price / Fraction(self.exchange_rate)

    @property
    def digest(self) -> str:
        """Of everything that the entry says: another price is another digest."""
        # Stored rows name entries by their digests. One without rules, or in USD, keeps that of the builds that knew
        # nothing of them.
        unsaid = {"same"} if not self.same else set()
        unsaid |= {"exchange_rate"} if self.currency == USD else set()
        said = self.model_dump(mode="json", exclude=unsaid)
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class ExchangeRate(Strict):
    """What one USD is worth in another currency, from a moment until the next rate of it."""

    currency: Currency
    per_usd: PerUSD
    valid_from: Moment | None = None
    source: str = Field(min_length=1, description="where the rate stands, and when it was read")
    note: str = ""

    @model_validator(mode="after")
    def _is_of_another(self) -> Self:
        if self.currency == USD:
            raise ValueError("one USD is one USD")
        return self


class CreditPrice(Strict):
    """What one credit is sold for, from a moment until the next one."""

    price: Price
    currency: Currency = USD
    valid_from: Moment | None = None
    source: str = Field(min_length=1, description="where the price stands, and when it was read")
    note: str = ""


class FeatureCredits(Strict):
    """How many credits a call of a feature is sold for that did not fail. Without any, a feature earns what its events
    report."""

    feature: Name
    credits: Annotated[Decimal, BeforeValidator(decimal_text), described("credits for each call that did not fail")]
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    note: str = ""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError("valid_to must be after valid_from")
        return self


class PriceFile(Strict):
    """Prices, exchange rates, what a credit is sold for, what features are sold for in credits: any of them."""

    price: tuple[PriceEntry, ...] = ()
    exchange_rate: tuple[ExchangeRate, ...] = ()
    credit_price: tuple[CreditPrice, ...] = ()
    feature_credits: tuple[FeatureCredits, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(
                "there is no [[price]], no [[exchange_rate]], no [[credit_price]] and no [[feature_credits]]"
            )
        return self


def read(text: str, *, file: str) -> PriceFile:
    """A TOML file, as it says it. Raises ``PricesRefused`` with every fault: file, entry, field and rule."""
    try:
        return files.read(text, file=file, model=PriceFile, tables=_TABLES)
    except FileRefused as error:
        raise PricesRefused(error.faults) from None


def _of_model(entry: Mapping[str, Any]) -> str:
    return "/".join([str(entry.get("provider", "?")), *map(str, entry.get("models", ())[:1])])


_TABLES: Final = {
    "price": Entries("entry", _of_model, unsaid=frozenset({"Price", "Rate"})),
    "exchange_rate": Entries("exchange rate", lambda entry: str(entry.get("currency", "?"))),
    "credit_price": Entries("credit price"),
    "feature_credits": Entries("feature credits", lambda entry: str(entry.get("feature", "?"))),
}


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of a file of prices, as TOML reads it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | PriceFile.model_json_schema(mode="validation")
