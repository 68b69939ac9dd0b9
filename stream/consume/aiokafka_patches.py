"""How aiokafka 0.14.0 reads what it has fetched: a patch, and all that is patched of it.

It has no public way to choose how a fetched batch is read. Its own reader dies of what a broker accepts (see wire.py),
which ends the consumption of the partition for good, and it decompresses a batch whatever that comes to. Its fetcher
looks up MemoryRecords, PartitionRecords and FetchResult by name in its module, so that is where ours go. The version is
pinned in pyproject.toml; tests/stream/test_aiokafka_patches.py fails when the library moves.
"""

from __future__ import annotations

import struct
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, Final

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

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


class _Look(threading.local):
    """What the thread of a consumer may still take in this look, and where it decompresses."""

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(HEADER_BYTES + PARSED_BYTES_MAX))
        self.begin()
        self._large: weakref.ref[_FetchedRecords] | None = None
        self._large_at = 0.0

    def begin(self) -> None:
        self.bytes, self.records = LOOK_BYTES_MAX, LOOK_RECORDS_MAX

    def spend(self, records: int, size: int) -> None:
        self.bytes -= size
        self.records -= records

    @property
    def over(self) -> bool:
        return self.bytes <= 0 or self.records <= 0

    def reads_large(self, which: _FetchedRecords | None) -> None:
        """A large batch is read piece by piece and its decompressor kept in between: 128 MB with zstd's widest window.
        So one is read at a time, whatever the number of partitions."""
        self._large, self._large_at = weakref.ref(which) if which else None, time.monotonic()

    def is_kept_from(self, which: _FetchedRecords | None) -> bool:
        """Whether another one is in the middle of a large batch, and not given up with its partition."""
        large = self._large() if self._large else None
        return large not in (None, which) and time.monotonic() - self._large_at < LARGE_IDLE_SECONDS_MAX


_look: Final = _Look()


class _FetchedBytes:
    """A fetch of a partition, batch by batch; the last one may have been cut off by the broker."""

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._at = 0

    def has_next(self) -> bool:
        return self._end() <= len(self._fetched)

    def size_in_bytes(self) -> int:
        return len(self._fetched)

    def next_batch(self) -> memoryview:
        start, self._at = self._at, self._end()
        return self._fetched[start : self._at]

    def _end(self) -> int:
        if len(self._fetched) - self._at < LENGTH_END:
            return len(self._fetched) + 1
        return self._at + LENGTH_END + int.from_bytes(self._fetched[self._at + 8 : self._at + LENGTH_END], "big")


LENGTH_END: Final = 12  # base offset and length come first in all formats
MAGIC_AT: Final = 16


