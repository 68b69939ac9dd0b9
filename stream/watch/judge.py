"""Which hours are worth an alert: plain functions on frozen values, with no Kafka, clock or network.

``judge`` is given what is known (the hours of each scope, the latest revision of each alert) and says what is new.
Ids and revisions follow from these alone. Judging the same twice says nothing the second time, and a worker that
starts again from stored alerts goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Final

from stream.alerts import RATIO_MAX, Alert, Driver, Level, Status, episode_id, rounded
from stream.watch.baseline import HOUR, Baseline, Rules, Series, anomaly_baseline, spike_baseline
from stream.watch.drivers import to_decimal
from stream.watch.wording import FEATURE, SYSTEM, causes, message, title

GRACE: Final = timedelta(hours=1)  # an hour is judged until this long after its end; then it is closed for good
FOLLOWED: Final = timedelta(hours=24)  # how far back an open alert's own hours are looked at again


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    metric_name: str
    level: Level
    scopes: str  # the scope, or what it starts with
    baseline: Callable[[Series, datetime, Rules], Baseline | None]


SPIKE: Final = Rule("hourly_spike", "hourly_cost_spike", Level.WARNING, SYSTEM, spike_baseline)
ANOMALY: Final = Rule("hourly_anomaly", "hourly_cost_anomaly", Level.WARNING, FEATURE, anomaly_baseline)
ALL_RULES: Final = {rule.name: rule for rule in (SPIKE, ANOMALY)}


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def horizon(now: datetime) -> tuple[datetime, ...]:
    """The hours that may still raise an alert: the one that runs, and the one before it for its grace."""
    return tuple(hour for hour in (hour_of(now) - HOUR, hour_of(now)) if now < hour + HOUR + GRACE)


def judge(*, history: Mapping[str, Series], alerts: Iterable[Alert], now: datetime, rules: Rules) -> list[Alert]:
    """The new revisions, in the order in which they happened. A rule that is switched off says nothing at all."""
    known = latest(alerts)
    on = [rule for rule, enabled in ((SPIKE, rules.spike_enabled), (ANOMALY, rules.anomaly_enabled)) if enabled]
    return [
        alert
        for rule in on
        for scope, series in sorted(history.items())
        if scope.startswith(rule.scopes)
        for alert in _judge(_Case(rule, scope, series, now, rules), known)
    ]


def latest(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """The highest revision of each alert, whatever the order they come in."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        if alert.alert_id not in found or found[alert.alert_id].revision < alert.revision:
            found[alert.alert_id] = alert
    return found


class _Case:
    """One rule on one scope at one moment."""

    def __init__(self, rule: Rule, scope: str, series: Series, now: datetime, rules: Rules) -> None:
        self.rule, self.scope, self.series, self.now, self.rules = rule, scope, series, now, rules

    @cached_property
    def horizon(self) -> tuple[datetime, ...]:
        return horizon(self.now)

    @property
    def followed_since(self) -> datetime:
        return hour_of(self.now) - FOLLOWED

    def hours_from(self, first: datetime) -> Iterator[datetime]:
        hour = max(first, self.followed_since)
        while hour <= hour_of(self.now):
            yield hour
            hour += HOUR

    def baseline(self, hour: datetime) -> Baseline | None:
        key, known = (self.rule.name, hour, self.rules), self.series.known
        if key not in known:
            known[key] = self.rule.baseline(self.series, hour, self.rules)
        return known[key]

    def cost_usd(self, hour: datetime) -> Decimal:
        return self.series.at(hour).cost_usd

    def trips(self, hour: datetime) -> bool:
        """An hour to date is held against the whole usual hour, never scaled up: it can only be late, not wrong."""
        return self._may_trip(hour) and (usual := self.baseline(hour)) is not None and usual.trips(self.cost_usd(hour))

    def _may_trip(self, hour: datetime) -> bool:
        """Spares the statistics of every feature that spends less than the minimum."""
        least = self.rules.cost_usd_min if self.rule is ANOMALY else Decimal(0)
        return self.cost_usd(hour) > least

    def quiet(self, hour: datetime) -> bool:
        """A whole hour, below the clear level."""
        if hour + HOUR > self.now:
            return False
        usual = self.baseline(hour)
        return self.cost_usd(hour) <= 0 or (usual is not None and usual.quiet(self.cost_usd(hour)))


def _judge(case: _Case, known: Mapping[str, Alert]) -> list[Alert]:
    mine = [alert for alert in known.values() if (alert.rule, alert.scope) == (case.rule.name, case.scope)]
    news = [revision for alert in mine if alert.standing for revision in _follow(case, alert)]
    now_known = latest([*mine, *news])
    if any(alert.standing for alert in now_known.values()):
        return news
    opened = _open(case, now_known)
    return [*news, *opened, *(revision for alert in opened for revision in _follow(case, alert))]


