"""The closer look says what the model would say of all of a message, and what it costs has a bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.hostile_kinds import Kind, kinds
from costream.events import METADATA_BYTES_MAX, UNITS_MAX, UsageEvent
from costream.lenient import LABELS, PRICED_BY
from costream.topics import EVENT_BYTES_MAX
from stream.decode import examination
from stream.decode.examination import Accepted, Faulty, examine_value, told
from tests.stream.test_decode import METADATA_TRAPS, mutated, without_repeats
from tests.support.hostile import HOSTILE
from tests.support.properties import examples
from tests.support.records import fields, wire

# Faults that are known before all of the message is read, so what else is wrong with it is not asked.
EARLY = (*("it must have at most", "it must have no number", "it must be units", "of JSON, more than"),)


def word_of_the_model(value: bytes) -> UsageEvent | str:
    """All of the message shown to the model, and then looked through for keys that stand twice."""
    try:
        event = UsageEvent.model_validate_json(value)
    except ValidationError as error:
        if "recursion limit" in str(error):
            return "deep"  # a list where none belongs is not followed that deep
        return "malformed" if any(fault["type"] == "json_invalid" for fault in error.errors()) else "invalid"
    try:
        json.loads(value, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError):
        return "malformed"
    return event


def check(value: bytes) -> None:
    expected, found = word_of_the_model(value), examine_value(value)
    match found:
        case Accepted():
            assert isinstance(expected, UsageEvent), (expected, value[:400])
            assert found.whole() == expected
            assert not found.event.metadata
            assert len(found.metadata.encode()) <= METADATA_BYTES_MAX + METADATA_BYTES_MAX // 2  # spelt otherwise
        case Faulty():
            assert not isinstance(expected, UsageEvent), (found.reason, value[:400])
            if expected != "deep" and not any(early in found.reason for early in EARLY):
                assert ("malformed" if found.malformed else "invalid") == expected, found.reason


BOUNDED = {
    name: option["maxLength"]
    for name, spec in UsageEvent.json_schema()["properties"].items()
    for option in examination.options_of(spec)
    if "maxLength" in option
}


def test_every_text_of_the_contract_but_the_time_has_a_bound() -> None:
    assert sorted(BOUNDED) == sorted(("request_id", "provider", "model", "error", *LABELS, *PRICED_BY))


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_a_text_at_its_bound_may_be_spelt_as_long_as_json_can(name: str) -> None:
    """Two escapes of six bytes each for a character."""
    spelt = rb"\ud83d\ude00" * BOUNDED[name]
    text = wire(**{name: "?"}).replace(b'"?"', b'"' + spelt + b'"')
    assert isinstance(examine_value(text), Accepted)
    check(text.replace(spelt, spelt + rb"\u0061"))  # one more is too long


@pytest.mark.parametrize("name", ["quantities", "unit_prices"])
def test_units_at_their_bounds_are_accepted_and_one_more_is_not(name: str) -> None:
    amount = ("9" * 18 if name == "quantities" else "9" * 6) + "." + "9" * 12
    units = {f"u{number:02}".ljust(64, "x"): amount for number in range(16)}
    event = wire(**{name: units})
    assert len(json.dumps(units)) > examination.PLAIN_BYTES_MAX
    assert isinstance(examine_value(event), Accepted)
    check(event)
    check(wire(**{name: units | {"one_more": amount}}))


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ('"metadata":{"a":[' + "{}," * 254 + "0]}", "the key 'team' stands twice"),
        ('"metadata":{"a":[' + "{}," * 255 + "0]}", "a key stands twice"),
        ('"error":"' + r"\ud83d\ude00" * 600 + '"', "the key 'team' stands twice"),
        ('"error":"' + r"\ud83d\ude00" * 700 + '"', "a key stands twice"),
    ],
    ids=["few objects", "many objects", "few bytes", "many bytes"],
)
def test_a_key_that_stands_twice_is_named_where_looking_for_it_costs_little(member: str, said: str) -> None:
    found = examine_value(wire()[:-1] + f',{member},"team":"a","team":"b"}}'.encode())
    assert isinstance(found, Faulty)
    assert found.reason.endswith(said)


TOKENS = st.sampled_from(
    [
        *("0", "-0", "7", "1.50", "0.00001", "1e5", "1E-7", "1e16", "12345678901234567890", "null", "[]", "{}", "[[]]"),
        *('""', '"a"', '"é"', '"😀"', '"\\u0041"', '"\\""', '"\\\\"', '"1e5."', '"]}"'),
        *('{"a":{}}', '{"a":0,"a":0}', '{"a":0}'),
    ]
)
COUNTS = st.sampled_from([1, 2, 30, 63, 64, 65, 197, 198, 199, 200, 680, 1_000, 1_360, 1_362, 2_040, 4_080])


WAYS: dict[str, Callable[[str, str, int], str]] = {
    "one": lambda token, text, count: token,
    "list": lambda token, text, count: "[" + ",".join([token] * count) + "]",
    "object": lambda token, text, count: "{" + ",".join(f'"{n}":{token}' for n in range(count)) + "}",
    "text": lambda token, text, count: '"' + text * count + '"',
    "digits": lambda token, text, count: "9" * count,
    "fraction": lambda token, text, count: "0." + "3" * count,
    "lists in lists": lambda token, text, count: "[" * count + token + "]" * count,
    "objects in objects": lambda token, text, count: '{"a":' * count + token + "}" * count,
}


@st.composite
def swollen_value(draw: st.DrawFn) -> str:
    """Much of one thing, in one of the ways that things can be many."""
    text = draw(st.sampled_from(["a", "é", "\\n", "\\u0041", '\\"', "[", "1e"]))
    return WAYS[draw(st.sampled_from(sorted(WAYS)))](draw(TOKENS), text, draw(COUNTS))


@st.composite
def swollen(draw: st.DrawFn) -> bytes:
    names = st.sampled_from(["metadata"] * 6 + ["quantities", "error", "team", "duration_ms", "revenue_usd", "other"])
    members = []
    for _ in range(draw(st.integers(1, 2))):
        name, value = draw(names), draw(swollen_value())
        inner = draw(st.sampled_from([f'{{"k":{value}}}'] * 4 + [value]))
        members.append(f'"{name}":{inner if name == "metadata" else value}')
    text = wire().decode()[:-1] + "," + ",".join(members) + "}"
    if draw(st.booleans()):
        text = text.replace(",", draw(st.sampled_from([", ", ",\n", ",\t "])))
    return (text + draw(st.sampled_from([""] * 8 + ["}", " "]))).encode()[: EVENT_BYTES_MAX + 1]


@examples(400)
@given(swollen())
def test_of_swollen_messages_it_says_what_the_model_says(value: bytes) -> None:
    check(value)


@examples(300)
@given(mutated())
@example(b"")
def test_of_small_messages_it_says_what_the_model_says(value: bytes) -> None:
    check(value)


@pytest.mark.parametrize("metadata", METADATA_TRAPS, ids=lambda text: text[:24])
def test_of_odd_metadata_it_says_what_the_model_says(metadata: str) -> None:
    check(wire()[:-1] + f',"metadata":{metadata}}}'.encode())


def metadata_of(size: int, filling: str) -> bytes:
    """Metadata of exactly so many bytes as the contract counts them, mostly of this."""
    items = filling
    while len(f'{{"a":[{items},{filling}]}}'.encode()) <= size - 12:
        items += f",{filling}"
    rest = size - len(f'{{"a":[{items}],"":""}}'.encode())
    text = f'{{"a":[{items}],"":"{"x" * rest}"}}'
    return wire()[:-1] + f',"metadata":{text}}}'.encode()


@pytest.mark.parametrize("filling", ["[]", "{}", "0", '""', "0.5", '"é"', "1e+16", "1e-05", '"1e5"', '"a.b"'])
def test_metadata_may_fill_its_bytes_and_not_one_more_whatever_it_is_made_of(filling: str) -> None:
    for size in (METADATA_BYTES_MAX, METADATA_BYTES_MAX + 1):
        value = metadata_of(size, filling)
        check(value)
        assert isinstance(examine_value(value), Accepted) == (size == METADATA_BYTES_MAX), size


@pytest.mark.parametrize(("opening", "closing", "deepest"), [("[", "]", 198), ('{"a":', "}", 197)])
def test_metadata_may_be_as_deep_as_the_model_reads_and_not_deeper(opening: str, closing: str, deepest: int) -> None:
    depths = []
    for depth in range(190, 205):
        nested = opening * depth + "0" + closing * depth
        value = wire()[:-1] + f',"metadata":{{"a":{nested}}}}}'.encode()
        check(value)
        depths += [depth] if isinstance(examine_value(value), Accepted) else []
    assert max(depths) in (deepest, deepest + 1)


def test_more_of_anything_than_an_event_has_room_for_is_refused_in_one_line_that_counts_it() -> None:
    texts = examine_value(wire()[:-1] + b',"metadata":{"a":[' + b'"",' * 2_000 + b'""]}}')
    commas = examine_value(wire()[:-1] + b',"metadata":{"a":[' + b"0," * 9_100 + b"0]}}")
    beside = examine_value(wire()[:-1] + b',"x":0' * 200 + b"}")
    assert isinstance(texts, Faulty) and "at most 1490 names and texts, metadata included, not 2017" in texts.reason
    assert isinstance(commas, Faulty) and "at most 9022 commas, metadata included, not 9108" in commas.reason
    assert isinstance(beside, Faulty) and "at most 124 names and texts beside metadata, not 214" in beside.reason
    assert {(found.request_id, found.malformed) for found in (texts, commas, beside)} == {("r-1", False)}


@pytest.mark.parametrize(("item", "most", "rule"), [(b'""', 1_474, "names and texts"), (b"0", 9_015, "commas")])
def test_as_much_as_an_event_has_room_for_is_looked_at_and_one_more_is_only_counted(
    item: bytes, most: int, rule: str
) -> None:
    """Beside the list there are 16 names and texts, and 8 commas; between the items one comma less than items."""
    for count, crowded in ((most, False), (most + 1, True)):
        found = examine_value(wire()[:-1] + b',"metadata":{"a":[' + b",".join([item] * count) + b"]}}")
        assert isinstance(found, Faulty)
        assert (f"{rule}, metadata included" in found.reason) is crowded


@pytest.mark.parametrize(("name", "legal"), [("error", True), ("team", False), ("revenue_usd", False)])
def test_a_long_text_of_digits_is_no_time_whose_digits_may_be_cut(name: str, *, legal: bool) -> None:
    value = wire(**{name: "7" * 600})
    check(value)
    assert isinstance(examine_value(value), Accepted) is legal


def test_metadata_of_nothing_is_no_text() -> None:
    assert examine_value(wire(metadata={})) == examine_value(wire())


def test_an_event_may_be_full_of_quotes_that_are_signs_of_a_text() -> None:
    value = wire(error='"' * 1_024, metadata={"a": '"' * 2_000, "b": "\\" * 40})
    assert isinstance(examine_value(value), Accepted)
    check(value)


@pytest.mark.parametrize("middle", ["x", "+", " ", ":", "/", "."])
def test_a_long_time_that_is_not_all_digits_is_no_time(middle: str) -> None:
    value = wire(occurred_at=f"2026-11-23T12:00:00.123456{'9' * 300}{middle}{'9' * 300}Z")
    assert reason_of(value).startswith("occurred_at: ")
    check(value)


# --- what a reason says -----------------------------------------------------------------------------------------------


def reason_of(value: bytes) -> str:
    found = examine_value(value)
    assert isinstance(found, Faulty)
    return found.reason


@pytest.mark.parametrize("length", [160, 300, 514, 700, 5_000])
@pytest.mark.parametrize("sign", ["x", "é", "😀"])
@pytest.mark.parametrize("name", ["feature", "duration_ms", "error", "other"])
def test_of_a_long_text_both_ends_are_told_however_it_was_shown_to_the_model(name: str, sign: str, length: int) -> None:
    text = f"{sign * 40}{'-' * length}{sign * 40}"
    if name == "error":
        text += "".join(map(str, range(1_000))) + sign * 40
    assert reason_of(wire(**{name: text})).endswith(f" '{sign * 39}…{sign * 39}'")


def test_a_rule_is_told_whole_up_to_240_characters_and_by_its_ends_beyond() -> None:
    rule = " is not plain decimal text with at most 12 digits after the point"
    for length in (240, 241):
        text = "x" * (length - len(rule) - 2)
        whole = f"'{text}'{rule}"
        shown = whole if length == 240 else f"{whole[:120]}…{whole[-120:]}"
        assert reason_of(wire(revenue_usd=text)).startswith(f"revenue_usd: {shown}, not 'xxx")


def test_a_value_is_told_whole_up_to_80_characters_and_by_its_ends_beyond() -> None:
    assert reason_of(wire(input_tokens="x" * 78)).endswith(f", not '{'x' * 78}'")
    assert reason_of(wire(input_tokens="x" * 79)).endswith(f", not '{'x' * 39}…{'x' * 39}'")
    assert reason_of(b'"' + b"x" * 510 + b'"') == f"event: it must be an object, not '{'x' * 39}…{'x' * 39}'"
    assert reason_of(b'"' + b"x" * 511 + b'"') == f'event: it must be an object, not "{"x" * 39}…{"x" * 40}'


def test_a_reason_is_told_whole_up_to_2048_characters_and_by_its_ends_beyond() -> None:
    assert told("x" * 2_048) == "x" * 2_048
    assert told("a" * 1_024 + "-" + "b" * 1_024) == "a" * 1_024 + "…" + "b" * 1_024
    assert told("a" * 5_000 + "\n" + "b" * 5_000) == "a" * 1_024 + "…" + "b" * 1_024
    assert told("\n" * 1_024) == "\\n" * 1_024
    assert told("\n" * 1_025) == "\\n" * 512 + "…" + "\\n" * 512


def test_only_what_cannot_be_printed_is_spelt_out_in_a_reason() -> None:
    assert told("é\\'\n\u200b\x00😀") == "é\\'\\n\\u200b\\x00😀"
    assert told("é\\'😀") == "é\\'😀"
    assert reason_of(wire(**{"é\\\n": 1})) == "é\\\\n: no event has such a field; its value is 1"


@pytest.mark.parametrize("name", ["quantities", "unit_prices"])
def test_units_that_cannot_be_right_are_told_in_one_line(name: str) -> None:
    long = "x" * 600
    assert reason_of(wire(**{name: {"a": {}}})) == (
        f'{name}.a: an amount is decimal text such as "0.05", not dict {{}}, not {{}}'
    )
    for nested in ({}, []):
        told_alone = reason_of(wire(**{name: {"a": nested, "b": long}}))
        shown = f'{{"a":{"{}" if nested == {} else "[]"},"b":"{"x" * 27}…{"x" * 40}'
        assert told_alone == f"{name}: it must be units with decimal text, not {shown}"
        spaced = json.dumps(fields(**{name: {"a": nested, "b": long}}), indent=3).encode()
        assert reason_of(spaced) == told_alone
    assert reason_of(wire(**{name: {"b": long}})).startswith(f"{name}.b: 'xxx")
    room = UNITS_MAX * 1_024 - len('{"b":""}')
    assert reason_of(wire(**{name: {"b": "x" * room}})).startswith(f"{name}.b: 'xxx")
    assert reason_of(wire(**{name: {"b": "x" * (room + 1)}})).startswith(f"{name}: it must be units with decimal text")


@pytest.mark.parametrize("name", ["quantities", "unit_prices"])
def test_units_are_only_counted_from_twice_as_many_as_there_may_be(name: str) -> None:
    few, many = ({f"u{at}": "1" for at in range(count)} for count in (2 * UNITS_MAX, 2 * UNITS_MAX + 1))
    assert reason_of(wire(**{name: few})).startswith(f"{name}: it must have at most 16 entries, not {{'u0': '1'")
    assert reason_of(wire(**{name: many})) == f"{name}: it must have at most 16 entries, not 33"


def test_names_beside_metadata_are_only_counted_from_as_many_unknown_ones_as_an_event_has_in_all() -> None:
    few, many = (wire()[:-1] + b',"x":0' * count + b"}" for count in (124, 125))
    assert reason_of(few) == "x: no event has such a field; its value is 0"
    assert reason_of(many) == "event: it must have at most 124 names and texts beside metadata, not 139"


def test_where_a_short_message_is_no_json_is_told_and_of_a_long_one_that_it_is_none() -> None:
    short = b'{"a":"' + b"x" * (examination.TOLD_BY_MODEL_BYTES_MAX - 7) + b'"'
    assert len(short) == examination.TOLD_BY_MODEL_BYTES_MAX
    assert "at line 1 column 2048" in reason_of(short)
    assert "column" not in reason_of(short + b" ")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_metadata_that_is_too_deep_is_no_json_for_the_model_and_no_other_kind_of_value(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    value = wire()[:-1] + b',"metadata":{"a":' + opening * 300 + b"0" + closing * 300 + b"}}"
    found = examine_value(value)
    assert isinstance(found, Faulty) and found.malformed
    assert "recursion limit exceeded" in found.reason


@pytest.mark.parametrize(("size", "named"), [(8_192, True), (8_193, False)])
def test_a_key_that_stands_twice_is_named_up_to_eight_kilobytes(size: int, *, named: bool) -> None:
    head, tail = wire()[:-1] + b',"error":"' + rb"\ud83d\ude00" * 640, b'","team":"a","team":"b"}'
    value = head + b"x" * (size - len(head) - len(tail)) + tail
    assert len(value) == size
    assert reason_of(value).endswith(": the key 'team' stands twice" if named else ": a key stands twice")


@pytest.mark.parametrize("zone", ["Z", "+09:00", "-00:30"])
@pytest.mark.parametrize("digits", [3, 6, 7, 490, 600, 60_000])
def test_a_time_of_many_digits_is_read_to_the_millisecond_and_its_zone_counts(zone: str, digits: int) -> None:
    found = examine_value(wire(occurred_at=f"2026-11-23T12:00:00.{'123456' + '9' * digits}{zone}"))
    assert isinstance(found, Accepted)
    assert found.event.occurred_at == datetime.fromisoformat(f"2026-11-23T12:00:00.123{zone}")


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("{}", 1), ("[[]]", 2), ('{"a":[{"b":[]}]}', 4), ("[[],[],[[]]]", 3), ('["[[[["]', 1), ('["]]]]",[]]', 2),
        (r'["\\",[]]', 2), (r'["\"[[",[]]', 2), (r'["\\\"[[",[]]', 2),
        ("[" * 300 + "]" * 300, 300), ('["' + "{" * 300 + '"]', 1),
        ("[" + '"",' * 300 + "[]]", 2), ('{"[":{}}', 2),
    ],
)  # fmt: skip
def test_brackets_in_texts_are_no_depth(text: str, depth: int) -> None:
    json.loads(text)
    assert examination._nesting(text.encode()) == depth


# --- what it costs ----------------------------------------------------------------------------------------------------

KINDS = [kind for kind in kinds() if len(kind.value) <= EVENT_BYTES_MAX]
# An event of texts at their bounds, each character two escapes, is the most that has to be shown.
SHOWN_BYTES_MAX = 12 * (1_024 + 12 * 128) + 1_024
# The goal is 20 times a plain event's whole job, of which decoding is a third: three times that fails no busy machine.


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_model_is_asked_once_and_shown_no_more_than_an_event_has_beside_its_metadata(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    ask = examination._asked

    def spy(value: bytes) -> Any:
        shown.append(len(value))
        return ask(value)

    monkeypatch.setattr(examination, "_asked", spy)
    examine_value(kind.value)
    assert len(shown) <= 1
    assert sum(shown) <= SHOWN_BYTES_MAX


@pytest.mark.parametrize("hostile", [each for each in HOSTILE if each.value], ids=lambda hostile: hostile.name)
def test_of_hostile_messages_it_says_what_the_model_says(hostile: Any) -> None:
    if len(hostile.value) <= EVENT_BYTES_MAX:
        check(hostile.value)
