"""Traces of requests as usage events: the CSV of a real service, or JSON Lines of events."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import UUID, uuid5

from pydantic import ValidationError

from costream import UsageEvent
from costream.reasons import rule_of
from stream.runtime.errors import StreamError

NAMESPACE: Final = UUID("6f5c1f0e-9f0b-5d53-9f63-0a6f1d6c3a11")  # ours: ids of trace rows are derived, never drawn
CSV_COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


class TraceRefused(StreamError):
    """A line of a trace is not what it should be; nothing of the file was published."""

    def __init__(self, *, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}; nothing of the file was published")


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a trace: when a request arrived and how many tokens went in and out."""

    arrived_at: datetime
    input_tokens: int
    output_tokens: int


def read_requests(path: Path) -> list[Request]:
    """The rows of a trace CSV (columns TIMESTAMP, ContextTokens, GeneratedTokens; UTC), gzipped or not."""
    with _open_text(path) as text:
        rows = csv.DictReader(text)
        missing = [name for name in CSV_COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise TraceRefused(path=path, line=1, reason=f"the column {missing[0]} is missing")
        return [_request(path, number, row) for number, row in enumerate(rows, start=2)]


def read_events(path: Path) -> list[UsageEvent]:
    """Usage events, one JSON object a line, gzipped or not."""
    with _open_text(path) as text:
        return [_event(path, number, line) for number, line in enumerate(text, start=1) if line.strip()]


def as_events(
    requests: Iterable[Request], *, run: str, models: Sequence[tuple[str, str]], **fields: Any
) -> Iterator[UsageEvent]:
    """Each request as a chat event; the (provider, model) of row n is number n modulo their count, its id is derived
    from ``run`` and n: the same trace replayed under the same name counts once."""
    for number, request in enumerate(requests):
        provider, model = models[number % len(models)]
        yield UsageEvent(
            request_id=str(uuid5(NAMESPACE, f"{run}:{number}")),
            occurred_at=request.arrived_at,
            provider=provider,
            model=model,
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens,
            **fields,
        )


def stretched(requests: Sequence[Request], *, span: timedelta, until: datetime) -> list[Request]:
    """The same arrivals with the first moved to ``until - span`` and the last to ``until``, evenly in between."""
    first = min(request.arrived_at for request in requests)
    length = max(request.arrived_at for request in requests) - first
    return [
        Request(
            until - span + (request.arrived_at - first) * (span / length), request.input_tokens, request.output_tokens
        )
        for request in requests
    ]


def _open_text(path: Path) -> TextIO:
    try:
        return io.TextIOWrapper(gzip.open(path) if path.suffix == ".gz" else path.open("rb"), encoding="utf-8")
    except OSError as error:
        raise TraceRefused(path=path, line=0, reason=error.strerror or str(error)) from error


def _request(path: Path, number: int, row: dict[str, str]) -> Request:
    try:
        # The trace has seven digits after the second; Python reads six.
        arrived_at = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
        return Request(arrived_at, int(row["ContextTokens"]), int(row["GeneratedTokens"]))
    except (TypeError, ValueError) as error:
        raise TraceRefused(path=path, line=number, reason=str(error)) from error


def _event(path: Path, number: int, line: str) -> UsageEvent:
    try:
        return UsageEvent.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "event"
        raise TraceRefused(path=path, line=number, reason=f"{place}: {rule_of(fault)}") from error
