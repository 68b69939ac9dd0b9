"""Rollups set right, without touching a row that a worker owns.

A *correction row* holds the whole difference between the raw rows of a cell and the worker's own row. It stands under
the same key and partition, with ``source = 'correction:' || source``, and is the full state of that: views and sums
take it in like any other row. A repair, a re-pricing and a rebuild all write it here, one of them at a time.

Workers may go on meanwhile. The tables of one question are not read in the same instant, so a flush that ends in
between can bend a number. A difference is believed once two questions after each other give it alike, and what was
written is looked at again, until nothing differs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import queries
from stream.audit.checks import days_of
from stream.audit.ground import Ground
from stream.audit.queries import CORRECTION, HOURLY, RollupTable

CELLS_MAX: Final = 50_000  # corrected at once: about 30 MB as a frame
ROUNDS_MAX: Final = 1_000  # fifty million cells are no accident; then run it again
RESTLESS_ROUNDS_MAX: Final = 10  # without two questions alike for any cell that differs in both of them

PLACE: Final = ("source", "source_partition")


@dataclass(frozen=True, slots=True)
class Corrected:
    """How many rows were written; how many cells are left of each source and partition that is short of raw rows, since
    its rollups know more than those; and how many never gave the same difference twice."""

    corrected: int = 0
    left: Mapping[tuple[str, int], int] = field(default_factory=dict)
    restless: int = 0


def correct(
    reader: Reader,
    writer: Writer,
    spec: RollupTable,
    on: Ground,
    *,
    days: tuple[date, date],
    short: frozenset[tuple[str, int]],
    clock: Callable[[], datetime],
    pause: Callable[[], None],
    before_each: Callable[[], None] = lambda: None,
) -> Corrected:
    """Correct the cells of the days from the first to before the second. Before each write it calls ``before_each``."""
    written = restless_rounds = 0
    left = restless = pl.DataFrame()
    for _ in range(ROUNDS_MAX):
        cells = queries.differing(reader, spec, stored=on.stored, start=days[0], end=days[1], limit=CELLS_MAX)
        mendable = cells.filter(~_of_partitions(short))
        left = cells.filter(_of_partitions(short))
        if mendable.is_empty():
            restless = mendable
            break
        pause()
        first, after = days_of(spec, mendable)
        bounds = {"start": max(first, days[0]), "end": min(after, days[1])}
        again = queries.differing(reader, spec, stored=on.stored, **bounds, limit=CELLS_MAX).filter(
            ~_of_partitions(short)
        )
        alike = _alike(spec, again, mendable)
        restless = again.join(mendable, on=[*spec.keys, *PLACE], how="semi")
        if alike.is_empty():
            restless_rounds += 1
            if restless.is_empty() or restless_rounds == RESTLESS_ROUNDS_MAX:
                break
            continue
        restless_rounds = 0
        taken_out = queries.taken_out(reader) if spec is HOURLY else None
        before_each()
        writer.insert(spec.table, corrections(spec, alike, taken_out, now=clock()))
        written += alike.height
    by_place = left.group_by(PLACE).len().iter_rows() if left.height else ()
    return Corrected(written, {(source, partition): rows for source, partition, rows in by_place}, restless.height)


def _of_partitions(short: frozenset[tuple[str, int]]) -> pl.Expr:
    return pl.any_horizontal(
        pl.lit(False),  # no partition is short of rows
        *((pl.col("source") == source) & (pl.col("source_partition") == partition) for source, partition in short),
    )


def _alike(spec: RollupTable, cells: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The cells whose differences were the same before."""
    differences = [_whole(name) for name in spec.columns]
    by = [*spec.keys, *PLACE, *spec.columns]
    return cells.with_columns(differences).join(
        before.with_columns(differences), on=by, how="semi", nulls_equal=True, maintain_order="left"
    )


def _whole(name: str) -> pl.Expr:
    return (pl.col(f"{name}_raw") - pl.col(f"{name}_worker")).alias(name)


def corrections(
    spec: RollupTable, cells: pl.DataFrame, taken_out: pl.DataFrame | None, *, now: datetime
) -> pl.DataFrame:
    """Rows of the rollup's own table: what must be added to the worker's row of each cell so that it equals raw.

    The latest correction of a key wins, and its version says which that is: it goes by the clock, and never below the
    one that is there, should that have been written by a clock that was ahead.
    """
    place = [*spec.keys, *PLACE]
    moment = pl.lit(round(now.timestamp() * 1000), dtype=pl.Int64)
    rows = cells.select(
        *place,
        *(_whole(name) for name in spec.columns),
        *(pl.col(f"{name}_raw").list.set_difference(f"{name}_worker").alias(name) for name in spec.sets),
        version=pl.max_horizontal(moment, pl.col("corrected_version") + 1),
    )
    if taken_out is not None:
        repeats = taken_out.select(*place, "duplicates")
        rows = rows.join(repeats, on=place, how="left", maintain_order="left").with_columns(
            pl.col("duplicates").fill_null(0)
        )
    return rows.with_columns(source=CORRECTION + pl.col("source"))
