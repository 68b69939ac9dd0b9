"""What was spent, by sum, subject and period: whole 1e-12 USD, kept by day of UTC, as exchange rates are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

import polars as pl

from costream.pricing import PICO
from stream.budgets.budget import COLUMNS, ESCAPES
from stream.budgets.periods import QUARTER, Period, bounds

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


class Summed(Protocol):
    """What is summed up: whose calls, and by which periods. A budget says so, and so does what is stored of one."""

    @property
    def spending(self) -> str:
        """A digest of all below."""

    @property
    def scope(self) -> tuple[str, ...]: ...

    @property
    def only(self) -> Mapping[str, tuple[str, ...]]: ...

    @property
    def period(self) -> Period: ...

    @property
    def zone(self) -> str: ...


def shares(events: pl.DataFrame, sums: Iterable[Summed]) -> pl.DataFrame:
    """A row for each event and each sum that it is a part of: the columns of KEY, ``period_end``, ``day`` (of UTC), and
    those of the event. Of an event that has no value for a word of the scope there is no subject, and no row.

    ``events`` has occurred_at (Datetime ms, UTC) and the columns of COLUMNS that ``sums`` name, where an empty text is
    no value.
    """
    by_shape = dict[tuple[object, ...], dict[str, Summed]]()
    for one in sums:
        shape = (one.scope, tuple(sorted(one.only)), one.period, one.zone)
        by_shape.setdefault(shape, {})[one.spending] = one
    return pl.concat([_marked(events.clear()), *(_shares(events, list(some.values())) for some in by_shape.values())])


# What a call adds to each sum that it is a part of.
SUMS: Final[Mapping[str, pl.Expr]] = {
    "calls": pl.len().cast(pl.Int64),
    "unpriced_calls": (pl.col("cost_status") == "unpriced").sum().cast(pl.Int64),
    "cost_pico": pl.col("cost_pico").cast(pl.Int128).sum(),
}
ADDED_UP: Final = ("source_partition", "day", *KEY, "period_end", *SUMS, "applied", "first")


def added_up(calls: pl.DataFrame, sums: Iterable[Summed]) -> pl.DataFrame:
    """The columns of ADDED_UP, which sum to what ``shares`` of the same calls would. There are far fewer rows: calls
    that a sum cannot tell apart are added up first.

    ``calls`` has source_partition and source_offset, cost_status and cost_pico beside what ``shares`` reads.
    """
    by_columns = dict[frozenset[str], list[Summed]]()
    for one in sums:
        by_columns.setdefault(frozenset(COLUMNS[word] for word in (*one.scope, *one.only)), []).append(one)
    parts = [shares(_by_quarter(calls, columns), some) for columns, some in by_columns.items()]
    return pl.concat(parts, how="diagonal").select(ADDED_UP) if parts else pl.DataFrame()


def _by_quarter(calls: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    return calls.group_by("source_partition", pl.col("occurred_at").dt.truncate(QUARTER), *columns).agg(
        **SUMS, applied=pl.col("source_offset").max(), first=pl.col("source_offset").min()
    )


def _shares(events: pl.DataFrame, sums: Sequence[Summed]) -> pl.DataFrame:
    """Of sums that differ in nothing but the values that count: a thousand of them cost little more than one."""
    one = sums[0]
    own = _of_sums(events.filter(_has_subject(one)), sums)
    return _marked(own, subject=_subject(one.scope), **bounds(own["occurred_at"], one.period, one.zone).to_dict())


def _of_sums(events: pl.DataFrame, sums: Sequence[Summed]) -> pl.DataFrame:
    """A row for each event and each of the sums that it is a part of, with the digest of the sum."""
    words = sorted(sums[0].only)
    if not words:
        return events.join(pl.DataFrame({"spending": [one.spending for one in sums]}), how="cross")
    own = events.join(_values(sums, words[0]), on=COLUMNS[words[0]])
    for word in words[1:]:
        own = own.join(_values(sums, word), on=(COLUMNS[word], "spending"), how="semi")
    return own


def _values(sums: Iterable[Summed], word: str) -> pl.DataFrame:
    """The values of a word that count, of each sum."""
    pairs = [(value, one.spending) for one in sums for value in set(one.only[word])]
    return pl.DataFrame(pairs, schema={COLUMNS[word]: pl.String, "spending": pl.String}, orient="row")


def _marked(events: pl.DataFrame, **key: pl.Expr | pl.Series) -> pl.DataFrame:
    unmarked: dict[str, pl.Expr] = {"subject": pl.lit("")}
    unmarked |= {} if "spending" in events.columns else {"spending": pl.lit("")}
    unmarked |= dict.fromkeys(("period_start", "period_end"), pl.col("occurred_at"))
    marked = events.with_columns(**unmarked | key, day=pl.col("occurred_at").dt.date())
    return marked.select(*(name for name in events.columns if name != "spending"), *KEY, "period_end", "day")


def _has_subject(one: Summed) -> pl.Expr:
    return pl.all_horizontal(pl.lit(value=True), *(pl.col(COLUMNS[word]) != "" for word in one.scope))


def _subject(scope: Iterable[str]) -> pl.Expr:
    """As ``subject_of`` writes it."""
    parts = [pl.lit(f"{word}=") + _escaped(pl.col(COLUMNS[word])) for word in scope]
    return pl.concat_str(parts, separator=",") if parts else pl.lit("")


def _escaped(value: pl.Expr) -> pl.Expr:
    for sign, escape in ESCAPES.items():
        value = value.str.replace_all(sign, escape, literal=True)
    return value
