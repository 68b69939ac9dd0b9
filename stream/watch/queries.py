"""The questions the watch asks the warehouse. Values travel as bound parameters, never inside the text.

Times are bound as seconds since 1970, which mean the same on every server, whatever its zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

import polars as pl

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import alerts_from_rows
from stream.watch.drivers import Change, Evidence, Part, Spender
from stream.watch.series import HOUR, MINUTE, MINUTES, Minutes, Spend, hour_of
from stream.watch.wording import FEATURE

FEATURES_MAX: Final = 1_000  # the dearest; below them no hour of one feature is news to anybody
NAMES_MAX: Final = 1_000  # models or features compared for one alert, the dearest first
USERS_MAX: Final = 5  # one will be named
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

_FEATURES: Final = """
SELECT feature, toUnixTimestamp(hour) AS at, ifNull(sum(cost_usd), 0) AS cost, sum(unpriced_calls) AS unpriced,
  sum(h.calls) AS calls
FROM usage_hourly AS h
WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({until:UInt32}, 'UTC')
  AND ({every:UInt8} OR toUnixTimestamp(hour) IN {hours:Array(UInt32)})
  AND feature IN {features:Array(String)}
GROUP BY feature, hour
"""

_DEAR_FEATURES: Final = """
SELECT feature, max(cost) AS dearest
FROM (
  SELECT feature, hour, sum(cost_usd) AS cost FROM usage_hourly
  WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour <= toDateTime({until:UInt32}, 'UTC')
  GROUP BY feature, hour
)
GROUP BY feature HAVING dearest > {least:Decimal(38, 12)}
ORDER BY dearest DESC, feature LIMIT {features_max:UInt32}
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

# A column's name is no value: it is one of two written here (the guard of the embedded engine refuses bound names).
# The window need not be a clock hour, so its side comes from calls.
_BY_MODEL: Final = """
SELECT name, sum(calls) AS calls_now, sum(calls_before) AS calls_usual, sum(tokens) AS tokens_now,
  sum(tokens_before) AS tokens_usual, sum(cost) AS cost_now, sum(cost_before) AS cost_usual
FROM (
  SELECT model AS name, toInt64(count()) AS calls, toInt64(0) AS calls_before,
    sum(toInt64(ifNull(input_tokens, 0)) + ifNull(output_tokens, 0)) AS tokens, toInt64(0) AS tokens_before,
    ifNull(sum(cost_usd), toDecimal128(0, 12)) AS cost, toDecimal128(0, 12) AS cost_before
  FROM usage_events_rows FINAL
  WHERE occurred_at >= toDateTime64({start:UInt32}, 3, 'UTC') AND occurred_at < toDateTime64({end:UInt32}, 3, 'UTC')
    AND ({all_features:UInt8} OR feature = {feature:String})
  GROUP BY name
  UNION ALL
  SELECT model AS name, 0, sum(h.calls), 0, sum(h.input_tokens + h.output_tokens), toDecimal128(0, 12),
    ifNull(sum(h.cost_usd), toDecimal128(0, 12))
  FROM usage_hourly AS h
  WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour < toDateTime({start:UInt32}, 'UTC')
    AND toUnixTimestamp(hour) IN {usual:Array(UInt32)}
    AND ({all_features:UInt8} OR feature = {feature:String})
  GROUP BY name
)
GROUP BY name
ORDER BY cost_now DESC, name LIMIT {names_max:UInt32}
"""

_BY_FEATURE: Final = _BY_MODEL.replace("SELECT model AS name", "SELECT feature AS name")

_SPENDERS: Final = """
SELECT user_id, ifNull(sum(cost_usd), 0) AS cost
FROM usage_events_rows FINAL
WHERE occurred_at >= toDateTime64({since:UInt32}, 3, 'UTC') AND occurred_at < toDateTime64({until:UInt32}, 3, 'UTC')
  AND user_id != '' AND ({all_features:UInt8} OR feature = {feature:String})
GROUP BY user_id
ORDER BY cost DESC, user_id LIMIT {users_max:UInt32}
"""

