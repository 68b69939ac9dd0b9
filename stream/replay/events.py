"""The events of a file, one after another, with a fault for each line that is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from costream import UsageEvent
from costream.lenient import Refused, build
from costream.reasons import rule_of
from stream.replay import cells
from stream.replay.cells import Unclear
from stream.replay.columns import Cached, Columns, ColumnsRefused, choose
from stream.replay.source import Fault, FileRefused, Row, Source, lines, records

NAMESPACE: Final = UUID("6f5c1f0e-9f0b-5d53-9f63-0a6f1d6c3a11")  # the id of a row without one is derived, never drawn

STATUS: Final = {
    **dict.fromkeys(("success", "succeeded", "completed", "default", "debug", "warning"), "ok"),
    **dict.fromkeys(("failure", "failed"), "error"),
}
COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
NUMBERS: Final = ("duration_ms", "time_to_first_token_ms", "reported_cost_usd", "revenue_usd", "utilization")
OBJECTS: Final = ("quantities", "unit_prices", "metadata")


@dataclass(frozen=True)
class Reading:
    """How a table is read. ``given`` are the values of fields that all rows have from elsewhere."""

    mapped: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo | None = None
    run: str = ""
    cached: Cached = ""


class NotACall:
    """A row that names no model and counts nothing: a span of a trace, or an hour in which nobody asked."""


Outcome = UsageEvent | Fault | NotACall


def of_lines(source: Source) -> Iterator[Outcome]:
    """Each line is an event of ours."""
    for number, line in lines(source):
        try:
            yield UsageEvent.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            yield Fault(number, ".".join(str(part) for part in fault["loc"]), rule_of(fault))


def table(source: Source, reading: Reading) -> tuple[Columns, Iterator[Outcome]]:
    """The columns that were found, and what the rows under them are."""
    rows = records(source)
    header = next(rows)
    if isinstance(header, Fault):
        raise FileRefused(source.path, f"its header cannot be read: {header}")
    try:
        columns = choose(header.cells, reading.mapped, cached=reading.cached, given=tuple(reading.given))
    except ColumnsRefused as refused:
        raise FileRefused(source.path, str(refused)) from refused
    base = reading.run or source.digest
    return columns, (
        row if isinstance(row, Fault) else _of_row(row, columns, reading, name=f"{base}:{row.line}") for row in rows
    )


def _of_row(row: Row, columns: Columns, reading: Reading, *, name: str) -> Outcome:
    """``name`` is what an id is derived from where the row has none."""
    width = len(columns.header)
    if len(row.cells) < width or any(cell.strip() for cell in row.cells[width:]):
        return Fault(row.line, "", f"it has {len(row.cells)} cells, and the header {width}")
    found = {field: cells.given(row.cells[place]) for field, place in columns.places.items()}
    texts = {field: text for field, text in found.items() if text is not None}
    if _is_no_call(texts, row, columns):
        return NotACall()
    column = ""
    values: dict[str, Any] = dict(reading.given)
    try:
        for place in (*columns.requests, *columns.other_tokens):
            column = columns.header[place]
            _require_a_call(row.cells[place], summed=place in columns.requests)
        for field_name, text in texts.items():
            column = columns.header[columns.places[field_name]]
            values[field_name] = _value(field_name, text, reading.zone)
        if columns.details is not None and (details := cells.given(row.cells[columns.details])) is not None:
            column = columns.header[columns.details]
            values |= cells.usage_details(details)
    except Unclear as unclear:
        return Fault(row.line, column, str(unclear))
    if columns.cached == "beside" and columns.details is None and "input_tokens" in values:
        values["input_tokens"] += values.get("cache_read_tokens", 0) + values.get("cache_write_tokens", 0)
    try:
        event, _ = build(values, new_id=lambda: str(uuid5(NAMESPACE, name)))
    except Refused as refused:
        return Fault(row.line, columns.told().get(refused.field, ""), str(refused))
    return event


def _is_no_call(texts: Mapping[str, str], row: Row, columns: Columns) -> bool:
    if "model" not in columns.places or "model" in texts:
        return False
    details = columns.details is not None and cells.given(row.cells[columns.details]) not in (None, "{}")
    return not details and not any(name in texts for name in (*COUNTS, "quantities"))


def _require_a_call(text: str, *, summed: bool) -> None:
    number = cells.count(known) if (known := cells.given(text)) is not None else None
    if summed and number not in (None, 1):
        raise Unclear(f"the row sums {number} requests, and an event is one call: export single requests")
    if not summed and number:
        raise Unclear(f"{number} such tokens are counted, for which an event has no field: tell them as quantities")


def _value(name: str, text: str, zone: tzinfo | None) -> Any:
    if name == "occurred_at":
        return cells.moment(text, zone)
    if name in COUNTS:
        return cells.count(text)
    if name in NUMBERS:
        return cells.number(text)
    if name in OBJECTS:
        return cells.mapping(text)
    if name == "status":
        return cells.http_status(text) or cells.choice(text, STATUS)
    return text


def stretched(events: Sequence[UsageEvent], *, span: timedelta, until: datetime) -> list[UsageEvent]:
    """The same events with the first moved to ``until - span`` and the last to ``until``, evenly in between."""
    moments = stretched_moments([event.occurred_at for event in events], span=span, until=until)
    return [
        event.model_copy(update={"occurred_at": moment.replace(microsecond=moment.microsecond // 1000 * 1000)})
        for event, moment in zip(events, moments, strict=True)
    ]


def stretched_moments(moments: Sequence[datetime], *, span: timedelta, until: datetime) -> list[datetime]:
    """Moments that are all one stay one, at ``until``."""
    if not moments:
        return []
    first, length = min(moments), max(moments) - min(moments)
    if not length:
        return [until] * len(moments)
    return [until - span + (moment - first) * (span / length) for moment in moments]
