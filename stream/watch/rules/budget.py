"""Budgets and limits: what a subject has spent in a period, against what it may spend.

What was spent is read from sums that workers keep for it (``budget_spend``), so no single call is read, whoever the
subject is. Which of them are near enough to a step to be judged the warehouse says; the rest costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache, partial
from typing import ClassVar, Final, Protocol

import structlog

from costream.alerts import Alert, episode_id
from sinks.errors import WarehouseError
from stream.budgets.budget import Budget
from stream.budgets.counted import Counted
from stream.budgets.facts import budget_of, withdrawn
from stream.budgets.judge import LATE_MAX, RULE, judged
from stream.budgets.limits import Reading
from stream.budgets.periods import span_at
from stream.budgets.spend import USD, Account, PerUSD, Spend
from stream.budgets.words import with_parts, worded
from stream.watch.budget_parts import parts_by_feature
from stream.watch.budget_spends import Floor, spends_above, spends_of
from stream.watch.queries import Reader
from stream.watch.rules.hourly import RETRY_WAIT, is_due
from stream.watch.rules.rule import Past

REST: Final = (
    4  # times as long as a look took, until the next one: with 10,000 users and 500 rules it takes half a second
)
ENDED_EVERY: Final = timedelta(minutes=10)  # alerts of periods that are over are held against their sums again
RATES_REACH: Final = timedelta(days=400)  # of a session: sums are kept for a year
LATELY_DAYS: Final = 2  # a session without a call for so long is over

EXPLAINED_MAX: Final = 20  # alerts of one look that tell which features cost it: each is a question of 0.1 to 1 s

NEXT: Final = "its alerts stay as they are; it looks again in a minute"

log = structlog.get_logger(__name__)

# Whether sums with this control total have every call, of these days (all days: None).
AreWhole = Callable[[str, Iterable[date] | None], bool]


class Notes(Protocol):
    """Who tells which limits hold (stream/watch/limits.py): it is given what is read here."""

    @property
    def wants_reading(self) -> bool:
        """Whether it waits for one, so that a look is due."""

    def accounts(self, budgets: Sequence[Budget], now: datetime) -> set[Account]:
        """The sums that it needs to see."""

    def note(self, reading: Reading) -> None: ...


WHOLE_FROM: Final = "SELECT spending, whole_from FROM budget_sums WHERE is_control = 0"


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent by those that may have crossed a step, and by those that were told of. ``ended``: in periods that
    are over, and of which something was told."""

    sums: Mapping[Account, Spend]
    ended: Mapping[Account, Spend] = field(default_factory=dict)


