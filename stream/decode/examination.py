"""A closer look at what the gate does not take: cheap checks first, the model of the contract last.

The model has the last word, and its word is dear: it builds an object for each value, right or wrong, and a message has
room for thirty thousand. So what no event can be is refused by counting, what is too long is shown to the model
abridged, and metadata, of which a legal event may have more than of all else, is judged beside it by compiled code.
What is accepted here is what the model accepts, and is read as the model reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from pydantic import ValidationError

from costream.events import ERROR_CHARS_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, UNITS_MAX, UsageEvent, metadata_text
from costream.reasons import is_unknown, rule_of, speaks_for_itself

REASON_INPUT_CHARS_MAX: Final = 80
RULE_CHARS_MAX: Final = 240
REASON_CHARS_MAX: Final = 2_048  # it travels in a header; what a hostile message puts into it must not fill one
REASONS_MAX: Final = 5  # faults named of one message; a person mends them one by one
REQUEST_ID_CHARS_MAX: Final = 128


def options_of(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the schema lets a value be. Beside the rest stands null, which says the same as leaving the field out."""
    return [each for option in spec["anyOf"] for each in options_of(option)] if "anyOf" in spec else [spec]


_PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = UsageEvent.json_schema()["properties"]
_CHARS_MAX: Final[Mapping[str, int]] = {
    name: option["maxLength"]
    for name, spec in _PROPERTIES.items()
    for option in options_of(spec)
    if "maxLength" in option
}

