"""The contract of the topic ``usage.alerts``: one alert, as it stands there.

The topic is public, and this package is all that a subscriber needs. Whoever subscribes gets every revision, keyed by
``alert_id``. An alert lives through ``open`` → ``updated`` → ``cleared``, or is ``retracted`` when a correction took
back what had raised it. All revisions share one ``alert_id``; a reader that has seen (alert_id, revision) has seen the
message.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from enum import Enum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

from costream.events import Moment

SCHEMA_VERSION: Final = 1
RATIO_MAX: Final = Decimal(1_000_000)  # beyond a million times the usual, the figure says nothing more
DIGITS_EXACT: Final = 76  # two Decimal(38) values multiply without rounding
AMOUNT_DIGITS_MAX: Final = 26  # before the point: Decimal(38, 12)
SIGNED_AMOUNT: Final = r"^-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,12})?$"  # Decimal(38, 12); a correction may be below zero

Status = Literal["open", "updated", "cleared", "retracted"]
DriverKind = Literal["calls", "model_mix", "tokens_per_call", "top_feature", "top_user"]


@functools.total_ordering
class Level(Enum):
    """How urgent an alert is. The set is closed, and ordered: info < warning < critical < emergency."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    EMERGENCY = "emergency"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Level):
            return NotImplemented
        ranks = list(Level)
        return ranks.index(self) < ranks.index(other)


def _exact(value: Any) -> Decimal:
    """Decimal from Decimal, int or decimal text; a float has already lost digits and is refused."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise ValueError(f'an amount is decimal text such as "0.05", not {type(value).__name__} {value!r}')
    with localcontext(prec=DIGITS_EXACT):
        try:
            number = Decimal(value)
        except ArithmeticError:
            raise ValueError(f"{value!r} is not decimal text") from None
        if not number.is_finite():
            raise ValueError(f"{number} is not an amount")
        if number and not -DIGITS_EXACT <= number.adjusted() < AMOUNT_DIGITS_MAX:
            raise ValueError(f"{number} is not an amount: 26 digits may stand before the point")
        return number.normalize() + 0  # one spelling per value: what the warehouse returns reads like what was sent


def _plain_number(value: Decimal) -> str:
    return f"{value:f}"


Amount = Annotated[
    Decimal,
    BeforeValidator(_exact),
    PlainSerializer(_plain_number, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": SIGNED_AMOUNT}),
]


def plain(text: str) -> str:
    """Text from an event, safe to stand in a line of ours: what is invisible or steers a terminal is spelled out.

    Control characters, line and paragraph separators, direction marks and lone surrogates become ``\\u{…}``, so that no
    value can break or forge a subject, a log line or a payload. Markup is each channel's own to escape.
    """
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return f"\\u{{{ord(character):x}}}" if hidden else character


class Driver(BaseModel):
    """One reason that the data supports: what it was like before, and what it is like in the alert's window."""

    model_config = ConfigDict(frozen=True)

    kind: DriverKind
    name: str = Field(default="", description="The model, feature or user meant; empty for calls and tokens_per_call.")
    text: str = Field(description="The reason in words.")
    unit: Literal["calls", "share", "tokens", "usd"]
    before: Amount | None = Field(default=None, description="In a usual hour; null where that is not known.")
    after: Amount = Field(description="In the window of the alert.")


