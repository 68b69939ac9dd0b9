"""Every panel's question, as its data source sends it, on the engine, with a reader's password. No Grafana runs here.

The figures are those of a dozen calls that stand below, added up by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import pytest

from sinks.clickhouse import forecast_rows
from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.connect import open_client
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.dashboards.__main__ import main
from sinks.dashboards.explore import BY
from sinks.dashboards.panels import STEPS_REF
from sinks.dashboards.queries import SUMS
from tests.producers.test_alert import alert
from tests.support.databases import migrated
from tests.support.grafana import ROOT, Question, View, boards, expand, other_questions, questions
from tests.support.warehouse import Endpoint
from tests.support.warehouse_rows import hourly, store_calls, this_hour

WRITE, READ = "write-me", "read-me"
CENT: Final = 10_000_000_000  # in 1e-12 USD
SQL: Final = [each for each in questions() if each.sql]

# The board's "now": half past noon on the latest 15th, so that two months and two days lie behind it, all of them kept.
TODAY: Final = this_hour().replace(hour=12)
NOON: Final = (TODAY if TODAY.day > 15 else TODAY.replace(day=1) - timedelta(days=1)).replace(day=15)
END: Final = NOON + timedelta(minutes=30)
MONTH_BEFORE: Final = (NOON.replace(day=1) - timedelta(days=1)).replace(day=15)
YESTERDAY: Final = NOON - timedelta(days=1)
VIEW: Final = View(start=YESTERDAY.replace(hour=0), end=END)
KOLKATA: Final = replace(VIEW, zone="Asia/Kolkata")


def call(name: str, at: datetime, cents: int | None, **changes: Any) -> dict[str, Any]:
    usual = {
        "request_id": name,
        "occurred_at": at,
        "user_id": "u-1",
        "cost_pico": None if cents is None else cents * CENT,
    }
    unpriced = {"cost_status": "unpriced", "cost_reason": "no price known"} if cents is None else {}
    return usual | unpriced | changes


CALLS: Final = [
    call("today", NOON - timedelta(hours=2), 100),
    call("today, dearest", NOON + timedelta(minutes=20), 250, provider="anthropic", model="claude", user_id="u-2"),
    call("today, unpriced", NOON + timedelta(minutes=21), None, model="aurora"),
    call("after the span", NOON + timedelta(minutes=40), 10_000, model="late"),
    call("the day before", YESTERDAY - timedelta(hours=1), 25),
    call("the day before, later than now", YESTERDAY + timedelta(hours=1), 50),
    call("today in Kolkata", YESTERDAY + timedelta(hours=7), 12),
    call("this month", NOON.replace(day=3), 400, user_id="", cost_status="partial", cost_reason="no price for audio"),
    call("the month before", MONTH_BEFORE, 800),
    call("the month before, the next hour", MONTH_BEFORE + timedelta(minutes=65), 1_600),
    call("the month before, its 2nd", MONTH_BEFORE.replace(day=2), 3_200),
]
ALERTS: Final = [
    alert(alert_id="spike", revision=1, timestamp=NOON, current_value="2.00"),
    alert(alert_id="spike", revision=2, status="updated", timestamp=END, current_value="3.50"),
    alert(alert_id="over", status="open", timestamp=YESTERDAY),
    alert(alert_id="over", revision=2, status="cleared", timestamp=YESTERDAY + timedelta(hours=1)),
    alert(alert_id="before the span", timestamp=NOON - timedelta(days=9)),
    alert(
        alert_id="unpriced", rule="unknown_price", metric_name="calls_without_price", title="No price", timestamp=NOON
    ),
    alert(
        alert_id="a model",
        rule="hourly_anomaly",
        metric_name="hourly_cost_anomaly",
        scope="model=aurora",
        timestamp=NOON,
    ),
    alert(alert_id="budget", rule="budget", metric_name="daily_cost", scope="budget=day", timestamp=NOON),
    alert(alert_id="stall", rule="stall", metric_name="stall", scope="pipeline", timestamp=NOON),
]


EXPECTED: Final = "What the month was expected to cost"


def expected(at: datetime, **told: Any) -> dict[str, Any]:
    usual = {
        "scope": "system",
        "period": "month",
        "zone": "UTC",
        "currency": "USD",
        "method": "rhythm",
        "whole_days": 40,
    }
    span = {"period_start": MONTH_BEFORE, "period_end": NOON, "unpriced_calls": 0}
    return usual | span | {"day": at.date(), "made_at": at, "so_far": Decimal(5)} | told


FORECASTS: Final = [
    expected(YESTERDAY),
    expected(NOON, so_far=Decimal(7), expected=Decimal(90), low=Decimal(80), high=Decimal(99)),
    expected(NOON, period="day"),
    expected(NOON, scope="budget=day"),
    expected(NOON - timedelta(hours=1), zone="Asia/Seoul"),
    expected(NOON - timedelta(days=40)),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with Endpoint(tmp_path_factory.mktemp("boards"), write_token=WRITE, read_token=READ) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def reader(endpoint: Endpoint) -> Iterator[Reader]:
    """Who may only read, as Grafana does."""
    with closing(Writer(migrated(endpoint.address()))) as writer:
        store_calls(writer, CALLS)
        writer.insert("alerts", alert_rows(ALERTS))
        writer.insert("forecasts", pl.DataFrame(FORECASTS, schema=forecast_rows.COLUMNS))
        letters = [
            {"source": "t", "source_offset": number, "received_at": NOON, "kind": kind, "reason": f"{kind}: no"}
            for number, kind in enumerate(("invalid", "invalid", "malformed"))
        ]
        writer.insert("dead_letters", pl.DataFrame(letters).cast({"received_at": pl.Datetime("ms", "UTC")}))
        blocks = [
            {"source_partition": partition, "received": 10, "stored": 6, "duplicates": 2, "dead_lettered": 1}
            for partition in (0, 1)
        ]
        ledger = [row | {"source": "t", "offset_block": 0, "offset_first": 0, "forwarded": 1} for row in blocks]
        writer.insert("ingest_ledger", pl.DataFrame(ledger))
        gone = {"source": "t", "source_partition": 3, "offset_first": 5, "offset_last": 9, "noticed_at": NOON}
        writer.insert("vanished_records", pl.DataFrame([gone]).cast({"noticed_at": pl.Datetime("ms", "UTC")}))
        drops = {"hour": NOON, "provider": "costream", "model": "dropped-events", "feature": "chatbot", "cost_pico": 0}
        writer.insert("usage_hourly", hourly([drops | {"unpriced_calls": 1}]))
        amount = {"unit": "dropped_events", "amount_whole": Decimal(7), "amount_pico": Decimal(0)}
        of_series = {name: value for name, value in drops.items() if name not in ("hour", "cost_pico")}
        units = pl.DataFrame([of_series | amount | {"hour": NOON, "operation": "chat", "source": "t", "version": 1}])
        whole = pl.Decimal(38, 0)
        writer.insert(
            "usage_hourly_units",
            units.cast({"hour": pl.Datetime("ms", "UTC"), "amount_whole": whole, "amount_pico": whole}),
        )
    with closing(Reader(endpoint.address(password=READ))) as reader:
        yield reader


def answer(reader: Reader, title: str, view: View = VIEW, *, ref: str = "A") -> list[dict[str, Any]]:
    (found,) = [each for each in SQL if each.panel["title"] == title and each.target["refId"] == ref]
    return reader.frame(expand(found.sql, view)).to_dicts()


def steps_of(panel: dict[str, Any]) -> list[str]:
    """The columns of which a panel takes its thresholds, in their order, and then the end of its scale."""
    (taken,) = panel["transformations"]
    return [each["fieldName"] for each in taken["options"]["mappings"]]


def usd(text: str) -> Decimal:
    return Decimal(text)


# --- what was spent, and by whom -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "cost", "calls", "unpriced"),
    [
        ("Today", "3.50", 3, 1),
        ("The day before, until the same time", "0.25", 1, 0),
        ("This month", "8.37", 7, 1),
        ("The month before, until the same hour", "40", 2, 0),
    ],
)
def test_a_span_to_date_is_held_against_the_same_span_before(
    reader: Reader, title: str, cost: str, calls: int, unpriced: int
) -> None:
    assert answer(reader, title) == [{"cost": usd(cost), "calls": calls, "unpriced_calls": unpriced}]


def test_a_day_is_one_of_the_boards_time_zone(reader: Reader) -> None:
    assert answer(reader, "Today", KOLKATA) == [{"cost": usd("3.62"), "calls": 4, "unpriced_calls": 1}]
    days = {(row["time"], row["series"]): row["cost"] for row in answer(reader, "Cost by day", KOLKATA)}
    first, second = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (YESTERDAY, NOON))
    east = timedelta(hours=5, minutes=30)
    assert days == {
        (first - east, "gpt-4o-mini"): usd("0.75"),
        (second - east, "gpt-4o-mini"): usd("1.12"),
        (second - east, "claude"): usd("2.50"),
        (second - east, "aurora"): None,
    }


def test_a_span_that_ends_at_midnight_ends_with_the_day_before(reader: Reader) -> None:
    midnight = replace(VIEW, end=NOON.replace(hour=0))
    assert answer(reader, "Today", midnight) == [{"cost": usd("0.87"), "calls": 3, "unpriced_calls": 0}]
    first = replace(VIEW, end=NOON.replace(day=1, hour=0))
    assert answer(reader, "This month", first) == [{"cost": usd("56"), "calls": 3, "unpriced_calls": 0}]
    assert answer(reader, "The month before, until the same hour", first)[0]["calls"] == 0


def test_where_nothing_has_a_price_the_cost_is_unknown_and_the_calls_are_told(reader: Reader) -> None:
    span = View(start=NOON + timedelta(minutes=21), end=NOON + timedelta(minutes=22))
    (row,) = answer(reader, "Who spent it, by ${by}", span)
    assert (row["name"], row["cost"], row["calls"], row["unpriced_calls"]) == ("aurora", None, 1, 1)


def test_cost_by_hour_is_by_what_the_board_names(reader: Reader) -> None:
    by_user_of_models = {(row["time"], row["series"]): row["cost"] for row in answer(reader, "Cost by hour")}
    assert by_user_of_models[NOON, "claude"] == usd("2.50")
    assert by_user_of_models[NOON, "aurora"] is None
    by_provider = replace(VIEW, variables={"by": "provider"})
    assert {row["series"] for row in answer(reader, "Cost by hour", by_provider)} >= {"openai", "anthropic"}
    unpriced = {row["time"]: row["unpriced_calls"] for row in answer(reader, "Cost by hour", ref="B")}
    assert unpriced[NOON - timedelta(hours=2)] == 0
    assert unpriced[NOON] == 2, "the call without a price, and what a client said of its drops"


@pytest.mark.slow
def test_beyond_the_dearest_all_others_are_one_line_and_the_stack_is_the_whole(endpoint: Endpoint) -> None:
    address = endpoint.fresh()
    calls = [call(f"r-{n}", NOON, n, model=f"model-{n:02}") for n in range(1, 26)]
    with closing(Writer(address)) as writer, closing(Reader(address)) as own:
        store_calls(writer, calls)
        for title in ("Cost by hour", "Cost by day"):
            costs = {row["series"]: row["cost"] for row in answer(own, title)}
            assert len(costs) == 21
            assert costs["(all others)"] == usd("0.15"), "1 to 5 cents"
            assert sum(costs.values()) == usd("3.25")


def test_who_spent_it_is_told_by_model_and_by_user_with_the_dearest_first(reader: Reader) -> None:
    models = [(row["name"], row["cost"], row["calls"]) for row in answer(reader, "Who spent it, by ${by}")]
    assert models == [("claude", usd("2.50"), 1), ("gpt-4o-mini", usd("1.87"), 4), ("aurora", None, 1)]
    by_user = replace(VIEW, variables={"by": "user_id"})
    users = [
        (row["name"], row["cost"], row["unpriced_calls"]) for row in answer(reader, "Who spent it, by ${by}", by_user)
    ]
    assert users == [("u-2", usd("2.50"), 0), ("u-1", usd("1.87"), 1)]
    month = replace(by_user, start=NOON.replace(day=1, hour=0))
    assert [row["name"] for row in answer(reader, "Who spent it, by ${by}", month)] == ["", "u-2", "u-1"]


def test_a_month_is_told_beside_the_one_before_it(reader: Reader) -> None:
    """All of both months, whatever the span shows of them: 108.37 and 56 USD."""
    (row,) = answer(reader, "Months by feature")
    assert (row["month"], row["feature"]) == (NOON.date().replace(day=1), "chatbot")
    assert (row["cost_usd"], row["previous_cost_usd"], row["difference_usd"]) == (usd("108.37"), 56, usd("52.37"))
    assert (row["change_percent"], row["unpriced_calls"]) == (usd("93.517857142857"), 1)


# --- in another currency, and what features earn ---------------------------------------------------------------------

WON: Final = f"""
[[exchange_rate]]
currency = "KRW"
per_usd = "1400"
valid_from = {YESTERDAY.date()}
source = "a bank"

