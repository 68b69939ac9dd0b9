"""Each row of the table in docs/event.md, run on responses as providers document them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest
from genai_prices.data_units import unit_data

from costream import UsageEvent
from tests.producers.usage_objects import CASES, Case
from tests.producers.usage_table import Api, apis, event_fields, value_of

APIS: Final = apis()
ROWS: Final = [(api, name) for api in APIS for name in api.rows]


def api_of(case: Case) -> Api:
    """The part of the table that is about the case."""
    (found,) = [api for api in APIS if api.name == case.api and (not api.providers or case.provider in api.providers)]
    return found


def as_received(response: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of JSON, with each number as it is written."""
    read: dict[str, Any] = json.loads(json.dumps(response), parse_float=Decimal)
    return read


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_response_becomes_the_event_that_was_worked_out_by_hand(case: Case) -> None:
    assert event_fields(api_of(case).rows, as_received(case.response)) == case.event


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_table_makes_of_a_response_is_an_event_of_the_contract(case: Case) -> None:
    fields = event_fields(api_of(case).rows, as_received(case.response))
    when = datetime(2026, 11, 1, tzinfo=UTC)
    event = UsageEvent.create(provider=case.provider, request_id="r-1", occurred_at=when, **fields)
    assert UsageEvent.model_validate_json(event.to_json()) == event


@pytest.mark.parametrize(("api", "name"), ROWS, ids=[f"{api.name} {api.providers[:1]} {name}" for api, name in ROWS])
def test_each_row_decides_a_field_of_some_response(api: Api, name: str) -> None:
    """And each of its parts does: without it, some response would become another event."""
    cases = [case for case in CASES if api_of(case) is api]
    source = api.rows[name]
    for other in [*without_a_part(source), *([source.replace(" + ", " or ")] if " + " in source else [])]:
        changed = api.rows | {name: other}
        assert any(event_fields(changed, as_received(case.response)) != case.event for case in cases), (
            f"no response in usage_objects.py tells {source!r} from {other!r}"
        )


def without_a_part(source: str) -> list[str]:
    """The same with one of its parts naming nothing."""
    words = source.replace(" + ", "\0 + \0").replace(" or ", "\0 or \0").replace(" / ", "\0 / \0").split("\0")
    calls = [source.replace(called, "count") for called in ("distinct", "characters") if called in source]
    return calls + [
        "".join([*words[:at], "1" if words[at - 1 : at] == [" / "] else "nothing", *words[at + 1 :]])
        for at in range(0, len(words), 2)
    ]


def test_no_two_parts_of_the_table_are_about_the_same_api_of_a_provider() -> None:
    named = [(api.name, provider) for api in APIS for provider in api.providers or ("",)]
    assert len(set(named)) == len(named) > 40


def test_each_field_is_one_of_the_event_and_each_unit_one_of_the_price_table() -> None:
    names = {name for _, name in ROWS}
    units = {name.removeprefix("quantities.") for name in names if name.startswith("quantities.")}
    assert units <= unit_data.keys()
    fields = {name for name in names if not name.startswith("quantities.")}
    assert fields <= UsageEvent.model_fields.keys()


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a.b", 1),
        ("a.no", None),
        ("no.b", None),
        ("a.null", None),
        ("a.b.c", None),
        ("a.zero", 0),
        ("a.b + a.zero", 1),
        ("a.b + a.no", 1),
        ("a.no + a.null", None),
        ("a.no or a.b", 1),
        ("a.zero or a.b", 0),
        ("a.no or a.b + a.no or a.b", 2),
        ("a.b / 4", Decimal("0.25")),
        ("a.no / 4", None),
        ("list.n", 6),
        ("list[kind=x].n", 4),
        ("list[kind=z].n", None),
        ("a[name=y].b", None),
        ("a[name=x].b", 1),
        ("count(list)", 3),
        ("count(list[kind=x])", 2),
        ("count(no)", None),
        ("distinct(list.kind)", 2),
        ("distinct(no)", None),
        ("characters(a.name)", 1),
        ('"x y"', "x y"),
        ("list[kind=x].inner[kind=q].n", 8),
    ],
)
def test_the_right_side_means_what_the_page_says(source: str, value: Any) -> None:
    inner = [{"kind": "q", "n": 8}, {"kind": "r", "n": 9}]
    entries = [{"kind": "x", "n": 1, "inner": inner}, {"kind": "y", "n": 2}, {"kind": "x", "n": 3}]
    response = {"a": {"b": 1, "null": None, "zero": 0, "name": "x"}, "list": entries}
    assert value_of(source, response) == value
