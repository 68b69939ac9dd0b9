"""A history played against the rules about 60 minutes, by the minute: what a worker would have told.

The rules are those that workers judge by. What they would read of the warehouse is added up here from the calls that
have arrived, and only where something may trip, or stands, are they asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import polars as pl

from costream.alerts import Alert
from stream.watch.baseline import Thresholds
from stream.watch.case import Baselines, Case, horizon
from stream.watch.judge import first_window_of, latest
from stream.watch.playing.arrivals import arrivals
from stream.watch.rules.anomaly import AnomalyRule
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.rules.spike import SpikeRule
from stream.watch.scopes import SYSTEM, Value
from stream.watch.series import HOUR, MINUTE, MINUTES, NOTHING, Minutes, Series, Spend, hour_of
from stream.watch.wording import worded

TOLD_EVERY: Final = 1_000  # minutes
REACHED_HOURS: Final = 3  # clock hours in which a window begins that may still open an alert


def played(
    events: pl.DataFrame,
    thresholds: Thresholds,
    *,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[Alert]:
    """``events`` has ``occurred_at`` and ``arrived_at`` (Datetime ms, UTC), the dimensions, and ``cost_pico`` (null: no
    price). The clock goes from the first arrival to the last. The alerts come in words, without reasons.

    ``progress`` is told how many of the sums that change have been looked at.
    """
    play = _Play(thresholds)
    sums = arrivals(events, every="1m", by=thresholds.anomaly_by)
    looked_at, last = 0, None
    for number, (now, group) in enumerate(groupby(sums.iter_rows(named=True), key=itemgetter("arrived_by")), start=1):
        yield from play.quiet(last, now)
        rows = list(group)
        play.add(rows)
        yield from play.look(now)
        looked_at, last = looked_at + len(rows), now
        if number % TOLD_EVERY == 0:
            progress(looked_at, sums.height)


class _NoWarehouse:
    """What is judged is given."""

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        raise AssertionError(f"a history that is played asks nothing: {sql}")


class _Judged:
    """One rule, its alerts, and the baselines that are worked out already."""

    def __init__(self, rule: HourlyRule) -> None:
        self.rule, self.baselines = rule, Baselines()
        self.alerts: dict[str, Alert] = {}

    @property
    def standing(self) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.standing]

    def judge(self, reading: Spending, now: datetime) -> list[Alert]:
        news = self.rule.judge(reading, self.alerts, now)
        self.alerts = latest([*self.alerts.values(), *news])
        return [worded(alert) for alert in news]


class _Play:
    """What a worker would know: what each scope has spent by the hour, everything together by the minute, and the
    alerts."""

    def __init__(self, thresholds: Thresholds) -> None:
        nobody, often = _NoWarehouse(), timedelta(seconds=1)
        self._spikes = SpikeRule(thresholds, reader=nobody, interval=often)
        self._anomalies = AnomalyRule(thresholds, reader=nobody, interval=often)
        self._spike, self._anomaly = _Judged(self._spikes), _Judged(self._anomalies)
        self._by = thresholds.anomaly_by
        self._hours: dict[str, dict[datetime, Spend]] = defaultdict(dict)
        self._minutes: dict[datetime, dict[int, Spend]] = defaultdict(dict)
        self._together: dict[datetime, dict[tuple[str, ...], Spend]] = defaultdict(dict)  # by the values of ``_by``
        self._touched: set[str] = set()  # scopes, since the last look

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            minute: datetime = row["occurred_at"]
            now_hour = hour_of(row["arrived_by"])
            hour, values = hour_of(minute), tuple(row[dimension] for dimension in self._by)
            spend = Spend(row["cost_usd"], row["unpriced_calls"], row["calls"])
            _add(self._minutes[hour], minute.minute, spend)
            _add(self._together[hour], values, spend)
            self._spend(self._spike, SYSTEM, hour, spend, now_hour)
            for value in map(Value, self._by, values):
                if self._anomalies.looks_at(value):
                    self._spend(self._anomaly, value.scope, hour, spend, now_hour)

    def _spend(self, judged: _Judged, scope: str, hour: datetime, spend: Spend, now_hour: datetime) -> None:
        hours = self._hours[scope]
        before = {hour: hours[hour]} if hour in hours else {}
        _add(hours, hour, spend)
        if hour < now_hour:  # no later hour has been looked at otherwise
            judged.baselines.changed(scope, before, {hour: hours[hour]})
        self._touched.add(scope)

    def look(self, now: datetime) -> Iterator[Alert]:
        if self._spikes.is_on:
            yield from self._look_for_spikes(now)
        if self._anomalies.is_on:
            yield from self._look_for_anomalies(now)
        self._touched.clear()

    def quiet(self, last: datetime | None, until: datetime) -> Iterator[Alert]:
        """What is told between two minutes in which calls arrived. Without any an alert clears within three hours."""
        now = last
        while now is not None and (self._spike.standing or self._anomaly.standing):
            now += MINUTE
            if now >= until:
                return
            yield from self.look(now)

    def _look_for_spikes(self, now: datetime) -> list[Alert]:
        series, baselines = Series(self._hours[SYSTEM]), self._spike.baselines
        case = Case(self._spikes, SYSTEM, series, now=now, baselines=baselines)
        standing = [first_window_of(alert) for alert in self._spike.standing]
        reached = (hour_of(now) - HOUR * back for back in range(REACHED_HOURS))
        if not standing and not any(map(case.may_hold_a_spike, reached)):
            return []
        asked = self._spikes.hours_to_split(series, standing, now=now, baselines=baselines)
        if not asked:
            return []
        over = {hour: max(0, min(MINUTES, (now - hour) // MINUTE)) for hour in asked}
        minutes = {hour: Minutes.of(self._minutes.get(hour, {}), over=over[hour]) for hour in asked}
        return self._spike.judge(Spending({SYSTEM: Series(self._hours[SYSTEM], minutes)}, baselines), now)

    def _look_for_anomalies(self, now: datetime) -> list[Alert]:
        scopes = {alert.scope for alert in self._anomaly.standing}
        scopes |= {scope for scope in self._touched - {SYSTEM} - scopes if self._may_trip(scope, now)}
        if not scopes:
            return []
        series = {scope: Series(self._hours[scope]) for scope in scopes}
        return self._anomaly.judge(Spending(series, self._anomaly.baselines, shared=self._shared), now)

    def _may_trip(self, scope: str, now: datetime) -> bool:
        series = Series(self._hours[scope])
        case = Case(self._anomalies, scope, series, now=now, baselines=self._anomaly.baselines)
        return any(map(case.trips, horizon(now, self._anomalies)))

    def _shared(
        self, own: Value, others: Collection[Value], hour: datetime, usual: Sequence[datetime]
    ) -> tuple[Spend, Spend]:
        """As ``queries.shared`` asks for it."""
        mine = self._by.index(own.dimension)
        of_others = [(self._by.index(dimension), value) for dimension, value in others]

        def both(hours: Iterable[datetime]) -> Spend:
            found = (
                spend
                for one in hours
                for values, spend in self._together.get(one, {}).items()
                if values[mine] == own.value and any(values[at] == value for at, value in of_others)
            )
            return sum(found, start=NOTHING)

        return both([hour]), both(usual)


def _add(sums: dict[Any, Spend], key: Any, spend: Spend) -> None:
    sums[key] = sums.get(key, NOTHING) + spend
