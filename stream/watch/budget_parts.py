"""Which features the money of a budget went to: what the words of its alerts ask the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from costream.alerts import Alert
from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.budgets.budget import COLUMNS, Budget
from stream.budgets.words import Part
from stream.watch.queries import Reader

# A day without a rate would make a part of the money look like all of it.
BY_FEATURE: Final = """
SELECT u.feature AS feature, sum(u.cost) AS cost, countIf(u.cost IS NULL AND u.cost_usd IS NOT NULL) AS unknown
FROM usage_between(from = {since:String}, to = {until:String}, zone = 'UTC', currency = {currency:String}) AS u
"""


def parts_by_feature(reader: Reader, budget: Budget, alert: Alert) -> Sequence[Part]:
    """The dearest first. None of a budget of users or sessions, whose calls alone would have to be read, nor of one of
    features. May raise ``WarehouseError``."""
    wanted = dict(_values(budget, alert))
    if not wanted.keys() <= set(DIMENSIONS) or "feature" in budget.scope:
        return ()
    where = " AND ".join(f"{column} IN {{{column}:Array(String)}}" for column in wanted)
    rows = reader.frame(
        f"{BY_FEATURE}{'WHERE ' + where if where else ''} GROUP BY feature ORDER BY cost DESC, feature",
        since=_text(alert.window_start),
        until=_text(alert.window_end),
        currency=budget.currency,
        **wanted,
    )
    if rows["unknown"].sum():
        return ()
    return [Part(feature, cost) for feature, cost in rows.select("feature", "cost").iter_rows() if cost]


def _values(budget: Budget, alert: Alert) -> Iterator[tuple[str, list[str]]]:
    """By column what a call has to be of; the subject is one of those values that count."""
    told: dict[str, str] = dict(alert.metadata["subject"])  # type: ignore[arg-type]
    for word in {**budget.only, **told}:
        yield COLUMNS[word], [told[word]] if word in told else list(budget.only[word])


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
