"""The wire contract: one usage event, as it stands on the topic ``usage.events``.

This model is the only definition. The JSON Schema in the repository, the worker's decoder and the columns of the
warehouse are derived from it or tested against it. Nothing here reads prompt or response text, and nothing may.

Token convention (OpenTelemetry GenAI semantic conventions, https://opentelemetry.io/docs/specs/semconv/gen-ai/):
``input_tokens`` is everything that went in, cache reads and writes included; ``output_tokens`` is everything that came
out, reasoning included. The details never exceed the total. Absent is not zero: absent means "not reported".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from typing import Annotated, Any, Final, Literal, Required, Self, TypedDict, Unpack
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import core_schema

SCHEMA_VERSION: Final = 1

TOKENS_MAX: Final = (
    1_000_000_000  # a thousand times the largest context sold; keeps a cost far below Int64 in 1e-12 USD
)
DURATION_MS_MAX: Final = 2_678_400_000  # 31 days, the longest metered job; fits UInt32
METADATA_BYTES_MAX: Final = 4_096  # metadata is for finding an event again, not for content
UNITS_MAX: Final = 16  # different units one call can be metered in
NAME_CHARS_MAX: Final = 128
ERROR_CHARS_MAX: Final = 1_024

# An event that a client publishes about itself when it had to drop usage events: quantities["dropped_events"].
DROPPED_PROVIDER: Final = "costream"
DROPPED_MODEL: Final = "dropped-events"
DROPPED_UNIT: Final = "dropped_events"

Operation = Literal[
    "chat", "embedding", "transcription", "speech", "image", "search", "gpu", "cpu", "storage", "network", "api"
]
Status = Literal["ok", "error"]
UsageStatus = Literal["reported", "estimated", "missing"]

# Control characters forge log lines, mail subjects and rows; no name needs them.
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
AMOUNT: Final = r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?$"  # USD per event: below 1,000,000, Decimal(18, 12)
# The same as programs write it that kept it as a float. An exponent is negative: it never lifts an amount over its end.
AMOUNT_SENT: Final = r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,64})?([eE]-[0-9]{1,2})?$"
AMOUNT_END: Final = 1_000_000
AMOUNT_STEP: Final = Decimal("0.000000000001")
AMOUNT_LAST: Final = Decimal("999999.999999999999")
UTILIZATION: Final = r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$"  # a part of one, Decimal(7, 6)
# With more digits, or an exponent that leaves it below 1, as programs write what they have divided.
UTILIZATION_SENT: Final = r"^(0(\.[0-9]{1,64})?|1(\.0{1,64})?|[0-9](\.[0-9]{1,64})?[eE]-0?[1-9][0-9]?)$"
UTILIZATION_STEP: Final = Decimal("0.000001")
QUANTITY: Final = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,12})?$"
UNIT: Final = r"^[a-z][a-z0-9_]{0,63}$"
# RFC 3339; a number of seconds, a time without seconds or one without a zone is somebody's guess about the hour.
TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:?[0-9]{2})$"


def _exact(value: Any, info: ValidationInfo) -> Any:
    """What decides the cost has its digits: no float is taken, and on the wire no JSON number (write ``"0.05"``)."""
    if isinstance(value, Decimal) and info.mode == "python":
        return value
    if isinstance(value, str):
        return value
    if info.mode == "python" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f'an amount is decimal text such as "0.05", not {type(value).__name__} {value!r}')


@dataclass(frozen=True, slots=True)
class _Noted:
    """What is kept beside the cost may also be a JSON number, or have an exponent: providers write their prices so, and
    the call has to be counted. A number is read as the shortest decimal text that stands for it.

    ``kept`` is the pattern of what is kept as it is, ``sent`` of what may be sent, ``last`` the largest that is kept.
    """

    kept: str
    sent: str
    step: Decimal
    last: Decimal
    bound: str

    def __call__(self, value: Any, info: ValidationInfo) -> Any:
        if info.mode == "json" and isinstance(value, (int, float)) and not isinstance(value, bool):
            number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            if not (number.is_finite() and 0 <= number <= self.last):  # a double has too few digits to lie behind it
                raise ValueError(f"{value!r} is not between 0 and {self.bound}")
            return self._to_step(number)
        if isinstance(value, str) and matches(self.sent, value) and not matches(self.kept, value):
            return self._to_step(Decimal(value))
        return _exact(value, info)

    def _to_step(self, number: Decimal) -> Decimal:
        """As it is, if it has no more digits after the point; else rounded half to even, and at most the last."""
        number = number.copy_abs()
        if matches(self.kept, _plain(number)):
            return number
        return min(number.quantize(self.step, context=_ROUNDING), self.last)


_ROUNDING: Final = Context(prec=24, rounding=ROUND_HALF_EVEN, traps=[])  # a host's own may be anything


def _whole(value: Any, info: ValidationInfo) -> Any:
    """930.0 is an integer to JSON Schema, and so it is one on the wire. In Python a float is no count."""
    return int(value) if info.mode == "json" and isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class _NullIs:
    """Null says the same as leaving the field out: a Go pointer or a nullable column is written so."""

    default: Callable[[], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda value: self.default() if value is None else value, core_schema.nullable_schema(handler(source))
        )


class _NoOtherKeys:
    """Says in the JSON Schema what the type of a map's keys means: a key of another form is refused."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        spec = handler(schema)
        for option in spec["anyOf"]:
            if option["type"] == "object":
                option["additionalProperties"] = False
        return spec


