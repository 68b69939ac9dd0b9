"""The modules of the pure core, and for each the tests that are to notice a change of it.

A room has its modules, each with the tests that import it, which take seconds. What these do not notice, the wide list
of the room may: all tests that stand on the room, with the embedded engine too; the quick ones first. Tests of the
client's delivery, of the worker's shell and on Kafka are in neither: they go over the same core, and take minutes.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.trials import Tests

_DECODE: Final = ("stream/test_decode.py", "stream/test_examination.py", "stream/test_bad_input.py")
_EXAMINATION: Final = ("stream/test_examination.py", "stream/test_decode.py", "stream/test_bad_input.py")
_PRICES: Final = (
    *("producers/test_price_files.py", "producers/test_price_names.py", "producers/test_price_rules.py"),
    *("producers/test_price_texts.py", "producers/test_price_items.py", "producers/test_exchange_rates.py"),
    *("producers/test_money.py", "producers/test_price_differences.py"),
)
_PRICING: Final = ("stream/test_priced_calls.py", "stream/test_pricing.py")
_JUDGE: Final = ("stream/test_watch_judge.py", "stream/test_watch_baseline.py")
_TROUBLE: Final = ("stream/test_pipeline_rules.py", "stream/test_rules.py")
_AUDIT: Final = ("stream/test_audit_checks.py", "stream/test_audit_ledger.py", "stream/test_audit_steps.py")
_BILL: Final = ("sinks/test_bill_reasons.py", "sinks/test_bill_comparison.py", "sinks/test_bill_formats.py")
_METRICS: Final = ("sinks/test_metrics_counts.py", "sinks/test_metrics_text.py")
_PUBLISHED: Final = "test_published_files.py"

# The wide list of each room, and its modules.
_ROOMS: Final[list[tuple[tuple[str, ...], dict[str, tuple[str, ...]]]]] = [
    (
        (
            *("producers/test_events.py", "producers/test_schema.py", "producers/test_alert.py", "stream/test_cut.py"),
            *("producers/test_lenient.py", "producers/test_usage_objects.py", "stream/test_values.py", *_DECODE),
            *("stream/test_wire.py", "stream/test_deadletter.py", "stream/test_topics.py", "stream/test_arrival.py"),
            *("stream/test_alert_topic.py", "stream/test_bounds.py", "stream/test_ingest.py", _PUBLISHED),
        ),
        {
            "producers/src/costream/events.py": ("producers/test_events.py", "producers/test_schema.py", *_EXAMINATION),
            "producers/src/costream/alerts.py": ("producers/test_alert.py", "producers/test_schema.py", *_JUDGE),
            "producers/src/costream/budgets.py": ("producers/test_budget_state.py", "stream/test_budget_limits.py"),
            "producers/src/costream/guarding/asked.py": ("producers/test_known_limits.py",),
            "producers/src/costream/guarding/known.py": ("producers/test_known_limits.py",),
            "producers/src/costream/lenient.py": ("producers/test_lenient.py", "producers/test_usage_objects.py"),
            "producers/src/costream/files.py": ("stream/test_rules_files.py", "producers/test_price_files.py"),
            "producers/src/costream/topics.py": ("stream/test_cut.py", "stream/test_decode.py"),
            "stream/decode/__init__.py": _DECODE,
            "stream/decode/arrival.py": ("stream/test_arrival.py", *_DECODE),
            "stream/decode/cut.py": ("stream/test_cut.py", *_DECODE, "stream/test_wire.py"),
            "stream/decode/examination.py": _EXAMINATION,
            "stream/decode/frame.py": _DECODE,
        },
    ),
    (
        (
            *(*_PRICES, *_PRICING, "stream/test_names.py", "stream/test_units_upgrade.py", "stream/test_ingest.py"),
            *("stream/test_price_revisions.py", _PUBLISHED),
            *("stream/test_explain_command.py", "stream/test_prices_command.py"),
            "stream/test_pricing_equals_genai_prices.py",
        ),
        {
            **{
                f"producers/src/costream/pricing/{name}.py": (*_PRICES, *_PRICING)
                for name in (
                    *("__init__", "book", "bundled", "differences", "entries", "exchange", "items", "layers", "names"),
                    *("money", "quote", "rates", "reasons", "sku", "source", "texts", "units", "usage", "validity"),
                )
            },
            **{
                f"stream/pricing/{name}.py": ("stream/test_names.py", *_PRICING)
                for name in ("__init__", "columns", "events", "names", "quotes")
            },
            "stream/pricing/texts.py": (*_PRICING, "stream/test_price_revisions.py"),
            "stream/pricing/rehearsal.py": ("stream/test_rehearse.py",),
            "sinks/answers/__init__.py": ("stream/test_explain_command.py",),
            "sinks/answers/explain.py": ("stream/test_explain_command.py",),
        },
    ),
    (
        (*_BILL, _PUBLISHED, "stream/test_reconcile_command.py"),
        {
            "sinks/answers/bill/comparison.py": ("sinks/test_bill_comparison.py",),
            "sinks/answers/bill/names.py": ("sinks/test_bill_comparison.py",),
            "sinks/answers/bill/theirs.py": ("sinks/test_bill_comparison.py",),
            "sinks/answers/bill/lines.py": ("sinks/test_bill_comparison.py", "sinks/test_bill_formats.py"),
            "sinks/answers/bill/reasons.py": ("sinks/test_bill_reasons.py",),
            **{
                f"sinks/answers/bill/{name}.py": ("sinks/test_bill_formats.py",)
                for name in ("__init__", "anthropic", "formats", "google", "openai", "reading", "records")
            },
        },
    ),
    (
        ("sinks/test_forecast.py", "stream/test_forecast_command.py"),
        {
            f"sinks/answers/forecast/{name}.py": ("sinks/test_forecast.py",)
            for name in ("__init__", "outlook", "rhythm")
        },
    ),
    (
        (*_METRICS, "sinks/test_metrics_page.py", "stream/test_exporter.py"),
        {f"sinks/metrics/{name}.py": _METRICS for name in ("__init__", "counts", "families", "text")},
    ),
    (
        (
            *("stream/test_home.py", "stream/test_ids.py", "stream/test_packed.py", "stream/test_rollup_columns.py"),
            *("stream/test_rollup_rows.py", "stream/test_rollup.py", "stream/test_dedup.py", "stream/test_seams.py"),
            *("stream/test_store.py", "stream/test_flood.py", "stream/test_deadletter.py", "stream/test_arrival.py"),
            *("stream/test_bounds.py", "sinks/test_warehouse_contract.py", "stream/test_ingest.py"),
        ),
        {
            "stream/dedup/__init__.py": ("stream/test_dedup.py",),
            "stream/dedup/home.py": ("stream/test_home.py", "stream/test_dedup.py"),
            "stream/dedup/ids.py": ("stream/test_ids.py", "stream/test_dedup.py"),
            "stream/dedup/seen.py": ("stream/test_dedup.py", "stream/test_ids.py"),
            "stream/rollup/__init__.py": ("stream/test_rollup.py",),
            "stream/rollup/packed.py": ("stream/test_packed.py", "stream/test_rollup_rows.py", "stream/test_rollup.py"),
            "stream/rollup/rows.py": ("stream/test_rollup_rows.py", "stream/test_packed.py", "stream/test_rollup.py"),
            "stream/rollup/sums.py": ("stream/test_rollup_columns.py", "stream/test_rollup.py"),
            "stream/store/letters.py": ("stream/test_deadletter.py", "stream/test_arrival.py"),
            "stream/store/flood.py": ("stream/test_flood.py", "stream/test_arrival.py"),
            "stream/store/order.py": ("stream/test_store.py",),
            "stream/store/flush.py": ("stream/test_store.py",),
            "sinks/clickhouse/rows.py": ("stream/test_store.py", "sinks/test_warehouse_contract.py"),
        },
    ),
    (
        (
            *("stream/test_rules.py", "stream/test_turn.py", "stream/test_pipeline_rules.py", *_JUDGE),
            *("stream/test_watch_series.py", "stream/test_watch_drivers.py", "stream/test_watch_noticed.py"),
            "stream/test_watch_difference.py",
            *("stream/test_pipeline_alerts.py", "stream/test_alert_topic.py", "stream/test_watch_warehouse.py"),
            *("stream/test_unknown_price.py", "stream/test_watch.py"),
        ),
        {
            "stream/watch/baseline.py": ("stream/test_watch_baseline.py", "stream/test_watch_judge.py"),
            "stream/watch/few_calls.py": ("stream/test_watch_baseline.py", "benchmarks/test_benchmark_detect.py"),
            "stream/watch/usual.py": ("stream/test_watch_baseline.py", "benchmarks/test_benchmark_detect.py"),
            "stream/watch/case.py": _JUDGE,
            "stream/watch/series.py": ("stream/test_watch_series.py", *_JUDGE),
            "stream/watch/judge.py": _JUDGE,
            "stream/watch/rounding.py": ("stream/test_watch_difference.py", "stream/test_watch_judge.py"),
            "stream/watch/reasons/asking.py": ("stream/test_watch_warehouse.py",),
            "stream/watch/reasons/difference.py": ("stream/test_watch_difference.py",),
            "stream/watch/reasons/drivers.py": ("stream/test_watch_drivers.py", "stream/test_watch_judge.py"),
            "stream/watch/reasons/evidence.py": ("stream/test_watch_difference.py", "stream/test_watch_drivers.py"),
            "stream/watch/reasons/words.py": ("stream/test_watch_difference.py", "stream/test_watch_wording.py"),
            "stream/watch/playing/arrivals.py": ("stream/test_watch_playing.py",),
            "stream/watch/playing/forecasts.py": ("stream/test_watch_playing.py",),
            "stream/watch/playing/hours.py": ("stream/test_watch_playing.py",),
            "stream/watch/scopes.py": ("stream/test_watch_wording.py", "stream/test_watch.py"),
            "stream/watch/wording.py": ("stream/test_watch_wording.py", "stream/test_watch_judge.py"),
            "stream/watch/history.py": ("stream/test_watch_history.py", *_JUDGE),
            "stream/watch/unpriced_words.py": ("stream/test_unknown_price.py",),
            "stream/watch/rules/unknown_price.py": ("stream/test_unknown_price.py", "stream/test_rules.py"),
            "stream/watch/turn.py": ("stream/test_turn.py", "stream/test_pipeline_alerts.py"),
            "stream/watch/rules/__init__.py": _TROUBLE,
            **{f"stream/watch/rules/{name}.py": (*_JUDGE, "stream/test_rules.py") for name in ("anomaly", "spike")},
            **{f"stream/watch/rules/{name}.py": (*_JUDGE, "stream/test_turn.py") for name in ("hourly", "rule")},
            **{
                f"stream/watch/rules/{name}.py": _TROUBLE for name in ("audit", "flood", "stall", "trouble", "vanished")
            },
        },
    ),
    (
        (
            *(*_AUDIT, "stream/test_audit_report.py", "stream/test_reread_judge.py", "stream/test_reread_restore.py"),
            *("stream/test_auditor.py", "stream/test_audit_command.py", "stream/test_audit.py"),
            "stream/test_rebuild.py",
        ),
        {
            "stream/audit/checks.py": (*_AUDIT, "stream/test_audit_report.py"),
            "stream/audit/corrections.py": ("stream/test_corrections.py",),
            "stream/audit/costs.py": ("stream/test_audit_costs.py",),
            "stream/audit/ground.py": ("stream/test_audit_checks.py", "stream/test_rebuild.py"),
            "stream/audit/ledger.py": _AUDIT,
            "stream/audit/steps.py": (*_AUDIT, "stream/test_audit_report.py"),
            "stream/reread/judge.py": ("stream/test_reread_judge.py",),
        },
    ),
    (
        (
            *("stream/test_budget_judge.py", "stream/test_budget_spend.py", "stream/test_budget_periods.py"),
            *("stream/test_budget_playing.py", "stream/test_rules_files.py", "stream/test_rules_trace.py"),
            *("stream/test_foreseen.py", "stream/test_forecast_rule.py"),
            *("stream/test_rules_command.py", "stream/test_budget_rule.py", "stream/test_budget_sums.py", _PUBLISHED),
        ),
        {
            "stream/budgets/__init__.py": ("stream/test_budget_judge.py",),
            "stream/budgets/budget.py": ("stream/test_budget_spend.py", "stream/test_budget_judge.py"),
            "stream/budgets/facts.py": ("stream/test_budget_judge.py", "stream/test_foreseen.py"),
            "stream/budgets/counted.py": ("stream/test_budget_counted.py",),
            "stream/budgets/judge.py": ("stream/test_budget_judge.py",),
            "stream/budgets/periods.py": ("stream/test_budget_periods.py",),
            "stream/budgets/limits.py": ("stream/test_budget_limits.py",),
            "stream/budgets/playing.py": ("stream/test_budget_playing.py",),
            "stream/budgets/spend.py": ("stream/test_budget_spend.py",),
            "stream/budgets/trace.py": ("stream/test_rules_trace.py",),
            "stream/budgets/words.py": ("stream/test_budget_judge.py",),
            "stream/budgets/zones.py": ("stream/test_budget_periods.py",),
            "stream/watch/rules/budget.py": ("stream/test_budget_rule.py",),
            "stream/watch/budget_spends.py": ("stream/test_budget_rule.py",),
            "stream/watch/budget_parts.py": ("stream/test_budget_rule.py",),
            "stream/watch/foreseen.py": ("stream/test_foreseen.py",),
            "stream/watch/foreseen_words.py": ("stream/test_foreseen.py",),
            "stream/watch/rules/forecast.py": ("stream/test_forecast_rule.py",),
            "stream/audit/budget_sums.py": ("stream/test_budget_sums.py",),
            "stream/audit/filling.py": ("stream/test_budget_sums.py",),
            "stream/rulebook/__init__.py": ("stream/test_rules_files.py",),
            "stream/rulebook/entries.py": ("stream/test_rules_files.py",),
            "stream/rulebook/rulebook.py": ("stream/test_rules_files.py",),
        },
    ),
    (
        (
            *("stream/test_lane.py", "stream/test_channel_entries.py", "stream/test_channel_templates.py"),
            *("stream/test_notifier.py", "stream/test_channels_command.py", "stream/test_rules_command.py"),
            "sinks/test_channels.py",
        ),
        {
            "stream/notify/acts.py": ("stream/test_lane.py",),
            "stream/notify/lane.py": ("stream/test_lane.py",),
            "stream/notify/receivers.py": ("stream/test_channel_entries.py", "stream/test_channel_templates.py"),
            "stream/rulebook/channels.py": ("stream/test_channel_entries.py",),
            "stream/rulebook/templates.py": ("stream/test_channel_templates.py",),
        },
    ),
    (
        (
            *("sinks/test_figure_spans.py", "sinks/test_figure_answers.py", "sinks/test_page_parts.py"),
            *("sinks/test_access.py", "sinks/test_figures.py", "sinks/test_api.py", "sinks/test_every_door.py"),
            *("sinks/test_mcp.py", _PUBLISHED),
        ),
        {
            "sinks/figures/spans.py": ("sinks/test_figure_spans.py",),
            "sinks/figures/answers.py": ("sinks/test_figure_answers.py",),
            "sinks/figures/spend.py": ("sinks/test_figures.py",),
            "sinks/figures/people.py": ("sinks/test_figures.py",),
            "sinks/figures/system.py": ("sinks/test_figures.py",),
            "sinks/figures/calls.py": ("sinks/test_figures.py",),
            "sinks/api/access.py": ("sinks/test_access.py",),
            "sinks/api/formats.py": ("sinks/test_api.py",),
            "sinks/page/words.py": ("sinks/test_page_parts.py",),
            "sinks/page/charts.py": ("sinks/test_page_parts.py",),
            "sinks/page/asked.py": ("sinks/test_page_parts.py",),
            "sinks/mcp/tools.py": ("sinks/test_mcp.py",),
        },
    ),
    (
        ("stream/test_repricing_changes.py", "stream/test_repricing.py", "stream/test_reprice_command.py"),
        {
            "stream/repricing/changes.py": ("stream/test_repricing_changes.py",),
            "stream/repricing/run.py": ("stream/test_repricing.py",),
            "stream/audit/adjustments.py": ("stream/test_repricing.py",),
        },
    ),
    (
        (
            *("sinks/test_blocks.py", "sinks/test_codes.py", "sinks/test_guard.py", "sinks/test_span_sentences.py"),
            *("sinks/test_spans.py", "sinks/test_warehouse_contract.py", "sinks/test_endpoint.py"),
        ),
        {
            "sinks/clickhouse/codes.py": ("sinks/test_codes.py",),
            "sinks/clickhouse/embedded/guard.py": ("sinks/test_guard.py",),
            "sinks/clickhouse/spans.py": ("sinks/test_span_sentences.py",),
            "sinks/clickhouse/embedded/blocks.py": ("sinks/test_blocks.py",),
        },
    ),
]


def _below_tests(names: tuple[str, ...]) -> Tests:
    return tuple(f"tests/{name}" for name in names)


# The two lists of each module: the second is run where the first has noticed nothing.
TARGETS: Final = {
    path: (_below_tests(first), _below_tests(tuple(name for name in wide if name not in first)))
    for wide, modules in _ROOMS
    for path, first in modules.items()
}
