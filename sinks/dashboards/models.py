"""The board about models: what each costs, takes and does, side by side and over time."""

from __future__ import annotations

from typing import Final

from sinks.dashboards import panels
from sinks.dashboards.panels import COST, COUNT
from sinks.dashboards.queries import DAYS_OF, HOURS_OF, SERIES_MAX, SPAN, ZONE, Sql, leading

ROWS_MAX: Final = 50
HOUR: Final = "$__timeInterval(hour)"
DAY: Final = f"toDateTime(day, {ZONE})"


def board() -> panels.Board:
    made = panels.board(
        "Models",
        about="What models cost, take and do, side by side. A cost without any known price is unknown, never 0, and "
        "unpriced calls have no part in it. Money is in the board's currency, by the exchange rate of each day (UTC), "
        "and in USD where a panel says so.",
        span="now-7d/d",
    )
    made = panels.with_events(made).with_variable(panels.currencies())
    for panel in (_side_by_side(), *_by_hour(), _by_day(), _reported()):
        made = made.with_panel(panel)
    return made


def _side_by_side() -> panels.AnyPanel:
    columns = (
        *("provider", "model", "calls", "failure_rate", "avg_duration_ms", "input_tokens", "output_tokens"),
        *("avg_cost", "cost", "unpriced_calls", "partial_calls"),
    )
    return panels.listing(
        "Models side by side",
        f"Of the span to the millisecond, the {ROWS_MAX} with most calls: how many failed, how long one took, what one "
        "priced call cost.",
        Sql(
            f"""
            SELECT {", ".join(columns)}
            FROM model_performance_comparison_between({SPAN})
            ORDER BY calls DESC, provider, model LIMIT {ROWS_MAX}"""
        ),
        columns=columns,
        width=24,
    )


def _by_hour() -> tuple[panels.AnyPanel, ...]:
    return tuple(
        _hours_of(title, column)
        for title, column in (
            ("Calls by hour", "calls"),
            ("Failed calls by hour", "errors"),
            ("Input tokens by hour", "input_tokens"),
            ("Output tokens by hour", "output_tokens"),
        )
    )


def _hours_of(title: str, column: str) -> panels.AnyPanel:
    amount = f"sum(u.{column})"
    return panels.stacked(
        title,
        f"Hours of UTC that begin in the span: the {SERIES_MAX} models with most of them, and all others as one.",
        leading("model", HOUR, f"{amount} AS {column}", HOURS_OF, most=amount),
        unit=COUNT,
        interval="1h",
    )


def _by_day() -> panels.AnyPanel:
    return panels.costs_over_time(
        "Cost by day, in USD",
        f"Days of the board's time zone: the {SERIES_MAX} dearest models of the span, and all others as one. The first "
        "and the last day count as far as the span reaches. Where nothing has a price there is no bar; the points "
        "count the calls without one.",
        leading("model", DAY, "sum(u.cost_usd) AS cost_usd", DAYS_OF),
        Sql(
            f"""
            SELECT {DAY} AS time, sum(unpriced_calls) AS unpriced_calls
            {DAYS_OF}
            GROUP BY time ORDER BY time""",
            ref="B",
            series=True,
        ),
        by="model",
        interval="1d",
        unit=COST,
    ).span(24)


def _reported() -> panels.AnyPanel:
    columns = (
        *("provider", "model", "calls", "differing_calls", "reported_cost", "cost", "difference", "unpriced_calls"),
    )
    return panels.listing(
        "Reported and computed",
        f"What calls were reported to cost beside what they cost, of the span to the millisecond: the {ROWS_MAX} that "
        "differ most. Only calls that have both; the unpriced ones are counted. Single calls tell it, which are kept "
        "for COSTREAM_RETENTION.",
        Sql(
            f"""
            SELECT {", ".join(columns)}
            FROM reported_costs_between({SPAN})
            LIMIT {ROWS_MAX}"""
        ),
        columns=columns,
        width=24,
    )
