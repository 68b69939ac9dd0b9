"""Bytes to a frame: what is accepted, what it is read as, and both sides of every bound."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.exceptions import ComputeError
from pydantic import ValidationError

from costream.events import METADATA_BYTES_MAX, TOKENS_MAX, UsageEvent
from costream.topics import EVENT_BYTES_MAX
from stream.decode import frame as decoding
from stream.decode.cut import Cut
from stream.decode.examination import examine_value
from stream.decode.frame import Gate, Refusal, decode, is_credible
from tests.support.properties import examples
from tests.support.records import LIMITS, NOW, FakeRecord, fields, log_of, rfc3339, wire

MILLISECOND = timedelta(milliseconds=1)


def verdict(value: bytes) -> UsageEvent | None:
    """What the contract says of these bytes: the model accepts them, and no object in them repeats a key."""
    if len(value) > EVENT_BYTES_MAX:
        return None
    try:
        event = UsageEvent.model_validate_json(value)
    except ValidationError:
        return None
    try:
        json.loads(value, object_pairs_hook=without_repeats)
    except ValueError:
        return None
    return event


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def picodollars(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount * 10**12)


def expected_row(event: UsageEvent) -> dict[str, Any]:
    row = event.model_dump(exclude={"schema_version", "reported_cost_usd", "revenue_usd", "utilization"})
    return row | {
        "reported_cost_pico": picodollars(event.reported_cost_usd),
        "revenue_pico": picodollars(event.revenue_usd),
        "utilization_micro": None if event.utilization is None else int(event.utilization * 10**6),
    }


def read_row(frame: pl.DataFrame) -> dict[str, Any]:
    (row,) = frame.drop("row", "source", "source_partition", "source_offset", "received_at").to_dicts()
    row["metadata"] = json.loads(row["metadata"] or "{}")
    for name in ("quantities", "unit_prices"):
        amounts = json.loads(row[name] or "{}")
        row[name] = {unit: Decimal(amount) for unit, amount in amounts.items()}
    return row


def check_agreement(values: list[bytes]) -> None:
    """The batch accepts exactly what the contract accepts, reads the same values, and refuses each other one."""
    decoded = decode(log_of(values), source="s", limits=LIMITS)
    events = {row: event for row, value in enumerate(values) if (event := verdict(value)) is not None}
    early_or_late = {refusal.record.offset for refusal in decoded.refusals if refusal.kind in ("too_early", "too_old")}
    accepted = decoded.frame["source_offset"].to_list()
    assert sorted([*accepted, *early_or_late]) == sorted(events)
    assert accepted == sorted(accepted)
    assert sorted([*accepted, *(refusal.record.offset for refusal in decoded.refusals)]) == list(range(len(values)))
    for at, row in enumerate(accepted):
        assert read_row(decoded.frame[at]) == expected_row(events[row])


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The values that are looked at one by one."""
    seen: list[bytes] = []

    def spy(value: bytes) -> Any:
        seen.append(value)
        return examine_value(value)

    monkeypatch.setattr(decoding, "examine_value", spy)
    return seen


# --- struct and model accept the same bytes ---------------------------------------------------------------------------

