"""Figures of a few calls against what was worked out by hand, on the engine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseRefused
from sinks.figures import calls as single
from sinks.figures import people, pulse, system
from sinks.figures.outlook import outlook
from sinks.figures.spans import BadQuestion, Span
from sinks.figures.spend import LINES_MAX, REST, Asked, over_time, spend, total
from tests.support.figures import CALLS, EVE, HOSTILE, NOON, call, publish_won
from tests.support.warehouse_rows import store_calls

DAY = Span(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
BOTH = Span(EVE - timedelta(hours=12), NOON + timedelta(hours=12))


@pytest.fixture(autouse=True)
def stored(writer: Writer) -> None:
    store_calls(writer, CALLS)


def told(reader: Reader, asked: Asked, *columns: str, limit: int = 100) -> list[tuple[Any, ...]]:
    return spend(reader, asked, limit=limit).select(*columns).rows()


def test_a_day_as_it_was_worked_out_by_hand(reader: Reader) -> None:
    row = total(reader, Asked(DAY)).row(0, named=True)
    assert (row["calls"], row["errors"], row["unpriced_calls"], row["partial_calls"]) == (6, 1, 1, 0)
    assert row["cost_usd"] == row["cost"] == Decimal(8)
    assert (row["input_tokens"], row["output_tokens"]) == (600, 60)


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("feature", [("search", Decimal(4), 2, 0), ("chat", Decimal("3.5"), 3, 1), (HOSTILE, Decimal("0.5"), 1, 0)]),
        ("provider", [("openai", Decimal("5.5"), 5, 1), ("anthropic", Decimal("2.5"), 1, 0)]),
        (
            "model",
            [("gpt-4o", Decimal("5.5"), 4, 0), ("claude-sonnet-4-5", Decimal("2.5"), 1, 0), ("aurora", None, 1, 1)],
        ),
        (
            "user_id",
            [
                *[("", Decimal(4), 1, 0), ("bob", Decimal("2.5"), 2, 1), ("ann", Decimal(1), 1, 0)],
                *[(HOSTILE, Decimal("0.5"), 1, 0), ("cy", Decimal(0), 1, 0)],
            ],
        ),
        ("status", [("ok", Decimal(8), 5, 1), ("error", Decimal(0), 1, 0)]),
    ],
)
def test_spending_by_a_column(reader: Reader, by: str, rows: Sequence[tuple[Any, ...]]) -> None:
    assert told(reader, Asked(DAY, by=(by,)), by, "cost_usd", "calls", "unpriced_calls") == list(rows)


def test_a_group_by_any_three_sums_to_the_total(reader: Reader) -> None:
    whole = total(reader, Asked(BOTH)).row(0, named=True)
    for by in (("provider", "model", "feature"), ("feature", "user_id", "status"), ("model", "session_id", "team")):
        rows = spend(reader, Asked(BOTH, by=by), limit=100)
        assert rows["calls"].sum() == whole["calls"] == len(CALLS)
        assert rows["cost_usd"].sum() == whole["cost_usd"] == Decimal("8.5")
        assert rows["unpriced_calls"].sum() == whole["unpriced_calls"] == 1


def test_shares_are_of_everything_that_was_asked_about_though_few_rows_are_told(reader: Reader) -> None:
    rows = told(reader, Asked(DAY, by=("feature",)), "feature", "cost_share", limit=1)
    assert rows == [("search", Decimal("0.5"))]
    assert spend(reader, Asked(DAY, by=("feature",)), limit=1, offset=2)["feature"].to_list() == [HOSTILE]


def test_only_calls_with_these_values_count(reader: Reader) -> None:
    of_chat = Asked(BOTH, {"feature": ["chat"]}, ("user_id",))
    assert told(reader, of_chat, "user_id", "calls") == [("bob", 2), ("ann", 1), ("cy", 1)]
    assert total(reader, Asked(BOTH, {"feature": [HOSTILE], "user_id": [HOSTILE]}))["calls"].item() == 1
    assert total(reader, Asked(BOTH, {"user_id": ["cy", "ann"]}))["cost_usd"].item() == Decimal("1.5")
    assert total(reader, Asked(BOTH, {"feature": ["nothing"]})).row(0, named=True)["cost_usd"] is None


def test_hours_and_days_sum_to_the_total(reader: Reader) -> None:
    hours = over_time(reader, Asked(BOTH, by=("model",)), step="hour")
    days = over_time(reader, Asked(BOTH), step="day")
    assert hours["cost_usd"].sum() == days["cost_usd"].sum() == Decimal("8.5")
    assert [(row["time"], row["calls"]) for row in days.iter_rows(named=True)] == [
        (EVE.replace(hour=0), 2),
        (NOON.replace(hour=0), 6),
    ]
    assert set(hours["name"]) == {"gpt-4o", "claude-sonnet-4-5", "aurora"}
    assert hours.filter(hours["name"] == "aurora").row(0, named=True)["cost_usd"] is None


def test_a_day_of_a_zone_begins_by_its_clocks(reader: Reader) -> None:
    """At noon it is 21:00 in Seoul; what came at 17:00 UTC is of the day after."""
    span = Span(EVE - timedelta(hours=21), NOON + timedelta(hours=27), zone="Asia/Seoul")
    days = over_time(reader, Asked(span), step="day")
    assert days["time"].to_list() == [at - timedelta(hours=21) for at in (EVE, NOON, NOON + timedelta(days=1))]
    assert days["calls"].to_list() == [2, 5, 1]


def test_more_lines_than_can_be_told_apart_are_one(reader: Reader, writer: Writer) -> None:
    later = NOON + timedelta(hours=8)
    many = [call(f"m{number}", later, number + 1_000, model=f"model-{number:02}") for number in range(LINES_MAX + 2)]
    store_calls(writer, many)
    rows = over_time(reader, Asked(Span(later, later + timedelta(hours=1)), by=("model",)), step="hour")
    assert len(rows) == LINES_MAX + 1
    assert rows.filter(rows["name"] == REST)["calls"].to_list() == [2]
    assert rows["calls"].sum() == len(many)


def test_money_in_another_currency_goes_by_the_rate_of_its_day_and_is_unknown_before_there_was_one(
    reader: Reader, writer: Writer
) -> None:
    in_won = Span(DAY.since, DAY.until, currency="KRW")
    with pytest.raises(WarehouseRefused, match="there is no exchange rate of 'KRW'"):
        total(reader, Asked(in_won))
    publish_won(reader, writer)
    assert total(reader, Asked(in_won))["cost"].item() == Decimal(11_200)
    assert told(reader, Asked(in_won, by=("user_id",)), "user_id", "cost")[1] == ("bob", Decimal(3_500))
    both = total(reader, Asked(Span(BOTH.since, BOTH.until, currency="KRW"))).row(0, named=True)
    assert (both["cost_usd"], both["cost"]) == (Decimal("8.5"), None)
    assert told(reader, Asked(in_won, by=("status",)), "status", "cost") == [
        ("ok", Decimal(11_200)),
        ("error", Decimal(0)),
    ]
    newest = single.calls(reader, Asked(in_won), limit=1)
    assert newest.select("request_id", "cost_usd", "cost").rows() == [("n6", Decimal("0.5"), Decimal(700))]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"by": ("cost_usd",)}, "by: 'cost_usd' is none of provider, model"),
        ({"by": ("feature) --",)}, "by: 'feature) --' is none of"),
        ({"only": {"metadata": ["x"]}}, "'metadata' is none of"),
        ({"by": ("feature", "feature")}, "each once"),
        ({"by": ("provider", "model", "feature", "team", "environment")}, "at most 4 columns"),
        ({"only": {"feature": ["x"] * 201}}, "feature: 201 values; 1 to 200 may be named"),
        ({"only": {"feature": []}}, "feature: 0 values"),
    ],
)
def test_a_question_that_cannot_be_meant_reaches_no_engine(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BadQuestion) as refused:
        Asked(DAY, **asked)
    assert says in str(refused.value)


def test_a_sum_of_calls_of_which_some_may_have_expired_is_refused(reader: Reader) -> None:
    """Of hours and days it is told: those are kept for a year."""
    long_ago = Span(NOON - timedelta(days=120), NOON + timedelta(hours=12))
    with pytest.raises(WarehouseRefused, match="those from before raw_kept_since may have expired"):
        spend(reader, Asked(long_ago, by=("session_id",)), limit=1)
    assert told(reader, Asked(Span(EVE - timedelta(days=60), DAY.until), by=("session_id",)), "calls") == [(8,)]


@pytest.mark.parametrize("by", [("user_id",), ("model", "feature")])
def test_users_and_mixes_have_no_line_over_time(reader: Reader, by: tuple[str, ...]) -> None:
    with pytest.raises(BadQuestion, match="over time, one of provider"):
        over_time(reader, Asked(DAY, by=by), step="day")


def test_the_last_hours_of_a_user_have_a_row_for_each_model(reader: Reader, writer: Writer) -> None:
    now = datetime.now(UTC)
    lately = now - timedelta(minutes=10)
    store_calls(
        writer,
        [
            call("u1", lately, 3, user_id="dee"),
            call("u2", lately, 9, user_id="dee", model="claude-sonnet-4-5", provider="anthropic"),
            call("u3", lately, None, user_id="dee", model="aurora"),
            call("u4", lately - timedelta(hours=30), 99, user_id="dee"),
        ],
    )
    rows = people.user_cost_summary(reader, user_id="dee", period_hours=24)
    assert rows.select("model", "total_calls", "total_cost", "unpriced_calls").rows() == [
        ("claude-sonnet-4-5", 1, Decimal("0.09"), 0),
        ("gpt-4o", 1, Decimal("0.03"), 0),
        ("aurora", 1, None, 1),
    ]
    assert people.user_cost_summary(reader, user_id="nobody", period_hours=24).is_empty()
    assert people.user_cost_summary(reader, user_id="' OR 1=1 --", period_hours=24).is_empty()
    for hours in (0, -1, 24 * 367):
        with pytest.raises(BadQuestion, match="period_hours"):
            people.user_cost_summary(reader, user_id="dee", period_hours=hours)


@pytest.mark.parametrize("minutes", [0, 20, 41])
def test_hours_providers_and_tasks_sum_to_the_whole_wherever_the_span_begins(reader: Reader, minutes: int) -> None:
    """It begins within the hour in which three calls are; of them those that come after its beginning count."""
    now = NOON + timedelta(minutes=minutes, hours=8)
    found = system.system_metrics(reader, period_hours=8, now=now)
    counted = [each for each in CALLS if now - timedelta(hours=8) <= each["occurred_at"] < now]
    cost = sum((Decimal(each["cost_pico"] or 0).scaleb(-12) for each in counted), Decimal(0))
    assert (found["total_calls"], found["total_cost"]) == (len(counted), cost)
    assert (found["start_time"], found["end_time"]) == (now - timedelta(hours=8), now)
    for name in ("hourly_costs", "provider_costs", "task_costs"):
        assert sum(row["total_calls"] for row in found[name]) == len(counted)
        assert sum((row["total_cost"] or Decimal(0) for row in found[name]), Decimal(0)) == cost
        assert sum(row["unpriced_calls"] for row in found[name]) == found["unpriced_calls"]
    priced = found["total_calls"] - found["unpriced_calls"]
    assert abs(found["avg_cost_per_call"] * priced - cost) < Decimal("1e-11")


def test_without_a_call_the_cost_is_known_and_its_average_is_not(reader: Reader) -> None:
    found = system.system_metrics(reader, period_hours=1, now=NOON - timedelta(hours=5))
    assert (found["total_calls"], found["total_cost"], found["avg_cost_per_call"]) == (0, Decimal(0), None)
    assert found["hourly_costs"] == found["provider_costs"] == []


def test_calls_are_told_newest_first_a_page_after_another(reader: Reader) -> None:
    ids = []
    after = None
    while True:
        rows = single.calls(reader, Asked(BOTH), limit=3, after=after)
        if rows.is_empty():
            break
        ids += rows["request_id"].to_list()
        last = rows.row(-1, named=True)
        after = single.Place.of(single.Place(last["occurred_at"], last["request_id"]).text())
    assert ids == ["n6", "n5", "n4", "n3", "n2", "n1", "e2", "e1"]
    of_bob = single.calls(reader, Asked(BOTH, {"user_id": ["bob"]}), limit=10)
    assert of_bob["request_id"].to_list() == ["n3", "n2"]


@pytest.mark.parametrize("text", ["x", "", "bm90IGpzb24", "WzEsMl0", "WyJhIiwiYiJd", "WzFlOTksImEiXQ"])
def test_a_place_that_no_answer_gave_is_refused(text: str) -> None:
    with pytest.raises(BadQuestion, match="after: it is not what an earlier answer gave"):
        single.Place.of(text)


def test_the_values_of_a_column_the_dearest_first(reader: Reader) -> None:
    assert single.values(reader, DAY, "feature") == ["search", "chat", HOSTILE]
    assert single.values(reader, DAY, "user_id") == ["", "bob", "ann", HOSTILE, "cy"]
    with pytest.raises(BadQuestion):
        single.values(reader, DAY, "metadata")


def test_months_stand_beside_the_one_before(reader: Reader) -> None:
    whole = system.months(reader, by="", limit=10)
    assert whole["calls"].sum() == len(CALLS)
    assert set(system.months(reader, by="feature", limit=10)["feature"]) == {"chat", "search", HOSTILE}


def test_a_forecast_is_told_from_hours_alone(reader: Reader) -> None:
    found = outlook(reader, only={"feature": ["chat"]}, now=NOON + timedelta(hours=6), clocks=UTC)
    assert (found.calls, found.unpriced_calls) == (4, 1)
    day = next(one for one in found.outlooks if one.period == "day")
    assert day.so_far == Decimal("3.5")
    with pytest.raises(BadQuestion, match="user_id: a forecast is told from hours"):
        outlook(reader, only={"user_id": ["bob"]}, now=NOON, clocks=UTC)


def test_the_pulse_is_another_one_when_records_were_stored(reader: Reader, writer: Writer) -> None:
    before = pulse.pulse(reader)
    assert pulse.pulse(reader) == before
    block = {"source": "t", "source_partition": 0, "offset_block": 0, "offset_first": 0, "received": 1, "stored": 1}
    writer.insert("ingest_ledger", pl.DataFrame([block]))
    assert pulse.pulse(reader) != before
