"""Repairing what the audit found, without touching a row that a worker owns.

1. Ids counted twice: the later row goes, whole, to ``removed_events`` and then out of ``usage_events``.
2. Rollups that differ from their raw rows get a *correction row* (corrections.py).

The steps may break off anywhere. A row in ``removed_events`` counts as removed from the moment it stands there; what is
left to do follows from what is stored (rows still there, cells that differ), so that a second run does the rest, and a
third finds nothing to do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.remover import Remover
from sinks.clickhouse.writer import Writer
from stream.audit import queries
from stream.audit.adjustments import settle
from stream.audit.budget_sums import rollups
from stream.audit.checks import (
    SHARD_ROWS_MAX,
    SPAN_ROWS_MAX,
    Progress,
    ledger_checks,
    rest,
    silent,
)
from stream.audit.corrections import ROUNDS_MAX, Corrector
from stream.audit.ground import Ground, ground
from stream.audit.report import plain

REMOVED_AT_ONCE: Final = 2_000  # positions in one statement; a server takes 128 KiB as one parameter


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Differing cells of one partition of one rollup: raw rows of the partition are missing."""

    table: str
    source: str
    partition: int
    rows: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """What was done. ``left`` are differing cells of partitions whose raw rows are missing: their rollups know more
    than the raw rows, so rebuilding would lose usage."""

    removed: int
    corrected: int
    left: int
    left_in: tuple[LeftAlone, ...] = field(default=(), compare=False)


def repair(
    reader: Reader,
    writer: Writer,
    remover: Remover,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    since: datetime | None = None,
    retention: timedelta | None = None,
    pause: Callable[[], None] = rest,
    progress: Progress = silent,
    before_each: Callable[[], None] = lambda: None,
) -> Repairs:
    """Remove repeats of counted ids, set right the rollups that differ, and say of re-pricings that broke off how far
    they came. Workers may go on meanwhile. ``before_each`` is called before each write."""
    now = clock()
    on = ground(reader, now=now, since=since, retention=retention)
    before_each()
    removed = _remove_repeats(reader, writer, remover, on, now=now, progress=progress)
    removed += _finish_removals(reader, remover)
    short = ledger_checks(reader, on, now=now).short
    corrected, left = 0, Counter[tuple[str, str, int]]()
    corrector = Corrector(reader, writer, on, clock, pause, before_each)
    spans = queries.spans(reader, start=on.start, rows_max=SPAN_ROWS_MAX)
    for spec in rollups(reader, now=now):
        for done, days in enumerate(spans):
            progress(spec.table, done, len(spans))
            found = corrector.correct(spec, days, short=short)
            corrected += found.corrected
            left.update({(spec.table, *place): rows for place, rows in found.left.items()})
    if since is None:  # all rollups are looked at, so what broke off is right as far as it came
        settle(reader, writer, on, clock=clock, before_each=before_each)
    left_in = tuple(LeftAlone(*place, rows) for place, rows in sorted(left.items()))
    return Repairs(removed, corrected, left.total(), left_in)


# --- ids counted twice -----------------------------------------------------------------------------------------------


def _remove_repeats(
    reader: Reader, writer: Writer, remover: Remover, on: Ground, *, now: datetime, progress: Progress
) -> int:
    """First the copy, then the deletion: between the two the row counts as removed already."""
    removed = 0
    shards = queries.shards(reader, rows_max=SHARD_ROWS_MAX)
    for shard in range(shards):
        for _ in range(ROUNDS_MAX):
            progress("removing repeated ids", shard, shards)
            repeats = queries.repeated(
                reader, stored=on.stored, start=on.start, shard=shard, shards=shards, limit=REMOVED_AT_ONCE
            )
            if repeats.is_empty():
                break
            writer.insert("removed_events", removed_rows(reader, repeats, now=now))
            remover.remove_events(_positions(repeats))
            removed += repeats.height
    return removed


def _finish_removals(reader: Reader, remover: Remover) -> int:
    """Rows whose copy was written and whose deletion never came, or that a worker stored again from the log."""
    finished = 0
    while not (rows := queries.pending(reader, limit=REMOVED_AT_ONCE)).is_empty():
        remover.remove_events(_positions(rows))
        finished += rows.height
    return finished


def _positions(rows: pl.DataFrame) -> list[tuple[str, int, int]]:
    return rows.select("source", "source_partition", "source_offset").rows()


def removed_rows(reader: Reader, repeats: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Rows of table removed_events: each raw row whole, as JSON text, with the reason."""
    kept = {(row["source"], row["source_partition"], row["source_offset"]): row for row in repeats.to_dicts()}
    rows = queries.whole_rows(reader, list(kept)).to_dicts()
    reasons = [_reason(kept[row["source"], row["source_partition"], row["source_offset"]]) for row in rows]
    columns = ("occurred_at", "request_id", "source", "source_partition", "source_offset")
    return pl.DataFrame(
        [
            {
                **{name: row[name] for name in columns},
                "event": json.dumps({name: plain(value) for name, value in row.items()}),
                "reason": reason,
                "removed_at": now,
            }
            for row, reason in zip(rows, reasons, strict=True)
        ],
        schema_overrides=dict.fromkeys(("occurred_at", "removed_at"), pl.Datetime("ms", "UTC")),
    )


def _reason(repeat: dict[str, Any]) -> str:
    return f"request_id was counted before, with occurred_at {plain(repeat['kept_occurred_at'])}"
