"""The trace of a real service's requests, which the demo plays: when each arrived, and its tokens."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import uuid5

from costream import UsageEvent
from stream.replay import cells
from stream.replay.events import NAMESPACE, stretched_moments
from stream.runtime.errors import StreamError

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
    moments = stretched_moments([request.arrived_at for request in requests], span=span, until=until)
    return [replace(request, arrived_at=moment) for request, moment in zip(requests, moments, strict=True)]


def _open_text(path: Path) -> TextIO:
    try:
        return io.TextIOWrapper(gzip.open(path) if path.suffix == ".gz" else path.open("rb"), encoding="utf-8")
    except OSError as error:
        raise TraceRefused(path=path, line=0, reason=error.strerror or str(error)) from error


def _request(path: Path, number: int, row: dict[str, str]) -> Request:
    try:
        arrived_at = cells.moment(row["TIMESTAMP"], UTC)
        return Request(arrived_at, cells.count(row["ContextTokens"]), cells.count(row["GeneratedTokens"]))
    except cells.Unclear as error:
        raise TraceRefused(path=path, line=number, reason=str(error)) from error
