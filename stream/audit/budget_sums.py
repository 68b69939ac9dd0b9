"""The sums of budgets against the calls that they are made of: what is stated of them, and what they must equal.

A *statement* says in the warehouse which sums are made, and from which day on each is whole. It is what the audit, a
repair and a re-pricing compare by, whatever rules the machine has that they run on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import MONEY
from sinks.clickhouse.writer import Writer
from stream.audit.queries import CORRECTION, ROLLUPS, RollupTable
from stream.budgets.budget import COLUMNS, ESCAPES, Budget
from stream.budgets.counted import Counted, Spending
from stream.budgets.periods import NO_END, WHOLE_SESSION, Period, span_at

TABLE: Final = "budget_spend"
SUMS_AT_ONCE: Final = 20  # in one question: a call becomes a row for each sum that it is a part of
SESSION_DAYS: Final = 7  # of a session that is going on when its sum is new: what is older is not filled in
AHEAD: Final = timedelta(days=62)  # so far into the future periods are known: longer than any event may be early

HOUR_SECONDS: Final = 3_600

SUMS: Final = """
  SELECT spending, scope, only_words, only_values, period, zone, is_control, whole_from, in_force,
    toInt64(version) AS version
  FROM budget_sums_rows FINAL ORDER BY spending"""
STATED: Final = """
  SELECT name, kind, spending, amount, currency, step_amounts, step_levels, metric_name, in_force,
    toInt64(version) AS version
  FROM budgets_rows FINAL ORDER BY name"""

# By day and partition, how many calls the days know that the control total does not. A worker that is storing now has
# written its days before.
MISSING: Final = f"""
  SELECT day, if(startsWith(source, '{CORRECTION}'), substring(source, {len(CORRECTION) + 1}), source) AS origin,
    toInt64(source_partition) AS source_partition, toInt64(sum(known) - sum(counted)) AS missing
  FROM (
    SELECT day, source, source_partition, calls AS known, toInt64(0) AS counted
    FROM usage_daily_rows FINAL WHERE day >= {{since:Date}} AND ({{every:UInt8}} OR has({{days:Array(Date)}}, day))
    UNION ALL
    SELECT day, source, source_partition, toInt64(0), calls
    FROM budget_spend_rows FINAL
    WHERE spending = {{control:String}} AND day >= {{since:Date}}
      AND ({{every:UInt8}} OR has({{days:Array(Date)}}, day)))
  GROUP BY day, origin, source_partition HAVING missing != 0
  SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - the prefix is a constant

Place = tuple[date, str, int]  # a day of UTC, a source, a partition


@dataclass(frozen=True, slots=True)
class WholeSum:
    """A sum that is made, and the first day of UTC from which on every call is in it."""

    sum: Spending
    whole_from: date
    is_control: bool


# --- what is stated ---------------------------------------------------------------------------------------------------


def in_force(reader: Reader) -> list[WholeSum]:
    return [_whole_sum(row) for row in reader.frame(SUMS).filter(pl.col("in_force") == 1).to_dicts()]


def state(
    reader: Reader, writer: Writer, budgets: Sequence[Budget], counted: Counted, *, now: datetime, kept: date
) -> list[WholeSum]:
    """Say which sums are made from now on, and by which budgets. One that was made until now stays whole from the day
    that it was; a new one will be from the start of its present period, or from ``kept``, since when calls are kept.

    Returns those in force. What stands already is not written again.
    """
    rows = reader.frame(SUMS)
    before = {one.sum.spending: one for one in map(_whole_sum, rows.filter(pl.col("in_force") == 1).to_dicts())}
    new = {one.spending: max(kept, opened(one.period, one.zone, now)) for one in counted.sums}
    first = min(new.values(), default=kept)
    made = [
        before.get(one.spending) or WholeSum(one, new.get(one.spending, first), one.spending == counted.control)
        for one in counted.with_control
    ]
    writer.insert("budget_sums", _changed([_sum_row(one) for one in made], rows, key="spending"))
    writer.insert("budgets", _changed([_budget_row(one) for one in budgets], reader.frame(STATED), key="name"))
    return made


