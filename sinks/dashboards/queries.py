"""What panels ask: SQL for the warehouse with the macros of Grafana's data source, and PromQL for Prometheus.

The span of a board is handed to the ``*_between`` views as it is: to the millisecond, and in the board's time zone and
currency.
"""

from __future__ import annotations

from textwrap import dedent
from typing import Final

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models.common import DataSourceRef

# The version that docker-compose.yml installs; its macros are those that tests/support/grafana.py expands.
CLICKHOUSE_PLUGIN: Final = "grafana-clickhouse-datasource"
CLICKHOUSE_PLUGIN_VERSION: Final = "4.20.0"

# Boards name variables, not data sources, so that they can be imported where the sources have other names.
WAREHOUSE: Final = DataSourceRef(type_val=CLICKHOUSE_PLUGIN, uid="${warehouse}")
METRICS: Final = DataSourceRef(type_val="prometheus", uid="${metrics}")

# Grafana names the zone as the database of zones does, and UTC in small letters, which ClickHouse does not know.
ZONE: Final = "if('$__timezone' = 'utc', 'UTC', '$__timezone')"
CURRENCY: Final = "${currency:sqlstring}"
SPAN: Final = f"from = '${{__from:date:iso}}', to = '${{__to:date:iso}}', zone = {ZONE}, currency = {CURRENCY}"

# The end of the board's span by the clock of its zone: the board's "now". A span that ends at midnight ends with the
# day before, so the day and the month are those of its last second.
END: Final = f"toTimeZone($__toTime, {ZONE})"
DAY_START: Final = f"toStartOfDay({END} - 1)"
MONTH_START: Final = f"toDateTime(toStartOfMonth({END} - 1), {ZONE})"


def between(start: str, end: str) -> str:
    """The arguments of a ``*_between`` view for a span between two moments, as SQL.

    They travel as Unix time: where clocks are set back, a time of the day names two moments.
    """
    moments = (f"toString(toUnixTimestamp({moment}))" for moment in (start, end))
    return "from = {}, to = {}, zone = {}, currency = {}".format(*moments, ZONE, CURRENCY)


# Unknown where a part of it has a cost and no exchange rate.
IN_CURRENCY: Final = "if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL)"

HOURS_OF: Final = f"FROM usage_hourly_between({SPAN}) AS u"
DAYS_OF: Final = f"FROM usage_daily_between({SPAN}) AS u"
SERIES_MAX: Final = 20  # more colours than that cannot be told apart; the rest is one more line


class ClickHouseTarget(variants.Dataquery):
    """A query as Grafana's ClickHouse data source stores it in a board."""

    def __init__(self, sql: str, *, ref: str, series: bool) -> None:
        self.sql, self.ref, self.series = sql, ref, series

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self.ref,
            "datasource": WAREHOUSE,
            "pluginVersion": CLICKHOUSE_PLUGIN_VERSION,
            "editorType": "sql",
            "queryType": "timeseries" if self.series else "table",
            "format": 0 if self.series else 1,
            "rawSql": self.sql,
        }


class Sql(builder.Builder[variants.Dataquery]):
    """A question to the warehouse. ``series``: its rows are (time, name of a line, value), else they are a table."""

    def __init__(self, sql: str, *, ref: str = "A", series: bool = False) -> None:
        self.sql = dedent(sql).strip()
        self._ref, self._series = ref, series

    def build(self) -> variants.Dataquery:
        return ClickHouseTarget(self.sql, ref=self._ref, series=self._series)


def leading(by: str, time: str, amount: str, rows: str, *, most: str = "sum(cost_usd)") -> Sql:
    """The values of ``by`` whose ``most`` is greatest as lines of their own, and all others as one, so that a stack is
    as high as the whole. ``amount`` is what is told of each, ``rows`` where it is from."""
    names = f"SELECT {by} {rows} GROUP BY {by} ORDER BY {most} DESC NULLS LAST, {by} LIMIT {SERIES_MAX}"
    return Sql(
        f"""
        SELECT {time} AS time, if({by} IN ({names}), toString({by}), '(all others)') AS series, {amount}
        {rows}
        GROUP BY time, series ORDER BY time, series""",
        series=True,
    )


def promql(expression: str, *, legend: str = "", ref: str = "A", instant: bool = False) -> prometheus.Dataquery:
    """A question to Prometheus: over the span of the board, or at its end."""
    query = prometheus.Dataquery().datasource(METRICS).expr(expression).legend_format(legend).ref_id(ref)
    return query.instant() if instant else query.range()
