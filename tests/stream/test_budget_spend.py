"""What each subject of a budget has spent, against plain sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.alerts import Level
from costream.pricing import PICO
from stream.budgets.budget import COLUMNS, Budget, Step, parts_of, subject_of, whose
from stream.budgets.periods import Period, span_at
from stream.budgets.spend import KEY, Spend, added_up, shares
from stream.budgets.trace import SCHEMA
from tests.support.properties import examples

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAILY = Budget(
    name="daily",
    kind="budget",
    scope=(),
    only={},
    period="day",
    zone="UTC",
    amount=Decimal(100),
    currency="USD",
    steps=(Step(Decimal(80), Level.WARNING), Step(Decimal(100), Level.EMERGENCY)),
    metric_name="daily_cost",
)
NAMES = st.sampled_from(["", "a", "b", "a,user=b", "50%", "%2C", "=", "zoë"])
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_at": st.integers(0, 60 * 24 * 70).map(lambda minutes: NOON + timedelta(minutes=minutes)),
            "user_id": NAMES,
            "session_id": NAMES,
            "feature": NAMES,
            "team": st.sampled_from(["", "search"]),
            "cost_pico": st.none() | st.integers(0, 10**13),
        }
    ),
    max_size=30,
)
SCOPES = st.lists(st.sampled_from(["user", "session", "feature", "team"]), unique=True, max_size=3).map(tuple)


def frame(calls: Sequence[dict[str, Any]]) -> pl.DataFrame:
    usual = dict.fromkeys(COLUMNS.values(), "") | {"cost_pico": 0}
    rows = [usual | {"arrived_at": call["occurred_at"]} | call for call in calls]
    return pl.DataFrame(rows, schema=SCHEMA)


def counted(found: pl.DataFrame) -> Counter[tuple[Any, ...]]:
    return Counter(found.select(*KEY, "day", "cost_pico").rows())


ONLY = st.sampled_from(
    [
        {},
        {"team": ("search",)},
        {"team": ("", "search")},
        {"feature": ("a", "b", "a")},
        {"team": ("search",), "feature": ("a", "50%")},
        {"feature": ("=",), "team": ("",)},
    ]
)


@examples(300)
@given(
    CALLS,
    SCOPES,
    st.sampled_from(["hour", "day", "month", "session"]),
    st.sampled_from(["UTC", "Asia/Seoul"]),
    st.lists(ONLY, min_size=1, max_size=4),
)
def test_each_call_is_a_part_of_each_sum_whose_subject_it_has(
    calls: list[dict[str, Any]],
    scope: tuple[str, ...],
    period: Period,
    zone: str,
    chosen: list[dict[str, tuple[str, ...]]],
) -> None:
    budgets = [replace(DAILY, scope=scope, period=period, zone=zone, only=only) for only in chosen]
    expected = Counter(
        (
            budget.spending,
            subject_of((word, call[COLUMNS[word]]) for word in scope),
            span_at(call["occurred_at"], period, zone).start,
            call["occurred_at"].date(),
            call["cost_pico"],
        )
        for budget in {budget.spending: budget for budget in budgets}.values()
        for call in calls
        if all(call[word] in values for word, values in budget.only.items())
        and all(call[COLUMNS[word]] for word in scope)
    )
    assert counted(shares(frame(calls), budgets)) == expected


def test_budgets_that_sum_up_the_same_share_one_sum() -> None:
    twice = [DAILY, replace(DAILY, name="limit", kind="limit", amount=Decimal(7), currency="EUR")]
    assert shares(frame([{"occurred_at": NOON}]), twice).height == 1
    assert shares(frame([{"occurred_at": NOON}]), [DAILY, replace(DAILY, zone="Asia/Seoul")]).height == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(DAILY, scope=("user",)),
        replace(DAILY, only={"team": ("search",)}),
        replace(DAILY, period="hour"),
        replace(DAILY, zone="Asia/Seoul"),
        replace(DAILY, scope=("user", "team")),
        replace(DAILY, scope=("team", "user")),
    ],
)
def test_what_is_summed_up_otherwise_has_another_sum(other: Budget) -> None:
    assert other.spending != DAILY.spending


def test_the_digest_of_a_sum_is_the_same_in_every_build() -> None:
    assert DAILY.spending == "94e5f8f2be0f7eb0"
    other = replace(DAILY, scope=("user", "team"), only={"team": ("search", "")}, period="month", zone="Asia/Seoul")
    assert other.spending == "0b91ec8418eafca8"


PLACES = st.tuples(st.sampled_from(["priced", "unpriced"]), st.integers(0, 1))


@examples(200)
@given(
    CALLS,
    st.lists(st.tuples(SCOPES, st.sampled_from(["hour", "day", "month", "session"]), ONLY), max_size=4),
    st.lists(PLACES, min_size=30, max_size=30),
)
def test_calls_that_are_added_up_before_come_to_the_same_sums(
    calls: list[dict[str, Any]], kinds: list[tuple[tuple[str, ...], Period, Any]], places: list[tuple[str, int]]
) -> None:
    sums = [replace(DAILY, scope=scope, period=period, only=only) for scope, period, only in kinds]
    some = places[: len(calls)]
    events = frame(calls).with_columns(
        cost_status=pl.Series([status for status, _ in some], dtype=pl.String),
        source_partition=pl.Series([partition for _, partition in some], dtype=pl.Int64),
        source_offset=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    found, expected = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    key = ("source_partition", *KEY, "period_end", "day")
    for row in added_up(events, sums).iter_rows(named=True):
        place = tuple(row[name] for name in key)
        found += Counter({(place, name): row[name] for name in ("calls", "unpriced_calls", "cost_pico") if row[name]})
    for row in shares(events, sums).iter_rows(named=True):
        place = tuple(row[name] for name in key)
        unpriced = int(row["cost_status"] == "unpriced")
        values = {"calls": 1, "unpriced_calls": unpriced, "cost_pico": row["cost_pico"] or 0}
        expected += Counter({(place, name): value for name, value in values.items() if value})
    assert found == expected


def test_the_offsets_of_calls_that_are_added_up_are_the_first_and_the_last() -> None:
    calls = frame([{"occurred_at": NOON}] * 3).with_columns(
        cost_status=pl.lit("priced"), source_partition=pl.lit(0), source_offset=pl.Series([9, 7, 8])
    )
    (row,) = added_up(calls, [DAILY]).to_dicts()
    assert (row["first"], row["applied"], row["calls"]) == (7, 9, 3)


def test_without_budgets_nothing_is_added_up() -> None:
    assert added_up(frame([]), []).is_empty()


def test_without_budgets_nothing_is_summed_up() -> None:
    found = shares(frame([{"occurred_at": NOON}]), [])
    assert (found.height, {*KEY, "day"} <= {*found.columns}) == (0, True)


@examples(200)
@given(st.lists(st.tuples(st.sampled_from([*COLUMNS]), st.text(max_size=8)), unique_by=lambda part: part[0]))
def test_a_subject_is_read_back_whatever_stands_in_it(parts: list[tuple[str, str]]) -> None:
    assert parts_of(subject_of(parts)) == dict(parts)


def test_what_separates_the_parts_of_a_subject_is_escaped_in_them() -> None:
    assert subject_of([("user", "50%,=")]) == "user=50%25%2C%3D"


def test_a_subject_cannot_break_the_line_that_names_it() -> None:
    assert whose(subject_of([("user", "a\nb"), ("team", "x,y")])) == "user a\\u{a}b, team x,y"
    assert whose("") == ""


# --- amounts ---------------------------------------------------------------------------------------------------------

RATES = {date(2026, 11, 29): Decimal("1400"), date(2026, 11, 30): Decimal("1401.5")}


def per_usd(currency: str, day: date) -> Decimal | None:
    assert currency == "KRW"
    return RATES.get(day)


DAYS = st.dictionaries(st.sampled_from([*RATES]), st.integers(-(10**20), 10**20))


@examples(200)
@given(DAYS)
def test_an_amount_is_exact_in_usd_and_by_the_rate_of_each_day(pico: dict[date, int]) -> None:
    spend = Spend(pico_usd=pico)
    assert spend.amount("USD", per_usd) == Fraction(sum(pico.values()), PICO)
    assert spend.amount("KRW", per_usd) == sum(Fraction(RATES[day]) * amount / PICO for day, amount in pico.items())


def test_a_day_without_a_rate_makes_the_amount_unknown_and_one_without_a_cost_does_not() -> None:
    unknown = date(2026, 12, 1)
    assert Spend(pico_usd={unknown: 1}).amount("KRW", per_usd) is None
    assert Spend(pico_usd={unknown: 0, date(2026, 11, 29): PICO}).amount("KRW", per_usd) == 1_400


def test_what_is_added_is_kept_by_day() -> None:
    day, next_day = date(2026, 11, 29), date(2026, 11, 30)
    spend = (
        Spend().plus(day, calls=2, unpriced_calls=1, pico_usd=5).plus(next_day, calls=1, unpriced_calls=0, pico_usd=-1)
    )
    assert spend.plus(day, calls=1, unpriced_calls=2, pico_usd=7) == Spend(4, 3, {day: 12, next_day: -1})
