"""The page without a browser: how amounts are written, what charts are given, and what is sent first."""

from __future__ import annotations

import http.client
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.datastructures import QueryParams

from costream.pricing import PriceBook
from sinks.answers.forecast import Hour, forecast
from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk
from sinks.figures.spans import NAMED
from sinks.figures.spend import COLUMNS, REST
from sinks.page import charts, words
from sinks.page.app import make_app
from sinks.page.asked import SPANS, WORDS, Address
from sinks.page.views import _month_before
from stream.budgets.zones import zone
from tests.producers.test_alert import alert
from tests.support.databases import migrated
from tests.support.figures import CALLS
from tests.support.serving import running, served
from tests.support.warehouse import Embedded, Endpoint, Server
from tests.support.warehouse_rows import store_calls

SEOUL = zone("Asia/Seoul")


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (None, "USD", "unknown"),
        ("0", "USD", "$0.00"),
        ("1", "USD", "$1.00"),
        ("1234567.891", "USD", "$1,234,567.89"),
        ("0.999999", "USD", "$1.00"),
        ("0.99", "USD", "$0.99"),
        ("0.0031025", "USD", "$0.0031"),
        ("0.000000000001", "USD", "$0.000000000001"),
        ("-12.345", "USD", "-$12.34"),
        ("-0.5", "USD", "-$0.50"),
        ("0.1604", "USD", "$0.16"),
        ("500000", "KRW", "₩500,000"),
        ("1234.5", "KRW", "₩1,234"),
        ("0.5", "KRW", "₩0.5"),
        ("1234.5", "JPY", "¥1,234"),
        ("12", "CHF", "CHF 12.00"),
        *(("2", code, f"{sign}2.00") for code, sign in (("EUR", "€"), ("GBP", "£"), ("INR", "₹"))),
    ],
)
def test_an_amount_is_short_and_says_something(amount: str | None, currency: str, text: str) -> None:
    assert words.money(None if amount is None else Decimal(amount), currency) == text


def test_all_digits_stand_beside_it() -> None:
    assert words.exact(Decimal("0.003102500000")) == "0.0031025 USD"
    assert words.exact(Decimal("1E+3"), "KRW") == "1000 KRW"
    assert words.exact(None) == "no call of it has a known price"


def test_a_change_is_known_only_against_something() -> None:
    assert words.change(Decimal(3), Decimal(2)) == "+50.0 %"
    assert words.change(Decimal(1), Decimal(2)) == "-50.0 %"
    assert (
        words.change(Decimal(1), Decimal(0)) == words.change(None, Decimal(1)) == words.change(Decimal(1), None) == ""
    )


@pytest.mark.parametrize(("ratio", "length"), [(None, 0), ("0.5", 50), ("1", 100), ("1.7", 100), ("-0.1", 0)])
def test_a_bar_is_as_long_as_its_share_and_never_longer_than_its_place(ratio: str | None, length: int) -> None:
    assert words.used(None if ratio is None else Decimal(ratio)) == length


def test_what_has_no_name_is_said_so() -> None:
    assert (words.name(""), words.name("chat"), words.percent(None)) == ("(none)", "chat", "unknown")
    assert (words.counted(1, "call"), words.counted(1_000, "call")) == ("1 call", "1,000 calls")


# --- charts ----------------------------------------------------------------------------------------------------------


def rows(*told: tuple[datetime, str, str | None, int]) -> pl.DataFrame:
    made = [
        {"time": time, "name": name, "cost": None if cost is None else Decimal(cost), "unpriced_calls": unpriced}
        for time, name, cost, unpriced in told
    ]
    schema = {
        "time": pl.Datetime("ms", "UTC"),
        "name": pl.String,
        "cost": pl.Decimal(38, 12),
        "unpriced_calls": pl.Int64,
    }
    return pl.DataFrame(made, schema=schema)


FIRST, SECOND = datetime(2026, 11, 1, 15, tzinfo=UTC), datetime(2026, 11, 2, 15, tzinfo=UTC)


def test_bars_stand_on_each_other_the_dearest_lowest_and_the_rest_on_top() -> None:
    told = charts.costs_over_time(
        rows((FIRST, "a", "1", 0), (FIRST, REST, "99", 1), (SECOND, "b", "5.5", 0), (SECOND, "a", None, 2)),
        currency="USD",
        clocks=SEOUL,
        step="day",
    )
    assert told["times"] == ["2026-11-02", "2026-11-03"]
    assert told["lines"] == [
        {"name": "b", "values": [None, "5.5"]},
        {"name": "a", "values": ["1", None]},
        {"name": REST, "values": ["99", None]},
    ]
    assert told["unpriced"] == [1, 2]
    assert charts.costs_over_time(rows(), currency="USD", clocks=UTC, step="hour")["lines"] == []


def test_what_is_expected_begins_where_the_spending_is_and_ends_at_the_forecast_s_end() -> None:
    start = datetime(2026, 9, 1, tzinfo=UTC)
    now = datetime(2026, 11, 15, 12, tzinfo=UTC)
    hours = [
        Hour(start + timedelta(hours=number), Decimal(1), 1, 0)
        for number in range(int((now - start) / timedelta(hours=1)))
    ]
    found = forecast(hours, now=now, since=start, zone=UTC)
    month = next(one for one in found.outlooks if one.period == "month")
    days = pl.DataFrame(
        {
            "time": [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 16)],
            "cost_usd": [Decimal(24)] * 14 + [Decimal(12)],
        }
    )
    told = charts.month_with_end(days, found, clocks=UTC, currency="USD")
    assert told["spent"][-1] == ["2026-11-15", "348"]
    assert told["coming"][0] == ["2026-11-15", "348", "348", "348"]
    last = told["coming"][-1]
    assert (last[0], Decimal(last[1])) == ("2026-11-30", month.expected)
    assert (Decimal(last[2]), Decimal(last[3])) == (month.low, month.high)
    assert (told["days"][0], told["days"][-1], len(told["days"])) == ("2026-11-01", "2026-11-30", 30)


