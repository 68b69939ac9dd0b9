"""The board that Grafana opens on: what was spent, who spent it, whether it is spiking, and what is unpriced."""

from __future__ import annotations

from typing import Final

from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.dashboards import panels
from sinks.dashboards.queries import (
    DAY_START,
    DAYS_OF,
    END,
    HOURS_OF,
    IN_CURRENCY,
    MONTH_START,
    SERIES_MAX,
    SPAN,
    ZONE,
    Sql,
    between,
    leading,
)

UID: Final = "costream-cost"
ROWS_MAX: Final = 50

# `by` is one of the dimensions; quoted as a name, it can be nothing else.
BY: Final = "${by:doublequote}"

# Alerts whose figures are USD, of whatever scope; and those that count what has no price.
IN_USD: Final = "metric_name IN ('hourly_cost_spike', 'hourly_cost_anomaly')"
WITHOUT_A_PRICE: Final = "metric_name IN ('calls_without_price', 'models_without_price')"

SPENT: Final = ("cost", "calls", "unpriced_calls")

# The hour that is compared with the last one of the span. A whole one, so that no single calls are needed for it.
SAME_HOUR: Final = f"toStartOfHour({END} - toIntervalMonth(1) - 1)"


def board() -> panels.Board:
    made = panels.board(
        "Cost",
        uid=UID,
        about="What was spent, by whom, whether it is spiking, and what is unpriced. A cost without any known "
        "price is unknown, never 0, and unpriced calls have no part in it. Money is in the board's currency, by the "
        "exchange rate of each day (UTC), and in USD where a panel says so.",
        span="now-7d/d",
    )
    made = made.link(panels.link_to("Models", "costream-models")).link(panels.link_to("Pipeline", "costream-pipeline"))
    made = made.with_variable(panels.choice("by", label="by", options=DIMENSIONS, first="model"))
    made = made.with_variable(panels.currencies())
    for panel in (*_spent(), _expected(), _budgets(), *_who(), *_earned_and_changed(), *_spiking(), *_unpriced()):
        made = made.with_panel(panel)
    return made


def _spent() -> tuple[panels.AnyPanel, ...]:
    return (
        _spent_in(
            "The last 60 minutes",
            "What is being spent an hour now: the whole of it, and no rate of a second.",
            between(f"{END} - toIntervalHour(1)", END),
            width=24,
        ),
        _spent_in("Today", "From midnight in the board's time zone until its span ends.", between(DAY_START, END)),
        _spent_in(
            "The day before, until the same time",
            "What today is to be held against.",
            between(f"{DAY_START} - toIntervalDay(1)", f"{END} - toIntervalDay(1)"),
        ),
        _spent_in(
            "This month",
            "From the first of the month in the board's time zone until its span ends.",
            between(MONTH_START, END),
        ),
        _spent_in(
            "The month before, until the same hour",
            "What this month is to be held against: until the end of the same hour of the same day, or of the last day "
            "of that month.",
            between(f"{MONTH_START} - toIntervalMonth(1)", f"{SAME_HOUR} + toIntervalHour(1)"),
        ),
        panels.costs_over_time(
            "Cost by hour",
            f"Hours of UTC that begin in the span, by ${{by}}: the {SERIES_MAX} dearest, and all others as one. Where "
            "nothing has a price there is no bar; the points count the calls without one.",
            _hours(),
            Sql(
                f"""
                SELECT $__timeInterval(hour) AS time, sum(unpriced_calls) AS unpriced_calls
                {HOURS_OF}
                GROUP BY time ORDER BY time""",
                ref="B",
                series=True,
            ),
            interval="1h",
        ),
        panels.costs_over_time(
            "Cost by day",
            f"Days of the board's time zone, by ${{by}}: the {SERIES_MAX} dearest, and all others as one. The "
            "first and the last day count as far as the span reaches.",
            _days(),
            Sql(
                f"""
                SELECT toDateTime(day, {ZONE}) AS time, sum(unpriced_calls) AS unpriced_calls
                {DAYS_OF}
                GROUP BY time ORDER BY time""",
                ref="B",
                series=True,
            ),
            interval="1d",
        ),
    )


