"""What the rules about 60 minutes have in common: when they are due, how an alert lives, and its reasons.

Which windows a rule looks at and what is usual there is its own. ``usage.rollups`` only says which hours changed; every
figure is read from the warehouse, where it is exact. So a rollup that arrives twice, late or out of order changes
nothing, and a lost one costs a minute at most.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import ClassVar, Final

from costream.alerts import Alert, Level
from stream.watch.baseline import Baseline, Thresholds
from stream.watch.case import Baselines, Case, Told
from stream.watch.judge import revisions
from stream.watch.queries import Reader
from stream.watch.reasons.asking import evidence
from stream.watch.reasons.difference import difference
from stream.watch.reasons.drivers import drivers
from stream.watch.reasons.evidence import Evidence
from stream.watch.rules.rule import Past
from stream.watch.scopes import Value
from stream.watch.series import NOTHING, Series, Spend, hour_of
from stream.watch.wording import explained, worded

IDLE_MAX: Final = timedelta(minutes=1)  # an hour ends, and an alert clears, without any event
RETRY_WAIT: Final = timedelta(minutes=1)  # after a failed evaluation


def is_due(now: datetime, past: Past, *, interval: timedelta) -> bool:
    """Soon after something changed, once a minute in any case, and a minute after a failure."""
    if past.looked_at is None:
        return True
    if past.failed:
        return now - past.looked_at >= RETRY_WAIT
    return now - past.looked_at >= (interval if past.changed else max(interval, IDLE_MAX))


def no_evidence(_: Alert, _usual: Sequence[datetime]) -> Evidence:
    return Evidence(usual_hours=0)


def nothing_shared(
    _: Value, _others: Collection[Value], _hour: datetime, _usual: Sequence[datetime]
) -> tuple[Spend, Spend]:
    return NOTHING, NOTHING


@dataclass(frozen=True, slots=True)
class Spending:
    """What each scope spent; baselines that were worked out already; where to ask why an hour was dear, and what calls
    of one scope and of others too cost in an hour and in its usual ones."""

    series: Mapping[str, Series]
    baselines: Baselines = field(default_factory=Baselines)
    evidence: Callable[[Alert, Sequence[datetime]], Evidence] = no_evidence
    shared: Callable[[Value, Collection[Value], datetime, Sequence[datetime]], tuple[Spend, Spend]] = nothing_shared


class HourlyRule(ABC):
    """A rule about the cost of 60 minutes, held against what is usual."""

    name: ClassVar[str]
    metric_name: ClassVar[str]
    level: ClassVar[Level]
    step: ClassVar[timedelta]  # from one window to the next

    def __init__(self, thresholds: Thresholds, *, reader: Reader, interval: timedelta) -> None:
        self.thresholds = thresholds
        self._reader, self._interval = reader, interval

    # --- the four verbs ---

    def is_due(self, now: datetime, past: Past) -> bool:
        return is_due(now, past, interval=self._interval)

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> Spending | None:
        if not self.is_on:
            return None
        if past.looked_at is None or past.failed:  # what is remembered may be half refreshed
            self.forget()
        return self.spending(now, past.changed, [alert for alert in known if alert.standing])

    def judge(self, reading: Spending, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        news: list[Alert] = []
        now_known = dict(known)
        for scope in sorted(reading.series, key=lambda scope: (self.rank(scope), scope)):
            told = partial(self.told_elsewhere, reading, scope, now_known)
            series, baselines = reading.series[scope], reading.baselines
            found = revisions(Case(self, scope, series, now=now, baselines=baselines, told_elsewhere=told), now_known)
            now_known |= {alert.alert_id: alert for alert in found}
            news += found
        return news

    def word(self, alert: Alert, reading: Spending) -> Alert:
        said = worded(alert)
        if not alert.standing:
            return said
        evidence = reading.evidence(alert, self._usual_hours(alert, reading))
        return explained(said, drivers(evidence), difference(evidence))

    # --- what is each rule's own ---

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Off, it says nothing at all: what stands stays."""

    @property
    @abstractmethod
    def cost_usd_min(self) -> Decimal:
        """A window that cost no more never trips: its statistics are spared."""

    @abstractmethod
    def latest_window(self, now: datetime) -> datetime:
        """Where the window begins that holds this moment."""

    @abstractmethod
    def baseline(self, series: Series, hour: datetime) -> Baseline | None:
        """What this hour usually costs, and the levels around it; None where nobody can tell."""

    @abstractmethod
    def spending(self, now: datetime, changed: frozenset[datetime], standing: Sequence[Alert]) -> Spending:
        """What its scopes spent."""

    @abstractmethod
    def forget(self) -> None:
        """Read everything again: what is remembered may be old."""

    def rank(self, scope: str) -> int:
        """Scopes of a lower rank are judged first."""
        return 0

    def told_elsewhere(
        self, reading: Spending, scope: str, known: Mapping[str, Alert], window: datetime, usual: Sequence[datetime]
    ) -> Told:
        """What alerts of scopes that were judged before tell of this one's window."""
        return Told()

    # --- and what is not ---

    def evidence(self, alert: Alert, usual: Sequence[datetime]) -> Evidence:
        """Where a reading asks for the reasons."""
        return evidence(self._reader, alert, usual=usual)

    def _usual_hours(self, alert: Alert, reading: Spending) -> tuple[datetime, ...]:
        """The hours that an alert's window was compared to: what its drivers are compared to as well."""
        usual = self.baseline(reading.series[alert.scope], hour_of(alert.window_start))
        return usual.compared_to if usual else ()
