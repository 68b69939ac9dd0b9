"""What panels ask: SQL for the warehouse with the macros of Grafana's data source, and PromQL for Prometheus.

The span of a board is handed to the ``*_between`` views as it is: to the millisecond, and in the board's time zone and
currency.
"""

from __future__ import annotations

from textwrap import dedent
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models.common import DataSourceRef

from sinks.figures.spend import IN_CURRENCY, WITHOUT_A_RATE

# The version that docker-compose.yml installs; its macros are those that tests/support/grafana.py expands.
CLICKHOUSE_PLUGIN: Final = "grafana-clickhouse-datasource"
CLICKHOUSE_PLUGIN_VERSION: Final = "4.20.0"

# Boards name variables, not data sources, so that they can be imported where the sources have other names.
WAREHOUSE: Final = DataSourceRef(type_val=CLICKHOUSE_PLUGIN, uid="${warehouse}")
METRICS: Final = DataSourceRef(type_val="prometheus", uid="${metrics}")

ALL: Final = "\n"  # what stands for "all" in a variable: no name has a control character (docs/event.md)


def value_of(variable: str) -> str:
    """The value of a variable as text in SQL, whatever is in it.

    Grafana's quoting formats leave a backslash as it is, and ClickHouse reads one as an escape: after ``\\'`` the text
    would be over. In the percent encoding there is neither a quote, nor a backslash, nor a dollar sign.
    """
    return f"decodeURLComponent({_encoded(variable)})"


def _encoded(variable: str) -> str:
    return f"'${{{variable}:percentencode}}'"


def says_all(variable: str) -> str:
    """Whether a variable says all."""
    return f"{_encoded(variable)} = '{quote(ALL)}'"


def is_empty(variable: str) -> str:
    """Whether nothing was typed into a variable."""
    return f"{_encoded(variable)} = ''"


def is_chosen(column: str) -> str:
    """Whether a row has the value of the variable that is called like its column. All have it where it says all."""
    return f"({says_all(column)} OR {column} = {value_of(column)})"


def is_typed(column: str) -> str:
    """The same of a variable that is typed: empty stands for all."""
    return f"({is_empty(column)} OR {column} = {value_of(column)})"


# Grafana names the zone as the database of zones does, and UTC in small letters, which ClickHouse does not know.
ZONE: Final = f"if({_encoded('__timezone')} = 'utc', 'UTC', {value_of('__timezone')})"
CURRENCY: Final = value_of("currency")
SPAN_OF: Final = f"from = '${{__from:date:iso}}', to = '${{__to:date:iso}}', zone = {ZONE}, currency = "
SPAN: Final = SPAN_OF + CURRENCY
SPAN_IN_USD: Final = SPAN_OF + "'USD'"

# The end of the board's span by the clock of its zone: the board's "now". A span that ends at midnight ends with the
# day before, so the day and the month are those of its last second.
END: Final = f"toTimeZone($__toTime, {ZONE})"
DAY_START: Final = f"toStartOfDay({END} - 1)"
MONTH_START: Final = f"toDateTime(toStartOfMonth({END} - 1), {ZONE})"

# Some figures are told in won, whatever the currency of the board. Where no exchange rate of KRW is known, a view that
# is asked for won refuses: then it is asked for USD, and what it says is not told.
HAS_WON: Final = "(SELECT count() > 0 FROM exchange_rates WHERE currency = 'KRW')"
WON: Final = "(SELECT if(count() > 0, 'KRW', 'USD') FROM exchange_rates WHERE currency = 'KRW')"


def between(start: str, end: str, *, zone: str = ZONE, currency: str = CURRENCY) -> str:
    """The arguments of a ``*_between`` view for a span between two moments, as SQL.

    They travel as Unix time: where clocks are set back, a time of the day names two moments.
    """
    moments = (f"toString(toUnixTimestamp({moment}))" for moment in (start, end))
    return "from = {}, to = {}, zone = {}, currency = {}".format(*moments, zone, currency)


IN_WON: Final = f"if({HAS_WON} AND {WITHOUT_A_RATE} = 0, sum(u.cost), NULL)"
# The same from the first of the month on, of days that were added up each for itself.
DAYS_WON: Final = f"sum(u.cost) AS of_day, {WITHOUT_A_RATE} AS days_without_a_rate"
SO_FAR: Final = "OVER (ORDER BY d.day)"
SO_FAR_WON: Final = f"if({HAS_WON} AND sum(d.days_without_a_rate) {SO_FAR} = 0, sum(d.of_day) {SO_FAR}, NULL)"
# What each of them adds up, where all of it is known.
SUMS: Final = {
    IN_CURRENCY: "sum(u.cost)",
    IN_WON: "sum(u.cost)",
    SO_FAR_WON: f"sum(d.of_day) {SO_FAR}",
    DAYS_WON: "sum(u.cost) AS of_day",
}

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
        self.ref, self._series = ref, series

    def build(self) -> variants.Dataquery:
        return ClickHouseTarget(self.sql, ref=self.ref, series=self._series)


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