# What an event has at most, however it is spelt. A text takes two quotes, and three bytes of the 4 KB of metadata.
TEXTS_BESIDE_METADATA_MAX: Final = 2 * len(_PROPERTIES) + 4 * UNITS_MAX  # names and values; units and amounts
TEXTS_MAX: Final = TEXTS_BESIDE_METADATA_MAX + METADATA_BYTES_MAX // 3 + 1
COMMAS_MAX: Final = (
    METADATA_BYTES_MAX + ERROR_CHARS_MAX + NAME_CHARS_MAX * len(_PROPERTIES) + len(_PROPERTIES) + 2 * UNITS_MAX
)
PLAIN_BYTES_MAX: Final = 512  # a value that stands where it cannot be right is shown to the model up to this
TOLD_BY_MODEL_BYTES_MAX: Final = 2_048  # what is no JSON: the model says where, of a short one
NESTING_MAX: Final = 199  # of metadata, itself counted: where the model's parser ends
# In so much JSON a repeated key is looked for by its name; in more it is only known of.
NAMED_OBJECTS_MAX: Final = 256
NAMED_BYTES_MAX: Final = 8_192


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a good message says. Its metadata stands beside the event as JSON text; empty if there is none."""

    event: UsageEvent
    metadata: str

    def whole(self) -> UsageEvent:
        return self.event.model_copy(update={"metadata": json.loads(self.metadata)}) if self.metadata else self.event


@dataclass(frozen=True, slots=True)
class Faulty:
    """What is wrong with a message; ``malformed`` if it is not one plain JSON value."""

    malformed: bool
    reason: str
    request_id: str = ""


_SPACES: Final = (b" ", b"\n", b"\t", b"\r")


def examine_value(value: bytes) -> Accepted | Faulty:
    """Whether these bytes, as many as an event may have, are an event."""
    if crowd := _crowd(value):
        return Faulty(malformed=False, reason=crowd, request_id=_id_near(value))
    try:
        text = msgspec.json.format(value, indent=-1) if any(space in value for space in _SPACES) else value
        return _examine_members(text, _given(_read_known(text)))
    except msgspec.ValidationError:
        return _no_object(value)
    except (ValueError, RecursionError) as error:
        return _no_json(value, error)


# --- what no event can be --------------------------------------------------------------------------------------------


def count_of(text: bytes, sign: bytes) -> int:
    """``text.count(sign)``, four times as fast where there is much of it."""
    if len(text) < SHORT_BYTES:
        return text.count(sign)
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == ord(sign)))


SHORT_BYTES: Final = 4_096  # where handing it to numpy takes as long as the counting


def _crowd(value: bytes) -> str:
    """The fault of a message with more in it than an event has room for; empty if there is none."""
    if len(value) <= 2 * TEXTS_MAX:
        return ""
    if (texts := _texts_at_least(value)) > TEXTS_MAX:
        return f"event: it must have at most {TEXTS_MAX} names and texts, metadata included, not {texts}"
    if (commas := count_of(value, b",")) > COMMAS_MAX:
        return f"event: it must have at most {COMMAS_MAX} commas, metadata included, not {commas}"
    return ""


def _texts_at_least(value: bytes) -> int:
    """A quote in a text has a backslash before it. So may the one that ends it: then it counts for less."""
    return (count_of(value, b'"') - value.count(b'\\"')) // 2


def _no_json(value: bytes, error: Exception) -> Faulty:
    if len(value) <= TOLD_BY_MODEL_BYTES_MAX:
        match _asked(value):
            case UsageEvent():
                pass  # not plain JSON all the same
            case faults:
                return Faulty(malformed=_is_malformed(faults), reason=_reason([], faults))
    return Faulty(malformed=True, reason=told(f"event: it is not JSON: {error}"))


def _no_object(value: bytes) -> Faulty:
    """It begins as another kind of JSON, if it is any."""
    try:
        _read_any(value)
    except (ValueError, RecursionError) as error:
        return _no_json(value, error)
    if len(value) <= PLAIN_BYTES_MAX:
        match _asked(value):
            case UsageEvent():
                raise AssertionError(f"no object, and yet an event: {value!r}")
            case faults:
                return Faulty(malformed=_is_malformed(faults), reason=_reason([], faults))
    head = _shortened(value[:NAME_CHARS_MAX].decode("utf-8", "replace"), REASON_INPUT_CHARS_MAX)
    return Faulty(malformed=False, reason=told(f"event: it must be an object, not {head}"))


# --- member by member ------------------------------------------------------------------------------------------------

_Known: Final = msgspec.defstruct("Known", [(name, msgspec.Raw, msgspec.UNSET) for name in _PROPERTIES], gc=False)
_read_known: Final = msgspec.json.Decoder(_Known).decode  # passes over others, and takes the last one of a name
_read_any: Final = msgspec.json.Decoder(msgspec.Raw).decode
_read_all: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MAPS_OF_UNITS: Final = ("quantities", "unit_prices")
_MAPS: Final = ("metadata", *_MAPS_OF_UNITS)
_LONGEST_SIGN: Final = len(rb"\ud83d\ude00")  # in JSON a character takes up to two escapes
_LONGEST_TEXT: Final = {name: _LONGEST_SIGN * chars + len(b'""') for name, chars in _CHARS_MAX.items()}
_LONGEST_UNITS: Final = UNITS_MAX * 1_024  # a unit and its amount take 64 and 31 characters


def _given(known: Any) -> dict[str, bytes]:
    return {name: bytes(raw) for name in _PROPERTIES if (raw := getattr(known, name)) is not msgspec.UNSET}


def _examine_members(text: bytes, known: dict[str, bytes]) -> Accepted | Faulty:
    request_id = _shown_id(known.get("request_id", b""))
    surplus = count_of(text, b'"') - count_of(b"".join(known.values()), b'"') - 2 * len(known)
    if surplus > 2 * TEXTS_BESIDE_METADATA_MAX and (texts := _texts_beside(text, known)) > TEXTS_BESIDE_METADATA_MAX:
        reason = f"event: it must have at most {TEXTS_BESIDE_METADATA_MAX} names and texts beside metadata"
        return Faulty(malformed=False, reason=f"{reason}, not {texts}", request_id=request_id)
    unknown = _unknown(text, known) if surplus else {}
    metadata = _metadata(known.pop("metadata", b""))
    if metadata.raw:
        known["metadata"] = metadata.raw
    faults = [metadata.fault] if metadata.fault else []
    for name in _MAPS_OF_UNITS:
        if fault := _fault_of_units(name, known.get(name, b"")):
            faults.append(fault)
            del known[name]
    shown = known | dict(islice(unknown.items(), REASONS_MAX))
    found = _asked(_as_object({name: _abridged(name, raw) for name, raw in shown.items()}))
    match found:
        case UsageEvent() if faults:
            return Faulty(malformed=False, reason=_reason(faults, []), request_id=request_id)
        case UsageEvent() as event:
            repeated = _repeated_name(text) if surplus else metadata.repeated or _repeated_unit(known)
            if repeated:
                reason = told(f"the value is not one plain JSON object: {repeated}")
                return Faulty(malformed=True, reason=reason, request_id=request_id)
            return _accepted(event, metadata.text)
        case others:
            reason = _reason(faults, others, left_out=max(0, len(unknown) - REASONS_MAX))
            return Faulty(malformed=_is_malformed(others), reason=reason, request_id=request_id)


def _accepted(event: UsageEvent, metadata: str) -> Accepted:
    if not event.metadata:
        return Accepted(event, metadata)
    return Accepted(event.model_copy(update={"metadata": {}}), metadata_text(event.metadata))


def _asked(value: bytes) -> UsageEvent | Sequence[Any]:
    """The event, or the model's faults."""
    try:
        return UsageEvent.model_validate_json(value)
    except ValidationError as error:
        return error.errors(include_url=False)


