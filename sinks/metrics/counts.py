"""The counts behind the counters: what new calls add to them, and how many series there may be.

A count only grows, since calls are only ever added. A series that had no call for a while is forgotten: should it come
back it begins at 0, which Prometheus takes for the reset that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Context, Decimal
from operator import add
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
import polars as pl

OTHER: Final = "(other)"  # the one value of all that have no series of their own
TOKENS_AT_MOST: Final = (100, 500, 1_000, 2_000, 4_000, 8_000, 16_000)  # the buckets, each with those before it
MODELS_MAX: Final = 200  # pairs of provider and model: a metrics store dies of unbounded labels, the warehouse has all
TASK_TYPES_MAX: Final = 50
SERIES_MAX: Final = 10_000  # of cost: a page of 1.5 MB where every name is long
SERIES_OF_USERS_MAX: Final = 8_000  # of these: the others are for what no user needs
KEPT: Final = timedelta(days=7)

PAIR: Final = ("provider", "model")
EXACT: Final = Context(prec=60)  # Decimal(38, 12) and as many calls as there can be

Labels = tuple[str, ...]
T = TypeVar("T")


class Count(NamedTuple, Generic[T]):
    """What was counted of a series. ``day`` is that of its last call."""

    value: T
    day: date


class Tokens(NamedTuple):
    """Of calls whose tokens are known."""

    at_most: tuple[int, ...] = (0,) * len(TOKENS_AT_MOST)  # calls with no more tokens than each of TOKENS_AT_MOST
    calls: int = 0
    tokens: int = 0

    def plus(self, other: Tokens) -> Tokens:
        at_most = tuple(mine + more for mine, more in zip(self.at_most, other.at_most, strict=True))
        return Tokens(at_most, self.calls + other.calls, self.tokens + other.tokens)


@dataclass(frozen=True, slots=True)
class Counts:
    """``users`` have a series of their own on this ``day``: the first of it, in the order in which they came."""

    day: date = date.min
    users: tuple[str, ...] = ()
    cost_usd: Mapping[Labels, Count[Decimal]] = field(default_factory=dict)  # provider, model, task_type, user_id
    calls: Mapping[Labels, Count[int]] = field(default_factory=dict)  # provider, model, status
    tokens: Mapping[Labels, Count[Tokens]] = field(default_factory=dict)  # provider, model

    def plus(self, calls: pl.DataFrame, *, day: date, users_max: int) -> Counts:
        """With these calls, which are counted on this day (UTC). ``users_max``: so many have a series of their own in
        a day, and with 0 nobody is told apart.

        ``calls`` has a row for calls alike: provider, model, task_type, user_id and status (text), first_at (when the
        first of them was received), calls, priced_calls and cost_usd (of those), and of calls whose tokens are known
        token_calls, tokens and at_most (a list, by TOKENS_AT_MOST).
        """
        before = self._on(day)
        if users_max == 0:
            calls = calls.with_columns(user_id=pl.lit(""))
        calls, _ = _capped(calls, PAIR, {labels[:2] for labels in before.calls}, MODELS_MAX)
        calls, _ = _capped(calls, ("task_type",), {labels[2:3] for labels in before.cost_usd}, TASK_TYPES_MAX)
        calls, users = _capped(calls, ("user_id",), ((user,) for user in before.users), users_max)
        return replace(
            before,
            users=tuple(user for (user,) in users),
            cost_usd=_with_cost(before, calls),
            calls=_with_calls(before, calls),
            tokens=_with_tokens(before, calls),
        )

    def _on(self, day: date) -> Counts:
        """As the day begins. One that is over does not come again, whatever a clock says."""
        if day <= self.day:
            return self
        return Counts(day, (), *(_lately(series, day) for series in (self.cost_usd, self.calls, self.tokens)))

    def without_users(self) -> Counts:
        """Nobody told apart any more, and nothing lost."""
        cost: dict[Labels, Count[Decimal]] = {}
        for labels, count in self.cost_usd.items():
            _count(cost, (*labels[:3], ""), count, EXACT.add)
        return replace(self, users=(), cost_usd=cost)


def _lately(series: Mapping[Labels, Count[T]], day: date) -> dict[Labels, Count[T]]:
    return {labels: count for labels, count in series.items() if count.day >= day - KEPT}


def _capped(
    calls: pl.DataFrame, columns: Sequence[str], known: Iterable[Labels], most: int
) -> tuple[pl.DataFrame, list[Labels]]:
    """The calls with OTHER in these columns where they hold none of the first ``most`` values, and these values.

    First are those that are known, then those that came first. What is empty, or OTHER already, needs no place.
    """
    taken = list(dict.fromkeys(labels for labels in known if not {"", OTHER} & {*labels}))
    before = pl.DataFrame(taken, schema=dict.fromkeys(columns, pl.String), orient="row")
    new = calls.filter(~pl.any_horizontal(pl.col(columns).is_in(["", OTHER]))).join(before, on=columns, how="anti")
    firsts = new.group_by(columns).agg(pl.col("first_at").min()).sort("first_at", *columns)
    own = pl.concat([before, firsts.select(columns).head(max(0, most - before.height))])
    marked = calls.join(own.with_columns(is_own=pl.lit(value=True)), on=columns, how="left")
    stays = pl.col("is_own").is_not_null() | pl.any_horizontal(pl.col(columns) == "")
    told = marked.with_columns(
        pl.when(stays).then(pl.col(name)).otherwise(pl.lit(OTHER)).alias(name) for name in columns
    )
    return told.drop("is_own"), own.rows()


def _with_cost(before: Counts, calls: pl.DataFrame) -> dict[Labels, Count[Decimal]]:
    """A call without a known cost adds nothing, and makes no series of 0."""
    series = dict(before.cost_usd)
    by = (*PAIR, "task_type", "user_id")
    priced = calls.filter(pl.col("priced_calls") > 0).group_by(by).agg(pl.col("cost_usd").sum()).sort(by)
    for *labels, cost_usd in priced.iter_rows():
        _count(series, _place_of(tuple(labels), series), Count(cost_usd, before.day), EXACT.add)
    return series


def _place_of(labels: Labels, series: Mapping[Labels, Count[Decimal]]) -> Labels:
    """The series itself, or where there are too many of them a wider one.

    Nobody stays nobody: where users are left out, all labels that are shown are the same for it and for OTHER.
    """
    of_a_user = labels[3] not in ("", OTHER)
    if labels in series or len(series) < (SERIES_OF_USERS_MAX if of_a_user else SERIES_MAX):
        return labels
    return _place_of((*labels[:3], OTHER), series) if of_a_user else (OTHER, OTHER, OTHER, labels[3])


def _with_calls(before: Counts, calls: pl.DataFrame) -> dict[Labels, Count[int]]:
    series = dict(before.calls)
    for *labels, number in calls.group_by(*PAIR, "status").agg(pl.col("calls").sum()).iter_rows():
        _count(series, tuple(labels), Count(number, before.day), add)
    return series


def _with_tokens(before: Counts, calls: pl.DataFrame) -> dict[Labels, Count[Tokens]]:
    """A call whose tokens are not known is not one of 0 tokens."""
    series = dict(before.tokens)
    edges = (pl.col("at_most").list.get(at).sum().alias(f"at_most_{at}") for at in range(len(TOKENS_AT_MOST)))
    known = calls.filter(pl.col("token_calls") > 0).group_by(PAIR).agg(pl.col("token_calls", "tokens").sum(), *edges)
    for provider, model, number, tokens, *at_most in known.iter_rows():
        count = Count(Tokens(tuple(at_most), number, tokens), before.day)
        _count(series, (provider, model), count, Tokens.plus)
    return series


def _count(series: dict[Labels, Count[T]], labels: Labels, more: Count[T], plus: Callable[[T, T], T]) -> None:
    mine = series.get(labels, more)
    value = more.value if mine is more else plus(mine.value, more.value)
    series[labels] = Count(value, max(mine.day, more.day))


class _Stored(msgspec.Struct):
    """Money is text in JSON, and so exact."""

    day: date
    users: list[str]
    cost_usd: list[tuple[Labels, Count[Decimal]]]
    calls: list[tuple[Labels, Count[int]]]
    tokens: list[tuple[Labels, Count[Tokens]]]


def stored_text(counts: Counts) -> str:
    """From which ``counts_of`` makes them again."""
    stored = _Stored(
        day=counts.day,
        users=list(counts.users),
        cost_usd=list(counts.cost_usd.items()),
        calls=list(counts.calls.items()),
        tokens=list(counts.tokens.items()),
    )
    return msgspec.json.encode(stored).decode()


def counts_of(text: str) -> Counts:
    """Raises ``msgspec.ValidationError`` for a text that is none."""
    found = msgspec.json.decode(text, type=_Stored)
    return Counts(found.day, tuple(found.users), dict(found.cost_usd), dict(found.calls), dict(found.tokens))