def _expected() -> panels.AnyPanel:
    """By the clocks that it was told by last: COSTREAM_ZONE of the workers."""
    return panels.expected_over_time(
        "What the month was expected to cost",
        "In USD, of everything together: what was expected at the end of each day, the band that holds the end of the "
        "month in 80 of 100 cases, and what was spent by then. Told by the clocks of COSTREAM_ZONE. Unpriced calls "
        "have no part in it. `costream forecast` tells it for any feature, team or model.",
        Sql(
            """
            SELECT made_at, so_far, expected, low, high, unpriced_calls
            FROM forecasts
            WHERE scope = 'system' AND period = 'month' AND $__timeFilter(made_at)
              AND zone = (SELECT argMax(zone, made_at) FROM forecasts WHERE scope = 'system')
            ORDER BY made_at"""
        ),
    )


def _budgets() -> panels.AnyPanel:
    return panels.listing(
        "Budgets and limits",
        f"Where each stands now, whatever the span of the board: the {ROWS_MAX} of which most is used. The projection "
        "is what the period costs if it goes on as it began.",
        Sql(
            f"""
            SELECT budget, subject, period, zone, spent, amount, currency, ratio AS share, level, projected, calls,
              unpriced_calls
            FROM budget_status
            ORDER BY share DESC NULLS LAST, budget, subject LIMIT {ROWS_MAX}"""
        ),
        columns=(
            *("budget", "subject", "period", "zone", "spent", "amount", "currency", "share", "level", "projected"),
            *("calls", "unpriced_calls"),
        ),
        width=24,
    )


def _spent_in(title: str, about: str, span: str, *, width: int = 6) -> panels.AnyPanel:
    question = Sql(
        f"""
        SELECT {IN_CURRENCY} AS cost, sum(u.calls) AS calls, sum(u.unpriced_calls) AS unpriced_calls
        FROM usage_between({span}) AS u"""
    )
    return panels.numbers(title, about, question, columns=SPENT, width=width)


def _hours() -> Sql:
    return leading(BY, "$__timeInterval(hour)", f"{IN_CURRENCY} AS cost", HOURS_OF)


def _days() -> Sql:
    return leading(BY, f"toDateTime(day, {ZONE})", f"{IN_CURRENCY} AS cost", DAYS_OF)


def _who() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.listing(
            "Who spent it, by ${by}",
            f"Of the span to the millisecond, the {ROWS_MAX} dearest.",
            Sql(
                f"""
                SELECT toString({BY}) AS name, {IN_CURRENCY} AS cost, sum(u.calls) AS calls, sum(u.errors) AS errors,
                  sum(u.unpriced_calls) AS unpriced_calls, sum(u.partial_calls) AS partial_calls
                FROM usage_between({SPAN}) AS u
                GROUP BY name ORDER BY sum(u.cost_usd) DESC NULLS LAST, name LIMIT {ROWS_MAX}"""
            ),
            columns=("name", "cost", "calls", "errors", "unpriced_calls", "partial_calls"),
        ),
        panels.listing(
            "Top users",
            f"Of the span to the millisecond, the {ROWS_MAX} dearest. Users are kept by whole days of UTC; parts of a "
            "day need single calls, which are kept for COSTREAM_RETENTION.",
            Sql(
                f"""
                SELECT if(user_id = '', '(no user)', user_id) AS user_id, cost, calls, unpriced_calls, partial_calls
                FROM user_cost_summary_between({SPAN})
                ORDER BY cost_usd DESC NULLS LAST, user_id LIMIT {ROWS_MAX}"""
            ),
            columns=("user_id", "cost", "calls", "unpriced_calls", "partial_calls"),
        ),
        _compared("Features", "feature"),
        _compared("Providers", "provider"),
    )


