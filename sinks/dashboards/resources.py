"""The board about servers, storage and networks: how long they ran, how much they took, and what that cost."""

from __future__ import annotations

from typing import Final

from sinks.dashboards import panels
from sinks.dashboards.panels import COUNT
from sinks.dashboards.queries import DAYS_OF, SERIES_MAX, SPAN, ZONE, Sql, leading
from sinks.figures.spend import IN_CURRENCY

ROWS_MAX: Final = 50
KINDS: Final = "operation IN ('gpu', 'cpu', 'storage', 'network')"
SERVERS: Final = "operation IN ('gpu', 'cpu') AND unit IN ('gpu_hours', 'cpu_hours')"
OTHERS: Final = "operation IN ('storage', 'network')"
OF_UNITS: Final = "FROM usage_hourly_units WHERE $__timeFilter(hour) AND"


def board() -> panels.Board:
    made = panels.board(
        "Resources",
        about="How long servers ran, what storage and networks took, and what that cost. A cost without any known "
        "price is unknown, never 0, and unpriced calls have no part in it. Money is in the board's currency, by the "
        "exchange rate of each day (UTC). Units are told each for itself and never added together. How busy servers "
        "were is a mean by hours of use, of the reports that say it.",
        span="now-7d/d",
    )
    made = panels.with_events(made).with_variable(panels.currencies())
    for panel in (_used(), *_by_hour(), _busy(), _by_day()):
        made = made.with_panel(panel)
    return made


def _used() -> panels.AnyPanel:
    columns = (
        *("operation", "provider", "model", "calls", "hours", "avg_utilization", "quantities", "cost"),
        *("unpriced_calls", "partial_calls"),
    )
    told = ", ".join(f"toString({name}) AS {name}" if name == "quantities" else name for name in columns)
    return panels.listing(
        "Servers, storage and networks",
        f"Of the span to the millisecond, by instance type: the {ROWS_MAX} dearest. Hours are the units gpu_hours and "
        "cpu_hours. Utilisation is that of the hours whose reports say it. It is not known where none does, nor where "
        "single calls of the span may have expired.",
        Sql(
            f"""
            SELECT {told}
            FROM resource_usage_between({SPAN})
            ORDER BY cost_usd DESC NULLS LAST, operation, provider, model LIMIT {ROWS_MAX}"""
        ),
        columns=columns,
        width=24,
    )


def _by_hour() -> tuple[panels.AnyPanel, ...]:
    return (
        panels.stacked(
            "Hours of servers by hour",
            "Hours of UTC that begin in the span, by instance type, as they were reported: a report may be of more "
            "than one hour.",
            Sql(
                f"""
                SELECT $__timeInterval(hour) AS time, toString(model) AS series, sum(amount) AS hours
                {OF_UNITS} {SERVERS}
                GROUP BY time, series ORDER BY time, series""",
                series=True,
            ),
            unit=COUNT,
            interval="1h",
        ),
        panels.stacked(
            "Storage and networks by hour",
            "Hours of UTC that begin in the span, by product and unit, as they were reported.",
            Sql(
                f"""
                SELECT $__timeInterval(hour) AS time, concat(model, ', ', unit) AS series, sum(amount) AS amount
                {OF_UNITS} {OTHERS}
                GROUP BY time, series ORDER BY time, series""",
                series=True,
            ),
            unit=COUNT,
            interval="1h",
        ),
    )


def _busy() -> panels.AnyPanel:
    return panels.shares_over_time(
        "How busy servers were by hour",
        "Hours of UTC that begin in the span, by instance type: a mean by hours of use, of the reports that say how "
        "busy a server was. There is no point where none does, nor where single calls have expired.",
        Sql(
            """
            SELECT $__timeInterval(hour) AS time, toString(model) AS series,
              round(toFloat64(sum(hours_busy)) / toFloat64(sum(hours_told)), 6) AS avg_utilization
            FROM utilization_hourly WHERE $__timeFilter(hour) AND hours_told > 0
            GROUP BY time, series ORDER BY time, series""",
            series=True,
        ),
        interval="1h",
    ).span(24)


def _by_day() -> panels.AnyPanel:
    days = f"{DAYS_OF} WHERE {KINDS}"
    return panels.costs_over_time(
        "Cost by day and instance type",
        f"Days of the board's time zone: the {SERIES_MAX} dearest, and all others as one. The first and the last day "
        "count as far as the span reaches. Where nothing has a price there is no bar; the points count the reports "
        "without one.",
        leading("model", f"toDateTime(day, {ZONE})", f"{IN_CURRENCY} AS cost", days),
        Sql(
            f"""
            SELECT toDateTime(day, {ZONE}) AS time, sum(unpriced_calls) AS unpriced_calls
            {days}
            GROUP BY time ORDER BY time""",
            ref="B",
            series=True,
        ),
        by="model",
        interval="1d",
    ).span(24)
