"""What a broker accepts is read, record for record, whatever aiokafka makes of it."""

from __future__ import annotations

import gzip
import hashlib
import random
import tracemalloc
from types import SimpleNamespace
from typing import Any

import lz4.frame
import pytest
import zstandard
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from stream.consume import reading, wire
from stream.consume.faust_patches import FetchedBytes, FetchedRecords, FetchResult
from stream.consume.reading import LOOK_BYTES_MAX, LOOK_RECORDS_MAX, look
from stream.consume.wire import FetchedRecord
from stream.decode.cut import (
    HEADERS_KEPT_BYTES_MAX,
    HEADERS_KEPT_MAX,
    KEY_KEPT_BYTES_MAX,
    VALUE_KEPT_BYTES_MAX,
    encoded,
)
from tests.support.wire import CODECS, GZIP, LZ4, SNAPPY, ZSTD, WireBatch, WireRecord, _xerial, compressed

PLACE = TopicPartition("usage.events", 0)
MEGABYTE = 1024 * 1024


def fetched(raw: bytes, *, offset: int = 0, isolation: int = 0, aborted: Any = ()) -> FetchedRecords:
    return FetchedRecords(PLACE, FetchedBytes(raw), list(aborted), offset, None, None, True, isolation)


def read(*batches: WireBatch, offset: int = 0) -> list[FetchedRecord]:
    """All records of batches that follow one another."""
    raw, base = b"", 0
    for batch in batches:
        raw += batch.encoded(base)
        base += len(batch.records)
    return [record for records, _ in fetched(raw, offset=offset) for record in records]


def told(records: list[FetchedRecord]) -> list[tuple[int, bytes | None]]:
    assert [record.fault for record in records if record.fault] == []
    return [(record.offset, record.value) for record in records]


TWO = [WireRecord(b"one" * 50, key=b"k", headers=[(b"a", b"1"), (b"b", None)]), WireRecord(None)]
EXPECTED = [(0, b"one" * 50), (1, None)]
PLAIN = b"".join(record.encoded(place) for place, record in enumerate(TWO))
HALF = len(PLAIN) // 2
WIDE = zstandard.ZstdCompressor(
    compression_params=zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
)


def _wide() -> bytes:
    press = WIDE.compressobj()
    return press.compress(PLAIN) + press.flush()


# A real broker (Apache Kafka 4.1) has accepted each of these; aiokafka's reader dies of those with a star.
ACCEPTED = {
    **{f"codec {name}": WireBatch(TWO, codec=codec) for name, codec in CODECS.items()},
    "snappy without frames": WireBatch(TWO, codec=SNAPPY, raw_snappy=True),
    "snappy frames of version 2 *": WireBatch(
        TWO, codec=SNAPPY, body=_xerial(PLAIN).replace(bytes([0, 0, 0, 1]), bytes([0, 0, 0, 2]), 1)
    ),
    "two snappy streams *": WireBatch(TWO, codec=SNAPPY, body=_xerial(PLAIN[:HALF]) + _xerial(PLAIN[HALF:])),
    "two gzip members": WireBatch(TWO, codec=GZIP, body=gzip.compress(PLAIN[:HALF]) + gzip.compress(PLAIN[HALF:])),
    "garbage behind gzip *": WireBatch(TWO, codec=GZIP, body=gzip.compress(PLAIN) + b"garbage"),
    "garbage behind lz4 *": WireBatch(TWO, codec=LZ4, body=lz4.frame.compress(PLAIN, block_linked=False) + b"garbage"),
    "lz4 with all checksums": WireBatch(
        TWO, codec=LZ4, body=lz4.frame.compress(PLAIN, content_checksum=True, block_checksum=True)
    ),
    "two zstd frames": WireBatch(TWO, codec=ZSTD, body=compressed(PLAIN[:HALF], ZSTD) + compressed(PLAIN[HALF:], ZSTD)),
    "a zstd frame to skip": WireBatch(
        TWO, codec=ZSTD, body=b"\x50\x2a\x4d\x18\x04\0\0\0skip" + compressed(PLAIN, ZSTD)
    ),
    "zstd with a window of 128 MB": WireBatch(TWO, codec=ZSTD, body=_wide()),
    "attributes of a record *": WireBatch([WireRecord(b"one" * 50, attributes=0xFF), WireRecord(None)]),
    "equal offsets": WireBatch([WireRecord(b"one" * 50), WireRecord(None, offset_delta=0)]),
    "reversed offsets": WireBatch([WireRecord(b"one" * 50, offset_delta=1), WireRecord(None, offset_delta=0)]),
    "offsets far away": WireBatch([WireRecord(b"one" * 50, offset_delta=2**31 - 1), WireRecord(None, offset_delta=-9)]),
    "lengths of more bytes than they need": WireBatch(
        [WireRecord(b"")], body=b"\x1c\x00\x80\x00\x80\x80\x00\x81\x80\x00\x82\x00x\x80\x00"
    ),
    "a header name that is not UTF-8 *": WireBatch(
        [WireRecord(b"one" * 50, headers=[(b"\xff", b"1")]), WireRecord(None)]
    ),
}