INTEGERS = st.sampled_from(
    ["0", "7", "-0", "-1", "1.0", "1e3", "1E0", "0.5", "-0.0", "1e400", "007", "+1", "NaN", "Infinity", "true", '"7"']
    + [str(bound + step) for bound in (TOKENS_MAX, 2_678_400_000, 2**53, 2**63, 2**64) for step in (-1, 0, 1)]
)
TIMES = st.sampled_from(
    [
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00.1Z",
        "2026-11-23T12:00:00.123456Z",
        "2026-11-23T12:00:00.1234567Z",
        "2026-11-23T12:00:00.999999999Z",
        "2026-11-23t12:00:00z",
        "2026-11-23 12:00:00Z",
        "2026-11-23T12:00:00+00:00",
        "2026-11-23T12:00:00-00:00",
        "2026-11-23T21:00:00+09:00",
        "2026-11-23T12:00:00+0000",
        "2026-11-23T12:00:00+00",
        "2026-11-23T12:00:00",
        "2026-11-23T12:00Z",
        "2026-11-23",
        "2026-11-23T24:00:00Z",
        "2026-11-23T12:60:00Z",
        "2026-11-23T11:59:60Z",
        "2026-11-31T12:00:00Z",
        "2026-11-23T12:00:00+24:00",
        "2026-11-23T12:00:00,5Z",
        "2026-11-23T12:00:00Z ",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0666-11-23T12:00:00Z",
        "1795435200",
        "",
    ]
).map(json.dumps)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "a" * 128, "a" * 129, "é" * 128, "😀" * 128, "\x00", "\n", "\x7f", "\x80", "\u2028", "{", '"']
    ),
).flatmap(lambda text: st.booleans().map(lambda escaped: json.dumps(text, ensure_ascii=escaped)))
TEXTS |= st.sampled_from(['"\\ud800"', '"\\ud83d\\ude00"', '"\\u0061\\/b"', '"\\x"', '"\\u00"', '"a\tb"', "'a'"])
NUMBERS = ["1.2e-05", "0.00033949999999999996", "1e-400", "-0.0", "5E2", "999999.9999999999999", "1e6", "-1", "9" * 20]
NUMBERS += ["123456.123456789012", "0." + "3" * 600, "1" + "0" * 600 + "e-600", "1" * 600, "NaN", "1e400"]
EXPONENTS = ['"1.2e-05"', '"12E-1"', '"0.00033949999999999996"', '"999999.9999999999999"', '"1e-100"', '"1e+0"']
AMOUNTS = st.sampled_from(
    ['"0"', '"0.05"', '"0.000000000001"', '"0.0000000000001"', '"999999.999999999999"', '"1000000"', '"00.1"', '".5"']
) | st.sampled_from(
    ['"5."', '"-1"', '"1e3"', '"+1"', '" 1"', '"\u0661"', '""', "0", "0.1", "null", '"NaN"', '"Infinity"', '"1\\n"']
)
AMOUNTS |= st.sampled_from([*NUMBERS, *EXPONENTS])
SHARES = (
    AMOUNTS
    | st.sampled_from(
        ['"1"', '"1.0"', '"1.000001"', '"0.000001"', '"0.0000001"', '"0.3333333333333333"', '"9e-1"', '"5e-00"', '"85"']
    )
    | st.sampled_from(["1", "1.0", "0.85", "1.0000001", "0.9999999", "-1e-9", "85"])
)
OPERATIONS = st.sampled_from(['"chat"', '"gpu"', '"Chat"', '""', '"c\\u0068at"', '"steal"', "1"])
STATUSES = st.sampled_from(['"ok"', '"error"', '"missing"', '"reported"', '"estimated"', '"OK"'])
VERSIONS = st.sampled_from(["1", "2", "1.0", "true", '"1"', "-1", "1e0"])


def objects_of(members: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[str]:
    return st.lists(members, max_size=3).map(
        lambda pairs: "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
    )


JSON_KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '""', '"a b"', '"é"'])
JSON_LEAVES = (
    INTEGERS | TEXTS | st.sampled_from(["null", "true", "[]", "{}", "1e20", "1.5e-9", "123456789012345678901"])
)
JSON_VALUES = st.recursive(
    JSON_LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | objects_of(st.tuples(JSON_KEYS, inner))
    ),
    max_leaves=4,
)
METADATA = objects_of(st.tuples(JSON_KEYS, JSON_VALUES))
UNITS = st.sampled_from(['"audio_seconds"', '"images"', '"Images"', '"1x"', '"\\u0069mages"'])
QUANTITIES = objects_of(
    st.tuples(UNITS, AMOUNTS | st.sampled_from(['"123456789012345678.5"', '"1234567890123456789"']))
)

VALUES: dict[str, st.SearchStrategy[str]] = {
    "schema_version": VERSIONS,
    "occurred_at": TIMES,
    "operation": OPERATIONS,
    "status": STATUSES,
    "usage_status": STATUSES,
    "metadata": METADATA,
    "quantities": QUANTITIES,
    "unit_prices": QUANTITIES,
    "reported_cost_usd": AMOUNTS,
    "revenue_usd": AMOUNTS,
    "utilization": SHARES,
}
COUNTS = [name for name in Gate.__struct_fields__ if name.endswith(("_tokens", "_ms"))]
VALUES |= dict.fromkeys(COUNTS, INTEGERS | st.integers(0, 2000).map(str))
VALUES |= {name: TEXTS for name in Gate.__struct_fields__ if name not in VALUES}
WRONG = st.sampled_from(["null", "{}", "[]", "1", '"x"', "true", "[1]"])
SPACES = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t", "\r", "\u00a0", "\x0b"])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good event with a few members changed, added, repeated, misspelt, shuffled or spaced out, or its bytes hurt."""
    members = [(json.dumps(name), json.dumps(value)) for name, value in fields().items()]
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4)):
        value = draw(st.one_of(VALUES[name], VALUES[name], VALUES[name], WRONG))
        if not draw(st.sampled_from([False] * 5 + [True])):  # a member is replaced; now and then it stands twice
            members = [member for member in members if member[0] != json.dumps(name)]
        members.append((json.dumps(name), value))
    if draw(st.sampled_from([False] * 9 + [True])):
        members.append((draw(st.sampled_from(['"source_offset"', '"te\\u0061m"', '"Team"', '""'])), draw(TEXTS)))
    members = draw(st.permutations(members)) if draw(st.booleans()) else members
    space = draw(SPACES)
    text = "{" + ",".join(f"{space}{name}{space}:{space}{value}{space}" for name, value in members) + "}"
    value = f"{draw(SPACES)}{text}{draw(SPACES)}".encode()
    if draw(st.sampled_from([False] * 9 + [True])):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.binary(max_size=2)) + value[at + draw(st.integers(0, 2)) :]
    return value


