"""One file of rules, as it is written.

    [[budget]]
    name = "search_team"
    scope = ["user"]
    only = { team = ["search"] }
    period = "day"
    amount = "20"

    [hourly_spike]
    threshold = "4.0"

Amounts are decimal text in the currency of the rule. A budget tells each share of it that is reached, a limit the
amount that is passed. ``read`` tells every fault of a file at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from costream import files
from costream.alerts import Level
from costream.budgets import ONLY_VALUES_MAX
from costream.events import NAME_CHARS_MAX
from costream.files import Entries, FileRefused, Strict, above_zero, decimal_text, described
from costream.pricing.entries import USD, Currency, Price
from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.budgets.budget import COLUMNS, Kind
from stream.budgets.periods import Period
from stream.budgets.zones import zone
from stream.rulebook.channels import (
    KINDS,
    AnyChannel,
    EmailEntry,
    MobilePushEntry,
    ServiceEntry,
    SlackEntry,
    SmsEntry,
    WebhookEntry,
)
from stream.rulebook.words import LEVELS, NAME_MAX, LevelName, Name, level_of

OFF: Final = "off"
SHARE_MAX: Final = 100
WEEK_HOURS: Final = 168
HISTORY_HOURS_MAX: Final = 52 * WEEK_HOURS  # rollups are kept a year


class RulesRefused(FileRefused):
    """Files of rules with faults in them."""


def _with_places(most: int) -> Callable[[Decimal], Decimal]:
    """An amount times a share has 12 digits after the point, as an alert has them: no step is ever rounded."""

    def check(value: Decimal) -> Decimal:
        if value != round(value, most):
            raise ValueError(f"{value} has more than {most} digits after the point")
        return value

    return check


def _share(value: Decimal) -> Decimal:
    if value > SHARE_MAX:
        raise ValueError(f"{value} is above {SHARE_MAX}: 1 is the whole budget")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(decimal_text),
    AfterValidator(above_zero),
    AfterValidator(_with_places(8)),
    described("above 0, in the currency of the rule, with at most 8 digits after the point"),
]
Factor = Annotated[Decimal, BeforeValidator(decimal_text), AfterValidator(above_zero), described("times the usual")]
Share = Annotated[
    Decimal,
    BeforeValidator(decimal_text),
    AfterValidator(above_zero),
    AfterValidator(_with_places(4)),
    AfterValidator(_share),
    described('of the budget, with at most 4 digits after the point: "0.80" is 80 % of it'),
]


def _zone(value: str) -> str:
    zone(value)
    return value


def _level_or_off(value: Any) -> Level | None:
    return None if value == OFF else level_of(value)


LevelOrOff = Annotated[
    Level | None, BeforeValidator(_level_or_off), WithJsonSchema({"type": "string", "enum": [*LEVELS, OFF]})
]
FORECAST_PERIODS: Final = ("day", "month")
SHORTER_PERIODS: Final[Mapping[Period, tuple[str, ...]]] = {
    "hour": (),
    "day": ("hour",),
    "month": ("hour", "day"),
    "session": (),
}


def _scope(value: tuple[str, ...]) -> tuple[str, ...]:
    for word in value:
        _word(word)
    return _each_once(value)


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("a word stands in it twice")
    return value


def _word(word: str) -> str:
    if word not in COLUMNS:
        raise ValueError(f"'{word}' is nothing that a call has: one of {', '.join(COLUMNS)}")
    return word


Scope = Annotated[
    tuple[str, ...],
    AfterValidator(_scope),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": [*COLUMNS]},
            "uniqueItems": True,
            "description": "what tells one subject from another; empty is everything together",
        }
    ),
]


def _dimensions(value: tuple[str, ...]) -> tuple[str, ...]:
    for word in value:
        if word not in DIMENSIONS:
            raise ValueError(f"'{word}' is nothing whose hours are kept: one of {', '.join(DIMENSIONS)}")
    return _each_once(value)


Dimensions = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    AfterValidator(_dimensions),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "enum": [*DIMENSIONS]}, "uniqueItems": True, "minItems": 1}
    ),
]
Values = Annotated[tuple[Annotated[str, Field(max_length=NAME_CHARS_MAX)], ...], Field(min_length=1)]


ChannelNames = Annotated[
    tuple[Name, ...] | None,
    Field(
        description="the channels that it is told on, by their names or kinds, in place of those that its level is "
        "told on; an empty list: none"
    ),
]


class Threshold(Strict):
    """A share of a budget that is told when it is reached."""

    at: Share
    level: LevelName


# Of a budget that has none of its own (B-05); the whole of a budget is told in any case.
LADDER: Final = (
    Threshold.model_validate({"at": "0.80", "level": "warning"}),
    Threshold.model_validate({"at": "0.90", "level": "warning"}),
    Threshold.model_validate({"at": "0.95", "level": "critical"}),
)


class _Rule(Strict):
    name: Name
    scope: Scope = ()
    only: dict[Annotated[str, AfterValidator(_word)], Values] = Field(
        default_factory=dict, description="by a word of scopes the values that count; without it, all do"
    )
    period: Period
    amount: Amount
    currency: Currency = USD
    zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="by whose clocks its periods begin; without it COSTREAM_ZONE"
    )
    metric_name: Name | None = Field(default=None, description="of its alerts; without it its name")
    channels: ChannelNames = None
    on: bool = True
    note: str = ""

    @model_validator(mode="after")
    def _has_one_subject(self) -> Self:
        if self.period == "session" and "session" not in self.scope:
            raise ValueError('period: a session is the period of a scope with "session" in it')
        return self


WITHIN: Final[Mapping[str, str]] = {"hour": "_within_an_hour", "day": "_within_a_day"}


class Burn(Strict):
    """A share of a budget that is told when more than that is spent within an hour or a day."""

    within: Literal["hour", "day"]
    share: Share
    level: LevelName = Level.CRITICAL


class BudgetEntry(_Rule):
    """What may be spent in a period. Each share of it that is reached is told, the whole of it too."""

    thresholds: tuple[Threshold, ...] = LADDER
    burn: tuple[Burn, ...] = Field(
        default=(),
        description="shares of it that are told when more is spent within a clock hour or a day of its zone; each is a "
        "limit of its own, with _within_an_hour or _within_a_day behind the name",
    )
    level_at_full: LevelOrOff = Field(default=Level.EMERGENCY, description="of the whole budget; off: it is not told")
    refuse_at: Share | None = Field(
        default=None,
        description="share from which on new calls may be refused, by clients that ask; without it none are",
    )
    forecast: LevelOrOff = Field(
        default=None,
        description="told when it is expected to be used up before its day or month ends; without it a month is, as a "
        "warning, where it is of dimensions alone, and nothing else; off: never",
    )

    @property
    def level_of_forecast(self) -> Level | None:
        """None where nothing is foreseen."""
        if "forecast" in self.model_fields_set:
            return self.forecast
        return Level.WARNING if self.period == "month" and self._can_be_foreseen else None

    @property
    def _can_be_foreseen(self) -> bool:
        return self.period in FORECAST_PERIODS and {*self.scope, *self.only} <= set(DIMENSIONS)

    @model_validator(mode="after")
    def _is_foreseen(self) -> Self:
        if self.forecast is not None and not self._can_be_foreseen:
            raise ValueError(
                "forecast: only a day or a month can be foreseen, and not that of users or sessions, whose hours are "
                "not kept"
            )
        return self

    @model_validator(mode="after")
    def _rises(self) -> Self:
        shares = [threshold.at for threshold in self.thresholds]
        if shares != sorted(set(shares)):
            raise ValueError("thresholds: they must stand in the order of `at`, each once")
        if not self.thresholds and self.level_at_full is None:
            raise ValueError("thresholds: without any, and with level_at_full off, nothing would ever be told")
        return self

    @model_validator(mode="after")
    def _burns_within_its_period(self) -> Self:
        within = [burn.within for burn in self.burn]
        if len(set(within)) < len(within):
            raise ValueError("burn: an hour and a day have one share each")
        for burn in self.burn:
            if burn.within not in SHORTER_PERIODS[self.period]:
                raise ValueError(f"burn: within {burn.within}: that is no part of its period, which is {self.period}")
            if len(self.name_within(burn)) > NAME_MAX:
                raise ValueError(
                    f"burn: {self.name_within(burn)} is its rule, a name of more than {NAME_MAX} characters"
                )
        return self

    def name_within(self, burn: Burn) -> str:
        """The name of the limit that it is."""
        return f"{self.name}{WITHIN[burn.within]}"

    @property
    def names(self) -> list[str]:
        """Its own, and those of the limits that it brings along."""
        return [self.name, *map(self.name_within, self.burn)]

    @model_validator(mode="after")
    def _fits_into_a_message(self) -> Self:
        values = sum(map(len, self.only.values()))
        if self.refuse_at is not None and values > ONLY_VALUES_MAX:
            raise ValueError(f"only: {values} values; a budget with refuse_at has {ONLY_VALUES_MAX} at most")
        return self


class LimitEntry(_Rule):
    """An amount that is told when more than that is spent in a period."""

    level: LevelName = Level.CRITICAL


class HourlySpike(Strict):
    """Sixty minutes of everything together that cost several times the average hour of the last week."""

    on: bool = True
    threshold: Factor = Decimal("3.0")
    clear: Factor = Decimal("2.0")
    history_hours_max: int = Field(default=WEEK_HOURS, ge=24, le=HISTORY_HOURS_MAX, description="whole hours averaged")
    history_hours_min: int = Field(default=24, ge=1, description="with fewer there is no such alert")
    channels: ChannelNames = None
    note: str = ""

    @model_validator(mode="after")
    def _can_open_and_clear(self) -> Self:
        if self.threshold <= 1:
            raise ValueError("threshold: it must be above 1, or a usual hour would be a spike")
        if self.clear > self.threshold:
            raise ValueError("clear: it must not be above threshold: an alert clears at or below where it opens")
        if self.history_hours_min > self.history_hours_max:
            raise ValueError("history_hours_min: it must not be above history_hours_max: no hour would ever be judged")
        return self


class HourlyAnomaly(Strict):
    """A clock hour of one feature, team or the like that cost far more than the same hours of other weeks."""

    on: bool = True
    by: Dimensions = Field(
        default=("feature", "team"),
        description="whose hours are looked at: an hour of a later one is told only by what alerts of the earlier ones "
        "do not tell",
    )
    score: Factor = Field(
        default=Decimal("3.0"),
        description="how rare an hour must be to open: beyond one hour of 20, so often half of what is left",
    )
    score_clear: Factor = Decimal("2.0")
    cost_usd_min: Price = Field(default=Decimal(1), description="USD above the usual below which no hour is worth it")
    channels: ChannelNames = None
    note: str = ""

    @model_validator(mode="after")
    def _can_open_and_clear(self) -> Self:
        if self.score_clear > self.score:
            raise ValueError("score_clear: it must not be above score: an alert clears at or below where it opens")
        return self


class UnknownPrice(Strict):
    """A model that no price is known for."""

    on: bool = True
    channels: ChannelNames = None
    note: str = ""


class Pipeline(Strict):
    """Alerts about the pipeline itself: whether and when they are raised is set where workers are."""

    channels: ChannelNames = None
    note: str = ""


SINGLES: Final = ("hourly_spike", "hourly_anomaly", "unknown_price", "pipeline")


class Channels(Strict):
    """Where alerts reach people, any number of each kind."""

    email: tuple[EmailEntry, ...] = ()
    slack: tuple[SlackEntry, ...] = ()
    sms: tuple[SmsEntry, ...] = ()
    mobile_push: tuple[MobilePushEntry, ...] = ()
    webhook: tuple[WebhookEntry, ...] = ()
    service: tuple[ServiceEntry, ...] = ()

    @property
    def all(self) -> tuple[AnyChannel, ...]:
        return (*self.email, *self.slack, *self.sms, *self.mobile_push, *self.webhook, *self.service)

    @model_validator(mode="after")
    def _have_names_of_their_own(self) -> Self:
        names = [channel.name for channel in self.all]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)}: a name stands for one channel, and here for two: give each a `name`")
        for channel in self.all:
            if channel.name in KINDS and channel.name != channel.kind:
                raise ValueError(f"{channel.name}: that names all channels of another kind, and no {channel.kind}")
        return self


class RulesFile(Strict):
    """Budgets and limits, any number of each; the rules of which there is one; and the channels."""

    budget: tuple[BudgetEntry, ...] = ()
    limit: tuple[LimitEntry, ...] = ()
    hourly_spike: HourlySpike = HourlySpike()
    hourly_anomaly: HourlyAnomaly = HourlyAnomaly()
    unknown_price: UnknownPrice = UnknownPrice()
    pipeline: Pipeline = Pipeline()
    channel: Channels = Channels()

    @property
    def singles(self) -> dict[str, Strict]:
        """The rules of which there is one, by their names, that the file has."""
        return {name: getattr(self, name) for name in type(self).model_fields if self._is_given(name)}

    def _is_given(self, name: str) -> bool:
        return name in self.model_fields_set and name in SINGLES

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(
                "there is nothing in it: no [[budget]], no [[limit]], no [[channel.KIND]], none of the other rules"
            )
        names = [*(name for budget in self.budget for name in budget.names), *(limit.name for limit in self.limit)]
        if taken := sorted({*names} & {*get_args(Kind), *SINGLES}):
            raise ValueError(
                f"{', '.join(taken)}: that is the name of a rule of its own, and no name of a budget or limit"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)}: a name stands for one rule, and here for two")
        return self


def read(text: str, *, file: str) -> RulesFile:
    """A TOML file, as it says it. Raises ``RulesRefused`` with every fault: file, rule, field and what is wrong."""
    try:
        return files.read(text, file=file, model=RulesFile, tables=_TABLES)
    except FileRefused as error:
        raise RulesRefused(error.faults) from None


def _own_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("name", "?"))


def _own_name_if_any(entry: Mapping[str, Any]) -> str:
    return str(entry.get("name", ""))


_TABLES: Final = {kind: Entries(kind, _own_name) for kind in get_args(Kind)} | {
    f"channel.{kind}": Entries(f"channel.{kind}", _own_name_if_any) for kind in KINDS
}


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of a file of rules, as TOML reads it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | RulesFile.model_json_schema(mode="validation")
