"""A history played on a clock of its own raises the alerts that looking at every second would raise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from costream.alerts import Alert, Level
from costream.pricing import PICO
from costream.pricing.money import DayRates, RateOfDays
from stream.budgets.budget import COLUMNS, Budget, Step
from stream.budgets.judge import judged
from stream.budgets.playing import played
from stream.budgets.spend import KEY, Account, Spend, shares
from stream.budgets.trace import SCHEMA
from stream.budgets.words import worded
from stream.rulebook.rulebook import load
from tests.support.properties import examples

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
NO_RATES = DayRates(())


def history(calls: Iterable[dict[str, Any]]) -> pl.DataFrame:
    usual = dict.fromkeys(COLUMNS.values(), "")
    rows = [usual | {"arrived_at": call["occurred_at"]} | call for call in calls]
    return pl.DataFrame(rows, schema=SCHEMA).sort("arrived_at", maintain_order=True)


def spent(at: datetime, usd: str, **fields: Any) -> dict[str, Any]:
    return {"occurred_at": at, "cost_pico": int(Decimal(usd) * PICO)} | fields


def told(alerts: Iterable[Alert]) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            f"{alert.timestamp:%d %H:%M:%S}",
            alert.scope.removeprefix("budget="),
            alert.status,
            alert.level.value,
            f"{alert.threshold_value:f}",
        )
        for alert in alerts
    ]


def in_krw(budgets: Iterable[Budget]) -> list[Budget]:
    return [budget for budget in budgets if budget.currency == "KRW"]


def shipped(rates: DayRates) -> list[Budget]:
    return load({}, zone="UTC", rates=rates).budgets


def test_a_month_of_virtual_spend_raises_the_list_that_is_expected_of_the_shipped_budgets() -> None:
    calls = [
        spent(NOVEMBER + timedelta(days=1, hours=3), "79.99"),
        spent(NOVEMBER + timedelta(days=1, hours=4), "0.01"),  # 80.00
        spent(NOVEMBER + timedelta(days=1, hours=5), "15.00"),  # 95.00
        spent(NOVEMBER + timedelta(days=2), "99.00"),  # of another day; nothing in between
        spent(NOVEMBER + timedelta(days=3, hours=1), "9.00", user_id="ann"),
        spent(NOVEMBER + timedelta(days=3, hours=2), "0.80", user_id="ann"),
        spent(NOVEMBER + timedelta(days=3, hours=2), "8.99", user_id="bob"),
        *(spent(NOVEMBER + timedelta(days=day), "79.00") for day in range(5, 24)),
    ]
    assert told(played(history(calls), shipped(NO_RATES), per_usd=NO_RATES)) == [
        ("02 04:00:01", "daily_budget", "open", "warning", "80"),
        ("02 05:00:01", "daily_budget", "updated", "critical", "95"),
        ("03 00:00:01", "daily_budget", "open", "critical", "95"),
        ("03 00:05:00", "daily_budget", "cleared", "critical", "95"),
        ("04 00:05:00", "daily_budget", "cleared", "critical", "95"),
        ("04 01:00:01", "user_daily_budget,user=ann", "open", "warning", "9"),
        ("04 02:00:01", "user_daily_budget,user=ann", "updated", "critical", "9.8"),
        ("05 00:05:00", "user_daily_budget,user=ann", "cleared", "critical", "9.8"),
        ("24 00:00:01", "monthly_budget", "open", "warning", "1700"),
    ]


def test_15000_krw_raise_exactly_four_alerts_and_limits_are_passed_above_them() -> None:
    rates = DayRates([RateOfDays("KRW", date(2026, 1, 1), Decimal(1_000), "of the test")])
    calls = [spent(NOVEMBER + timedelta(hours=hour), "0.25", user_id="ann") for hour in range(24 * 29)]
    found = played(history(calls), in_krw(shipped(rates)), per_usd=rates)
    assert [(scope, level, threshold) for _, scope, status, level, threshold in told(found) if status != "cleared"] == [
        ("user_cost_exceeded,user=ann", "warning", "500"),
        ("sample_monthly_budget", "warning", "12000"),
        ("sample_monthly_budget", "warning", "13500"),
        ("sample_monthly_budget", "critical", "14250"),
        ("sample_monthly_budget", "emergency", "15000"),
    ]
    (at_limit,) = (spent(NOVEMBER, "50", user_id="ann"),)
    above = spent(NOVEMBER + timedelta(minutes=59), "0.000000000001", user_id="ann")
    hourly = [budget for budget in shipped(rates) if budget.period == "hour"]
    assert told(played(history([at_limit]), hourly, per_usd=rates)) == []
    assert told(played(history([at_limit, above]), hourly, per_usd=rates)) == [
        ("01 00:59:01", "hourly_cost_exceeded", "open", "critical", "50000")
    ]


def test_a_loop_that_runs_away_and_spending_that_creeps_are_told_before_the_month_is_used_up() -> None:
    """More than 2 % of 2,000 USD within an hour, and more than 10 % within a day."""
    own = (
        '[[budget]]\nname = "month"\nperiod = "month"\namount = "2000"\n'
        'burn = [{ within = "hour", share = "0.02" }, { within = "day", share = "0.1", level = "warning" }]\n'
    )
    budgets = [one for one in load({"own": own}, zone="UTC", rates=NO_RATES).budgets if one.name.startswith("month_w")]
    loop = [spent(NOVEMBER + timedelta(days=1, hours=3, minutes=minute), "5") for minute in range(0, 54, 6)]
    creep = [spent(NOVEMBER + timedelta(days=2, hours=hour), "9") for hour in range(24)]
    usual = [spent(NOVEMBER + timedelta(days=4, hours=hour), "8") for hour in range(24)]
    found = list(played(history([*loop, *creep, *usual]), budgets, per_usd=NO_RATES))
    assert told(found) == [
        ("02 03:48:01", "month_within_an_hour", "open", "critical", "40"),
        ("02 04:05:00", "month_within_an_hour", "cleared", "critical", "40"),
        ("03 22:00:01", "month_within_a_day", "open", "warning", "200"),
        ("04 00:05:00", "month_within_a_day", "cleared", "warning", "200"),
    ]
    assert found[0].title == "month_within_an_hour: 45.00 USD, above 40.00 USD"
    assert found[0].message == (
        "The hour 03:00-04:00 of 2026-11-02 (UTC) cost 45.00 USD: 112.5 % of 40.00 USD. "
        "That is above the limit of 40.00 USD. Projected for the whole hour: 56.23 USD. "
        "It is 2.2 % of month, 2,000.00 USD a month: at this pace the whole of it lasts 44.4 hours."
    )
    assert "10.3 % of month, 2,000.00 USD a month: at this pace the whole of it lasts 9.6 days." in found[2].message
    assert found[0].metadata["share_of"] == {"budget": "month", "period": "month", "amount": "2000"}


def test_a_late_call_moves_its_own_period_and_raises_nothing() -> None:
    on_time = spent(NOVEMBER + timedelta(hours=1), "1")
    late = spent(NOVEMBER + timedelta(hours=2), "500") | {"arrived_at": NOVEMBER + timedelta(days=2)}
    daily = [budget for budget in shipped(NO_RATES) if budget.name == "daily_budget"]
    assert told(played(history([on_time, late]), daily, per_usd=NO_RATES)) == []


def test_a_second_of_more_than_64_bits_of_money_is_summed_up_exactly() -> None:
    daily = [budget for budget in shipped(NO_RATES) if budget.name == "daily_budget"]
    (alert,) = played(history([spent(NOVEMBER, "9000000")] * 3), daily, per_usd=NO_RATES)
    assert alert.current_value == 27_000_000


def test_a_period_is_over_at_the_tick_that_is_its_end_and_not_before() -> None:
    daily = [budget for budget in shipped(NO_RATES) if budget.name == "daily_budget"]
    spending = spent(NOVEMBER + timedelta(hours=1), "85")
    end = NOVEMBER + timedelta(days=1, minutes=5)
    opened = ("01 01:00:01", "daily_budget", "open", "warning", "80")
    for last, ended in ((timedelta(seconds=2), False), (timedelta(seconds=1), True), (timedelta(), True)):
        found = told(played(history([spending, spent(end - last, "0")]), daily, per_usd=NO_RATES))
        cleared = [("02 00:05:00", "daily_budget", "cleared", "warning", "80")]
        assert found == [opened, *(cleared if ended else [])]


def test_the_day_begins_by_the_clocks_of_the_zone() -> None:
    seoul = load({}, zone="Asia/Seoul", rates=NO_RATES).budgets
    calls = [spent(NOVEMBER + timedelta(hours=14, minutes=59), "60"), spent(NOVEMBER + timedelta(hours=15), "60")]
    assert told(played(history(calls), seoul, per_usd=NO_RATES)) == []
    assert told(played(history(calls), shipped(NO_RATES), per_usd=NO_RATES)) == [
        ("01 15:00:01", "daily_budget", "open", "emergency", "100")
    ]


# --- against looking at every second ---------------------------------------------------------------------------------

SECONDS = 3 * 24 * 3_600
STEPS = tuple(Step(Decimal(amount), level) for amount, level in ((2, Level.WARNING), (5, Level.CRITICAL)))
USUAL = Budget(
    name="b",
    kind="budget",
    scope=(),
    only={},
    period="day",
    zone="UTC",
    amount=Decimal(5),
    currency="USD",
    steps=STEPS,
    metric_name="b",
)
BUDGETS = [
    USUAL,
    replace(USUAL, name="limit", kind="limit", steps=STEPS[:1]),
    replace(USUAL, name="hours", period="hour", zone="Asia/Kolkata"),
    replace(USUAL, name="users", scope=("user",), period="month", zone="Asia/Seoul"),
    replace(USUAL, name="sessions", scope=("session",), period="session"),
]
CALLS = st.lists(
    st.builds(
        lambda at, late, pico, user, session: {
            "occurred_at": NOVEMBER + timedelta(seconds=at),
            "arrived_at": NOVEMBER + timedelta(seconds=at + late),
            "cost_pico": pico,
            "user_id": user,
            "session_id": session,
        },
        st.integers(0, SECONDS),
        st.sampled_from([0, 1, 60, 3_600, 40_000, 200_000]),
        st.none() | st.integers(-3, 3).map(lambda usd: usd * PICO),
        st.sampled_from(["", "u", "v"]),
        st.sampled_from(["", "s"]),
    ),
    max_size=12,
)


def second_by_second(calls: Sequence[dict[str, Any]], budgets: Sequence[Budget], until: datetime) -> list[Alert]:
    """Everything summed up anew, and every account judged, at each second at which anything can change."""
    frame = history(calls)
    ends = {NOVEMBER + timedelta(minutes=30 * number + 5) for number in range(2 * 24 * 8)}
    arrivals = {moment.replace(microsecond=0) + timedelta(seconds=1) for moment in frame["arrived_at"]}
    known: dict[tuple[str, Account], Alert] = {}
    found = []
    for now in sorted(moment for moment in ends | arrivals if moment <= until):
        spends: dict[Account, Spend] = {}
        for row in shares(frame.filter(pl.col("arrived_at") < now), budgets).iter_rows(named=True):
            account = Account(*(row[name] for name in KEY))
            pico = row["cost_pico"]
            sums = {"calls": 1, "unpriced_calls": int(pico is None), "pico_usd": pico or 0}
            spends[account] = spends.get(account, Spend()).plus(row["day"], **sums)
        for account, spend in spends.items():
            for budget in budgets:
                key = (budget.name, account)
                if budget.spending == account.spending:
                    news = judged(budget, account, spend, known.get(key), now=now, per_usd=NO_RATES)
                    if news:
                        known[key] = news
                        found.append(worded(news))
    return found


def in_order(alerts: Iterable[Alert]) -> list[Alert]:
    return sorted(alerts, key=lambda alert: (alert.timestamp, alert.scope, alert.revision))


@examples(100)
@given(CALLS, st.lists(st.sampled_from(BUDGETS[:-1]), unique_by=lambda budget: budget.name))
def test_it_is_what_looking_at_everything_at_every_moment_says(
    calls: list[dict[str, Any]], budgets: list[Budget]
) -> None:
    until = max((call["arrived_at"] for call in calls), default=NOVEMBER) + timedelta(seconds=1)
    expected = in_order(second_by_second(calls, budgets, until))
    assert in_order(played(history(calls), budgets, per_usd=NO_RATES)) == expected


@examples(50)
@given(CALLS, st.randoms())
def test_the_order_within_a_second_changes_nothing(calls: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(calls, len(calls))
    assert in_order(played(history(shuffled), BUDGETS, per_usd=NO_RATES)) == in_order(
        played(history(calls), BUDGETS, per_usd=NO_RATES)
    )


def test_a_session_is_looked_at_again_until_it_is_over() -> None:
    sessions = [BUDGETS[-1]]
    calls = [spent(NOVEMBER + timedelta(hours=5), "3", session_id="s"), spent(NOVEMBER + timedelta(days=9), "0")]
    assert told(played(history(calls), sessions, per_usd=NO_RATES)) == [
        ("01 05:00:01", "sessions,session=s", "open", "warning", "2"),
        ("03 05:00:01", "sessions,session=s", "cleared", "warning", "2"),
    ]


def test_long_work_says_how_far_it_is() -> None:
    calls = [spent(NOVEMBER + timedelta(seconds=number), "0") for number in range(2_500)]
    heard: list[tuple[int, int]] = []
    daily = [budget for budget in shipped(NO_RATES) if budget.name == "daily_budget"]
    list(played(history(calls), daily, per_usd=NO_RATES, progress=lambda done, of: heard.append((done, of))))
    assert heard == [(1_000, 2_500), (2_000, 2_500)]
