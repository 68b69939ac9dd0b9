"""What is too much, through real workers on a real Kafka: nothing of it stops a worker, and what it refuses is said."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psutil
import pytest

from stream.decode.cut import VALUE_KEPT_BYTES_MAX
from stream.store.flood import LETTERS_KEPT_MAX, MINUTE_MS, NOTE
from tests.support.records import rfc3339, wire
from tests.support.site import PARTITIONS, Events, Site, broken, lags, metric, now_events, ready
from tests.support.wire import ZSTD, WireBatch, WireProducer, WireRecord
from tests.support.worker import LOOKS_OFTEN, WorkerProcess, group_offsets, read_topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
MEGABYTE = 1024 * 1024
EXIT_REFUSED = 78


# --- units that a producer invents -----------------------------------------------------------------------------------

METERED = 18_000
UNITS = 16  # of an event, the most that it may have
MEMORY_OF_UNITS_MAX = 800 * MEGABYTE  # above the same worker when it was idle: all of them come in a batch or two


def metered(events: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Ids, and units with long names: all but one of an event are its own, and one is its neighbours' as well."""
    for number in range(events):
        names = [f"u{number:06}_{unit:02}_".ljust(64, "x") for unit in range(1, UNITS)]
        amounts = {name: f"{number}.{unit:012}" for unit, name in enumerate(names)}
        yield str(uuid4()), amounts | {f"shared_{number % 7}_".ljust(64, "y"): f"{number}.000000000001"}


def test_units_that_no_two_events_share_are_all_stored_and_summed_exactly(site: Site) -> None:
    site.create()
    occurred_at = rfc3339(datetime.now(UTC))
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    events: Events = []
    for request_id, quantities in metered(METERED):
        events.append((request_id, wire(request_id, occurred_at=occurred_at, quantities=quantities)))
        for unit, amount in quantities.items():
            sums[unit] += Decimal(amount)
    assert len(sums) == METERED * (UNITS - 1) + 7
    with site.worker() as worker:
        worker.until(lambda: ready(worker).get("ready"), "ready")
        idle = peak = _memory(worker)
        site.publish(site.producer(**{"compression.type": "zstd"}), events)

        def all_stored() -> bool:
            nonlocal peak
            peak = max(peak, _memory(worker))
            return site.counts(METERED)

        worker.until(all_stored, "all are stored", seconds=120)
        worker.until(lambda: lags(worker) == dict.fromkeys(range(PARTITIONS), 0), "and acknowledged")
        assert ready(worker)["ready"]
        assert not worker.log("stalled")
        assert worker.stop() == 0
    found = site.totals._reader.frame(
        "SELECT unit, sum(amount) AS amount FROM usage_hourly_units_rows FINAL GROUP BY unit"
    )
    assert dict(found.rows()) == sums
    assert broken(site.audited()) == {}
    assert peak - idle < MEMORY_OF_UNITS_MAX, f"{(peak - idle) / MEGABYTE:.0f} MB more"


def _memory(worker: WorkerProcess) -> int:
    return int(psutil.Process(worker.process.pid).memory_info().rss)


# --- a dead letter that its topic does not take ----------------------------------------------------------------------


def test_a_letter_that_its_topic_does_not_take_ends_the_worker_with_one_line_and_is_published_once_that_is_mended(
    site: Site,
) -> None:
    site.create(1)
    site.configure("usage.deadletter", max_message_bytes=10_000)
    value = random.Random(13).randbytes(VALUE_KEPT_BYTES_MAX) + bytes(13 * MEGABYTE)  # its head cannot be compressed
    with WireProducer(site.bootstrap_servers) as wire_producer:
        site.publish(site.producer(), now_events(10))
        taken = wire_producer.produce(site.events, 0, WireBatch([WireRecord(value, key=b"k")], ZSTD).encoded())
        assert (taken.error, taken.base_offset) == (0, 10) if taken else False
        site.publish(site.producer(), now_events(10))
    topic = site.settings.topic("usage.deadletter")
    for _ in range(2):  # a restart alone mends nothing, and is told the same
        with site.worker(topic_settings_accepted="max.message.bytes") as worker:
            assert worker.ended() == EXIT_REFUSED
            (line,) = worker.log("refused for good")
            assert not worker.log("stalled")
        assert [
            words for words in (topic, "max.message.bytes", "costream topics create") if words not in line["reason"]
        ] == []
        assert "nothing was acknowledged" in line["next"]
        assert group_offsets(site.bootstrap_servers, site.group, site.events, 1)[0] <= 10
    assert read_topic(site.bootstrap_servers, topic) == []

    site.configure("usage.deadletter", max_message_bytes=MEGABYTE)
    with site.worker() as worker:
        worker.until(lambda: site.totals.counted() == (20, 20, 20, 0, 1), "all are counted")
        worker.until(lambda: site.acknowledged(1) == 21, "and acknowledged")
        assert worker.stop() == 0
    (letter,) = read_topic(site.bootstrap_servers, topic)
    told = dict(letter.headers())
    assert letter.value() == value[:VALUE_KEPT_BYTES_MAX]
    assert told["costream-value-sha256"] == hashlib.sha256(value).hexdigest().encode()
    assert site.ledger() == (21, 20, 0, 1, 0)
    assert broken(site.audited()) == {}


