"""Record batches as a broker accepts them, which is more than a client library reads.

aiokafka's compiled reader takes nearly all, and quickly. It fails on what a broker lets pass: a header name that is not
UTF-8, bytes behind a compressed stream, a record's unused attributes. And it takes a batch apart in memory, however
large it becomes when it is decompressed. What it cannot read, or not within a bound, is read here: record by record
from a stream, of each record only as much as is kept. What cannot be read here either is still handed on, as a record
that says why: each offset is accounted for.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import cramjam
import lz4.frame
import msgspec
import zstandard

from stream.decode.cut import (
    HEADERS_KEPT_BYTES_MAX,
    HEADERS_KEPT_MAX,
    KEY_KEPT_BYTES_MAX,
    VALUE_KEPT_BYTES_MAX,
    Cut,
    Header,
    Headers,
    Part,
    cut_of,
    encoded,
    part,
    text_of,
)

# What a batch may come to when it is read. Beyond it the rest is not looked at: each record in it is a dead letter that
# says so. At a gigabyte a second a batch holds up its worker for two seconds, well within the group's patience.
BATCH_READ_BYTES_MAX: Final = 2 * 1024**3
PIECE_BYTES: Final = 262_144  # decompressed at a time
COMPRESSED_PIECE_BYTES: Final = 8_192  # small: what stands behind a frame is copied, and frames may be tiny
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


class FetchedRecord(msgspec.Struct, gc=False):
    """What is kept of a fetched record. ``gc=False``: it holds no cycle, and the collector need not walk it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    cut: Cut | None = None  # how large it was, if not all is kept
    fault: str = ""  # why it could not be read
    own_time: bool = False  # the timestamp is its producer's, not the broker's


class BatchHeader(msgspec.Struct, frozen=True, gc=False):
    """The fixed part of a batch of format 2."""

    base_offset: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    count: int

    @property
    def codec(self) -> int:
        return self.attributes & 0x07

    @property
    def append_time(self) -> bool:
        """The time is the broker's, one for all."""
        return bool(self.attributes & 0x08)

    @property
    def dense(self) -> bool:
        """No record was compacted away: offsets follow from the order, whatever its producer wrote beside them."""
        return self.count == self.last_offset_delta + 1


_FIXED: Final = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES: Final = _FIXED.size
ATTRIBUTES_AT: Final = struct.calcsize(">qiibI")


def header_of(batch: memoryview) -> BatchHeader:
    base, _, _, _, _, attributes, last, first_time, max_time, _, _, _, count = _FIXED.unpack_from(batch)
    return BatchHeader(base, attributes, last, first_time, max_time, count)


class Unreadable(Exception):
    """What follows in the batch cannot be read."""


def records_of(batch: memoryview, *, partition: int, from_offset: int) -> Iterator[tuple[FetchedRecord, int]]:
    """Each record of a batch from an offset on, and how many bytes of it were read."""
    header = header_of(batch)
    stream = ByteStream(pieces(header.codec, batch[HEADER_BYTES:]), limit=BATCH_READ_BYTES_MAX)
    offset = header.base_offset - 1
    for place in range(header.count):
        before = stream.read
        try:
            record = _record(stream, header, partition)
        except Unreadable as error:
            yield from _unread(header, partition, place, max(offset + 1, from_offset), str(error))
            return
        low = header.base_offset + place if header.dense else offset + 1
        offset = low if header.dense else min(max(record.offset, low), header.base_offset + header.last_offset_delta)
        record.offset = offset
        if offset >= from_offset:
            yield record, stream.read - before


def _unread(
    header: BatchHeader, partition: int, place: int, offset: int, reason: str
) -> Iterator[tuple[FetchedRecord, int]]:
    """The records from this place on, none of which could be read. Where some were compacted away nobody can tell which
    offsets are left: the first ones are taken."""
    last = header.base_offset + header.last_offset_delta
    fault = f"record {place + 1} of {header.count} of its batch cannot be read: {reason}; nor can what follows it"
    for at in range(offset, min(offset + header.count - place, last + 1)):
        yield FetchedRecord(partition, at, header.max_timestamp, None, None, [], None, fault, not header.append_time), 0


# --- one record ------------------------------------------------------------------------------------------------------


