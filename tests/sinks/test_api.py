"""The HTTP API over real HTTP, on calls that were added up by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import jsonschema
import polars as pl
import pytest

from costream.pricing import PriceBook
from sinks.api.formats import _csv
from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.figures import spend
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk
from sinks.figures.spend import Asked, total
from sinks.page.app import make_app
from stream.budgets.zones import zone
from tests.producers.test_alert import alert
from tests.sinks.test_figures import DAY
from tests.support import serving
from tests.support.figures import CALLS, EVE, HOSTILE, NOON, publish_won
from tests.support.serving import Answer, Served, running, served
from tests.support.warehouse import Embedded, Server
from tests.support.warehouse_rows import store_calls

DOCS: Final = Path(__file__).parents[2] / "docs"
OPENAPI: Final[dict[str, Any]] = json.loads((DOCS / "openapi.json").read_text())
SPAN: Final = [("from", DAY.since.isoformat()), ("to", DAY.until.isoformat())]
ALERTS: Final = [
    alert(alert_id="a-1", revision=1),
    alert(alert_id="a-1", revision=2, status="updated", title=HOSTILE),
    alert(alert_id="a-2", revision=1, status="cleared"),
]


@pytest.fixture(scope="module")
def address(clickhouse_embedded: Embedded | Server) -> ClickHouseAddress:
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        writer.insert("alerts", alert_rows(ALERTS))
        publish_won(reader, writer)
        with closing(open_client(address)) as client:
            client.command(
                "INSERT INTO budgets_rows VALUES ('day', 'budget', 's', 100, 'USD', [80], ['warning'], 'd', 1, 1)"
            )
            client.command(
                "INSERT INTO budget_sums_rows VALUES ('s', ['user'], [], [], 'day', 'UTC', 0, '2020-01-01', 1, 1)"
            )
    return address


@pytest.fixture(scope="module")
def api(address: ClickHouseAddress) -> Iterator[Served]:
    with served(address) as api:
        yield api


def shape_of(path: str, answer: Answer) -> None:
    """The answer is what the OpenAPI document says."""
    said = OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json, {**said, "components": OPENAPI["components"]})


def ok(answer: Answer, path: str) -> Any:
    assert answer.status == 200, answer.text
    shape_of(path, answer)
    return answer.json


# --- the same digits through every question --------------------------------------------------------------------------


def test_the_day_is_told_as_the_view_tells_it(api: Served, address: ClickHouseAddress) -> None:
    told = ok(api.get("/v1/total", SPAN), "/v1/total")
    with closing(Reader(address)) as reader:
        row = total(reader, Asked(DAY)).row(0, named=True)
    assert (told["calls"], told["errors"], told["unpriced_calls"]) == (6, 1, 1)
    assert told["cost_usd"] == "8"
    assert Decimal(told["cost_usd"]) == row["cost_usd"]
    assert told["avg_cost_usd"] == "1.6"


def test_spending_by_a_column_with_its_total(api: Served) -> None:
    told = ok(api.get("/v1/spend", [*SPAN, ("by", "feature")]), "/v1/spend")
    assert [(row["feature"], row["cost_usd"], row["cost_share"]) for row in told["rows"]] == [
        ("search", "4", "0.5"),
        ("chat", "3.5", "0.4375"),
        (HOSTILE, "0.5", "0.0625"),
    ]
    assert told["total"]["cost_usd"] == "8"
    assert told["total"]["unpriced_calls"] == 1
    assert (told["zone"], told["currency"], told["next"]) == ("UTC", "USD", None)


def test_a_cost_without_a_price_is_null_and_not_0(api: Served) -> None:
    rows = ok(api.get("/v1/spend", [*SPAN, ("by", "model")]), "/v1/spend")["rows"]
    assert [row["cost_usd"] for row in rows if row["model"] == "aurora"] == [None]


def test_values_that_count_may_be_several_and_hostile(api: Served) -> None:
    query = [*SPAN, ("feature", "search"), ("feature", HOSTILE), ("by", "model"), ("by", "user_id")]
    told = ok(api.get("/v1/spend", query), "/v1/spend")
    assert told["total"]["cost_usd"] == "4.5"
    assert {row["user_id"] for row in told["rows"]} == {"", "cy", HOSTILE}


def test_rows_are_told_a_page_after_another(api: Served) -> None:
    first = ok(api.get("/v1/spend", [*SPAN, ("by", "feature"), ("limit", "2")]), "/v1/spend")
    assert (len(first["rows"]), first["next"]) == (2, 2)
    second = ok(api.get("/v1/spend", [*SPAN, ("by", "feature"), ("limit", "2"), ("offset", "2")]), "/v1/spend")
    assert [row["feature"] for row in second["rows"]] == [HOSTILE]
    assert second["next"] is None


def test_hours_and_days_sum_to_the_day(api: Served) -> None:
    hours = ok(api.get("/v1/spend/over-time", [*SPAN, ("step", "hour"), ("by", "model")]), "/v1/spend/over-time")
    days = ok(api.get("/v1/spend/over-time", SPAN), "/v1/spend/over-time")
    for told in (hours, days):
        assert sum(Decimal(row["cost_usd"] or 0) for row in told["rows"]) == 8
    assert [row["time"] for row in days["rows"]] == [f"{NOON:%Y-%m-%d}T00:00:00Z"]


def test_money_in_won(api: Served) -> None:
    told = ok(api.get("/v1/total", [*SPAN, ("currency", "KRW")]), "/v1/total")
    assert (told["cost"], told["cost_usd"], told["currency"]) == ("11200", "8", "KRW")
    eve = [("from", f"{EVE:%Y-%m-%d}"), ("to", f"{NOON:%Y-%m-%d}"), ("currency", "KRW")]
    assert ok(api.get("/v1/total", eve), "/v1/total")["cost"] is None


def test_single_calls_and_why_one_costs_what_it_costs(api: Served) -> None:
    first = ok(api.get("/v1/calls", [*SPAN, ("limit", "4")]), "/v1/calls")
    rest = ok(api.get("/v1/calls", [*SPAN, ("limit", "4"), ("after", first["next"])]), "/v1/calls")
    assert [row["request_id"] for row in (*first["rows"], *rest["rows"])] == ["n6", "n5", "n4", "n3", "n2", "n1"]
    assert rest["next"] is None
    told = ok(api.get("/v1/calls/n3"), "/v1/calls/{request_id}")
    (one,) = told["calls"]
    assert (one["cost_usd"], one["cost_reason"]) == (None, "unknown_model")


def test_what_is_not_there_is_a_sentence(api: Served) -> None:
    for path, says in (
        ("/v1/calls/none%20of%27these", "no call with the id 'none of'these' is stored"),
        ("/v1/alerts/none", "no alert 'none' is stored"),
    ):
        answer = api.get(path)
        assert (answer.status, answer.json["detail"]) == (404, says)
    assert api.get("/v2/anything").status == 404


def test_the_values_of_a_column(api: Served) -> None:
    told = ok(api.get("/v1/values", [*SPAN, ("column", "feature")]), "/v1/values")
    assert told["values"] == ["search", "chat", HOSTILE]


def test_what_one_user_spends(api: Served) -> None:
    told = ok(api.get("/v1/users/costs", [("user_id", "bob"), ("period_hours", "120")]), "/v1/users/costs")
    assert [(row["model"], row["total_calls"], row["total_cost"]) for row in told["rows"]] == [
        ("claude-sonnet-4-5", 1, "2.5"),
        ("aurora", 1, None),
    ]
    assert ok(api.get("/v1/users/costs", [("user_id", "nobody")]), "/v1/users/costs")["rows"] == []


def test_the_whole_system(api: Served) -> None:
    told = ok(api.get("/v1/system/metrics", [("period_hours", "120")]), "/v1/system/metrics")
    assert (told["total_cost"], told["total_calls"]) == ("8.5", len(CALLS))
    for name in ("hourly_costs", "provider_costs", "task_costs"):
        assert sum(Decimal(row["total_cost"] or 0) for row in told[name]) == Decimal("8.5")


@pytest.mark.parametrize(
    "path", ["/v1/users/top", "/v1/months", "/v1/budgets", "/v1/forecast", "/v1/alerts", "/v1/months?by=feature"]
)
def test_other_questions_have_the_shape_that_is_published(api: Served, path: str) -> None:
    ok(api.get(path), path.partition("?")[0])


def test_alerts_are_told_as_they_are_on_the_topic(api: Served) -> None:
    (standing,) = ok(api.get("/v1/alerts"), "/v1/alerts")["rows"]
    assert (standing["alert_id"], standing["revision"], standing["title"]) == ("a-1", 2, HOSTILE)
    assert len(ok(api.get("/v1/alerts?standing=false"), "/v1/alerts")["rows"]) == 2
    history = ok(api.get("/v1/alerts/a-1"), "/v1/alerts/{alert_id}")
    assert [each["revision"] for each in history["revisions"]] == [1, 2]


def test_every_question_is_tried_here() -> None:
    asked = Path(__file__).read_text()
    assert [path for path in OPENAPI["paths"] if f'"{path}"' not in asked] == []


# --- how answers are written -----------------------------------------------------------------------------------------


def test_csv_has_all_digits_and_no_formula(api: Served) -> None:
    for how in ({"accept": "text/csv"}, {}):
        query = [*SPAN, ("by", "user_id")] + ([] if how else [("format", "csv")])
        answer = api.get("/v1/spend", query, **how)
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["cost_usd"] for row in rows] == ["4", "2.5", "1", "0.5", "0"]


TABLES: Final = [
    path
    for path, said in OPENAPI["paths"].items()
    if "text/csv; charset=utf-8" in said["get"]["responses"]["200"]["content"]
]


@pytest.mark.parametrize("form", ["csv", "arrow"])
@pytest.mark.parametrize("path", TABLES)
def test_every_table_is_told_in_every_form(api: Served, path: str, form: str) -> None:
    answer = api.get(path, [("format", form), *([("user_id", "bob")] if path == "/v1/users/costs" else [])])
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"].startswith({"csv": "text/csv", "arrow": "application/vnd"}[form])


def test_csv_has_lists_as_json_and_nothing_where_nothing_is_known() -> None:
    frame = pl.DataFrame({"scope": [["user", "team"], []], "usd": [Decimal("1.50"), None], "ok": [True, None]})
    rows = list(csv.reader(io.StringIO(_csv(frame).decode())))
    assert rows == [["scope", "usd", "ok"], ['["user","team"]', "1.5", "true"], ["[]", "", ""]]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_name_that_a_table_program_would_run_stands_behind_an_apostrophe(start: str) -> None:
    name = f"{start}HYPERLINK(1)"
    rows = list(csv.reader(io.StringIO(_csv(pl.DataFrame({"a": [name, None, "x"], "n": [-1, 2, 3]})).decode())))
    assert rows == [["a", "n"], [f"'{name}", "-1"], ["", "2"], ["x", "3"]]


def test_arrow_keeps_decimals(api: Served) -> None:
    answer = api.get("/v1/spend", [*SPAN, ("by", "feature"), ("format", "arrow"), ("limit", "2")])
    frame = pl.read_ipc_stream(io.BytesIO(answer.body))
    assert frame["cost_usd"].to_list() == [Decimal(4), Decimal("3.5")]
    assert answer.headers["costream-next"] == "2"


def test_who_has_the_same_answer_already_is_told_so(api: Served) -> None:
    first = api.get("/v1/spend", [*SPAN, ("by", "feature")])
    again = api.get("/v1/spend", [*SPAN, ("by", "feature")], if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    other = api.get("/v1/spend", [*SPAN, ("by", "model")], if_none_match=first.headers["etag"])
    assert other.status == 200


# --- what cannot be asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/spend?by=cost_usd", "by: 'cost_usd' is none of provider, model"),
        ("/v1/spend?by=feature&by=feature", "each once"),
        ("/v1/spend?span=decade", "span: Input should be"),
        ("/v1/spend?limit=0", "limit: Input should be greater than or equal to 1"),
        ("/v1/spend?limit=10001", "limit: Input should be less than or equal to 10000"),
        ("/v1/spend?from=yesterday", "from: 'yesterday' is neither a day such as 2026-11-01"),
        ("/v1/spend?span=month&from=2026-11-01", "exclude each other: give one of them"),
        ("/v1/total?zone=Mars", "zone: 'Mars' is no time zone"),
        ("/v1/total?currency=EU", "currency: 'EU' is no currency"),
        ("/v1/total?currency=XAU", "there is no exchange rate of 'XAU'"),
        ("/v1/calls?after=x", "after: it is not what an earlier answer gave"),
        ("/v1/users/costs", "user_id: Field required"),
        ("/v1/users/costs?user_id=a&period_hours=0", "period_hours: 0 is not within 1 to"),
        ("/v1/spend/over-time?by=user_id", "by: over time, one of provider"),
        ("/v1/values?column=metadata", "'metadata' is none of"),
        ("/v1/spend?format=xml", "format: Input should be"),
        (f"/v1/users/costs?user_id={'x' * 1_025}", "user_id: String should have at most 1024 characters"),
    ],
)
def test_a_question_that_cannot_be_meant_is_answered_with_a_sentence(api: Served, path: str, says: str) -> None:
    answer = api.get(path)
    assert answer.status == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json["detail"]
    jsonschema.validate(answer.json, {**OPENAPI["components"]["schemas"]["Problem"]})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_written_through_the_api(api: Served, method: str) -> None:
    assert api.send(method, "/v1/spend", body=b"{}", headers={}).status == 405


def test_a_question_that_takes_too_long_is_told_to_be_smaller(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The span is joined with numbers that nobody counts within a second."""
    endless = "(SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1)"
    monkeypatch.setattr(spend, "IN_CURRENCY", f"sum(u.cost) + {endless}")
    monkeypatch.setattr(serving, "BOUNDS", {"max_execution_time": "1"})
    with served(address) as api:
        answer = api.get("/v1/spend", SPAN)
    assert answer.status == 413, answer.text
    assert answer.json["detail"].endswith("ask for a shorter span, or for fewer columns")


