"""Rollups recomputed from the calls that they are made of, whatever became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import queries
from stream.audit.budget_sums import rollups
from stream.audit.checks import SPAN_ROWS_MAX, Progress, require_rows, rest, silent
from stream.audit.corrections import Corrector
from stream.audit.ground import Ground, kept_ground
from stream.audit.queries import RollupTable

LIMIT: Final = 1  # the count of all that differ stands in each row


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """By table: the rows that differed from their calls. They are corrected, but for those that are ``restless``: they
    went on changing while they were compared."""

    rows: Mapping[str, int]
    restless: int = 0


def rebuild(
    reader: Reader,
    writer: Writer,
    *,
    start: date,
    end: date,
    retention: timedelta | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    pause: Callable[[], None] = rest,
    progress: Progress = silent,
    before_each: Callable[[], None] = lambda: None,
) -> Rebuilt:
    """Give the rollups of the days from ``start`` to before ``end`` the sums of their calls. Repeats (``duplicates``)
    stay as they are: no call tells them. Workers may go on meanwhile; ``before_each`` is called before each write.

    Raises ``SpanNotKept`` and ``RowsMissing`` before anything is changed.
    """
    now = clock()
    on = _ground(reader, start, now=now, retention=retention)
    corrector = Corrector(reader, writer, on, clock, pause, before_each)
    specs = rollups(reader, now=now)
    rows, restless = dict.fromkeys((spec.table for spec in specs), 0), 0
    for spec in specs:
        runs = _runs(reader, start, end)
        for done, days in enumerate(runs):
            progress(spec.table, done, len(runs))
            found = corrector.correct(spec, days)
            rows[spec.table] += found.corrected
            restless += found.restless
    return Rebuilt(rows, restless)


def differing(
    reader: Reader,
    *,
    start: date,
    end: date,
    now: datetime,
    retention: timedelta | None = None,
    progress: Progress = silent,
) -> Rebuilt:
    """What ``rebuild`` would correct, by what one question says: a flush that ends meanwhile may be among it."""
    on = _ground(reader, start, now=now, retention=retention)
    specs = rollups(reader, now=now)
    rows = dict.fromkeys((spec.table for spec in specs), 0)
    for spec in specs:
        runs = _runs(reader, start, end)
        for done, days in enumerate(runs):
            progress(spec.table, done, len(runs))
            rows[spec.table] += _differing(reader, spec, on, days)
    return Rebuilt(rows)


def _ground(reader: Reader, start: date, *, now: datetime, retention: timedelta | None) -> Ground:
    on = kept_ground(reader, datetime.combine(start, time.min, UTC), now=now, retention=retention)
    require_rows(reader, on, now=now)
    return on


def _runs(reader: Reader, start: date, end: date) -> list[tuple[date, date]]:
    runs = queries.spans(reader, start=start, rows_max=SPAN_ROWS_MAX)
    return [(first, min(after, end)) for first, after in runs if first < end]


def _differing(reader: Reader, spec: RollupTable, on: Ground, days: tuple[date, date]) -> int:
    cells = queries.differing(reader, spec, stored=on.stored, start=days[0], end=days[1], limit=LIMIT)
    return int(cells["differing"][0]) if cells.height else 0
