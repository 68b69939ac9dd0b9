"""The values of a call as a host has them, made into those of a ``UsageEvent`` where that can be done honestly.

A number that is an id becomes text; a numpy integer an integer; an exception its type and text. What only describes
the call (names of features and users, error, durations, metadata) never costs the event: it is cut, replaced or left
out, and ``metadata["costream_changed"]`` says so. What decides which call it was and what it cost (provider, model,
time, tokens, quantities) is never guessed: the event is refused, with the field, the value and the rule.

Pure: no clock, no ids, no logging.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_PREC, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from enum import Enum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from costream.events import (
    DURATION_MS_MAX,
    ERROR_CHARS_MAX,
    METADATA_BYTES_MAX,
    NAME_CHARS_MAX,
    TIME,
    UNITS_MAX,
    UTILIZATION_STEP,
    UsageEvent,
    matches,
    metadata_text,
)
from costream.reasons import rule_of, speaks_for_itself

CHANGED: Final = "costream_changed"  # in metadata: what is not as the caller gave it
KEPT: Final = ("parent_id", "workflow_id", "requested_model")  # keys with a meaning outlive metadata that is too large
KEPT_CHARS_MAX: Final = 256  # of each of them then
DIGEST_CHARS: Final = 16  # of SHA-256: two names that are cut stay two names
MARKS_MAX: Final = 10
MARK_CHARS_MAX: Final = 200  # so that the marks and the kept keys fit into metadata
TEXT_CHARS_MAX: Final = 4_096  # of any text in memory; no field holds more
VALUES_MAX: Final = 2_000  # in metadata; 4 KB of JSON hold no more
DEPTH_MAX: Final = 32
SHOWN_CHARS_MAX: Final = 80  # of a value, in a reason or a mark
AMOUNT_END: Final = Decimal("1e18")  # no amount in the contract reaches it
DIGITS_AFTER_POINT: Final = Decimal("0.000000000001")
_EXACT: Final = Context(prec=MAX_PREC, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])

NAMES: Final = ("request_id", "provider", "model")
LABELS: Final = ("feature", "task_type", "user_id", "team", "environment", "session_id")
PRICED_BY: Final = ("service_tier", "inference_geo")
CHOICES: Final = ("operation", "status", "usage_status")
DURATIONS: Final = ("duration_ms", "time_to_first_token_ms")
COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
AMOUNTS: Final = ("reported_cost_usd", "revenue_usd")
SHARES: Final = ("utilization",)
QUANTITIES: Final = ("quantities", "unit_prices")


NOTHING: Final = object()


class Refused(Exception):
    """No event can be made of it without guessing."""

    def __init__(self, field: str, rule: str, value: Any = NOTHING) -> None:
        self.field = field
        super().__init__(f"{field}: {rule}" if value is NOTHING else f"{field} = {shown(value)}: {rule}")


class Unusable(Exception):
    """A value that cannot be made honest; the text says by which rule."""


def shown(value: Any) -> str:
    """A value in a message: bounded, on one line, whatever its ``__repr__`` does."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - the caller's code
        text = f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    text = _printable(text)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 3] + "..."


# --- in the caller's thread: what may change, or is large, before the background thread comes to it -------------------


class Cut(str):
    """A text that was longer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Metadata that cannot be kept, and the part of it that can."""

    why: str
    kept: dict[str, Any]