def test_without_a_warehouse_it_is_said_so_and_asked_again_later() -> None:
    with served(ClickHouseAddress("http://127.0.0.1:9")) as api:
        answer = api.get("/v1/total")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "does not answer now" in answer.json["detail"]
        assert "127.0.0.1:9" not in answer.text
        assert api.get("/healthz").status == 200
        assert api.get("/pulse").status == 503


def test_a_hundred_viewers_of_the_page_make_few_questions(address: ClickHouseAddress) -> None:
    """Behind the overview are a dozen questions and the pulse; they are looked at a hundred times within moments."""
    with closing(Reader(address)) as reader:
        desk = Desk(Answers(reader), zone="UTC", zone_of=zone, book=PriceBook.bundled())
        with running(make_app(desk)) as page, ThreadPoolExecutor(20) as viewers:
            assert set(viewers.map(lambda _: page.get("/").status, range(100))) == {200}
    assert desk.answers.asked < 60


EXAMPLES: Final = re.findall(
    r"^curl -s 'http://127\.0\.0\.1:8000([^']+)'$", (DOCS / "api.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_of_the_documentation_works_as_written(api: Served, example: str) -> None:
    """But that its span may be one of which nothing is kept any more."""
    answer = api.get(re.sub(r"from=[\d-]+&to=[\d-]+", f"from={EVE:%Y-%m-%d}&to={NOON:%Y-%m-%d}", example))
    assert answer.status == 200, answer.text


def test_the_documentation_names_every_question() -> None:
    told = (DOCS / "api.md").read_text()
    assert len(EXAMPLES) > 10
    assert [path for path in OPENAPI["paths"] if f"`{path}`" not in told] == []
