"""The questions the watch asks the warehouse. Values travel as bound parameters, never inside the text.

Times are bound as seconds since 1970, which mean the same on every server, whatever its zone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

import polars as pl

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import alerts_from_rows
from stream.watch.scopes import Value
from stream.watch.series import HOUR, MINUTE, MINUTES, Minutes, Spend, hour_of

VALUES_MAX: Final = 1_000  # of a dimension, the dearest; below them no hour of one is news to anybody
RESTORED: Final = timedelta(days=7)  # alerts that ended longer ago can never be revived


class Reader(Protocol):
    """What the watch needs of ``sinks.clickhouse.reader.Reader``."""

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame: ...


_SYSTEM: Final = """
SELECT toUnixTimestamp(hour) AS at, ifNull(sum(cost_usd), 0) AS cost, sum(unpriced_calls) AS unpriced
FROM usage_hourly
WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({until:UInt32}, 'UTC')
  AND ({every:UInt8} OR toUnixTimestamp(hour) IN {hours:Array(UInt32)})
GROUP BY hour
"""

# A column's name is no value: it is that of a dimension (the guard of the embedded engine refuses bound names).
_VALUES: Final = """
SELECT DIMENSION AS value, toUnixTimestamp(hour) AS at, ifNull(sum(cost_usd), 0) AS cost,
  sum(unpriced_calls) AS unpriced, sum(h.calls) AS calls
FROM usage_hourly AS h
WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({until:UInt32}, 'UTC')
  AND ({every:UInt8} OR toUnixTimestamp(hour) IN {hours:Array(UInt32)})
  AND DIMENSION IN {values:Array(String)}
GROUP BY value, hour
"""

_DEAR: Final = """
SELECT value, max(cost) AS dearest
FROM (
  SELECT DIMENSION AS value, hour, sum(cost_usd) AS cost FROM usage_hourly
  WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({until:UInt32}, 'UTC')
  GROUP BY value, hour
)
GROUP BY value HAVING dearest > {least:Decimal(38, 12)}
ORDER BY dearest DESC, value LIMIT {values_max:UInt32}
"""

# By the minute nothing is kept, so this reads calls. The hour leads their sorting key; a copy must not count: FINAL.
_SYSTEM_MINUTES: Final = """
SELECT toUnixTimestamp(toStartOfMinute(occurred_at)) AS at, ifNull(sum(cost_usd), 0) AS cost,
  countIf(cost_status = 'unpriced') AS unpriced
FROM usage_events_rows FINAL
WHERE occurred_at >= toDateTime64({since:UInt32}, 3, 'UTC') AND occurred_at < toDateTime64({until:UInt32}, 3, 'UTC')
  AND toUnixTimestamp(toStartOfHour(occurred_at)) IN {hours:Array(UInt32)}
GROUP BY at
"""

# What calls have that are of one value and of any of others too, in one hour and in all usual hours together.
_SHARED: Final = """
SELECT ifNull(sumIf(cost_usd, toUnixTimestamp(hour) = {hour:UInt32}), 0) AS cost,
  sumIf(h.calls, toUnixTimestamp(hour) = {hour:UInt32}) AS calls,
  ifNull(sumIf(cost_usd, toUnixTimestamp(hour) != {hour:UInt32}), 0) AS cost_usual,
  sumIf(h.calls, toUnixTimestamp(hour) != {hour:UInt32}) AS calls_usual
FROM usage_hourly AS h
WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({hour:UInt32}, 'UTC')
  AND toUnixTimestamp(hour) IN {hours:Array(UInt32)}
  AND DIMENSION = {value:String} AND (OF_OTHERS)
