"""The two rules, the windows of 60 minutes that each looks at, and one of them on one scope at one moment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final

from costream.alerts import Level
from stream.watch.baseline import Baseline, Rules, anomaly_baseline, spike_baseline
from stream.watch.series import HOUR, MINUTE, Series, Spend, hour_of, minute_of
from stream.watch.wording import FEATURE, SYSTEM

GRACE: Final = timedelta(hours=1)  # a window is judged until this long after its end; then it is closed for good
FOLLOWED: Final = timedelta(hours=24)  # how far back an open alert's own windows are looked at again


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    metric_name: str
    level: Level
    scopes: str  # the scope, or what it starts with
    latest_window: Callable[[datetime], datetime]  # where the one begins that holds this moment
    step: timedelta  # from one window to the next
    baseline: Callable[[Series, datetime, Rules], Baseline | None]
    is_on: Callable[[Rules], bool]
    cost_usd_min: Callable[[Rules], Decimal]  # a window that cost no more never trips: its statistics are spared


def last_sixty_minutes(now: datetime) -> datetime:
    """The minute that runs is in it, as far as it has come."""
    return minute_of(now) + MINUTE - HOUR


SPIKE: Final = Rule(
    name="hourly_spike",
    metric_name="hourly_cost_spike",
    level=Level.WARNING,
    scopes=SYSTEM,
    latest_window=last_sixty_minutes,
    step=MINUTE,
    baseline=spike_baseline,
    is_on=lambda rules: rules.spike_enabled,
    cost_usd_min=lambda rules: Decimal(0),
)
ANOMALY: Final = Rule(
    name="hourly_anomaly",
    metric_name="hourly_cost_anomaly",
    level=Level.WARNING,
    scopes=FEATURE,
    latest_window=hour_of,
    step=HOUR,
    baseline=anomaly_baseline,
    is_on=lambda rules: rules.anomaly_enabled,
    cost_usd_min=lambda rules: rules.cost_usd_min,
)
ALL_RULES: Final = {rule.name: rule for rule in (SPIKE, ANOMALY)}


def horizon(now: datetime, rule: Rule) -> tuple[datetime, ...]:
    """The windows, by their start, that may still raise an alert: the latest, and those before it for their grace."""
    latest_window = rule.latest_window(now)
    count = (latest_window + HOUR + GRACE - now - timedelta.resolution) // rule.step + 1
    return tuple(latest_window - rule.step * back for back in reversed(range(count)))


class Baselines:
    """Baselines that were worked out already, so that a thousand features can be judged every second.

    One depends on earlier hours alone: while an hour fills, its own stays true.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, datetime, Rules], Baseline | None]] = {}

    def of(self, rule: Rule, scope: str, series: Series, hour: datetime, rules: Rules) -> Baseline | None:
        known, key = self._known.setdefault(scope, {}), (rule.name, hour, rules)
        if key not in known:
            known[key] = rule.baseline(series, hour, rules)
        return known[key]

    def changed(self, scope: str, before: Mapping[datetime, Spend], after: Mapping[datetime, Spend]) -> None:
        """The scope has other figures: only baselines of hours up to the first that differs stay true."""
        first = min(
            (hour for hour in before.keys() | after.keys() if before.get(hour) != after.get(hour)), default=None
        )
        if first is not None and scope in self._known:
            self._known[scope] = {key: value for key, value in self._known[scope].items() if key[1] <= first}

    def keep_only(self, scopes: Collection[str]) -> None:
        self._known = {scope: known for scope, known in self._known.items() if scope in scopes}


class Case:
    """One rule on one scope at one moment."""

    def __init__(
        self, rule: Rule, scope: str, series: Series, *, now: datetime, rules: Rules, baselines: Baselines
    ) -> None:
        self.rule, self.scope, self.series, self.now, self.rules = rule, scope, series, now, rules
        self._baselines = baselines

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
        return self._baselines.of(self.rule, self.scope, self.series, hour_of(window), self.rules)

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
        if spent is None or spent.cost_usd <= self.rule.cost_usd_min(self.rules):
            return False
        return (usual := self.baseline(window)) is not None and usual.trips(spent.cost_usd)

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
        return spent.cost_usd <= 0 or (usual is not None and usual.quiet(spent.cost_usd))

    def dearest(self, windows: Iterable[datetime]) -> datetime:
        """Of several, what a person is shown: the dearest, and of equals the latest."""
        return max(windows, key=lambda window: (self.cost_usd(window), window))


def hours_to_split(
    series: Series,
    *,
    first_windows: Iterable[datetime],
    now: datetime,
    rules: Rules,
    baselines: Baselines | None = None,
) -> set[datetime]:
    """The clock hours whose minutes the spike rule needs, given the clock hours of the system.

    Those since the ``first_windows`` of alerts that stand, and those in reach if two of them could hold a window above
    the level: no 60 minutes cost more than the two hours they lie in. On a usual day there are none.
    """
    if not SPIKE.is_on(rules):
        return set()
    case = Case(SPIKE, SYSTEM, series, now=now, rules=rules, baselines=baselines or Baselines())
    followed = {hour_of(window) for first in first_windows for window in case.windows_from(first)}
    reached = set(map(hour_of, case.horizon))
    asked = followed | (reached if any(map(case.may_hold_a_spike, reached)) else set())
    return {each for hour in asked for each in (hour, hour + HOUR) if each <= now}