# --- a flood of dead letters -----------------------------------------------------------------------------------------

REFUSED, GOOD = 20_000, 2_000


def test_of_a_flood_the_first_of_each_minute_are_whole_the_rest_is_counted_and_good_events_are_stored(
    site: Site,
) -> None:
    site.create(2)
    with site.worker(prelude=LOOKS_OFTEN) as worker:
        site.publish(site.producer(), now_events(10))
        worker.until(lambda: site.counts(10) and worker.log("looked"), "it has looked once")
        junk = [(str(number), b"junk %d" % number) for number in range(REFUSED)]
        flood = [*junk, *now_events(GOOD)]
        random.Random(4).shuffle(flood)
        site.publish(site.producer(), flood)
        worker.until(lambda: site.totals.counted() == (GOOD + 10,) * 3 + (0, REFUSED), "all are counted")
        worker.until(lambda: ("dead_letter_flood", "open") in alerts(site), "the flood is told")
        records = read_topic(site.bootstrap_servers, site.events, partitions=2)
        whole = first_of_each_minute([record for record in records if record.value().startswith(b"junk")])
        assert len(whole) < REFUSED / 2
        assert metric(worker, "costream_dead_letters_cut_total") == REFUSED - len(whole)
        (line,) = worker.log("a flood of dead letters")
        assert NOTE in line["one_of_them"]
        assert worker.stop() == 0
    kept = letters(site)
    assert {place for place, row in kept.items() if row["value"]} == whole
    by_place = {(record.partition(), record.offset()): record.value() for record in records}
    for place, row in kept.items():
        value = by_place[place]
        assert row["value"] == (value if place in whole else b"")
        assert row["value_bytes"] == len(value)
        assert (row["value_sha256"] == hashlib.sha256(value).hexdigest()) == (place not in whole)
        assert row["reason"].endswith(NOTE) == (place not in whole)
    assert site.ledger() == (REFUSED + GOOD + 10, GOOD + 10, 0, REFUSED, 0)
    assert broken(site.audited()) == {}
    published = read_topic(site.bootstrap_servers, site.settings.topic("usage.deadletter"))
    assert Counter(place_told(letter) for letter in published) == Counter(kept.keys())


def first_of_each_minute(refused: list[Any]) -> set[tuple[int, int]]:
    """Places of what is to be kept whole, from what the broker says of time and order."""
    by_minute = defaultdict(list)
    for record in refused:
        by_minute[record.partition(), record.timestamp()[1] // MINUTE_MS].append(record.offset())
    return {
        (partition, offset)
        for (partition, _), offsets in by_minute.items()
        for offset in sorted(offsets)[:LETTERS_KEPT_MAX]
    }


def letters(site: Site) -> dict[tuple[int, int], dict[str, Any]]:
    rows = site.totals._reader.frame(
        "SELECT toInt64(source_partition) AS partition, toInt64(source_offset) AS offset, reason, hex(value) AS value, "
        "toInt64(value_bytes) AS value_bytes, value_sha256 FROM dead_letters_rows FINAL"
    ).to_dicts()
    return {(row["partition"], row["offset"]): row | {"value": bytes.fromhex(row["value"])} for row in rows}


def place_told(letter: Any) -> tuple[int, int]:
    told = dict(letter.headers())
    return int(told["costream-partition"]), int(told["costream-offset"])


def alerts(site: Site) -> list[tuple[str, str]]:
    found = [
        json.loads(record.value()) for record in read_topic(site.bootstrap_servers, site.settings.topic("usage.alerts"))
    ]
    return [(alert["rule"], alert["status"]) for alert in found]
