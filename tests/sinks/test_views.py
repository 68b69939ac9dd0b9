"""The views' figures against sums made by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.warehouse_rows import events, store_hours, this_hour, units, user_daily

PICO = Decimal("0.000000000001")
CENT = 10_000_000_000  # in 1e-12 USD


def rows(reader: Reader, sql: str) -> list[dict[str, Any]]:
    return reader.frame(sql).to_dicts()


def test_sources_and_partitions_sum_into_one_row_per_hour_and_dimensions(writer: Writer, reader: Reader) -> None:
    state = [
        {"source_partition": 0, "calls": 5, "cost_pico": 5, "version": 9, "quantities": {"images": Decimal(1)}},
        {"source_partition": 0, "calls": 4, "cost_pico": 4, "version": 8},  # an earlier state of the row above
        {"source_partition": 1, "calls": 2, "cost_pico": 2, "quantities": {"images": Decimal("0.5")}},
        {"source": "topic-2", "calls": 1, "cost_pico": 1},
        {"source": "correction", "calls": -1, "cost_pico": -1},
    ]
    store_hours(writer, state)
    writer.insert("usage_hourly_units", units(state))
    (row,) = rows(reader, "SELECT calls, cost_usd, quantities, input_tokens FROM usage_hourly")
    assert row["calls"] == 5 + 2 + 1 - 1
    assert row["cost_usd"] == Decimal("0.000000000007")
    assert row["quantities"] == {"images": Decimal("1.5")}
    assert row["input_tokens"] == 400


def test_units_of_an_hour_are_added_each_for_itself_and_beyond_what_a_decimal_holds_told_as_the_most(
    writer: Writer, reader: Reader
) -> None:
    most = Decimal("999999999999999.999999999999")
    state = [
        {"quantities": {"images": Decimal("0.4"), "gpu_hours": Decimal(0)}, "version": 8},  # an earlier state
        {"quantities": {"images": most, "gpu_hours": PICO}, "version": 9},
        {"quantities": {"images": Decimal("0.7")}, "source_partition": 1},
        {"quantities": {"images": Decimal("-0.5")}, "source": "correction:topic-1", "calls": 0},
    ]
    store_hours(writer, state)
    writer.insert("usage_hourly_units", units(state))
    (row,) = rows(reader, "SELECT calls, quantities FROM usage_hourly")
    assert (row["calls"], row["quantities"]) == (2, {"images": most + Decimal("0.2"), "gpu_hours": PICO})
    (sums,) = rows(reader, "SELECT sum(amount) AS amount FROM usage_hourly_units WHERE unit = 'images'")
    assert sums["amount"] == most + Decimal("0.2")
    endless = units([{"quantities": {"images": Decimal(1)}, "version": 10}])
    writer.insert("usage_hourly_units", endless.with_columns(amount_whole=pl.lit(Decimal(10**37), pl.Decimal(38, 0))))
    (row,) = rows(reader, "SELECT quantities FROM usage_hourly")
    assert row["quantities"]["images"] == Decimal("99999999999999999999999999.999999999999")


def test_user_daily_sums_partitions(writer: Writer, reader: Reader) -> None:
    writer.insert("usage_user_daily", user_daily([{"cost_pico": 3}, {"source_partition": 1, "unpriced_calls": 1}]))
    (row,) = rows(reader, "SELECT user_id, calls, unpriced_calls, cost_usd FROM usage_user_daily")
    assert row == {"user_id": "u-1", "calls": 2, "unpriced_calls": 1, "cost_usd": Decimal("0.000001000003")}


def test_an_average_divides_by_the_priced_calls_alone_and_shows_the_others(writer: Writer, reader: Reader) -> None:
    known = {"feature": "chatbot", "calls": 3, "unpriced_calls": 1, "cost_pico": 4 * CENT}  # 0.01, 0.03, unknown
    unknown = {"feature": "search", "calls": 2, "unpriced_calls": 2, "cost_pico": 0}
    store_hours(writer, [known, unknown])
    first, second = rows(reader, "SELECT * FROM feature_cost_summary")
    assert (first["feature"], first["calls"], first["unpriced_calls"]) == ("chatbot", 3, 1)
    assert (first["cost_usd"], first["avg_cost_usd"]) == (Decimal("0.04"), Decimal("0.02"))
    assert first["cost_share"] == 1
    assert (second["feature"], second["avg_cost_usd"], second["unpriced_calls"]) == ("search", None, 2)
    assert (second["cost_usd"], second["cost_share"]) == (None, None), "unknown is never 0"


def test_where_no_call_has_a_price_no_view_says_that_it_cost_nothing(writer: Writer, reader: Reader) -> None:
    store_hours(writer, [{"calls": 2, "unpriced_calls": 2, "cost_pico": 0}])
    costs = reader.frame(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND name IN {names:Array(String)} "
        "AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View')",
        names=["cost_usd"],
    ).rows()
    asked = {table: name for table, name in costs if table not in OF_OTHERS}
    assert len(asked) >= 12
    for table, name in asked.items():
        assert [row[name] for row in rows(reader, f"SELECT * FROM {table}")] == [None], table


# they ask usage_events, the days of users, re-pricings or sums of budgets, and there are none of these
OF_OTHERS = {
    "usage_events",
    "usage_user_daily",
    "partial_cost_calls",
    "user_cost_summary",
    "top_users",
    "check_cost_threshold",
    "budget_spend",
    "reported_costs",
    "cost_adjustments",
    "resource_usage",
}


def test_shares_are_of_the_whole_and_the_dearest_comes_first(writer: Writer, reader: Reader) -> None:
    costs = {"a": 1, "b": 6, "c": 1}
    state = [{"provider": name, "task_type": name, "feature": name, "cost_pico": n * CENT} for name, n in costs.items()]
    store_hours(writer, state)
    for view, column in {"provider_cost_summary": "provider", "task_type_cost_summary": "task_type"}.items():
        found = rows(reader, f"SELECT * FROM {view}")
        assert [row[column] for row in found] == ["b", "a", "c"]
        assert [row["cost_share"] for row in found] == [Decimal("0.75"), Decimal("0.125"), Decimal("0.125")]
        assert [row["cost_usd"] for row in found] == [Decimal("0.06"), Decimal("0.01"), Decimal("0.01")]
        assert {row["calls"] for row in found} == {1}


def test_a_summary_without_any_cost_has_no_share_rather_than_an_error(writer: Writer, reader: Reader) -> None:
    store_hours(writer, [{"cost_pico": 0, "unpriced_calls": 1}])
    (row,) = rows(reader, "SELECT * FROM feature_cost_summary")
    assert (row["cost_share"], row["avg_cost_usd"]) == (None, None)


def test_summaries_hold_today_and_the_29_days_before_it_and_nothing_older(writer: Writer, reader: Reader) -> None:
    first = this_hour().replace(hour=0) - timedelta(days=29)
    state = [{"hour": first, "calls": 1}, {"hour": first - timedelta(hours=1), "calls": 10}]
    store_hours(writer, state)
    assert [row["calls"] for row in rows(reader, "SELECT * FROM feature_cost_summary")] == [1]


def test_the_monitor_shows_this_hour_first_and_nothing_older_than_24_hours(writer: Writer, reader: Reader) -> None:
    hours = [this_hour() - timedelta(hours=back) for back in range(30)]
    store_hours(writer, [{"hour": hour, "calls": 2, "cost_pico": 1, "unpriced_calls": 1} for hour in hours])
    found = rows(reader, "SELECT * FROM realtime_cost_monitor")
    # Between writing and reading the clock may strike: then a new hour has begun and one has fallen out.
    assert [row["hour"] for row in found] in (hours[:24], hours[:23])
    assert found[0]["cumulative_cost_usd"] == sum((row["cost_usd"] for row in found), Decimal())
    assert {row["unpriced_calls"] for row in found} == {1}


def test_the_cost_by_hour_is_newest_first(writer: Writer, reader: Reader) -> None:
    hours = [this_hour() - timedelta(hours=back) for back in range(3)]
    state = [{"hour": hour, "feature": name, "cost_pico": 1} for hour in hours for name in "ab"]
    store_hours(writer, state)
    found = rows(reader, "SELECT * FROM hourly_cost")
    assert [row["hour"] for row in found] == hours
    assert {(row["calls"], row["cost_usd"]) for row in found} == {(2, Decimal("0.000000000002"))}


def test_failure_rates_and_durations_divide_by_what_they_are_about(writer: Writer, reader: Reader) -> None:
    spread = [{"source_partition": p, "calls": 50, "errors": e} for p, e in ((0, 2), (1, 3))]
    timed = {"duration_ms": 100, "duration_calls": 8}  # the other calls said nothing about their duration
    store_hours(writer, [spread[0] | timed, spread[1]])
    for view in ("model_performance_comparison", "feature_performance_summary"):
        (row,) = rows(reader, f"SELECT * FROM {view}")
        assert (row["calls"], row["errors"], row["failure_rate"]) == (100, 5, Decimal("0.05"))
        assert row["avg_duration_ms"] == Decimal("12.5")


def test_per_model_calls_and_tokens_by_hour_and_cost_by_day_are_exact_sums(writer: Writer, reader: Reader) -> None:
    start = this_hour().replace(hour=0) - timedelta(days=1)
    state = [
        {"hour": start + timedelta(hours=h), "model": model, "feature": feature, "cost_pico": h * 7 + 1}
        for h in range(24)
        for model in ("m1", "m2")
        for feature in ("f1", "f2")
    ]
    store_hours(writer, state)
    tokens = rows(reader, "SELECT * FROM hourly_calls_tokens_by_model")
    assert len(tokens) == 48
    assert {(row["calls"], row["input_tokens"], row["output_tokens"]) for row in tokens} == {(2, 200, 20)}
    day_cost = Decimal(2 * sum(h * 7 + 1 for h in range(24))).scaleb(-12)
    for view in ("daily_cost_by_model", "daily_cost_by_provider"):
        assert {row["cost_usd"] for row in rows(reader, f"SELECT * FROM {view}")} <= {day_cost, 2 * day_cost}
    assert [row["model"] for row in rows(reader, "SELECT * FROM daily_cost_by_model")] == ["m1", "m2"]
    by_hour = sum((row["cost_usd"] for row in tokens if row["model"] == "m1"), Decimal())
    assert by_hour == day_cost


def test_a_month_is_the_sum_of_its_days_and_a_day_of_its_hours(writer: Writer, reader: Reader) -> None:
    hours = [this_hour() - timedelta(hours=7 * back) for back in range(250)]  # ten weeks and more
    amounts = {hour: 10**15 + 3**index % 1_000_003 for index, hour in enumerate(hours)}
    store_hours(writer, [{"hour": hour, "cost_pico": pico} for hour, pico in amounts.items()])
    for view, column, period in (
        ("daily_cost", "day", lambda hour: hour.date()),
        ("weekly_cost", "week", lambda hour: hour.date() - timedelta(days=hour.weekday())),
        ("monthly_cost", "month", lambda hour: hour.date().replace(day=1)),
    ):
        found = {row[column]: row["cost_usd"] for row in rows(reader, f"SELECT * FROM {view}")}
        expected: dict[Any, int] = {}
        for hour, pico in amounts.items():
            expected[period(hour)] = expected.get(period(hour), 0) + pico
        assert found == {key: Decimal(pico).scaleb(-12) for key, pico in expected.items()}


COMPARED = "calls, cost_usd, unpriced_calls, previous_calls, previous_cost_usd, difference_usd, change_percent"


def test_a_month_is_held_against_the_one_before_it_and_what_is_not_known_is_not_made_up(
    writer: Writer, reader: Reader
) -> None:
    """Worked out by hand, in cents. A feature that ended is there with nothing, one that is new has no percentage; the
    first month has none before it, and a month without a price has no cost to compare."""
    this = this_hour().replace(day=1, hour=12)
    last = (this - timedelta(days=1)).replace(day=1)
    first = (last - timedelta(days=1)).replace(day=1)
    no_price = {"unpriced_calls": 1, "cost_pico": 0}
    hours: list[dict[str, Any]] = [
        {"hour": first, "feature": "f", "cost_pico": 10 * CENT},
        {"hour": first + timedelta(days=9), "feature": "g", "model": "m2", "cost_pico": 5 * CENT},
        {"hour": last, "feature": "f", "cost_pico": 7 * CENT},
        {"hour": last + timedelta(days=20), "feature": "f", "cost_pico": 8 * CENT},
        {"hour": last, "feature": "h", "model": "m2", "cost_pico": 4 * CENT},
        {"hour": this, "feature": "f", "cost_pico": 15 * CENT},
        {"hour": this, "feature": "f", "model": "m3", **no_price},
        {"hour": this, "feature": "h", "model": "m3", **no_price},
    ]
    store_hours(writer, hours)

    def told(view: str, *names: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        columns = ", ".join(("month", *names))
        found = reader.frame(f"SELECT {columns}, {COMPARED} FROM {view}").rows()
        count = 1 + len(names)
        months = {this.date(): "this", last.date(): "last", first.date(): "first"}
        cents = {row[:count]: row[count:] for row in found}
        assert len(cents) == len(found)
        return {(months[key[0]], *key[1:]): _in_cents(row) for key, row in cents.items()}

    nothing = (None, None, None, None)
    assert told("month_over_month") == {
        ("this",): (3, 15, 2, 3, 19, -4, Decimal("-21.052631578947")),
        ("last",): (3, 19, 0, 2, 15, 4, Decimal("26.666666666666")),
        ("first",): (2, 15, 0, *nothing),
    }
    assert told("month_over_month_by_feature", "feature") == {
        ("this", "f"): (2, 15, 1, 2, 15, 0, 0),
        ("this", "h"): (1, None, 1, 1, 4, None, None),
        ("last", "f"): (2, 15, 0, 1, 10, 5, 50),
        ("last", "g"): (0, 0, 0, 1, 5, -5, -100),
        ("last", "h"): (1, 4, 0, 0, 0, 4, None),
        ("first", "f"): (1, 10, 0, *nothing),
        ("first", "g"): (1, 5, 0, *nothing),
    }
    by_model = told("month_over_month_by_model", "provider", "model")
    assert by_model["this", "openai", "m2"] == (0, 0, 0, 1, 4, -4, -100)
    assert by_model["this", "openai", "m3"] == (2, None, 2, 0, 0, None, None)
    assert by_model["last", "openai", "m2"] == (1, 4, 0, 1, 5, -1, -20)


def _in_cents(row: tuple[Any, ...]) -> tuple[Any, ...]:
    calls, cost, unpriced, calls_before, before, difference, percent = row
    money = [None if usd is None else usd * 100 for usd in (cost, before, difference)]
    return calls, money[0], unpriced, calls_before, money[1], money[2], percent


def test_a_month_that_is_no_longer_kept_whole_is_not_compared_with(writer: Writer, reader: Reader) -> None:
    """Days are kept for a year, so the month of the oldest one has lost some; unless that is its first day."""
    oldest = this_hour() - timedelta(days=364)
    month = (oldest.replace(day=1) + timedelta(days=32)).replace(day=1)
    store_hours(
        writer,
        [{"hour": oldest - timedelta(days=40)}, *({"hour": hour, "cost_pico": CENT} for hour in (oldest, month))],
    )
    found = reader.frame("SELECT month, cost_usd, previous_cost_usd FROM month_over_month ORDER BY month").rows()
    kept_whole = oldest.day == 1
    assert (month.date(), Decimal("0.01"), Decimal("0.01") if kept_whole else None) in found


def test_one_users_spending_is_a_row_per_model_dearest_first_within_the_period(writer: Writer, reader: Reader) -> None:
    mine = [{"request_id": f"r-{i}", "user_id": "u-1", "model": f"m{i % 3}", "cost_pico": i} for i in range(9)]
    other = [
        {"request_id": "unknown", "user_id": "u-1", "model": "m2", "cost_pico": None, "cost_status": "unpriced"},
        {"request_id": "theirs", "user_id": "u-2", "cost_pico": 99},
        {"request_id": "old", "user_id": "u-1", "occurred_at": this_hour() - timedelta(hours=26)},
    ]
    writer.insert("usage_events", events(mine + other))
    found = rows(reader, "SELECT * FROM user_cost_summary(user_id = 'u-1', period_hours = 24)")
    assert [row["model"] for row in found] == ["m2", "m1", "m0"]
    assert (found[0]["calls"], found[0]["unpriced_calls"]) == (4, 1)
    assert found[0]["cost_usd"] == Decimal(2 + 5 + 8).scaleb(-12)
    assert (found[0]["input_tokens"], found[0]["output_tokens"]) == (400, 40)
    assert rows(reader, "SELECT * FROM user_cost_summary(user_id = 'nobody', period_hours = 24)") == []


def test_the_ten_dearest_users_of_this_month_are_told_and_nobody_without_a_name(writer: Writer, reader: Reader) -> None:
    today = this_hour().date()
    spent = [{"user_id": f"u-{number:02}", "cost_pico": number * CENT, "day": today} for number in range(12)]
    spent += [{"user_id": "", "cost_pico": 999 * CENT, "day": today}]
    spent += [{"user_id": "u-00", "cost_pico": 999 * CENT, "day": today.replace(day=1) - timedelta(days=1)}]
    spent += [{"user_id": "unknown", "cost_pico": 0, "unpriced_calls": 1, "day": today}]
    writer.insert("usage_user_daily", user_daily(spent))
    found = rows(reader, "SELECT * FROM top_users")
    assert [row["user_id"] for row in found] == [f"u-{number:02}" for number in range(11, 1, -1)]
    assert (found[0]["cost_usd"], found[0]["calls"], found[0]["unpriced_calls"]) == (Decimal("0.11"), 1, 0)


def threshold(reader: Reader, amount: str) -> dict[str, Any]:
    (row,) = rows(reader, f"SELECT * FROM check_cost_threshold(threshold = {amount})")
    return row


def test_more_than_an_amount_is_too_much_and_exactly_so_much_is_not(writer: Writer, reader: Reader) -> None:
    now = this_hour()
    before = now.replace(day=1, hour=0) - timedelta(hours=1)
    spent = {"hour": now, "feature": "a", "calls": 3, "unpriced_calls": 1, "cost_pico": 52_345 * CENT}
    store_hours(writer, [spent, {"hour": before, "cost_pico": 10**6 * CENT}])
    over = threshold(reader, "500")
    assert (over["cost_usd"], over["threshold"], over["ratio"], over["is_exceeded"]) == (
        *(Decimal("523.45"), Decimal(500), Decimal("1.0469")),
        1,
    )
    assert (over["month"], over["calls"], over["unpriced_calls"]) == (now.date().replace(day=1), 3, 1)
    assert [threshold(reader, amount)["is_exceeded"] for amount in ("523.45", "523.449999999999", "0")] == [0, 1, 1]
    assert threshold(reader, "0")["ratio"] is None
    assert threshold(reader, "523.46")["ratio"] == Decimal("0.9999"), "never rounded up"


def test_what_is_not_known_is_neither_above_an_amount_nor_below_it(writer: Writer, reader: Reader) -> None:
    nothing = threshold(reader, "1")
    assert (nothing["cost_usd"], nothing["ratio"], nothing["is_exceeded"], nothing["calls"]) == (0, 0, 0, 0)
    store_hours(writer, [{"hour": this_hour(), "calls": 2, "unpriced_calls": 2, "cost_pico": 0}])
    unknown = threshold(reader, "1")
    assert (unknown["cost_usd"], unknown["ratio"], unknown["is_exceeded"]) == (None, None, None)
    assert unknown["unpriced_calls"] == 2


def test_a_span_is_held_against_an_amount_in_its_own_currency(writer: Writer, reader: Reader) -> None:
    day = this_hour().replace(hour=0)
    store_hours(
        writer, [{"hour": day, "cost_pico": 300 * CENT}, {"hour": day - timedelta(hours=1), "cost_pico": 9 * CENT}]
    )
    span = f"from = '{day.date()}', to = '{day.date() + timedelta(days=1)}', zone = 'UTC'"

    def asked(amount: str, currency: str) -> tuple[Any, ...]:
        view = f"check_cost_threshold_between(threshold = {amount}, {span}, currency = '{currency}')"
        (row,) = rows(reader, f"SELECT * FROM {view}")
        return row["cost_usd"], row["cost"], row["currency"], row["ratio"], row["is_exceeded"]

    assert asked("3", "USD") == (3, 3, "USD", 1, 0)
    (_, in_euro, *_) = asked("1", "EUR")
    assert in_euro not in (None, 3)
    assert asked(f"{in_euro}", "EUR")[-2:] == (1, 0)
    assert asked(f"{in_euro - Decimal('0.000000000001')}", "EUR")[-1] == 1


def test_calls_without_a_price_and_with_a_part_of_one_are_listed_with_the_reason(
    writer: Writer, reader: Reader
) -> None:
    unknown = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "no price for model 'x'", "model": "x"}
    partial = {"cost_pico": 5, "cost_status": "partial", "cost_reason": "no price for images"}
    known = {"request_id": "known"}
    writer.insert("usage_events", events([unknown | {"request_id": f"r-{i}"} for i in range(3)] + [partial, known]))
    (row,) = rows(reader, "SELECT * FROM unknown_cost_calls")
    assert (row["model"], row["cost_reason"], row["calls"], row["tokens"]) == ("x", "no price for model 'x'", 3, 330)
    (row,) = rows(reader, "SELECT * FROM partial_cost_calls")
    assert (row["cost_reason"], row["calls"], row["cost_usd"]) == ("no price for images", 1, Decimal("0.000000000005"))


def test_reported_costs_stand_beside_those_that_count_and_unknown_ones_are_left_out(
    writer: Writer, reader: Reader
) -> None:
    calls: list[dict[str, Any]] = [
        {"cost_pico": 4, "reported_cost_pico": 5},
        {"cost_pico": 7, "reported_cost_pico": 7},
        {"cost_pico": None, "cost_status": "unpriced", "reported_cost_pico": 100},
        {"cost_pico": 1_000},
        {"cost_pico": None, "cost_status": "unpriced", "reported_cost_pico": 9, "model": "other"},
    ]
    writer.insert("usage_events", events([call | {"request_id": f"r-{n}"} for n, call in enumerate(calls)]))
    one, other = rows(reader, "SELECT * FROM reported_costs")
    assert (one["calls"], one["differing_calls"], one["unpriced_calls"]) == (3, 1, 1)
    pico = Decimal("1e-12")
    assert (one["reported_cost_usd"], one["cost_usd"], one["difference_usd"]) == (12 * pico, 11 * pico, pico)
    assert (other["model"], other["calls"], other["unpriced_calls"]) == ("other", 1, 1)
    assert (other["reported_cost_usd"], other["cost_usd"], other["difference_usd"]) == (None, None, None)


def test_events_that_clients_dropped_are_summed_from_their_own_reports(writer: Writer, reader: Reader) -> None:
    report = {"provider": "costream", "model": "dropped-events", "feature": "checkout", "unpriced_calls": 1}
    state = [
        report | {"source_partition": p, "quantities": {"dropped_events": Decimal(n)}} for p, n in ((0, 40), (1, 2))
    ]
    store_hours(writer, [*state, {}])
    writer.insert("usage_hourly_units", units(state))
    (row,) = rows(reader, "SELECT * FROM dropped_events")
    assert (row["feature"], row["reports"], row["dropped_events"]) == ("checkout", 2, 42)


def test_no_view_holds_money_or_anything_else_as_a_float(reader: Reader) -> None:
    floats = reader.frame(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() AND type LIKE '%Float%'"
    )
    assert floats.rows() == []


def test_every_view_with_a_cost_shows_the_unpriced_calls_beside_it(reader: Reader) -> None:
    columns = reader.frame(
        "SELECT table, groupArray(name) AS names FROM system.columns WHERE database = currentDatabase() AND table IN "
        "(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View') GROUP BY table"
    )
    about_single_calls = {"partial_cost_calls", "usage_events"}  # priced in part by definition; says so of each call
    bare = [
        table
        for table, names in columns.rows()
        if any(name == "cost_usd" for name in names) and "unpriced_calls" not in names
    ]
    assert columns.height > 10
    assert set(bare) == about_single_calls


# --- reading a small part --------------------------------------------------------------------------------------------


@pytest.fixture
def ninety_days(writer: Writer) -> None:
    hours = [this_hour() - timedelta(hours=back) for back in range(89 * 24)]
    names = [f"r-{back}-{i}" for back in range(len(hours)) for i in range(20)]
    frame = events([{}]).drop("request_id", "occurred_at")
    many = pl.DataFrame({"request_id": names, "occurred_at": [hour for hour in hours for _ in range(20)]})
    moment = pl.col("occurred_at").cast(pl.Datetime("ms", "UTC"))
    writer.insert("usage_events", many.with_columns(moment).join(frame, how="cross"))
    store_hours(writer, [{"hour": hour} for hour in hours])


@pytest.mark.usefixtures("ninety_days")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(cost_usd) FROM usage_events WHERE occurred_at >= now('UTC') - INTERVAL 24 HOUR",
        "SELECT * FROM user_cost_summary(user_id = 'u-1', period_hours = 24)",
        "SELECT * FROM realtime_cost_monitor",
        "SELECT sum(cost_usd) FROM usage_hourly WHERE hour >= now('UTC') - INTERVAL 24 HOUR",
    ],
)
def test_the_last_24_hours_of_90_days_read_a_small_part_by_the_sort_key(reader: Reader, sql: str) -> None:
    plan = reader.frame(f"EXPLAIN indexes = 1 {sql}")["explain"].to_list()
    assert any("PrimaryKey" in line for line in plan)
    read, total = parts(plan)  # one a month: 90 days lie in four or three of them, and 24 hours in two at most
    assert read <= 2 < total, "\n".join(plan)


@pytest.mark.usefixtures("ninety_days")
@pytest.mark.parametrize("column", ["request_id", "session_id"])
def test_one_call_and_the_calls_of_a_session_are_found_without_reading_all(
    reader: Reader, writer: Writer, column: str
) -> None:
    writer.insert("usage_events", events([{"request_id": "the-one", "session_id": "the-one"}]))
    sql = f"SELECT request_id FROM usage_events WHERE {column} = 'the-one'"
    plan = reader.frame(f"EXPLAIN indexes = 1 {sql}")["explain"].to_list()
    assert any(f"by_{column}" in line for line in plan), "\n".join(plan)
    read, total = parts(plan)
    assert read <= 2 < total, "\n".join(plan)
    assert reader.frame(sql)["request_id"].to_list() == ["the-one"]


def parts(plan: list[str]) -> tuple[int, int]:
    """Parts left after the last index, and parts before the first."""
    counts = [line.split("Parts:")[1].split("/") for line in plan if "Parts:" in line and "/" in line]
    return int(counts[-1][0]), int(counts[0][1])


def test_the_newest_hour_includes_what_was_stored_a_moment_ago(address: ClickHouseAddress, writer: Writer) -> None:
    store_hours(writer, [{"calls": 7}])
    client = open_client(address)
    newest: datetime = client.query("SELECT max(hour) FROM realtime_cost_monitor").result_rows[0][0]
    client.close()
    assert newest.replace(tzinfo=this_hour().tzinfo) == this_hour()
