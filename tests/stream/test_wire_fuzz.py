"""A fuzz on the wire: whatever a real broker accepts, each record is accounted for and its friendly neighbours count.

Batches are of our own making, byte by byte (tests/support/wire.py). What the broker refuses is counted apart. Markers
and aborted records come from real transactions, since a broker takes none from a client.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Producer

from stream.decode.cut import VALUE_KEPT_BYTES_MAX
from tests.support.kafka import create_topics
from tests.support.records import until
from tests.support.site import PARTITIONS, Events, Site, broken, lags, now_events
from tests.support.wire import ZSTD, LoggedBatch, WireBatch, WireProducer, WireRecord
from tests.support.wire_fuzz import MEGABYTE, TOO_LARGE, Fuzz
from tests.support.worker import WorkerProcess, group_offsets, read_topic

pytestmark = pytest.mark.kafka
MEMORY_MORE_MAX = 200 * MEGABYTE  # above the same worker before the first hostile batch


@pytest.mark.slow
@pytest.mark.parametrize("records", [10_000])
def test_each_record_that_a_broker_accepts_is_accounted_for_and_friendly_ones_are_stored_once(
    site: Site, records: int
) -> None:
    site.create()
    fuzz = Fuzz(site.events, PARTITIONS, random.Random(records))
    producer = site.producer(**{"transactional.id": f"{site.prefix}fuzz"})
    producer.init_transactions()
    with site.worker() as worker, WireProducer(site.bootstrap_servers) as wire:
        fuzz.transact(producer)
        worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
        idle, peak = _memory(worker), 0
        for fuzzed in fuzz.near_the_limit():
            fuzz.send(wire, fuzzed)
        delete_what_is_acknowledged(site, worker)
        while fuzz.sent.accepted < records:
            fuzz.send(wire)
            if fuzz.dice.random() < 0.02:
                fuzz.transact(producer)
                peak = max(peak, _memory(worker))
        for commit in (True, False):  # logs end with markers
            fuzz.transact(producer, commit=commit)
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
        worker.until(lambda: lags(worker) == dict.fromkeys(range(PARTITIONS), 0), "nothing is left")
        assert not worker.log("RECORDS VANISHED BEFORE THEY WERE READ")
        assert worker.stop() == 0
    reader = site.totals._reader
    rows = reader.frame("SELECT request_id FROM usage_events_rows FINAL")["request_id"].to_list()
    assert Counter(rows) == Counter(sent.friendly)
    letters = reader.frame(
        "SELECT toInt64(source_partition) AS p, toInt64(source_offset) AS o FROM dead_letters_rows FINAL"
    )
    assert set(letters.rows()) == sent.letters
    assert sent.refused[TOO_LARGE] >= 2 * 2  # just above the limit, plain and compressed; each of two records
    assert peak - idle < MEMORY_MORE_MAX, f"{(peak - idle) / MEGABYTE:.0f} MB more"


def delete_what_is_acknowledged(site: Site, worker: WorkerProcess) -> None:
    """What is deleted once it was read is no loss."""
    worker.until(lambda: site.acknowledged(PARTITIONS) > 0, "some are acknowledged")
    for partition, offset in enumerate(group_offsets(site.bootstrap_servers, site.group, site.events, PARTITIONS)):
        if offset > 0:
            site.delete_records(partition, offset)


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
        "SELECT toInt64(length(value)) AS kept, toInt64(value_bytes) AS bytes, value_sha256 FROM dead_letters"
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
    create_topics(site.bootstrap_servers, {site.events: 1}, config=config)
    site.create(1)  # the others
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


# --- what compaction leaves ------------------------------------------------------------------------------------------


class Compacted:
    """A log of events, tombstones and transactions, most of them on a few keys: compaction takes all but the last."""

    def __init__(self, site: Site, wire: WireProducer, dice: random.Random) -> None:
        self.site, self.wire, self.dice = site, wire, dice
        site.create(1)
        site.configure(
            "usage.events",
            cleanup_policy="compact,delete",
            segment_ms=50,  # what is older than the open segment is compacted
            min_cleanable_dirty_ratio=0,
            delete_retention_ms=0,  # markers and tombstones go with the second pass
        )
        self._in_transactions = site.producer(**{"transactional.id": str(uuid4()), "linger.ms": 5})
        self._in_transactions.init_transactions(30)

    def fill(self) -> None:
        """Whatever is written here on a key of the few is written over in the end; every producer but one is done."""
        for number in range(10):
            self._raw(codec=number % 5)
            if number % 5 == 0:
                self._of_one_producer()
            if number % 2 == 0:
                self._transaction(commit=number % 4 == 0)
            time.sleep(0.06)  # a segment
        self._fenced()
        for key in KEYS:
            self._take(WireBatch([_event(key)]))

    def until_taken(self, *, seconds: float = 60) -> None:
        """Each record that goes brings the next pass nearer."""

        def taken() -> bool:
            self._take(WireBatch([_event(uuid4().bytes)]))
            batches, found = self.wire.log(self.site.events, 0), self.delivered()
            last_ones = len({message.key() for message in found}) == len(found)
            no_tombstones = all(message.value() is not None for message in found)
            return last_ones and no_tombstones and all(any(map(kind, batches)) for kind in LEFT.values())

        until(taken, f"compaction leaves {', '.join(LEFT)}, and one event a key", seconds=seconds)
        self._transaction(commit=False)  # the log ends with a marker, and what stands before it is no record

    def delivered(self) -> list[Any]:
        """What another client reads of it now."""
        return read_topic(self.site.bootstrap_servers, self.site.events)

    def _take(self, batch: WireBatch) -> None:
        taken = self.wire.produce(self.site.events, 0, batch.encoded())
        assert taken is not None
        assert taken.error == 0

    def _raw(self, *, codec: int) -> None:
        keys = [self.dice.choice((*KEYS, uuid4().bytes, uuid4().bytes)) for _ in range(6)]
        self._take(
            WireBatch([_event(key) if self.dice.random() < 0.9 else WireRecord(None, key) for key in keys], codec)
        )

    def _of_one_producer(self) -> None:
        """A batch that is the last of its producer: compaction keeps it, without a record."""
        config = {"enable.idempotence": True, "linger.ms": 50, "compression.type": self.dice.choice(("none", "lz4"))}
        producer = self.site.producer(**config)
        self._publish(producer, now_events(3))

    def _publish(self, producer: Producer, events: Events) -> None:
        for _, value in events:
            producer.produce(self.site.events, value=value, key=self.dice.choice(KEYS))
        assert producer.flush(30) == 0

    def _transaction(self, *, commit: bool) -> None:
        producer = self._in_transactions
        producer.begin_transaction()
        self._publish(producer, now_events(3))
        (producer.commit_transaction if commit else producer.abort_transaction)(30)

    def _fenced(self) -> None:
        """A transaction that its producer's next life aborts: of its marker compaction keeps the batch alone."""
        name = {"transactional.id": str(uuid4()), "linger.ms": 5}
        producer, its_next_life = self.site.producer(**name), self.site.producer(**name)
        producer.init_transactions(30)
        producer.begin_transaction()
        self._publish(producer, now_events(3))
        its_next_life.init_transactions(30)


