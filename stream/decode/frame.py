"""Bytes to one checked frame, and refusals with their reason.

Every message passes a gate on its own: a strict msgspec decoder derived from the contract's published schema. Only
accepted bytes are read into columns, so a bad message costs no one but itself. What the gate refuses is examined
(examination.py), where the pydantic model has the last word: it either accepts the message in canonical form (another
spelling of a valid time, say) or gives the reason a person reads in the dead-letter topic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, assert_never

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from costream.events import (
    AMOUNT,
    METADATA_BYTES_MAX,
    PRINTABLE,
    QUANTITY,
    UNIT,
    UNITS_MAX,
    UTILIZATION,
    UsageEvent,
)
from costream.topics import EVENT_BYTES_MAX
from stream.decode.cut import Cut, Header
from stream.decode.examination import Accepted, Faulty, count_of, examine_value, options_of, told, unique_keys

# Past half its size or this deep, metadata is measured by the model: polars spells some numbers shorter than JSON does.
METADATA_BYTES_SURE: Final = METADATA_BYTES_MAX // 2
METADATA_NESTING_SURE: Final = 64
GATE_BYTES_MAX: Final = METADATA_BYTES_SURE + 1_536  # what is larger is rare, and looked at once, by the model
# The reader of columns fails on longer ones, and with it the whole block. A text that looks like one is examined too.
DIGITS_SURE: Final = 38

RefusalKind = Literal["malformed", "invalid", "conflict", "too_early", "too_old"]


class Record(Protocol):
    """What is read of a Kafka record: as much of it as was kept."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...
    @property
    def cut(self) -> Cut | None: ...
    @property
    def fault(self) -> str: ...
    @property
    def own_time(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that is not counted: on its way to the dead-letter topic with its reason."""

    record: Record
    kind: RefusalKind
    reason: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """How far an event's time may stand from its arrival at the broker."""

    future_max: timedelta
    past_max: timedelta


@dataclass(frozen=True, slots=True)
class Decoded:
    """``frame`` holds a row per accepted record (columns: FRAME_SCHEMA); ``row`` is its place in ``records``."""

    records: Sequence[Record]
    frame: pl.DataFrame
    refusals: list[Refusal]
    late: pl.DataFrame | None = None  # rows that the worker's own clock is to judge (stream/decode/arrival.py)
    read_at: datetime | None = None  # what it said


def decode(records: Sequence[Record], *, source: str, limits: AgeLimits) -> Decoded:
    """Every record comes out once: as a row of the frame, in order, or as a refusal."""
    clean_rows, clean = _read_clean([record.value or b"" for record in records])
    rest = np.ones(len(records), dtype=bool)
    rest[clean_rows] = False
    other_rows, others, refusals = _examine_all(records, np.flatnonzero(rest))
    columns = pl.concat([clean, others]).with_columns(row=np.concatenate([clean_rows, other_rows]))
    if other_rows.size:
        columns = columns.sort("row")
    timed, untimed = _by_their_time(_with_position(_typed(columns), records, source), records)
    in_time, out_of_time = _by_age(timed, records, limits)
    return Decoded(records, in_time, refusals + untimed + out_of_time)


def _read_clean(values: Sequence[bytes]) -> tuple[NDArray[np.int64], pl.DataFrame]:
    """The rows that need no second look, and their columns as text."""
    rows, metadata, units = _gate(values)
    passed = [values[row] for row in rows]
    lines, fields = _lines(passed), _fields_in(passed)
    try:
        columns = _columns(lines, len(passed), fields.difference(_MAPS_OF_UNITS)).with_columns(units)
    except PolarsError:  # one odd message fails the block; each then goes to the model on its own
        return np.empty(0, dtype=np.int64), _columns(b"", 0)
    escaped = _rows_with(b"\\", passed, lines)
    clean = columns.select(pl.all_horizontal(_RULES)).to_series()
    if (doubtful := escaped | _rows_with(b"\x7f", passed, lines)).any():
        kept = columns.filter(doubtful).select(pl.all_horizontal(_RULES_OF_ESCAPES)).to_series()
        clean = clean.scatter(np.flatnonzero(doubtful), clean.filter(doubtful) & kept)
    clean &= ~_misread(columns, passed, lines, metadata, fields.union(_MAPS_OF_UNITS), escaped=escaped)
    return np.asarray(rows, dtype=np.int64)[clean.to_numpy()], columns.filter(clean)


def _rows_with(sign: bytes, values: Sequence[bytes], lines: bytes) -> NDArray[np.bool_]:
    """Which of the messages have the sign. It is rare, and found at the speed of memory; the messages are lines."""
    found = np.zeros(len(values), dtype=bool)
    if sign in lines:
        ends = np.cumsum(np.fromiter(map(len, values), dtype=np.int64, count=len(values)) + 1)
        places = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == ord(sign))
        found[np.searchsorted(ends, places, side="right")] = True
    return found