@examples(250)
@given(st.lists(mutated(), min_size=1, max_size=12))
def test_the_worker_accepts_exactly_what_the_contract_accepts_and_reads_the_same_values(values: list[bytes]) -> None:
    check_agreement(values)


@examples(30)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b"")
@example(b"null")
@example(b"[]")
def test_no_bytes_whatever_are_more_than_refused(value: bytes) -> None:
    check_agreement([wire("good-1"), value, wire("good-2")])


METADATA_TRAPS = [
    '{"a":1,"a":2}',
    '{"a":{"b":1,"b":2}}',
    '{"a":[{"b":1,"b":1}]}',
    '{"a":1,"a":null}',
    '{"a":"x\\u0001\\n"}',
    '{"a":' + "[" * 199 + "]" * 199 + "}",
    '{"a":' + "[" * 400 + "]" * 400 + "}",
    '{"a":' + "[" * 1_650 + "]" * 1_650 + "}",
    '{"a":' + "[" * 20_000 + "]" * 20_000 + "}",
    '{"a":[' + ",".join(["1.0"] * 1022) + "]}",
    '{"a":[' + ",".join(["1.0"] * 1023) + "]}",
    '{"a":[' + ",".join(["1e300"] * 400) + "]}",
    '{"a":NaN}',
    '{"a":1e400}',
    '{"a":-1e-400}',
    '{"a":18446744073709551616}',
    '{"a":' + "9" * 38 + "}",
    '{"a":' + "9" * 39 + "}",
    '{"a":-' + "1" * 40 + "}",
    '{"a":[' + "7" * 400 + "]}",
    '{"a":' + "1" * 4_090 + "}",
    '{"a":' + "1" * 4_301 + "}",
    '"{}"',
    "{}",
]


@pytest.mark.parametrize("metadata", METADATA_TRAPS, ids=lambda text: text[:24])
def test_metadata_is_judged_and_read_as_the_contract_says(metadata: str) -> None:
    check_agreement([wire()[:-1] + f',"metadata":{metadata}}}'.encode()])


@pytest.mark.parametrize("metadata", METADATA_TRAPS[4:], ids=lambda text: text[:24])
def test_metadata_of_an_accepted_event_is_json_text_again(metadata: str) -> None:
    decoded = decode(log_of([wire()[:-1] + f',"metadata":{metadata}}}'.encode()]), source="s", limits=LIMITS)
    for text in decoded.frame["metadata"]:
        assert text == "" or isinstance(json.loads(text), dict)


UNITS_TRAPS = [
    "{}",
    '{"b":"2","a":"1.50"}',
    "{" + ",".join(f'"u{n}":"0"' for n in range(16)) + "}",
    "{" + ",".join(f'"u{n}":"0"' for n in range(17)) + "}",
    "{" + ",".join([f'"u{n}":"0"' for n in range(16)] + ['"u0":"0"']) + "}",
    '{"a":"1","a":"1"}',
    '{"a":"1","a":"2"}',
    '{"\\u0061":"1"}',
    '{"\\u0061":"1","a":"1"}',
    '{"a":"\\u0031"}',
    '{"a":"1\\n"}',
    '{"a\\n":"1"}',
    '{"a\\"":"1"}',
    '{"' + "a" * 64 + '":"1"}',
    '{"' + "a" * 65 + '":"1"}',
    '{"é":"1"}',
    '{"a":"999999999999999999.999999999999"}',
    '{"a":"1000000000000000000"}',
    '{"a":"0.0000000000001"}',
    '{"a":"0.0000001"}',
    '{"a":"\u0661"}',
    '{"a":""}',
    '{"":"1"}',
    '{"a":1}',
    '{"a":null}',
    '{"a":{"b":"1"}}',
    '[["a","1"]]',
    "null",
]