"""

_ALERTS: Final = """
SELECT * FROM (
  SELECT * EXCEPT (stored_at) FROM alerts ORDER BY revision DESC LIMIT 1 BY alert_id
)
WHERE status IN ('open', 'updated') OR window_end >= toDateTime({since:UInt32}, 'UTC')
ORDER BY window_start, alert_id
"""


def system_hours(
    reader: Reader, *, since: datetime, until: datetime, only: Iterable[datetime] | None = None
) -> dict[datetime, Spend]:
    """What everything together cost in each hour of the span, or in those of its hours named by ``only``."""
    rows = reader.frame(_SYSTEM, since=seconds(since), until=seconds(until), **_only(only))
    return {_moment(row["at"]): _spend(row) for row in rows.iter_rows(named=True)}


def system_minutes(reader: Reader, hours: Iterable[datetime], *, now: datetime) -> dict[datetime, Minutes]:
    """What everything together cost in each minute of these clock hours, as far as they are over ``now``."""
    asked = sorted(hours)
    span = {"since": seconds(asked[0]), "until": seconds(asked[-1] + HOUR)}
    rows = reader.frame(_SYSTEM_MINUTES, hours=[seconds(hour) for hour in asked], **span)
    found: dict[datetime, dict[int, Spend]] = {hour: {} for hour in asked}
    for row in rows.iter_rows(named=True):
        minute = _moment(row["at"])
        found[hour_of(minute)][minute.minute] = _spend(row)
    over = {hour: max(0, min(MINUTES, (now - hour) // MINUTE)) for hour in asked}
    return {hour: Minutes.of(spent, over=over[hour]) for hour, spent in found.items()}


def hours_of(
    reader: Reader,
    dimension: str,
    values: Sequence[str],
    *,
    since: datetime,
    until: datetime,
    only: Iterable[datetime] | None = None,
) -> dict[str, dict[datetime, Spend]]:
    """The same for each value of a dimension; one without calls has no hours."""
    found: dict[str, dict[datetime, Spend]] = {value: {} for value in values}
    if values:
        span = {"since": seconds(since), "until": seconds(until)} | _only(only)
        rows = reader.frame(_VALUES.replace("DIMENSION", dimension), values=list(values), **span)
        for row in rows.iter_rows(named=True):
            found[row["value"]][_moment(row["at"])] = replace(_spend(row), calls=row["calls"])
    return found


def dear_values(
    reader: Reader, dimension: str, *, since: datetime, until: datetime, cost_usd_min: Decimal
) -> list[str]:
    """The values of a dimension with an hour in the span above ``cost_usd_min``: no other can be worth an alert."""
    rows = reader.frame(
        _DEAR.replace("DIMENSION", dimension),
        since=seconds(since),
        until=seconds(until),
        least=f"{cost_usd_min:f}",
        values_max=VALUES_MAX,
    )
    return rows["value"].to_list()


def shared(
    reader: Reader, own: Value, others: Collection[Value], hour: datetime, usual: Collection[datetime]
) -> tuple[Spend, Spend]:
    """What calls of ``own`` that are of one of ``others`` too cost in the hour, and in the ``usual`` ones together."""
    by_dimension: dict[str, list[str]] = {}
    for dimension, value in sorted(others):
        by_dimension.setdefault(dimension, []).append(value)
    any_of = " OR ".join(f"{dimension} IN {{of_{dimension}:Array(String)}}" for dimension in by_dimension)
    (row,) = reader.frame(
        _SHARED.replace("DIMENSION", own.dimension).replace("OF_OTHERS", any_of),
        value=own.value,
        hour=seconds(hour),
        hours=sorted({seconds(hour), *map(seconds, usual)}),
        since=seconds(min(usual)),
        **{f"of_{dimension}": values for dimension, values in by_dimension.items()},
    ).iter_rows(named=True)
    return Spend(row["cost"], calls=row["calls"]), Spend(row["cost_usual"], calls=row["calls_usual"])


def stored_alerts(reader: Reader, *, now: datetime) -> Sequence[Alert]:
    """The latest revision of every alert that stands, and of those that ended lately."""
    return alerts_from_rows(reader.frame(_ALERTS, since=seconds(now - RESTORED)))


def _only(hours: Iterable[datetime] | None) -> dict[str, Any]:
    return {"every": int(hours is None), "hours": sorted(seconds(hour) for hour in hours or ())}


def _spend(row: Mapping[str, Any]) -> Spend:
    return Spend(cost_usd=row["cost"], unpriced_calls=row["unpriced"])


def seconds(moment: datetime) -> int:
    """Since 1970, as moments are bound."""
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