class BudgetRule:
    """All budgets and limits together: they share sums."""

    name: ClassVar = RULE

    def __init__(
        self,
        budgets: Sequence[Budget],
        *,
        reader: Reader,
        per_usd: PerUSD,
        are_whole: AreWhole,
        interval: timedelta,
        limits: Notes,
        revision: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``revision`` is that of the rules that the budgets are of; ``limits`` hears what was spent."""
        self._limits, self._revision = limits, revision
        self._budgets = {budget.name: budget for budget in budgets}
        self._by_sum: dict[str, list[Budget]] = {}
        for budget in budgets:
            self._by_sum.setdefault(budget.spending, []).append(budget)
        self._control = Counted.by(budgets).control
        self._reader, self._per_usd, self._are_whole = reader, per_usd, are_whole
        self._interval, self._monotonic = interval, monotonic
        self._took = timedelta()
        self._explained = 0  # alerts of this look
        self._ended_at: datetime | None = None  # when those of periods that are over were looked at
        self._unread: frozenset[datetime] | None = frozenset()  # hours that changed since they were read; None: any

    # --- the four verbs ---

    def is_due(self, now: datetime, past: Past) -> bool:
        has_news = self._unread != frozenset() or self._limits.wants_reading
        if not has_news or past.looked_at is None or past.failed:
            return is_due(now, past, interval=max(self._interval, REST * self._took))
        return now - past.looked_at >= max(self._interval, REST * self._took)

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> Spent | None:
        """It keeps an error of the warehouse to itself: what it asks may be too much for one that can still answer the
        rules beside it."""
        self._explained = 0
        if past.looked_at is None or past.failed:
            self._unread = None
        elif self._unread is not None:
            self._unread |= past.changed
        began = self._monotonic()
        try:
            found = self._spent(now, known) if self._budgets else Spent({})
        except WarehouseError as error:
            log.warning("rule cannot look", rule=self.name, reason=str(error), next=NEXT)
            self._took = RETRY_WAIT / REST
            return None
        self._took = timedelta(seconds=self._monotonic() - began)
        if found is not None:
            self._limits.note(Reading(list(self._budgets.values()), self._revision, found.sums, now))
        return found

    def judge(self, reading: Spent, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        gone = [alert for alert in known.values() if alert.standing and budget_of(alert, self._budgets) is None]
        found = [
            judged(budget, account, spend, known.get(_alert_id(budget, account)), now=now, per_usd=self._per_usd)
            for account, spend in sorted(reading.sums.items())
            for budget in self._by_sum[account.spending]
        ]
        found += [
            judged(budget, account, spend, alert, now=now, per_usd=self._per_usd)
            for account, spend in sorted(reading.ended.items())
            for budget in self._by_sum[account.spending]
            if (alert := known.get(_alert_id(budget, account))) and _ended_by(budget, alert)
        ]
        return [*(withdrawn(alert, now=now) for alert in gone), *(alert for alert in found if alert)]

    def word(self, alert: Alert, _reading: Spent) -> Alert:
        said = worded(alert)
        budget = budget_of(alert, self._budgets)
        if budget is None or not alert.standing or self._explained >= EXPLAINED_MAX:
            return said
        self._explained += 1
        try:
            return with_parts(said, parts_by_feature(self._reader, budget, alert))
        except WarehouseError as error:
            log.info("features of a budget not told", reason=str(error), next="the alert is told without them")
            return said

    # --- what it reads ---

    def _spent(self, now: datetime, known: Sequence[Alert]) -> Spent | None:
        lately = now.astimezone(UTC).date() - timedelta(days=LATELY_DAYS)
        sums = spends_above(self._reader, self._floors(now), lately=lately)
        told = {account for alert in known if alert.standing and (account := self._account(alert))}
        told |= self._limits.accounts(list(self._budgets.values()), now)
        sums |= {account: Spend() for account in told - sums.keys()} | spends_of(self._reader, told - sums.keys())
        looks_back = self._ended_at is None or now - self._ended_at >= ENDED_EVERY
        ended = self._ended(known) if looks_back else {}
        days = None if self._unread is None or ended else {hour.date() for hour in self._unread}
        if not self._are_whole(self._control, days):  # asked last: what was counted twice before is still there
            return None
        self._unread = frozenset()
        self._ended_at = now if looks_back else self._ended_at
        return Spent(sums, {account: spend for account, spend in ended.items() if account not in sums})

    def _ended(self, known: Sequence[Alert]) -> dict[Account, Spend]:
        """What was spent in periods that are over and were told of, as far back as their sums are whole: a sum that is
        new does not reach as far as the alerts of the one before it."""
        told = {account for alert in known if alert.status == "cleared" and (account := self._account(alert))}
        if not told:
            return {}
        whole_from: dict[str, date] = dict(self._reader.frame(WHOLE_FROM).iter_rows())
        whole = {
            account
            for account in told
            if (first := whole_from.get(account.spending)) and first <= account.period_start.date()
        }
        return {account: Spend() for account in whole} | spends_of(self._reader, whole)

    def _floors(self, now: datetime) -> list[Floor]:
        """Of each sum the lowest step or limit, in each period that may still open an alert."""
        floors = list[Floor]()
        best = cache(partial(self._best_rate, until=now.date() + timedelta(days=1)))
        for spending, budgets in self._by_sum.items():
            one = budgets[0]
            for start in {span_at(at, one.period, one.zone).start for at in (now, now - LATE_MAX)}:
                since = max(start, now - RATES_REACH).date()
                costs = [
                    Fraction(budget.lowest) / rate
                    for budget in budgets
                    if (rate := best(budget.currency, since)) is not None
                ]
                if costs:
                    floors.append(Floor(spending, start, min(costs)))
        return floors

    def _best_rate(self, currency: str, since: date, *, until: date) -> Fraction | None:
        """The best rate of any of these days, by which the least USD cross a step; None where no rate is known."""
        if currency == USD:
            return Fraction(1)
        days = (since + timedelta(days=day) for day in range((until - since).days + 1))
        rates = [rate for day in days if (rate := self._per_usd(currency, day)) is not None]
        return Fraction(max(rates)) if rates else None

    def _account(self, alert: Alert) -> Account | None:
        budget = budget_of(alert, self._budgets)
        if budget is None:
            return None
        start = datetime.fromisoformat(str(alert.metadata["first_window"]))
        return Account(budget.spending, alert.scope.partition(",")[2], start)


def _ended_by(budget: Budget, alert: Alert) -> bool:
    """Whether it was cleared by these steps: other ones say nothing of what was told before them."""
    told = (alert.metadata["kind"], alert.metadata["unit"], alert.metadata["amount"])
    steps = {step.amount for step in budget.steps}
    return (
        alert.status == "cleared"
        and told == (budget.kind, budget.currency, f"{budget.amount:f}")
        and alert.threshold_value in steps
    )


def _alert_id(budget: Budget, account: Account) -> str:
    scope = budget.alert_scope(account.subject)
    return episode_id(rule=RULE, scope=scope, first_window=account.period_start)
