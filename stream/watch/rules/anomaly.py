"""A clock hour of one feature that cost far more than the same hours of other weeks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from costream.alerts import Alert, Level
from stream.watch.baseline import Baseline, Thresholds, anomaly_baseline
from stream.watch.case import horizon
from stream.watch.history import Hours, Scopes
from stream.watch.queries import Reader, dear_features, feature_hours
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.series import HOUR, Series, hour_of
from stream.watch.usual import HISTORY_HOURS
from stream.watch.wording import FEATURE


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
        """Every feature dear enough to matter, and the scopes of standing alerts."""
        since, until = horizon(now, self)[0], hour_of(now)
        dear = dear_features(self._reader, since=since, until=until, cost_usd_min=self.cost_usd_min)
        wanted = {alert.scope for alert in standing} | {FEATURE + feature for feature in dear}
        return Spending(self._scopes.read(wanted, now=now, changed=changed), self._scopes.baselines, self.evidence)

    def forget(self) -> None:
        self._scopes.forget()

    def _fetch(
        self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None
    ) -> dict[str, Hours]:
        features = [scope.removeprefix(FEATURE) for scope in scopes]
        by_feature = feature_hours(self._reader, features, since=since, until=until, only=only)
        return {FEATURE + feature: hours for feature, hours in by_feature.items()}