def _is_malformed(faults: Sequence[Any]) -> bool:
    return [fault["type"] for fault in faults] == ["json_invalid"]  # then nothing else was looked at


def _texts_beside(text: bytes, known: Mapping[str, bytes]) -> int:
    return _texts(text) - _texts(known.get("metadata", b""))


def _texts(text: bytes) -> int:
    """How many names and texts there are in JSON: exactly, since it is JSON and each escape starts with a backslash."""
    return _without_escapes(text).count(b'"') // 2


def _without_escapes(text: bytes) -> bytes:
    """Without the quotes that are signs of a text, and without what looks like one of them."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _unknown(text: bytes, known: Mapping[str, bytes]) -> dict[str, bytes]:
    others = ((name, raw) for name, raw in _read_all(text).items() if name not in known)
    return {_shortened(name, NAME_CHARS_MAX): bytes(raw) for name, raw in others}


def _repeated_name(text: bytes) -> str:
    """What to say where each name is known, and there are more quotes than they explain."""
    return _named(text) or "a key stands twice"


def _named(text: bytes) -> str:
    return _repeated_key(text) if len(text) <= NAMED_BYTES_MAX and text.count(b"{") <= NAMED_OBJECTS_MAX else ""


def _repeated_key(text: bytes) -> str:
    """What to say of an object in which a key is repeated; empty if none is found."""
    try:
        json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        return str(error)
    except (ValueError, RecursionError):
        return ""
    return ""


class RepeatedKey(ValueError):
    """A key stands twice in one object."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # None, as wanted
        raise RepeatedKey(f"the key {name!r} stands twice")
    return members


def _repeated_unit(known: Mapping[str, bytes]) -> str:
    return next(filter(None, (_repeated_key(known[name]) for name in _MAPS_OF_UNITS if name in known)), "")


def _fault_of_units(name: str, raw: bytes) -> str:
    if raw[:1] != b"{":
        return ""  # the model says so
    if (colons := raw.count(b":")) > 2 * UNITS_MAX:
        return f"{name}: it must have at most {UNITS_MAX} entries, not {colons}"
    if len(raw) > _LONGEST_UNITS or (len(raw) > PLAIN_BYTES_MAX and raw.count(b"[") + raw.count(b"{") > 1):
        shown = _shortened(raw[:NAME_CHARS_MAX].decode("utf-8", "replace"), REASON_INPUT_CHARS_MAX)
        return f"{name}: it must be units with decimal text, not {shown}"
    return ""


# --- showing the model no more than it needs -------------------------------------------------------------------------

