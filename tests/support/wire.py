"""Record batches of our own making, sent to a broker as they are.

A client library writes only what its makers thought of. What a broker *accepts* is more: here every byte of a batch
can be chosen, and only its checksum is always right, since a broker refuses a wrong one.
"""

from __future__ import annotations

import gzip
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import cramjam
from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS: Final = {"none": NONE, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
PRODUCE: Final = 0
PRODUCE_VERSION: Final = 7  # the first that may carry zstd
FETCH: Final = 1
FETCH_VERSION: Final = 4  # the first with batches as they are in the log, and the oldest that Kafka 4 answers
FETCH_BYTES_MAX: Final = 2**24
BATCH_FIXED: Final = struct.Struct(">qiibIhiqqqhii")
ANSWER_SECONDS_MAX: Final = 60.0
NO_LEADER_YET: Final = (3, 6)  # UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER

Headers = Sequence[tuple[bytes, bytes | None]]


def varint(number: int) -> bytes:
    """Zigzag, as Kafka writes lengths and deltas."""
    left = (number << 1) ^ (number >> 63) if number < 0 else number << 1
    left &= 2**64 - 1
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _bytes(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


@dataclass(frozen=True, slots=True)
class WireRecord:
    """A record with every field that a batch has for it."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_delta: int = 0
    offset_delta: int | None = None  # None: its place in the batch
    attributes: int = 0

    def encoded(self, place: int) -> bytes:
        delta = place if self.offset_delta is None else self.offset_delta
        parts = [bytes([self.attributes]), varint(self.timestamp_delta), varint(delta)]
        parts += [_bytes(self.key), _bytes(self.value), varint(len(self.headers))]
        for name, value in self.headers:
            parts += [_bytes(name), _bytes(value)]
        body = b"".join(parts)
        return varint(len(body)) + body


@dataclass(frozen=True, slots=True)
class WireBatch:
    """A batch of format 2. ``body`` replaces the encoded records, compressed or not."""

    records: Sequence[WireRecord]
    codec: int = NONE
    timestamp: int = 0
    timestamp_max: int | None = None
    attributes: int = 0
    body: bytes | None = None
    count: int | None = None
    last_offset_delta: int | None = None
    raw_snappy: bool = field(default=False)
    producer_id: int = -1

    def encoded(self, base_offset: int = 0) -> bytes:
        count = len(self.records) if self.count is None else self.count
        plain = b"".join(record.encoded(place) for place, record in enumerate(self.records))
        body = compressed(plain, self.codec, raw_snappy=self.raw_snappy) if self.body is None else self.body
        last = count - 1 if self.last_offset_delta is None else self.last_offset_delta
        latest = self.timestamp if self.timestamp_max is None else self.timestamp_max
        checked = (
            struct.pack(
                ">hiqqqhii", self.codec | self.attributes, last, self.timestamp, latest, self.producer_id, -1, -1, count
            )
            + body
        )
        after_length = struct.pack(">ibI", -1, 2, calc_crc32c(checked)) + checked
        return struct.pack(">qi", base_offset, len(after_length)) + after_length


def compressed(plain: bytes, codec: int, *, raw_snappy: bool = False) -> bytes:
    """As the clients of the field compress: snappy in the frames of Java's library, or raw as librdkafka's."""
    match codec:
        case 0:
            return plain
        case 1:
            return gzip.compress(plain, 6, mtime=0)
        case 2:
            return bytes(cramjam.snappy.compress_raw(plain)) if raw_snappy else _xerial(plain)
        case 3:
            press = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
            press.compress(plain)
            return bytes(press.finish())
        case 4:
            return bytes(cramjam.zstd.compress(plain, level=3))
        case unknown:
            return plain + bytes([unknown])


def _xerial(plain: bytes, block: int = 32 * 1024) -> bytes:
    blocks = [bytes(cramjam.snappy.compress_raw(plain[at : at + block])) for at in range(0, len(plain), block)]
    return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(b)) + b for b in blocks)


@dataclass(frozen=True, slots=True)
class Taken:
    """What the broker said to one batch; error 0 is accepted."""

    error: int
    base_offset: int


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """What the fixed part of a batch in the log says of it."""

    base_offset: int
    last_offset: int
    count: int
    control: bool
    transactional: bool

    @property
    def empty(self) -> bool:
        """Compaction has taken all of it, and kept the batch for what it says of its producer."""
        return self.count == 0

    @property
    def has_holes(self) -> bool:
        return 0 < self.count < self.last_offset - self.base_offset + 1


class WireProducer:
    """One connection to the one broker of a test."""

    def __init__(self, bootstrap_servers: str) -> None:
        host, port = bootstrap_servers.split(",", maxsplit=1)[0].rsplit(":", 1)
        self._address = (host, int(port))
        self._socket = self._connect()
        self._number = 0

    def produce(self, topic: str, partition: int, batch: bytes) -> Taken | None:
        """The answer; None if the broker closed the connection instead, and what it took is then not known.

        A topic that was made a moment ago has no leader yet; that is waited out.
        """
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while (taken := self._produce(topic, partition, batch)) and taken.error in NO_LEADER_YET:
            assert time.monotonic() < deadline, f"{topic} has no leader"
            time.sleep(0.05)
        return taken

    def _produce(self, topic: str, partition: int, batch: bytes) -> Taken | None:
        name = topic.encode()
        body = struct.pack(">hhi", -1, -1, int(ANSWER_SECONDS_MAX * 1000)) + struct.pack(">i", 1)
        body += struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, partition, len(batch)) + batch
        try:
            answer = self._ask(PRODUCE, PRODUCE_VERSION, body)
        except ConnectionError:
            self._socket.close()
            self._socket = self._connect()
            return None
        at = 4 + 2 + len(name) + 4  # the topics, the name, the partitions
        _, error, base_offset = struct.unpack_from(">ihq", answer, at)
        return Taken(error, base_offset)

    def log(self, topic: str, partition: int) -> list[LoggedBatch]:
        """Every batch from the beginning of a log that nobody has cut to its present end, as the broker keeps it."""
        found: list[LoggedBatch] = []
        while raw := self._fetch(topic, partition, found[-1].last_offset + 1 if found else 0):
            at, before = 0, len(found)
            while at + 12 <= len(raw) and at + 12 + int.from_bytes(raw[at + 8 : at + 12], "big") <= len(raw):
                base, length, _, _, _, attributes, last, *_, count = BATCH_FIXED.unpack_from(raw, at)
                found.append(LoggedBatch(base, base + last, count, bool(attributes & 0x20), bool(attributes & 0x10)))
                at += 12 + length
            assert len(found) > before, f"a batch of {topic} at {found[-1].last_offset + 1} is larger than a fetch"
        return found

    def _fetch(self, topic: str, partition: int, offset: int) -> bytes:
        name = topic.encode()
        body = struct.pack(">iiiib", -1, 100, 1, FETCH_BYTES_MAX, 0) + struct.pack(">ih", 1, len(name)) + name
        answer = self._ask(FETCH, FETCH_VERSION, body + struct.pack(">iiqi", 1, partition, offset, FETCH_BYTES_MAX))
        at = 4 + 4 + 2 + len(name) + 4 + 4  # the time to wait, the topics, the name, the partitions, the partition
        error, _, _, aborted = struct.unpack_from(">hqqi", answer, at)
        assert error == 0, f"{topic} cannot be fetched at {offset}: error {error}"
        at += 22 + 16 * max(aborted, 0)
        (length,) = struct.unpack_from(">i", answer, at)
        return answer[at + 4 : at + 4 + max(length, 0)]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=ANSWER_SECONDS_MAX)

    def _ask(self, api: int, version: int, body: bytes) -> bytes:
        self._number += 1
        head = struct.pack(">hhih", api, version, self._number, 4) + b"wire"
        self._socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (length,) = struct.unpack(">i", self._read(4))
        answer = self._read(length)
        assert struct.unpack_from(">i", answer)[0] == self._number, "answers come in the order of the questions"
        return answer[4:]

    def _read(self, length: int) -> bytes:
        parts: list[Any] = []
        while length:
            part = self._socket.recv(min(length, 1 << 20))
            if not part:
                raise ConnectionError("the broker closed the connection")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)
