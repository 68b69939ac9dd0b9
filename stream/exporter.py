"""Metrics of usage for Prometheus, told by one worker: whoever holds ``usage.rollups``. It looks every 30 seconds.

What is shown is kept first: a count that somebody has seen is where the next holder goes on. A scrape asks nothing of
the warehouse, it is given what the last look found; while the warehouse is away that stays, and
``costream_usage_metrics_timestamp_seconds`` says how old it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog

from sinks.clickhouse import counted_calls
from sinks.clickhouse.budget_status import budget_ratios
from sinks.clickhouse.cost_rate import cost_of_last_hour
from sinks.clickhouse.counted_calls import Kept, Span
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseError
from sinks.metrics.counts import TOKENS_AT_MOST, Counts, counts_of, stored_text
from sinks.metrics.families import Gauges, families
from sinks.metrics.text import text_of
from stream.runtime.telemetry import Telemetry
from stream.watch.turn import OutOfTurn, Turn

LOOK: Final = timedelta(seconds=30)
REST: Final = 20  # times what a look took: it takes a twentieth of a core and no more, however much is stored
SPANS_MAX: Final = 4  # in one look, a million calls: gauges are not to wait for a backlog of counters

NEXT: Final = "what was shown stays; tried again, and no call is left out"

log = structlog.get_logger(__name__)


class Exporter:
    """``tick`` blocks, and one thread calls it; ``text`` is for any."""

    def __init__(
        self,
        turn: Turn,
        *,
        reader: Reader,
        writer: Writer,
        telemetry: Telemetry,
        users_max: int,
        clock: Callable[[], datetime],
    ) -> None:
        """``users_max``: so many users have a series of their own in a day; with 0 users are not told apart."""
        self._turn, self._reader, self._writer, self._telemetry = turn, reader, writer, telemetry
        self._users_max, self._clock = users_max, clock
        self._number: int | None = None  # the turn that was begun
        self._kept: Kept | None = None  # what is in the warehouse, once that was read
        self._counts = Counts()
        self._text = ""
        self._look_at = clock()
        self._failing = False

    def text(self) -> str:
        """What to show; nothing as soon as it is another worker's turn, since that one shows more."""
        number = self._turn.number
        return self._text if number is not None and number == self._number else ""

    def tick(self) -> None:
        """Look, if it is time and this worker's turn. A failure is logged and tried again; it never ends the loop."""
        number, now = self._turn.number, self._clock()
        if number != self._number:
            self._begin(number, now)
        if number is None or now < self._look_at:
            return
        started = time.monotonic()
        try:
            self._look(number, now)
        except OutOfTurn:
            return  # the next holder counts these calls
        except WarehouseError as error:
            if not self._failing:  # once, until it works again
                log.warning("metrics of usage not brought up to date", reason=str(error), next=NEXT)
            self._failing = True
        except Exception as error:
            log.error("metrics of usage not brought up to date", reason=str(error), next=NEXT, exc_info=True)
        else:
            self._failing = False
        self._look_at = now + max(LOOK, timedelta(seconds=REST * (time.monotonic() - started)))

    def _begin(self, number: int | None, now: datetime) -> None:
        """Forget what was known: another worker has counted meanwhile."""
        self._text, self._kept, self._counts = "", None, Counts()
        self._telemetry.usage_metrics_timestamp.set(0)
        self._look_at = now
        self._number = number

    def _look(self, number: int, now: datetime) -> None:
        kept = self._kept or self._restored()
        new = counted_calls.spans(kept.firsts, counted_calls.stored(self._reader))
        for span in islice(new, SPANS_MAX):
            kept = self._count(kept, span, number, now)
        gauges = Gauges(cost_of_last_hour(self._reader, now=now), budget_ratios(self._reader))
        self._text = text_of(families(self._counts, gauges, by_user=self._users_max > 0))
        self._telemetry.usage_metrics_timestamp.set(now.timestamp())

    def _restored(self) -> Kept:
        kept = counted_calls.kept(self._reader)
        counts = counts_of(kept.counts) if kept.counts else Counts()
        self._kept, self._counts = kept, counts if self._users_max else counts.without_users()
        return kept

    def _count(self, kept: Kept, span: Span, number: int, now: datetime) -> Kept:
        """Never shown before it is kept: after a crash in between the next holder would show less."""
        calls = counted_calls.calls_of(self._reader, span, edges=TOKENS_AT_MOST)
        counts = self._counts.plus(calls, day=now.date(), users_max=self._users_max)
        following = kept.next(span, stored_text(counts))
        with self._turn.publishing(number):
            counted_calls.keep(self._writer, following, at=now)
        self._kept, self._counts = following, counts
        return following
