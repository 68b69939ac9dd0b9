"""What is malformed, hostile or contradictory is refused with a reason that helps; its good neighbours are counted."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from stream.decode.examination import REASON_CHARS_MAX
from stream.decode.frame import decode
from tests.support.hostile import HOSTILE, Hostile
from tests.support.records import LIMITS, FakeRecord, log_of, wire


def test_there_are_sixty_and_more_and_no_two_are_the_same() -> None:
    assert len({hostile.value for hostile in HOSTILE}) == len({hostile.name for hostile in HOSTILE}) == len(HOSTILE)
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_it_is_refused_and_its_reason_says_which_field_value_and_rule(hostile: Hostile) -> None:
    decoded = decode([FakeRecord(hostile.value)], source="s", limits=LIMITS)
    assert decoded.frame.is_empty()
    (refusal,) = decoded.refusals
    assert refusal.kind == hostile.kind
    assert [words for words in hostile.told if words not in refusal.reason] == [], refusal.reason


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_its_reason_is_one_printable_line_of_bounded_length(hostile: Hostile) -> None:
    (refusal,) = decode([FakeRecord(hostile.value)], source="s", limits=LIMITS).refusals
    assert refusal.reason.isprintable()
    assert 10 < len(refusal.reason) <= REASON_CHARS_MAX + 1


def test_good_neighbours_in_the_same_batch_are_read_as_if_alone() -> None:
    values: list[bytes | None] = []
    for at, hostile in enumerate(HOSTILE):
        values += [wire(f"good-{at}", input_tokens=at), hostile.value]
    decoded = decode(log_of(values), source="s", limits=LIMITS)
    assert decoded.frame.select("request_id", "input_tokens", "source_offset").rows() == [
        (f"good-{at}", at, 2 * at) for at in range(len(HOSTILE))
    ]
    assert sorted(refusal.record.offset for refusal in decoded.refusals) == list(range(1, 2 * len(HOSTILE), 2))


def test_a_refused_message_is_found_again_by_its_id_where_that_can_be_read() -> None:
    refused = [wire("wanted", input_tokens=-1), wire("two\nlines"), b"{}", wire("x" * 500, input_tokens=-1)]
    refusals = decode(log_of(refused), source="s", limits=LIMITS).refusals
    assert [refusal.request_id for refusal in refusals] == ["wanted", "two\\nlines", "", "x" * 128]


def test_only_the_first_faults_of_a_message_are_told_and_the_others_counted() -> None:
    value = wire(**{f"forged_{at}": at for at in range(9)})
    (refusal,) = decode([FakeRecord(value)], source="s", limits=LIMITS).refusals
    assert refusal.reason.count("no event has such a field") == 5
    assert refusal.reason.endswith("; and 4 more faults")


def test_a_field_name_of_sixty_thousand_letters_does_not_flood_the_reason() -> None:
    (refusal,) = decode([FakeRecord(wire(**{"x" * 60_000: 1}))], source="s", limits=LIMITS).refusals
    assert len(refusal.reason) < 400


MANY = [
    ("metadata that repeats a key", 5_300, lambda n: f'"k{n % 5_299:05}":1', "metadata"),
    ("unknown fields", 6_000, lambda n: f'"x{n:04}":0', ""),
    ("quantities", 5_900, lambda n: f'"u{n:04}":0', "quantities"),
    ("units that are no units", 4_900, lambda n: f'"U{n:04}":"x"', "unit_prices"),
    ("the same field", 4_500, lambda n: '"feature":"x"', ""),
]


@pytest.mark.parametrize(("count", "member", "within"), [each[1:] for each in MANY], ids=[each[0] for each in MANY])
def test_a_message_of_thousands_of_faults_costs_no_more_than_reading_it(
    count: int, member: Callable[[int], str], within: str
) -> None:
    """A tenth of a second to a second each, if every fault were worked out."""
    members = ",".join(map(member, range(count)))
    value = wire()[:-1] + (f',"{within}":{{{members}}}}}' if within else f",{members}}}").encode()
    started = time.process_time()
    (refusal,) = decode([FakeRecord(value)], source="s", limits=LIMITS).refusals
    assert time.process_time() - started < 0.03
    assert 20 < len(refusal.reason) < 1_000


def test_a_list_where_text_belongs_is_told_without_being_shown() -> None:
    value = wire(feature=None)[:-1] + b',"feature":[' + b'"a",' * 1_000 + b'"a"]}'
    (refusal,) = decode([FakeRecord(value)], source="s", limits=LIMITS).refusals
    assert refusal.reason == "feature: it must be text, not ['…']"


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t"])
def test_white_space_and_spelling_make_no_legal_metadata_too_large(space: bytes) -> None:
    padded = (
        b'"metadata":{'
        + space * 30_000
        + b'"a":'
        + b"0."
        + b"1" * 20_000
        + b","
        + b'"b":"'
        + b"\\u0041" * 1_500
        + b'"}'
    )
    decoded = decode([FakeRecord(wire()[:-1] + b"," + padded + b"}")], source="s", limits=LIMITS)
    assert decoded.refusals == []
    assert decoded.frame["metadata"].str.contains("A" * 1_500).all()


@pytest.mark.parametrize("space", [b" ", b"\n", b"\t", b"\r"])
def test_white_space_makes_no_legal_units_too_large(space: bytes) -> None:
    padded = b',"quantities":{"images":' + space * 20_000 + b'"2"}}'
    decoded = decode([FakeRecord(wire()[:-1] + padded)], source="s", limits=LIMITS)
    assert decoded.refusals == []
    assert decoded.frame["quantities"].to_list() == ['{"images": "2"}']


def test_metadata_that_no_spelling_makes_small_enough_is_refused_for_its_size() -> None:
    value = wire()[:-1] + b',"metadata":{"a":[' + b"1," * 7_000 + b"1]}}"
    (refusal,) = decode([FakeRecord(value)], source="s", limits=LIMITS).refusals
    assert refusal.reason == "metadata: it is 14009 bytes of JSON, more than 4096 however it is spelt"


def test_an_event_of_which_every_name_has_a_control_character_is_refused() -> None:
    """None of them looks the better for the others."""
    names = ("provider", "model", "feature", "task_type", "user_id", "team", "environment", "session_id")
    for bad in ("\n", "\x00", "\x7f", "\x1f"):
        value = wire(f"r{bad}", **dict.fromkeys(names, f"a{bad}b"))
        decoded = decode(log_of([wire("good"), value, wire("too")]), source="s", limits=LIMITS)
        assert [refusal.record.offset for refusal in decoded.refusals] == [1]
        assert decoded.frame["request_id"].to_list() == ["good", "too"]


@pytest.mark.parametrize("usage", [{"input_tokens": 5}, {"output_tokens": 5}, {"quantities": {"images": "1"}}])
def test_usage_that_is_said_to_be_missing_and_is_given_is_refused(usage: dict[str, object]) -> None:
    nothing = {"input_tokens": None, "output_tokens": None, "usage_status": "missing"}
    good, bad = wire("r", **nothing), wire("s", **nothing | usage)
    for values in ([good, bad], [bad, good]):  # the first one of a batch says which columns are read
        decoded = decode(log_of(values), source="s", limits=LIMITS)
        assert decoded.frame["request_id"].to_list() == ["r"]
        assert [refusal.record.value for refusal in decoded.refusals] == [bad]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{}", "request_id: it is required; occurred_at: it is required; provider: it is required; model: it is req"),
        (wire(input_token=5), "input_token: no event has such a field; its value is 5"),
        (wire(feature="a\x07b"), r"feature: control characters are not allowed in it, not 'a\x07b'"),
        (wire(input_tokens="12"), "input_tokens: it must be a whole number, not '12'"),
        (wire(operation="mining"), "operation: it must be 'chat', 'embedding', 'transcription'"),
        (wire(provider=""), "provider: it must not be empty, not ''"),
    ],
)
def test_a_reason_is_a_sentence_of_ours_and_not_of_a_library(value: bytes, reason: str) -> None:
    (refusal,) = decode(log_of([value]), source="s", limits=LIMITS).refusals
    assert refusal.reason.startswith(reason)