class _FetchedRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka publishes no types
    """The records of one fetch of a partition, in lists with the bytes that were read for them."""

    def _unpack_records(self) -> Iterator[tuple[list[FetchedRecord], int]]:
        while self._records.has_next():
            raw = self._records.next_batch()
            magic = raw[MAGIC_AT]
            batch = DefaultRecordBatch(raw) if magic >= FORMAT else LegacyRecordBatch(raw, magic)
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not self._is_passed_over(batch):
                yield from self._read(raw) if magic >= FORMAT else self._read_legacy(batch, raw)
            self.next_fetch_offset = batch.next_offset

    def _is_passed_over(self, batch: Any) -> bool:
        """Markers of transactions, and what belongs to one that was aborted; as aiokafka does it."""
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)

    def _contains_abort_marker(self, batch: Any) -> bool:
        """Compaction may have taken the marker and left its batch, which says nothing then; aiokafka dies of it."""
        marker = next(batch, None)
        return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER

    def _read(self, raw: memoryview) -> Iterator[tuple[list[FetchedRecord], int]]:
        header = header_of(raw)
        size = len(raw)
        try:
            if header.count > PARSED_RECORDS_MAX:
                raise OverflowError
            plain = _decompressed(header, raw)
            size = len(plain)
            records = self._parsed(header, plain)
        except Exception:  # noqa: BLE001 - of the codecs and the parser alike: whatever they fail on is read here instead
            yield from self._read_slowly(raw)
        else:
            self.next_fetch_offset = header.base_offset + header.last_offset_delta + 1
            yield records, size

    def _parsed(self, header: BatchHeader, plain: memoryview) -> list[FetchedRecord]:
        """aiokafka's own ConsumerRecord, a frozen dataclass of eleven fields, takes longer to build than to parse."""
        partition, first, made = self._tp.partition, self.next_fetch_offset, []
        last_headers: list[Header] = []  # nearly all are the same, so they are kept once
        for place, record in enumerate(DefaultRecordBatch(plain), header.base_offset):
            offset = place if header.dense else _within(header, record.offset)
            if offset < first:
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

    def _read_slowly(self, raw: memoryview) -> Iterator[tuple[list[FetchedRecord], int]]:
        _look.reads_large(self)
        try:
            made, size = [], 0
            for record, read in records_of(raw, partition=self._tp.partition, from_offset=self.next_fetch_offset):
                made.append(record)
                size += read
                self.next_fetch_offset = record.offset + 1
                if size > LISTED_BYTES_MAX:
                    yield made, size
                    _look.reads_large(self)
                    made, size = [], 0
            yield made, size
        finally:
            _look.reads_large(None)

    def _read_legacy(self, batch: Any, raw: memoryview) -> Iterator[tuple[list[FetchedRecord], int]]:
        """Formats 0 and 1, which brokers wrote until 2017 and none takes any more."""
        partition, first = self._tp.partition, self.next_fetch_offset
        try:
            if legacy_size(raw) > PARSED_BYTES_MAX:
                raise OverflowError(f"it comes to more than {PARSED_BYTES_MAX} bytes when it is decompressed")
            records = [
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
                if found.offset >= first
            ]
        except Exception as error:  # noqa: BLE001 - as above
            offset = batch.next_offset - 1
            records = [
                FetchedRecord(partition, offset, NO_TIME, None, None, [], fault=f"its batch cannot be read: {error}")
            ]
        self.next_fetch_offset = batch.next_offset
        yield records, len(raw)


FORMAT: Final = 2
NO_TIME: Final = -1
APPEND_TIME: Final = 1


def _within(header: BatchHeader, offset: int) -> int:
    return min(max(offset, header.base_offset), header.base_offset + header.last_offset_delta)


def _may_be_large(headers: list[Header]) -> bool:
    if len(headers) > HEADERS_KEPT_MAX:
        return True
    return sum(len(name) + len(value or b"") for name, value in headers) > HEADERS_SURELY_SMALL


def begin_look() -> None:
    """The thread of a consumer is about to look at what was fetched."""
    _look.begin()


# --- decompressing into a place that is there ------------------------------------------------------------------------


def _decompressed(header: BatchHeader, raw: memoryview) -> memoryview:
    """The batch with its records decompressed; raises if it is broken, or larger than the place for it."""
    if not header.codec:
        if len(raw) > len(_look.scratch):
            raise OverflowError
        return raw
    scratch = _look.scratch
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


class Fetched(list[FetchedRecord]):
    """Records, and the bytes that were read for them: more than is kept, where a record was cut."""

    size = 0


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]  # as above
    """Hands on what the look still has room for, and keeps the rest."""

    _partition_records: _FetchedRecords | None

    def getall(self, max_records: int | None = None) -> Fetched:
        if _look.over or _look.is_kept_from(self._partition_records):
            return Fetched()
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return Fetched()
        taken = Fetched()
        assert self._partition_records is not None, "it has more"
        for records, size in self._partition_records:
            taken.extend(records)
            taken.size += size
            _look.spend(len(records), size)
            if _look.over:
                self._update_position()
                return taken
        self._update_position()
        self._partition_records = None
        return taken


def read_what_brokers_accept() -> None:
    """Put the classes above in the place where aiokafka looks for its own; its version is pinned for this."""
    fetcher.MemoryRecords = _FetchedBytes
    fetcher.PartitionRecords = _FetchedRecords
    fetcher.FetchResult = _FetchResult