[[credit_price]]
price = "0.50"
source = "our price list"

[[feature_credits]]
feature = "chatbot"
credits = "1"
"""


@pytest.fixture(scope="module")
def in_won(endpoint: Endpoint) -> Iterator[Reader]:
    """The same calls, and rates of KRW from yesterday on."""
    address = endpoint.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as own:
        store_calls(writer, CALLS)
        told = {"published_by": "ann", "note": "", "build": "t"}
        PRICES.publish(own, writer, {"won": WON}, new_id=lambda: "p", pause=lambda: None, **told)
        yield own


KRW: Final = replace(VIEW, variables={"currency": "KRW"})


def test_a_board_in_another_currency_goes_by_the_rate_of_each_day_and_is_unknown_without_one(in_won: Reader) -> None:
    assert answer(in_won, "Today", KRW) == [{"cost": usd("4900"), "calls": 3, "unpriced_calls": 1}]
    assert answer(in_won, "This month", KRW) == [{"cost": None, "calls": 7, "unpriced_calls": 1}], "its 3rd has no rate"
    title = "Who spent it, by ${by}"
    assert [row["cost"] for row in answer(in_won, title, KRW)] == [
        None if row["cost"] is None else row["cost"] * 1400 for row in answer(in_won, title)
    ]
    for title in ("Cost by hour", "Cost by day", "Cost by day and provider"):
        won = {(row["time"], row["series"]): row["cost"] for row in answer(in_won, title, KRW)}
        dollars = {(row["time"], row["series"]): row["cost"] for row in answer(in_won, title)}
        assert won == {at: None if cost is None else cost * 1400 for at, cost in dollars.items()}
    month = replace(KRW, start=NOON.replace(day=1, hour=0))
    assert {row["cost"] for row in answer(in_won, "Cost by day", month) if row["time"] < YESTERDAY.replace(hour=0)} == {
        None
    }


def test_what_a_feature_earns_and_costs_is_told(in_won: Reader) -> None:
    (row,) = answer(in_won, "Margin by feature")
    assert (row["feature"], row["revenue"], row["cost"], row["calls"]) == ("chatbot", usd("3"), usd("4.37"), 6)
    assert (row["margin"], row["margin_percent"]) == (usd("-1.37"), usd("-45.666666666666"))
    (won,) = answer(in_won, "Margin by feature", KRW)
    assert (won["revenue"], won["cost"], won["margin"]) == (usd("4200"), usd("6118"), usd("-1918"))
    (panel,) = [each for each in boards()["costream-cost"]["panels"] if each["title"] == "Margin by feature"]
    (looks,) = [o for o in panel["fieldConfig"]["overrides"] if o["matcher"]["options"] == "margin_percent"]
    steps = {each["id"]: each["value"] for each in looks["properties"]}["thresholds"]["steps"]
    assert [(step["value"], step["color"]) for step in steps] == [(None, "red"), (0, "text")]


def test_the_currencies_to_choose_from_are_those_that_a_rate_is_known_of(in_won: Reader) -> None:
    (variable,) = [v for v in boards()["costream-cost"]["templating"]["list"] if v["name"] == "currency"]
    assert variable["current"]["value"] == "USD"
    found = in_won.frame(variable["query"])["currency"].to_list()
    assert found == ["CNY", "EUR", "GBP", "JPY", "KRW", "USD"]


def test_what_a_month_was_expected_to_cost_is_told_day_by_day(reader: Reader) -> None:
    told = [(row["made_at"], row["so_far"], row["expected"], row["high"]) for row in answer(reader, EXPECTED)]
    assert told == [(YESTERDAY, usd("5"), None, None), (NOON, usd("7"), usd("90"), usd("99"))]


def test_what_an_hour_costs_now_is_the_whole_of_the_last_one(reader: Reader) -> None:
    """The calls of 12:20 and 12:21; the one of 10:00 is over, and that of 12:40 is to come."""
    assert answer(reader, "The last 60 minutes") == [{"cost": usd("2.50"), "calls": 2, "unpriced_calls": 1}]


def test_features_and_providers_are_told_with_what_a_priced_call_costs(reader: Reader) -> None:
    features = {row["feature"]: row for row in answer(reader, "Features")}
    found = features["chatbot"]
    assert found["avg_cost"] * (found["calls"] - found["unpriced_calls"]) == found["cost"]
    assert sum(row["cost_share"] or 0 for row in features.values()) == 1
    providers = [(row["provider"], row["cost"]) for row in answer(reader, "Providers")]
    assert providers == [("anthropic", usd("2.50")), ("openai", usd("1.87"))]


def test_models_stand_side_by_side_and_over_time(reader: Reader) -> None:
    models = {row["model"]: row for row in answer(reader, "Models side by side")}
    assert (models["claude"]["cost"], models["claude"]["avg_cost"], models["claude"]["calls"]) == (usd("2.50"),) * 2 + (
        1,
    )
    assert (models["aurora"]["cost"], models["aurora"]["avg_cost"], models["aurora"]["unpriced_calls"]) == (
        None,
        None,
        1,
    )
    calls = {row["series"]: row["calls"] for row in answer(reader, "Calls by hour") if row["time"] == NOON}
    tokens = {
        row["series"]: row["input_tokens"] for row in answer(reader, "Input tokens by hour") if row["time"] == NOON
    }
    assert calls["claude"] == calls["aurora"] == 1
    assert tokens.keys() == calls.keys()
    days = {row["series"]: row["cost_usd"] for row in answer(reader, "Cost by day, in USD") if row["time"] > YESTERDAY}
    assert (days["claude"], days["aurora"]) == (usd("2.50"), None)


# --- is it spiking, what is unpriced ---------------------------------------------------------------------------------


def test_spikes_are_told_in_their_latest_revision_and_those_that_stand_are_counted(reader: Reader) -> None:
    told = [(row["status"], row["current_value"]) for row in answer(reader, "Spikes")]
    assert told == [("updated", usd("3.50")), ("open", usd("4.200000000001")), ("cleared", usd("4.200000000001"))]
    assert answer(reader, "Is it spiking?") == [{"alerts": 3}], "one of them from before the span"
    assert [row["rule"] for row in answer(reader, "Alerts about the pipeline")] == ["stall"]


def test_what_is_unpriced_and_partly_priced_is_told_with_the_reason(reader: Reader) -> None:
    month = replace(VIEW, start=NOON.replace(day=1, hour=0))
    (unpriced,) = answer(reader, "Unpriced, and why", month)
    assert (unpriced["model"], unpriced["cost_reason"], unpriced["calls"]) == ("aurora", "no price known", 1)
    assert unpriced["tokens"] == 110
    assert [row["title"] for row in answer(reader, "Models without a price")] == ["No price"]
    (partial,) = answer(reader, "Partly priced, and why", month)
    assert (partial["cost_reason"], partial["calls"], partial["cost_usd"]) == ("no price for audio", 1, usd("4"))
    (shares,) = answer(reader, "How much is priced?", replace(month, end=END))
    assert shares == pytest.approx({"priced_share": 5 / 7, "partial_share": 1 / 7, "unpriced_share": 1 / 7})


def test_shares_of_no_calls_are_unknown(reader: Reader) -> None:
    quiet = View(start=NOON.replace(day=4), end=NOON.replace(day=5))
    assert set(answer(reader, "How much is priced?", quiet)[0].values()) == {None}


# --- how the pipeline does -------------------------------------------------------------------------------------------


def test_what_was_refused_lost_and_dropped_is_told(reader: Reader) -> None:
    refused = {row["kind"]: row["records"] for row in answer(reader, "Refused records")}
    assert refused == {"invalid": 2, "malformed": 1}
    why = [(row["reason"], row["records"]) for row in answer(reader, "Why they were refused")]
    assert why == [("invalid: no", 2), ("malformed: no", 1)]
    (gone,) = answer(reader, "Records that vanished from Kafka")
    assert (gone["offset_first"], gone["offset_last"], gone["records"]) == (5, 9, 5)
    (dropped,) = answer(reader, "Events that clients dropped")
    assert (dropped["feature"], dropped["reports"], dropped["dropped_events"]) == ("chatbot", 1, 7)
    (ledger,) = answer(reader, "Where the records went")
    assert list(ledger.values()) == ["t", 20, 12, 4, 2, 2]


def test_when_something_was_stored_last_is_told_and_nothing_is_not_told_as_1970(reader: Reader) -> None:
    (row,) = answer(reader, "Last stored")
    stored = datetime.fromtimestamp(row["last_stored_ms"] / 1000, UTC)
    assert timedelta(0) <= datetime.now(UTC) - stored < timedelta(hours=1)
    quiet = View(start=NOON.replace(day=4), end=NOON.replace(day=5))
    assert set(answer(reader, "Last stored", quiet)[0].values()) == {None}


# --- events on graphs, and values of variables -----------------------------------------------------------------------


@pytest.mark.parametrize(("place", "sql"), [*other_questions()], ids=lambda each: each if ": " in each else "")
def test_what_boards_ask_besides_their_panels_is_answered(reader: Reader, place: str, sql: str) -> None:
    columns = reader.frame(expand(sql, VIEW)).columns
    if ": values of " in place:
        assert len(columns) == 1
    else:
        assert columns[0] == "time"
        assert {"title", "text", "tags"} <= set(columns) <= {"time", "timeEnd", "title", "text", "tags"}


def events(reader: Reader, name: str) -> list[tuple[Any, ...]]:
    sql = dict(other_questions())[f"costream-cost: {name}"]
    return [(row["time"], row["title"]) for row in reader.frame(expand(sql, VIEW)).to_dicts()]


def test_graphs_show_when_alerts_were_raised_and_none_of_the_pipeline(reader: Reader) -> None:
    """An alert is told where it began, not again with each of its revisions; the one before the span is not told."""
    raised = events(reader, "Alerts")
    assert [at for at, _ in raised] == [NOON] * 4 + [YESTERDAY]
    assert ("No price", NOON) in {(title, at) for at, title in raised}


def test_graphs_show_when_prices_changed_and_calls_were_priced_anew(in_won: Reader) -> None:
    sql = dict(other_questions())["costream-explore: Price changes"]
    now = datetime.now(UTC)
    lately = View(start=now - timedelta(hours=1), end=now + timedelta(hours=1))
    (change,) = in_won.frame(expand(sql, lately)).to_dicts()
    assert (change["title"], change["text"], change["tags"]) == ("Prices, revision 1", "ann: ", "prices")
    assert events(in_won, "Re-pricings") == []
    with closing(open_client(in_won.address)) as client:
        client.command(
            "INSERT INTO repricings_rows (repricing, begun_at, ended_at, state, begun_by, reason) VALUES "
            f"(7, '{YESTERDAY:%F %T}', '{NOON:%F %T}', 'finished', 'bob', 'a contract')"
        )
    assert events(in_won, "Re-pricings") == [(YESTERDAY, "Re-pricing 7, finished")]


def test_every_board_with_a_cost_shows_the_same_events() -> None:
    shown = {
        name: [event["name"] for event in board["annotations"].get("list", [])] for name, board in boards().items()
    }
    of_costs = ["Alerts", "Price changes", "Re-pricings"]
    assert [shown[f"costream-{name}"] for name in ("cost", "explore", "models", "resources")] == [of_costs] * 4


# --- every panel -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", SQL, ids=str)
@pytest.mark.parametrize("zone", ["utc", "Asia/Kolkata", pytest.param("America/New_York", marks=pytest.mark.slow)])
def test_every_question_runs_and_every_column_of_its_answer_has_a_name_and_a_unit(
    reader: Reader, question: Question, zone: str
) -> None:
    for by in BY if "${by" in question.sql else ["model"]:
        columns = reader.frame(expand(question.sql, replace(VIEW, zone=zone, variables={"by": by}))).columns
        if question.target["refId"] == STEPS_REF:
            assert columns == steps_of(question.panel)
        elif question.target["format"] == 0:  # a series: when, which line, how much
            assert columns[0] == "time"
            assert len(columns) == (3 if question.target["refId"] == "A" else 2)
            assert question.panel["fieldConfig"]["defaults"]["unit"]
        else:
            shown = [each["matcher"]["options"] for each in question.panel["fieldConfig"]["overrides"]]
            assert columns == shown


def test_the_files_are_what_their_code_says(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    assert main(["--check"]) == 0, "`make schemas` writes them"
    assert main(["--write", "--folder", str(tmp_path)]) == 0
    file = tmp_path / "dashboards" / "costream-cost.json"
    file.write_text(file.read_text().replace("Today", "This day"))
    assert main(["--check", "--folder", str(tmp_path)]) == 1
    assert file.name in capsys.readouterr().err


def test_the_board_that_is_imported_by_hand_asks_for_its_data_source_and_names_no_other() -> None:
    made = json.loads((ROOT / "deploy/grafana/cost-dashboard.json").read_text())
    (wanted,) = made["__inputs"]
    assert (wanted["type"], wanted["pluginId"]) == ("datasource", "grafana-clickhouse-datasource")
    text = json.dumps(made)
    assert "${warehouse}" not in text
    assert "${metrics}" not in text
    named = set(re.findall(r'"uid": "(\$[^"]+)"', text))
    assert named == {f"${{{wanted['name']}}}"}
    overview = boards()["costream-cost"]
    for panel, other in zip(made["panels"], overview["panels"], strict=True):
        for target, its in zip(panel["targets"], other["targets"], strict=True):
            assert target["rawSql"] == its["rawSql"]
    assert [each["name"] for each in made["templating"]["list"]] == ["currency", "watched"]


def test_no_two_panels_share_a_number_a_title_or_a_place() -> None:
    for board in boards().values():
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24


def test_every_panel_says_what_it_shows_and_names_its_source_by_a_variable() -> None:
    for question in questions():
        assert question.panel["description"].endswith("."), str(question)
        assert question.target["datasource"]["uid"] == ("${warehouse}" if question.sql else "${metrics}"), str(question)


# --- money -----------------------------------------------------------------------------------------------------------

MONEY: Final = re.compile(r"\w*(_usd|_value)|cost|revenue|margin")


class Parsed:
    """A statement as the engine's EXPLAIN AST draws it: what is done to amounts of money in it."""

    def __init__(self, drawn: list[str]) -> None:
        self._lines = [(len(line) - len(line.lstrip()), line.strip()) for line in drawn]
        self._aliases: set[str] = set()
        self.done: set[str] = set()  # functions that are given an amount
        known = -1
        while known != len(self._aliases):  # an alias may be used before it is made
            known = len(self._aliases)
            self._is_money(0)

    def _is_money(self, at: int) -> bool:
        """Whether this part of the statement is an amount; what it does to amounts is noted on the way."""
        kind, _, rest = self._lines[at][1].partition(" ")
        name = rest.split(" ")[0]
        if kind == "Identifier":
            last = name.split(".")[-1]
            money = bool(MONEY.fullmatch(last)) or last in self._aliases
        else:
            inside = [self._is_money(child) for child in self._children(at)]
            if kind == "SelectQuery":  # what it answers, not what it sorts by
                parts = zip(self._children(at), inside, strict=True)
                money = any(each for child, each in parts if self._lines[child][1].startswith("ExpressionList"))
            else:
                money = any(inside) and kind not in ("TablesInSelectQuery", "OrderByElement")
            if kind == "Function" and money:
                self.done.add(name)
        if money and (alias := re.search(r"\(alias (\w+)\)", rest)):
            self._aliases.add(alias[1])
        return money

    def _children(self, at: int) -> Iterator[int]:
        depth = self._lines[at][0]
        for child in range(at + 1, len(self._lines)):
            if self._lines[child][0] <= depth:
                return
            if self._lines[child][0] == depth + 1:
                yield child


