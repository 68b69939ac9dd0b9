"""What a rule remembers of the warehouse between two looks, so that each look reads only what may have changed."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from stream.watch.case import FOLLOWED, Baselines
from stream.watch.queries import Reader, system_minutes
from stream.watch.series import HOUR, MINUTES, Minutes, Series, Spend, hour_of, minute_of

DIRTY_HOURS_MAX: Final = 48  # a correction that touches more is cheaper to read back whole

Hours = dict[datetime, Spend]
# The hours of these scopes in a span, or only those that are named; a scope without calls has none.
Fetch = Callable[[list[str], datetime, datetime, set[datetime] | None], dict[str, Hours]]


class Scopes:
    """The hours of each scope looked at. Closed hours are read once an hour, and when a late row touches them."""

    def __init__(self, fetch: Fetch, *, hours_needed: int) -> None:
        self._fetch, self._hours_needed = fetch, hours_needed
        self._read_for: datetime | None = None
        self._scopes: dict[str, Series] = {}
        self.baselines = Baselines()

    def forget(self) -> None:
        self._read_for = None

    def read(self, wanted: Set[str], *, now: datetime, changed: Set[datetime]) -> dict[str, Series]:
        """``changed``: the hours that are said to have changed since the last look."""
        until = hour_of(now)
        since = until - HOUR * self._hours_needed - FOLLOWED
        anew = {hour for hour in changed if since <= hour <= until} | {until, until - HOUR}
        if self._read_for != until or len(anew) > DIRTY_HOURS_MAX:
            self._scopes = {}
            self.baselines.keep_only(())
        self._scopes = {scope: series for scope, series in self._scopes.items() if scope in wanted}
        self.baselines.keep_only(wanted)
        self._refresh(sorted(self._scopes), since, until, anew)
        self._refresh(sorted(wanted - self._scopes.keys()), since, until, None)
        self._read_for = until
        return dict(self._scopes)

    def _refresh(self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None) -> None:
        """Read these scopes anew: wholly, or ``only`` the hours that changed (whose rows may also have gone)."""
        for scope, hours in self._fetch(scopes, since, until, only).items():
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


class SplitHours:
    """Hours by the minute are made of single calls, which is dear: each is read once, then once a minute at most.

    What has come since is not missed by the window that runs: the hour it ends in is known to the second.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._hours: dict[datetime, _Split] = {}
        self._touched: set[datetime] = set()

    def touched(self, hours: Set[datetime]) -> None:
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
