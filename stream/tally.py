"""What became of everything, as metrics and, where a person should hear of it, as a line in the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

import structlog

from costream.alerts import Alert
from costream.budgets import BudgetState
from costream.topics import ALERTS, BUDGETS, ROLLUPS
from stream.consume.batches import Batch
from stream.consume.progress import Progress
from stream.ingest import Ingest
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry
from stream.store import flood
from stream.store.flush import Flush
from stream.watch.alert_topic import PublishedAlerts
from stream.watch.budget_topic import published_states
from stream.watch.noticed import noticed

FLOOD_TOLD_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Tally:
    """Counts for one worker. Its methods are called from the loop, ``published`` and ``limited`` from the threads that
    judge."""

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        settings: Settings,
        ingest: Ingest,
        progress: Progress,
        clock: Callable[[], datetime],
    ) -> None:
        self._telemetry, self._settings, self._ingest = telemetry, settings, ingest
        self._progress, self._clock = progress, clock
        self._published_alerts = PublishedAlerts(settings)
        self._flood_told = -FLOOD_TOLD_SECONDS
        self._strangers_told: set[str] = set()

    def flush_seconds(self) -> AbstractContextManager[Any]:
        """Around the storing of a flush."""
        return self._telemetry.flush_seconds.time()

    def stored(self, batch: Batch, flush: Flush) -> None:
        """A batch is stored and acknowledged."""
        self._progress.stored(batch.chunks)
        outcomes = {
            "stored": flush.stored,
            "duplicates": flush.duplicates,
            "dead_lettered": len(flush.refusals),
            "forwarded": len(flush.forwards),
        }
        for outcome, records in outcomes.items():
            self._telemetry.records.labels(outcome).inc(records)
        if flush.letters_cut:
            self._telemetry.dead_letters_cut.inc(flush.letters_cut)
            self._tell_of_flood(flush)
        if flush.replayed:
            self._telemetry.replayed.inc(flush.replayed)
            log.info("delivered again", records=flush.replayed, next="applied only where they were not yet")
        for (provider, model), calls in flush.unpriced.items():
            self._telemetry.unpriced_calls(provider, model, calls)
        self._measure_memory()

    def vanished(self, records: int) -> None:
        self._telemetry.vanished.inc(records)

    def told(self, alerts: Iterable[Alert]) -> None:
        """These revisions are on usage.alerts."""
        for alert in alerts:
            self._telemetry.alerts.labels(alert.rule, alert.status).inc()

    def rollups(self, values: Iterable[bytes | None]) -> Sequence[Mapping[str, Any] | None]:
        """The rows in values of usage.rollups, without those that no worker wrote."""
        found = noticed(values)
        self._telemetry.strange_rollups.inc(found.strange)
        if found.strange:
            self._tell_of_strangers(ROLLUPS, found.strange, found.reason, metric="costream_strange_rollups")
        return found.rows

    def published(self) -> list[Alert]:
        """The alerts on usage.alerts, without those that no worker wrote."""
        found = self._published_alerts.read(self._clock())
        self._telemetry.strange_alerts.set(found.strange)
        if found.strange:
            self._tell_of_strangers(ALERTS, found.strange, found.reason, metric="costream_strange_alerts")
        return found.alerts

    def limited(self) -> list[BudgetState]:
        """The states on usage.budgets, without those that no worker wrote."""
        found = published_states(self._settings)
        self._telemetry.strange_budgets.set(found.strange)
        if found.strange:
            self._tell_of_strangers(BUDGETS, found.strange, found.reason, metric="costream_strange_budgets")
        return list(found.states.values())

    def _tell_of_strangers(self, name: str, records: int, reason: str, *, metric: str) -> None:
        """Once a topic: there may be thousands."""
        if name in self._strangers_told:
            return
        self._strangers_told.add(name)
        told = {"topic": self._settings.topic(name), "records": records, "reason": reason}
        log.warning("records of somebody else", **told, next=f"passed over, said once, and counted in {metric}")

    def _tell_of_flood(self, flush: Flush) -> None:
        """Once a minute: there may be thousands a second."""
        if time.monotonic() - self._flood_told < FLOOD_TOLD_SECONDS:
            return
        self._flood_told = time.monotonic()
        reason = next(refusal.reason for refusal in flush.refusals if refusal.reason.endswith(flood.NOTE))
        log.warning(
            "a flood of dead letters",
            without_their_bytes=flush.letters_cut,
            one_of_them=reason,
            next="all are counted; mend the sender, `costream deadletter list` has the first of each minute whole",
        )

    def _measure_memory(self) -> None:
        seen = self._ingest.seen
        self._telemetry.dedup_ids.set(len(seen))
        self._telemetry.dedup_memory_bytes.set(seen.memory_bytes)
        for rollup in self._ingest.rollups:
            self._telemetry.rollup_memory(
                rollup.spec.table, rows=len(rollup), evicted=rollup.evicted, read_back=rollup.read_back
            )
        self._telemetry.dedup_window_seconds.set((self._clock() - seen.known_since).total_seconds())
