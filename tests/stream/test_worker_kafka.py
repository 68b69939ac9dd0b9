"""Workers on a real Apache Kafka: whoever publishes, however often and to whatever partition, an id counts once."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from stream.decode.cut import VALUE_KEPT_BYTES_MAX
from stream.runtime import topics
from tests.support.hostile import TEN_MB
from tests.support.kafka import create_topics, delete_topics
from tests.support.site import PARTITIONS, Events, Site, now_events
from tests.support.worker import WorkerProcess, read_topic

pytestmark = pytest.mark.kafka


def publish_from_everywhere(site: Site, events: Events) -> None:
    """Each event five times: as our client does, with a wrong key, with none, by another partitioner, and anywhere."""
    site.publish(site.producer(), events)
    site.publish(site.producer(), events, key="somebody else's key")
    site.publish(site.producer(), events, key=None)
    site.publish(site.producer(partitioner="consistent"), events)
    dice = random.Random(7)
    anywhere = site.producer()
    for event in events:
        site.publish(anywhere, [event], partition=dice.randrange(PARTITIONS))


def test_events_from_any_client_are_counted_once_before_and_after_partitions_are_added_and_the_topic_is_recreated(
    site: Site,
) -> None:
    site.create()
    events = now_events(60)
    publish_from_everywhere(site, events)
    with site.worker() as worker:
        worker.until(lambda: site.counts(60) and site.acknowledged(PARTITIONS) >= 300, "counted once")
        worker.until(lambda: arrived(site) == 240, "the other copies are told for duplicates")

        site.create(partitions=PARTITIONS + 4)
        publish_from_everywhere(site, events)
        publish_from_everywhere(site, more := now_events(60))
        worker.until(lambda: site.counts(120), "the running worker has noticed the new partitions")
        worker.until(lambda: arrived(site) == 240 + 300 + 240, "and told each copy for one")
        assert len(worker.log("partitions taken over")) >= 2
        assert worker.stop() == 0

    delete_topics(site.bootstrap_servers, site.events)
    site.create()
    publish_from_everywhere(site, events + more)
    publish_from_everywhere(site, now_events(10))
    with site.worker() as worker:
        worker.until(lambda: site.counts(130), "the new ones are counted")
        worker.until(lambda: arrived(site) == 780 + 600 + 40, "the old ones are known from another incarnation")
        assert worker.stop() == 0
    received, stored, duplicates, dead_lettered, forwarded = site.ledger()
    assert received == stored + duplicates + dead_lettered + forwarded
    assert (stored, dead_lettered) == (130, 0)


def arrived(site: Site) -> int:
    """Copies that were told for duplicates at their home."""
    ledger = site.ledger()
    return ledger[2] if ledger else -1


@pytest.mark.slow
def test_two_workers_share_the_load_and_one_takes_over_from_the_other(site: Site) -> None:
    site.create(partitions=4)
    with site.worker() as one, site.worker() as other:
        one.until(lambda: sorted(held(one) + held(other)) == [0, 1, 2, 3] and len(held(one)) == 2, "they share")
        site.publish(site.producer(), events := now_events(400))
        site.publish(site.producer(), events[:40], key=None)
        one.until(lambda: site.counts(400), "all counted")
        one.until(lambda: stored_by(one) > 0 and stored_by(other) > 0, "each has stored a share")
        other.process.kill()
        other.ended()
        site.publish(site.producer(), now_events(200))
        one.until(lambda: site.counts(600), "the one that is left counts the rest")
        assert sorted(held(one)) == [0, 1, 2, 3]
        assert one.stop() == 0


def held(worker: WorkerProcess) -> list[int]:
    _, body = worker.page("/readyz")
    return list(json.loads(body)["partitions"]) if body else []


def stored_by(worker: WorkerProcess) -> float:
    for line in worker.page("/metrics")[1].splitlines():
        if line.startswith('costream_records_total{outcome="stored"}'):
            return float(line.split()[-1])
    return 0.0


@pytest.mark.slow
def test_batches_of_every_compression_are_read(site: Site) -> None:
    site.create()
    for compression in ("zstd", "snappy", "gzip", "lz4", "none"):
        site.publish(site.producer(**{"compression.type": compression, "linger.ms": 50}), now_events(200))
    with site.worker() as worker:
        worker.until(lambda: site.counts(1_000), "every batch is counted")
        assert worker.stop() == 0


@pytest.mark.slow
def test_ten_megabytes_are_refused_and_their_neighbours_counted(site: Site) -> None:
    """On topics whose owner lets them in; with our own limits Kafka refuses them first."""
    names = [site.settings.topic(spec.name) for spec in topics.TOPICS]
    create_topics(site.bootstrap_servers, dict.fromkeys(names, 1), config={"max.message.bytes": str(12 * 1024 * 1024)})
    producer = site.producer(**{"message.max.bytes": 12_000_000})
    huge = b'{"request_id":"' + b"x" * TEN_MB
    site.publish(producer, now_events(10))
    site.publish(producer, [("huge", huge)])
    site.publish(producer, now_events(10))
    with site.worker(topic_settings_accepted="message.timestamp.type,cleanup.policy") as worker:
        worker.until(lambda: site.totals.counted() == (20, 20, 20, 0, 1), "counted and refused")
        worker.until(
            lambda: read_topic(site.bootstrap_servers, site.settings.topic("usage.deadletter")),
            "the dead letter is published",
        )
        assert worker.stop() == 0
    (letter,) = read_topic(site.bootstrap_servers, site.settings.topic("usage.deadletter"))
    told = dict(letter.headers())
    assert letter.value() == huge[:VALUE_KEPT_BYTES_MAX]
    assert told["costream-reason"] == f"the value is {len(huge)} bytes; an event has at most 65536".encode()
    assert told["costream-value-bytes"] == str(len(huge)).encode()
    assert told["costream-value-sha256"] == hashlib.sha256(huge).hexdigest().encode()
