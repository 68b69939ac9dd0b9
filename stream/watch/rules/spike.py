"""60 minutes of everything together that cost several times the average hour of the last week.

The windows begin at every minute, so a burst that straddles the full hour is seen. By the minute nothing is kept: the
minutes of an hour are read from single calls, and only where two clock hours could hold such a window at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from costream.alerts import Alert, Level
from stream.watch.baseline import Baseline, Thresholds, spike_baseline
from stream.watch.case import Baselines, Case
from stream.watch.history import Hours, Scopes, SplitHours
from stream.watch.judge import first_window_of
from stream.watch.queries import Reader, system_hours
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.scopes import SYSTEM
from stream.watch.series import HOUR, MINUTE, Series, hour_of, minute_of


class SpikeRule(HourlyRule):
    name: ClassVar = "hourly_spike"
    metric_name: ClassVar = "hourly_cost_spike"
    level: ClassVar = Level.WARNING
    step: ClassVar = MINUTE

    def __init__(self, thresholds: Thresholds, *, reader: Reader, interval: timedelta) -> None:
        super().__init__(thresholds, reader=reader, interval=interval)
        self._scopes = Scopes(self._fetch, hours_needed=thresholds.history_hours_max)
        self._split = SplitHours(reader)

    @property
    def is_on(self) -> bool:
        return self.thresholds.spike_enabled

    @property
    def cost_usd_min(self) -> Decimal:
        return Decimal(0)

    def latest_window(self, now: datetime) -> datetime:
        """The minute that runs is in it, as far as it has come."""
        return minute_of(now) + MINUTE - HOUR

    def baseline(self, series: Series, hour: datetime) -> Baseline | None:
        return spike_baseline(series, hour, self.thresholds)

    def spending(self, now: datetime, changed: frozenset[datetime], standing: Sequence[Alert]) -> Spending:
        system = self._scopes.read({SYSTEM}, now=now, changed=changed)[SYSTEM]
        baselines = self._scopes.baselines
        self._split.touched(changed)
        asked = self.hours_to_split(system, map(first_window_of, standing), now=now, baselines=baselines)
        minutes = self._split.read({hour: system.at(hour) for hour in asked}, now=now)
        return Spending({SYSTEM: replace(system, minutes=minutes)}, baselines, self.evidence)

    def forget(self) -> None:
        self._scopes.forget()
        self._split = SplitHours(self._reader)

    def hours_to_split(
        self, series: Series, first_windows: Iterable[datetime], *, now: datetime, baselines: Baselines
    ) -> set[datetime]:
        """The clock hours whose minutes are needed, given the clock hours of the system.

        Those since the ``first_windows`` of alerts that stand, and those in reach if two of them could hold a window
        above the level: no 60 minutes cost more than the two hours they lie in. On a usual day there are none.
        """
        case = Case(self, SYSTEM, series, now=now, baselines=baselines)
        followed = {hour_of(window) for first in first_windows for window in case.windows_from(first)}
        reached = set(map(hour_of, case.horizon))
        asked = followed | (reached if any(map(case.may_hold_a_spike, reached)) else set())
        return {each for hour in asked for each in (hour, hour + HOUR) if each <= now}

    def _fetch(
        self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None
    ) -> dict[str, Hours]:
        return {scope: system_hours(self._reader, since=since, until=until, only=only) for scope in scopes}