_ELLIPSIS: Final = '["…"]'.encode()
# Of the digits of a second six are enough: those behind them are cut.
_TIME_BYTES: Final = len(b'"2025-01-01T00:00:00.123456')
_ZONE_BYTES: Final = len(b'+00:00"')


def _abridged(name: str, raw: bytes) -> bytes:
    """A value that is wrong for its length or kind, with as much of it as a reason shows; any other as it is."""
    if len(raw) <= PLAIN_BYTES_MAX or (name in _MAPS and raw[:1] == b"{"):
        return raw
    match raw[:1]:
        case b"[" | b"{":
            return _ELLIPSIS
        case b'"' if name == "occurred_at" and _is_digits(raw[_TIME_BYTES:-_ZONE_BYTES]):
            return raw[:_TIME_BYTES] + raw[-_ZONE_BYTES:]
        case b'"' if name in _LONGEST_TEXT and len(raw) <= _LONGEST_TEXT[name]:
            return raw
        case b'"':
            return _ends_of_text(raw, at_least=_CHARS_MAX.get(name, NAME_CHARS_MAX))
        case _:
            number = float(raw)  # as the model reads what is no integer
            return repr(number).encode() if isfinite(number) else raw[:NAME_CHARS_MAX].rstrip(b".eE+-")


def _is_digits(text: bytes) -> bool:
    return bool((np.frombuffer(text, dtype=np.uint8) - np.uint8(ord("0")) < 10).all())


def _ends_of_text(raw: bytes, *, at_least: int) -> bytes:
    """A text that is too long as well, with the same ends; its last signs may stand there as they were escaped."""
    tail = raw[-PLAIN_BYTES_MAX:-1].decode("utf-8", "ignore")
    return msgspec.json.encode(_head_of_text(raw) + "…" * at_least + tail)


def _head_of_text(raw: bytes) -> str:
    """The first signs of a text in JSON, without reading the others; empty if they cannot be read."""
    head = _HEAD.match(raw)
    try:
        return msgspec.json.decode(head[0].decode("utf-8", "ignore") + '"', type=str) if head else ""
    except ValueError:
        return ""


_HEAD: Final = re.compile(rb'"(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u]){0,%d}' % PLAIN_BYTES_MAX)


