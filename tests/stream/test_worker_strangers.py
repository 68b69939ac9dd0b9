"""Anybody may write to the topics that a worker reads back: what is not ours is passed over, and alerts still come."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from costream.alerts import Alert, episode_id
from stream.watch.pipeline import SCOPE, FloodRule
from tests.producers.test_alert import HOUR, alert
from tests.support.site import Site, lags, metric, now_events, ready
from tests.support.wire import CODECS, WireBatch, WireProducer, WireRecord
from tests.support.worker import LOOKS_OFTEN, WorkerProcess, read_topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

NOISE = random.Random(3).randbytes(1_000_000)
NOT_OURS = (
    b'{"hour":null}', b"not JSON", b"", b"null", b"[1]", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000, NOISE,
)  # fmt: skip
HOURS = (b"null", b'"yesterday"', b'"0001-01-01T00:00:00+14:00"', b'"9999-12-31T23:00:00-14:00"')


def foreign_rollups() -> list[bytes]:
    return [*NOT_OURS, *(b'{"table":"usage_hourly","hour":%s}' % hour for hour in HOURS)]


def foreign_alerts() -> list[bytes]:
    """What is no alert, and alerts that say what no worker says: nobody may go on from them."""
    standing = alert(rule=FloodRule.name, scope=SCOPE, status="open").model_dump(mode="json")
    made = episode_id(rule=FloodRule.name, scope=SCOPE, first_window=HOUR)
    changes: list[dict[str, Any]] = [
        {"current_value": "1e999999999"},
        {"current_value": 10**400},
        {"metadata": {}},
        {"metadata": {"first_window": "2026-03-02T14:00:00"}, "alert_id": made},
        {"alert_id": made, "revision": 2**63},
        {"alert_id": made, "window_end": "9999-12-31T23:59:59Z"},
        {"rule": "hourly_spike", "metadata": {}},
        {"schema_version": 2},
    ]
    return [*NOT_OURS, *(json.dumps(standing | change).encode() for change in changes)]


def send_with_odd_things_around(wire: WireProducer, topic: str, values: list[bytes]) -> None:
    """Each in a batch of its own, with a key and headers that are no UTF-8; a tombstone after each."""
    for number, value in enumerate(values):
        record = WireRecord(value, key=b"\xff\xfe%d" % number, headers=[(b"\xff", b"\xfe"), (b"", None)])
        batch = WireBatch([record, WireRecord(None, key=b"\xff")], tuple(CODECS.values())[number % 5])
        taken = wire.produce(topic, 0, batch.encoded())
        assert taken is not None
        assert taken.error == 0, f"{value[:40]!r}: {taken}"


def strangers(worker: WorkerProcess) -> list[tuple[str, int]]:
    return sorted((line["topic"], line["records"]) for line in worker.log("records of somebody else"))


def test_records_of_others_on_rollups_and_alerts_are_passed_over_said_once_and_counted_and_alerts_still_come(
    site: Site,
) -> None:
    site.create(1)
    rollups, alerts = (site.settings.topic(name) for name in ("usage.rollups", "usage.alerts"))
    with WireProducer(site.bootstrap_servers) as wire:
        send_with_odd_things_around(wire, alerts, foreign_alerts())
        send_with_odd_things_around(wire, rollups, foreign_rollups())
        with site.worker(stall_max=30, prelude=LOOKS_OFTEN) as worker:
            site.publish(site.producer(), now_events(10))
            worker.until(lambda: site.counts(10) and worker.log("looked"), "events are counted, and the rule looks")
            found = len(foreign_rollups())
            worker.until(lambda: metric(worker, "costream_strange_rollups_total") == found, f"{found} are counted")
            assert metric(worker, "costream_strange_alerts") == len(foreign_alerts())
            send_with_odd_things_around(wire, rollups, foreign_rollups())
            worker.until(lambda: metric(worker, "costream_strange_rollups_total") == 2 * found, "and later ones")
            site.publish(site.producer(), [("", b"junk")] * 60)
            worker.until(lambda: told(site) == [("dead_letter_flood", "open")], "an alert comes")
            stored = "SELECT rule FROM alerts_rows FINAL"
            worker.until(lambda: site.totals.column(stored) == ["dead_letter_flood"], "and is stored, it alone")
            worker.until(lambda: lags(worker) == {0: 0} and ready(worker)["ready"], "ready")
            assert [topic for topic, _ in strangers(worker)] == [alerts, rollups]
            assert not worker.log("alerts not evaluated")
            assert worker.stop() == 0


def told(site: Site) -> list[tuple[str, str]]:
    """The alerts on the topic behind those of others."""
    records = read_topic(site.bootstrap_servers, site.settings.topic("usage.alerts"))
    ours = [Alert.from_json(record.value()) for record in records[2 * len(foreign_alerts()) :]]
    return [(each.rule, each.status) for each in ours]