@pytest.mark.parametrize("name", ["quantities", "unit_prices"])
@pytest.mark.parametrize("units", UNITS_TRAPS, ids=lambda text: text[:24])
def test_units_are_judged_as_the_contract_says_and_equal_ones_are_equal_text(units: str, name: str) -> None:
    value = wire()[:-1] + f',"{name}":{units}}}'.encode()
    check_agreement([value])
    check_agreement([value[:-1] + f',"{name}":{{}}}}'.encode()])
    odd_time = value.replace(b"2026-11-23T12:00:00Z", b"2026-11-23t12:00:00Z")  # this one the model reads
    texts = decode(log_of([value, odd_time]), source="s", limits=LIMITS).frame[name].to_list()
    assert odd_time != value
    assert len(texts) in (0, 2)
    assert texts[:1] == texts[1:]
    for text in texts:
        event = verdict(value)
        assert event is not None
        amounts = sorted((unit, f"{amount:f}") for unit, amount in getattr(event, name).items())
        assert text == (json.dumps(dict(amounts)) if amounts else "")


@pytest.mark.parametrize("name", sorted(set(UsageEvent.model_fields) - set(fields())))
def test_null_in_an_optional_field_is_read_as_an_absent_one(name: str, examined: list[bytes]) -> None:
    null = wire("null")[:-1] + f',"{name}":null}}'.encode()
    check_agreement([null, wire("a")])
    rows = [read_row(decode(log_of([value]), source="s", limits=LIMITS).frame) for value in (wire("null"), null)]
    assert rows[0] == rows[1]
    assert examined == []


def test_null_in_every_optional_field_at_once_is_read_without_a_second_look(examined: list[bytes]) -> None:
    nulls = dict.fromkeys(UsageEvent.model_fields) | fields("nulls", feature=None, user_id=None)
    check_agreement([json.dumps(nulls).encode(), wire("other")])
    assert examined == []


@pytest.mark.parametrize("name", ["request_id", "occurred_at", "provider", "model"])
def test_null_in_a_required_field_is_refused(name: str) -> None:
    assert kinds_of(json.dumps(fields() | {name: None}).encode()) == ["invalid"]


@pytest.mark.parametrize("count", ["930.0", "9.3e2", "93E1", "930." + "0" * 600])
def test_an_integer_with_a_point_or_an_exponent_is_counted(count: str) -> None:
    value = wire(input_tokens=0).replace(b'"input_tokens":0', f'"input_tokens":{count}'.encode())
    check_agreement([wire("a"), value, wire("b")])
    assert decode(log_of([value]), source="s", limits=LIMITS).frame["input_tokens"].to_list() == [930]


@pytest.mark.parametrize("name", ["reported_cost", "revenue"])
@pytest.mark.parametrize("amount", [*NUMBERS, *EXPONENTS])
def test_an_amount_that_is_only_noted_is_read_as_the_contract_reads_it(amount: str, name: str) -> None:
    value = wire()[:-1] + f',"{name}_usd":{amount}}}'.encode()
    check_agreement([wire("a"), value, wire("b")])


def test_a_call_whose_reported_cost_is_a_number_is_counted() -> None:
    value = wire()[:-1] + b',"reported_cost_usd":1.2e-05}'
    assert decode(log_of([value]), source="s", limits=LIMITS).frame["reported_cost_pico"].to_list() == [12_000_000]


def test_units_cost_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "examine_value", lambda value: pytest.fail(f"{value!r} is examined"))
    few, many = {"images": "2"}, {f"u{n}": "1.5" for n in range(16)}
    values = [wire("a"), wire("b", quantities=few), wire("c", quantities=many, unit_prices=many), wire("d")]
    frame = decode(log_of(values), source="s", limits=LIMITS).frame
    assert frame["quantities"].to_list() == ["", '{"images": "2"}', frame["unit_prices"][2], ""]


