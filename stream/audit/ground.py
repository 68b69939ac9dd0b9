"""The ground on which calls and rollups are compared: what is kept whole, and what the ledger has applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.retention import raw_since
from stream.audit import queries
from stream.audit.queries import Stored
from stream.runtime.errors import StreamError


class SpanNotKept(StreamError):
    """Calls of the span may have expired."""

    def __init__(self, *, start: datetime, kept: date) -> None:
        super().__init__(
            f"the span begins at {start:%Y-%m-%d %H:%M} UTC, and single calls are kept whole from {kept} on: what is "
            f"older cannot be worked out again. Nothing was changed; give --from {kept} or later"
        )


class RowsMissing(StreamError):
    """Raw rows are missing, so a whole difference would take away usage that only the rollups know of."""

    def __init__(self, partitions: frozenset[tuple[str, int]]) -> None:
        named = ", ".join(f"partition {partition} of {source}" for source, partition in sorted(partitions))
        super().__init__(
            f"single calls of {named} are missing, so rollups cannot be worked out from calls. Nothing was changed; "
            "`costream audit` says how to bring them back"
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """What is compared: whole days from ``start`` on, and of each partition the offsets that the ledger has."""

    start: date
    horizon: datetime  # events before it may have expired
    ledger: pl.DataFrame
    stored: Stored


def ground(
    reader: Reader, *, now: datetime, since: datetime | None = None, retention: timedelta | None = None
) -> Ground:
    """Read the ledger. Do it before anything else: what it has applied was stored before, so it can be counted."""
    # Parts expire a little before or after their minute; the first whole day after the horizon is safe.
    kept = raw_since(reader, now=now)
    horizon = _midnight(max(kept, now - retention) if retention else kept) + timedelta(days=2)
    start = max(horizon, _midnight(since)) if since else horizon
    rows = queries.ledger(reader)
    return Ground(start.date(), horizon, rows, queries.stored_to(rows))


def kept_ground(reader: Reader, start: datetime, *, now: datetime, retention: timedelta | None) -> Ground:
    """What can be worked out again. Raises ``SpanNotKept`` where calls from ``start`` on may have expired."""
    on = ground(reader, now=now, retention=retention)
    if start.date() < on.start:
        raise SpanNotKept(start=start, kept=on.start)
    return on


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