def done_to_money(reader: Reader, sql: str) -> set[str]:
    return Parsed(reader.frame(f"SELECT explain FROM (EXPLAIN AST {sql})")["explain"].to_list()).done


@pytest.mark.parametrize("question", SQL, ids=str)
def test_a_panel_adds_money_up_and_does_nothing_else_to_it(reader: Reader, question: Question) -> None:
    """Or it says that the sum is unknown, where a part of it has no exchange rate. The targets are held against it."""
    sql = question.sql
    for known, added_up in SUMS.items():
        sql = sql.replace(known, added_up)
    besides = {"isNull", "lessOrEquals", "multiIf"} if question.panel["title"] == "Targets" else set()
    assert done_to_money(reader, expand(sql, VIEW)) <= {"sum"} | besides


@pytest.mark.parametrize(
    ("sql", "done"),
    [
        ("SELECT sum(cost_usd) / sum(calls) FROM usage_hourly", {"sum", "divide"}),
        ("SELECT x * 2 FROM (SELECT cost_usd AS x FROM usage_hourly)", {"multiply"}),
        ("SELECT (SELECT sum(cost_usd) AS c FROM usage_hourly) - 1", {"sum", "minus"}),
        ("SELECT ifNull(current_value, 0) FROM alerts", {"ifNull"}),
        ("SELECT avg(cost_usd) FROM usage_hourly", {"avg"}),
        ("SELECT calls / 2, cost_usd FROM usage_hourly WHERE calls > 1 ORDER BY cost_usd", set()),
        (
            "SELECT model IN (SELECT model FROM usage_hourly GROUP BY 1 ORDER BY sum(cost_usd)) FROM usage_hourly",
            {"sum"},
        ),
    ],
)
def test_what_a_question_does_to_money_is_seen(reader: Reader, sql: str, done: set[str]) -> None:
    assert done_to_money(reader, sql) == done


