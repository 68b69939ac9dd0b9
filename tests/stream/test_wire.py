"""Reading batches from a stream of bytes: each bound and each number of the format, on both its sides."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.consume import wire
from stream.consume.wire import ByteStream, FetchedRecord, Unreadable, header_of, kept, legacy_size, pieces, records_of
from stream.decode.cut import (
    HEADERS_KEPT_BYTES_MAX,
    HEADERS_KEPT_MAX,
    KEY_KEPT_BYTES_MAX,
    VALUE_KEPT_BYTES_MAX,
    Cut,
    encoded,
)
from tests.support.wire import CODECS, GZIP, SNAPPY, WireBatch, WireRecord, compressed, varint


def stream_of(*given_pieces: bytes, limit: int = 1_000) -> ByteStream:
    return ByteStream(iter(given_pieces), limit=limit)


def read(batch: WireBatch, *, base: int = 0, first: int = 0) -> list[FetchedRecord]:
    raw = memoryview(batch.encoded(base))
    return [record for record, _ in records_of(raw, partition=3, from_offset=first)]


def offsets(batch: WireBatch, *, base: int = 0, first: int = 0) -> list[int]:
    return [record.offset for record in read(batch, base=base, first=first)]


def records(count: int, **fields: Any) -> list[WireRecord]:
    return [WireRecord(b"v", **fields) for _ in range(count)]


# --- the stream ------------------------------------------------------------------------------------------------------


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    assert stream_of(varint(number)).varint() == number


def test_a_number_takes_ten_bytes_at_most() -> None:
    assert stream_of(b"\x80" * 9 + b"\x00").varint() == 0
    assert stream_of(b"\xff" * 9 + b"\x7f").varint() == -(2**63), "what is beyond 64 bits falls away, as in Java"
    with pytest.raises(Unreadable, match="more than ten bytes"):
        stream_of(b"\x80" * 10 + b"\x00").varint()


def test_bytes_are_taken_across_pieces_and_none_is_lost() -> None:
    stream = stream_of(b"abc", b"", b"de", b"f")
    assert (stream.take(2), stream.read) == (b"ab", 2)
    assert (stream.take(3), stream.read) == (b"cde", 5)
    assert (stream.take(0), stream.take(1), stream.read) == (b"", b"f", 6)
    with pytest.raises(Unreadable, match="the batch ends before it"):
        stream.take(1)


def test_what_is_skipped_is_seen_and_counted() -> None:
    seen: list[bytes] = []
    stream = stream_of(b"abc", b"de")
    stream.skip(1)
    stream.skip(3, seen.append)
    assert (seen, stream.read, stream.take(1)) == ([b"bc", b"d"], 4, b"e")


def test_of_what_is_in_hand_no_more_is_taken_than_there_is() -> None:
    stream = stream_of(b"abc", b"de")
    assert stream.take(1) == b"a"
    assert (stream.take_some(1), stream.take_some(9), stream.read) == (b"b", b"c", 3)


def test_a_stream_is_read_up_to_its_limit_and_no_piece_more() -> None:
    assert stream_of(b"abc", b"def", b"g", limit=5).take(6) == b"abcdef"
    assert stream_of(b"abc", b"def", b"g", limit=6).take(7) == b"abcdefg"
    with pytest.raises(Unreadable, match="more than 5 bytes"):
        stream_of(b"abc", b"def", b"g", limit=5).take(7)


def test_an_error_of_a_codec_says_that_its_compression_is_broken() -> None:
    def breaks() -> Any:
        yield b"abc"
        raise ValueError("bad block")

    stream = ByteStream(breaks(), limit=9)
    assert stream.take(3) == b"abc"
    with pytest.raises(Unreadable, match="its compression is broken: bad block"):
        stream.take(1)


# --- a batch ---------------------------------------------------------------------------------------------------------


def test_the_fixed_part_of_a_batch_is_read_by_the_letter() -> None:
    batch = WireBatch(records(2), codec=4, attributes=0x08, timestamp=7, timestamp_max=9, last_offset_delta=5)
    header = header_of(memoryview(batch.encoded(100)))
    assert (header.base_offset, header.last_offset_delta, header.count) == (100, 5, 2)
    assert (header.first_timestamp, header.max_timestamp, header.attributes) == (7, 9, 0x0C)
    assert (header.codec, header.append_time, header.dense) == (4, True, False)
    assert header_of(memoryview(WireBatch(records(2)).encoded())).dense
    assert not header_of(memoryview(WireBatch(records(2)).encoded())).append_time


def test_reading_begins_at_the_offset_that_is_asked_for() -> None:
    batch = WireBatch(records(4))
    assert offsets(batch, base=10) == [10, 11, 12, 13]
    assert offsets(batch, base=10, first=12) == [12, 13]
    assert offsets(batch, base=10, first=14) == []


def test_the_offsets_of_a_compacted_batch_are_those_it_says_in_order_and_within_it() -> None:
    def compacted(*deltas: int) -> list[int]:
        batch = WireBatch([WireRecord(b"v", offset_delta=delta) for delta in deltas], last_offset_delta=9)
        return offsets(batch, base=100)

    assert compacted(0, 4, 9) == [100, 104, 109]
    assert compacted(4, 4, 2) == [104, 105, 106]
    assert compacted(-5, 3) == [100, 103]
    assert compacted(50) == [109]


def test_the_bytes_of_each_record_are_told_with_it() -> None:
    batch = WireBatch([WireRecord(b"v" * 5), WireRecord(b"v" * 50)])
    raw = memoryview(batch.encoded())
    assert [size for _, size in records_of(raw, partition=0, from_offset=0)] == [
        len(record.encoded(place)) for place, record in enumerate(batch.records)
    ]


def test_a_record_has_its_own_time_or_the_brokers() -> None:
    two = [WireRecord(b"v", timestamp_delta=-2), WireRecord(b"v", timestamp_delta=5)]
    assert [each.timestamp for each in read(WireBatch(two, timestamp=100, timestamp_max=999))] == [98, 105]
    brokers = WireBatch(two, timestamp=100, timestamp_max=999, attributes=0x08)
    assert [each.timestamp for each in read(brokers)] == [999, 999]


@pytest.mark.parametrize(
    ("first", "delta", "told"),
    [(2**63 - 1, 1, -(2**63)), (-(2**63), -1, 2**63 - 1), (2**63 - 1, 0, 2**63 - 1), (-(2**63), 0, -(2**63))],
)
def test_a_time_beyond_64_bits_wraps_as_it_does_in_java(first: int, delta: int, told: int) -> None:
    (record,) = read(WireBatch([WireRecord(b"v", timestamp_delta=delta)], timestamp=first))
    assert record.timestamp == told


def test_a_record_is_read_whole() -> None:
    (record,) = read(WireBatch([WireRecord(b"value", key=b"key", headers=[(b"h", b"1"), (b"n", None), (b"", b"")])]))
    assert (record.partition, record.key, record.value) == (3, b"key", b"value")
    assert (record.headers, record.cut, record.fault) == ([("h", b"1"), ("n", None), ("", b"")], None, "")
    (odd,) = read(WireBatch([WireRecord(b"v", headers=[(None, b"1"), (b"h", b"2")])]))  # type: ignore[list-item] # no name
    assert (odd.headers, odd.fault) == ([("", b"1"), ("h", b"2")], "")
    (nothing,) = read(WireBatch([WireRecord(None)]))
    assert (nothing.key, nothing.value, nothing.headers) == (None, None, [])
    (empty,) = read(WireBatch([WireRecord(b"", key=b"")]))
    assert (empty.key, empty.value) == (b"", b"")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_cannot_be_read_is_said_of_each_record_that_is_left(at: int) -> None:
    plain = [record.encoded(place) for place, record in enumerate(records(3))]
    plain[at] = varint(-1)
    found = read(WireBatch(records(3), body=b"".join(plain), timestamp_max=77), base=20)
    assert [record.offset for record in found] == [20, 21, 22]
    assert [bool(record.fault) for record in found] == [False] * at + [True] * (3 - at)
    lost = found[-1]
    assert (lost.partition, lost.timestamp, lost.key, lost.value, lost.headers) == (3, 77, None, None, [])
    assert lost.fault.startswith(f"record {at + 1} of 3 of its batch cannot be read: its length is -1;")


def test_of_records_that_cannot_be_read_only_those_are_told_that_were_asked_for() -> None:
    broken = WireBatch(records(4), body=varint(-1))
    assert offsets(broken, base=10, first=12) == [12, 13]
    compacted = WireBatch(records(2), body=varint(-1), last_offset_delta=9)
    assert offsets(compacted, base=10) == [10, 11]
    assert offsets(compacted, base=10, first=19) == [19]


def test_a_record_that_says_a_wrong_length_is_unreadable_or_ends_where_it_says() -> None:
    whole = WireRecord(b"value").encoded(0)
    shorter = varint(len(whole) - 2) + whole[1:]
    (lost,) = read(WireBatch(records(1), body=shorter))
    assert "it was to end after 10 bytes, and its value ends 1 bytes behind that" in lost.fault
    exact = varint(len(whole) - 1) + whole[1:]
    assert read(WireBatch(records(1), body=exact))[0].value == b"value"


# --- what is kept ----------------------------------------------------------------------------------------------------


def cut_of(**parts: Any) -> Cut | None:
    record = {"value": b"v", "key": b"k", "headers": [("h", b"1")]} | parts
    batch = WireBatch([WireRecord(record["value"], record["key"], [(n.encode(), v) for n, v in record["headers"]])])
    (streamed,) = read(batch)
    whole = kept(record["key"], record["value"], record["headers"])
    assert (streamed.key, streamed.value, streamed.headers, streamed.cut) == whole, "read one way or the other"
    return whole[3]


def test_each_part_is_kept_whole_up_to_its_bound_and_cut_one_byte_beyond() -> None:
    value, key = b"v" * VALUE_KEPT_BYTES_MAX, b"k" * KEY_KEPT_BYTES_MAX
    assert cut_of(value=value, key=key) is None
    beyond = cut_of(value=value + b"x")
    assert beyond is not None
    assert (beyond.value_bytes, beyond.value_sha256) == (len(value) + 1, hashlib.sha256(value + b"x").hexdigest())
    assert (beyond.key_bytes, beyond.key_sha256, beyond.headers_count, beyond.headers_bytes) == (1, "", 1, 4)
    beyond = cut_of(key=key + b"x")
    assert beyond is not None
    assert (beyond.key_bytes, beyond.key_sha256) == (len(key) + 1, hashlib.sha256(key + b"x").hexdigest())


def test_headers_are_kept_up_to_their_number_and_their_bytes() -> None:
    many = [(f"h{number:03}", b"1") for number in range(HEADERS_KEPT_MAX)]
    assert cut_of(headers=many) is None
    cut = cut_of(headers=[*many, ("more", b"1")])
    assert cut is not None
    assert (cut.headers_count, cut.headers_sha256) == (65, hashlib.sha256(encoded([*many, ("more", b"1")])).hexdigest())
    large = [("h", b"x" * (HEADERS_KEPT_BYTES_MAX - 5))]
    assert len(encoded(large)) == HEADERS_KEPT_BYTES_MAX
    assert cut_of(headers=large) is None
    larger = [("h", b"x" * (HEADERS_KEPT_BYTES_MAX - 4))]
    cut = cut_of(headers=larger)
    assert cut is not None
    assert (cut.headers_bytes, cut.headers_count) == (HEADERS_KEPT_BYTES_MAX + 1, 1)
    assert kept(None, None, larger)[2] == [("h", b"x" * (HEADERS_KEPT_BYTES_MAX - 5))], "as much of it as there is"


# --- codecs ----------------------------------------------------------------------------------------------------------

PLAIN = bytes(range(256)) * 3_000


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_body_comes_in_pieces_that_are_bounded(codec: int) -> None:
    found = list(pieces(codec, memoryview(compressed(PLAIN, codec))))
    assert b"".join(found) == PLAIN
    assert max(map(len, found)) <= wire.PIECE_BYTES
    assert len(found) > 1


def test_a_codec_that_is_not_known_is_unreadable_when_it_is_read() -> None:
    unknown = pieces(5, memoryview(b""))
    with pytest.raises(Unreadable, match="compression 5 is not known"):
        next(unknown)


def test_a_block_that_says_it_holds_more_than_it_can_is_unreadable() -> None:
    def says(length: int, size: int) -> bytes:
        """A raw snappy block of so many bytes that says it holds so many."""
        head = bytearray()
        while length > 0x7F:
            head.append(length & 0x7F | 0x80)
            length >>= 7
        head.append(length)
        return bytes(head).ljust(size, b"\0")

    for size, holds in ((64, 22 * 64), (10, 22 * 64), (100, 2_200)):
        with pytest.raises(Unreadable, match=f"a block of {size} bytes that says it holds {holds + 1}"):
            list(pieces(SNAPPY, memoryview(says(holds + 1, size))))
        with pytest.raises(Exception) as broken:  # the codec has errors of its own
            list(pieces(SNAPPY, memoryview(says(holds, size))))
        assert not isinstance(broken.value, Unreadable), "it was looked at"


def test_a_block_of_a_negative_length_is_unreadable() -> None:
    body = b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, -1)
    with pytest.raises(Unreadable, match="a block of -1 bytes"):
        list(pieces(SNAPPY, memoryview(body)))


# --- formats 0 and 1 -------------------------------------------------------------------------------------------------


def legacy(magic: int, codec: int, value: bytes, key: bytes | None = None) -> memoryview:
    """A message as brokers wrote it until 2017: offset, size, checksum, magic, attributes, time, key, value."""
    time = struct.pack(">q", 5) if magic else b""
    parts = [struct.pack(">i", -1) if key is None else struct.pack(">i", len(key)) + key]
    parts.append(struct.pack(">i", len(value)) + value)
    body = struct.pack(">Ibb", 0, magic, codec) + time + b"".join(parts)
    return memoryview(struct.pack(">qi", 0, len(body)) + body)


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("key", [None, b"", b"key"])
def test_an_old_message_comes_to_what_it_holds_decompressed(magic: int, key: bytes | None) -> None:
    assert legacy_size(legacy(magic, GZIP, compressed(b"x" * 5_000, GZIP), key)) == 5_000
    plain = legacy(magic, 0, b"x" * 50, key)
    assert legacy_size(plain) == len(plain)
    assert legacy_size(legacy(magic, 8 | GZIP, compressed(b"x" * 99, GZIP), key)) == 99, "a bit beside the codec"


def test_of_an_old_message_no_more_is_decompressed_than_tells_that_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "LEGACY_BYTES_MAX", wire.PIECE_BYTES)
    value = compressed(bytes(3 * wire.PIECE_BYTES), GZIP)
    assert legacy_size(legacy(1, GZIP, value)) == 2 * wire.PIECE_BYTES
