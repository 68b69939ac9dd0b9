"""A fetched batch to records: the compiled reader where it can and within a bound, wire.py for the rest.

aiokafka's own reader dies of what a broker accepts (see wire.py), which ends the consumption of the partition for good,
and it decompresses a batch whatever that comes to. faust_patches.py puts this one in its place.
"""

from __future__ import annotations

import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import cramjam

from stream.consume.wire import (
    ATTRIBUTES_AT,
    HEADER_BYTES,
    XERIAL,
    XERIAL_HEADER_BYTES,
    BatchHeader,
    FetchedRecord,
    header_of,
    kept,
    legacy_size,
    records_of,
)
from stream.decode.cut import HEADERS_KEPT_BYTES_MAX, HEADERS_KEPT_MAX, KEY_KEPT_BYTES_MAX, VALUE_KEPT_BYTES_MAX, Header

PARSED_BYTES_MAX: Final = 4 * 1024**2  # of a batch, decompressed, that the compiled reader takes apart in one go
PARSED_RECORDS_MAX: Final = 65_536
LISTED_BYTES_MAX: Final = 262_144  # of a larger batch, read before what was read is handed on
# What one look at the fetched partitions brings at most, decompressed: as many events as a batch has, and twice what
# they usually come to. What is beyond it stays compressed until the next look.
LOOK_BYTES_MAX: Final = 64 * 1024**2
LOOK_RECORDS_MAX: Final = 100_000
LARGE_IDLE_SECONDS_MAX: Final = 5.0
HEADERS_SURELY_SMALL: Final = HEADERS_KEPT_BYTES_MAX // 4  # characters; a character is at most four bytes


class Look(threading.local):
    """What the thread of a consumer may still take in this look at what was fetched, and where it decompresses."""

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(HEADER_BYTES + PARSED_BYTES_MAX))
        self.begin()
        self._large: weakref.ref[object] | None = None
        self._large_at = 0.0

    def begin(self) -> None:
        self.bytes, self.records = LOOK_BYTES_MAX, LOOK_RECORDS_MAX

    def spend(self, records: int, size: int) -> None:
        self.bytes -= size
        self.records -= records

    @property
    def over(self) -> bool:
        return self.bytes <= 0 or self.records <= 0

    def reads_large(self, which: object | None) -> None:
        """A large batch is read piece by piece and its decompressor kept in between: 128 MB with zstd's widest window.
        So one is read at a time, whatever the number of partitions."""
        self._large, self._large_at = weakref.ref(which) if which else None, time.monotonic()

    def is_kept_from(self, which: object | None) -> bool:
        """Whether another one is in the middle of a large batch, and not given up with its partition."""
        large = self._large() if self._large else None
        return large not in (None, which) and time.monotonic() - self._large_at < LARGE_IDLE_SECONDS_MAX


look: Final = Look()


class Fetched(list[FetchedRecord]):
    """Records, and the bytes that were read for them: more than is kept, where a record was cut."""

    size = 0


def read_batch(
    raw: memoryview, *, partition: int, from_offset: int, parse: Callable[[memoryview], Iterable[Any]], owner: object
) -> Iterator[tuple[list[FetchedRecord], int, int]]:
    """The records of a batch of format 2 from an offset on, in lists, each with the bytes that were read for it and the
    offset after it. ``parse`` is the compiled reader; ``owner`` lives as long as somebody wants the rest."""
    header = header_of(raw)
    size = len(raw)
    try:
        if header.count > PARSED_RECORDS_MAX:
            raise OverflowError
        plain = _decompressed(header, raw)
        size = len(plain)
        records = _parsed(header, parse(plain), partition=partition, from_offset=from_offset)
    except Exception:  # noqa: BLE001 - of the codecs and the parser alike: whatever they fail on is read here instead
        yield from _read_slowly(raw, partition=partition, from_offset=from_offset, owner=owner)
    else:
        yield records, size, header.base_offset + header.last_offset_delta + 1


