"""The board that Grafana opens on: what was spent, against what may be spent, and whether it is spiking."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from sinks.dashboards import panels
from sinks.dashboards.explore import CHOICES_MAX
from sinks.dashboards.queries import (
    DAY_START,
    DAYS_OF,
    DAYS_WON,
    END,
    HAS_WON,
    IN_WON,
    MONTH_START,
    SO_FAR,
    SO_FAR_WON,
    SPAN,
    WON,
    ZONE,
    Sql,
    between,
    leading,
    value_of,
)
from sinks.dashboards.rules import MONTH_WON_MAX
from sinks.figures.spend import IN_CURRENCY

ROWS_MAX: Final = 50
USERS_MAX: Final = 10

# Alerts whose figures are USD, of whatever scope.
IN_USD: Final = "metric_name IN ('hourly_cost_spike', 'hourly_cost_anomaly')"

SPENT: Final = ("cost", "calls", "unpriced_calls")

# The hour that is compared with the last one of the span. A whole one, so that no single calls are needed for it.
SAME_HOUR: Final = f"toStartOfHour({END} - toIntervalMonth(1) - 1)"
SAME_HOUR_BEFORE: Final = between(f"{MONTH_START} - toIntervalMonth(1)", f"{SAME_HOUR} + toIntervalHour(1)")
MONTH: Final = between(MONTH_START, END)
MONTH_WON: Final = between(MONTH_START, END, currency=WON)
LAST_24_HOURS_WON: Final = between(f"toStartOfHour({END} - 1) - toIntervalHour(23)", END, currency=WON)

# The limits and the budget whose amounts are lines and colours here. They are those of the rules in force, so a line
# moves with its rule, and is not there where the rule is off.
MONTH_LIMIT: Final = "monthly_cost_exceeded"
HOUR_LIMIT: Final = "hourly_cost_exceeded"
USER_LIMIT: Final = "user_cost_exceeded"
DAY_BUDGET: Final = "daily_budget"

# What one call may cost, in won, and what part of the calls of one feature may fail. Exactly so much is met.
CALL_TARGETS_WON: Final = {"strategy_generation": Decimal(100), "backtest": Decimal(50)}
FAILED_PERCENT_TARGET: Final = Decimal(5)


def board() -> panels.Board:
    made = panels.board(
        "Overview",
        about="What was spent, against what may be spent, and whether it is spiking. A cost without any known price is "
        "unknown, never 0, and unpriced calls have no part in it. Money is in the board's currency, by the exchange "
        "rate of each day (UTC), and in USD or KRW where a panel says so. What is said in KRW needs an exchange rate "
        "of KRW: none is shipped.",
        span="now-7d/d",
    )
    made = panels.with_events(made).with_variable(panels.currencies())
    features = Sql(f"SELECT DISTINCT feature FROM usage_daily ORDER BY feature LIMIT {CHOICES_MAX}")
    made = made.with_variable(
        panels.choice_of("watched", label="failures of", question=features, first="strategy_generation")
    )
    for panel in (*_spent(), *_in_won(), *_budgets(), _expected(), *_by_provider(), *_who(), *_changed(), *_spiking()):
        made = made.with_panel(panel)
    return made.with_panel(_priced())


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
        _spent_in("This month", "From the first of the month in the board's time zone until its span ends.", MONTH),
        _spent_in(
            "The month before, until the same hour",
            "What this month is to be held against: until the end of the same hour of the same day, or of the last day "
            "of that month.",
            SAME_HOUR_BEFORE,
        ),
    )


def _spent_in(title: str, about: str, span: str, *, width: int = 6) -> panels.AnyPanel:
    question = Sql(
        f"""
        SELECT {IN_CURRENCY} AS cost, sum(u.calls) AS calls, sum(u.unpriced_calls) AS unpriced_calls
        FROM usage_between({span}) AS u"""
    )
    return panels.numbers(title, about, question, columns=SPENT, width=width)


def _line_of(limit: str) -> Sql:
    """The amount of a limit as a threshold. Grafana colours from the threshold on, and exactly the amount is no breach:
    so it stands a millionth above."""
    return Sql(
        f"SELECT 0 AS base, amount + toDecimal128('0.000001', 12) AS amount FROM budgets WHERE budget = '{limit}'",
        ref=panels.STEPS_REF,
    )


def _in_won() -> tuple[panels.AnyPanel, ...]:
    month = panels.numbers(
        "The month so far, in won",
        f"Red above the amount of the limit {MONTH_LIMIT}.",
        Sql(
            f"""
            SELECT {IN_WON} AS cost_won, sum(u.calls) AS calls, sum(u.unpriced_calls) AS unpriced_calls
            FROM usage_between({MONTH_WON}) AS u"""
        ),
        columns=("cost_won", "calls", "unpriced_calls"),
        width=24,
    )
    return (
        panels.held_against(month, "cost_won", _line_of(MONTH_LIMIT), {"amount": "red"}),
        panels.against_a_line(
            "The month day by day, in won",
            "What the month had cost by the end of each day, in the board's time zone. The line is the amount of the "
            f"limit {MONTH_LIMIT}. The points count the calls without a price by then.",
            Sql(
                f"""
                SELECT toDateTime(d.day, {ZONE}) AS time, {SO_FAR_WON} AS cost_won,
                  sum(d.without_a_price) {SO_FAR} AS unpriced_calls
                FROM (
                  SELECT day, {DAYS_WON}, sum(u.unpriced_calls) AS without_a_price
                  FROM usage_daily_between({MONTH_WON}) AS u GROUP BY day) AS d
                ORDER BY time"""
            ),
            _line_of(MONTH_LIMIT),
            column="cost_won",
        ),
        panels.against_a_line(
            "Cost by hour, the last 24, in won",
            "The hour (UTC) that runs, and the 23 before it, whatever the span of the board. The line is the amount of "
            f"the limit {HOUR_LIMIT}. The points count the calls without a price.",
            Sql(
                f"""
                SELECT hour AS time, {IN_WON} AS cost_won, sum(u.unpriced_calls) AS unpriced_calls
                FROM usage_hourly_between({LAST_24_HOURS_WON}) AS u
                GROUP BY time ORDER BY time"""
            ),
            _line_of(HOUR_LIMIT),
            column="cost_won",
            bars=True,
        ).time_from("24h"),
    )


def _budgets() -> tuple[panels.AnyPanel, ...]:
    steps = Sql(
        f"""
        SELECT 0 AS base,
          nullIf(arrayFirst((step, level) -> level = 'warning', step_amounts, step_levels), 0) AS warning,
          nullIf(arrayFirst((step, level) -> level = 'critical', step_amounts, step_levels), 0) AS critical, amount
        FROM budgets WHERE budget = '{DAY_BUDGET}'""",
        ref=panels.STEPS_REF,
    )
    today = panels.reached(
        "Today's budget",
        f"What was spent of {DAY_BUDGET}, in its currency, now, whatever the span of the board. The colours change "
        "where the budget itself is told, as its rule says. Unpriced calls have no part in it.",
        Sql(f"SELECT spent, unpriced_calls FROM budget_status WHERE budget = '{DAY_BUDGET}' AND subject = ''"),
        columns=("spent", "unpriced_calls"),
        nothing="nothing yet",
    )
    return (
        panels.held_against(today, "spent", steps, {"warning": "orange", "critical": "red"}, most="amount"),
        panels.listing(
            "Budgets and limits",
            f"Where each stands now, whatever the span of the board: the {ROWS_MAX} of which most is used. The "
            "projection is what the period costs if it goes on as it began.",
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
            width=16,
            height=8,
        ),
        _targets(),
    )


def _targets() -> panels.AnyPanel:
    """A measure that nothing is known of yet is in the answer all the same: each stands there once without a figure."""
    told: list[str] = []
    for feature, target in CALL_TARGETS_WON.items():
        head = f"'a call of {feature}, this month' AS measure, {target} AS target, 'KRW' AS currency"
        told += [
            f"SELECT {head}, avg_cost AS told, unpriced_calls FROM feature_cost_summary_between({MONTH_WON}) "
            f"WHERE feature = '{feature}' AND {HAS_WON}",
            f"SELECT {head}, NULL, 0",
        ]
    head = f"concat('failures of ', {value_of('watched')}, ', this month'), {FAILED_PERCENT_TARGET}, '%'"
    told += [
        f"SELECT {head}, failure_rate * 100, unpriced_calls FROM feature_performance_summary_between({MONTH}) "
        f"WHERE feature = {value_of('watched')}",
        f"SELECT {head}, NULL, 0",
    ]
    head = f"'all calls, this month', {MONTH_WON_MAX}, 'KRW'"
    told += [
        f"SELECT {head}, cost, unpriced_calls FROM check_cost_threshold_between("
        f"threshold = {MONTH_WON_MAX}, {MONTH_WON}) WHERE {HAS_WON}",
        f"SELECT {head}, NULL, 0",
    ]
    rows = " UNION ALL ".join(told)
    columns = ("measure", "target", "current", "currency", "met", "unpriced_calls")
    return panels.listing(
        "Targets",
        "Of the month that the span ends in. Exactly the target is met. Measuring: nothing is known yet, or there is "
        "no exchange rate of KRW.",
        Sql(
            f"""
            SELECT measure, target, sum(told) AS current, currency,
              multiIf(current IS NULL, 'measuring', current <= target, 'met', 'missed') AS met,
              sum(t.unpriced_calls) AS unpriced_calls
            FROM ({rows}) AS t
            GROUP BY measure, target, currency ORDER BY measure"""
        ),
        columns=columns,
        width=24,
        height=7,
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


def _by_provider() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.slices(
            "Providers, as parts of the whole",
            "Of the span to the millisecond. A provider with calls that have no price says how many they are.",
            Sql(
                f"""
                SELECT if(unpriced_calls = 0, provider, concat(provider, ', ', toString(unpriced_calls), ' unpriced'))
                    AS provider,
                  cost
                FROM provider_cost_summary_between({SPAN})
                ORDER BY cost_share DESC NULLS LAST, provider LIMIT {ROWS_MAX}"""
            ),
            columns=("provider", "cost"),
            width=12,
        ),
        _compared("Providers", "provider"),
        panels.costs_over_time(
            "Cost by day and provider",
            "Days of the board's time zone. The first and the last day count as far as the span reaches. Where nothing "
            "has a price there is no bar; the points count the calls without one.",
            leading("provider", f"toDateTime(day, {ZONE})", f"{IN_CURRENCY} AS cost", DAYS_OF),
            Sql(
                f"""
                SELECT toDateTime(day, {ZONE}) AS time, sum(unpriced_calls) AS unpriced_calls
                {DAYS_OF}
                GROUP BY time ORDER BY time""",
                ref="B",
                series=True,
            ),
            by="provider",
            interval="1d",
        ).span(24),
    )


def _who() -> tuple[panels.AnyPanel, ...]:
    columns = ("user_id", "cost_usd", "cost_won", "calls", "unpriced_calls", "partial_calls")
    users = panels.listing(
        "Dearest users of the month",
        f"The {USERS_MAX} dearest users, from the first of the month until the span ends. In won, red above the amount "
        f"of the limit {USER_LIMIT}.",
        Sql(
            f"""
            SELECT user_id, sum(u.cost_usd) AS cost_usd, {IN_WON} AS cost_won, sum(u.calls) AS calls,
              sum(u.unpriced_calls) AS unpriced_calls, sum(u.partial_calls) AS partial_calls
            FROM user_cost_summary_between({MONTH_WON}) AS u
            WHERE user_id != ''
            GROUP BY user_id ORDER BY sum(u.cost_usd) DESC NULLS LAST, user_id LIMIT {USERS_MAX}"""
        ),
        columns=columns,
    )
    return (
        _compared("Features", "feature"),
        panels.held_against(users, "cost_won", _line_of(USER_LIMIT), {"amount": "red"}),
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


def _changed() -> tuple[panels.AnyPanel, ...]:
    return (
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


def _priced() -> panels.AnyPanel:
    return panels.numbers(
        "How much is priced?",
        "Shares of the calls of the span. A partly priced call is in the cost with what could be priced of it. The "
        "board Pipeline tells which calls have no price, and why.",
        Sql(
            f"""
            SELECT (sum(calls) - sum(unpriced_calls) - sum(partial_calls)) / nullIf(sum(calls), 0) AS priced_share,
              sum(partial_calls) / nullIf(sum(calls), 0) AS partial_share,
              sum(unpriced_calls) / nullIf(sum(calls), 0) AS unpriced_share
            FROM usage_between({SPAN})"""
        ),
        columns=("priced_share", "partial_share", "unpriced_share"),
        width=24,
    )
