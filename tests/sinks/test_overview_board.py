"""What the Overview says in won and against limits. The figures are those of the calls below, added up by hand.

1 USD is 1,400 KRW here. The amounts are those of the limits and of the budget that are shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from sinks.clickhouse.connect import open_client
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.dashboards.panels import STEPS_REF
from tests.sinks.test_dashboards import END, NOON, VIEW, YESTERDAY, answer, call, usd
from tests.support.grafana import boards
from tests.support.records import STEADY_ZONE
from tests.support.warehouse import Server
from tests.support.warehouse_rows import store_calls

RATE: Final = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1400"\nsource = "a bank"\n'
MONTH: Final = "The month so far, in won"
DAYS: Final = "The month day by day, in won"
HOURS: Final = "Cost by hour, the last 24, in won"
USERS: Final = "Dearest users of the month"
LIMITS: Final = {"monthly_cost_exceeded": 500_000, "hourly_cost_exceeded": 50_000, "user_cost_exceeded": 500}


@pytest.fixture
def reader(clickhouse_endpoint: Server) -> Iterator[Reader]:
    with closing(Reader(clickhouse_endpoint.fresh())) as reader:
        yield reader


@pytest.fixture
def writer(reader: Reader) -> Iterator[Writer]:
    with closing(Writer(reader.address)) as writer:
        yield writer


def publish_won(reader: Reader, writer: Writer) -> None:
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"won": RATE}, new_id=lambda: "p", pause=lambda: None, **told)


def budgets(reader: Reader) -> None:
    """The limits in won, and the budget of a day: 100 USD, told at 80 and 95."""
    limits = ", ".join(
        f"('{name}', 'limit', 's-{name}', {amount}, 'KRW', [{amount}], ['critical'], '{name}', 1, 1)"
        for name, amount in LIMITS.items()
    )
    told = "[80, 95, 100], ['warning', 'critical', 'emergency']"
    day = f"('daily_budget', 'budget', 's-day', 100, 'USD', {told}, 'd', 1, 1)"
    of_day = f"('s-day', [], [], [], 'day', '{STEADY_ZONE}', 0, '2020-01-01', 1, 1)"
    sums = ", ".join(f"('s-{name}', [], [], [], 'month', 'UTC', 0, '2020-01-01', 1, 1)" for name in LIMITS)
    with closing(open_client(reader.address)) as client:
        client.command(f"INSERT INTO budgets_rows VALUES {limits}, {day}")
        client.command(f"INSERT INTO budget_sums_rows VALUES {sums}, {of_day}")


def of_the_month(writer: Writer, *, won: str, user: str = "ann", at: datetime = NOON, **more: Any) -> None:
    """One call that costs so many won."""
    pico = int(Decimal(won) / 1400 * 10**12)
    name = more.pop("name", f"{user} {won}")
    store_calls(writer, [call(name, at, 0, user_id=user, **more) | {"cost_pico": pico}])


def steps(reader: Reader, title: str) -> list[dict[str, Any]]:
    return answer(reader, title, ref=STEPS_REF)


def colour(reader: Reader, title: str, value: Decimal) -> str:
    """As Grafana finds it (getFieldConfigFromFrame, validateFieldConfig, getActiveThreshold): a step for each mapped
    column that is not NULL, in the order of the columns; the first holds from minus infinity on, each other from its
    own value on."""
    (panel,) = [each for each in boards()["costream-cost"]["panels"] if each["title"] == title]
    mappings = {each["fieldName"]: each for each in panel["transformations"][0]["options"]["mappings"]}
    (row,) = steps(reader, title)
    found = [
        (Decimal(amount), mappings[name]["handlerArguments"]["threshold"]["color"])
        for name, amount in row.items()
        if mappings[name]["handlerKey"] == "threshold1" and amount is not None
    ]
    active = found[0][1]
    for amount, color in found[1:]:
        if value < amount:
            break
        active = color
    return active


def test_without_a_rate_what_is_in_won_is_unknown_and_the_rest_is_told(reader: Reader, writer: Writer) -> None:
    store_calls(writer, [call("a", NOON, 100, user_id="ann")])
    assert answer(reader, MONTH) == [{"cost_won": None, "calls": 1, "unpriced_calls": 0}]
    assert [row["cost_won"] for row in answer(reader, DAYS)] == [None]
    assert [row["cost_won"] for row in answer(reader, HOURS)] == [None]
    (user,) = answer(reader, USERS)
    assert (user["cost_usd"], user["cost_won"]) == (usd("1"), None)
    assert {row["met"] for row in answer(reader, "Targets")} == {"measuring"}
    assert steps(reader, MONTH) == steps(reader, HOURS) == steps(reader, USERS) == []
    (panel,) = [each for each in boards()["costream-cost"]["panels"] if each["title"] == MONTH]
    (looks,) = [o for o in panel["fieldConfig"]["overrides"] if o["matcher"]["options"] == "cost_won"]
    shown = {each["id"]: each["value"] for each in looks["properties"]}
    assert shown["noValue"] == "unknown, or no exchange rate of KRW"


@pytest.mark.parametrize(("cost", "red"), [("357.142857142857", False), ("357.143571428571", True)])
def test_the_month_turns_red_above_its_limit_and_not_at_it(
    reader: Reader, writer: Writer, cost: str, red: bool
) -> None:
    """500,000 won to a ten-millionth, and 500,001."""
    publish_won(reader, writer)
    budgets(reader)
    store_calls(writer, [call("a", NOON, 0) | {"cost_pico": int(Decimal(cost) * 10**12)}])
    (month,) = answer(reader, MONTH)
    assert abs(month["cost_won"] - (500_001 if red else 500_000)) < Decimal("0.000001")
    for title in (MONTH, DAYS):
        assert colour(reader, title, month["cost_won"]) == ("red" if red else "green")
        assert colour(reader, title, Decimal(500_000)) == "green", "exactly the amount is no breach"


def test_the_days_of_the_month_add_up_and_stay_unknown_after_an_unknown_one(reader: Reader, writer: Writer) -> None:
    rate = RATE + f"valid_from = {NOON.date().replace(day=4)}\n"
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"won": rate}, new_id=lambda: "p", pause=lambda: None, **told)
    first = NOON.replace(day=4)
    unpriced = call("c", first + timedelta(days=1), None)
    store_calls(writer, [call("a", first, 100), call("b", first + timedelta(days=1), 50), unpriced])
    store_calls(writer, [call("before", first - timedelta(days=10), 999)])
    days = [(row["cost_won"], row["unpriced_calls"]) for row in answer(reader, DAYS)]
    assert days == [(usd("1400"), 0), (usd("2100"), 1)]
    store_calls(writer, [call("without a rate", first - timedelta(days=1), 1)])
    assert [row["cost_won"] for row in answer(reader, DAYS)] == [None, None, None]


def test_the_last_24_hours_are_those_of_the_realtime_monitor(reader: Reader, writer: Writer) -> None:
    publish_won(reader, writer)
    budgets(reader)
    inside = [NOON, NOON - timedelta(hours=23)]
    for n, at in enumerate([*inside, NOON - timedelta(hours=24), END + timedelta(hours=1)]):
        of_the_month(writer, won="1400", at=at, name=str(n))
    assert [(row["time"], row["cost_won"]) for row in answer(reader, HOURS)] == [
        *((at, usd("1400")) for at in reversed(inside))
    ]
    assert [colour(reader, HOURS, Decimal(won)) for won in (50_000, 50_001)] == ["green", "red"]


def test_the_ten_dearest_users_of_the_month_are_told_and_marked_above_500_won(reader: Reader, writer: Writer) -> None:
    publish_won(reader, writer)
    budgets(reader)
    for number in range(12):
        of_the_month(writer, won=f"{480 + 2 * number * 1.4:.1f}", user=f"u-{number:02}")
    of_the_month(writer, won="99999", user="")
    of_the_month(writer, won="99999", user="u-00", at=NOON.replace(day=1) - timedelta(days=1), name="the month before")
    found = answer(reader, USERS)
    assert [row["user_id"] for row in found] == [f"u-{number:02}" for number in range(11, 1, -1)]
    marked = [colour(reader, USERS, row["cost_won"]) for row in found]
    assert marked == ["red" if 480 + 2 * n * 1.4 > 500 else "green" for n in range(11, 1, -1)]
    assert [colour(reader, USERS, Decimal(won)) for won in (500, 501)] == ["green", "red"]


@pytest.mark.parametrize(("spent", "color"), [("79.99", "green"), ("80", "orange"), ("94.99", "orange"), ("95", "red")])
def test_the_budget_of_the_day_changes_colour_where_its_own_rule_tells_it(
    reader: Reader, spent: str, color: str
) -> None:
    budgets(reader)
    day = datetime.combine(datetime.now(ZoneInfo(STEADY_ZONE)).date(), time(), ZoneInfo(STEADY_ZONE)).astimezone(UTC)
    ends = day + timedelta(days=1)
    with closing(open_client(reader.address)) as client:
        client.command(
            "INSERT INTO budget_spend_rows VALUES "
            f"('{day:%F}', 's-day', '{day:%F %T}', '{ends:%F %T}', '', 't', 0, 3, 1, {spent}, 1)"
        )
    ((gauge,), (step,)) = answer(reader, "Today's budget"), steps(reader, "Today's budget")
    assert (gauge["spent"], gauge["unpriced_calls"]) == (usd(spent), 1)
    assert step == {"base": 0, "warning": 80, "critical": 95, "amount": 100}
    assert colour(reader, "Today's budget", gauge["spent"]) == color


def targets(reader: Reader, **chosen: str) -> dict[str, tuple[Any, str]]:
    rows = answer(reader, "Targets", replace(VIEW, variables=chosen))
    return {row["measure"].removesuffix(", this month"): (row["current"], row["met"]) for row in rows}


def test_targets_are_met_at_exactly_so_much_and_missed_above_it(reader: Reader, writer: Writer) -> None:
    publish_won(reader, writer)
    seen = targets(reader)
    assert seen == {
        "a call of strategy_generation": (None, "measuring"),
        "a call of backtest": (None, "measuring"),
        "failures of strategy_generation": (None, "measuring"),
        "all calls": (0, "met"),
    }
    of_strategy = {"feature": "strategy_generation"}
    store_calls(
        writer,
        [
            call("s", NOON, 0, **of_strategy) | {"cost_pico": 2 * 71_428_571_428},
            call("s unpriced", NOON, None, **of_strategy),
            call("s free", NOON, 0, **of_strategy),
            call("b", NOON, 4, feature="backtest"),
            *(call(f"m {n}", NOON, 0, feature="mix", status="error" if n == 0 else "ok") for n in range(20)),
        ],
    )
    seen = targets(reader, watched="mix")
    strategy, met = seen["a call of strategy_generation"]
    assert (round(strategy, 6), met) == (Decimal(100), "met")
    assert seen["a call of backtest"] == (56, "missed")
    assert seen["failures of mix"] == (5, "met")
    assert seen["all calls"][1] == "met"
    store_calls(writer, [call("m failed", NOON, 0, feature="mix", status="error", model="another")])
    assert targets(reader, watched="mix")["failures of mix"][1] == "missed"
    store_calls(writer, [call("dear", NOON, 35_715)])
    assert targets(reader)["all calls"][1] == "missed"


@pytest.mark.parametrize("name", ["it's", "\\' OR 1 = 1 --", "$__toTime", "a, b"])
def test_a_target_is_of_the_feature_that_is_chosen_whatever_it_is_called(
    reader: Reader, writer: Writer, name: str
) -> None:
    store_calls(writer, [call("a", NOON, 1, feature=name, status="error"), call("b", NOON, 1, feature="other")])
    assert targets(reader, watched=name)[f"failures of {name}"] == (100, "missed")


def test_providers_are_slices_that_say_what_they_leave_out_and_days_that_add_up(reader: Reader, writer: Writer) -> None:
    store_calls(
        writer,
        [
            call("a", NOON, 300, provider="openai"),
            call("b", YESTERDAY, 100, provider="anthropic"),
            call("c", NOON, None, provider="anthropic", model="aurora"),
        ],
    )
    pie = {row["provider"]: row["cost"] for row in answer(reader, "Providers, as parts of the whole")}
    assert pie == {"openai": usd("3"), "anthropic, 1 unpriced": usd("1")}
    days = {(row["time"].date(), row["series"]): row["cost"] for row in answer(reader, "Cost by day and provider")}
    assert days == {
        (YESTERDAY.date(), "anthropic"): usd("1"),
        (NOON.date(), "anthropic"): None,
        (NOON.date(), "openai"): usd("3"),
    }