def _plain(value: Decimal) -> str:
    return f"{value:f}"


def _decimal_of(pattern: str, *, bound: str, places: int = 12) -> Callable[[Any], Decimal]:
    """A Decimal from plain text: no exponent, no sign, at most so many digits after the point."""
    said = f"with at most {places} digits after the point"

    def parse(value: Any) -> Decimal:
        if not isinstance(value, Decimal):
            if not matches(pattern, value):
                raise ValueError(f"{value!r} is not plain decimal text {said}")
            return Decimal(value)
        if not value.is_finite() or not matches(pattern, _plain(value)):
            raise ValueError(f"{value} is not between 0 and {bound} {said}")
        return value

    return parse


def matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _from_rfc3339(value: Any, info: ValidationInfo) -> Any:
    """Text on the wire becomes a time; in Python a time is a ``datetime``, so text is left to be refused."""
    if info.mode != "json" or not isinstance(value, str):
        return value
    if not matches(TIME, value):
        raise ValueError(f"{value!r} is not RFC 3339 with a zone, such as 2025-01-01T00:30:00+09:00")
    return datetime.fromisoformat(value.upper())


def _to_utc_milliseconds(value: datetime) -> datetime:
    """Milliseconds are what is stored, so two events that differ below them are the same event."""
    try:
        moment = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value} lies outside the years 1 to 9999 once it is turned into UTC") from error
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _rfc3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Metadata as JSON. By this spelling its size is measured."""
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _small(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(metadata_text(value).encode())
    if size > METADATA_BYTES_MAX:
        raise ValueError(f"metadata is {size} bytes of JSON, more than {METADATA_BYTES_MAX}")
    return value


Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX, pattern=PRINTABLE)]
Label = Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX, pattern=PRINTABLE), _NullIs(str)]
Tokens = Annotated[int, Field(ge=0, le=TOKENS_MAX), BeforeValidator(_whole)]
Milliseconds = Annotated[int, Field(ge=0, le=DURATION_MS_MAX), BeforeValidator(_whole)]
Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal_of(AMOUNT, bound="1e6")),
    # Comes first: the last one written is the first to look.
    BeforeValidator(_Noted(kept=AMOUNT, sent=AMOUNT_SENT, step=AMOUNT_STEP, last=AMOUNT_LAST, bound="1e6")),
    PlainSerializer(_plain, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": AMOUNT_SENT},
                {"type": "number", "minimum": 0, "exclusiveMaximum": AMOUNT_END},
            ]
        }
    ),
]
Quantity = Annotated[
    Decimal,
    BeforeValidator(_decimal_of(QUANTITY, bound="1e18")),
    BeforeValidator(_exact),
    PlainSerializer(_plain, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": QUANTITY}),
]
Utilization = Annotated[
    Decimal,
    BeforeValidator(_decimal_of(UTILIZATION, bound="1", places=6)),
    BeforeValidator(_Noted(kept=UTILIZATION, sent=UTILIZATION_SENT, step=UTILIZATION_STEP, last=Decimal(1), bound="1")),
    PlainSerializer(_plain, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": UTILIZATION_SENT}, {"type": "number", "minimum": 0, "maximum": 1}]}
    ),
]
Unit = Annotated[str, StringConstraints(pattern=UNIT)]
Moment = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc_milliseconds),
    BeforeValidator(_from_rfc3339),
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": TIME}),
]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_small), _NullIs(dict)]
Units = Annotated[dict[Unit, Quantity], Field(max_length=UNITS_MAX), _NoOtherKeys(), _NullIs(dict)]


class EventFields(TypedDict, total=False):
    """The keyword arguments of ``UsageEvent.create``, for the type checker; ``None`` is the same as not given."""

    provider: Required[str]
    model: Required[str]
    schema_version: Literal[1] | None
    request_id: str | None
    occurred_at: datetime | None
    operation: Operation | None
    feature: str | None
    task_type: str | None
    user_id: str | None
    team: str | None
    environment: str | None
    session_id: str | None
    service_tier: str | None
    inference_geo: str | None
    metadata: dict[str, Any] | None
    status: Status | None
    error: str | None
    duration_ms: int | None
    time_to_first_token_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    quantities: Mapping[str, Decimal | str | int] | None
    usage_status: UsageStatus | None
    reported_cost_usd: Decimal | str | int | None
    unit_prices: Mapping[str, Decimal | str | int] | None
    revenue_usd: Decimal | str | int | None
    utilization: Decimal | str | int | None


class UsageEvent(BaseModel):
    """One call to a model or API, or one metered use of a resource. Counted once per ``request_id``.

    Raises ``pydantic.ValidationError`` when built from values that break the contract; the message names the field.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        title="UsageEvent",
        json_schema_extra={
            "description": "One call to a model or API, or one metered use of a resource; counted once per request_id. "
            "input_tokens is everything that went in, cache reads and writes included; output_tokens is everything "
            "that came out, reasoning included. The details never exceed the total. Absent is not zero: absent means "
            "not reported. Never prompt or response text."
        },
    )

    schema_version: Annotated[Literal[1], BeforeValidator(_whole), _NullIs(lambda: SCHEMA_VERSION)] = SCHEMA_VERSION
    request_id: Name = Field(description="One per call, made by the caller; the guard against counting twice.")
    occurred_at: Moment = Field(description="When the call happened, RFC 3339 with a zone; kept to the millisecond.")
    provider: Name = Field(description="gen_ai.provider.name: openai, anthropic, aws, ...")
    model: Name = Field(description="gen_ai.response.model: the model that answered; for servers the instance type.")
    operation: Annotated[Operation, _NullIs(lambda: "chat")] = "chat"
    feature: Label = Field(default="", description="The product feature, route or context that spent.")
    task_type: Label = ""
    user_id: Label = ""
    team: Label = ""
    environment: Label = ""
    session_id: Label = ""
    service_tier: Label = Field(
        default="", description="The tier that served the call, as the provider says it: flex, batch, priority, ..."
    )
    inference_geo: Label = Field(default="", description="Where the model ran, as the provider says it.")
    metadata: Metadata = Field(
        default_factory=dict,
        description="Your own keys, at most 4 KB of JSON; parent_id, workflow_id and requested_model have a meaning.",
    )
    status: Annotated[Status, _NullIs(lambda: "ok")] = "ok"
    error: Annotated[str, StringConstraints(max_length=ERROR_CHARS_MAX), _NullIs(str)] = ""
    duration_ms: Milliseconds | None = None
    time_to_first_token_ms: Milliseconds | None = None
    input_tokens: Tokens | None = Field(default=None, description="All that went in, cache reads and writes included.")
    output_tokens: Tokens | None = Field(default=None, description="All that came out, reasoning included.")
    cache_read_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None
    quantities: Units = Field(default_factory=dict, description="Unit to decimal text, such as audio_seconds: 90.5.")
    usage_status: Annotated[UsageStatus, _NullIs(lambda: "reported")] = "reported"
    reported_cost_usd: Amount | None = Field(
        default=None, description="What the provider or caller says it cost; kept apart, never used as the cost."
    )
    unit_prices: Units = Field(default_factory=dict, description="USD per unit, for an API outside every price table.")
    revenue_usd: Amount | None = None
    utilization: Utilization | None = Field(
        default=None, description="How busy a server (gpu, cpu) was in the hours that the event reports, from 0 to 1."
    )

    @model_validator(mode="after")
    def _keeps_the_token_convention(self) -> Self:
        _check_details("input_tokens", self.input_tokens, self.cache_read_tokens, self.cache_write_tokens)
        _check_details("output_tokens", self.output_tokens, self.reasoning_tokens)
        if self.usage_status == "missing" and self._reports_usage():
            raise ValueError("usage_status is 'missing' but usage is given: send 'reported' or 'estimated'")
        return self

    def _reports_usage(self) -> bool:
        counts = (self.input_tokens, self.output_tokens)  # the details never come without their total
        return bool(self.quantities) or any(count is not None for count in counts)

    @classmethod
    def create(
        cls,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: str(uuid4()),
        **fields: Unpack[EventFields],
    ) -> Self:
        """A new event: fills ``request_id`` (UUID v4) and ``occurred_at`` (now) where the caller gives none.

        As strict as the contract: raises ``pydantic.ValidationError``. ``costream.record(provider=..., ...)`` makes
        and publishes one without ever raising.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        values: dict[str, Any] = {"request_id": new_id(), "occurred_at": clock()} | given
        return cls(**values)

    def to_json(self) -> bytes:
        """The bytes on the wire: UTF-8 JSON; fields at their default are left out, the version never."""
        fields = self.model_dump_json(exclude_defaults=True)
        return f'{{"schema_version":{self.schema_version},{fields[1:]}'.encode()

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The published JSON Schema (draft 2020-12) of the bytes on the wire."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | cls.model_json_schema(mode="validation")


def _check_details(total_name: str, total: int | None, *details: int | None) -> None:
    given = [detail for detail in details if detail is not None]
    if given and total is None:
        raise ValueError(f"a detail of {total_name} is given without {total_name} itself")
    if total is not None and sum(given) > total:
        raise ValueError(f"the details of {total_name} sum to {sum(given)}, more than {total_name} = {total}")