def _record(stream: ByteStream, header: BatchHeader, partition: int) -> FetchedRecord:
    length = stream.varint()
    if length < 0:
        raise Unreadable(f"its length is {length}")
    end = stream.read + length
    stream.skip(1)  # its attributes, which mean nothing yet
    timestamp = _wrapped(header.first_timestamp + stream.varint())
    offset = header.base_offset + stream.varint()
    key = _part(stream, stream.varint(), KEY_KEPT_BYTES_MAX)
    value = _part(stream, stream.varint(), VALUE_KEPT_BYTES_MAX)
    count = stream.varint()
    if stream.read > end:
        raise Unreadable(
            f"it was to end after {length} bytes, and its value ends {stream.read - end} bytes behind that"
        )
    section = _part(stream, end - stream.read, HEADERS_KEPT_BYTES_MAX)
    headers = _headers(section, count)
    time = header.max_timestamp if header.append_time else timestamp
    cut = cut_of(value, key, headers)
    return FetchedRecord(
        partition, offset, time, key.head, value.head, headers.kept, cut, own_time=not header.append_time
    )


def _part(stream: ByteStream, length: int, kept_max: int) -> Part:
    if length < 0:
        return Part(None, 0)
    if length <= kept_max:
        return Part(stream.take(length), length)
    head = stream.take(kept_max)
    digest = hashlib.sha256(head)
    stream.skip(length - kept_max, digest.update)
    return Part(head, length, digest.hexdigest())


def _headers(section: Part, count: int) -> Headers:
    """The headers of an encoded section, of which only the head may be there: its last one then lacks its end."""
    stream = ByteStream(iter((section.head or b"",)), limit=section.length)
    kept: list[Header] = []
    try:
        for _ in range(min(count, HEADERS_KEPT_MAX)):
            name = stream.take(max(stream.varint(), 0))
            length = stream.varint()
            kept.append((text_of(name), None if length < 0 else stream.take_some(length)))
    except Unreadable:
        if not section.sha256:
            raise
    if not section.sha256 and count <= HEADERS_KEPT_MAX:
        return Headers(kept, count, section.length)
    return Headers(kept, count, section.length, section.sha256 or hashlib.sha256(section.head or b"").hexdigest())


# --- a record that the compiled reader has read ----------------------------------------------------------------------


def kept(
    key: bytes | None, value: bytes | None, headers: list[Header]
) -> tuple[bytes | None, bytes | None, list[Header], Cut | None]:
    """What is kept of a record that is whole in memory."""
    key_part, value_part = part(key, KEY_KEPT_BYTES_MAX), part(value, VALUE_KEPT_BYTES_MAX)
    headers_kept = _headers(part(encoded(headers), HEADERS_KEPT_BYTES_MAX), len(headers))
    return key_part.head, value_part.head, headers_kept.kept, cut_of(value_part, key_part, headers_kept)


def _wrapped(number: int) -> int:
    """A sum as a 64-bit integer has it."""
    return (number + 2**63) % 2**64 - 2**63