def snapshot(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, bounded, and free of what the caller may still change: metadata, mappings, exceptions."""
    for name, value in fields.items():
        kind = type(value)
        if kind is str:
            if len(value) > ERROR_CHARS_MAX:  # the least of the two bounds
                fields[name] = _cut(value) if name == "error" else value[:TEXT_CHARS_MAX]
        elif isinstance(value, BaseException):
            fields[name] = _cut(error_text(value))
        elif name == "metadata":
            fields[name] = _snapshot_of_metadata(value)
        elif name in QUANTITIES and isinstance(value, Mapping) and len(value) <= UNITS_MAX:
            fields[name] = dict(value)
    return fields


def error_text(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        text = str(error)
    except Exception as unsaid:  # noqa: BLE001 - the caller's code
        return f"{name}, whose text cannot be had: {type(unsaid).__name__}"
    return f"{name}: {text}" if text else name


def _cut(text: str) -> str:
    if len(text) <= ERROR_CHARS_MAX:
        return text
    mark = f" ... (cut from {len(text)} characters)"
    return Cut(text[: ERROR_CHARS_MAX - len(mark)] + mark)


def _snapshot_of_metadata(metadata: Any) -> Any:
    if not isinstance(metadata, Mapping):
        return metadata
    try:
        return _plain(metadata, iter(range(VALUES_MAX)), DEPTH_MAX)
    except Unusable as why:
        return LeftOut(str(why), _with_a_meaning(metadata))
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's own may do anything
        return LeftOut(f"reading it raised {type(error).__name__}", {})


def _with_a_meaning(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """The few keys that say where a call belongs outlive metadata that is too large."""
    found = {key: metadata.get(key) for key in KEPT}
    return {
        key: value[:KEPT_CHARS_MAX] if isinstance(value, str) else value
        for key, value in found.items()
        if isinstance(value, (str, int))
    }


def _plain(value: Any, room: Iterator[int], depth: int) -> Any:
    """A copy that JSON can hold. Times, amounts and ids are text; of an unknown object its type is kept."""
    if next(room, None) is None or not depth:
        raise Unusable(f"more than {VALUES_MAX} values or {DEPTH_MAX} levels")
    kind = type(value)
    if kind is str:
        if len(value) > TEXT_CHARS_MAX:
            raise Unusable(f"a text of {len(value)} characters")
        return value
    if value is None or kind is bool or kind is int:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {_key(key): _plain(one, room, depth - 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one, room, depth - 1) for one in value]
    return _plain_scalar(value)


def _key(key: Any) -> str:
    try:
        return text_of(key)
    except Unusable:
        return f"({type(key).__name__})"


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    number = None if isinstance(value, Decimal) else _number(value)
    if number is None:
        return _key(value)
    return number if isinstance(number, int) or math.isfinite(number) else str(number)


# --- in the background thread ----------------------------------------------------------------------------------------


def build(fields: Mapping[str, Any], *, new_id: Callable[[], str]) -> tuple[UsageEvent, tuple[str, ...]]:
    """The event, and what had to be changed. Raises ``Refused``."""
    given = {name: value for name, value in fields.items() if value is not None}
    unknown = sorted(given.keys() - UsageEvent.model_fields.keys())
    if unknown:
        raise Refused(unknown[0], "there is no such field (docs/event.md)", given[unknown[0]])
    changes: list[str] = []
    values = {name: _field(name, value, changes) for name, value in given.items()}
    values = {name: value for name, value in values.items() if value is not None}
    if not values.get("request_id"):
        values["request_id"] = new_id()
    if values.get("error"):
        values.setdefault("status", "error")
    while True:
        try:
            return _validated(values, changes), tuple(changes)
        except ValidationError as error:
            fault = error.errors()[0]
            _leave_out(fault, values, changes)


def as_recorded(name: str, value: Any) -> str:
    """The text of a name, a label or a choice, as the event of ``record()`` has it. Raises ``Unusable``."""
    return str(_MAKERS[name](name, snapshot({name: value})[name], []))


def _validated(values: dict[str, Any], changes: list[str]) -> UsageEvent:
    return UsageEvent(**{**values, "metadata": _marked(values.get("metadata", {}), changes)})


def _leave_out(fault: Any, values: dict[str, Any], changes: list[str]) -> None:
    """Do without a value that breaks the contract, if it only describes."""
    field = str(fault["loc"][0]) if fault["loc"] else ""
    if field not in _DESCRIBES_ONLY or field not in values:
        name = ".".join(str(part) for part in fault["loc"]) or "the event"
        raise Refused(name, rule_of(fault), NOTHING if speaks_for_itself(fault) or not field else fault["input"])
    changes.append(f"{field} left out: {rule_of(fault)}: {shown(values.pop(field))}")


def _field(name: str, value: Any, changes: list[str]) -> Any:
    """The field's value, or None where it is left out."""
    make = _MAKERS.get(name)
    try:
        return make(name, value, changes) if make else value
    except Unusable as why:
        if name in _DESCRIBES_ONLY:
            changes.append(f"{name} left out, {why}: {shown(value)}")
            return None
        raise Refused(name, str(why), value) from why


def _name(name: str, value: Any, changes: list[str]) -> str:
    text = _encodable(text_of(value))
    clean = _printable(text)
    if clean != text:
        changes.append(f"{name}: control characters replaced")
        clean = clean.strip()
    if len(clean) <= NAME_CHARS_MAX:
        return clean
    changes.append(f"{name}: cut from {len(clean)} characters, with their digest")
    digest = sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
    return f"{clean[: NAME_CHARS_MAX - DIGEST_CHARS - 1]}~{digest}"


def text_of(value: Any) -> str:
    """Ids and names as they are commonly kept; the text of any other object would be a guess."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (UUID, Decimal, os.PathLike)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise Unusable("bytes that are not UTF-8") from None
    number = _number(value)
    if number is None:
        raise Unusable(f"a {type(value).__name__} is not text")
    return str(number)


def _choice(name: str, value: Any, changes: list[str]) -> str:
    return text_of(value).strip().lower()


def _error(name: str, value: Any, changes: list[str]) -> str:
    text = _encodable(_cut(text_of(value)))
    if isinstance(value, Cut) or len(text) < len(text_of(value)):
        changes.append("error: cut")
    return text


def _duration(name: str, value: Any, changes: list[str]) -> int:
    """Whole milliseconds, rounded half to even."""
    milliseconds = value / timedelta(milliseconds=1) if isinstance(value, timedelta) else _number(value)
    if milliseconds is None or isinstance(value, bool):
        raise Unusable(f"a {type(value).__name__} is no number of milliseconds")
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise Unusable(f"not between 0 and {DURATION_MS_MAX} ms")
    return round(milliseconds)


def _count(name: str, value: Any, changes: list[str]) -> int:
    """An integer, of numpy too, or a float that is one. A bool is an int for Python, but nobody's count."""
    number = None if isinstance(value, bool) else _number(value)
    if number is None or number != number // 1:
        raise Unusable("a count is a whole number")
    return int(number)


def _amount(name: str, value: Any, changes: list[str]) -> Decimal:
    """Exact. Of a float, the shortest decimal text that stands for it, which is what was written in the first place."""
    if isinstance(value, bool):
        raise Unusable("a bool is no amount")
    number = None if isinstance(value, Decimal) else _number(value)
    try:
        exact = _EXACT.create_decimal(value if number is None else repr(number))
    except (InvalidOperation, TypeError, ValueError):
        raise Unusable("no decimal number") from None
    if not exact.is_finite():
        raise Unusable("not finite")
    if exact.copy_abs() >= AMOUNT_END:
        raise Unusable("not below 1e18")
    kept = exact.quantize(DIGITS_AFTER_POINT, context=_EXACT)
    if kept != exact:
        changes.append(f"{name}: {shown(value)} rounded at 12 digits after the point")
        return kept
    return kept if exact.compare_total_mag(kept).is_signed() else exact  # less is what has more zeros at its end


def _share(name: str, value: Any, changes: list[str]) -> Decimal:
    """A part of one. It is measured, like a duration, so that no digit is missed that the contract does not keep."""
    exact = _amount(name, value, [])
    kept = exact.quantize(UTILIZATION_STEP, context=_EXACT)
    return exact if exact == kept and exact.compare_total_mag(kept) >= 0 else kept


def _amounts(name: str, value: Any, changes: list[str]) -> dict[str, Decimal]:
    if not isinstance(value, Mapping) or len(value) > UNITS_MAX:
        raise Unusable(f"not a mapping of at most {UNITS_MAX} units to amounts")
    try:
        return {_key(unit): _amount(f"{name}.{_key(unit)}", amount, changes) for unit, amount in value.items()}
    except Unusable as why:
        raise Refused(name, str(why), value) from why


def _moment(name: str, value: Any, changes: list[str]) -> datetime:
    if isinstance(value, str):
        if not matches(TIME, value):
            raise Unusable("not RFC 3339 with a zone, such as 2025-01-01T00:30:00+09:00")
        value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime):
        raise Unusable(f"a {type(value).__name__} is no moment; give a datetime with a zone")
    if value.utcoffset() is None:
        raise Unusable("a time without a zone leaves the hour to a guess; use datetime.now(UTC), not utcnow()")
    return value.astimezone(UTC)


