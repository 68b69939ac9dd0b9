"""Batches as no client library writes them, with events among them, and what must become of each record.

``Fuzz`` sends them to a topic and keeps count: which events the broker has taken, which records must end as dead
letters, and what it has refused. Whoever has events of its own gives them with ``events``.
"""

from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import lz4.frame
from confluent_kafka import Producer

from costream.topics import RECORD_BYTES_MAX
from tests.support.site import Events, now_events
from tests.support.wire import CODECS, GZIP, LZ4, NONE, SNAPPY, ZSTD, WireBatch, WireProducer, WireRecord, _xerial

MEGABYTE: Final = 1024 * 1024
TOO_LARGE: Final = 10  # MESSAGE_TOO_LARGE
CLOSED: Final = -1  # the broker closed the connection instead of an answer


@dataclass
class Sent:
    """What the broker has accepted, and what must become of it."""

    friendly: set[str] = field(default_factory=set)
    letters: set[tuple[int, int]] = field(default_factory=set)
    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A batch, and which of its records are events."""

    batch: WireBatch
    friendly: Sequence[bool]


class Fuzz:
    """Throws the dice for each batch. ``bytes_max`` is what the topic takes (``max.message.bytes``)."""

    def __init__(
        self,
        topic: str,
        partitions: int,
        dice: random.Random,
        *,
        events: Callable[[int], Events] = now_events,
        bytes_max: int = RECORD_BYTES_MAX,
    ) -> None:
        self.topic, self.partitions, self.dice, self.bytes_max = topic, partitions, dice, bytes_max
        self.sent = Sent()
        self._events = events

    # --- records ---

    def friendly(self) -> WireRecord:
        ((request_id, value),) = self._events(1)
        return WireRecord(value, key=self.dice.choice((request_id.encode(), None, b"", b"k" * 9_000)))

    def hostile(self) -> WireRecord:
        """No value of it is an event; everything else may be anything."""
        dice = self.dice
        value = dice.choice((None, b"", b"{", b"\xff\xfe", dice.randbytes(dice.randint(1, 3_000)), b" " * 70_000,
            b"{" * dice.randint(1, 60_000), b"x" * dice.choice((65_535, 65_536, 65_537, 900_000))))  # fmt: skip
        return WireRecord(value, key=dice.choice((None, b"", dice.randbytes(20), b"\xff" * 5_000)))

    def odd(self, record: WireRecord) -> WireRecord:
        """The same value with odd things around it."""
        dice = self.dice
        names = (
            b"",
            b"trace",
            b"\xff\xfe",
            b"\x00",
            "é".encode(),
            b"n" * 3_000,
            b"costream-forwarded",
            b"\xed\xa0\x80",
        )
        values = (None, b"", b"1", dice.randbytes(100), b"v" * 20_000)
        headers = [(dice.choice(names), dice.choice(values)) for _ in range(dice.choice((0, 1, 3, 70)))]
        return WireRecord(
            record.value, record.key, headers if dice.random() < 0.95 else [(b"h", b"v")] * 10_000,
            timestamp_delta=dice.choice((0, 1, -1, 2**62)), attributes=dice.choice((0, 0, 0x7F, 0x80, 0xFF)),
        )  # fmt: skip

    # --- batches ---

    def batch(self) -> Fuzzed:  # noqa: PLR0911 - one return for each kind of batch
        dice = self.dice
        which = [dice.random() < 0.5 for _ in range(dice.choice((1, 1, 2, 5, 30)))]
        records = [self.friendly() if good else self.hostile() for good in which]
        records = [self.odd(record) if dice.random() < 0.5 else record for record in records]
        codec = dice.choice(tuple(CODECS.values()))
        timestamp = dice.choice((round(time.time() * 1000), 0, -1, 2**62))
        plain = b"".join(record.encoded(place) for place, record in enumerate(records))
        match dice.randrange(8):
            case 0 if codec == NONE:  # offsets that lie
                records = [
                    WireRecord(each.value, each.key, offset_delta=dice.choice((0, 7, -3, 2**31 - 1)))
                    for each in records
                ]
            case 1:
                return Fuzzed(WireBatch(records, GZIP, timestamp, body=gzip.compress(plain, 1) + b"garbage"), which)
            case 2:
                whole = lz4.frame.compress(plain, block_linked=False)
                return Fuzzed(WireBatch(records, LZ4, timestamp, body=whole + b"garbage"), which)
            case 3:
                half = len(plain) // 2
                body = _xerial(plain[:half]) + _xerial(plain[half:])
                return Fuzzed(WireBatch(records, SNAPPY, timestamp, body=body), which)
            case 4 if len(records) == 1:  # a bomb
                bomb = WireRecord(bytes(dice.choice((1, 30, 100)) * MEGABYTE))
                return Fuzzed(WireBatch([bomb, self.friendly()], ZSTD, timestamp), [False, True])
            case 5:  # what a broker is to refuse
                return Fuzzed(WireBatch(records, codec, timestamp, count=dice.choice((0, len(records) + 1))), which)
            case 6 if len(records) == 1:
                return self.of_size(self.bytes_max + dice.choice((-1, 0, 1)), codec=dice.choice((NONE, GZIP)))
            case _:
                pass
        return Fuzzed(WireBatch(records, codec, timestamp, raw_snappy=dice.random() < 0.5), which)

    def near_the_limit(self) -> Iterator[Fuzzed]:
        """Just below, at and just above what the topic takes: a broker compares the size of the whole batch."""
        for codec in (NONE, GZIP):
            for more in (-1, 0, 1):
                yield self.of_size(self.bytes_max + more, codec=codec)

    def of_size(self, size: int, *, codec: int) -> Fuzzed:
        """A batch of so many bytes, an event and junk; what fills it up is in the junk, or behind the compression."""
        event, junk = self.friendly(), self.hostile()
        records = [event, WireRecord(junk.value, junk.key)]
        if codec == GZIP:
            plain = b"".join(record.encoded(place) for place, record in enumerate(records))
            body = gzip.compress(plain, 1)
            body += b"g" * (size - len(WireBatch(records, GZIP, body=body).encoded()))
            batch = WireBatch(records, GZIP, body=body)
        else:
            filled = size - len(WireBatch([event, WireRecord(b"")]).encoded())
            while len((batch := WireBatch([event, WireRecord(b"x" * filled)])).encoded()) > size:
                filled -= 1  # a larger record has a longer length before it
        assert len(batch.encoded()) == size, "no batch has exactly this size"
        return Fuzzed(batch, [True, False])

    # --- sending ---

    def send(self, wire: WireProducer, fuzzed: Fuzzed | None = None) -> None:
        """Send a batch, and note what the broker says of it."""
        batch, which = (sent := fuzzed or self.batch()).batch, sent.friendly
        partition = self.dice.randrange(self.partitions)
        encoded = batch.encoded()
        taken = wire.produce(self.topic, partition, encoded)
        error = taken.error if taken else CLOSED
        assert (error == TOO_LARGE) == (len(encoded) > self.bytes_max), f"{len(encoded)} bytes: {error}"
        if taken is None or taken.error:
            self.sent.refused[error] += len(which)
            return
        self.sent.accepted += len(which)
        ids = [_id_of(record) for record, good in zip(batch.records, which, strict=True) if good]
        self.sent.friendly |= set(ids)
        self.sent.letters |= {(partition, taken.base_offset + at) for at, good in enumerate(which) if not good}

    def transact(self, producer: Producer, *, commit: bool | None = None) -> None:
        """Some that are committed and some that are not; the log gets a marker after them."""
        if commit is None:
            commit = self.dice.random() < 0.5
        events = self._events(3)
        producer.begin_transaction()
        for request_id, value in events:
            producer.produce(self.topic, value=value, key=request_id)
        assert producer.flush(30) == 0  # an abort drops what has not been sent
        if commit:
            producer.commit_transaction()
            self.sent.friendly |= {request_id for request_id, _ in events}
            self.sent.accepted += len(events)
        else:
            producer.abort_transaction()


def _id_of(record: WireRecord) -> str:
    assert record.value is not None
    return record.value.split(b'"request_id":"')[1].split(b'"')[0].decode()
