"""A history of calls to play: usage events that the price book prices, or rows of the warehouse with their cost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl
from pydantic import ValidationError

from costream.events import UsageEvent
from costream.pricing import PICO, PriceBook
from stream.budgets.budget import COLUMNS
from stream.decode.examination import Faulty, examine_value
from stream.pricing.columns import price
from stream.pricing.events import frame_of
from stream.pricing.names import NAMES, named

PRICED_AT_ONCE: Final = 10_000
COST: Final = "cost_usd"  # a line that has it is a row of the warehouse
ARRIVED: Final = "received_at"
SCHEMA: Final = pl.Schema(
    {
        "occurred_at": pl.Datetime("ms", "UTC"),
        "arrived_at": pl.Datetime("ms", "UTC"),
        **dict.fromkeys(COLUMNS.values(), pl.String()),
        "cost_pico": pl.Int64(),
    }
)


@dataclass(frozen=True, slots=True)
class Trace:
    """``events`` has the columns of SCHEMA, in the order of arrival. ``refused`` says which lines are none, and why."""

    events: pl.DataFrame
    refused: tuple[str, ...]
    repeats: int  # lines whose request_id an earlier one has


class LineRefused(ValueError):
    """A line that is no call."""


def read_trace(lines: Iterable[str], book: PriceBook) -> Trace:
    """Of JSON, an object a line. The first line with a request_id counts."""
    reading = _Reading(book)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            reading.take(number, line)
    return reading.done()


def lines_of(text: str) -> Iterator[str]:
    """Of JSON lines, and of one array of objects, as ``costream query --json`` writes it."""
    found = text.lstrip()
    if not found.startswith("["):
        yield from text.splitlines()
        return
    try:
        yield from _members(found)
    except (ValueError, RecursionError) as error:
        raise LineRefused(f"it begins like an array, and is no JSON: {error}") from None


def _members(array: str) -> Iterator[str]:
    """Of an array of JSON, each as it stands there: a number keeps its digits."""
    decoder = json.JSONDecoder()
    decoder.decode(array)  # the whole of it is sound
    at = _after_space(array, 1)
    while array[at] != "]":
        _, end = decoder.raw_decode(array, at)
        yield array[at:end]
        at = _after_space(array, _after_space(array, end) + (array[_after_space(array, end)] == ","))


def _after_space(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


class _Reading:
    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._seen = set[str]()
        self._rows = list[tuple[Any, ...]]()
        self._events = list[tuple[UsageEvent, datetime]]()
        self._frames = [pl.DataFrame(schema=SCHEMA)]
        self._refused = list[str]()
        self._repeats = 0

    def take(self, number: int, line: str) -> None:
        try:
            fields = json.loads(line, parse_float=Decimal)
            if not isinstance(fields, dict):
                raise LineRefused("it is no JSON object")
            if self._is_repeat(fields):
                return
            if COST in fields:
                self._rows.append(_row(fields))
            else:
                self._events.append(_event(fields, line, number))
        except LineRefused as error:
            self._refused.append(f"line {number}: {error}")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; objects in objects in objects
            self._refused.append(f"line {number}: it is no JSON: {error}")
        if len(self._events) >= PRICED_AT_ONCE:
            self._price()

    def done(self) -> Trace:
        self._price()
        rows = pl.DataFrame(self._rows, schema=SCHEMA, orient="row")
        events = pl.concat([*self._frames, rows]).sort("arrived_at", maintain_order=True)
        return Trace(events, tuple(self._refused), self._repeats)

    def _is_repeat(self, fields: Mapping[str, Any]) -> bool:
        request_id = fields.get("request_id")
        if not isinstance(request_id, str):
            return False
        known = request_id in self._seen
        self._seen.add(request_id)
        self._repeats += known
        return known

    def _price(self) -> None:
        if self._events:
            self._frames.append(_priced(self._events, self._book))
            self._events = []


def _priced(events: Sequence[tuple[UsageEvent, datetime]], book: PriceBook) -> pl.DataFrame:
    sent = frame_of([event for event, _ in events])
    others = {
        column: [getattr(event, column) or "" for event, _ in events]
        for column in COLUMNS.values()
        if column not in NAMES
    }
    return pl.DataFrame(
        {
            "occurred_at": sent["occurred_at"],
            "arrived_at": [arrived for _, arrived in events],
            **named(sent.select(NAMES), book).select(NAMES).to_dict(),
            **others,
            "cost_pico": price(sent, book)["cost_pico"],
        }
    ).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _event(fields: Mapping[str, Any], line: str, number: int) -> tuple[UsageEvent, datetime]:
    """A usage event as a producer publishes it, and ``received_at`` beside it where that is known."""
    value = line.encode()
    if ARRIVED in fields or "request_id" not in fields:
        own = json.loads(line) | {"request_id": fields.get("request_id", f"line-{number}")}
        value = json.dumps({name: each for name, each in own.items() if name != ARRIVED}).encode()
    try:
        event = UsageEvent.model_validate_json(value)
    except ValidationError:
        found = examine_value(value)  # in the words of a dead letter
        assert isinstance(found, Faulty), "what the model refuses is refused by the closer look"
        raise LineRefused(found.reason) from None
    return event, _moment(fields, ARRIVED) if ARRIVED in fields else event.occurred_at


def _row(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    occurred = _moment(fields, "occurred_at")
    arrived = _moment(fields, ARRIVED) if ARRIVED in fields else occurred
    return occurred, arrived, *(_text(fields, column) for column in COLUMNS.values()), _pico(fields[COST])


def _moment(fields: Mapping[str, Any], name: str) -> datetime:
    """The warehouse prints UTC, mostly without saying so."""
    try:
        moment = datetime.fromisoformat(fields[name])
    except (KeyError, TypeError, ValueError):
        raise LineRefused(f"{name}: {fields.get(name)!r} is no time such as 2026-11-30T10:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise LineRefused(f"{name}: {value!r} is no text")
    return value or ""


def _pico(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(ArithmeticError):  # a text that is no number; one that is not a number
            pico = Decimal(value) * PICO
            if abs(pico) < 2**63 and pico == int(pico):
                return int(pico)
    raise LineRefused(f"{COST}: {str(value)!r} is no amount of USD with at most 12 digits after the point")
