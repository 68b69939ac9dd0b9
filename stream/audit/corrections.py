"""Rollups set right, without touching a row that a worker owns.

A *correction row* holds the whole difference between the raw rows of a cell and the worker's own row. It stands under
the same key and partition, with ``source = 'correction:' || source``, and is the full state of that: views and sums
take it in like any other row. A repair, a re-pricing and a rebuild all write it here, one of them at a time.

Workers may go on meanwhile. The tables of one question are not read in the same instant, so a flush that ends in
between could bend a number. So the ledger is read before, and only calls that it has applied are added up: a worker's
row that has applied no more is whole, and its difference is right at the first reading. A row that is ahead of the
ledger has its turn at the next one. What is ahead again and again is compared with the calls that the row itself has
applied, and believed once two readings after each other give the same difference.
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
from stream.audit.ground import Ground
from stream.audit.queries import CORRECTION, HOURLY, RollupTable, Stored

CELLS_MAX: Final = 100_000  # corrected at once: about 60 MB as a frame
ROUNDS_MAX: Final = 1_000  # a hundred million cells are no accident; then run it again
AHEAD_ROUNDS_MAX: Final = 4  # a cell is ahead that a flush has met within the last hundredths of a second
RESTLESS_ROUNDS_MAX: Final = 10  # without two readings alike for any cell that differs in both of them

PLACE: Final = ("source", "source_partition")


@dataclass(frozen=True, slots=True)
class Corrected:
    """How many rows were written; how many cells are left of each source and partition that is short of raw rows, since
    its rollups know more than those; and how many never gave the same difference twice."""

    corrected: int = 0
    left: Mapping[tuple[str, int], int] = field(default_factory=dict)
    restless: int = 0


@dataclass(frozen=True, slots=True)
class Corrector:
    """Corrects rollups ``on`` this ground. Before each write it calls ``before_each``."""

    reader: Reader
    writer: Writer
    on: Ground
    clock: Callable[[], datetime]
    pause: Callable[[], None]
    before_each: Callable[[], None] = lambda: None

    def correct(
        self, spec: RollupTable, days: tuple[date, date], *, short: frozenset[tuple[str, int]] = frozenset()
    ) -> Corrected:
        """The cells of the days from the first to before the second; those of partitions that are ``short`` of raw rows
        are left."""
        table = _Table(self, spec, days, short)
        if table.correct_what_rests():
            table.correct_what_moves()
        return table.done()


@dataclass(slots=True)
class _Table:
    """The days of one table, and how far they are corrected."""

    by: Corrector
    spec: RollupTable
    days: tuple[date, date]
    short: frozenset[tuple[str, int]]
    written: int = 0
    left: pl.DataFrame = field(default_factory=pl.DataFrame)
    restless: int = 0

    def correct_what_rests(self) -> bool:
        """Returns whether some cells were ahead of the ledger each time."""
        open_: pl.DataFrame | None = None  # cells that were ahead at every reading so far; None: not all are known
        ahead_rounds = 0
        for _ in range(ROUNDS_MAX):
            stored = queries.stored_to(queries.ledger(self.by.reader))
            cells = self._mendable(self._asked(queries.settled, stored))
            resting, ahead = cells.filter(~pl.col("ahead")), cells.filter("ahead")
            self._write(resting)
            if cells.height + self.left.height == CELLS_MAX:
                open_ = None
                if resting.height:
                    continue
            open_ = ahead if open_ is None else self._also_in(ahead, open_)
            if open_.is_empty():
                return False
            ahead_rounds += 1
            if ahead_rounds == AHEAD_ROUNDS_MAX:
                return True
            self.by.pause()
        return True

    def correct_what_moves(self) -> None:
        restless_rounds = 0
        for _ in range(ROUNDS_MAX):
            cells = self._mendable(self._asked(queries.differing, self.by.on.stored))
            self.restless = cells.height
            if cells.is_empty():
                return
            self.by.pause()
            again = self._mendable(self._asked(queries.differing, self.by.on.stored))
            alike = _alike(self.spec, again, cells)
            self.restless = self._also_in(again, cells).height
            self._write(alike)
            restless_rounds = 0 if alike.height else restless_rounds + 1
            if not self.restless or restless_rounds == RESTLESS_ROUNDS_MAX:
                return

    def done(self) -> Corrected:
        by_place = self.left.group_by(PLACE).len().iter_rows() if self.left.height else ()
        return Corrected(
            self.written, {(source, partition): rows for source, partition, rows in by_place}, self.restless
        )

    def _asked(self, question: Callable[..., pl.DataFrame], stored: Stored) -> pl.DataFrame:
        start, end = self.days
        return question(self.by.reader, self.spec, stored=stored, start=start, end=end, limit=CELLS_MAX)

    def _mendable(self, cells: pl.DataFrame) -> pl.DataFrame:
        """Without those of partitions that are short of raw rows, which are left."""
        of_short = pl.any_horizontal(
            pl.lit(False),  # no partition is short of rows
            *(
                (pl.col("source") == source) & (pl.col("source_partition") == partition)
                for source, partition in self.short
            ),
        )
        self.left = cells.filter(of_short & ~pl.col("ahead")) if "ahead" in cells.columns else cells.filter(of_short)
        return cells.filter(~of_short)

    def _also_in(self, cells: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
        return cells.join(others, on=[*self.spec.keys, *PLACE], how="semi")

    def _write(self, cells: pl.DataFrame) -> None:
        if cells.is_empty():
            return
        taken_out = queries.taken_out(self.by.reader) if self.spec is HOURLY else None
        self.by.before_each()
        self.by.writer.insert(self.spec.table, corrections(self.spec, cells, taken_out, now=self.by.clock()))
        self.written += cells.height


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
