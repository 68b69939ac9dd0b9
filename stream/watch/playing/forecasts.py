"""A history played against forecasts of budgets, by the hour. A worker looks every quarter of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl

from costream.alerts import Alert
from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.budgets.budget import Budget
from stream.budgets.spend import PerUSD
from stream.watch.judge import latest
from stream.watch.playing.arrivals import arrivals
from stream.watch.rules.forecast import ForecastRule
from stream.watch.rules.rule import Past, news_of
from stream.watch.series import HOUR


def played(
    events: pl.DataFrame,
    budgets: Sequence[Budget],
    *,
    per_usd: PerUSD,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[Alert]:
    """``events`` has ``occurred_at`` and ``arrived_at`` (Datetime ms, UTC), the dimensions, and ``cost_pico`` (null: no
    price). The clock goes from the first arrival to the last. ``progress`` is told how many hours have been looked at.
    """
    budgets = [budget for budget in budgets if budget.forecast is not None]
    if not budgets or not events.height:
        return
    history = _History(events)
    rule = ForecastRule(budgets, hours_of=history.hours_of, per_usd=per_usd, monotonic=lambda: 0.0)
    alerts: dict[str, Alert] = {}
    looks = list(history.ticks())
    for number, now in enumerate(looks, start=1):
        history.now = now
        news = news_of(rule, rule.read(now, Past(), list(alerts.values())), alerts, now)
        alerts = latest([*alerts.values(), *news])
        yield from news
        progress(number, len(looks))


class _History:
    """What had arrived by ``now``, as the warehouse would answer."""

    def __init__(self, events: pl.DataFrame) -> None:
        self._sums = arrivals(events, every="1h", by=DIMENSIONS)
        self.now: datetime = self._sums["arrived_by"].min()  # type: ignore[assignment]

    def ticks(self) -> Iterator[datetime]:
        now, last = self.now, self._sums["arrived_by"].max()
        while now <= last:  # type: ignore[operator]
            yield now
            now += HOUR

    def hours_of(
        self,
        *,
        since: datetime,
        until: datetime,
        only: Mapping[str, Sequence[str]],
        by: Sequence[str] = (),
        lately: datetime | None = None,
        subjects_max: int = 1,
    ) -> pl.DataFrame:
        """As ``hours_of_subjects`` asks for it."""
        known = self._sums.filter(
            pl.col("arrived_by") <= self.now,
            pl.col("occurred_at").is_between(since, until, closed="left"),
            *(pl.col(dimension).is_in(list(values)) for dimension, values in only.items()),
        )
        if by:
            recent = (
                known.filter(pl.col("occurred_at") >= (lately or since)).group_by(*by).agg(pl.col("cost_usd").sum())
            )
            dearest = recent.sort("cost_usd", *by, descending=[True, *(False for _ in by)]).head(subjects_max)
            known = known.join(dearest, on=list(by), how="semi")
        sums = known.group_by(*by, hour="occurred_at").agg(pl.col("cost_usd", "calls", "unpriced_calls").sum())
        priced = pl.when(pl.col("calls") > pl.col("unpriced_calls")).then(pl.col("cost_usd"))
        return sums.with_columns(priced).sort("hour", *by)
