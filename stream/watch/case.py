"""The windows of 60 minutes that a rule looks at, and one rule on one scope at one moment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Final, NamedTuple, Protocol

from costream.alerts import Level
from stream.watch.baseline import Baseline
from stream.watch.series import HOUR, Series, Spend, hour_of

GRACE: Final = timedelta(hours=1)  # a window is judged until this long after its end; then it is closed for good
FOLLOWED: Final = timedelta(hours=24)  # how far back an open alert's own windows are looked at again


class Windows(Protocol):
    """What is asked here of a rule about 60 minutes (rules/hourly.py)."""

    name: ClassVar[str]
    metric_name: ClassVar[str]
    level: ClassVar[Level]
    step: ClassVar[timedelta]

    @property
    def cost_usd_min(self) -> Decimal: ...

    def latest_window(self, now: datetime) -> datetime: ...

    def baseline(self, series: Series, hour: datetime) -> Baseline | None: ...


def horizon(now: datetime, rule: Windows) -> tuple[datetime, ...]:
    """The windows, by their start, that may still raise an alert: the latest, and those before it for their grace."""
    latest_window = rule.latest_window(now)
    count = (latest_window + HOUR + GRACE - now - timedelta.resolution) // rule.step + 1
    return tuple(latest_window - rule.step * back for back in reversed(range(count)))


class Baselines:
    """Baselines of one rule that were worked out already, so that a thousand features can be judged every second.

    One depends on earlier hours alone: while an hour fills, its own stays true.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[datetime, Baseline | None]] = {}

    def of(self, rule: Windows, scope: str, series: Series, hour: datetime) -> Baseline | None:
        """``rule``: the one whose baselines these are."""
        known = self._known.setdefault(scope, {})
        if hour not in known:
            known[hour] = rule.baseline(series, hour)
        return known[hour]

    def changed(self, scope: str, before: Mapping[datetime, Spend], after: Mapping[datetime, Spend]) -> None:
        """The scope has other figures: only baselines of hours up to the first that differs stay true."""
        first = min((hour for hour in {*before, *after} if before.get(hour) != after.get(hour)), default=None)
        if first is not None and scope in self._known:
            self._known[scope] = {hour: known for hour, known in self._known[scope].items() if hour <= first}

    def keep_only(self, scopes: Collection[str]) -> None:
        self._known = {scope: known for scope, known in self._known.items() if scope in scopes}


class Told(NamedTuple):
    """The part of its cost and calls above the usual that alerts of other scopes tell already."""

    cost_usd: Fraction = Fraction(0)
    calls: Fraction = Fraction(0)


# Of a window, given the hours that are usual for it.
ToldElsewhere = Callable[[datetime, Sequence[datetime]], Told]


def nothing_told(_: datetime, _usual: Sequence[datetime]) -> Told:
    return Told()


class Case:
    """One rule on one scope at one moment."""

    def __init__(
        self,
        rule: Windows,
        scope: str,
        series: Series,
        *,
        now: datetime,
        baselines: Baselines,
        told_elsewhere: ToldElsewhere = nothing_told,
    ) -> None:
        self.rule, self.scope, self.series, self.now = rule, scope, series, now
        self._baselines, self._told_elsewhere = baselines, told_elsewhere

    @cached_property
    def horizon(self) -> tuple[datetime, ...]:
        return horizon(self.now, self.rule)

    @property
    def followed_since(self) -> datetime:
        return hour_of(self.now) - FOLLOWED

    def windows_from(self, first: datetime) -> Iterator[datetime]:
        window = max(first, self.followed_since)
        while window <= self.rule.latest_window(self.now):
            yield window
            window += self.rule.step

    def baseline(self, window: datetime) -> Baseline | None:
        """Of whole hours alone, none of which has a minute in the window."""
        return self._baselines.of(self.rule, self.scope, self.series, hour_of(window))

    def running(self, window: datetime) -> bool:
        return window + HOUR > self.now

    def spent(self, window: datetime) -> Spend | None:
        """None for a window of which no minutes were read: it is neither above a level nor below one."""
        return self.series.spent(window, running=self.running(window))

    def cost_usd(self, window: datetime) -> Decimal:
        """Of a window that trips, so it is known."""
        spent = self.spent(window)
        assert spent is not None, f"{window} does not trip: nothing is known of it"
        return spent.cost_usd

    def trips(self, window: datetime) -> bool:
        """A window to date is held against a whole usual hour, never scaled up: it can only be late, not wrong."""
        spent = self.spent(window)
        if spent is None or spent.cost_usd <= self.rule.cost_usd_min:
            return False
        return (usual := self.baseline(window)) is not None and usual.trips(spent.cost_usd, spent.calls)

    def is_news(self, window: datetime) -> bool:
        """Whether it trips by what no alert of another scope tells: one cause is one alert."""
        if not self.trips(window):
            return False
        spent, usual = self.spent(window), self.baseline(window)
        assert spent is not None, f"{window} trips, so it is known"
        assert usual is not None, f"{window} trips, so it has a level"
        told = self._told_elsewhere(window, usual.compared_to)
        return usual.trips(Fraction(spent.cost_usd) - told.cost_usd, spent.calls - told.calls)

    def may_hold_a_spike(self, hour: datetime) -> bool:
        """Whether 60 minutes that begin in this clock hour can be above the level at all."""
        both = self.series.at(hour) + self.series.at(hour + HOUR)
        return (usual := self.baseline(hour)) is not None and usual.trips(both.cost_usd)

    def quiet(self, window: datetime) -> bool:
        """A window that has ended, below the clear level."""
        spent = self.spent(window)
        if self.running(window) or spent is None:
            return False
        usual = self.baseline(window)
        return spent.cost_usd <= 0 or (usual is not None and usual.quiet(spent.cost_usd, spent.calls))

    def dearest(self, windows: Iterable[datetime]) -> datetime:
        """Of several, what a person is shown: the dearest, and of equals the latest."""
        return max(windows, key=lambda window: (self.cost_usd(window), window))
