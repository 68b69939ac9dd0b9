"""The metrics of a worker: a closed vocabulary. Each says what it counts and what to do when it moves.

Label sets are bounded: partitions and outcomes are few, and beyond MODELS_MAX models the rest are counted as "other".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MODELS_MAX: Final = 200  # a metrics store dies of unbounded labels; the warehouse has them all
FLUSH_SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Telemetry:
    """The metrics of one worker, in a registry of its own, so that two workers in a process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models: set[tuple[str, str]] = set()
        self._rollup_totals: dict[str, tuple[int, int]] = {}
        self._add_records()
        self._add_reading()
        self._add_memory()
        self._add_verdicts()
        self.usage_text: Callable[[], str] = lambda: ""  # metrics of usage, exact to the digit, from whoever tells them

    def _add_records(self) -> None:
        self.records = Counter(
            "costream_records",
            "Records of usage.events by what became of them: stored, duplicates, dead_lettered, forwarded. "
            "dead_lettered rising: read their reasons (costream deadletter list).",
            ["outcome"],
            registry=self.registry,
        )
        self.replayed = Counter(
            "costream_replayed_records",
            "Records delivered again after they had been stored; they change nothing. Some after a restart or a "
            "rebalance are normal; rising steadily: offsets are not being committed.",
            registry=self.registry,
        )
        self.unpriced = Counter(
            "costream_unpriced_calls",
            "Calls stored without a known cost. Rising: a model or provider that the price table does not have.",
            ["provider", "model"],
            registry=self.registry,
        )
        self.flush_seconds = Histogram(
            "costream_flush_seconds",
            "From the first write of a batch to its acknowledgement. Rising: ClickHouse or Kafka is slow.",
            buckets=FLUSH_SECONDS_BUCKETS,
            registry=self.registry,
        )

    def _add_reading(self) -> None:
        self.stalled = self._gauge(
            "costream_stalled",
            "1 while a flush is being retried because ClickHouse or Kafka does not take it. Nothing is lost; mend it.",
        )
        self.lag = Gauge(
            "costream_lag_records",
            "Records of a partition held that can be delivered and are not yet stored, at most: offsets without a "
            "record count until they are passed over. 0: nothing is left. Rising for long: add workers.",
            ["partition"],
            registry=self.registry,
        )
        self.withheld = Gauge(
            "costream_withheld_offsets",
            "Offsets of a partition held that Kafka keeps back because a producer's transaction before them is open. "
            "Above 0 for longer than that producer's transaction.timeout.ms: `kafka-transactions.sh find-hanging`.",
            ["partition"],
            registry=self.registry,
        )
        self.vanished = Counter(
            "costream_vanished_records",
            "Records of usage.events, at most, that were gone from Kafka before they were read: expired or deleted. "
            "Above 0: usage is lost; the log and `costream audit` name the offsets. Mend what stopped the workers, and "
            "keep the topic longer.",
            registry=self.registry,
        )
        self.partitions = self._gauge(
            "costream_partitions",
            "Partitions of usage.events that this worker holds. 0 for long: more workers than partitions.",
        )

    def _add_memory(self) -> None:
        self.dedup_ids = self._gauge("costream_dedup_ids", "Ids in memory.")
        self.dedup_memory_bytes = self._gauge("costream_dedup_memory_bytes", "Memory of the ids in memory.")
        self.dedup_window_seconds = self._gauge(
            "costream_dedup_window_seconds",
            "How far back an id with other content is recognised as a conflict. Below the setting: "
            "COSTREAM_DEDUP_IDS_MAX is too small for this volume.",
        )
        self.rollup_rows = Gauge(
            "costream_rollup_rows",
            "Rows of a table of rollups in memory. At its bound (docs/bounds.md) rows are let go and read back.",
            ["table"],
            registry=self.registry,
        )
        self.rollup_rows_evicted = Counter(
            "costream_rollup_rows_evicted",
            "Rows of rollups let go once they were stored. Rising: more series an hour than fit in memory.",
            ["table"],
            registry=self.registry,
        )
        self.rollup_rows_read_back = Counter(
            "costream_rollup_rows_read_back",
            "Rows of rollups read back because an event needed them. Rising as fast as the events: a field meant for a "
            "few values, such as feature or team, is given a new one with each call; mend its sender.",
            ["table"],
            registry=self.registry,
        )
        self.dead_letters_cut = Counter(
            "costream_dead_letters_cut",
            "Dead letters kept without their bytes, since a partition had too many of them in a minute "
            "(docs/bounds.md). Counted and listed like all others; mend their sender, the records are in usage.events.",
            registry=self.registry,
        )

    def _add_verdicts(self) -> None:
        self.alerts = Counter(
            "costream_alerts",
            "Alerts published, by rule and status.",
            ["rule", "status"],
            registry=self.registry,
        )
        self.deliveries = Counter(
            "costream_alert_deliveries",
            "Attempts to tell people of an alert, by channel and outcome: delivered, failed (tried again), given up.",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.deliveries_waiting = Gauge(
            "costream_alert_deliveries_waiting",
            "Alerts of which a channel has not been told yet. Above 0 for long: its receiver does not take them, or "
            "there are more than its hourly_max.",
            ["channel"],
            registry=self.registry,
        )
        self.strange_rollups = Counter(
            "costream_strange_rollups",
            "Records of usage.rollups that are not what a worker writes; they are passed over. Rising: somebody else "
            "writes there; the log has the reason of the first.",
            registry=self.registry,
        )
        self.strange_alerts = self._gauge(
            "costream_strange_alerts",
            "Records of usage.alerts that no worker wrote, when this worker read its alerts back; passed over. "
            "Above 0: somebody else writes there; the log has the reason of the first.",
        )
        self.strange_budgets = self._gauge(
            "costream_strange_budgets",
            "Records of usage.budgets that no worker wrote, when this worker read its limits back; passed over. "
            "Above 0: somebody else writes there, and may have clients refuse calls; the log has the reason of the "
            "first.",
        )
        self.audit_differences = Gauge(
            "costream_audit_differences",
            "Places where a check of the worker's own audit does not hold, by check. Above 0: a total is wrong; "
            "costream audit names it. Only on the worker that audits, after its first audit.",
            ["check"],
            registry=self.registry,
        )
        self.audit_timestamp = self._gauge(
            "costream_audit_timestamp_seconds",
            "When this worker's last audit ended, in Unix time; 0 on a worker that does not audit. Older than twice "
            "COSTREAM_AUDIT_INTERVAL on all workers: nobody proves the totals; the log says why.",
        )

        self.usage_metrics_timestamp = self._gauge(
            "costream_usage_metrics_timestamp_seconds",
            "As of when this worker tells the metrics of usage (docs/metrics.md), in Unix time; 0: another one does. "
            "Older than some minutes: the warehouse does not answer; the log says why.",
        )

    def audited(self, differing: Mapping[str, int], *, at: datetime) -> None:
        """``differing``: of each check the places where it does not hold."""
        for check, places in differing.items():
            self.audit_differences.labels(check).set(places)
        self.audit_timestamp.set(at.timestamp())

    def no_audit(self) -> None:
        self.audit_differences.clear()
        self.audit_timestamp.set(0)

    def rollup_memory(self, table: str, *, rows: int, evicted: int, read_back: int) -> None:
        """``evicted`` and ``read_back`` are totals since the worker's start."""
        before = self._rollup_totals.get(table, (0, 0))
        self._rollup_totals[table] = evicted, read_back
        self.rollup_rows.labels(table).set(rows)
        self.rollup_rows_evicted.labels(table).inc(evicted - before[0])
        self.rollup_rows_read_back.labels(table).inc(read_back - before[1])

    def unpriced_calls(self, provider: str, model: str, calls: int) -> None:
        """Count calls without a known cost under a bounded number of labels."""
        if (provider, model) not in self._models:
            if len(self._models) >= MODELS_MAX:
                provider, model = "other", "other"
            self._models.add((provider, model))
        self.unpriced.labels(provider, model).inc(calls)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)
