"""The worker as it is run, on the embedded broker and the embedded engine over HTTP."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.metrics.counts import Counts
from sinks.metrics.families import Gauges, families
from stream.decode.cut import VALUE_KEPT_BYTES_MAX
from stream.runtime.telemetry import Telemetry
from stream.up.broker import EmbeddedBroker
from tests.support.databases import drop_database
from tests.support.forwarder import Forwarder
from tests.support.hostile import SENDABLE
from tests.support.records import rfc3339, wire
from tests.support.warehouse import Endpoint, Server
from tests.support.worker import TOPICS, Totals, WorkerProcess, group_offsets, producer_of, read_topic

EVENTS = "usage.events"
PARTITIONS = TOPICS[EVENTS]
EXIT_OK, EXIT_FAILED, EXIT_BUG, EXIT_TEMPORARY, EXIT_REFUSED = 0, 1, 70, 75, 78


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.fixture
def address(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def totals(address: ClickHouseAddress) -> Iterator[Totals]:
    totals = Totals(address)
    yield totals
    totals.close()


def now_events(count: int, **named: Any) -> list[tuple[str, bytes]]:
    occurred_at = rfc3339(datetime.now(UTC))
    ids = [str(uuid4()) for _ in range(count)]
    return [(request_id, wire(request_id, **({"occurred_at": occurred_at} | named))) for request_id in ids]


def publish(producer: Producer, events: list[tuple[str, bytes]], **placed: Any) -> None:
    for request_id, value in events:
        producer.produce(EVENTS, value=value, **({"key": request_id} | placed))
    assert producer.flush(30) == 0


def test_totals_are_exact_across_strays_duplicates_junk_and_a_restart(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    producer = producer_of(broker.bootstrap_servers, **{"compression.type": "lz4"})
    events = now_events(2_000)
    publish(producer, events)
    publish(producer, events[:100], key="somebody else's key")
    publish(producer, events[100:150], key=None)
    publish(producer, [("", b"junk")] * 3)
    with WorkerProcess(broker.bootstrap_servers, address, audit_interval=1) as worker:
        worker.until(lambda: totals.counted() == (2000, 2000, 2000, 150, 3), "all counted")
        worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
        worker.until(lambda: outcomes(worker) == {"stored": 2000, "duplicates": 150, "dead_lettered": 3}, "and told")
        check_pages(worker)
        check_metrics(worker)
        worker.until(lambda: worker.log("the audit holds"), "it has audited itself")
        assert "costream_audit_differences{" in worker.page("/metrics")[1]
        assert not worker.log("THE AUDIT DOES NOT HOLD")
        assert worker.stop() == EXIT_OK
        assert worker.log("stopped")
    (cost,) = totals.one("SELECT sum(cost_usd) FROM usage_hourly_rows FINAL")
    assert cost == 2000 * (1000 * Decimal("0.00000015") + 500 * Decimal("0.0000006"))
    received, placed = totals.one(
        "SELECT toInt64(sum(received)), toInt64(sum(stored + duplicates + dead_lettered + forwarded)) "
        "FROM ingest_ledger_rows FINAL"
    )
    assert received == placed
    assert received == sum(group_offsets(broker.bootstrap_servers, "costream", EVENTS, PARTITIONS))

    before = totals.cells()
    with WorkerProcess(broker.bootstrap_servers, address, group="replays-all") as worker:
        worker.until(
            lambda: sum(group_offsets(broker.bootstrap_servers, "replays-all", EVENTS, PARTITIONS)) >= received,
            "everything was read and acknowledged again",
        )
        publish(producer, now_events(1))
        worker.until(lambda: (totals.counted() or [0])[0] == 2001, "the one new event is counted")
        assert worker.stop() == EXIT_OK
    check_only_strays_were_forwarded_again(before, totals.cells())


def check_pages(worker: WorkerProcess) -> None:
    ready = json.loads(worker.page("/readyz")[1])
    assert (ready["ready"], ready["faults"], ready["partitions"]) == (True, [], list(range(PARTITIONS)))
    assert worker.page("/healthz") == (200, json.dumps({"alive": True, "faults": []}))
    assert worker.page("/")[0] == 404


def check_metrics(worker: WorkerProcess) -> None:
    told = {family.name: family for family in text_string_to_metric_families(worker.page("/metrics")[1])}
    vocabulary = {family.name: family for family in Telemetry().registry.collect()}
    of_usage = {family.name.removesuffix("_total") for family in families(Counts(), Gauges(), by_user=True)}
    assert {name for name in told if not name.endswith("_created")} - of_usage == vocabulary.keys()
    assert all(family.documentation.endswith(".") for family in vocabulary.values())
    assert told["costream_partitions"].samples[0].value == PARTITIONS
    assert told["costream_dedup_ids"].samples[0].value == 2000


def outcomes(worker: WorkerProcess) -> dict[str, float]:
    """Records by what became of them, as its metrics tell."""
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(worker.page("/metrics")[1])
        for sample in family.samples
        if sample.name == "costream_records_total" and sample.labels["outcome"] != "forwarded"
    }


def check_only_strays_were_forwarded_again(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Rows stored before are as they were: the replay of a stray adds a repeat, never a call."""
    assert set(before["usage_events"]) <= set(after["usage_events"])
    assert len(after["usage_events"]) == len(before["usage_events"]) + 1