def test_grafana_computes_nothing_of_what_it_is_answered() -> None:
    for name, board in boards().items():
        for panel in board["panels"]:
            for taken in panel.get("transformations", []):  # thresholds that a question answers, as they are
                assert taken["id"] == "configFromData", (name, panel["title"])
                assert {each["handlerKey"] for each in taken["options"]["mappings"]} <= {"threshold1", "max"}
            if panel["type"] in ("stat", "gauge"):  # the one value of each numeric column, as it is
                assert panel["options"]["reduceOptions"] == {"values": False, "calcs": ["last"]}, panel["title"]
            assert {each["datasource"]["type"] for each in panel["targets"]} <= {
                *("grafana-clickhouse-datasource", "prometheus")
            }


@pytest.mark.parametrize(
    "panel", [panel for board in boards().values() for panel in board["panels"]], ids=lambda panel: panel["title"]
)
def test_beside_every_cost_stands_what_it_leaves_out_and_an_unknown_one_is_called_so(panel: dict[str, Any]) -> None:
    asked = " ".join(target.get("rawSql", "") for target in panel["targets"])
    if not re.search(r"\b(cost|cost_usd|cost_won|avg_cost|spent|current_value|so_far)\b", asked):
        return
    if "partial_cost_calls" in asked:
        return  # that view has none that are unpriced
    if panel["title"] == "Calls":  # each says why it has no price
        assert "cost_status, cost_reason" in asked
        return
    assert "unpriced_calls" in asked
    for override in panel["fieldConfig"]["overrides"]:
        if re.fullmatch(r"\w*_usd", str(override["matcher"]["options"])):
            looks = {each["id"]: each["value"] for each in override["properties"]}
            (mapping,) = looks["mappings"]
            assert (looks["unit"], mapping["options"]["result"]["text"]) == ("currencyUSD", "unknown")
            assert mapping["options"]["match"] == "null+nan"


