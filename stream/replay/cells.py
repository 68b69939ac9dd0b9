"""What the cell of a table says, as a value of an event. Empty is absent, never 0; what is ambiguous is refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final

# As databases and libraries write what is not there.
ABSENT: Final = frozenset({"", "null", "none", "nan", "n/a", r"\n"})

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?[\d.]*\d,[\d,.]*", re.ASCII)
_EPOCH: Final = re.compile(r"(\d{10}|\d{13})(\.\d+)?", re.ASCII)
_DAY: Final = re.compile(r"\d{4}[-/]\d\d[-/]\d\d", re.ASCII)
_ISO: Final = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[Tt ]+(\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?\s*(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_NAMED: Final = re.compile(r"([A-Za-z]{3},? )?\d{1,2} [A-Za-z]{3} \d{4} ", re.ASCII)  # as mail and HTTP write times


class Unclear(ValueError):
    """The cell says nothing that can be taken without a guess; the text says why."""


def given(text: str) -> str | None:
    """The cell's text, or None where it says that there is none."""
    text = text.strip()
    return None if text.lower() in ABSENT else text


def moment(text: str, zone: tzinfo | None) -> datetime:
    """A time in UTC. ``zone`` is that of times which name none; without it they are refused."""
    if _EPOCH.fullmatch(text):
        seconds = Decimal(text) / (1 if len(text.partition(".")[0]) == 10 else 1000)
        return datetime.fromtimestamp(int(seconds), UTC).replace(microsecond=int(seconds % 1 * 1_000_000))
    try:
        if found := _ISO.fullmatch(text):
            return _iso(found, text, zone)
        if _NAMED.match(text):
            return _placed(parsedate_to_datetime(text), text, zone)
    except (ValueError, OverflowError) as error:
        if isinstance(error, Unclear):
            raise
        raise Unclear(f"{text!r} is no time of the calendar") from error
    if _DAY.fullmatch(text):
        raise Unclear(f"{text!r} is a day without a time: an event is one call, at a moment")
    raise Unclear(f"{text!r} is no time that can be read without a guess: write it like 2026-11-29T04:00:00Z")


def _iso(found: re.Match[str], text: str, zone: tzinfo | None) -> datetime:
    year, month, day, clock, fraction, offset = found.groups()
    known = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00"}.get((offset or "").upper(), offset or "")
    plain = f"{year}-{month}-{day}T{clock}" + (f".{fraction[:6]}" if fraction else "")
    return _placed(datetime.fromisoformat(plain + known), text, zone)


def _placed(moment: datetime, text: str, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if zone is None:
        raise Unclear(f"{text!r} has no zone: say with --zone which one is meant, such as UTC or Europe/Berlin")
    early, late = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if early.utcoffset() != late.utcoffset():  # of a clock that is set back or forward
        raise Unclear(f"{text!r} exists twice or not at all in {zone}: the clocks are changed then")
    return early.astimezone(UTC)


def number(text: str) -> Decimal:
    if _COMMA.fullmatch(text):
        raise Unclear(f"{text!r} has a comma, which parts thousands for some and decimals for others: write 1234.5")
    if not _NUMBER.fullmatch(text):
        raise Unclear(f"{text!r} is no number")
    return Decimal(text)


def count(text: str) -> int:
    """A whole number; 930.0 is one too, as libraries write a column in which some are missing."""
    exact = number(text)
    if exact < 0:
        raise Unclear(f"{text!r} is below zero")
    if exact != exact.to_integral_value():
        raise Unclear(f"{text!r} is no whole number")
    return int(exact)


def choice(text: str, words: dict[str, str]) -> str:
    """One of our words, or what others write for it."""
    known = {**words, **{word: word for word in words.values()}}
    if (word := known.get(text.lower())) is None:
        raise Unclear(f"{text!r} is none of {', '.join(sorted(known))}")
    return word


def http_status(text: str) -> str | None:
    """What an HTTP status says, where it is one."""
    if not re.fullmatch("[1-5][0-9][0-9]", text):
        return None
    return "error" if text >= "400" else "ok"


def mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise Unclear(f"{text[:60]!r} is no JSON") from error
    if not isinstance(value, dict):
        raise Unclear(f"{text[:60]!r} is no JSON object")
    return value


# The parts of a call's usage as Langfuse names them. Each is counted once: `input` is what was not cached.
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "input": ("input_tokens",),
    "input_cached_tokens": ("input_tokens", "cache_read_tokens"),
    "input_cache_read": ("input_tokens", "cache_read_tokens"),
    "cache_read_input_tokens": ("input_tokens", "cache_read_tokens"),
    "input_cache_creation": ("input_tokens", "cache_write_tokens"),
    "cache_creation_input_tokens": ("input_tokens", "cache_write_tokens"),
    "output": ("output_tokens",),
    "output_reasoning": ("output_tokens", "reasoning_tokens"),
    "output_reasoning_tokens": ("output_tokens", "reasoning_tokens"),
    "reasoning_tokens": ("output_tokens", "reasoning_tokens"),
}


def usage_details(text: str) -> dict[str, int]:
    """The token counts in an object of parts. They must be what they say in total, so that none counts twice."""
    parts = {name: count(str(value)) for name, value in mapping(text).items() if value is not None}
    total = parts.pop("total", None)
    strange = sorted(name for name in parts if name not in _PARTS and parts[name])
    if strange:
        raise Unclear(f"it counts {strange[0]!r}, for which an event has no field: map the columns by hand")
    if total is not None and total != sum(parts.values()):
        raise Unclear(f"its parts sum to {sum(parts.values())} and its total is {total}: one of them counts twice")
    counts: dict[str, int] = {}
    for name in parts.keys() & _PARTS.keys():
        for field in _PARTS[name]:
            counts[field] = counts.get(field, 0) + parts[name]
    return counts
