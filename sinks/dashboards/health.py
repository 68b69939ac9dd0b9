"""The board about the pipeline itself: whether what the other boards show is whole, current and proven."""

from __future__ import annotations

from typing import Final

from sinks.dashboards import panels
from sinks.dashboards.panels import COUNT
from sinks.dashboards.queries import SPAN_IN_USD, Sql, promql

ROWS_MAX: Final = 50
# Alerts that count what has no price.
WITHOUT_A_PRICE: Final = "metric_name IN ('calls_without_price', 'models_without_price')"
NOBODY: Final = "no worker answers"


def board() -> panels.Board:
    made = panels.board(
        "Pipeline",
        about="Whether the figures are whole and current: what is stored, what waits, what was refused or lost, and "
        "whether the audit holds. docs/reference.md says what each metric means and what to do when it moves.",
        span="now-6h",
    )
    for panel in (*_now(), *_flow(), _by_day(), *_unpriced(), *_refused(), *_lost(), *_inside()):
        made = made.with_panel(panel)
    return made


def _now() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.gauge_of(
            "Workers",
            "Workers that Prometheus reaches, and the partitions of usage.events that they hold.",
            promql("count(costream_partitions)", legend="workers", instant=True),
            promql("sum(costream_partitions)", legend="partitions", ref="B", instant=True),
            unit=COUNT,
            missing=NOBODY,
        ),
        panels.gauge_of(
            "Waiting",
            "Records that can be delivered and are not yet stored, at most.",
            promql("sum(costream_lag_records)", legend="records", instant=True),
            unit=COUNT,
            missing=NOBODY,
        ),
        panels.alarming(
            panels.gauge_of(
                "Stalled workers",
                "Workers whose flush is retried because ClickHouse or Kafka does not take it. Nothing is lost.",
                promql("sum(costream_stalled)", legend="stalled", instant=True),
                unit=COUNT,
                missing=NOBODY,
            )
        ),
        panels.numbers(
            "Last stored",
            "When Kafka received, and the warehouse stored, the newest of the calls made in the span.",
            Sql(
                """
                SELECT toUnixTimestamp64Milli(maxOrNull(received_at)) AS last_received_ms,
                  toUnixTimestamp64Milli(maxOrNull(stored_at)) AS last_stored_ms
                FROM usage_events WHERE $__timeFilter(occurred_at)"""
            ),
            columns=("last_received_ms", "last_stored_ms"),
            width=4,
        ),
        panels.alarming(
            panels.gauge_of(
                "Audit: differences",
                "Places where the last audit of a worker does not hold. 0: every total was proven.",
                promql("sum(costream_audit_differences)", legend="places", instant=True),
                unit=COUNT,
                missing="not audited yet",
            )
        ),
        panels.gauge_of(
            "Audit: last",
            "When a worker last proved the totals.",
            promql("max(costream_audit_timestamp_seconds > 0) * 1000", legend="audited", instant=True),
            unit="dateTimeFromNow",
            missing="not audited yet",
        ),
    )


def _flow() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.lines(
            "Records a second",
            "What became of the records of usage.events: stored, repeats of counted ids, refused, or sent on to the "
            "partition of their id.",
            promql("sum by (outcome) (rate(costream_records_total[$__rate_interval]))", legend="{{outcome}}"),
            promql("sum(rate(costream_replayed_records_total[$__rate_interval]))", legend="delivered again", ref="B"),
            unit="cps",
        ),
        panels.lines(
            "Waiting records",
            "By partition. Rising for long: add workers. Withheld offsets wait for a producer's open transaction.",
            promql("sum by (partition) (costream_lag_records)", legend="partition {{partition}}"),
            promql("sum(costream_withheld_offsets)", legend="withheld offsets", ref="B"),
            unit=COUNT,
        ),
        panels.lines(
            "Time of a flush",
            "From the first write of a batch to its acknowledgement. Rising: ClickHouse or Kafka is slow.",
            promql(
                "histogram_quantile(0.5, sum by (le) (rate(costream_flush_seconds_bucket[$__rate_interval])))",
                legend="half of them",
            ),
            promql(
                "histogram_quantile(0.95, sum by (le) (rate(costream_flush_seconds_bucket[$__rate_interval])))",
                legend="95 %",
                ref="B",
            ),
            unit="s",
        ),
        panels.lines(
            "Unpriced calls a second",
            "By provider and model: those that the price table does not have.",
            promql(
                "topk(10, sum by (provider, model) (rate(costream_unpriced_calls_total[$__rate_interval])))",
                legend="{{provider}} {{model}}",
            ),
            unit="cps",
        ),
    )


