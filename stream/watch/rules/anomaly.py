"""A clock hour of one feature, or of one value of another dimension, that cost far more than the same hours of other
weeks.

The dimensions have an order. A value of a later one is told only by what alerts of the earlier ones do not tell: the
rise of a feature is no alert of its team as well, and one that many features of a team share is an alert of the team.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import ClassVar

from costream.alerts import Alert, Level
from stream.watch.baseline import Baseline, Thresholds, anomaly_baseline
from stream.watch.case import Told, horizon
from stream.watch.history import Hours, Scopes
from stream.watch.judge import first_window_of
from stream.watch.queries import Reader, dear_values, hours_of, shared
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.scopes import Value, value_of
from stream.watch.series import HOUR, Series, hour_of
from stream.watch.usual import HISTORY_HOURS


class AnomalyRule(HourlyRule):
    name: ClassVar = "hourly_anomaly"
    metric_name: ClassVar = "hourly_cost_anomaly"
    level: ClassVar = Level.WARNING
    step: ClassVar = HOUR

    def __init__(self, thresholds: Thresholds, *, reader: Reader, interval: timedelta) -> None:
        super().__init__(thresholds, reader=reader, interval=interval)
        self._scopes = Scopes(self._fetch, hours_needed=HISTORY_HOURS)

    @property
    def is_on(self) -> bool:
        return self.thresholds.anomaly_enabled

    @property
    def cost_usd_min(self) -> Decimal:
        return self.thresholds.cost_usd_min

    def latest_window(self, now: datetime) -> datetime:
        return hour_of(now)

    def baseline(self, series: Series, hour: datetime) -> Baseline | None:
        return anomaly_baseline(series, hour, self.thresholds)

    def spending(self, now: datetime, changed: frozenset[datetime], standing: Sequence[Alert]) -> Spending:
        """Every value dear enough to matter, and the scopes of standing alerts."""
        since, until = horizon(now, self)[0], hour_of(now)
        wanted = {alert.scope for alert in standing}
        for dimension in self.thresholds.anomaly_by:
            dear = dear_values(self._reader, dimension, since=since, until=until, cost_usd_min=self.cost_usd_min)
            values = (Value(dimension, value) for value in dear)
            wanted |= {value.scope for value in values if self.looks_at(value)}
        series = self._scopes.read(wanted, now=now, changed=changed)
        return Spending(series, self._scopes.baselines, self.evidence, partial(shared, self._reader))

    def looks_at(self, value: Value) -> bool:
        """Calls without a value are looked at by the first dimension alone: of one that nobody fills in all are."""
        return bool(value.value) or value.dimension == self.thresholds.anomaly_by[0]

    def rank(self, scope: str) -> int:
        """Of its dimension. One that is looked at no more comes last, and only to see its alerts end."""
        of_scope, order = value_of(scope), self.thresholds.anomaly_by
        return order.index(of_scope.dimension) if of_scope and of_scope.dimension in order else len(order)

    def told_elsewhere(
        self, reading: Spending, scope: str, known: Mapping[str, Alert], window: datetime, usual: Sequence[datetime]
    ) -> Told:
        own = value_of(scope)
        told = {
            of_alert
            for alert in known.values()
            if (of_alert := value_of(alert.scope))
            and self.rank(alert.scope) < self.rank(scope)
            and _tells(alert, window)
        }
        if not (own and told and usual):
            return Told()
        now, usually = reading.shared(own, told, window, usual)
        return Told(
            Fraction(now.cost_usd) - Fraction(usually.cost_usd) / len(usual),
            now.calls - Fraction(usually.calls, len(usual)),
        )

    def forget(self) -> None:
        self._scopes.forget()

    def _fetch(
        self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None
    ) -> dict[str, Hours]:
        by_dimension: dict[str, list[str]] = {}
        for of_scope in filter(None, map(value_of, scopes)):
            by_dimension.setdefault(of_scope.dimension, []).append(of_scope.value)
        return {
            Value(dimension, value).scope: hours
            for dimension, values in by_dimension.items()
            for value, hours in hours_of(self._reader, dimension, values, since=since, until=until, only=only).items()
        }


def _tells(alert: Alert, window: datetime) -> bool:
    """Whether the window is one of its episode."""
    if first_window_of(alert) > window:
        return False
    return alert.standing or (alert.status == "cleared" and window < alert.window_start)