def _event(key: bytes) -> WireRecord:
    ((_, value),) = now_events(1)
    return WireRecord(value, key)


KEYS: Final = [f"key-{number}".encode() for number in range(8)]
LEFT: Final[dict[str, Callable[[LoggedBatch], bool]]] = {
    "a batch with holes": lambda batch: batch.has_holes,
    "an empty batch": lambda batch: batch.empty and not batch.control,
    "an empty batch of a marker": lambda batch: batch.empty and batch.control,
}


@pytest.mark.slow
def test_what_compaction_leaves_of_a_log_is_read_record_for_record(site: Site) -> None:
    """Where an owner accepts it. The second time it goes on from an offset that compaction may have taken."""
    delivered: dict[int, Any] = {}
    with WireProducer(site.bootstrap_servers) as wire:
        log = Compacted(site, wire, random.Random(5))
        for _ in range(2):
            log.fill()
            log.until_taken()
            delivered |= {message.offset(): message.value() for message in log.delivered()}
            read_once(site, {offset: json.loads(value)["request_id"] for offset, value in delivered.items()})
    assert broken(site.audited()) == {}


def read_once(site: Site, events: dict[int, str]) -> None:
    """A worker's whole life on the log: each of these is stored, by its offset, and nothing else is."""
    with site.worker(topic_settings_accepted="cleanup.policy") as worker:
        worker.until(lambda: site.counts(len(events)), f"{len(events)} records are read")
        worker.until(lambda: lags(worker) == {0: 0} and worker.page("/readyz")[0] == 200, "and nothing is left")
        assert worker.stop() == 0
    stored = site.totals._reader.frame("SELECT toInt64(source_offset), request_id FROM usage_events_rows FINAL").rows()
    assert dict(stored) == events
    assert site.ledger() == (len(events), len(events), 0, 0, 0)