def opened(period: Period, zone: str, now: datetime) -> date:
    """The day of UTC on which the period began that is running, or that late calls still count in."""
    if period == "session":
        return now.astimezone(UTC).date() - timedelta(days=SESSION_DAYS)
    return span_at(now - timedelta(hours=1), period, zone).start.date()


def _whole_sum(row: Mapping[str, object]) -> WholeSum:
    words, values = row["only_words"], row["only_values"]
    assert isinstance(words, list) and isinstance(values, list)
    only = {word: tuple(some) for word, some in zip(words, values, strict=True)}
    one = Spending(row["spending"], tuple(row["scope"]), only, row["period"], row["zone"])  # type: ignore[arg-type]
    return WholeSum(one, row["whole_from"], bool(row["is_control"]))  # type: ignore[arg-type]


def _sum_row(one: WholeSum) -> dict[str, object]:
    return {
        "spending": one.sum.spending,
        "scope": list(one.sum.scope),
        "only_words": list(one.sum.only),
        "only_values": [list(values) for values in one.sum.only.values()],
        "period": one.sum.period,
        "zone": one.sum.zone,
        "is_control": int(one.is_control),
        "whole_from": one.whole_from,
    }


def _budget_row(one: Budget) -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.kind,
        "spending": one.spending,
        "amount": one.amount,
        "currency": one.currency,
        "step_amounts": [step.amount for step in one.steps],
        "step_levels": [step.level.value for step in one.steps],
        "metric_name": one.metric_name,
    }


_KINDS: Final = {
    **dict.fromkeys(("scope", "only_words", "step_levels"), pl.List(pl.String)),
    "only_values": pl.List(pl.List(pl.String)),
    "step_amounts": pl.List(MONEY),
    "amount": MONEY,
    "whole_from": pl.Date(),
    **dict.fromkeys(("is_control", "in_force"), pl.UInt8()),
    "version": pl.UInt32(),
}


def _changed(wanted: Sequence[Mapping[str, object]], stored: pl.DataFrame, *, key: str) -> pl.DataFrame:
    """The rows to write so that these and no others are in force."""
    known = {row[key]: row for row in stored.to_dicts()}
    names = {row[key] for row in wanted}
    rows = [dict(row) | {"in_force": 1} for row in wanted]
    rows += [row | {"in_force": 0} for name, row in known.items() if name not in names]
    news = [
        row | {"version": before.get("version", 0) + 1}
        for row, before in ((row, known.get(row[key], {})) for row in rows)
        if any(before.get(name) != value for name, value in row.items())
    ]
    return pl.DataFrame(news, schema={name: _KINDS.get(name, pl.String()) for name in stored.columns}, orient="row")


# --- whether workers count all of it ----------------------------------------------------------------------------------


def missing(reader: Reader, control: str, *, since: date, days: Iterable[date] | None = None) -> dict[Place, int]:
    """By day and partition the calls that the control total lacks; below zero, that it has too many. Of ``days`` alone
    where they are given."""
    rows = reader.frame(MISSING, control=control, since=since, every=int(days is None), days=sorted(days or ()))
    return {(day, origin, partition): number for day, origin, partition, number in rows.iter_rows()}


# --- what they must equal ---------------------------------------------------------------------------------------------


def tables(reader: Reader, *, now: datetime) -> list[RollupTable]:
    """The sums in force as the audit compares them, some of them at once."""
    return list(tables_of(in_force(reader), now=now))


def rollups(reader: Reader, *, now: datetime) -> list[RollupTable]:
    """Every table of rollups that must equal its calls."""
    return [*ROLLUPS, *tables(reader, now=now)]


def tables_of(sums: Sequence[WholeSum], *, now: datetime) -> Iterator[RollupTable]:
    until = (now + AHEAD).astimezone(UTC).date()
    for at in range(0, len(sums), SUMS_AT_ONCE):
        yield _table(sums[at : at + SUMS_AT_ONCE], until)


