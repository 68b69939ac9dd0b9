"""What was spent in a span: as a whole, by any dimensions, and over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.figures.spans import BETWEEN, BadQuestion, Span

# Single calls alone have these; users by whole days have a table of their own.
OF_CALLS: Final = ("user_id", "session_id", "price_version", "status", "service_tier")
COLUMNS: Final = (*DIMENSIONS, *OF_CALLS)
VALUES_MAX: Final = 200  # of one dimension, that a question may name
BY_MAX: Final = 4
LINES_MAX: Final = 8  # more lines of a chart cannot be told apart; the rest is one more
REST: Final = "(all others)"

Step = Literal["hour", "day"]
Only = Mapping[str, Sequence[str]]

SUMS: Final = """toInt64(sum(u.calls)) AS calls, toInt64(sum(u.errors)) AS errors,
  toInt64(sum(u.unpriced_calls)) AS unpriced_calls, toInt64(sum(u.partial_calls)) AS partial_calls,
  toInt64(sum(u.input_tokens)) AS input_tokens, toInt64(sum(u.output_tokens)) AS output_tokens,
  sum(u.cost_usd) AS cost_usd"""
# Money of rows `u` in their currency: unknown where a part of it has a cost and no exchange rate.
WITHOUT_A_RATE: Final = "countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL)"
IN_CURRENCY: Final = f"if({WITHOUT_A_RATE} = 0, sum(u.cost), NULL)"
SUMS_OF_CALLS: Final = """toInt64(count()) AS calls, toInt64(countIf(u.status = 'error')) AS errors,
  toInt64(countIf(u.cost_status = 'unpriced')) AS unpriced_calls,
  toInt64(countIf(u.cost_status = 'partial')) AS partial_calls,
  toInt64(sum(ifNull(u.input_tokens, 0))) AS input_tokens, toInt64(sum(ifNull(u.output_tokens, 0))) AS output_tokens,
  sum(u.cost_usd) AS cost_usd"""
SHARE: Final = "cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share"
CALLS: Final = f"calls{BETWEEN} AS u"
# A sum of calls of which some may have expired would be too low, and nobody would see it.
ALL_KEPT: Final = """(SELECT throwIf(parseDateTime64BestEffort({since:String}, 3, 'UTC') < since,
  'this is told from single calls, and those from before raw_kept_since may have expired: ask for a later span')
  FROM raw_kept_since) = 0"""


@dataclass(frozen=True, slots=True)
class Asked:
    """``only`` has, by a column, the values that count. ``by`` tells rows apart."""

    span: Span
    only: Only = field(default_factory=dict)
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.by, *self.only):
            if name not in COLUMNS:
                raise BadQuestion(f"by: '{name[:40]}' is none of {', '.join(COLUMNS)}")
        if len(set(self.by)) != len(self.by) or len(self.by) > BY_MAX:
            raise BadQuestion(f"by: at most {BY_MAX} columns, each once")
        for name, values in self.only.items():
            if not 0 < len(values) <= VALUES_MAX:
                raise BadQuestion(f"{name}: {len(values)} values; 1 to {VALUES_MAX} may be named")

    @property
    def of_calls(self) -> bool:
        """Whether single calls alone can tell it."""
        return of_calls((*self.by, *self.only))

    @property
    def of_users(self) -> bool:
        """Users and nothing else: they are kept by day."""
        return {*self.by, *self.only} == {"user_id"}

    @property
    def parameters(self) -> dict[str, Any]:
        values = {f"only_{name}": list(values) for name, values in self.only.items()}
        return {**self.span.parameters, **values}

    @property
    def conditions(self) -> list[str]:
        """Of rows ``u``, by ``parameters``."""
        return [f"u.{name} IN {{only_{name}:Array(String)}}" for name in self.only]

    def rows(self) -> tuple[str, str]:
        """What is summed, and where from."""
        if self.of_users:
            return f"{SUMS}, {IN_CURRENCY} AS cost", where(f"user_cost_summary{BETWEEN} AS u", self.conditions)
        if self.of_calls:
            return f"{SUMS_OF_CALLS}, {IN_CURRENCY} AS cost", where(CALLS, [ALL_KEPT, *self.conditions])
        return f"{SUMS}, {IN_CURRENCY} AS cost", where(f"usage{BETWEEN} AS u", self.conditions)


def total(reader: Reader, asked: Asked) -> pl.DataFrame:
    """One row: calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cost_usd and cost. Both costs
    are null where no call has a price."""
    sums, rows = Asked(asked.span, asked.only).rows()
    return reader.frame(f"SELECT {sums} FROM {rows}", **asked.parameters)


def spend(reader: Reader, asked: Asked, *, limit: int, offset: int = 0) -> pl.DataFrame:
    """A row for each mix of values of ``by``, the dearest first; ``cost_share`` is of everything that was asked
    about."""
    sums, rows = asked.rows()
    by = ", ".join(asked.by)
    told = ", ".join(f"toString(u.{name}) AS {name}" for name in asked.by)
    sql = f"""
SELECT {told}, {sums}, {SHARE}
FROM {rows}
GROUP BY {by} ORDER BY cost_usd DESC NULLS LAST, {by} LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}"""
    return reader.frame(sql, **asked.parameters, limit=limit, offset=offset)


def over_time(reader: Reader, asked: Asked, *, step: Step) -> pl.DataFrame:
    """``time`` (the first moment of the hour of UTC, or of the day in the zone), ``name`` and the sums. By one column:
    the ``LINES_MAX`` dearest of the span by their names, and all others as one; by none, the name is empty."""
    if asked.of_calls or len(asked.by) > 1:
        raise BadQuestion(f"by: over time, one of {', '.join(DIMENSIONS)} at the most")
    view, time = ("usage_hourly", "hour") if step == "hour" else ("usage_daily", "toDateTime(day, {zone:String})")
    rows = where(f"{view}{BETWEEN} AS u", asked.conditions)
    name = "''"
    if asked.by:
        (column,) = asked.by
        leading = f"""SELECT u.{column} FROM {rows} GROUP BY u.{column}
  ORDER BY sum(u.cost_usd) DESC NULLS LAST, u.{column} LIMIT {LINES_MAX}"""
        name = f"if(u.{column} IN ({leading}), toString(u.{column}), '{REST}')"
    sql = f"""
SELECT toTimeZone({time}, 'UTC') AS time, {name} AS name, {SUMS}, {IN_CURRENCY} AS cost
FROM {rows}
GROUP BY time, name ORDER BY time, name"""
    return reader.frame(sql, **asked.parameters)


def of_calls(columns: Iterable[str]) -> bool:
    """Whether one of them is a column that single calls alone have."""
    return not set(OF_CALLS).isdisjoint(columns)


def where(table: str, conditions: Sequence[str]) -> str:
    return f"{table}\nWHERE {' AND '.join(conditions)}" if conditions else table
