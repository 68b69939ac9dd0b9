"""What subjects have spent in the periods of budgets: what the rule about them asks the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeVar

import polars as pl

from costream.pricing import PICO
from stream.budgets.periods import WHOLE_SESSION
from stream.budgets.spend import Account, Spend
from stream.watch.queries import Reader

T = TypeVar("T")

FLOORS_AT_ONCE: Final = 2_000  # in one question: one takes 50 bytes, and a server takes 128 KiB as one parameter
ACCOUNTS_AT_ONCE: Final = 200  # a subject may have some hundred characters


def _by_day(where: str) -> str:
    return f"""
  SELECT r.spending AS spending, subject, period_start, day,
    sum(r.calls) AS calls, sum(r.unpriced_calls) AS unpriced_calls, sum(r.cost_usd) AS cost_usd
  FROM budget_spend_rows AS r FINAL
  WHERE day >= {{since:Date}} AND {where}
  GROUP BY spending, subject, period_start, day"""  # noqa: S608 - conditions written here


_FLOORS: Final = """
  floors AS (
    SELECT tupleElement(floor, 1) AS spending, tupleElement(floor, 2) AS starts_at,
      toDecimal128(tupleElement(floor, 3), 12) AS cost_min
    FROM (SELECT arrayJoin({floors:Array(Tuple(String, UInt32, String))}) AS floor))"""


def _at_least(where: str) -> str:
    """By day what each subject spent that spent no less than the floor of its sum and period."""
    return f"""
WITH {_FLOORS}
SELECT spending, subject, toUnixTimestamp(period_start) AS starts_at, arrayJoin(days) AS told,
  told.1 AS day, told.2 AS calls, told.3 AS unpriced_calls, told.4 AS cost_usd
FROM (
  SELECT spending, subject, period_start, groupArray((day, calls, unpriced_calls, cost_usd)) AS days
  FROM ({_by_day(where)}) AS spends
  INNER JOIN floors ON floors.spending = spends.spending AND floors.starts_at = toUnixTimestamp(spends.period_start)
  GROUP BY spending, subject, period_start
  HAVING sum(spends.cost_usd) >= any(floors.cost_min))
SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - conditions written here


_OF_PERIODS: Final = _at_least(
    "(r.spending, toUnixTimestamp(period_start)) IN (SELECT spending, starts_at FROM floors)"
)
_OF_SESSIONS: Final = _at_least(
    """r.spending IN (SELECT spending FROM floors) AND (r.spending, subject) IN (
      SELECT spending, subject FROM budget_spend_rows
      WHERE day >= {lately:Date} AND spending IN (SELECT spending FROM floors))"""
)
_THESE: Final = (
    "(r.spending, subject, toUnixTimestamp(period_start)) IN {accounts:Array(Tuple(String, String, UInt32))}"
)
_OF_ACCOUNTS: Final = f"""
SELECT spending, subject, toUnixTimestamp(period_start) AS starts_at, day, calls, unpriced_calls, cost_usd
FROM ({_by_day(_THESE)})
SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - written here


class Floor(NamedTuple):
    """What spent less in this period is worth no look."""

    spending: str
    period_start: datetime
    cost_usd: Fraction


def spends_above(reader: Reader, floors: Iterable[Floor], *, lately: date) -> dict[Account, Spend]:
    """What each subject has spent that has spent as much as a floor. Of sessions those with a call since ``lately``."""
    found = dict[Account, Spend]()
    by_day = sorted(floors, key=_first_day)
    for since, same in groupby(by_day, key=_first_day):
        for some in _chunks(list(same), FLOORS_AT_ONCE):
            asked = [(floor.spending, _seconds(floor.period_start), _text(floor.cost_usd)) for floor in some]
            if since == WHOLE_SESSION.date():
                rows = reader.frame(_OF_SESSIONS, floors=asked, since=since, lately=lately)
            else:
                rows = reader.frame(_OF_PERIODS, floors=asked, since=since)
            found |= _spends(rows)
    return found


def spends_of(reader: Reader, accounts: Iterable[Account]) -> dict[Account, Spend]:
    """What each of these has spent."""
    found = dict[Account, Spend]()
    for some in _chunks(sorted(accounts, key=lambda account: account.period_start), ACCOUNTS_AT_ONCE):
        asked = [(account.spending, account.subject, _seconds(account.period_start)) for account in some]
        found |= _spends(reader.frame(_OF_ACCOUNTS, accounts=asked, since=some[0].period_start.date()))
    return found


def _spends(rows: pl.DataFrame) -> dict[Account, Spend]:
    found = dict[Account, Spend]()
    for row in rows.iter_rows(named=True):
        account = Account(row["spending"], row["subject"], datetime.fromtimestamp(row["starts_at"], UTC))
        found[account] = found.get(account, Spend()).plus(row["day"], **_sums(row))
    return found


def _sums(row: Mapping[str, Any]) -> dict[str, int]:
    calls = {name: row[name] for name in ("calls", "unpriced_calls")}
    return calls | {"pico_usd": int(row["cost_usd"].scaleb(12))}


def _first_day(floor: Floor) -> date:
    return floor.period_start.astimezone(UTC).date()


def _text(cost_usd: Fraction) -> str:
    """Cut to 12 digits after the point: a floor may be too low, and never too high."""
    return f"{Decimal(cost_usd * PICO // 1).scaleb(-12):f}"


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]