def _mapping(name: str, value: Any, changes: list[str]) -> dict[str, Any]:
    value = _snapshot_of_metadata(value)
    if isinstance(value, LeftOut):
        changes.append(f"metadata left out, {value.why}")
        value = value.kept
    if not isinstance(value, Mapping):
        raise Unusable(f"a {type(value).__name__} is no mapping")
    try:
        _bytes_of(value)
    except UnicodeEncodeError:
        value = _without_half_pairs(value)
    return dict(value)


def _marked(metadata: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """With the marks of all changes; too large, only the keys with a meaning are kept."""
    marked = metadata | {CHANGED: list(changes)} if changes else metadata
    if _bytes_of(marked) <= METADATA_BYTES_MAX:
        return marked
    changes.append(f"metadata left out, {_bytes_of(metadata)} bytes of JSON are more than {METADATA_BYTES_MAX}")
    return _with_a_meaning(metadata) | {CHANGED: [change[:MARK_CHARS_MAX] for change in changes[-MARKS_MAX:]]}


def _bytes_of(metadata: Mapping[str, Any]) -> int:
    return len(metadata_text(metadata).encode())


def _without_half_pairs(value: Any) -> Any:
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, dict):
        return {_encodable(key): _without_half_pairs(one) for key, one in value.items()}
    return [_without_half_pairs(one) for one in value] if isinstance(value, list) else value