# --- the expander ----------------------------------------------------------------------------------------------------


def test_macros_are_expanded_as_the_data_source_documents() -> None:
    view = View(
        start=datetime.fromtimestamp(1_415_792_726.123, UTC),
        end=datetime.fromtimestamp(1_447_328_726.456, UTC),
        interval=timedelta(seconds=20),
        zone="Europe/Berlin",
        variables={"by": "a\"b'c\\d $e"},
    )
    assert expand("$__timeFilter(time)", view) == "time >= toDateTime(1415792726) AND time <= toDateTime(1447328726)"
    assert expand("$__dateFilter(d)", view) == "d >= toDate('2014-11-12') AND d <= toDate('2015-11-12')"
    assert expand("$__fromTime $__toTime", view) == "toDateTime(1415792726) toDateTime(1447328726)"
    assert expand("$__timeInterval(c)", view) == "toStartOfInterval(toDateTime(c), INTERVAL 20 second)"
    assert expand("'${__from:date:iso}'", view) == "'2014-11-12T11:45:26.123Z'"
    assert expand("${by:percentencode} ${__timezone:percentencode}", view) == "a%22b%27c%5Cd%20%24e Europe%2FBerlin"
    assert expand("${currency:percentencode} ${team:percentencode}", view) == "USD %0A", "as the boards open"
    for unknown in ("$__interval_s", "${by}", "${by:singlequote}", "${by:sqlstring}", "$__timezone", "${__from}"):
        with pytest.raises((AssertionError, KeyError)):
            expand(unknown, view)