@pytest.mark.parametrize("slowly", [False, True], ids=["compiled", "slowly"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_each_record_of_an_accepted_batch_is_read_at_its_own_offset(
    name: str, slowly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slowly:
        monkeypatch.setattr(reading, "PARSED_RECORDS_MAX", -1)
    expected = [(0, b"x")] if "lengths" in name else EXPECTED
    assert told(read(ACCEPTED[name])) == expected
    neighbours = read(WireBatch([WireRecord(b"before")]), ACCEPTED[name], WireBatch([WireRecord(b"after")]))
    assert told(neighbours) == [
        (0, b"before"), *((offset + 1, value) for offset, value in expected), (len(expected) + 1, b"after")
    ]  # fmt: skip


def test_the_slow_reader_reads_what_the_compiled_one_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(11)
    batches = [WireBatch([a_record(dice) for _ in range(dice.randint(1, 30))], codec=dice.randrange(5),
        timestamp=dice.choice((1_700_000_000_000, -1, 2**62)), attributes=dice.choice((0, 0x08)),
        timestamp_max=1_800_000_000_000) for _ in range(20)]  # fmt: skip
    quickly = read(*batches)
    monkeypatch.setattr(reading, "PARSED_RECORDS_MAX", -1)
    assert read(*batches) == quickly
    assert len(quickly) == sum(len(batch.records) for batch in batches)


def a_record(dice: random.Random) -> WireRecord:
    def some(longest: int) -> bytes | None:
        return dice.choice((None, b"", dice.randbytes(dice.randint(1, 40)), b"x" * dice.randint(1, longest)))

    names = ("trace", "é", "")
    headers = [(dice.choice(names).encode(), some(30_000)) for _ in range(dice.choice((0, 1, 2, 100)))]
    return WireRecord(some(100_000), key=some(9_000), headers=headers, timestamp_delta=dice.choice((0, 5, -7, 2**62)))


def test_each_record_keeps_the_headers_that_it_came_with() -> None:
    """Those equal to the record before are kept once; a dead letter must not carry its neighbour's."""
    same, other = [(b"a", b"1"), (b"b", None)], [(b"a", b"2")]
    records = read(WireBatch([WireRecord(b"v", headers=headers) for headers in (same, same, other, [], same)]))
    assert [record.headers for record in records] == [
        [(name.decode(), value) for name, value in headers] for headers in (same, same, other, [], same)
    ]
    assert records[0].headers is records[1].headers


def test_a_name_that_is_not_utf8_gives_its_bytes_back() -> None:
    (record,) = read(WireBatch([WireRecord(b"v", headers=[(b"tr\xff\xc3", b"1")])]))
    ((name, value),) = record.headers
    assert (name.encode("utf-8", "surrogateescape"), value) == (b"tr\xff\xc3", b"1")


def test_records_that_were_compacted_away_leave_the_others_at_their_offsets() -> None:
    batch = WireBatch([WireRecord(b"a", offset_delta=2), WireRecord(b"b", offset_delta=7)], last_offset_delta=9)
    assert told(read(batch)) == [(2, b"a"), (7, b"b")]
    assert told(read(batch, offset=3)) == [(7, b"b")]
    emptied = fetched(WireBatch([], last_offset_delta=9).encoded())
    assert ([record for records, _ in emptied for record in records], emptied.next_fetch_offset) == ([], 10)


@pytest.mark.parametrize("slowly", [False, True], ids=["compiled", "slowly"])
def test_a_compacted_batch_names_no_offset_outside_itself(slowly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group's commit follows the last offset handed on: one behind the log's end would read all of it again."""
    if slowly:
        monkeypatch.setattr(reading, "PARSED_RECORDS_MAX", -1)
    liars = [WireRecord(b"a", offset_delta=-5), WireRecord(b"b", offset_delta=2**31 - 1)]
    assert [offset for offset, _ in told(read(WireBatch(liars, last_offset_delta=9)))] == [0, 9]


# --- what is too large -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(
    "size", [VALUE_KEPT_BYTES_MAX - 1, VALUE_KEPT_BYTES_MAX, VALUE_KEPT_BYTES_MAX + 1, 5 * MEGABYTE]
)
def test_of_a_large_value_a_head_its_length_and_its_digest_are_kept(codec: int, size: int) -> None:
    value = random.Random(size).randbytes(1_000) * (size // 1_000 + 1)
    records = read(
        WireBatch([WireRecord(b"before"), WireRecord(value[:size], key=b"k"), WireRecord(b"after")], codec=codec)
    )
    assert [record.value for record in records] == [b"before", value[:size][:VALUE_KEPT_BYTES_MAX], b"after"]
    cut = records[1].cut
    if size <= VALUE_KEPT_BYTES_MAX:
        assert cut is None
    else:
        assert cut is not None
        assert (cut.value_bytes, cut.value_sha256) == (size, hashlib.sha256(value[:size]).hexdigest())
        assert (cut.key_bytes, cut.key_sha256, cut.headers_sha256) == (1, "", "")


@pytest.mark.parametrize("size", [9_000, 5 * MEGABYTE])
def test_of_a_large_key_too(size: int) -> None:
    key = bytes(range(250)) * (size // 250)
    (record,) = read(WireBatch([WireRecord(b"v", key=key)]))
    assert record.cut is not None
    assert (record.key, record.value) == (key[:KEY_KEPT_BYTES_MAX], b"v")
    assert (record.cut.key_bytes, record.cut.key_sha256) == (len(key), hashlib.sha256(key).hexdigest())


@pytest.mark.parametrize("slowly", [False, True], ids=["compiled", "slowly"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"n", b"v" * MEGABYTE)],
        [(b"n", b"v")] * 10_000,
        [(b"n" * MEGABYTE, None)],
        [(b"a", b"1"), (b"b", b"2" * 20_000)],
    ],
    ids=["one value", "many", "one name", "the second"],
)
def test_of_large_headers_the_first_are_kept_and_all_are_counted_and_digested(
    headers: list[tuple[bytes, bytes | None]], slowly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slowly:
        monkeypatch.setattr(reading, "PARSED_RECORDS_MAX", -1)
    (record,) = read(WireBatch([WireRecord(b"v", headers=headers)]))
    whole = encoded((name.decode(), value) for name, value in headers)
    assert record.cut is not None
    assert (record.cut.headers_count, record.cut.headers_bytes) == (len(headers), len(whole))
    assert record.cut.headers_sha256 == hashlib.sha256(whole).hexdigest()
    assert len(encoded(record.headers)) <= HEADERS_KEPT_BYTES_MAX
    assert len(record.headers) <= HEADERS_KEPT_MAX
    for (name, kept), (sent_name, sent) in zip(record.headers, headers, strict=False):
        assert (name.encode(), (sent or b"").startswith(kept or b"")) == (sent_name, True)


def test_headers_at_their_bounds_are_whole() -> None:
    """A name of one byte, a value's length of three and a name's of one leave so many for the value."""
    at_bound = [(b"n", b"v" * (HEADERS_KEPT_BYTES_MAX - 5))]
    for headers in ([(b"n", b"v")] * HEADERS_KEPT_MAX, at_bound):
        (record,) = read(WireBatch([WireRecord(b"v", headers=headers)]))
        assert (record.cut, len(record.headers)) == (None, len(headers))


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD], ids=["gzip", "lz4", "zstd"])
def test_a_bomb_is_read_in_bounded_memory(codec: int) -> None:
    size = 48 * MEGABYTE
    raw = WireBatch([WireRecord(bytes(size)), WireRecord(b"after")], codec=codec).encoded()
    assert len(raw) < size // 100
    look.begin()
    tracemalloc.start()
    try:
        records = [record for records, _ in fetched(raw) for record in records]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(record.value or b"") for record in records] == [VALUE_KEPT_BYTES_MAX, 5]
    assert records[0].cut is not None
    assert records[0].cut.value_sha256 == hashlib.sha256(bytes(size)).hexdigest()
    assert peak < 8 * MEGABYTE


def test_ten_million_headers_are_not_taken_apart() -> None:
    raw = WireBatch([WireRecord(b"")], codec=ZSTD, body=compressed(_with_headers(5_000_000), ZSTD)).encoded()
    tracemalloc.start()
    try:
        (record,) = (record for records, _ in fetched(raw) for record in records)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert record.cut is not None
    assert (record.cut.headers_count, len(record.headers)) == (5_000_000, HEADERS_KEPT_MAX)
    assert peak < 8 * MEGABYTE


def _with_headers(count: int) -> bytes:
    from tests.support.wire import varint

    body = b"\0\0\0" + varint(-1) + varint(1) + b"x" + varint(count) + b"\0\x01" * count
    return varint(len(body)) + body


def test_a_batch_beyond_what_is_read_of_one_accounts_for_each_record_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "BATCH_READ_BYTES_MAX", 8 * MEGABYTE)
    records = read(
        WireBatch(
            [WireRecord(b"first"), WireRecord(bytes(10 * MEGABYTE)), WireRecord(b"x"), WireRecord(b"y")], codec=ZSTD
        ),
        WireBatch([WireRecord(b"friendly")]),
    )
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert [bool(record.fault) for record in records] == [False, True, True, True, False]
    assert "record 2 of 4 of its batch cannot be read: the batch comes to more than 8388608 bytes" in records[3].fault


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD, SNAPPY], ids=["gzip", "lz4", "zstd", "snappy"])
def test_a_compressed_stream_that_breaks_off_is_said_of_each_record_that_it_held(codec: int) -> None:
    """No broker accepts one; a disk that lies may hand one out."""
    whole = compressed(PLAIN * 50, codec)
    records = read(WireBatch([WireRecord(b"")] * 100, codec=codec, body=whole[: len(whole) // 2]))
    assert [record.offset for record in records] == list(range(100))
    assert "cannot be read" in records[-1].fault


def test_an_unknown_compression_is_said_of_each_record() -> None:
    records = read(WireBatch(TWO, codec=6), WireBatch([WireRecord(b"friendly")]))
    assert [record.fault.partition(": ")[2] for record in records] == [
        "compression 6 is not known; nor can what follows it", "compression 6 is not known; nor can what follows it", ""
    ]  # fmt: skip


def test_a_block_that_lies_about_what_it_holds_takes_no_memory_for_it() -> None:
    huge = b"\xff\xff\xff\xff\x0f" + b"x" * 20  # four gigabytes, it says
    (record,) = read(WireBatch([WireRecord(b"")], codec=SNAPPY, body=huge))
    assert "a block of 25 bytes that says it holds 4294967295" in record.fault


# --- a look has a bound ----------------------------------------------------------------------------------------------


class Fetches:
    """Fetch results as aiokafka's fetcher holds them, and what one look after another brings of them."""

    def __init__(self, *raws: bytes) -> None:
        self.states = [SimpleNamespace(paused=False, position=0) for _ in raws]
        for state in self.states:
            state.consumed_to = lambda position, state=state: setattr(state, "position", position)
        self.results = []
        for raw, state in zip(raws, self.states, strict=True):
            assignment = SimpleNamespace(active=True, state_value=lambda _, state=state: state)
            self.results.append(FetchResult(PLACE, assignment=assignment, partition_records=fetched(raw), backoff=0))

    def look(self) -> list[int]:
        look.begin()
        brought = [result.getall() for result in self.results]
        self.sizes = [getattr(records, "size", 0) for records in brought]
        return [len(records) for records in brought]


def test_a_look_brings_what_it_has_room_for_and_the_next_one_goes_on_there() -> None:
    batch = [WireRecord(bytes(MEGABYTE))] * 4
    raw = b"".join(WireBatch(batch, codec=ZSTD).encoded(4 * number) for number in range(20))
    fetches = Fetches(raw, raw)
    looks, sizes = [], []
    while any(result.has_more() for result in fetches.results):
        looks.append(fetches.look())
        sizes.append(fetches.sizes)
    assert [sum(column) for column in zip(*looks, strict=True)] == [80, 80]
    assert all(sum(brought) * MEGABYTE <= LOOK_BYTES_MAX + 5 * MEGABYTE for brought in looks)
    assert looks[0][0] * MEGABYTE <= sizes[0][0] <= looks[0][0] * (MEGABYTE + 100)
    assert [state.position for state in fetches.states] == [80, 80]


def test_a_look_at_tiny_records_has_a_bound_too() -> None:
    raw = b"".join(WireBatch([WireRecord(None)] * 60_000, codec=ZSTD).encoded(60_000 * n) for n in (0, 1, 2))
    fetches = Fetches(raw)
    assert LOOK_RECORDS_MAX == 100_000
    assert fetches.look() == [120_000]
    assert fetches.look() == [60_000]


def test_a_batch_with_more_records_than_are_read_at_once_is_handed_on_in_parts() -> None:
    raw = WireBatch([WireRecord(b"x" * 20)] * 70_000, codec=ZSTD).encoded()
    parts = [len(records) for records, _ in fetched(raw)]
    assert sum(parts) == 70_000
    assert max(parts) < 15_000


def test_only_one_large_batch_is_open_at_a_time_unless_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decompressor may hold 128 MB."""
    raw = WireBatch([WireRecord(bytes(MEGABYTE))] * 70, codec=ZSTD).encoded()
    fetches = Fetches(raw, raw)
    first = fetches.look()
    assert first[0] > 0
    assert first[1] == 0
    monkeypatch.setattr(look, "bytes", LOOK_BYTES_MAX)
    assert fetches.results[1].getall() == []
    monkeypatch.setattr(reading, "LARGE_IDLE_SECONDS_MAX", 0.0)
    assert len(fetches.results[1].getall()) > 0


# --- transactions, checksums, old formats -------------------------------------------------------------------


def test_what_an_aborted_transaction_wrote_is_passed_over_where_only_committed_records_are_read() -> None:
    def batch(base: int, producer: int, *, control: bytes | None = None) -> bytes:
        record = WireRecord(b"v", key=control) if control else WireRecord(b"v%d" % base)
        return WireBatch([record], attributes=0x10 | (0x20 if control else 0), producer_id=producer).encoded(base)

    abort, commit = b"\0\0\0\0", b"\0\0\0\x01"
    raw = batch(0, 7) + batch(1, 8) + batch(2, 7, control=abort) + batch(3, 8, control=commit) + batch(4, 7)
    committed = fetched(raw, isolation=fetcher.READ_COMMITTED, aborted=[(7, 0)])
    assert [record.value for records, _ in committed for record in records] == [b"v1", b"v4"]
    assert committed.next_fetch_offset == 5
    assert [record.value for records, _ in fetched(raw) for record in records] == [b"v0", b"v1", b"v4"]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_batches_that_compaction_has_emptied_are_passed_over_those_of_markers_too(codec: int) -> None:
    def emptied(base: int, attributes: int) -> bytes:
        batch = WireBatch([], codec, attributes=attributes, producer_id=7, last_offset_delta=2, body=b"")
        return batch.encoded(base)

    before, after = WireBatch([WireRecord(b"before")]).encoded(), WireBatch([WireRecord(b"after")]).encoded(10)
    raw = before + emptied(1, 0) + emptied(4, 0x10) + emptied(7, 0x10 | 0x20) + after
    for isolation in (fetcher.READ_COMMITTED, fetcher.READ_UNCOMMITTED):
        found = fetched(raw, isolation=isolation)
        assert [(record.offset, record.value) for records, _ in found for record in records] == [
            (0, b"before"),
            (10, b"after"),
        ]
        assert found.next_fetch_offset == 11


def test_a_batch_whose_checksum_is_wrong_is_not_taken_for_what_was_accepted() -> None:
    raw = bytearray(WireBatch(TWO).encoded())
    raw[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        list(fetched(bytes(raw)))


def test_a_batch_that_the_broker_cut_off_is_left_for_the_next_fetch() -> None:
    raw = WireBatch(TWO).encoded() + WireBatch(TWO).encoded(2)
    assert told([record for records, _ in fetched(raw[:-1]) for record in records]) == EXPECTED
    assert not FetchedBytes(raw[:11]).has_next()
    assert FetchedBytes(raw[:11]).size_in_bytes() == 11


def test_old_formats_are_read_too() -> None:
    from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

    for magic, codec in ((0, 0), (1, 0), (1, GZIP), (1, LZ4)):
        builder = LegacyRecordBatchBuilder(magic, codec, 10_000)
        for offset in range(2):
            builder.append(offset, timestamp=1_700_000_000_000, key=b"k", value=b"v%d" % offset)
        records = [record for records, _ in fetched(bytes(builder.build())) for record in records]
        assert told(records) == [(0, b"v0"), (1, b"v1")]
        assert {record.timestamp for record in records} == {1_700_000_000_000 if magic else -1}
    builder = LegacyRecordBatchBuilder(1, GZIP, 10_000)
    builder.append(0, timestamp=0, key=None, value=bytes(5 * MEGABYTE))
    (record,) = (record for records, _ in fetched(bytes(builder.build())) for record in records)
    assert "more than 4194304 bytes" in record.fault
