"""The board that one drills down on: who spent it, by any dimension, and the single calls behind a figure."""

from __future__ import annotations

from typing import Final

from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.dashboards import panels
from sinks.dashboards.queries import (
    SERIES_MAX,
    SPAN,
    ZONE,
    Sql,
    is_chosen,
    is_empty,
    is_typed,
    leading,
    says_all,
    value_of,
)
from sinks.figures.spend import IN_CURRENCY

ROWS_MAX: Final = 50
CALLS_MAX: Final = 100
CHOICES_MAX: Final = 1_000  # of a variable: a longer list is not read; a user that is not in it can be typed

# Who made a call is known of single calls alone. Sums, which are quicker and kept for longer, are asked for all else.
PERSONS: Final = ("user_id", "session_id")
BY: Final = (*DIMENSIONS, *PERSONS)
OF_SUMS: Final = (
    f"{says_all('user_id')} AND {is_empty('session_id')} AND {value_of('by')} NOT IN ({str(PERSONS).strip('()')})"
)

# What the board is by: one of these columns, whatever the variable says.
NAME: Final = "map({})[{}]".format(", ".join(f"'{column}', toString({column})" for column in BY), value_of("by"))
FILTERS: Final = " AND ".join([*(is_chosen(column) for column in (*DIMENSIONS, "user_id")), is_typed("session_id")])


def board() -> panels.Board:
    made = panels.board(
        "Explore",
        about="Who spent it, by what the board is told, of what is chosen above, and the single calls behind it. A "
        "cost without any known price is unknown, never 0, and unpriced calls have no part in it. Money is in the "
        "board's currency, by the exchange rate of each day (UTC). Users and sessions are known of single calls alone, "
        "which are kept for COSTREAM_RETENTION.",
        span="now-7d/d",
    )
    made = panels.with_events(made).with_variable(panels.choice("by", label="by", options=BY, first="model"))
    made = made.with_variable(panels.currencies())
    for column in DIMENSIONS:
        values = Sql(f"SELECT DISTINCT {column} FROM usage_daily ORDER BY {column} LIMIT {CHOICES_MAX}")
        made = made.with_variable(panels.filters(column, label=column, question=values))
    users = Sql(
        f"""
        SELECT user_id FROM usage_user_daily WHERE day > today() - 30
        GROUP BY user_id ORDER BY sum(cost_usd) DESC NULLS LAST, user_id LIMIT {CHOICES_MAX}"""
    )
    made = made.with_variable(panels.filters("user_id", label="user", question=users, typed=True))
    made = made.with_variable(panels.typed("session_id", label="session"))
    for panel in (_who(), *_when(), _calls()):
        made = made.with_panel(panel)
    return made


def _rows(view: str, time: str, time_of_call: str) -> str:
    """The rows of a view, or single calls where users or sessions are asked for, as far as they are chosen."""
    told = f"{', '.join(DIMENSIONS)}, user_id, session_id"
    return f"""FROM (
          SELECT at, {NAME} AS name, {told}, calls, errors, unpriced_calls, partial_calls, cost_usd, cost
          FROM (
            SELECT {time} AS at, {", ".join(DIMENSIONS)}, '' AS user_id, '' AS session_id, calls, errors,
              unpriced_calls, partial_calls, cost_usd, cost
            FROM {view}({SPAN}) WHERE {OF_SUMS}
            UNION ALL
            SELECT {time_of_call} AS at, {told}, 1, status = 'error', cost_status = 'unpriced', cost_status = 'partial',
              cost_usd, cost
            FROM calls_between({SPAN}) WHERE NOT ({OF_SUMS}))
          WHERE {FILTERS}
        ) AS u"""


def _who() -> panels.AnyPanel:
    rows = _rows("usage_between", "0", "0")
    return panels.listing(
        "Who spent it, by ${by}",
        f"Of the span to the millisecond, the {ROWS_MAX} dearest. A click on a name keeps to it.",
        Sql(
            f"""
            SELECT name, {IN_CURRENCY} AS cost, sum(u.calls) AS calls, sum(u.errors) AS errors,
              sum(u.unpriced_calls) AS unpriced_calls, sum(u.partial_calls) AS partial_calls
            {rows}
            GROUP BY name ORDER BY sum(u.cost_usd) DESC NULLS LAST, name LIMIT {ROWS_MAX}"""
        ),
        columns=("name", "cost", "calls", "errors", "unpriced_calls", "partial_calls"),
        width=24,
    )


def _when() -> tuple[panels.AnyPanel, ...]:
    hours = _rows("usage_hourly_between", "hour", "toStartOfHour(occurred_at)")
    days = _rows("usage_daily_between", "day", f"toDate(occurred_at, {ZONE})")
    first = f"by ${{by}}: the {SERIES_MAX} dearest, and all others as one."
    return (
        _over_time(
            "Cost by hour",
            f"Hours of UTC that begin in the span, {first} Where nothing has a price there is no bar; the points count "
            "the calls without one.",
            "$__timeInterval(at)",
            hours,
            interval="1h",
        ),
        _over_time(
            "Cost by day",
            f"Days of the board's time zone, {first} The first and the last day count as far as the span reaches.",
            f"toDateTime(at, {ZONE})",
            days,
            interval="1d",
        ),
    )


def _over_time(title: str, about: str, time: str, rows: str, *, interval: str) -> panels.AnyPanel:
    unpriced = Sql(
        f"""
        SELECT {time} AS time, sum(u.unpriced_calls) AS unpriced_calls
        {rows}
        GROUP BY time ORDER BY time""",
        ref="B",
        series=True,
    )
    costs = leading("name", time, f"{IN_CURRENCY} AS cost", rows)
    return panels.costs_over_time(title, about, costs, unpriced, by="${by}", interval=interval)


def _calls() -> panels.AnyPanel:
    columns = (
        *("occurred_at", "request_id", "provider", "model", "operation", "feature", "team", "user_id", "session_id"),
        *("input_tokens", "output_tokens", "duration_ms", "cost", "cost_status", "cost_reason", "status", "error"),
    )
    return panels.listing(
        "Calls",
        f"Single calls of the span, of what is chosen above: the {CALLS_MAX} dearest, then those without a known "
        "price. `costream explain` tells the price of one.",
        Sql(
            f"""
            SELECT {", ".join(columns)}
            FROM calls_between({SPAN})
            WHERE {FILTERS}
            ORDER BY cost_usd DESC NULLS LAST, occurred_at DESC, request_id LIMIT {CALLS_MAX}"""
        ),
        columns=columns,
        width=24,
        height=14,
    )