def _by_day() -> panels.AnyPanel:
    columns = (
        *("day", "calls", "unpriced_calls", "partial_calls", "estimated_calls", "missing_calls", "dead_letters"),
        "dropped_events",
    )
    return panels.listing(
        "How far the figures can be trusted",
        f"Days of the board's time zone, as far as the span reaches: the latest {ROWS_MAX}. Refused records count on "
        "the day of their arrival.",
        Sql(
            f"""
            SELECT {", ".join(columns)}
            FROM data_quality_between({SPAN_IN_USD})
            ORDER BY day DESC LIMIT {ROWS_MAX}"""
        ),
        columns=columns,
        width=24,
    )


def _unpriced() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.listing(
            "Models without a price",
            "Alerts about models that no price is known for, each in its latest revision of the span.",
            Sql(
                f"""
                SELECT * FROM (
                  SELECT timestamp, status, level, title, message
                  FROM alerts WHERE {WITHOUT_A_PRICE} AND $__timeFilter(timestamp)
                  ORDER BY revision DESC LIMIT 1 BY alert_id)
                ORDER BY timestamp DESC LIMIT {ROWS_MAX}"""
            ),
            columns=("timestamp", "status", "level", "title", "message"),
            width=24,
        ),
        panels.listing(
            "Unpriced, and why",
            "Calls without a known price on the days (UTC) of the span. They have no part in any cost.",
            Sql(
                f"""
                SELECT provider, model, cost_reason, cost_detail, sum(calls) AS calls, sum(tokens) AS tokens,
                  max(last_occurred_at) AS last_occurred_at
                FROM unknown_cost_calls WHERE $__dateFilter(day)
                GROUP BY provider, model, cost_reason, cost_detail
                ORDER BY calls DESC, provider, model, cost_reason, cost_detail LIMIT {ROWS_MAX}"""
            ),
            columns=("provider", "model", "cost_reason", "cost_detail", "calls", "tokens", "last_occurred_at"),
        ),
        panels.listing(
            "Partly priced, and why",
            "In USD. Calls on the days (UTC) of the span with an unsure cost: not all that they used has a price of "
            "its own.",
            Sql(
                f"""
                SELECT provider, model, cost_reason, cost_detail, sum(calls) AS calls, sum(cost_usd) AS cost_usd,
                  max(last_occurred_at) AS last_occurred_at
                FROM partial_cost_calls WHERE $__dateFilter(day)
                GROUP BY provider, model, cost_reason, cost_detail
                ORDER BY calls DESC, provider, model, cost_reason, cost_detail LIMIT {ROWS_MAX}"""
            ),
            columns=("provider", "model", "cost_reason", "cost_detail", "calls", "cost_usd", "last_occurred_at"),
        ),
    )