def _compared(title: str, dimension: str) -> panels.AnyPanel:
    columns = (dimension, "calls", "cost", "avg_cost", "cost_share", "unpriced_calls", "partial_calls")
    return panels.listing(
        title,
        f"Of the span to the millisecond, the {ROWS_MAX} dearest, and what one priced call costs.",
        Sql(
            f"""
            SELECT {", ".join(columns)}
            FROM {dimension}_cost_summary_between({SPAN})
            ORDER BY cost_share DESC NULLS LAST, {dimension} LIMIT {ROWS_MAX}"""
        ),
        columns=columns,
    )


def _earned_and_changed() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.listing(
            "Margin by feature",
            "Of the span to the millisecond, the worst first. A feature earns what its credits are sold for, for "
            "each call that did not fail; without credits, what its events report. Red is a loss. Unpriced calls "
            "have no part in the cost.",
            Sql(
                f"""
                SELECT feature, revenue, cost, margin, margin_percent, calls, unpriced_calls, partial_calls
                FROM feature_margin_between({SPAN})
                ORDER BY margin NULLS LAST, feature LIMIT {ROWS_MAX}"""
            ),
            columns=(
                *("feature", "revenue", "cost", "margin", "margin_percent", "calls", "unpriced_calls"),
                "partial_calls",
            ),
            width=24,
        ),
        panels.listing(
            "Months by feature",
            "In USD. The months (UTC) that the span touches, each beside the whole month before it. The month that "
            "runs is told as far as it has come.",
            Sql(
                f"""
                SELECT month, feature, cost_usd, previous_cost_usd, difference_usd, change_percent, calls,
                  unpriced_calls
                FROM month_over_month_by_feature
                WHERE month >= toStartOfMonth(toDate($__fromTime, 'UTC')) AND month <= toDate($__toTime, 'UTC')
                ORDER BY month DESC, cost_usd DESC NULLS LAST, feature LIMIT {ROWS_MAX}"""
            ),
            columns=(
                *("month", "feature", "cost_usd", "previous_cost_usd", "difference_usd", "change_percent"),
                *("calls", "unpriced_calls"),
            ),
            width=24,
        ),
    )


def _spiking() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.alarming(
            panels.numbers(
                "Is it spiking?",
                "Alerts about costs that stand now, whatever the span of the board.",
                Sql(
                    f"""
                    SELECT countIf(latest IN ('open', 'updated')) AS alerts
                    FROM (
                      SELECT argMax(status, revision) AS latest FROM alerts
                      WHERE {IN_USD} GROUP BY alert_id)"""
                ),
                columns=("alerts",),
                width=4,
            )
        ),
        panels.listing(
            "Spikes",
            "Alerts about costs, each in its latest revision of the span.",
            Sql(
                f"""
                SELECT * FROM (
                  SELECT timestamp, status, level, rule, scope, title, current_value, expected_value, ratio,
                    unpriced_calls, window_start, window_end, message
                  FROM alerts WHERE {IN_USD} AND $__timeFilter(timestamp)
                  ORDER BY revision DESC LIMIT 1 BY alert_id)
                ORDER BY timestamp DESC LIMIT {ROWS_MAX}"""
            ),
            columns=(
                *("timestamp", "status", "level", "rule", "scope", "title", "current_value", "expected_value", "ratio"),
                *("unpriced_calls", "window_start", "window_end", "message"),
            ),
            width=20,
        ),
    )


def _unpriced() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.numbers(
            "How much is priced?",
            "Shares of the calls of the span. A partly priced call is in the cost with what could be priced of it.",
            Sql(
                f"""
                SELECT (sum(calls) - sum(unpriced_calls) - sum(partial_calls)) / nullIf(sum(calls), 0) AS priced_share,
                  sum(partial_calls) / nullIf(sum(calls), 0) AS partial_share,
                  sum(unpriced_calls) / nullIf(sum(calls), 0) AS unpriced_share
                FROM usage_between({SPAN})"""
            ),
            columns=("priced_share", "partial_share", "unpriced_share"),
            width=24,
        ),
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
