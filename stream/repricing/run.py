"""Pricing stored calls anew, block by block, so that it may break off anywhere.

    for each run of days:   for each block of calls:   adjustments, planned ─▶ calls ─▶ adjustments, applied
                            then, of these days:       corrections of the rollups

The calls of an hour (or of a part of an hour that has very many) change all at once. What broke off before is finished
first: which of its planned adjustments stand is read from the calls, and the rollups of its days are corrected. Then a
new run does the rest, since calls that have their price already do not change again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

import polars as pl

from costream.pricing import PriceBook
from sinks.clickhouse import repricings as stored
from sinks.clickhouse.calls_of_span import Span
from sinks.clickhouse.claims import Claim
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.repricings import Repricing
from sinks.clickhouse.writer import SPLIT_ROWS_MIN, Writer
from sinks.errors import WarehouseTooSmall
from stream.audit import budget_sums
from stream.audit.adjustments import settle, unsettled
from stream.audit.checks import Progress, require_rows, rest, silent
from stream.audit.corrections import Corrected, Corrector
from stream.audit.ground import Ground, kept_ground
from stream.audit.queries import DAILY, HOURLY, USER_DAILY, spans
from stream.pricing import price_rows
from stream.repricing.changes import adjustments, as_rows, as_sent, changed
from stream.runtime.errors import StreamError

WITH_MONEY: Final = (HOURLY, DAILY, USER_DAILY)  # units have none
DAYS_ROWS_MAX: Final = 1_000_000  # calls of the days whose rollups are corrected together: some seconds


class NumbersUsedUp(StreamError):
    """price_rev has 16 bits."""

    def __init__(self) -> None:
        super().__init__(f"{stored.NUMBER_MAX:,} re-pricings are as many as there can be; nothing was changed")


@dataclass(frozen=True, slots=True)
class Repriced:
    """What was done. ``run`` is None where no call changed. ``calls`` changed; money is of those whose cost is known.
    ``finished`` are earlier runs that had broken off. ``rollups``: of each table and run of days what was corrected."""

    run: Repricing | None
    calls: int
    cost_usd_before: Decimal
    cost_usd: Decimal
    finished: tuple[Repricing, ...]
    rollups: tuple[Corrected, ...]

    @property
    def corrected(self) -> int:
        """Rollup rows."""
        return sum(found.corrected for found in self.rollups)

    @property
    def restless(self) -> int:
        """Rollup rows that could not be corrected."""
        return sum(found.restless for found in self.rollups)


@dataclass(slots=True)
class Repricer:
    """``claim`` is the right to write corrections. ``book`` prices; ``revision`` is that of its own prices."""

    reader: Reader
    writer: Writer
    claim: Claim
    book: PriceBook
    revision: int
    retention: timedelta | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    pause: Callable[[], None] = rest
    progress: Progress = silent
    rows_max: int = stored.BLOCK_ROWS_MAX

    def run(self, span: Span, *, by: str, reason: str) -> Repriced:
        """Price the calls of the span anew. Raises ``SpanNotKept`` and ``RowsMissing`` before anything is changed."""
        on = kept_ground(self.reader, span.start, now=self.clock(), retention=self.retention)
        require_rows(self.reader, on, now=self.clock())
        known = stored.repricings(self.reader)
        finished, rollups = self._finish(on, known)
        if len(known) == stored.NUMBER_MAX:
            raise NumbersUsedUp
        run = Repricing(
            number=max((each.number for each in known), default=0) + 1,
            begun_at=self.clock(),
            begun_by=by,
            reason=reason,
            span=span,
            price_revision=self.revision,
            build=self.book.version,
        )
        done = Repriced(None, 0, Decimal(0), Decimal(0), finished, tuple(rollups))
        for days in self._runs_of_days(on, *span.days):
            adjusted = list(self._reprice(run, _within(span, days), on, begun=done.run is not None))
            if adjusted:
                done = _with(done, run, pl.concat(adjusted))
                done = replace(done, rollups=(*done.rollups, *self._correct(on, days)))
        if done.run:
            done = replace(done, run=run.ended(stored.FINISHED, at=self.clock()))
            self._write(stored.put, done.run)
        return done

    # --- what broke off before ---------------------------------------------------------------------------------------

    def _finish(self, on: Ground, known: list[Repricing]) -> tuple[tuple[Repricing, ...], list[Corrected]]:
        """Nobody else writes now, so a run that has not ended has broken off."""
        standing, _ = unsettled(self.reader, on)
        numbers = {run.number for run in known if run.state == stored.UNDER_WAY} | set(standing["repricing"])
        bounds = stored.days_changed(self.reader, numbers)
        runs = self._runs_of_days(on, *bounds) if bounds else []
        rollups = [found for days in runs for found in self._correct(on, days)]
        broken = settle(self.reader, self.writer, on, clock=self.clock, before_each=self.claim.require)
        return broken, rollups

    # --- calls -------------------------------------------------------------------------------------------------------

    def _runs_of_days(self, on: Ground, first: date, after: date) -> list[tuple[date, date]]:
        """From the first day to before the second, in runs of about DAYS_ROWS_MAX calls."""
        runs = spans(self.reader, start=max(on.start, first), rows_max=DAYS_ROWS_MAX)
        return [(start, min(end, after)) for start, end in runs if start < after]

    def _reprice(self, run: Repricing, span: Span, on: Ground, *, begun: bool) -> Iterator[pl.DataFrame]:
        """Yields the adjustments of each block that has changed."""
        blocks = deque(stored.blocks_of(self.reader, span, rows_max=self.rows_max))
        done = 0
        while blocks:
            block = blocks.popleft()
            self.progress(f"calls of {span.start:%Y-%m-%d}", done, done + len(blocks) + 1)
            done += 1
            calls = stored.calls_of(self.reader, span, block, stored=on.stored)
            changes = changed(calls, self.book)
            if changes.is_empty():
                continue
            if not begun:
                self._write(stored.put, run)
                begun = True
            told = adjustments(changes, repricing=run.number, block=block, now=self.clock())
            try:
                self._change(run, changes, told)
            except WarehouseTooSmall:
                if changes.height <= SPLIT_ROWS_MIN:
                    raise
                if block.of_one_hour:  # hours are planned anew under the same keys
                    self._write(stored.put_adjustments, told, stored.SPLIT)
                blocks.extendleft(block.halves())
            else:
                yield told

    def _change(self, run: Repricing, changes: pl.DataFrame, told: pl.DataFrame) -> None:
        """All calls of each hour in the block, or none: they travel as one."""
        prices = price_rows(as_sent(changes), set(changes["price_id"]), self.book, now=self.clock())
        self._write(lambda writer: writer.insert("prices", prices))
        self._write(stored.put_adjustments, told, stored.PLANNED)
        rows = as_rows(changes, repricing=run.number)
        self._write(lambda writer: writer.insert_at_once("usage_events", rows))
        self._write(stored.put_adjustments, told, stored.APPLIED)

    # --- rollups -----------------------------------------------------------------------------------------------------

    def _correct(self, on: Ground, days: tuple[date, date]) -> Iterator[Corrected]:
        corrector = Corrector(self.reader, self.writer, on, self.clock, self.pause, self.claim.require)
        specs = (*WITH_MONEY, *budget_sums.tables(self.reader, now=self.clock()))
        for done, spec in enumerate(specs):
            self.progress(f"rollups of {days[0]}", done, len(specs))
            yield corrector.correct(spec, days)

    def _write(self, write: Callable[..., object], *what: object) -> None:
        self.claim.require()
        write(self.writer, *what)


def _with(done: Repriced, run: Repricing, adjusted: pl.DataFrame) -> Repriced:
    calls, before, after = adjusted.select(pl.col("calls", "cost_usd_before", "cost_usd").sum()).row(0)
    return replace(
        done,
        run=run,
        calls=done.calls + calls,
        cost_usd_before=done.cost_usd_before + before,
        cost_usd=done.cost_usd + after,
    )


def _within(span: Span, days: tuple[date, date]) -> Span:
    first, after = (datetime.combine(day, time.min, UTC) for day in days)
    return replace(span, start=max(span.start, first), end=min(span.end, after))
