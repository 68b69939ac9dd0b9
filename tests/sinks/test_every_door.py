"""One definition of every figure: a day is the same digits through every door, and no door has SQL of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import Client

from costream.pricing import PriceBook
from sinks.clickhouse.catalogue import views
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk
from sinks.mcp.tools import make_server
from sinks.page.app import make_app
from stream.budgets.zones import zone
from tests.support.figures import CALLS, HOSTILE, NOON, publish_won
from tests.support.grafana import View, expand, questions
from tests.support.serving import running
from tests.support.warehouse import Embedded, Server
from tests.support.warehouse_rows import store_calls

SINKS: Final = Path(__file__).parents[2] / "sinks"
SINCE, UNTIL = NOON.replace(hour=0), NOON.replace(hour=23)
DAY: Final = {"search": (Decimal(4), 0), "chat": (Decimal("3.5"), 1), HOSTILE: (Decimal("0.5"), 0)}
IN_WON: Final = {name: (usd * 1400, unpriced) for name, (usd, unpriced) in DAY.items()}

Told = dict[str, tuple[Decimal | None, int]]


@pytest.fixture(scope="module")
def address(clickhouse_embedded: Embedded | Server) -> ClickHouseAddress:
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        publish_won(reader, writer)
    return address


@pytest.fixture(scope="module")
def reader(address: ClickHouseAddress) -> Iterator[Reader]:
    with closing(Reader(address)) as reader:
        yield reader


@pytest.fixture(params=[("USD", DAY), ("KRW", IN_WON)], ids=["USD", "KRW"])
def asked(request: pytest.FixtureRequest) -> tuple[str, Told]:
    found: tuple[str, Told] = request.param
    return found


def by_feature(rows: list[dict[str, Any]]) -> Told:
    return {
        row["feature"]: (None if row["cost"] is None else Decimal(row["cost"]), int(row["unpriced_calls"]))
        for row in rows
    }


def test_a_view_tells_the_day(reader: Reader, asked: tuple[str, Told]) -> None:
    currency, day = asked
    sql = f"""SELECT feature, cost, unpriced_calls FROM feature_cost_summary_between(
      from = '{SINCE:%Y-%m-%d}', to = '{UNTIL:%Y-%m-%d %H:%M}', zone = 'UTC', currency = '{currency}')"""
    assert by_feature(reader.frame(sql).to_dicts()) == day


def test_a_panel_tells_it(reader: Reader, asked: tuple[str, Told]) -> None:
    currency, day = asked
    (panel,) = [each for each in questions() if str(each) == "costream-cost: Features (A)"]
    view = View(start=SINCE, end=UNTIL, variables={"currency": currency})
    assert by_feature(reader.frame(expand(panel.sql, view)).to_dicts()) == day


class Amounts(HTMLParser):
    """Of a table of the page: by its names, the exact costs that stand beside them, and unpriced calls."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        self._in_cell = tag in {"td", "th", "a"} or (self._in_cell and tag == "data")
        if tag == "data" and self.rows:
            self.rows[-1].append(str(dict(attrs)["value"]))

    def handle_data(self, data: str) -> None:
        if self._in_cell and self.rows and data.strip():
            self.rows[-1].append(data.strip())


def test_the_page_tells_it(reader: Reader, asked: tuple[str, Told]) -> None:
    currency, day = asked
    desk = Desk(Answers(reader), zone="UTC", zone_of=zone, book=PriceBook.bundled())
    with running(make_app(desk)) as page:
        query = [("from", SINCE.isoformat()), ("to", UNTIL.isoformat()), ("by", "feature"), ("currency", currency)]
        answer = page.get("/explore", query)
    assert answer.status == 200
    parser = Amounts()
    parser.feed(answer.text)
    found = {
        row[0]: (Decimal(row[1].removesuffix(f" {currency}")), int(row[-1]))
        for row in parser.rows
        if row and row[0] in day
    }
    assert found == day


def test_the_api_tells_it(reader: Reader, asked: tuple[str, Told]) -> None:
    currency, day = asked
    desk = Desk(Answers(reader), zone="UTC", zone_of=zone, book=PriceBook.bundled())
    with running(make_app(desk)) as api:
        query = [("from", SINCE.isoformat()), ("to", UNTIL.isoformat()), ("by", "feature"), ("currency", currency)]
        assert by_feature(api.get("/v1/spend", query).json["rows"]) == day


async def test_a_tool_for_models_tells_it(reader: Reader, asked: tuple[str, Told]) -> None:
    currency, day = asked
    desk = Desk(Answers(reader), zone="UTC", zone_of=zone, book=PriceBook.bundled())
    async with Client(make_server(desk)) as client:
        span = {"since": SINCE.isoformat(), "until": UNTIL.isoformat(), "currency": currency}
        answer = await client.call_tool("spend", {**span, "by": ["feature"]})
    assert answer.structured_content is not None
    assert by_feature(answer.structured_content["rows"]) == day


# --- no door has SQL of its own --------------------------------------------------------------------------------------

DOORS: Final = sorted(file for room in ("api", "page", "mcp") for file in (SINKS / room).rglob("*.py"))
DESK: Final = sorted((SINKS / "figures").glob("*.py"))


def texts_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("file", DOORS, ids=lambda file: str(file.relative_to(SINKS)))
def test_a_door_writes_no_question_to_the_warehouse(file: Path) -> None:
    assert [text for text in texts_in(file) if re.search(r"\bSELECT\b", text)] == []


def test_what_the_desk_asks_is_asked_of_views() -> None:
    known = {view.name for view in views()}
    asked = {name for file in DESK for text in texts_in(file) for name in re.findall(r"\bFROM (\w{4,})", text)}
    assert asked > {"top_users", "ingest_ledger", "usage_hourly"}
    assert {name for name in asked if name not in known and f"{name}_between" not in known} == set()


def test_the_desk_multiplies_no_money() -> None:
    """It may add up a column of a view, and tell what part of the sum a row is."""
    made = [text for file in DESK for text in texts_in(file) if re.search(r"cost\w*\)?\s*[*/]|[*/]\s*\(?\w*cost", text)]
    assert made == ["cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share"]