def _parsed(header: BatchHeader, parsed: Iterable[Any], *, partition: int, from_offset: int) -> list[FetchedRecord]:
    """aiokafka's own ConsumerRecord, a frozen dataclass of eleven fields, takes longer to build than to parse."""
    made = []
    last_headers: list[Header] = []  # nearly all are the same, so they are kept once
    for place, record in enumerate(parsed, header.base_offset):
        offset = place if header.dense else _within(header, record.offset)
        if offset < from_offset:
            continue
        key, value, headers = record.key, record.value, record.headers
        if headers == last_headers:
            headers = last_headers
        elif _may_be_large(headers):
            made.append(FetchedRecord(partition, offset, record.timestamp, *kept(key, value, headers)))
            continue
        else:
            last_headers = headers
        if (value is not None and len(value) > VALUE_KEPT_BYTES_MAX) or (
            key is not None and len(key) > KEY_KEPT_BYTES_MAX
        ):
            made.append(FetchedRecord(partition, offset, record.timestamp, *kept(key, value, headers)))
        else:
            made.append(FetchedRecord(partition, offset, record.timestamp, key, value, headers))
    if not header.append_time:
        for each in made:
            each.own_time = True
    return made


def _read_slowly(
    raw: memoryview, *, partition: int, from_offset: int, owner: object
) -> Iterator[tuple[list[FetchedRecord], int, int]]:
    look.reads_large(owner)
    try:
        made, size, following = [], 0, from_offset
        for record, read in records_of(raw, partition=partition, from_offset=from_offset):
            made.append(record)
            size += read
            following = record.offset + 1
            if size > LISTED_BYTES_MAX:
                yield made, size, following
                look.reads_large(owner)
                made, size = [], 0
        yield made, size, following
    finally:
        look.reads_large(None)


def read_legacy(batch: Any, raw: memoryview, *, partition: int, from_offset: int) -> list[FetchedRecord]:
    """Formats 0 and 1, which brokers wrote until 2017 and none takes any more. ``batch`` is aiokafka's own."""
    try:
        if legacy_size(raw) > PARSED_BYTES_MAX:
            raise OverflowError(f"it comes to more than {PARSED_BYTES_MAX} bytes when it is decompressed")
        return [
            FetchedRecord(
                partition,
                found.offset,
                NO_TIME if found.timestamp is None else found.timestamp,
                found.key,
                found.value,
                [],
                own_time=found.timestamp_type != APPEND_TIME,
            )
            for found in batch
            if found.offset >= from_offset
        ]
    except Exception as error:  # noqa: BLE001 - as above
        offset = batch.next_offset - 1
        return [FetchedRecord(partition, offset, NO_TIME, None, None, [], fault=f"its batch cannot be read: {error}")]


NO_TIME: Final = -1
APPEND_TIME: Final = 1


def _within(header: BatchHeader, offset: int) -> int:
    return min(max(offset, header.base_offset), header.base_offset + header.last_offset_delta)


def _may_be_large(headers: list[Header]) -> bool:
    if len(headers) > HEADERS_KEPT_MAX:
        return True
    return sum(len(name) + len(value or b"") for name, value in headers) > HEADERS_SURELY_SMALL


# --- decompressing into a place that is there ------------------------------------------------------------------------


def _decompressed(header: BatchHeader, raw: memoryview) -> memoryview:
    """The batch with its records decompressed; raises if it is broken, or larger than the place for it."""
    if not header.codec:
        if len(raw) > len(look.scratch):
            raise OverflowError
        return raw
    scratch = look.scratch
    length = _INTO[header.codec](raw[HEADER_BYTES:], scratch[HEADER_BYTES:])
    scratch[:HEADER_BYTES] = raw[:HEADER_BYTES]
    scratch[ATTRIBUTES_AT + 1] &= 0xF8  # no codec any more
    return scratch[: HEADER_BYTES + length]


def _snappy_into(body: memoryview, place: memoryview) -> int:
    if bytes(body[: len(XERIAL)]) != XERIAL:
        return int(cramjam.snappy.decompress_raw_into(body, place))
    at, length = XERIAL_HEADER_BYTES, 0
    while at < len(body):
        (size,) = struct.unpack_from(">i", body, at)
        at += 4
        length += cramjam.snappy.decompress_raw_into(body[at : at + size], place[length:])
        at += size
    return length


_INTO: Final = {
    1: cramjam.gzip.decompress_into,
    2: _snappy_into,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}