@pytest.mark.slow
def test_every_hostile_message_ends_in_the_dead_letters_and_no_good_neighbour_is_lost(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    sent = [hostile for hostile in SENDABLE if hostile.kind != "too_early"]
    good = now_events(len(sent))
    producer = producer_of(broker.bootstrap_servers)
    for (request_id, value), hostile in zip(good, sent, strict=True):
        producer.produce(EVENTS, key=request_id, value=value)
        headers = [("trace", hostile.name.encode()), ("bytes", b"\x00\xff"), ("nothing", None)]
        producer.produce(EVENTS, key=hostile.name.encode() + b"\xff", value=hostile.value, headers=headers)
    assert producer.flush(30) == 0
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        expected = (len(good), len(good), len(good), 0, len(sent))
        worker.until(lambda: totals.counted() == expected, f"{expected} counted")
        worker.until(lambda: len(read_topic(broker.bootstrap_servers, "usage.deadletter")) == len(sent), "published")
        assert worker.stop() == EXIT_OK
    letters = read_topic(broker.bootstrap_servers, "usage.deadletter")
    by_name = {dict(letter.headers())["trace"].decode(): letter for letter in letters}
    stored = stored_letters(totals)
    originals = {
        (record.partition(), record.offset()): record
        for record in read_topic(broker.bootstrap_servers, EVENTS, partitions=PARTITIONS)
    }
    for hostile in sent:
        letter = by_name[hostile.name]
        headers = dict(letter.headers())
        place = int(headers["costream-partition"]), int(headers["costream-offset"])
        kind, reason, value, key = stored[place]
        kept = hostile.value[:VALUE_KEPT_BYTES_MAX] if hostile.value is not None else None
        assert (letter.value(), letter.key()) == (kept, hostile.name.encode() + b"\xff")
        assert (value, key) == (kept or b"", letter.key())
        if kept != hostile.value:
            assert headers["costream-value-bytes"] == str(len(hostile.value or b"")).encode()
            assert headers["costream-value-sha256"] == sha256(hostile.value or b"").hexdigest().encode()
        assert letter.headers()[:3] == [("trace", hostile.name.encode()), ("bytes", b"\x00\xff"), ("nothing", None)]
        assert headers["costream-kind"].decode() == kind == hostile.kind
        assert headers["costream-reason"].decode() == reason
        assert [words for words in hostile.told if words not in reason] == []
        assert originals[place].key() == letter.key()


def stored_letters(totals: Totals) -> dict[tuple[int, int], tuple[str, str, bytes, bytes]]:
    rows = totals._reader.frame(
        "SELECT toInt64(source_partition), toInt64(source_offset), kind, reason, hex(value), hex(key) "
        "FROM dead_letters_rows FINAL"
    ).rows()
    return {
        (partition, offset): (kind, reason, bytes.fromhex(value), bytes.fromhex(key))
        for partition, offset, kind, reason, value, key in rows
    }


@pytest.mark.slow
def test_an_error_nobody_expected_ends_the_process_and_nothing_was_acknowledged(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    events = now_events(500)
    publish(producer_of(broker.bootstrap_servers), events)
    poison = (
        "import stream.store.order\n"
        "whole = stream.store.order.Store.save\n"
        "def save(self, flush, *, source):\n"
        "    self._writer.insert('usage_events', flush.events)\n"
        "    raise KeyError('a bug')\n"
        "stream.store.order.Store.save = save"
    )
    with WorkerProcess(broker.bootstrap_servers, address, prelude=poison) as worker:
        assert worker.ended(seconds=60) == EXIT_BUG
        (line,) = worker.log("bug")
        assert (line["task"], "nothing was acknowledged" in line["next"]) == ("store", True)
    assert max(group_offsets(broker.bootstrap_servers, "costream", EVENTS, PARTITIONS)) < 0
    with WorkerProcess(broker.bootstrap_servers, address, group="after-the-crash") as worker:
        worker.until(lambda: totals.counted() == (500, 500, 500, 0, 0), "the torn flush was completed")
        assert worker.stop() == EXIT_OK


@pytest.mark.slow
def test_nothing_is_forgotten_while_a_batch_is_on_its_way(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    """Stages run ahead of one another; what changes the state they share waits until all that was taken is stored."""
    publish(producer_of(broker.bootstrap_servers), now_events(500))
    observed = (
        "import sys, time\n"
        "import stream.holding, stream.ingest, stream.store.order\n"
        "stream.holding.TRIM_SECONDS = 0.0\n"
        "decode, trim, save = stream.ingest.Ingest.decode, stream.ingest.Ingest.trim, stream.store.order.Store.save\n"
        "on_their_way = []\n"
        "def decode_noted(self, records):\n"
        "    on_their_way.append(records)\n"
        "    return decode(self, records)\n"
        "def save_slowly(self, flush, *, source):\n"
        "    time.sleep(0.1)\n"
        "    save(self, flush, source=source)\n"
        "    on_their_way.pop()\n"
        "def trim_alone(self, since):\n"
        "    assert not on_their_way, len(on_their_way)\n"
        '    print(\'{"event": "trimmed"}\', file=sys.stderr, flush=True)\n'
        "    trim(self, since)\n"
        "stream.ingest.Ingest.decode, stream.ingest.Ingest.trim = decode_noted, trim_alone\n"
        "stream.store.order.Store.save = save_slowly"
    )
    with WorkerProcess(broker.bootstrap_servers, address, prelude=observed, batch_rows_max=10) as worker:
        worker.until(lambda: totals.counted() == (500, 500, 500, 0, 0), "all are counted")
        assert worker.stop() == EXIT_OK
        assert worker.log("trimmed")


@pytest.mark.slow
def test_a_stop_that_hangs_ends_within_its_bound(broker: EmbeddedBroker, address: ClickHouseAddress) -> None:
    hang = (
        "import asyncio\n"
        "import stream.consume.delivery\n"
        "async def stop(self):\n"
        "    await asyncio.Event().wait()\n"
        "stream.consume.delivery.StatelessApp.stop = stop"
    )
    with WorkerProcess(broker.bootstrap_servers, address, prelude=hang, stop_max=1) as worker:
        worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
        assert worker.stop() == EXIT_TEMPORARY
        assert len(worker.log("stopping took too long")) == 1


@pytest.mark.slow
def test_a_stop_before_faust_has_started_all_of_its_services_acknowledges_what_was_stored(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    """The partitions are held by then: records may have been taken."""
    slow = (
        "import asyncio\n"
        "import stream.consume.delivery\n"
        "start = stream.consume.delivery.StatelessApp.start\n"
        "async def start_slowly(self):\n"
        "    await start(self)\n"
        "    await asyncio.sleep(2)\n"
        "stream.consume.delivery.StatelessApp.start = start_slowly"
    )
    publish(producer_of(broker.bootstrap_servers), now_events(50))
    with WorkerProcess(broker.bootstrap_servers, address, prelude=slow) as worker:
        worker.until(lambda: totals.counted() == (50, 50, 50, 0, 0), "all are counted")
        assert worker.stop() == EXIT_OK
        assert worker.log("stopped")
        assert not worker.log("stopped while starting")
    assert sum(max(0, offset) for offset in group_offsets(broker.bootstrap_servers, "costream", EVENTS, 4)) == 50


@pytest.mark.slow
def test_an_outage_of_the_warehouse_is_waited_out_and_said_once(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Down while a batch is stored, and while an old id is looked up in the middle of another."""
    late = rfc3339(datetime.now(UTC) - timedelta(days=20))
    producer = producer_of(broker.bootstrap_servers)
    old, fresh = now_events(50, occurred_at=late), now_events(300)
    with Endpoint(tmp_path) as endpoint:
        address = endpoint.fresh()
        totals = Totals(address)
        publish(producer, old)
        with WorkerProcess(broker.bootstrap_servers, address, stall_max=1) as worker:
            worker.until(lambda: totals.counted() == (50, 50, 50, 0, 0), "the first are counted")
            worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
            endpoint.kill()
            publish(producer, old)
            publish(producer, fresh)
            worker.until(lambda: worker.log("stalled"), "the outage is told")
            worker.until(lambda: worker.page("/readyz")[0] == 503, "not ready in an outage")
            assert "nothing was stored" in worker.page("/readyz")[1]
            assert worker.page("/healthz")[0] == 200, "a restart would not help"
            assert "costream_stalled 1.0" in worker.page("/metrics")[1]
            endpoint.start()
            worker.until(lambda: totals.counted() == (350, 350, 350, 50, 0), "all are counted")
            worker.until(lambda: worker.page("/readyz")[0] == 200, "ready again")
            worker.until(lambda: len(worker.log("going on")) == len(worker.log("stalled")), "whatever waited goes on")
            assert Counter(line["doing"] for line in worker.log("stalled")).most_common(1)[0][1] == 1
            assert "Retrying" not in worker.log_path.read_text(), "nor does a library tell of each attempt"
            assert "costream_stalled 0.0" in worker.page("/metrics")[1]
            assert worker.stop() == EXIT_OK
        totals.close()


@pytest.mark.slow
def test_a_worker_told_to_stop_in_an_outage_ends_and_acknowledges_nothing(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with Endpoint(tmp_path) as endpoint:
        address = endpoint.fresh()
        with WorkerProcess(broker.bootstrap_servers, address) as worker:
            worker.until(lambda: worker.page("/readyz")[0] == 200, "ready")
            endpoint.kill()
            publish(producer_of(broker.bootstrap_servers), now_events(10))
            worker.until(lambda: worker.log("stalled"), "the outage is told")
            assert worker.stop() == EXIT_TEMPORARY
        assert max(group_offsets(broker.bootstrap_servers, "costream", EVENTS, PARTITIONS)) <= 0


@pytest.mark.slow
def test_a_worker_that_finds_no_kafka_says_so_once_and_goes_on_when_it_comes(
    broker: EmbeddedBroker, address: ClickHouseAddress, totals: Totals
) -> None:
    publish(producer_of(broker.bootstrap_servers), now_events(10))
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        with WorkerProcess(f"127.0.0.1:{port.getsockname()[1]}", address) as worker:
            worker.until(lambda: worker.log("stalled"), "it waits")
            worker.until(lambda: worker.page("/healthz")[0] == 200, "and lives")
            assert worker.page("/readyz")[0] == 503
            with Forwarder(port, broker.bootstrap_servers):
                worker.until(lambda: totals.counted()[0] == 10, "all counted")
                assert len(worker.log("stalled")) == len(worker.log("going on")) == 1
                assert "COSTREAM_KAFKA_BOOTSTRAP_SERVERS" in worker.log("stalled")[0]["error"]
                assert worker.stop() == EXIT_OK


@pytest.mark.slow
def test_a_worker_that_waits_for_kafka_can_be_stopped(address: ClickHouseAddress) -> None:
    with WorkerProcess("127.0.0.1:1", address) as worker:
        worker.until(lambda: worker.log("stalled"), "it waits")
        assert worker.stop() == EXIT_OK


@pytest.mark.slow
def test_a_worker_before_its_schema_says_so_and_goes_on_when_it_comes(
    broker: EmbeddedBroker, clickhouse_endpoint: Server
) -> None:
    publish(producer_of(broker.bootstrap_servers), now_events(10))
    address = clickhouse_endpoint.unmade()
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        worker.until(lambda: worker.log("stalled"), "it waits")
        assert "run `costream migrate up`" in worker.log("stalled")[0]["error"]
        migrate.up(address)
        worker.until(lambda: Totals(address).counted()[0] == 10, "all counted")
        assert worker.stop() == EXIT_OK
    drop_database(address)


def test_a_worker_with_another_retention_than_the_tables_ends_with_one_line(
    broker: EmbeddedBroker, address: ClickHouseAddress
) -> None:
    with WorkerProcess(broker.bootstrap_servers, address, retention="P30D") as worker:
        assert worker.ended() == EXIT_REFUSED
        (line,) = worker.log("refused for good")
    assert "COSTREAM_RETENTION is 30 days" in line["reason"]
    assert "nothing was acknowledged" in line["next"]
