"""Histories of calls: usage events that are priced, rows that have their cost, and what is neither."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PICO, PriceBook
from stream.budgets.trace import PRICED_AT_ONCE, SCHEMA, LineRefused, Trace, lines_of, read_trace
from stream.pricing.quotes import quotes
from tests.support.properties import examples

BOOK = PriceBook.bundled()
AT = datetime(2026, 11, 30, 10, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "request_id": "r-1",
    "occurred_at": AT.isoformat(),
    "provider": "openai",
    "model": "gpt-4o-mini",
    "input_tokens": 800,
    "output_tokens": 100,
}
ROW: dict[str, Any] = {"occurred_at": "2026-11-30 10:00:00.000", "cost_usd": "0.000000000007"}


def read(*lines: Any) -> Trace:
    return read_trace((line if isinstance(line, str) else json.dumps(line) for line in lines), BOOK)


def only(trace: Trace) -> dict[str, Any]:
    assert trace.refused == ()
    (row,) = trace.events.to_dicts()
    return row


def test_an_event_costs_what_it_is_quoted_at_and_arrives_when_it_occurred() -> None:
    row = only(read(EVENT | {"user_id": "ann", "feature": "chat"}))
    (quoted,) = quotes([json.dumps(EVENT)], BOOK, now=AT, new_id=lambda: "x")
    assert row["cost_pico"] == int(Decimal(quoted["cost_usd"]) * PICO) == 180 * 10**6
    assert (row["occurred_at"], row["arrived_at"]) == (AT, AT)
    assert (row["provider"], row["model"], row["user_id"], row["session_id"], row["feature"], row["operation"]) == (
        *("openai", "gpt-4o-mini", "ann", "", "chat", "chat"),
    )


def test_an_event_has_the_names_that_are_stored_and_may_say_when_it_arrived() -> None:
    sent = {"provider": "google-gla", "model": "models/gemini-2.5-flash", "received_at": "2026-11-30T10:00:05Z"}
    row = only(read(EVENT | sent))
    assert (row["provider"], row["model"]) == ("google", "gemini-2.5-flash")
    assert (row["arrived_at"] - row["occurred_at"]).total_seconds() == 5


def test_an_event_without_a_price_has_no_cost_and_one_without_an_id_is_one() -> None:
    unknown = {name: value for name, value in EVENT.items() if name != "request_id"} | {"model": "gpt-17"}
    trace = read(unknown, unknown)
    assert trace.events["cost_pico"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"cost_pico": 7, "occurred_at": AT, "arrived_at": AT, "user_id": ""}),
        ({"cost_usd": None}, {"cost_pico": None}),
        ({"cost_usd": 2}, {"cost_pico": 2 * PICO}),
        ({"cost_usd": 0.1}, {"cost_pico": PICO // 10}),
        ({"cost_usd": "-1.5"}, {"cost_pico": -3 * PICO // 2}),
        ({"received_at": "2026-11-30 10:00:01"}, {"arrived_at": AT.replace(second=1), "occurred_at": AT}),
        ({"occurred_at": "2026-11-30T10:00:00"}, {"occurred_at": AT, "arrived_at": AT}),
        ({"occurred_at": "2026-11-30T19:00:00+09:00"}, {"occurred_at": AT, "arrived_at": AT}),
        ({"user_id": "ann", "team": None, "cost_detail": "x", "price_id": "p"}, {"user_id": "ann", "team": ""}),
    ],
)
def test_a_row_of_the_warehouse_has_its_cost_and_times_of_utc(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    row = only(read(ROW | fields))
    assert {name: row[name] for name in expected} == expected


def test_the_order_is_that_of_arrival_and_equal_times_keep_theirs() -> None:
    late = EVENT | {"request_id": "late", "occurred_at": "2026-11-30T10:00:01Z", "user_id": "late"}
    early = [ROW | {"user_id": name} for name in ("a", "b")]
    trace = read(late, *early)
    assert trace.events["user_id"].to_list() == ["a", "b", "late"]


def test_the_first_line_with_an_id_counts() -> None:
    trace = read(EVENT, EVENT | {"input_tokens": 9}, ROW | {"request_id": "r-1"}, ROW, ROW)
    assert (trace.events.height, trace.repeats) == (3, 2)


def test_more_events_than_are_priced_at_once_are_all_there() -> None:
    trace = read(*(EVENT | {"request_id": f"r-{number}"} for number in range(PRICED_AT_ONCE + 1)))
    assert trace.events.height == PRICED_AT_ONCE + 1
    assert trace.events["cost_pico"].n_unique() == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: it is no JSON: "),
        ("[" * 100_000, "line 2: it is no JSON: "),
        ("1" * 5_000, "line 2: it is no JSON: "),
        ("7", "line 2: it is no JSON object"),
        (json.dumps(EVENT | {"request_id": "x", "input_tokens": -1}), "line 2: input_tokens"),
        (json.dumps({"request_id": "x"}), "line 2: "),
        (json.dumps(EVENT | {"request_id": "x", "received_at": "soon"}), "line 2: received_at: 'soon' is no time"),
        (json.dumps({"cost_usd": "1"}), "line 2: occurred_at: None is no time such as 2026-11-30T10:00:00Z"),
        (json.dumps(ROW | {"occurred_at": 7}), "line 2: occurred_at: 7 is no time"),
        (json.dumps(ROW | {"user_id": 7}), "line 2: user_id: 7 is no text"),
        (json.dumps(ROW | {"cost_usd": "1e-13"}), "line 2: cost_usd: '1e-13' is no amount of USD with at"),
        (json.dumps(ROW | {"cost_usd": "x"}), "line 2: cost_usd: 'x' is no amount"),
        (json.dumps(ROW | {"cost_usd": "NaN"}), "line 2: cost_usd: 'NaN' is no amount"),
        (json.dumps(ROW | {"cost_usd": "1e400"}), "line 2: cost_usd: '1e400' is no amount"),
        (json.dumps(ROW | {"cost_usd": True}), "line 2: cost_usd: 'True' is no amount"),
        (json.dumps(ROW | {"cost_usd": "9223372.036854775808"}), "line 2: cost_usd: '9223372.036854775808' is no"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_call_is_told_with_its_number_and_the_others_are_read(line: str, fault: str) -> None:
    trace = read(EVENT, line, "", ROW)
    assert trace.events.height == 2
    (told,) = trace.refused
    assert told.startswith(fault)


def test_without_lines_there_is_nothing() -> None:
    assert read().events.schema == SCHEMA
    assert read("", "  ").events.height == 0


def test_an_array_is_read_as_its_objects_and_keeps_the_digits() -> None:
    members = ['{"cost_usd": 0.100000000001}', '{"a": [1.0, {}], "cost_usd": "2"}', "7"]
    assert list(lines_of(f"\n [{members[0]},\n {members[1]} ,\t{members[2]}\n] ")) == members
    assert list(lines_of("[]")) == list(lines_of(" [ ] ")) == []
    assert list(lines_of("{}\n{}")) == ["{}", "{}"]
    for broken in ("[{", "[1 2]", "[1,]", "[1] 2", "[" * 100_000):
        with pytest.raises(LineRefused, match="it begins like an array, and is no JSON"):
            list(lines_of(broken))


@examples(300)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "replace")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_trace(lines_of(text), BOOK)
    except LineRefused:
        assert text.lstrip().startswith("[")
