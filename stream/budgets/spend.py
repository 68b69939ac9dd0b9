"""What was spent, by budget, subject and period: whole 1e-12 USD, kept by day of UTC, as exchange rates are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

import polars as pl

from costream.pricing import PICO
from stream.budgets.budget import COLUMNS, ESCAPES, Budget
from stream.budgets.periods import starts

USD: Final = "USD"
KEY: Final = ("spending", "subject", "period_start")

# The currency and a day of UTC -> what one USD is worth; None where that is not known.
PerUSD = Callable[[str, date], Decimal | None]


@dataclass(frozen=True, slots=True)
class Spend:
    """What one subject spent in one period. ``pico_usd``: of each day of UTC, in 1e-12 USD; corrections may be below
    zero."""

    calls: int = 0
    unpriced_calls: int = 0
    pico_usd: Mapping[date, int] = field(default_factory=dict)

    def plus(self, day: date, *, calls: int, unpriced_calls: int, pico_usd: int) -> Spend:
        return Spend(
            self.calls + calls,
            self.unpriced_calls + unpriced_calls,
            {**self.pico_usd, day: self.pico_usd.get(day, 0) + pico_usd},
        )

    def amount(self, currency: str, per_usd: PerUSD) -> Fraction | None:
        """In a currency, each day by its rate, exactly. None where a day with a cost has no rate."""
        if currency == USD:
            return Fraction(sum(self.pico_usd.values()), PICO)
        total = Fraction(0)
        for day, pico in self.pico_usd.items():
            if pico:
                rate = per_usd(currency, day)
                if rate is None:
                    return None
                total += Fraction(pico, PICO) * Fraction(rate)
        return total


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """One sum: what is summed up, whose it is, and of which period."""

    spending: str
    subject: str
    period_start: datetime


def shares(events: pl.DataFrame, budgets: Iterable[Budget]) -> pl.DataFrame:
    """A row for each event and each sum that it is a part of: the columns of KEY, ``day`` (of UTC), and those of the
    event. Of an event that has no value for a word of the scope there is no subject, and no row.

    ``events`` has occurred_at (Datetime ms, UTC) and the columns of COLUMNS, where an empty text is no value.
    """
    by_sum = {budget.spending: budget for budget in budgets}
    return pl.concat([_marked(events.clear()), *(_shares(events, budget) for budget in by_sum.values())])


def _shares(events: pl.DataFrame, budget: Budget) -> pl.DataFrame:
    own = events.filter(_counts(budget))
    return _marked(
        own,
        spending=pl.lit(budget.spending),
        subject=_subject(budget.scope),
        period_start=starts(own["occurred_at"], budget.period, budget.zone),
    )


def _marked(events: pl.DataFrame, **key: pl.Expr | pl.Series) -> pl.DataFrame:
    unmarked = {"spending": pl.lit(""), "subject": pl.lit(""), "period_start": pl.col("occurred_at")}
    return events.with_columns(**unmarked | key, day=pl.col("occurred_at").dt.date())


def _counts(budget: Budget) -> pl.Expr:
    having = [pl.col(COLUMNS[word]) != "" for word in budget.scope]
    chosen = [pl.col(COLUMNS[word]).is_in(values) for word, values in budget.only.items()]
    return pl.all_horizontal(pl.lit(value=True), *having, *chosen)


def _subject(scope: Iterable[str]) -> pl.Expr:
    """As ``subject_of`` writes it."""
    parts = [pl.lit(f"{word}=") + _escaped(pl.col(COLUMNS[word])) for word in scope]
    return pl.concat_str(parts, separator=",") if parts else pl.lit("")


def _escaped(value: pl.Expr) -> pl.Expr:
    for sign, escape in ESCAPES.items():
        value = value.str.replace_all(sign, escape, literal=True)
    return value
