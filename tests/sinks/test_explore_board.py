"""The board Explore: what is chosen is what is told, whatever it is called, and every cost elsewhere leads here.

The figures are those of the calls below, added up by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.dashboards.explore import BY, CALLS_MAX
from sinks.dashboards.queries import value_of
from sinks.errors import WarehouseRefused
from tests.sinks.test_dashboards import END, NOON, VIEW, answer, call, usd
from tests.support.grafana import View, at_first, boards, expand
from tests.support.warehouse import Server
from tests.support.warehouse_rows import store_calls

WHO: Final = "Who spent it, by ${by}"
HOSTILE: Final = (
    *("it's", 'a"b', "back\\slash", "\\' OR 1 = 1 --", "' OR 1 = 1 --", "\\", "\\\\'", "$__toTime", "${by}", "$$"),
    *("a,b", "{a,b}", "%27", "100 %", "a+b", "a b", "é🙂", "`", "); SELECT 1 --", "$__dateFilter(x)", "{{x}}", "a&b"),
)


def asked(**chosen: str) -> View:
    return replace(VIEW, variables=chosen)


CALLS: Final = [
    call("a", NOON, 100, feature="search", team="red", user_id="ann", session_id="s-1", input_tokens=7),
    call("b", NOON, 20, feature="search", team="blue", user_id="ann", session_id="s-2", status="error", error="late"),
    call("c", NOON - timedelta(hours=1), 3, feature="chat", team="red", user_id="bob", session_id="s-3"),
    call("d", NOON + timedelta(minutes=1), None, feature="chat", team="", user_id="bob", session_id="s-3"),
    call("e", NOON + timedelta(hours=1), 7_000, feature="search", user_id="ann", session_id="s-1"),
    *(
        call(f"hostile {n}", NOON - timedelta(hours=2), 1, feature=name, model=name, user_id=name, session_id=name)
        for n, name in enumerate(HOSTILE)
    ),
]


@pytest.fixture(scope="module")
def stored(clickhouse_endpoint: Server) -> Iterator[Reader]:
    address: ClickHouseAddress = clickhouse_endpoint.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        yield reader


def told(reader: Reader, title: str, **chosen: str) -> dict[str, tuple[Any, int]]:
    return {row["name"]: (row["cost"], row["calls"]) for row in answer(reader, title, asked(**chosen))}


def test_what_is_chosen_is_what_is_told(stored: Reader) -> None:
    assert told(stored, WHO, by="team", feature="search") == {"red": (usd("1.00"), 1), "blue": (usd("0.20"), 1)}
    of_model = told(stored, WHO, by="feature", model="gpt-4o-mini")
    assert of_model == {"search": (usd("1.20"), 2), "chat": (usd("0.03"), 2)}
    assert told(stored, WHO, by="feature", feature="chat", provider="openai") == {"chat": (usd("0.03"), 2)}
    assert told(stored, WHO, by="feature", feature="nobody has it") == {}


def test_users_and_sessions_are_told_by_single_calls(stored: Reader) -> None:
    assert told(stored, WHO, by="feature", user_id="ann") == {"search": (usd("1.20"), 2)}
    assert told(stored, WHO, by="team", session_id="s-3") == {"red": (usd("0.03"), 1), "": (None, 1)}
    both = told(stored, WHO, by="session_id", feature="search")
    assert both == {"s-1": (usd("1.00"), 1), "s-2": (usd("0.20"), 1)}
    hours = {
        (row["time"], row["series"]): row["cost"]
        for row in answer(stored, "Cost by hour", asked(by="user_id", feature="chat"))
    }
    assert hours == {(NOON - timedelta(hours=1), "bob"): usd("0.03"), (NOON, "bob"): None}
    unpriced = [row["unpriced_calls"] for row in answer(stored, "Cost by hour", asked(user_id="bob"), ref="B")]
    assert unpriced == [0, 1]


def test_sums_and_single_calls_say_the_same(stored: Reader) -> None:
    """The user is each of the two; a day of the zone that is half an hour off as well."""
    for title in ("Cost by hour", "Cost by day"):
        for zone in ("utc", "Asia/Kolkata"):
            view = replace(asked(by="feature", model="gpt-4o-mini"), zone=zone)
            of_sums = {(row["time"], row["series"]): row["cost"] for row in answer(stored, title, view)}
            of_users: dict[tuple[datetime, str], Any] = {}
            for user in ("ann", "bob"):
                one = replace(view, variables={**view.variables, "user_id": user})
                for row in answer(stored, title, one):
                    of_users[row["time"], row["series"]] = row["cost"]
            assert of_sums == of_users, (title, zone)


def test_the_calls_behind_a_figure_are_told_one_by_one(stored: Reader) -> None:
    rows = answer(stored, "Calls", asked(model="gpt-4o-mini"))
    assert [(row["request_id"], row["cost"]) for row in rows] == [
        *(("a", usd("1.00")), ("b", usd("0.20")), ("c", usd("0.03")), ("d", None))
    ]
    assert (rows[0]["team"], rows[0]["user_id"], rows[0]["session_id"], rows[0]["input_tokens"]) == (
        *("red", "ann", "s-1"),
        7,
    )
    assert (rows[1]["status"], rows[1]["error"], rows[3]["cost_reason"]) == ("error", "late", "no price known")
    assert [row["request_id"] for row in answer(stored, "Calls", asked(session_id="s-1"))] == ["a"]


def test_of_many_calls_a_hundred_are_told(stored: Reader) -> None:
    many = [call(f"many {n}", NOON - timedelta(days=3), n, feature="many") for n in range(CALLS_MAX + 1)]
    with closing(Writer(stored.address)) as writer:
        store_calls(writer, many)
    view = View(start=NOON - timedelta(days=4), end=END, variables={"feature": "many"})
    rows = answer(stored, "Calls", view)
    assert len(rows) == CALLS_MAX
    assert (rows[0]["cost"], rows[-1]["cost"]) == (usd("1.00"), usd("0.01"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_a_name_whatever_is_in_it(stored: Reader, name: str) -> None:
    assert told(stored, WHO, by="feature", feature=name) == {name: (usd("0.01"), 1)}
    assert told(stored, WHO, by="model", user_id=name) == {name: (usd("0.01"), 1)}
    assert told(stored, WHO, by="user_id", session_id=name, model=name) == {name: (usd("0.01"), 1)}
    assert [row["user_id"] for row in answer(stored, "Calls", asked(session_id=name, feature=name))] == [name]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_dimension_no_currency_and_no_zone_says_nothing_of_others(stored: Reader, name: str) -> None:
    assert list(told(stored, WHO, by=name)) == [""], "no column is called so"
    assert stored.frame(f"SELECT {expand(value_of('currency'), asked(currency=name))} AS said")["said"].item() == name
    with pytest.raises(WarehouseRefused, match="there is no exchange rate of"):
        answer(stored, WHO, asked(currency=name))
    with pytest.raises(WarehouseRefused, match="time zone"):
        answer(stored, WHO, replace(VIEW, zone=name))


def links() -> Iterator[tuple[str, str, str]]:
    """Board, panel and address of every way to another board that stands on a figure."""
    for board, made in boards().items():
        for panel in made["panels"]:
            for override in panel["fieldConfig"]["overrides"]:
                for each in override["properties"]:
                    if each["id"] == "links":
                        for link in each["value"]:
                            yield board, panel["title"], link["url"]


def test_every_link_leads_to_explore_keeps_the_span_and_sets_a_variable_that_is_there() -> None:
    found = list(links())
    known = set(at_first())
    for board, title, url in found:
        place, _, query = url.partition("?")
        assert place == "/d/costream-explore", (board, title)
        assert boards()["costream-explore"]["uid"] == "costream-explore"
        assert query.startswith("${__url_time_range}&"), (board, title)
        by = re.findall(r"&var-by=([^&]+)", query)
        assert set(by) <= {*BY, "${by}"}, (board, title)
        (variable,) = set(re.findall(r"&var-([^=]+)=", query)) - {"by"}
        assert variable in known | {"${by}"}, (board, title)
        assert re.search(r"=\$\{__(value\.raw|field\.labels\.series):percentencode\}$", query), (board, title)
    assert {"costream-cost", "costream-models", "costream-resources", "costream-explore"} <= {each[0] for each in found}


def test_every_graph_and_table_of_costs_by_a_name_leads_to_its_calls() -> None:
    with_a_way = {(board, title) for board, title, _ in links()}
    for board, title in (
        *(("costream-cost", title) for title in ("Features", "Providers", "Dearest users of the month")),
        *(("costream-cost", title) for title in ("Margin by feature", "Months by feature", "Cost by day and provider")),
        *(("costream-models", title) for title in ("Models side by side", "Cost by day, in USD")),
        *(
            ("costream-resources", title)
            for title in ("Servers, storage and networks", "Cost by day and instance type")
        ),
        *(("costream-explore", title) for title in (WHO, "Cost by hour", "Cost by day", "Calls")),
    ):
        assert (board, title) in with_a_way, (board, title)