class ByteStream:
    """Bytes that come in pieces, taken in the order they come."""

    def __init__(self, source: Iterator[bytes], *, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._piece = b""
        self._at = 0
        self._come = 0

    @property
    def read(self) -> int:
        return self._come - len(self._piece) + self._at

    def varint(self) -> int:
        left = shift = 0
        while shift < 70:
            byte = self._byte()
            left |= (byte & 0x7F) << shift
            if byte < 0x80:
                left &= 2**64 - 1
                return (left >> 1) ^ -(left & 1)
            shift += 7
        raise Unreadable("a length of more than ten bytes")

    def _byte(self) -> int:
        if self._at == len(self._piece):
            self._next()
        self._at += 1
        return self._piece[self._at - 1]

    def take(self, length: int) -> bytes:
        if length <= len(self._piece) - self._at:
            self._at += length
            return self._piece[self._at - length : self._at]
        parts: list[bytes] = []
        self.skip(length, parts.append)
        return b"".join(parts)

    def take_some(self, length: int) -> bytes:
        """As much of so many bytes as there is in hand."""
        return self.take(min(length, len(self._piece) - self._at))

    def skip(self, length: int, see: Callable[[bytes], object] = lambda _: None) -> None:
        while length:
            if self._at == len(self._piece):
                self._next()
            some = self._piece[self._at : self._at + length]
            see(some)
            self._at += len(some)
            length -= len(some)

    def _next(self) -> None:
        if self._come > self._limit:
            raise Unreadable(f"the batch comes to more than {self._limit} bytes when it is decompressed")
        try:
            self._piece = next(filter(None, self._source), b"")
        except Unreadable:
            raise
        except Exception as error:  # each codec has errors of its own
            raise Unreadable(f"its compression is broken: {error}") from error
        if not self._piece:
            raise Unreadable("the batch ends before it")
        self._at = 0
        self._come += len(self._piece)


def legacy_size(message: memoryview) -> int:
    """What the messages in a message of format 0 or 1 come to, or a little more than ``LEGACY_BYTES_MAX``."""
    magic, codec = message[16], message[17] & 0x07
    if not codec:
        return len(message)
    at = 18 + (8 if magic else 0)
    for _ in range(2):  # the key and then the value, which holds the compressed messages
        (length,) = struct.unpack_from(">i", message, at)
        start, at = at + 4, at + 4 + max(length, 0)
    size = 0
    for piece in pieces(codec, message[start:at]):
        size += len(piece)
        if size > LEGACY_BYTES_MAX:
            break
    return size


LEGACY_BYTES_MAX: Final = 4 * 1024**2


# --- codecs ----------------------------------------------------------------------------------------------------------


def pieces(codec: int, body: memoryview) -> Iterator[bytes]:
    """The decompressed body, never much more of it than a piece in memory. Nothing is read that is not asked for: what
    stands behind the last record is nobody's business."""
    match codec:
        case 0:
            return (bytes(body[at : at + PIECE_BYTES]) for at in range(0, len(body), PIECE_BYTES))
        case 1:
            return _framed(body, _Gzip)
        case 2:
            return _snappy(body)
        case 3:
            return _framed(body, lz4.frame.LZ4FrameDecompressor)
        case 4:
            return _zstd(body)
        case _:
            return _unknown(codec)


def _unknown(codec: int) -> Iterator[bytes]:
    raise Unreadable(f"compression {codec} is not known")
    yield


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes | None

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the names that the others have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _framed(body: memoryview, new: Callable[[], Any]) -> Iterator[bytes]:
    """Frame after frame, as long as something follows."""
    at, unused = 0, b""
    while True:
        frame: _Decompressor = new()
        while not frame.eof:
            given = b""
            if frame.needs_input:
                given, unused = unused, b""
                if not given:
                    given = bytes(body[at : at + COMPRESSED_PIECE_BYTES])
                    at += len(given)
                if not given:
                    return
            if piece := frame.decompress(given, PIECE_BYTES):
                yield piece
        unused = frame.unused_data or b""


def _zstd(body: memoryview) -> Iterator[bytes]:
    with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


XERIAL: Final = b"\x82SNAPPY\x00"  # the frames of Java's library
XERIAL_HEADER_BYTES: Final = 16
# A block is decompressed whole. Three bytes of snappy give 64 at most, so a batch of 1 MB, the limit of usage.events,
# stays below 22 MB; a block that says more of itself lies.
SNAPPY_GROWTH_MAX: Final = 22


def _snappy(body: memoryview) -> Iterator[bytes]:
    if bytes(body[: len(XERIAL)]) != XERIAL:
        yield _snappy_block(body)
        return
    at = 0
    while at < len(body):
        if bytes(body[at : at + 4]) == XERIAL[:4]:  # another stream behind the first
            at += XERIAL_HEADER_BYTES
            continue
        (length,) = struct.unpack_from(">i", body, at)
        if length < 0:
            raise Unreadable(f"a block of {length} bytes")
        at += 4
        yield _snappy_block(body[at : at + length])
        at += length


def _snappy_block(block: memoryview) -> bytes:
    length = cramjam.snappy.decompress_raw_len(block)
    if length > SNAPPY_GROWTH_MAX * max(len(block), 64):
        raise Unreadable(f"a block of {len(block)} bytes that says it holds {length}")
    return bytes(cramjam.snappy.decompress_raw(block))