def _refused() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.lines(
            "Refused records",
            "Dead letters by kind, as the warehouse has them.",
            Sql(
                """
                SELECT $__timeInterval(received_at) AS time, toString(kind) AS kind, count() AS records
                FROM dead_letters WHERE $__timeFilter(received_at)
                GROUP BY time, kind ORDER BY time, kind""",
                series=True,
            ),
            unit=COUNT,
        ).interval("1m"),
        panels.listing(
            "Why they were refused",
            "`costream deadletter list` shows the records; mend their sender, and send them again.",
            Sql(
                f"""
                SELECT kind, reason, count() AS records, max(received_at) AS last_received_at
                FROM dead_letters WHERE $__timeFilter(received_at)
                GROUP BY kind, reason ORDER BY records DESC, kind, reason LIMIT {ROWS_MAX}"""
            ),
            columns=("kind", "reason", "records", "last_received_at"),
        ),
        panels.listing(
            "Where the records went",
            "All that was ever read of a topic, in each of its lives: read = stored + repeats + refused + forwarded.",
            Sql(
                """
                SELECT source, sum(received) AS received, sum(stored) AS stored, sum(duplicates) AS duplicates,
                  sum(dead_lettered) AS dead_lettered, sum(forwarded) AS forwarded
                FROM ingest_ledger GROUP BY source ORDER BY source"""
            ),
            columns=("source", "received", "stored", "duplicates", "dead_lettered", "forwarded"),
        ),
    )


def _lost() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.listing(
            "Records that vanished from Kafka",
            "They expired or were deleted before they were read: their usage is lost. Whatever the span of the board.",
            Sql(
                f"""
                SELECT noticed_at, source, source_partition, offset_first, offset_last,
                  offset_last - offset_first + 1 AS records, accepted_reason
                FROM vanished_records
                ORDER BY noticed_at DESC, source, source_partition, offset_first LIMIT {ROWS_MAX}"""
            ),
            columns=(
                *("noticed_at", "source", "source_partition", "offset_first", "offset_last", "records"),
                "accepted_reason",
            ),
        ),
        panels.listing(
            "Events that clients dropped",
            "Clients say themselves what they had to drop. Where there are any, the totals are a lower bound.",
            Sql(
                f"""
                SELECT hour, feature, team, environment, reports, dropped_events
                FROM dropped_events WHERE $__timeFilter(hour)
                ORDER BY hour DESC, feature, team, environment LIMIT {ROWS_MAX}"""
            ),
            columns=("hour", "feature", "team", "environment", "reports", "dropped_events"),
        ),
        panels.listing(
            "Alerts about the pipeline",
            "Each in its latest revision of the span.",
            Sql(
                f"""
                SELECT * FROM (
                  SELECT timestamp, status, level, rule, title, message
                  FROM alerts WHERE scope = 'pipeline' AND $__timeFilter(timestamp)
                  ORDER BY revision DESC LIMIT 1 BY alert_id)
                ORDER BY timestamp DESC LIMIT {ROWS_MAX}"""
            ),
            columns=("timestamp", "status", "level", "rule", "title", "message"),
        ),
    )


def _inside() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.lines(
            "Records that vanished, and letters that were cut",
            "Both are 0 where all is well.",
            promql("sum(increase(costream_vanished_records_total[$__rate_interval]))", legend="vanished"),
            promql("sum(increase(costream_dead_letters_cut_total[$__rate_interval]))", legend="letters cut", ref="B"),
            unit=COUNT,
        ),
        panels.lines(
            "Audit: differences by check",
            "`costream audit` names the places and the next step.",
            promql("max by (check) (costream_audit_differences)", legend="{{check}}"),
            unit=COUNT,
        ),
        panels.lines(
            "Rows in a worker's memory",
            "Sums by table, and ids. At their bounds they are let go and read back (docs/bounds.md).",
            promql("sum by (table) (costream_rollup_rows)", legend="{{table}}"),
            promql("sum(costream_dedup_ids)", legend="ids", ref="B"),
            unit=COUNT,
        ),
        panels.lines(
            "Rows read back a second",
            "Rising as fast as the events: a field meant for a few values is given a new one with each call.",
            promql(
                "sum by (table) (rate(costream_rollup_rows_read_back_total[$__rate_interval]))",
                legend="{{table}}",
            ),
            unit="cps",
        ),
    )