def _table(sums: Sequence[WholeSum], until: date) -> RollupTable:
    """Moments travel as parameters: by whose clocks a period begins is for this build to say, and not for the engine,
    whose zones differ."""
    first = min(one.whole_from for one in sums)
    clocks = list(dict.fromkeys(_clock(one.sum) for one in sums))
    owed = ", ".join(_owed(one, clocks.index(_clock(one.sum)), until) for one in sums)
    made = " OR ".join(f"(spending = {_text(one.sum.spending)} AND day >= {_date(one.whole_from)})" for one in sums)
    return RollupTable(
        table=TABLE,
        bucket="day",
        bucket_of_event="toDate(occurred_at)",
        labels=("spending", "subject", "period_start", "period_end"),
        columns={
            "calls": "toInt64(count())",
            "unpriced_calls": "toInt64(countIf(cost_status = 'unpriced'))",
            "cost_usd": "toDecimal128(ifNull(sum(cost_usd), 0), 12)",
        },
        joined=f"ARRAY JOIN arrayConcat({owed}) AS owed",
        joined_columns={
            "spending": "tupleElement(owed, 1)",
            "subject": "tupleElement(owed, 2)",
            "period_start": "toDateTime(tupleElement(tupleElement(owed, 3), 1), 'UTC')",
            "period_end": "toDateTime(tupleElement(tupleElement(owed, 3), 2), 'UTC')",
        },
        of_rows=f"({made}) AND day < {_date(until)}",
        parameters={f"clock_{at}": _spans(*clock, first, until) for at, clock in enumerate(clocks)},
    )


def _clock(one: Spending) -> tuple[Period, str]:
    """What its periods are found by: hours are counted from the start of the day."""
    return ("day" if one.period == "hour" else one.period), one.zone


def _owed(one: WholeSum, clock: int, until: date) -> str:
    """The one row of a sum that a call adds to, as an array: empty where it is no part of it."""
    row = f"({_text(one.sum.spending)}, {_subject(one.sum.scope)}, {_bounds(one.sum.period, clock)})"
    return f"if({_counts(one, until)}, [{row}], [])"


def _counts(one: WholeSum, until: date) -> str:
    days = f"toDate(occurred_at) >= {_date(one.whole_from)} AND toDate(occurred_at) < {_date(until)}"
    having = [f"{COLUMNS[word]} != ''" for word in one.sum.scope]
    chosen = [
        f"{COLUMNS[word]} IN ({', '.join(_text(value) for value in values)})" for word, values in one.sum.only.items()
    ]
    return " AND ".join([days, *having, *chosen])


def _subject(scope: Iterable[str]) -> str:
    """As ``subject_of`` writes it."""
    parts = [f"'{word}=', {_escaped(COLUMNS[word])}" for word in scope]
    return "concat(" + ", ',', ".join(parts) + ")" if parts else "''"


def _escaped(column: str) -> str:
    sql = f"toString({column})"
    for sign, escape in ESCAPES.items():
        sql = f"replaceAll({sql}, '{sign}', '{escape}')"
    return sql


def _bounds(period: Period, clock: int) -> str:
    """Where the period of a call begins and ends, in seconds since 1970."""
    at = "toUnixTimestamp(occurred_at)"
    span = f"arrayLast(span -> span.1 <= {at}, {{clock_{clock}:Array(Tuple(UInt32, UInt32))}})"
    if period != "hour":
        return span
    hour = f"day.1 + intDiv({at} - day.1, {HOUR_SECONDS}) * {HOUR_SECONDS}"
    return f"arrayMap(day -> (toUInt32({hour}), toUInt32(least({hour} + {HOUR_SECONDS}, day.2))), [{span}])[1]"


def _spans(period: Period, zone: str, first: date, until: date) -> list[tuple[int, int]]:
    """All periods from the one that holds the first moment of ``first`` to that of ``until``."""
    if period == "session":
        return [(_seconds(WHOLE_SESSION), _seconds(NO_END))]
    moment, last = (datetime.combine(day, time.min, UTC) for day in (first, until))
    spans = list[tuple[int, int]]()
    while moment <= last:
        span = span_at(moment, period, zone)
        assert span.end, "only a session has none"
        spans.append((_seconds(span.start), _seconds(span.end)))
        moment = span.end
    return spans


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _date(day: date) -> str:
    return f"toDate('{day}')"


def _text(value: str) -> str:
    """A text as SQL has it, whatever stands in it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
