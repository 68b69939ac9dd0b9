"""Forecasts: which budgets are expected to be used up before their day or month ends. What is expected of them, and of
everything together, is kept by day (``forecasts``).

Four months of hours are read for it, of each budget once in a quarter of an hour: how a month ends changes slowly, and
what crosses a step of the budget is told at once by the rule of budgets. One look takes some seconds at the most, since
other rules wait for it; the budgets that are left come next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import ClassVar, Final, Protocol

import polars as pl
import structlog

from costream.alerts import DIGITS_EXACT, Alert
from sinks.answers.forecast import PERIODS, Forecast, Hour, forecast, known_since, midnight
from sinks.clickhouse.forecast_rows import Expected, forecast_rows
from sinks.errors import WarehouseError
from stream.budgets.budget import COLUMNS, Budget, subject_of
from stream.budgets.facts import budget_of, withdrawn
from stream.budgets.spend import USD, PerUSD
from stream.budgets.zones import zone
from stream.watch.foreseen import RULE, alert_id, judged, over
from stream.watch.foreseen_words import worded
from stream.watch.rules.hourly import RETRY_WAIT
from stream.watch.rules.rule import Past
from stream.watch.scopes import SYSTEM

EVERY: Final = timedelta(minutes=15)
LOOK_SECONDS_MAX: Final = 2.0  # then no other budget is begun
REST: Final = 20  # times as long as a look took, until the next one
SUBJECTS_MAX: Final = 50  # of one budget, the dearest of the last 31 days
LATELY: Final = timedelta(days=31)

NEXT: Final = "its alerts stay as they are; the others are looked at in a minute, and this one when they have been"

log = structlog.get_logger(__name__)


class HoursOf(Protocol):
    """``hours_of_subjects`` of a warehouse, or of what stands for one."""

    def __call__(
        self,
        *,
        since: datetime,
        until: datetime,
        only: Mapping[str, Sequence[str]],
        by: Sequence[str] = (),
        lately: datetime | None = None,
        subjects_max: int = 1,
    ) -> pl.DataFrame: ...


@dataclass(frozen=True, slots=True)
class Foreseen:
    """By budget and subject, in the currency of the budget. What of a budget is not known now is not there."""

    found: Mapping[tuple[str, str], Forecast]


class ForecastRule:
    """All budgets that say so (``forecast``)."""

    name: ClassVar = RULE

    def __init__(
        self,
        budgets: Sequence[Budget],
        *,
        hours_of: HoursOf,
        per_usd: PerUSD,
        zone: str = "",
        keep: Callable[[pl.DataFrame], object] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``zone``: by whose clocks everything together is foreseen; without it that is not. ``keep`` stores rows of
        ``forecasts``, and may raise ``WarehouseError``."""
        self._budgets = {budget.name: budget for budget in budgets if budget.forecast is not None}
        self._hours_of, self._per_usd, self._monotonic = hours_of, per_usd, monotonic
        self._zone, self._keep = zone, keep
        self._left = list[Budget | None]()  # of this round; None: everything together
        self._began: datetime | None = None  # this round
        self._rest = timedelta()

    # --- the four verbs ---

    def is_due(self, now: datetime, past: Past) -> bool:
        if past.looked_at is None or self._began is None:
            return True
        if now - past.looked_at < (max(RETRY_WAIT, self._rest) if past.failed else self._rest):
            return False
        return past.failed or bool(self._left) or now - self._began >= EVERY

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> Foreseen:
        """It keeps an error of the warehouse to itself: what it asks may be too much for one that can still answer the
        rules beside it."""
        if past.looked_at is None or past.failed or not self._left:
            self._left, self._began = [*self._budgets.values(), *([None] if self._zone else [])], now
        found, expected = dict[tuple[str, str], Forecast](), list[Expected]()
        began, error = self._monotonic(), None
        while self._left and not error and self._monotonic() - began < LOOK_SECONDS_MAX:
            budget = self._left.pop(0)
            try:
                if budget is None:
                    expected.append(self._of_everything(now))
                else:
                    of_budget = self._of_budget(budget, now)
                    found |= {(budget.name, subject): one for subject, one in of_budget.items()}
                    expected += [self._expected(budget, subject, one) for subject, one in of_budget.items()]
            except WarehouseError as failure:
                error = failure
                log.warning("not foreseen", of=budget.name if budget else SYSTEM, reason=str(error), next=NEXT)
        self._store(expected)
        self._rest = RETRY_WAIT if error else REST * timedelta(seconds=self._monotonic() - began)
        return Foreseen(found)

    def judge(self, reading: Foreseen, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        standing = [alert for alert in known.values() if alert.standing]
        gone = [alert for alert in standing if budget_of(alert, self._budgets) is None]
        ended = [alert for alert in standing if now >= alert.window_end and alert not in gone]
        news = [
            judged(budget, subject, found, known.get(alert_id(budget, subject, self._start(budget, found))), now=now)
            for (name, subject), found in sorted(reading.found.items(), key=lambda one: one[0])
            for budget in [self._budgets[name]]
        ]
        return [
            *(withdrawn(alert, now=now) for alert in gone),
            *(over(alert, now=now) for alert in ended),
            *(alert for alert in news if alert),
        ]

    def word(self, alert: Alert, reading: Foreseen) -> Alert:
        return worded(alert)

    # --- what it reads ---

    def _of_everything(self, now: datetime) -> Expected:
        clocks = zone(self._zone)
        since = known_since(now, clocks)
        rows = self._hours_of(since=since, until=now, only={})
        found = forecast([Hour(*row) for row in rows.iter_rows()], now=now, since=since, zone=clocks)
        return Expected(SYSTEM, USD, self._zone, now.astimezone(clocks).date(), PERIODS, found)

    def _of_budget(self, budget: Budget, now: datetime) -> dict[str, Forecast]:
        """By subject."""
        since = known_since(now, zone(budget.zone))
        rows = self._hours_of(
            since=since,
            until=now,
            only=budget.only,
            by=budget.scope,
            lately=now - LATELY,
            subjects_max=SUBJECTS_MAX,
        )
        forecasts = {
            subject: self._forecast(budget, hours, since=since, now=now)
            for subject, hours in _by_subject(rows, budget.scope)
        }
        return {subject: found for subject, found in forecasts.items() if found is not None}

    def _forecast(self, budget: Budget, hours: Sequence[Hour], *, since: datetime, now: datetime) -> Forecast | None:
        """In the currency of the budget, each hour by the rate of its day of UTC. It is told from the days after the
        last one without a rate. None where that is one of the period."""
        clocks = zone(budget.zone)
        told = [
            Hour(hour.start, self._priced(hour, budget.currency), hour.calls, hour.unpriced_calls) for hour in hours
        ]
        unknown = [hour.start for hour, other in zip(hours, told, strict=True) if hour.cost and other.cost is None]
        if unknown:
            since = midnight(unknown[-1].astimezone(clocks).date() + timedelta(days=1), clocks)
            told = [hour for hour in told if hour.start >= since]
        found = forecast(told, now=now, since=since, zone=clocks)
        return found if since <= self._start(budget, found) else None

    def _priced(self, hour: Hour, currency: str) -> Decimal | None:
        if not hour.cost or currency == USD:
            return hour.cost
        rate = self._per_usd(currency, hour.start.astimezone(UTC).date())
        if rate is None:
            return None
        with localcontext(prec=DIGITS_EXACT):
            return hour.cost * rate

    @staticmethod
    def _expected(budget: Budget, subject: str, found: Forecast) -> Expected:
        day = found.made_at.astimezone(zone(budget.zone)).date()
        return Expected(budget.alert_scope(subject), budget.currency, budget.zone, day, (budget.period,), found)

    def _store(self, expected: Sequence[Expected]) -> None:
        """What cannot be stored now is told anew in a quarter of an hour."""
        if not expected:
            return
        try:
            self._keep(forecast_rows(expected))
        except WarehouseError as error:
            log.warning("forecasts not stored", reason=str(error), next="they are made anew, and alerts go by them")

    @staticmethod
    def _start(budget: Budget, found: Forecast) -> datetime:
        return next(one.start for one in found.outlooks if one.period == budget.period)


def _by_subject(rows: pl.DataFrame, scope: Sequence[str]) -> Iterator[tuple[str, list[Hour]]]:
    columns = [COLUMNS[word] for word in scope]
    hours: dict[tuple[str, ...], list[Hour]] = {} if scope else {(): []}
    for row in rows.select(*columns, "hour", "cost_usd", "calls", "unpriced_calls").iter_rows():
        values, told = row[: len(columns)], row[len(columns) :]
        hours.setdefault(values, []).append(Hour(*told))
    for values, of_subject in hours.items():
        yield subject_of(zip(scope, values, strict=True)), of_subject
