"""A fuzz on the wire: whatever a real broker accepts, each record is accounted for and its friendly neighbours count.

Batches are of our own making, byte by byte (tests/support/wire.py). What the broker refuses is counted apart. Markers
and aborted records come from real transactions, since a broker takes none from a client.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lz4.frame
import psutil
import pytest

from stream import topics
from stream.cut import VALUE_KEPT_BYTES_MAX
from tests.support.kafka import create_topics
from tests.support.site import PARTITIONS, Site, now_events
from tests.support.warehouse import Server
from tests.support.wire import CODECS, GZIP, LZ4, NONE, SNAPPY, ZSTD, WireBatch, WireProducer, WireRecord, _xerial
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.kafka
MEGABYTE = 1024 * 1024
MEMORY_MORE_MAX = 200 * MEGABYTE  # above the same worker before the first hostile batch


@pytest.fixture
def site(kafka_bootstrap: str, kafka_prefix: str, clickhouse_endpoint: Server) -> Iterator[Site]:
    site = Site(kafka_bootstrap, kafka_prefix, clickhouse_endpoint.fresh())
    yield site
    site.totals.close()


@dataclass
class Sent:
    """What the broker has accepted, and what must become of it."""

    friendly: set[str] = field(default_factory=set)
    letters: set[tuple[int, int]] = field(default_factory=set)
    accepted: int = 0
    refused: Counter[int] = field(default_factory=Counter)


class Fuzz:
    def __init__(self, site: Site, dice: random.Random) -> None:
        self.site, self.dice, self.sent = site, dice, Sent()

    def friendly(self) -> WireRecord:
        ((request_id, value),) = now_events(1)
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

    def batch(self) -> tuple[WireBatch, list[bool]]:
        """A batch and which of its records are friendly."""
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
                return WireBatch(records, GZIP, timestamp, body=gzip.compress(plain, 1) + b"garbage"), which
            case 2:
                whole = lz4.frame.compress(plain, block_linked=False)
                return WireBatch(records, LZ4, timestamp, body=whole + b"garbage"), which
            case 3:
                half = len(plain) // 2
                return WireBatch(records, SNAPPY, timestamp, body=_xerial(plain[:half]) + _xerial(plain[half:])), which
            case 4 if len(records) == 1:  # a bomb
                bomb = WireRecord(bytes(dice.choice((1, 30, 100)) * MEGABYTE))
                return WireBatch([bomb, self.friendly()], ZSTD, timestamp), [False, True]
            case 5:  # what a broker is to refuse
                return WireBatch(records, codec, timestamp, count=dice.choice((0, len(records) + 1))), which
            case _:
                pass
        return WireBatch(records, codec, timestamp, raw_snappy=dice.random() < 0.5), which

    def send(self, wire: WireProducer) -> None:
        batch, which = self.batch()
        partition = self.dice.randrange(PARTITIONS)
        taken = wire.produce(self.site.events, partition, batch.encoded())
        if taken is None or taken.error:
            self.sent.refused[taken.error if taken else -1] += len(which)
            return
        self.sent.accepted += len(which)
        ids = [_id_of(record) for record, good in zip(batch.records, which, strict=True) if good]
        self.sent.friendly |= set(ids)
        self.sent.letters |= {(partition, taken.base_offset + at) for at, good in enumerate(which) if not good}

    def transact(self, producer: Any) -> None:
        """Some that are committed and some that are not."""
        commit = self.dice.random() < 0.5
        events = now_events(3)
        producer.begin_transaction()
        self.site.publish(producer, events)
        if commit:
            producer.commit_transaction()
            self.sent.friendly |= {request_id for request_id, _ in events}
            self.sent.accepted += len(events)
        else:
            producer.abort_transaction()


def _id_of(record: WireRecord) -> str:
    assert record.value is not None
    return record.value.split(b'"request_id":"')[1].split(b'"')[0].decode()


@pytest.mark.parametrize("records", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_each_record_that_a_broker_accepts_is_accounted_for_and_friendly_ones_are_stored_once(
    site: Site, records: int
) -> None:
    site.create()
    fuzz = Fuzz(site, random.Random(records))
    producer = site.producer(**{"transactional.id": f"{site.prefix}fuzz"})
    producer.init_transactions()
    with site.worker() as worker, WireProducer(site.bootstrap_servers) as wire:
        fuzz.transact(producer)
        worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
        idle, peak = _memory(worker), 0
        while fuzz.sent.accepted < records:
            fuzz.send(wire)
            if fuzz.dice.random() < 0.02:
                fuzz.transact(producer)
                peak = max(peak, _memory(worker))
        sent = fuzz.sent

        def accounted() -> bool:
            nonlocal peak
            peak = max(peak, _memory(worker))
            ledger = site.ledger()
            return bool(ledger) and ledger[0] - ledger[4] == sent.accepted

        worker.until(accounted, f"{sent.accepted} accepted, {dict(sent.refused)} refused", seconds=60 + records / 20)
        received, stored, duplicates, dead_lettered, forwarded = site.ledger()
        assert received == stored + duplicates + dead_lettered + forwarded
        assert (stored, duplicates, dead_lettered) == (len(sent.friendly), 0, len(sent.letters))
        assert worker.stop() == 0
    reader = site.totals._reader
    rows = reader.frame("SELECT request_id FROM usage_events FINAL")["request_id"].to_list()
    assert Counter(rows) == Counter(sent.friendly)
    letters = reader.frame("SELECT toInt64(source_partition) AS p, toInt64(source_offset) AS o FROM dead_letters FINAL")
    assert set(letters.rows()) == sent.letters
    assert sent.refused
    assert peak - idle < MEMORY_MORE_MAX, f"{(peak - idle) / MEGABYTE:.0f} MB more"


def _memory(worker: WorkerProcess) -> int:
    return int(psutil.Process(worker.process.pid).memory_info().rss)


@pytest.mark.slow
def test_three_bombs_of_300_megabytes_are_refused_in_bounded_memory_with_length_and_digest(site: Site) -> None:
    site.create()
    size = 300 * MEGABYTE
    batch = WireBatch([WireRecord(bytes(size))], ZSTD).encoded()
    before, after = now_events(10), now_events(10)
    site.publish(site.producer(), before)
    with site.worker() as worker, WireProducer(site.bootstrap_servers) as wire:
        worker.until(lambda: site.counts(10), "those before are counted")
        idle, peak = _memory(worker), 0
        assert [getattr(wire.produce(site.events, 0, batch), "error", None) for _ in range(3)] == [0, 0, 0]
        site.publish(site.producer(), after)

        def counted() -> bool:
            nonlocal peak
            peak = max(peak, _memory(worker))
            return bool(site.totals.counted() == (20, 20, 20, 0, 3))

        worker.until(counted, "those after are counted, and the bombs are dead letters")
        assert worker.stop() == 0
    letters = site.totals._reader.frame(
        "SELECT toInt64(length(value)) AS kept, toInt64(value_bytes) AS bytes, value_sha256 FROM dead_letters FINAL"
    )
    digest = hashlib.sha256(bytes(size)).hexdigest()
    assert letters.rows() == [(VALUE_KEPT_BYTES_MAX, size, digest)] * 3
    assert peak - idle < MEMORY_MORE_MAX, f"{(peak - idle) / MEGABYTE:.0f} MB more"


@pytest.mark.slow
def test_times_that_cannot_be_are_dead_letters_where_producers_say_the_time(site: Site) -> None:
    config = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
    }
    create_topics(site.bootstrap_servers, {site.settings.topic(spec.name): 1 for spec in topics.TOPICS}, config=config)
    times = [-1, -5, -(2**63), 2**62, 2**63 - 1, 253_402_300_800_000, round(time.time() * 1000)]
    with WireProducer(site.bootstrap_servers) as wire:
        for (_, value), timestamp in zip(now_events(len(times)), times, strict=True):
            taken = wire.produce(site.events, 0, WireBatch([WireRecord(value)], timestamp=timestamp).encoded())
            assert taken is not None
            assert taken.error == 0
    with site.worker(topic_settings_accepted="message.timestamp.type") as worker:
        worker.until(
            lambda: site.totals.counted() == (1, 1, 1, 0, len(times) - 1), "one is counted, the others refused"
        )
        assert worker.stop() == 0
