"""What is kept of a record that is too large: the head up to its bound, and the measures of all of it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.decode.cut import Cut, Header, Headers, Part, bytes_of, cut_of, encoded, part, text_of

WHOLE = Part(b"v", 1), Part(b"k", 1), Headers([("h", b"1")], 1, 4)


def test_a_part_at_its_bound_is_whole_and_one_byte_more_is_cut_with_length_and_digest() -> None:
    assert part(b"12345", 5) == Part(b"12345", 5, "")
    assert part(b"123456", 5) == Part(b"12345", 6, hashlib.sha256(b"123456").hexdigest())


def test_no_part_and_an_empty_one_are_kept_apart_and_both_are_whole() -> None:
    assert part(None, 5) == Part(None, 0, "")
    assert part(b"", 0) == Part(b"", 0, "")


def test_a_whole_record_has_no_cut() -> None:
    assert cut_of(*WHOLE) is None


@pytest.mark.parametrize(
    ("at", "what", "told"),
    [
        (0, Part(b"v", 9, "V"), Cut(9, "V", 1, "", 1, 4, "")),
        (1, Part(b"k", 8, "K"), Cut(1, "", 8, "K", 1, 4, "")),
        (2, Headers([], 70, 7_000, "H"), Cut(1, "", 1, "", 70, 7_000, "H")),
    ],
)
def test_of_a_record_with_one_part_cut_all_lengths_are_told_and_the_digest_of_that_part_alone(
    at: int, what: Part | Headers, told: Cut
) -> None:
    parts: list[Part | Headers] = list(WHOLE)
    parts[at] = what
    assert cut_of(*parts) == told  # type: ignore[arg-type]  # each is of its kind


def test_a_cut_that_says_nothing_says_that_nothing_was_there() -> None:
    assert Cut() == Cut(0, "", 0, "", 0, 0, "")


# The encoding by the letter of Kafka's protocol: zigzag, seven bits a byte, the lowest first.
HEADERS: list[tuple[list[Header], bytes]] = [
    ([], b""),
    ([("a", b"1"), ("b", None)], b"\x02a\x021\x02b\x01"),
    ([("", b"")], b"\x00\x00"),
    ([("n", b"x" * 63)], b"\x02n\x7e" + b"x" * 63),
    ([("n", b"x" * 64)], b"\x02n\x80\x01" + b"x" * 64),
    ([("n", b"x" * 8_192)], b"\x02n\x80\x80\x01" + b"x" * 8_192),
    ([("é", b"1")], b"\x04\xc3\xa9\x021"),
    ([("\udcff", b"1")], b"\x02\xff\x021"),
]


@pytest.mark.parametrize(("headers", "bytes_on_the_wire"), HEADERS, ids=range(len(HEADERS)))
def test_headers_are_encoded_as_kafka_does(headers: list[Header], bytes_on_the_wire: bytes) -> None:
    assert encoded(headers) == bytes_on_the_wire


@given(st.binary(max_size=20))
def test_any_bytes_of_a_name_come_back_from_its_text(name: bytes) -> None:
    assert bytes_of(text_of(name)) == name
