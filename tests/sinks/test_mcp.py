"""The tools for models, asked by the protocol's own client: the same digits, bounded, and nobody's SQL."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from costream.pricing import PriceBook
from sinks.clickhouse.acts import new_act, store_act
from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.deliveries import DELIVERIES, Attempt, attempt_rows
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk
from sinks.mcp.tools import DATA, ROWS_MAX, TEXT_CHARS_MAX, make_server
from stream.budgets.zones import zone
from tests.producers.test_alert import alert
from tests.support.figures import CALLS, HOSTILE, NOON, call
from tests.support.warehouse import Embedded, Server, settings_of
from tests.support.warehouse_rows import store_calls
from tests.support.worker import MAIN

HOUR = timedelta(hours=1)
DAY = {"since": f"{NOON:%Y-%m-%d}", "until": f"{NOON.replace(hour=23):%Y-%m-%dT%H:%M}"}


@pytest.fixture(scope="module")
def address(clickhouse_embedded: Embedded | Server) -> ClickHouseAddress:
    address = clickhouse_embedded.fresh()
    many = [call(f"m{number}", NOON.replace(hour=22), 1, user_id=f"user-{number}") for number in range(ROWS_MAX + 5)]
    with closing(Writer(address)) as writer:
        store_calls(writer, CALLS)
        store_calls(writer, [{**each, "occurred_at": NOON.replace(hour=23, minute=30)} for each in many])
        told = [alert(alert_id="a-1", title=HOSTILE, message="x" * 3_000), alert(alert_id="a-2", status="cleared")]
        writer.insert("alerts", alert_rows(told))
        attempt = Attempt("slack", "a-1", revision=1, reminder=0, attempt=1, at=NOON, outcome="delivered")
        writer.insert(DELIVERIES, attempt_rows([(attempt, told[0])]))
    store_act(address, new_act("ack", alert_id="a-1", until=datetime.now(UTC) + HOUR, acted_by="ann", at=NOON))
    return address


@asynccontextmanager
async def asking(address: ClickHouseAddress) -> AsyncIterator[Client]:
    with closing(Reader(address)) as reader:
        desk = Desk(Answers(reader), zone="UTC", zone_of=zone, book=PriceBook.bundled())
        async with Client(make_server(desk)) as client:
            yield client


async def told(address: ClickHouseAddress, tool: str, **arguments: Any) -> dict[str, Any]:
    async with asking(address) as client:
        answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer
    found: dict[str, Any] = answer.structured_content
    assert found["note"] == DATA
    return found


async def refused(address: ClickHouseAddress, tool: str, **arguments: Any) -> str:
    async with asking(address) as client:
        answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(answer.content)


async def test_each_tool_says_what_it_is_for_and_that_it_only_reads(address: ClickHouseAddress) -> None:
    async with asking(address) as client:
        tools = (await client.list_tools()).tools
        assert client.instructions is not None
        assert DATA in client.instructions
    assert {tool.name for tool in tools} == {
        *("spend", "spend_over_time", "top_spenders", "values_of", "alerts", "why_alert", "forecast", "budgets"),
        "explain_call",
    }
    for tool in tools:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert len(tool.description or "") > 40
        assert "sql" not in str(tool.input_schema).lower()


async def test_a_day_is_told_as_it_was_worked_out_by_hand(address: ClickHouseAddress) -> None:
    found = await told(address, "spend", **DAY, by=["feature"])
    assert found["total"]["cost_usd"] == "8"
    assert found["total"]["unpriced_calls"] == 1
    assert (found["from"], found["zone"], found["currency"]) == (f"{NOON:%Y-%m-%d}T00:00:00Z", "UTC", "USD")
    assert [(row["feature"], row["cost_usd"]) for row in found["rows"]] == [
        ("search", "4"),
        ("chat", "3.5"),
        (HOSTILE, "0.5"),
    ]
    of_bob = await told(address, "spend", **DAY, by=["model"], only={"user_id": ["bob"]})
    assert [row["cost_usd"] for row in of_bob["rows"]] == ["2.5", None]


async def test_hours_and_days_sum_to_it(address: ClickHouseAddress) -> None:
    found = await told(address, "spend_over_time", **DAY, step="hour", by="provider")
    assert sum(Decimal(row["cost_usd"] or 0) for row in found["rows"]) == 8


async def test_rows_are_bounded_and_it_is_said_that_there_are_more(address: ClickHouseAddress) -> None:
    found = await told(address, "top_spenders", span="7d", limit=ROWS_MAX)
    assert (len(found["rows"]), found["more"]) == (ROWS_MAX, True)
    names = await told(address, "values_of", column="user_id", span="7d")
    assert (len(names["values"]), names["more"]) == (ROWS_MAX, True)
    assert f"less than or equal to {ROWS_MAX}" in await refused(address, "top_spenders", limit=ROWS_MAX + 1)


async def test_why_an_alert_fired_with_texts_that_are_cut(address: ClickHouseAddress) -> None:
    (standing,) = (await told(address, "alerts"))["alerts"]
    assert (standing["alert_id"], standing["title"]) == ("a-1", HOSTILE)
    found = await told(address, "why_alert", alert_id="a-1")
    assert found["alert"]["message"] == "x" * TEXT_CHARS_MAX + f" (and {3_000 - TEXT_CHARS_MAX:,} characters more)"
    assert [(each["revision"], each["status"]) for each in found["revisions"]] == [(1, "open")]
    assert [(row["channel"], row["outcome"]) for row in found["deliveries"]] == [("slack", "delivered")]
    assert [(act["kind"], act["acted_by"]) for act in found["acts"]] == [("ack", "ann")]
    assert len((await told(address, "alerts", standing_only=False))["alerts"]) == 2
    assert "no alert 'none' is stored" in await refused(address, "why_alert", alert_id="none")


async def test_forecasts_budgets_and_a_call(address: ClickHouseAddress) -> None:
    assert [one["period"] for one in (await told(address, "forecast"))["outlooks"]] == ["day", "week", "month"]
    assert (await told(address, "budgets"))["budgets"] == []
    (one,) = (await told(address, "explain_call", request_id="n2"))["calls"]
    assert (one["cost_usd"], one["provider"]) == ("2.5", "anthropic")
    assert "no call with the id 'none'" in await refused(address, "explain_call", request_id="none")


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("spend", {"by": ["cost_usd"]}, "by: 'cost_usd' is none of provider"),
        ("spend", {"by": ["feature FROM x --"]}, "is none of provider"),
        ("spend", {"only": {"feature) OR (1": ["x"]}}, "is none of provider"),
        ("spend", {"span": "decade"}, "Input should be"),
        ("spend", {"span": "month", "since": "2026-11-01"}, "exclude each other"),
        ("spend", {"since": "soon"}, "neither a day such as"),
        ("spend", {"currency": "XAU"}, "there is no exchange rate of 'XAU'"),
        ("spend_over_time", {"by": "user_id"}, "over time, one of provider"),
        ("values_of", {"column": "metadata"}, "'metadata' is none of"),
        ("forecast", {"only": {"user_id": ["bob"]}}, "a forecast is told from hours"),
    ],
)
async def test_what_cannot_be_asked_is_a_sentence(
    address: ClickHouseAddress, tool: str, arguments: dict[str, Any], says: str
) -> None:
    assert says in await refused(address, tool, **arguments)


async def test_without_a_warehouse_it_says_so() -> None:
    assert "does not answer now" in await refused(ClickHouseAddress("http://127.0.0.1:9"), "spend")


async def test_the_command_speaks_the_protocol_and_nothing_else(clickhouse_endpoint: Server) -> None:
    place = clickhouse_endpoint.fresh()
    with closing(Writer(place)) as writer:
        store_calls(writer, CALLS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    settings = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(place).items()}
    command = StdioServerParameters(command=sys.executable, args=["-c", MAIN, "mcp"], env=kept | settings)
    async with Client(stdio_client(command), read_timeout_seconds=60) as client:
        answer = await client.call_tool("spend", {**DAY, "by": ["feature"]})
    assert answer.structured_content is not None
    assert answer.structured_content["total"]["cost_usd"] == "8"