_USER_DAYS: Final = """
SELECT user_id, ifNull(sum(cost_usd), 0) AS cost
FROM usage_user_daily
WHERE day >= toDate({since:String}) AND day < toDate({until:String}) AND user_id IN {users:Array(String)}
GROUP BY user_id
"""

_ALERTS: Final = """
SELECT * FROM (
  SELECT * EXCEPT (stored_at) FROM alerts ORDER BY revision DESC LIMIT 1 BY alert_id
)
WHERE status IN ('open', 'updated') OR window_end >= toDateTime({since:UInt32}, 'UTC')
ORDER BY window_start, alert_id
"""

_REVISIONS: Final = """
SELECT * EXCEPT (stored_at) FROM alerts WHERE alert_id = {alert_id:String} ORDER BY revision
"""

_LATEST_ALERTS: Final = """
SELECT * FROM (
  SELECT * EXCEPT (stored_at) FROM alerts ORDER BY revision DESC LIMIT 1 BY alert_id
)
WHERE {every:UInt8} OR status IN ('open', 'updated')
ORDER BY timestamp DESC, alert_id LIMIT {limit:UInt32}
"""


def system_hours(
    reader: Reader, *, since: datetime, until: datetime, only: Iterable[datetime] | None = None
) -> dict[datetime, Spend]:
    """What everything together cost in each hour of the span, or in those of its hours named by ``only``."""
    rows = reader.frame(_SYSTEM, since=_seconds(since), until=_seconds(until), **_only(only))
    return {_moment(row["at"]): _spend(row) for row in rows.iter_rows(named=True)}