def _number(value: Any) -> int | float | None:
    """A Python number of the same value: numpy's integers and floats are none of Python's."""
    if isinstance(value, (str, bytes, bytearray)):
        return None
    with suppress(Exception):  # no integer; or the caller's code, which may raise anything
        return operator.index(value)
    with suppress(Exception):
        return float(value) if hasattr(type(value), "__float__") else None  # it reads the bytes of a buffer as text
    return None


def _printable(text: str) -> str:
    """Control characters forge log lines and rows; a space takes their place."""
    return text.translate(_CONTROL) if not text.isprintable() else text


def _encodable(text: str) -> str:
    """Half of a surrogate pair has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _makers() -> Iterable[tuple[tuple[str, ...], Callable[[str, Any, list[str]], Any]]]:
    yield NAMES + LABELS + PRICED_BY, _name
    yield CHOICES, _choice
    yield DURATIONS, _duration
    yield COUNTS, _count
    yield AMOUNTS, _amount
    yield SHARES, _share
    yield QUANTITIES, _amounts
    yield ("error",), _error
    yield ("occurred_at",), _moment
    yield ("metadata",), _mapping


_MAKERS: Final = {name: make for names, make in _makers() for name in names}
_DESCRIBES_ONLY: Final = frozenset((*LABELS, *DURATIONS, *AMOUNTS, *SHARES, "error", "metadata"))
_CONTROL: Final = dict.fromkeys((*range(32), 127), " ")