def test_where_nothing_can_be_expected_only_the_spending_is_drawn() -> None:
    now = datetime(2026, 11, 1, 1, tzinfo=UTC)
    found = forecast(
        [Hour(now - timedelta(hours=1), Decimal(1), 1, 0)], now=now, since=now - timedelta(days=9), zone=UTC
    )
    assert charts.month_with_end(rows().rename({"cost": "cost_usd"}), found, clocks=UTC, currency="USD")["coming"] == []


# --- addresses -------------------------------------------------------------------------------------------------------


def address(query: str, path: str = "explore") -> Address:
    return Address.of(path, QueryParams(query))


def test_an_address_leads_to_the_next_question() -> None:
    here = address("span=7d&by=feature&team=search&zone=Asia/Seoul&currency=KRW")
    assert here.with_only("feature", "a&b=c #1") == (
        "explore?span=7d&zone=Asia%2FSeoul&currency=KRW&by=model&feature=a%26b%3Dc+%231&team=search"
    )
    assert address("span=7d&by=model").with_only("model", "x").endswith("&by=feature&model=x")
    assert here.without("team") == "explore?span=7d&zone=Asia%2FSeoul&currency=KRW&by=feature"
    assert here.with_span("24h").startswith("explore?span=24h&")
    assert address(here.with_only("feature", "x").partition("?")[2]).only == (
        ("feature", ("x",)),
        ("team", ("search",)),
    )
    assert address("from=2026-11-01&to=2026-11-02").text == "explore?from=2026-11-01&to=2026-11-02&by=feature"


def test_one_drills_down_by_what_says_something_next() -> None:
    here, told = address("by=feature"), []
    while here.by not in dict(here.only):
        told.append(here.by)
        here = address(here.with_only(here.by, "x").partition("?")[2])
    assert told == ["feature", "model", "team", "user_id", "task_type", "provider", "operation", "environment"]


def test_every_column_has_a_word_for_people() -> None:
    assert {name: name.removesuffix("_id").replace("_", " ").capitalize() for name in COLUMNS} == WORDS
    assert set(SPANS) == set(NAMED)


@pytest.mark.parametrize(
    "query", ["span=decade", "by=metadata", "by=cost_usd", "from=soon", "zone=Mars", "currency=usd"]
)
def test_an_address_that_cannot_be_meant_is_refused_in_a_sentence(
    clickhouse_embedded: Embedded | Server, query: str
) -> None:
    with served(clickhouse_embedded.fresh()) as page:
        answer = page.get(f"/explore?{query}")
    assert (answer.status, "That cannot be asked" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("now", "since", "until"),
    [
        (datetime(2026, 12, 1, 3, 30, tzinfo=UTC), "2026-11-01T00:00:00", "2026-11-01T04:00:00"),
        (datetime(2026, 3, 31, 10, tzinfo=UTC), "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
        (datetime(2026, 1, 15, tzinfo=UTC), "2025-12-01T00:00:00", "2025-12-15T01:00:00"),
    ],
)
def test_a_month_is_held_against_the_one_before_until_the_end_of_the_same_hour(
    now: datetime, since: str, until: str
) -> None:
    assert _month_before(now, UTC) == {"since": since, "until": until}


# --- a user that may only read ---------------------------------------------------------------------------------------


def test_a_user_that_may_only_read_is_enough_but_for_saying_that_one_sees_to_an_alert(tmp_path: Path) -> None:
    with Endpoint(tmp_path / "warehouse", write_token="write-me", read_token="read-me") as endpoint:
        with closing(Writer(migrated(endpoint.address(password="write-me")))) as writer:
            store_calls(writer, CALLS)
            writer.insert("alerts", alert_rows([alert(alert_id="spike")]))
        with served(endpoint.address(password="read-me")) as page:
            for path in (
                "/",
                "/explore?span=7d",
                "/explore?span=7d&by=user_id",
                "/alerts",
                "/alert?id=spike",
                "/budgets",
            ):
                assert page.get(path).status == 200, path
            form = {"id": "spike", "by": "ann", "hours": "4"}
            answer = page.post("/alerts/ack", form, origin=page.url)
            assert (answer.status, "The warehouse did not take it" in answer.text) == (503, True)


# --- what is sent first ----------------------------------------------------------------------------------------------


class Slow(Reader):
    """Answers once it may."""

    def __init__(self, address: ClickHouseAddress) -> None:
        super().__init__(address)
        self.gate = threading.Event()

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        assert self.gate.wait(30)
        return super().frame(sql, **parameters)


def test_what_stands_around_the_figures_is_sent_before_they_are_known(clickhouse_embedded: Embedded | Server) -> None:
    with closing(Slow(clickhouse_embedded.fresh())) as slow:
        desk = Desk(Answers(slow), zone="UTC", zone_of=zone, book=PriceBook.bundled())
        with (
            running(make_app(desk)) as page,
            closing(http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)) as asked,
        ):
            asked.request("GET", "/")
            answer = asked.getresponse()
            before = answer.read1(4_096).decode()
            assert "<title>Overview" in before
            assert "This month" not in before
            slow.gate.set()
            assert "This month" in answer.read().decode()
            assert page.get("/", x_fragment="1").text.lstrip().startswith('<h1 class="away">Overview</h1>')