class Alert(BaseModel):
    """One revision of one alert. Fields may be added within a schema version: ignore those you do not know."""

    model_config = ConfigDict(frozen=True, title="UsageAlert")

    schema_version: Literal[1] = SCHEMA_VERSION
    alert_id: str = Field(description="The same for all revisions of one episode; the key on the topic.")
    revision: int = Field(ge=1, description="1, 2, 3, … within alert_id.")
    status: Status
    level: Level
    rule: str = Field(
        description="What judged: hourly_spike, hourly_anomaly, unknown_price, budget, budget_forecast; about the "
        "pipeline itself audit, stall, vanished_records, dead_letter_flood. Others may be added: ignore those you do "
        "not know."
    )
    title: str
    message: str
    metric_name: str = Field(
        description="What the figures are: hourly_cost_spike, hourly_cost_anomaly in USD; of a budget what it says, "
        "such as daily_cost, and of its forecast that with _forecast behind it, in the currency that metadata.unit "
        "says; calls_without_price, models_without_price, audit_differences, stalled_seconds, vanished_records, "
        "dead_letter_records as named, with the unit in metadata.unit."
    )
    scope: str = Field(
        description="What was judged: system, feature=NAME or another dimension such as team=NAME, budget=NAME and "
        "behind it by comma whose it is, such as user=ID (in a value %25 is a %, %2C a comma, %3D a =); of "
        "unknown_price model=PROVIDER/MODEL (of a provider %25 is a % and %2F a /) or models (all that are not "
        "named); pipeline. Of unknown_price and of pipeline the figures are no money."
    )
    user_id: str | None = None
    window_start: Moment = Field(
        description="The 60 minutes this revision is about: a clock hour of an anomaly. The period of a budget. Of "
        "others: since when."
    )
    window_end: Moment
    current_value: Amount = Field(
        description="USD spent in the window, exact; to date while it runs. Of a forecast what is expected when it "
        "ends. Of others what metric_name counts."
    )
    threshold_value: Amount = Field(
        description="The level crossed, in USD: upwards for open and updated, downwards otherwise. Rounded to 6 "
        "digits. Of others in the unit of current_value."
    )
    expected_value: Amount | None = Field(
        description="USD of a usual hour, rounded to 6 digits; null if not known, or of others."
    )
    ratio: Amount | None = Field(
        description="current_value / expected_value, rounded to 4 digits, at most 1000000; null if that is zero. Of a "
        "budget or limit current_value by it, cut at 4 digits."
    )
    unpriced_calls: int = Field(description="Calls of the window with no known price: USD are without them.")
    drivers: tuple[Driver, ...] = ()
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    timestamp: Moment = Field(description="When this revision was decided.")

    @property
    def standing(self) -> bool:
        return self.status in {"open", "updated"}

    def to_json(self) -> bytes:
        """The bytes on the topic: UTF-8 JSON, every field present."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raises ``pydantic.ValidationError``, naming the field, for bytes that are not an alert."""
        return cls.model_validate_json(data)


def episode_id(*, rule: str, scope: str, first_window: datetime) -> str:
    """One id per episode, from data alone: whoever judges the same hours again arrives at the same id."""
    name = f"{rule}|{scope}|{first_window:%Y-%m-%dT%H:%M:%SZ}"
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:24]


def fault_of(alert: Alert) -> str:
    """Why no worker of ours can have published this; empty if one may have. Anybody may write to a topic."""
    first, times = alert.metadata.get("first_window"), (alert.window_start, alert.window_end, alert.timestamp)
    try:
        first_window = datetime.fromisoformat(first if isinstance(first, str) else "")
        if first_window.tzinfo is None:
            raise ValueError("it has no zone")
        made = episode_id(rule=alert.rule, scope=alert.scope, first_window=first_window.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        return f"metadata.first_window: {error}"
    if alert.alert_id != made:
        return "alert_id: it is not that of its rule, its scope and metadata.first_window"
    if not all(moment.year in CREDIBLE_YEARS for moment in (first_window, *times)):
        return f"one of its times lies outside the years {CREDIBLE_YEARS[0]} to {CREDIBLE_YEARS[-1]}"
    if (
        alert.revision > REVISION_MAX
        or abs(alert.unpriced_calls) > CALLS_MAX
        or abs(alert.ratio or Decimal(0)) > RATIO_MAX
    ):
        return "revision, unpriced_calls or ratio: larger than any of ours"
    return ""


CREDIBLE_YEARS: Final = range(2000, 2200)
REVISION_MAX: Final = 2**31
CALLS_MAX: Final = 2**62


def rounded(value: Decimal, *, digits: int) -> Decimal:
    with localcontext(prec=DIGITS_EXACT):
        return value.quantize(Decimal(1).scaleb(-digits))


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of the bytes on ``usage.alerts``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Alert.model_json_schema(mode="serialization")
