"""A history played on a clock of its own: every alert that budgets would have raised, in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import polars as pl

from costream.alerts import Alert
from stream.budgets.budget import Budget
from stream.budgets.judge import LATE_MAX, judged, span_of
from stream.budgets.spend import KEY, Account, PerUSD, Spend, shares
from stream.budgets.words import worded

TICK: Final = timedelta(seconds=1)  # how often a worker looks
TOLD_EVERY: Final = 1_000  # ticks
_IDLE: Final = timedelta(days=1)  # how often a session is looked at that has no end


def played(
    events: pl.DataFrame,
    budgets: Sequence[Budget],
    *,
    per_usd: PerUSD,
    tick: timedelta = TICK,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[Alert]:
    """``events`` as ``shares`` takes them, with ``arrived_at`` (Datetime ms, UTC) and ``cost_pico`` (null: no price).

    The clock goes from the first arrival to the last. At each tick it is judged what has arrived before it.
    ``progress`` is told how many of the sums that change have been looked at.
    """
    sums = _sums(events, budgets, tick)
    play = _Play(budgets, per_usd)
    for done, (now, rows) in enumerate(groupby(sums.iter_rows(named=True), key=itemgetter("tick")), start=1):
        yield from play.step(now, rows)
        if done % TOLD_EVERY == 0:
            progress(play.looked_at, sums.height)
    if events.height:
        yield from play.until(events.select(_tick(tick).max()).item())


def _sums(events: pl.DataFrame, budgets: Iterable[Budget], tick: timedelta) -> pl.DataFrame:
    """What has come between two ticks, by the later one."""
    found = shares(events, budgets).with_columns(tick=_tick(tick))
    sums = found.group_by("tick", *KEY, "day").agg(
        calls=pl.len(),
        unpriced_calls=pl.col("cost_pico").is_null().sum(),
        pico_usd=pl.col("cost_pico").cast(pl.Int128).sum(),
    )
    return sums.sort("tick", *KEY, "day")


def _tick(tick: timedelta) -> pl.Expr:
    return pl.col("arrived_at").dt.truncate(tick) + tick


class _Play:
    """What a worker would know: sums, the latest alert of each, and when each is to be looked at again."""

    def __init__(self, budgets: Iterable[Budget], per_usd: PerUSD) -> None:
        self._per_usd = per_usd
        self.looked_at = 0
        self._budgets: dict[str, list[Budget]] = {}
        for budget in budgets:
            self._budgets.setdefault(budget.spending, []).append(budget)
        self._spent: dict[Account, Spend] = {}
        self._alerts: dict[tuple[str, Account], Alert] = {}
        self._ends: list[tuple[datetime, Account]] = []
        self._awaited: set[Account] = set()  # those in it

    def step(self, now: datetime, rows: Iterable[dict[str, Any]]) -> Iterator[Alert]:
        yield from self.until(now)
        for account in self._add(rows):
            yield from self._look(account, now)

    def _add(self, rows: Iterable[dict[str, Any]]) -> list[Account]:
        touched = dict[Account, None]()
        for row in rows:
            account = Account(*(row[name] for name in KEY))
            sums = {name: row[name] for name in ("calls", "unpriced_calls", "pico_usd")}
            self._spent[account] = self._spent.get(account, Spend()).plus(row["day"], **sums)
            touched[account] = None
            self.looked_at += 1
        return list(touched)

    def until(self, now: datetime) -> Iterator[Alert]:
        """Periods that have ended by now, each at its end."""
        while self._ends and self._ends[0][0] <= now:
            at, account = heapq.heappop(self._ends)
            self._awaited.remove(account)
            yield from self._look(account, at)

    def _look(self, account: Account, now: datetime) -> Iterator[Alert]:
        for budget in self._budgets[account.spending]:
            known = self._alerts.get((budget.name, account))
            news = judged(budget, account, self._spent[account], known, now=now, per_usd=self._per_usd)
            if news:
                self._alerts[budget.name, account] = news
                yield worded(news)
            if news or known:
                self._await_end(self._alerts[budget.name, account], span_of(budget, account).end, account, now)

    def _await_end(self, alert: Alert, end: datetime | None, account: Account, now: datetime) -> None:
        if alert.standing and account not in self._awaited:
            self._awaited.add(account)
            heapq.heappush(self._ends, (end + LATE_MAX if end else now + _IDLE, account))