def _as_object(members: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode({name: msgspec.Raw(raw) for name, raw in members.items()})


# --- metadata --------------------------------------------------------------------------------------------------------


class _Metadata(NamedTuple):
    """``text`` if it is good, or what is wrong with it, or ``raw`` if the model is to say."""

    text: str = ""
    fault: str = ""
    repeated: str = ""
    raw: bytes = b""


# White space, numbers and escapes may be written shorter; all else of JSON takes its bytes however it is written, but
# for members of one name, which are refused anyway. So does a point: a number that has one keeps one, or an exponent.
_SHRINKING: Final = b" \t\n\r0123456789+-\\uabcdefABCDEF"
_ZEROS: Final = bytes.maketrans(b"123456789E", b"000000000e")


def _metadata(raw: bytes) -> _Metadata:
    """Metadata without white space, judged as the model judges it."""
    if len(raw) <= len(b"{}") or raw[:1] != b"{":
        return _Metadata(raw=raw)
    if len(raw) > METADATA_BYTES_MAX and len(raw.translate(None, _SHRINKING)) > METADATA_BYTES_MAX:
        size = f"it is {len(raw)} bytes of JSON, more than {METADATA_BYTES_MAX} however it is spelt"
        return _Metadata(fault=f"metadata: {size}")
    try:
        return _metadata_read(raw)
    except msgspec.ValidationError:  # the only rule for what may be anything
        return _Metadata(fault="metadata: it must have no number that is too large to be held")
    except (ValueError, RecursionError):
        return _Metadata(raw=raw)


def _metadata_read(raw: bytes) -> _Metadata:
    parsed = msgspec.json.decode(raw)
    spelt = msgspec.json.encode(parsed)
    text = _small_text(spelt, parsed)
    if (size := len(text.encode())) > METADATA_BYTES_MAX:
        return _Metadata(fault=f"metadata: metadata is {size} bytes of JSON, more than {METADATA_BYTES_MAX}")
    if spelt.count(b"[") + spelt.count(b"{") > NESTING_MAX and _nesting(spelt) > NESTING_MAX:
        return _Metadata(raw=raw)
    if spelt != raw and _texts(spelt) != _texts(raw):
        return _Metadata(text, repeated=_named(raw) or "a key of metadata stands twice")
    return _Metadata(text)


def _small_text(spelt: bytes, parsed: Any) -> str:
    """The text, as the contract spells it if its size could otherwise be doubtful: that takes long.

    Spellings differ in floats alone. Python's is longer by a byte where there is an exponent (1e+16, 1e-07), and two
    bytes shorter where it makes 1e-05 of 0.00001.
    """
    exponents = spelt.translate(_ZEROS).count(b"0e")  # and what looks like one in a text
    surely_small = len(spelt) + exponents <= METADATA_BYTES_MAX
    surely_large = len(spelt) - 2 * spelt.count(b".") > METADATA_BYTES_MAX
    return spelt.decode() if surely_small or surely_large else metadata_text(parsed)


def _nesting(text: bytes) -> int:
    """How deep lists and objects stand in one another."""
    signs = np.frombuffer(_without_escapes(text), dtype=np.uint8) | np.uint8(
        0x20
    )  # a bracket is its brace but for this bit
    inside = np.cumsum(signs == ord('"'), dtype=np.uint8) & 1  # of a text; whether the number is odd outlives its wrap
    steps = (signs == ord("{")).view(np.int8) - (signs == ord("}")).view(np.int8)
    return int(np.cumsum(steps * (1 - inside.view(np.int8)), dtype=np.int16).max())


# --- reasons ---------------------------------------------------------------------------------------------------------


def _reason(own: Sequence[str], faults: Sequence[Any], *, left_out: int = 0) -> str:
    """Which field, which rule, which value."""
    found = [*own, *(_fault(fault) for fault in faults[:REASONS_MAX])]
    shown = found[:REASONS_MAX]
    others = len(own) + len(faults) - len(shown) + left_out
    more = [f"and {others} more faults"] if others else []
    return told("; ".join(shown + more))


def _fault(fault: Any) -> str:
    where = ".".join(_shortened(str(part), NAME_CHARS_MAX) for part in fault["loc"]) or "event"
    rule, given = _shortened(rule_of(fault), RULE_CHARS_MAX), _shortened(repr(fault["input"]), REASON_INPUT_CHARS_MAX)
    if speaks_for_itself(fault):
        return f"{where}: {rule}"
    return f"{where}: {rule}; its value is {given}" if is_unknown(fault) else f"{where}: {rule}, not {given}"


def _shortened(text: str, chars_max: int) -> str:
    """Head and tail: a rule often stands behind the value it quotes."""
    return text if len(text) <= chars_max else f"{text[: chars_max // 2]}…{text[-chars_max // 2 :]}"


def told(reason: str) -> str:
    """A reason quotes the message it refuses: shortened, and without what would forge a log line."""
    head = _shortened(reason, REASON_CHARS_MAX)
    if not head.isprintable():
        head = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in head)
    return _shortened(head, REASON_CHARS_MAX)


def _shown_id(raw: bytes) -> str:
    """The id of a refused message, if it can be read: it is how its sender finds it."""
    return _head_of_text(raw).encode("unicode_escape").decode()[:REQUEST_ID_CHARS_MAX]


def _id_near(value: bytes) -> str:
    """The same of a message that is not read as a whole: what stands behind the first such name."""
    found = _ID.match(value, value.find(b'"request_id"'))
    return _shown_id(value[found.end() :]) if found else ""


_ID: Final = re.compile(rb'"request_id"[ \t\r\n]{0,9}:[ \t\r\n]{0,9}')