def _open(case: _Case, known: Mapping[str, Alert]) -> list[Alert]:
    """The first hour that trips starts an episode. One that a correction ended and new events revive keeps its id."""
    cleared = [alert.window_start for alert in known.values() if alert.status == "cleared"]
    for hour in case.horizon:
        if case.trips(hour) and all(hour >= end for end in cleared):
            before = known.get(episode_id(rule=case.rule.name, scope=case.scope, first_window=hour))
            return [_revision(case, hour, "open", first_window=hour, number=before.revision + 1 if before else 1)]
    return []


def _follow(case: _Case, alert: Alert) -> list[Alert]:
    """What became of a standing alert: retracted, moved on or grown, then perhaps cleared."""
    first_window = first_window_of(alert)
    tripped = [hour for hour in case.hours_from(first_window) if case.trips(hour)]
    if not tripped and first_window >= case.followed_since:
        return [_revision(case, alert.window_start, "retracted", first_window=first_window, number=alert.revision + 1)]
    own = [hour for hour in tripped if hour <= alert.window_start]
    news: list[Alert] = []
    for hour in case.hours_from(own[-1] if own else alert.window_start + HOUR):
        if hour in tripped:
            if hour in case.horizon and _matters(case, hour, alert):
                alert = _revision(case, hour, "updated", first_window=first_window, number=alert.revision + 1)
                news.append(alert)
        elif case.quiet(hour):
            cleared = _revision(case, hour, "cleared", first_window=first_window, number=alert.revision + 1)
            return [*news, cleared]
    return news


def _matters(case: _Case, hour: datetime, alert: Alert) -> bool:
    """To a person: another hour trips, the level rises, or the cost has doubled again."""
    if hour != alert.window_start:
        return hour > alert.window_start
    usual = case.baseline(hour)
    said = _doublings(alert.current_value, alert.threshold_value)
    grown = usual is not None and _doublings(case.cost_usd(hour), _rounded(usual.open_above)) > said
    return grown or case.rule.level > alert.level


def _doublings(cost_usd: Decimal, level: Decimal) -> int:
    """How often the level, as it was published, can be doubled within the cost; no matter when somebody looks."""
    count = 0
    while level > 0 and cost_usd >= level * 2 ** (count + 1):
        count += 1
    return count


def first_window_of(alert: Alert) -> datetime:
    """The hour that opened the episode; ``alert_id`` is made of it."""
    return datetime.fromisoformat(str(alert.metadata["first_window"]))


def _revision(case: _Case, hour: datetime, status: Status, *, first_window: datetime, number: int) -> Alert:
    figures, usual = case.series.at(hour), case.baseline(hour)
    expected = _rounded(usual.expected) if usual else None
    ratio = _ratio(figures.cost_usd, usual)
    level = _rounded(_level(usual, status)) if usual else Decimal(0)
    basis = usual.basis if usual else "no baseline"
    return Alert(
        alert_id=episode_id(rule=case.rule.name, scope=case.scope, first_window=first_window),
        revision=number,
        status=status,
        level=case.rule.level,
        rule=case.rule.name,
        title=title(scope=case.scope, ratio=ratio, status=status),
        message=message(
            status=status,
            hour=hour,
            so_far=hour + HOUR > case.now,
            cost_usd=figures.cost_usd,
            level_usd=level,
            expected_usd=expected,
            ratio=ratio,
            basis=basis,
            unpriced_calls=figures.unpriced_calls,
        ),
        metric_name=case.rule.metric_name,
        scope=case.scope,
        window_start=hour,
        window_end=hour + HOUR,
        current_value=figures.cost_usd,
        threshold_value=level,
        expected_value=expected,
        ratio=ratio,
        unpriced_calls=figures.unpriced_calls,
        metadata={
            "first_window": first_window.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "basis": basis,
            "currency": "USD",
        },
        timestamp=case.now,
    )


def _level(usual: Baseline, status: Status) -> Fraction:
    """The level that was crossed: the lower one by an alert that clears, the upper one otherwise."""
    return usual.clear_below if status == "cleared" else usual.open_above


def _rounded(value: Fraction) -> Decimal:
    return rounded(to_decimal(value), digits=6)


def _ratio(cost_usd: Decimal, usual: Baseline | None) -> Decimal | None:
    if usual is None or usual.expected <= 0:
        return None
    return min(RATIO_MAX, rounded(to_decimal(Fraction(cost_usd) / usual.expected), digits=4))


def usual_hours(alert: Alert, *, history: Mapping[str, Series], rules: Rules) -> tuple[datetime, ...]:
    """The hours that an alert's hour was compared to: what its drivers are compared to as well."""
    usual = ALL_RULES[alert.rule].baseline(history[alert.scope], alert.window_start, rules)
    return usual.compared_to if usual else ()


def explained(alert: Alert, drivers: tuple[Driver, ...]) -> Alert:
    """The alert with its reasons, in fields and in words."""
    return alert.model_copy(update={"drivers": drivers, "message": f"{alert.message} {causes(drivers)}"})