# --- the gate, derived from the contract -----------------------------------------------------------------------------


def _gate_type(schema: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A Struct that accepts no more than the JSON Schema of the contract, but for the patterns of strings."""
    required = set(schema["required"])
    fields: list[Any] = []
    for name, spec in schema["properties"].items():
        kind = _gate_field(spec)
        fields.append((name, kind) if name in required else (name, kind, msgspec.field(default=None)))
    return msgspec.defstruct("Gate", sorted(fields, key=len), forbid_unknown_fields=True, gc=False)


def _gate_field(spec: Mapping[str, Any]) -> Any:
    if "anyOf" in spec:  # an amount that is a number, and not text, is read by the model
        return _union(_gate_field(option) for option in options_of(spec) if option["type"] != "number")
    if "const" in spec:
        return Literal[spec["const"]]
    if "enum" in spec:
        return Literal[tuple(spec["enum"])]
    return _GATE_TYPES[spec["type"]](spec)


def _union(kinds: Iterable[Any]) -> Any:
    first, *others = kinds
    for other in others:
        first = first | other
    return first


def _gate_string(spec: Mapping[str, Any]) -> Any:
    if spec.get("format") == "date-time":
        return Annotated[datetime, msgspec.Meta(tz=True)]
    return Annotated[str, msgspec.Meta(min_length=spec.get("minLength"), max_length=spec.get("maxLength"))]


_GATE_TYPES: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "string": _gate_string,
    "integer": lambda spec: Annotated[int, msgspec.Meta(ge=spec.get("minimum"), le=spec.get("maximum"))],
    "object": lambda spec: dict[str, str] if spec.get("additionalProperties") is False else dict[str, Any],
    "null": lambda spec: None,
}

_SCHEMA: Final = UsageEvent.json_schema()
Gate: Final = _gate_type(_SCHEMA)
_decode_one: Final = msgspec.json.Decoder(Gate).decode


def _gate(values: Sequence[bytes]) -> tuple[list[int], list[Any], list[pl.Series]]:
    """The rows that pass, the metadata that was read of each (None where there is none), and its units in columns."""
    rows: list[int] = []
    metadata: list[Any] = []
    units: dict[str, dict[int, bytes]] = {name: {} for name in _MAPS_OF_UNITS}
    for row, value in enumerate(values):
        if len(value) > GATE_BYTES_MAX:
            continue
        try:
            event: Any = _decode_one(value)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, as is bad UTF-8
            continue
        if event.metadata is not None and _is_hard_to_read(value):
            continue
        if event.quantities or event.unit_prices:
            _note_units(event, len(rows), units)
        rows.append(row)
        metadata.append(event.metadata)
    return rows, metadata, [_texts_at(places, len(rows)).alias(name) for name, places in units.items()]


def _note_units(event: Any, place: int, units: Mapping[str, dict[int, bytes]]) -> None:
    for name, places in units.items():
        if of_event := getattr(event, name):
            places[place] = _units_text(of_event) if len(of_event) <= UNITS_MAX else TOO_MANY


def _units_text(units: Mapping[str, str]) -> bytes:
    """In the order of their names, and else as polars writes an object. Contents are compared by this text, also with
    rows that an earlier build has stored, so it never changes."""
    return _in_order(units).replace(b'":"', b'": "').replace(b'","', b'", "')


_in_order: Final = msgspec.json.Encoder(order="sorted").encode
TOO_MANY: Final = b"too many"  # no text of units, so the model is asked


def _texts_at(places: Mapping[int, bytes], count: int) -> pl.Series:
    texts: list[str | None] = [None] * count
    for place, text in places.items():
        texts[place] = text.decode()
    return pl.Series(texts, dtype=pl.String)


def _is_hard_to_read(value: bytes) -> bool:
    """Too long a number, or many brackets, which take the reader of columns long and are not sure to pass."""
    alike = value.translate(_ALIKE)
    return _LONG_NUMBER in alike or alike.count(b"[") > METADATA_NESTING_SURE


_ALIKE: Final = bytes.maketrans(b"123456789{", b"000000000[")  # every digit, and every bracket
_LONG_NUMBER: Final = b"0" * (DIGITS_SURE + 1)


# --- columns ---------------------------------------------------------------------------------------------------------

_PROPERTIES: Final = _SCHEMA["properties"]
_INTEGERS: Final = {
    name for name, spec in _PROPERTIES.items() if any(option["type"] == "integer" for option in options_of(spec))
}
_TEXT_SCHEMA: Final = {name: pl.Int64() if name in _INTEGERS else pl.String() for name in _PROPERTIES}
_MAPS_OF_UNITS: Final = ("quantities", "unit_prices")
_MAPS: Final = ("metadata", *_MAPS_OF_UNITS)


class _Steps(NamedTuple):
    """Decimal text that the frame has as a number of its smallest steps."""

    column: str
    digits: int
    pattern: str


_DECIMALS: Final = {
    "reported_cost_usd": _Steps("reported_cost_pico", 12, AMOUNT),
    "revenue_usd": _Steps("revenue_pico", 12, AMOUNT),
    "utilization": _Steps("utilization_micro", 6, UTILIZATION),
}
_DEFAULTS: Final = {
    name: "" if name in _MAPS else spec["default"]
    for name, spec in _PROPERTIES.items()
    if name not in _INTEGERS and name not in _DECIMALS and name not in _SCHEMA["required"]
}
# As our clients write it, or with an offset; one that may lead out of the years 1 to 9999 goes to the model.
_TIME_SHAPE: Final = (
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d{1,6})?Z|[12]\d{3}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d{1,6})?[+-]\d\d:\d\d)$"
)
_UNIT_SHAPE: Final = f'"{UNIT[1:-1]}": "{QUANTITY[1:-1]}"'
_UNITS_SHAPE: Final = rf"^\{{{_UNIT_SHAPE}(, {_UNIT_SHAPE})*\}}$"
_USAGE: Final = ("input_tokens", "output_tokens", "quantities")


def _holds(rule: pl.Expr) -> pl.Expr:
    """A rule about a field that is absent holds."""
    return rule.fill_null(True)


_DETAILS: Final = {"input_tokens": ("cache_read_tokens", "cache_write_tokens"), "output_tokens": ("reasoning_tokens",)}


def _are_parts(details: Sequence[str], total: str) -> pl.Expr:
    """Details have a total, and come to no more."""
    none_given = pl.all_horizontal(pl.col(name).is_null() for name in details)
    return none_given | (pl.col(total).is_not_null() & _holds(pl.sum_horizontal(details) <= pl.col(total)))


# What the gate does not test. A row that fails one may still be good: the model decides.
_RULES: Final = [
    pl.col("occurred_at").str.contains(_TIME_SHAPE),
    *(_are_parts(details, total) for total, details in _DETAILS.items()),
    _holds(pl.col("usage_status") != "missing") | pl.all_horizontal(pl.col(name).is_null() for name in _USAGE),
    *(_holds(pl.col(name).str.contains(steps.pattern)) for name, steps in _DECIMALS.items()),
    _holds(pl.col("metadata").str.len_bytes() <= METADATA_BYTES_SURE),
    *(_holds(pl.col(name).str.contains(_UNITS_SHAPE)) for name in _MAPS_OF_UNITS),
]
# About control characters, which JSON only has as escapes; but for DEL, which may stand bare.
_RULES_OF_ESCAPES: Final = [
    *(
        _holds(~pl.col(name).str.contains(r"[\x00-\x1f\x7f]"))
        for name, spec in _PROPERTIES.items()
        if any(option.get("pattern") == PRINTABLE for option in options_of(spec))
    ),
    _holds(~pl.col("metadata").str.contains(r"[\x00-\x1f]")),  # polars writes them bare, which is not JSON
]


def _lines(values: Sequence[bytes]) -> bytes:
    """A message a line. A line break between tokens is white space in JSON."""
    lines = b"\n".join(values)
    if count_of(lines, b"\n") < len(values):
        return lines
    return b"\n".join(value.replace(b"\n", b" ").replace(b"\r", b" ") for value in values)


def _fields_in(values: Sequence[bytes]) -> set[str]:
    """The fields worth a column: each costs time for every message of the batch, and most have half of them. What is
    too rare to be found in a sample is found by its quotes, and its message goes to the model."""
    return set[str]().union(*map(_members, values[::SAMPLED_EVERY]))


# What k messages have is missed by (60/61)^k: at worst some 25 messages for the model. A prime, so that nothing that
# comes in a rhythm, such as with every second message or every tenth, hides from it.
SAMPLED_EVERY: Final = 61
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _columns(lines: bytes, count: int, fields: Container[str] = frozenset(_TEXT_SCHEMA)) -> pl.DataFrame:
    if not count:
        return pl.DataFrame(schema=_TEXT_SCHEMA)
    read = {name: kind for name, kind in _TEXT_SCHEMA.items() if name in fields}
    columns = pl.read_ndjson(lines, schema=read)
    if columns.height != count:
        raise PolarsError(f"{count} messages were read as {columns.height} rows")
    return columns.select(
        pl.col(name) if name in read else pl.lit(None, kind).alias(name) for name, kind in _TEXT_SCHEMA.items()
    )


def _misread(
    columns: pl.DataFrame,
    values: Sequence[bytes],
    lines: bytes,
    metadata: Sequence[Any],
    fields: Set[str],
    *,
    escaped: NDArray[np.bool_],
) -> pl.Series:
    """The messages that name a key twice, of which gate and columns would each believe another, or one that was not
    read.

    Counting quotes finds nearly all innocent: each key and each string stands in two. What has more of them than its
    columns explain, or an escape, is parsed again. Of metadata it counts what the gate read, each key once: polars
    hands a repeated key on. Without an escape none has fewer than are explained: equal sums are equal everywhere.
    """
    explained = columns.select(_QUOTES_EXPLAINED).to_series().to_numpy()
    if saying := [row for row, each in enumerate(metadata) if each]:
        explained = explained.copy()
        explained[saying] += [msgspec.json.encode(metadata[row]).count(b'"') for row in saying]
    suspect = escaped
    of_escaped = sum(values[row].count(b'"') for row in np.flatnonzero(escaped).tolist())
    if count_of(lines, b'"') - of_escaped != explained[~escaped].sum():
        suspect = escaped | (_per_message(values, lambda value: value.count(b'"')) != explained)
    misread = np.zeros(len(values), dtype=bool)
    for row in np.flatnonzero(suspect).tolist():
        misread[row] = not _is_read(values[row], fields)
    return pl.Series(misread)


def _per_message(items: Sequence[Any], measure: Callable[[Any], int]) -> NDArray[np.int64]:
    return np.fromiter(map(measure, items), dtype=np.int64, count=len(items))


_QUOTES_EXPLAINED: Final = pl.sum_horizontal(
    *(pl.col(name).is_not_null().cast(pl.Int64) * 2 for name in (*_INTEGERS, *_MAPS)),
    *(pl.col(name).is_not_null().cast(pl.Int64) * 4 for name in _TEXT_SCHEMA if name not in (*_INTEGERS, *_MAPS)),
    *(pl.col(name).str.count_matches('"').cast(pl.Int64) for name in _MAPS if name != "metadata"),
)


def _is_read(value: bytes, fields: Set[str]) -> bool:
    try:
        members: dict[str, Any] = json.loads(value, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError):
        return False  # not proven innocent: the model has the last word
    return members.keys() <= fields


def _typed(columns: pl.DataFrame) -> pl.DataFrame:
    """Text as read to the types of the frame; absent texts take the contract's default, absent numbers stay null."""
    return columns.with_columns(
        _instants(columns["occurred_at"]),
        *(pl.col(name).fill_null(default) for name, default in _DEFAULTS.items()),
        *(_in_steps(columns[text], steps.digits).alias(steps.column) for text, steps in _DECIMALS.items()),
    ).drop("schema_version", *_DECIMALS)


UTC_MILLISECONDS: Final = pl.Datetime("ms", "UTC")


def _instants(texts: pl.Series) -> pl.Series:
    """Of a fixed width, as our clients write them, polars reads times five times as fast as of any."""
    instants = texts.str.to_datetime("%Y-%m-%dT%H:%M:%S.%3fZ", time_unit="us", strict=False, cache=False)
    if instants.null_count():
        odd = instants.is_null()
        with_offset = texts.filter(odd).str.replace("Z", "+00:00", literal=True)
        read = with_offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us")
        instants = instants.scatter(odd.arg_true(), read.dt.replace_time_zone(None))
    return instants.cast(UTC_MILLISECONDS)


def _in_steps(decimals: pl.Series, digits: int) -> pl.Series:
    """Plain decimal text to exact integers of the last digit that it may have."""
    whole: int = 10**digits
    if decimals.null_count() == len(decimals):
        return decimals.cast(pl.Int64)
    parts = decimals.str.split_exact(".", 1).struct
    fraction = parts.field("field_1").fill_null("").str.pad_end(digits, "0")
    return parts.field("field_0").cast(pl.Int64) * whole + fraction.cast(pl.Int64)


def _with_position(frame: pl.DataFrame, records: Sequence[Record], source: str) -> pl.DataFrame:
    rows = frame["row"].to_numpy()

    def of_each(name: str) -> pl.Series:
        return pl.Series(_per_message(records, attrgetter(name))[rows])

    return frame.with_columns(
        source=pl.lit(source),
        source_partition=of_each("partition"),
        source_offset=of_each("offset"),
        received_at=of_each("timestamp"),
    )


# Kafka is younger, and the warehouse counts hours in seconds of 32 bits, until 2106. No retention reaches from one end
# past the other, so what is judged by such a time lies within what the tables hold.
RECEIVED_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
RECEIVED_END: Final = datetime(2100, 1, 1, tzinfo=UTC)
_CREDIBLE: Final = range(round(RECEIVED_FIRST.timestamp()) * 1000, round(RECEIVED_END.timestamp()) * 1000)


def is_credible(timestamp: int) -> bool:
    """Whether a record can have come then. Only where the topic takes its producers' clocks can it be otherwise."""
    return timestamp in _CREDIBLE


def _by_their_time(frame: pl.DataFrame, records: Sequence[Record]) -> tuple[pl.DataFrame, list[Refusal]]:
    """Split off what has no time that can be compared with."""
    credible = frame["received_at"].is_between(_CREDIBLE.start, _CREDIBLE.stop - 1)
    kept = frame.filter(credible) if not credible.all() else frame
    untimed = frame.filter(~credible).select("row", "request_id").iter_rows() if kept is not frame else ()
    return kept.with_columns(pl.col("received_at").cast(UTC_MILLISECONDS)), [
        Refusal(
            records[row],
            "invalid",
            f"the record's own time, {records[row].timestamp} ms, is not between {RECEIVED_FIRST.year} and "
            f"{RECEIVED_END.year}: its topic takes its producers' clocks: set message.timestamp.type to LogAppendTime",
            request_id,
        )
        for row, request_id in untimed
    ]


def _by_age(frame: pl.DataFrame, records: Sequence[Record], limits: AgeLimits) -> tuple[pl.DataFrame, list[Refusal]]:
    """Split off what is too far from its arrival. The broker's clock judges, so a redelivery is judged alike."""
    ahead = pl.col("occurred_at") - pl.col("received_at")
    outside = frame.filter((ahead > limits.future_max) | (ahead < -limits.past_max))
    if outside.is_empty():
        return frame, []
    refusals = [
        _out_of_time(records[row], occurred_at, received_at, request_id, limits)
        for row, occurred_at, received_at, request_id in outside.select(
            "row", "occurred_at", "received_at", "request_id"
        ).iter_rows()
    ]
    return frame.join(outside.select("row"), on="row", how="anti", maintain_order="left"), refusals


def _out_of_time(
    record: Record, occurred_at: datetime, received_at: datetime, request_id: str, limits: AgeLimits
) -> Refusal:
    if occurred_at > received_at:
        rule = f"{occurred_at - received_at} after it arrived; at most {limits.future_max} is taken for a clock's drift"
        kind: RefusalKind = "too_early"
    else:
        rule = f"{received_at - occurred_at} before it arrived; at most {limits.past_max}, the retention, is counted"
        kind = "too_old"
    return Refusal(record, kind, f"occurred_at: {occurred_at.isoformat()} is {rule}", request_id)


# --- what the gate did not take --------------------------------------------------------------------------------------


def _examine_all(
    records: Sequence[Record], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], pl.DataFrame, list[Refusal]]:
    accepted: dict[int, Accepted] = {}
    refusals = []
    for row in rows.tolist():
        match _examined(records[row]):
            case Accepted() as found:
                accepted[row] = found
            case Refusal() as refusal:
                refusals.append(refusal)
    columns = _columns(b"\n".join(canonical(found.event) for found in accepted.values()), len(accepted))
    metadata = pl.Series("metadata", [found.metadata or None for found in accepted.values()], dtype=pl.String)
    return np.fromiter(accepted, dtype=np.int64), columns.with_columns(metadata), refusals


def examine(record: Record) -> UsageEvent | Refusal:
    """Validate one record by the contract itself, and say what is wrong with it."""
    found = _examined(record)
    return found.whole() if isinstance(found, Accepted) else found


def _examined(record: Record) -> Accepted | Refusal:
    value = record.value
    if record.fault:
        return Refusal(record, "malformed", told(record.fault))
    if value is None:
        return Refusal(record, "malformed", "the record has no value (a tombstone); a usage event is a JSON object")
    if len(value) > EVENT_BYTES_MAX:
        length = record.cut.value_bytes if record.cut else len(value)
        return Refusal(record, "malformed", f"the value is {length} bytes; an event has at most {EVENT_BYTES_MAX}")
    match examine_value(value):
        case Accepted() as found:
            return found
        case Faulty(malformed, reason, request_id):
            return Refusal(record, "malformed" if malformed else "invalid", reason, request_id)
        case unreachable:
            assert_never(unreachable)


def canonical(event: UsageEvent) -> bytes:
    """The event as our clients write it, with the members of its maps in order, so that equal events are equal text."""
    ordered = {name: dict(sorted(getattr(event, name).items())) for name in ("quantities", "unit_prices")}
    return event.model_copy(update=ordered).to_json()