def test_an_event_that_repeats_no_key_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its quotes are explained by what was read of it, whatever it says and whoever stands beside it."""
    monkeypatch.setattr(decoding, "_is_read", lambda value, fields: pytest.fail(f"{value!r} is parsed again"))
    many = {f"u{n}": "1.5" for n in range(16)}
    texts = {"error": "x", "team": "t", "task_type": "t", "environment": "e", "session_id": "s", "status": "error"}
    counts = {"duration_ms": 1, "cache_read_tokens": 1, "cache_write_tokens": 1, "reasoning_tokens": 1}
    others = [texts, counts, {"reported_cost_usd": "0.5", "utilization": "0.5"}, {"schema_version": 1}]
    others += [{"quantities": many, "unit_prices": many}, {"usage_status": "estimated"}]
    others += [{"metadata": {}}, {"metadata": {"a": "b", "c": ["d", 1, {"e": None}]}}, {"metadata": {"n": 1}}]
    for each in others:
        values = [wire("a", **{"metadata": {"a": "b"}} | each), wire("b"), wire("c", **each), wire("d", input_tokens=1)]
        assert decode(log_of(values), source="s", limits=LIMITS).frame["request_id"].to_list() == ["a", "b", "c", "d"]


def test_a_number_that_a_column_can_hold_costs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "examine_value", lambda value: pytest.fail(f"{value!r} is examined"))
    value = wire()[:-1] + b',"metadata":{"a":' + b"9" * decoding.DIGITS_SURE + b"}}"
    (text,) = decode(log_of([value]), source="s", limits=LIMITS).frame["metadata"]
    assert json.loads(text) == {"a": int("9" * 38)}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_metadata_of_more_than_sixty_four_brackets_is_looked_at_alone(
    opening: str, closing: str, examined: list[bytes]
) -> None:
    """The message itself is one of them, and so is its metadata."""
    deep, deeper = (
        wire(f"r-{depth}")[:-1] + f',"metadata":{{"a":{opening * depth}0{closing * depth}}}}}'.encode()
        for depth in (62, 63)
    )
    check_agreement([deep, deeper])
    assert examined == [deeper]


def test_an_event_as_a_client_writes_it_costs_no_second_look_however_much_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "examine_value", lambda value: pytest.fail(f"{value!r} is examined"))
    named = {"occurred_at": NOW, "provider": "p", "model": "m"}
    labels = dict.fromkeys(("feature", "task_type", "user_id", "team", "environment", "session_id"), "x" * 128)
    tokens = {"input_tokens": 3, "cache_read_tokens": 2, "cache_write_tokens": 1, "output_tokens": 4}
    other: dict[str, Any] = {"operation": "api", "status": "error", "error": "timeout", "metadata": {"a": ["b", 1]}}
    other |= {"reasoning_tokens": 4, "duration_ms": 7, "time_to_first_token_ms": 0}
    other |= {"quantities": {"images": "0.5"}, "unit_prices": {"images": 2}, "revenue_usd": "999999.999999999999"}
    other |= {"utilization": "0.853211"}
    few = UsageEvent.create(request_id="few", usage_status="missing", **named)
    much = UsageEvent.create(request_id="much", reported_cost_usd="0.05", **named | labels | tokens | other)
    for event in (few, much):
        frame = decode(log_of([event.to_json()]), source="s", limits=LIMITS).frame
        assert frame["request_id"].to_list() == [event.request_id]


@pytest.mark.parametrize("forbidden", ["\x7f", "\\u007f", "\\u0000", "\\n"])
def test_a_control_character_is_refused_in_a_name_whether_it_stands_bare_or_escaped(forbidden: str) -> None:
    """DEL is the only one that JSON allows to stand bare, and then no escape gives it away."""
    bad = wire("bad", user_id="u-?").replace(b"?", forbidden.encode())
    decoded = decode(log_of([wire("a"), bad, wire("b")]), source="s", limits=LIMITS)
    assert decoded.frame["request_id"].to_list() == ["a", "b"]
    assert [refusal.request_id for refusal in decoded.refusals] == ["bad"]


def test_a_message_is_looked_at_alone_from_a_byte_more_than_the_gate_takes(examined: list[bytes]) -> None:
    room = decoding.GATE_BYTES_MAX - len(wire(metadata={"k": ""}, error="é" * 1_000))
    fits, larger = (wire(metadata={"k": "x" * size}, error="é" * 1_000) for size in (room, room + 1))
    assert (len(fits), len(larger)) == (3_584, 3_585)
    check_agreement([fits, larger])
    assert examined == [larger]


def test_metadata_is_measured_by_the_model_from_a_byte_more_than_half_of_what_it_may_have(
    examined: list[bytes],
) -> None:
    """As it is spelt in columns, with a space behind a colon."""
    room = 2_048 - len('{"k": ""}')
    fits, larger = (wire(metadata={"k": "x" * size}) for size in (room, room + 1))
    check_agreement([fits, larger])
    assert examined == [larger]


@pytest.mark.parametrize("break_", ["\n", "\r\n"])
def test_line_breaks_between_the_tokens_of_an_event_cost_no_second_look(
    break_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "examine_value", lambda value: pytest.fail(f"{value!r} is examined"))
    values = [wire("a"), wire("b").replace(b",", f",{break_}".encode(), 1), wire("c")]
    assert decode(log_of(values), source="s", limits=LIMITS).frame["request_id"].to_list() == ["a", "b", "c"]


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\n\n", "\t", " "])
def test_white_space_between_the_tokens_of_an_event_is_no_border_between_two(break_: str) -> None:
    spaced = wire("b").replace(b",", f",{break_}".encode())
    values = [wire("a"), spaced, break_.encode() + wire("c") + break_.encode()]
    check_agreement(values)
    assert decode(log_of(values), source="s", limits=LIMITS).frame["request_id"].to_list() == ["a", "b", "c"]


def test_an_event_that_stops_the_reading_of_columns_does_not_cost_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = pl.read_ndjson, []

    def read_ndjson(*args: Any, **named: Any) -> pl.DataFrame:
        calls.append(args)
        if len(calls) == 1:
            raise ComputeError("a value that the gate took and the reader does not")
        return original(*args, **named)

    monkeypatch.setattr(pl, "read_ndjson", read_ndjson)
    decoded = decode(log_of([wire("a"), b"junk", wire("b")]), source="s", limits=LIMITS)
    assert decoded.frame["request_id"].to_list() == ["a", "b"]
    assert [refusal.record.offset for refusal in decoded.refusals] == [1]


@pytest.mark.parametrize("digits", [39, 40, 400, 4_000])
@pytest.mark.parametrize("repeated", [b"", b',"metadata":{}'], ids=["once", "twice"])
def test_a_number_that_no_column_can_hold_costs_its_neighbours_no_second_look(
    digits: int, repeated: bytes, examined: list[bytes]
) -> None:
    """It is legal in metadata, and the reader of columns gives up a whole block for it."""
    odd = wire("odd")[:-1] + b',"metadata":{"a":' + b"9" * digits + b"}" + repeated + b"}"
    values = [wire("a"), odd, wire("b")]
    check_agreement(values)
    assert examined == [odd]


# --- both sides of every bound ----------------------------------------------------------------------------------------


def refusals_of(value: bytes | None, **named: Any) -> list[Refusal]:
    return decode([FakeRecord(value, **named)], source="s", limits=LIMITS).refusals


def kinds_of(value: bytes, **named: Any) -> list[str]:
    return [refusal.kind for refusal in refusals_of(value, **named)]


def test_an_event_may_be_ten_minutes_ahead_of_its_arrival_and_not_a_millisecond_more() -> None:
    assert kinds_of(wire(occurred_at=rfc3339(NOW + timedelta(minutes=10)))) == []
    assert kinds_of(wire(occurred_at=rfc3339(NOW + timedelta(minutes=10) + MILLISECOND))) == ["too_early"]


def test_an_event_may_be_as_old_as_the_retention_and_not_a_millisecond_older() -> None:
    assert kinds_of(wire(occurred_at=rfc3339(NOW - timedelta(days=90)))) == []
    assert kinds_of(wire(occurred_at=rfc3339(NOW - timedelta(days=90) - MILLISECOND))) == ["too_old"]


def test_the_broker_s_clock_judges_the_age_so_that_a_redelivery_is_judged_alike() -> None:
    value = wire(occurred_at=rfc3339(NOW + timedelta(hours=1)))
    assert kinds_of(value) == ["too_early"]
    assert kinds_of(value, timestamp=round((NOW + timedelta(hours=1)).timestamp() * 1000)) == []


@pytest.mark.parametrize(
    ("timestamp", "credible"),
    [
        (946_684_799_999, False),  # the last millisecond of 1999
        (946_684_800_000, True),
        (4_102_444_799_999, True),
        (4_102_444_800_000, False),  # the first of 2100
        (-1, False),  # Kafka's word for none
    ],
)
def test_a_record_can_have_come_from_2000_to_2099_and_at_no_other_time(timestamp: int, credible: bool) -> None:
    assert is_credible(timestamp) is credible
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timestamp * MILLISECOND
    assert kinds_of(wire(occurred_at=rfc3339(moment)), timestamp=timestamp) == ([] if credible else ["invalid"])


def test_a_record_without_a_credible_time_does_not_cost_its_neighbours() -> None:
    records = [FakeRecord(wire("a"), 0, 0), FakeRecord(wire("b"), 0, 1, timestamp=-1), FakeRecord(wire("c"), 0, 2)]
    decoded = decode(records, source="s", limits=LIMITS)
    assert decoded.frame["request_id"].to_list() == ["a", "c"]
    assert [(refusal.request_id, refusal.kind) for refusal in decoded.refusals] == [("b", "invalid")]


@pytest.mark.parametrize(
    ("occurred_at", "named"),
    [
        (NOW + timedelta(minutes=11), "2026-11-23T12:41:00+00:00 is 0:11:00 after it arrived"),
        (NOW - timedelta(days=91), "2026-08-24T12:30:00+00:00 is 91 days, 0:00:00 before it arrived"),
    ],
)
def test_a_reason_of_age_names_the_field_the_value_and_the_rule(occurred_at: datetime, named: str) -> None:
    (refusal,) = refusals_of(wire("r-9", occurred_at=rfc3339(occurred_at)))
    assert refusal.reason.startswith(f"occurred_at: {named}; at most ")
    assert refusal.request_id == "r-9"


def test_a_record_that_could_not_be_read_is_refused_with_the_reason_of_its_reader() -> None:
    (refusal,) = refusals_of(None, fault="its compression is broken:\nbad block")
    assert (refusal.kind, refusal.reason) == ("malformed", "its compression is broken:\\nbad block")


def test_a_value_may_fill_the_bytes_of_an_event_and_not_one_more() -> None:
    value = wire()
    full = value + b" " * (EVENT_BYTES_MAX - len(value))
    assert kinds_of(full) == []
    (refusal,) = refusals_of(full + b" ")
    assert refusal.reason == f"the value is {EVENT_BYTES_MAX + 1} bytes; an event has at most {EVENT_BYTES_MAX}"
    (refusal,) = refusals_of(full + b" ", cut=Cut(value_bytes=1_000_000, value_sha256="of all"))
    assert refusal.reason == f"the value is 1000000 bytes; an event has at most {EVENT_BYTES_MAX}"


def test_metadata_may_fill_its_bytes_and_not_one_more() -> None:
    frame = len(b'{"k":""}')
    for sign in ("x", "é"):
        size = len(sign.encode())
        full = {"k": sign * ((METADATA_BYTES_MAX - frame) // size)}
        assert kinds_of(wire(metadata=full)) == []
        assert kinds_of(wire(metadata={"k": full["k"] + sign})) == ["invalid"]


@pytest.mark.parametrize(
    ("name", "most"), [("input_tokens", TOKENS_MAX), ("output_tokens", TOKENS_MAX), ("duration_ms", 2_678_400_000)]
)
def test_a_count_reaches_from_zero_to_its_bound(name: str, most: int) -> None:
    verdicts = {count: kinds_of(wire(**{name: count})) for count in (-1, 0, most, most + 1)}
    assert verdicts == {-1: ["invalid"], 0: [], most: [], most + 1: ["invalid"]}


@pytest.mark.parametrize(
    ("details", "kinds"),
    [
        ({"input_tokens": 10, "cache_read_tokens": 4, "cache_write_tokens": 6}, []),
        ({"input_tokens": 10, "cache_read_tokens": 5, "cache_write_tokens": 6}, ["invalid"]),
        ({"input_tokens": 10, "cache_write_tokens": 11}, ["invalid"]),
        ({"input_tokens": 0, "cache_read_tokens": 0}, []),
        ({"output_tokens": 10, "reasoning_tokens": 10}, []),
        ({"output_tokens": 10, "reasoning_tokens": 11}, ["invalid"]),
        *(({"input_tokens": None, name: 0}, ["invalid"]) for name in ("cache_read_tokens", "cache_write_tokens")),
        ({"output_tokens": None, "reasoning_tokens": 0}, ["invalid"]),
    ],
)
def test_details_may_reach_their_total_and_not_exceed_it(details: dict[str, int], kinds: list[str]) -> None:
    assert kinds_of(wire(**details)) == kinds


# --- where a row comes from -------------------------------------------------------------------------------------------


def test_rows_carry_their_place_in_the_log_and_stay_in_order() -> None:
    canonical = wire("b", occurred_at="2026-11-23T21:00:00+09:00")  # goes by the model and comes back in its place
    records = [FakeRecord(wire("a"), 3, 70), FakeRecord(canonical, 3, 71), FakeRecord(wire("c"), 1, 5)]
    frame = decode(records, source="incarnation", limits=LIMITS).frame
    assert frame.select("row", "request_id", "source", "source_partition", "source_offset").rows() == [
        (0, "a", "incarnation", 3, 70),
        (1, "b", "incarnation", 3, 71),
        (2, "c", "incarnation", 1, 5),
    ]
    assert frame["received_at"].to_list() == [NOW] * 3


def test_a_batch_of_nothing_good_is_an_empty_frame_of_the_same_columns() -> None:
    good, bad = (decode(log_of([value]), source="s", limits=LIMITS).frame for value in (wire(), b""))
    assert bad.is_empty()
    assert bad.schema == good.schema


def test_equal_events_are_equal_text_however_their_quantities_were_written() -> None:
    one = wire(quantities={"images": "2", "audio_seconds": "1.5"})
    other = one.replace(b'{"images":"2","audio_seconds":"1.5"}', b'{ "audio_seconds":"1.5" , "images":"2"}')
    frame = decode(log_of([one, other]), source="s", limits=LIMITS).frame
    assert frame["quantities"].n_unique() == 1


def positions(refusals: Iterable[Refusal]) -> list[int]:
    return [refusal.record.offset for refusal in refusals]


def test_a_block_of_thousands_keeps_its_order_with_bad_ones_strewn_in() -> None:
    values = [wire(f"r-{at}") if at % 7 else b'{"request_id": "broken' for at in range(5_000)]
    decoded = decode(log_of(values), source="s", limits=LIMITS)
    assert decoded.frame["request_id"].to_list() == [f"r-{at}" for at in range(5_000) if at % 7]
    assert positions(decoded.refusals) == list(range(0, 5_000, 7))


def test_a_field_that_one_message_in_thousands_has_is_read_like_any_other() -> None:
    """Columns are chosen by a sample; whoever is not in it must not lose what only it has said."""
    values = [wire(f"r-{n}") for n in range(1_000)]
    values[501] = wire("r-501", error="timeout", reasoning_tokens=7, metadata={"parent_id": "p-1"})
    values[502] = wire("r-502", revenue_usd="0.25")
    check_agreement(values)


@pytest.mark.parametrize("name", ["error", "feature"])
def test_a_repeated_key_is_found_whether_or_not_its_column_is_read(name: str) -> None:
    repeated = wire("r-501", error="a")[:-1] + b',"%s":"b"}' % name.encode()
    check_agreement([wire(f"r-{n}") for n in range(501)] + [repeated, wire("r-502")])


def test_quotes_that_are_spelt_as_escapes_do_not_make_up_for_those_of_a_repeated_key() -> None:
    """Two more stand in the message for the repeated key, and two less for the text that has them as escapes."""
    repeated = wire("twice")[:-1] + rb',"metadata":{"a":"\u0022\u0022"},"input_tokens":1}'
    check_agreement([wire("a"), repeated, wire("b")])
    check_agreement([repeated])


@pytest.mark.parametrize(
    "odd",
    [
        wire("odd", reported_cost_usd=None),
        wire("odd", error=None, metadata=None),
        wire("odd", metadata={}),
        wire("odd", metadata={"a": {"b": [1, 2.5, None, True]}}),
        wire("odd", metadata={"a": "b"})[:-1] + b',"metadata":{"c":1}}',
        wire("odd", quantities={"images": "2"}),
        wire("odd")[:-1] + rb',"metadata":{"a":"\u0022\u0022"}}',  # read with two quotes, sent without them
        wire("odd", occurred_at="2026-11-23T12:00:00+00:00"),
    ],
)
def test_no_neighbour_makes_up_for_the_quotes_of_a_repeated_key(odd: bytes) -> None:
    """Quotes are summed over the block, which is sound while no message has fewer than its columns explain."""
    repeated = wire("twice")[:-1] + b',"input_tokens":1}'
    for copies in range(1, 4):
        odds = [odd.replace(b"odd", b"odd-%d" % n) for n in range(copies)]  # the first is the sample's
        check_agreement([*odds, *(wire(f"r-{n}") for n in range(70)), repeated])


def test_times_of_every_width_are_read_to_the_millisecond_side_by_side() -> None:
    fractions = ["", ".1", ".12", ".123", ".1239", ".123999"]
    values = [wire(f"r-{n}", occurred_at=f"2026-11-23T12:00:00{text}Z") for n, text in enumerate(fractions)]
    check_agreement(values)
    frame = decode(log_of(values), source="s", limits=LIMITS).frame
    assert [moment.microsecond // 1_000 for moment in frame["occurred_at"]] == [0, 100, 120, 123, 123, 123]


def test_how_busy_a_server_was_is_read_to_the_last_of_its_six_digits_and_is_null_where_it_is_not_said() -> None:
    said: list[dict[str, Any]] = [{"utilization": each} for each in ("0", "0.85", "0.000001", "1", "1.000000")]
    values = [wire(f"r-{n}", **each) for n, each in enumerate([*said, {}, {"utilization": None}])]
    check_agreement(values)
    frame = decode(log_of(values), source="s", limits=LIMITS).frame
    assert frame["utilization_micro"].to_list() == [0, 850_000, 1, 1_000_000, 1_000_000, None, None]
    alone = decode(log_of([wire()]), source="s", limits=LIMITS).frame["utilization_micro"]
    assert (frame["utilization_micro"].dtype, alone.dtype, alone.to_list()) == (pl.Int64, pl.Int64, [None])


def test_an_amount_of_dollars_is_read_to_the_last_of_its_twelve_digits() -> None:
    texts = ["12.5", "0.000000000001", "999999.999999999999", "7"]
    values = [wire(f"r-{n}", revenue_usd=text, reported_cost_usd=text) for n, text in enumerate(texts)]
    frame = decode(log_of(values), source="s", limits=LIMITS).frame
    exact = [12_500_000_000_000, 1, 999_999_999_999_999_999, 7_000_000_000_000]
    for name in ("revenue_pico", "reported_cost_pico"):
        assert (frame[name].dtype, frame[name].to_list()) == (pl.Int64, exact)