def system_minutes(reader: Reader, hours: Iterable[datetime], *, now: datetime) -> dict[datetime, Minutes]:
    """What everything together cost in each minute of these clock hours, as far as they are over ``now``."""
    asked = sorted(hours)
    span = {"since": _seconds(asked[0]), "until": _seconds(asked[-1] + HOUR)}
    rows = reader.frame(_SYSTEM_MINUTES, hours=[_seconds(hour) for hour in asked], **span)
    found: dict[datetime, dict[int, Spend]] = {hour: {} for hour in asked}
    for row in rows.iter_rows(named=True):
        minute = _moment(row["at"])
        found[hour_of(minute)][minute.minute] = _spend(row)
    over = {hour: max(0, min(MINUTES, (now - hour) // MINUTE)) for hour in asked}
    return {hour: Minutes.of(spent, over=over[hour]) for hour, spent in found.items()}


def feature_hours(
    reader: Reader,
    features: Sequence[str],
    *,
    since: datetime,
    until: datetime,
    only: Iterable[datetime] | None = None,
) -> dict[str, dict[datetime, Spend]]:
    """The same for each feature; one without calls has no hours."""
    found: dict[str, dict[datetime, Spend]] = {feature: {} for feature in features}
    if features:
        span = {"since": _seconds(since), "until": _seconds(until)} | _only(only)
        rows = reader.frame(_FEATURES, features=list(features), **span)
        for row in rows.iter_rows(named=True):
            found[row["feature"]][_moment(row["at"])] = replace(_spend(row), calls=row["calls"])
    return found


def dear_features(reader: Reader, *, since: datetime, until: datetime, cost_usd_min: Decimal) -> list[str]:
    """The features with an hour in the span above ``cost_usd_min``: no other can be worth an alert."""
    rows = reader.frame(
        _DEAR_FEATURES,
        since=_seconds(since),
        until=_seconds(until),
        least=f"{cost_usd_min:f}",
        features_max=FEATURES_MAX,
    )
    return [row["feature"] for row in rows.iter_rows(named=True)]


def evidence(reader: Reader, alert: Alert, *, usual: Sequence[datetime]) -> Evidence:
    """The alert's window beside its usual hours, by model, feature and user."""
    if not usual:
        return Evidence(usual_hours=0)
    whole = not alert.scope.startswith(FEATURE)
    return Evidence(
        usual_hours=len(usual),
        models=_changes(reader, _BY_MODEL, alert, usual),
        features=_changes(reader, _BY_FEATURE, alert, usual) if whole else {},
        users=_spenders(reader, alert, days=_whole_days(alert, usual) if whole else ()),
    )


def stored_alerts(reader: Reader, *, now: datetime) -> Sequence[Alert]:
    """The latest revision of every alert that stands, and of those that ended lately."""
    return alerts_from_rows(reader.frame(_ALERTS, since=_seconds(now - RESTORED)))


def latest_alerts(reader: Reader, *, standing_only: bool, limit: int) -> Sequence[Alert]:
    """Alerts in their latest revision, those decided last first."""
    return alerts_from_rows(reader.frame(_LATEST_ALERTS, every=int(not standing_only), limit=limit))


def revisions_of(reader: Reader, alert_id: str) -> Sequence[Alert]:
    """All revisions of one alert, the first one first."""
    return alerts_from_rows(reader.frame(_REVISIONS, alert_id=alert_id))


def _changes(reader: Reader, sql: str, alert: Alert, usual: Sequence[datetime]) -> dict[str, Change]:
    rows = reader.frame(
        sql,
        start=_seconds(alert.window_start),
        end=_seconds(alert.window_end),
        since=_seconds(min(usual)),
        usual=[_seconds(hour) for hour in usual],
        names_max=NAMES_MAX,
        **_feature(alert),
    )
    return {row["name"]: Change(now=_part(row, "now"), usual=_part(row, "usual")) for row in rows.iter_rows(named=True)}


def _part(row: Mapping[str, Any], when: str) -> Part:
    return Part(calls=row[f"calls_{when}"], tokens=row[f"tokens_{when}"], cost_usd=row[f"cost_{when}"])


def _spenders(reader: Reader, alert: Alert, *, days: Sequence[date]) -> tuple[Spender, ...]:
    """The dearest users of the window. A user's usual cost comes from whole days, over all features together."""
    span = {"since": _seconds(alert.window_start), "until": _seconds(alert.window_end)}
    rows = reader.frame(_SPENDERS, users_max=USERS_MAX, **span, **_feature(alert))
    costs = {row["user_id"]: row["cost"] for row in rows.iter_rows(named=True)}
    if not costs or not days:
        return tuple(Spender(user, cost, None) for user, cost in costs.items())
    last = max(days) + timedelta(days=1)
    earlier = reader.frame(_USER_DAYS, since=f"{min(days)}", until=f"{last}", users=list(costs))
    before = {row["user_id"]: row["cost"] for row in earlier.iter_rows(named=True)}
    hours = 24 * len(days)
    return tuple(Spender(user, cost, before.get(user, Decimal(0)) / hours) for user, cost in costs.items())


def _whole_days(alert: Alert, usual: Sequence[datetime]) -> Sequence[date]:
    """The whole days between the first usual hour and the day of the alert."""
    first, end = (min(usual) + timedelta(hours=23)).date(), alert.window_start.date()
    return [first + timedelta(days=each) for each in range((end - first).days)]


def _feature(alert: Alert) -> dict[str, Any]:
    named = alert.scope.startswith(FEATURE)
    return {"all_features": int(not named), "feature": alert.scope.removeprefix(FEATURE) if named else ""}


def _only(hours: Iterable[datetime] | None) -> dict[str, Any]:
    return {"every": int(hours is None), "hours": sorted(_seconds(hour) for hour in hours or ())}


def _spend(row: Mapping[str, Any]) -> Spend:
    return Spend(cost_usd=row["cost"], unpriced_calls=row["unpriced"])


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
