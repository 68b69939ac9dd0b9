"""What the watch remembers of the warehouse between two looks, so that each look reads only what may have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from costream.alerts import Alert
from stream.watch.baseline import Rules
from stream.watch.case import ANOMALY, FOLLOWED, SPIKE, Baselines, horizon, hours_to_split
from stream.watch.judge import first_window_of
from stream.watch.queries import Reader, dear_features, feature_hours, system_hours, system_minutes
from stream.watch.series import HOUR, MINUTES, Minutes, Series, Spend, hour_of, minute_of
from stream.watch.wording import FEATURE, SYSTEM

DIRTY_HOURS_MAX: Final = 48  # a correction that touches more is cheaper to read back whole


class History:
    """The hours of each scope looked at. Closed hours are read once an hour, and when a late row touches them."""

    def __init__(self, reader: Reader, rules: Rules) -> None:
        self._reader, self._rules = reader, rules
        self._read_for: datetime | None = None
        self._scopes: dict[str, Series] = {}
        self._split = _SplitHours(reader)
        self.baselines = Baselines()

    def forget(self) -> None:
        self._read_for = None
        self._split = _SplitHours(self._reader)

    def read(self, now: datetime, *, dirty: set[datetime], standing: Sequence[Alert]) -> dict[str, Series]:
        """The system, every feature dear enough to matter, and the scopes of standing alerts.

        ``dirty``: the hours that are said to have changed since the last look.
        """
        until = hour_of(now)
        since = until - HOUR * self._rules.hours_needed - FOLLOWED
        changed = {hour for hour in dirty if since <= hour <= until} | {until, until - HOUR}
        if self._read_for != until or len(changed) > DIRTY_HOURS_MAX:
            self._scopes = {}
            self.baselines.keep_only(())
        wanted = {alert.scope for alert in standing} | self._features(horizon(now, ANOMALY)[0], until) | {SYSTEM}
        self._scopes = {scope: series for scope, series in self._scopes.items() if scope in wanted}
        self.baselines.keep_only(wanted)
        self._refresh(sorted(self._scopes), since, until, changed)
        self._refresh(sorted(wanted - self._scopes.keys()), since, until, None)
        self._read_for = until
        self._split.touched(dirty)
        return self._scopes | {SYSTEM: self._by_the_minute(self._scopes[SYSTEM], now, standing)}

    def _by_the_minute(self, system: Series, now: datetime, standing: Sequence[Alert]) -> Series:
        first_windows = [first_window_of(alert) for alert in standing if alert.rule == SPIKE.name]
        hours = hours_to_split(
            system, first_windows=first_windows, now=now, rules=self._rules, baselines=self.baselines
        )
        return replace(system, minutes=self._split.read({hour: system.at(hour) for hour in hours}, now=now))

    def _features(self, since: datetime, until: datetime) -> set[str]:
        if not self._rules.anomaly_enabled:
            return set()
        dear = dear_features(self._reader, since=since, until=until, cost_usd_min=self._rules.cost_usd_min)
        return {FEATURE + feature for feature in dear}

    def _refresh(self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None) -> None:
        """Read these scopes anew: wholly, or ``only`` the hours that changed (whose rows may also have gone)."""
        features = [scope.removeprefix(FEATURE) for scope in scopes if scope.startswith(FEATURE)]
        by_feature = feature_hours(self._reader, features, since=since, until=until, only=only)
        fresh = {FEATURE + feature: hours for feature, hours in by_feature.items()}
        if SYSTEM in scopes:
            fresh[SYSTEM] = system_hours(self._reader, since=since, until=until, only=only)
        for scope, hours in fresh.items():
            series = self._scopes.get(scope, Series({}))
            kept = {hour: each for hour, each in series.hours.items() if hour not in (only or ())}
            self.baselines.changed(scope, series.hours, kept | hours)
            self._scopes[scope] = replace(series, hours=kept | hours)


@dataclass(frozen=True, slots=True)
class _Split:
    """A clock hour by the minute: when it was read, and what the whole hour had spent by then."""

    minutes: Minutes
    read_at: datetime
    spent: Spend


class _SplitHours:
    """Hours by the minute are made of single calls, which is dear: each is read once, then once a minute at most.

    What has come since is not missed by the window that runs: the hour it ends in is known to the second.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._hours: dict[datetime, _Split] = {}
        self._touched: set[datetime] = set()

    def touched(self, hours: set[datetime]) -> None:
        self._touched |= hours & self._hours.keys()

    def read(self, hours: dict[datetime, Spend], *, now: datetime) -> dict[datetime, Minutes]:
        """The minutes of ``hours``, given with what each has spent so far. Others are forgotten."""
        self._hours = {hour: split for hour, split in self._hours.items() if hour in hours}
        old = [hour for hour, spent in hours.items() if self._is_old(hour, spent, now)]
        if old:
            fresh = system_minutes(self._reader, old, now=now)
            self._hours |= {hour: _Split(minutes, now, hours[hour]) for hour, minutes in fresh.items()}
            self._touched -= set(old)
        return {hour: split.minutes for hour, split in self._hours.items()}

    def _is_old(self, hour: datetime, spent: Spend, now: datetime) -> bool:
        split = self._hours.get(hour)
        if split is None:
            return True
        changed = hour in self._touched or spent != split.spent or split.minutes.over < MINUTES
        return changed and minute_of(split.read_at) != minute_of(now)
