"""A worker tells of its own trouble on usage.alerts: a loss, a flood, an outage while it lasts; and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from sinks.clickhouse.connect import Clients
from stream.cli.reread import reread
from stream.up.broker import EmbeddedBroker
from tests.support.records import rfc3339, wire
from tests.support.warehouse import Endpoint
from tests.support.worker import TOPICS, Totals, WorkerProcess, producer_of, read_topic

pytestmark = pytest.mark.slow

rereads = typer.Typer()
rereads.command()(reread)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def told(broker: EmbeddedBroker) -> list[tuple[str, str]]:
    alerts = [json.loads(record.value()) for record in read_topic(broker.bootstrap_servers, "usage.alerts")]
    return [(alert["rule"], alert["status"]) for alert in alerts if alert["scope"] == "pipeline"]


def publish(broker: EmbeddedBroker, values: list[bytes]) -> None:
    producer = producer_of(broker.bootstrap_servers)
    for value in values:
        producer.produce("usage.events", value)
    assert producer.flush(30) == 0


def events(count: int) -> list[bytes]:
    occurred_at = rfc3339(datetime.now(UTC))
    return [wire(str(uuid4()), occurred_at=occurred_at) for _ in range(count)]


def command(broker: EmbeddedBroker, endpoint: Endpoint, database: str, *arguments: str) -> Any:
    variables = {
        "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "COSTREAM_CLICKHOUSE_URL": endpoint.url,
        "COSTREAM_CLICKHOUSE_DATABASE": database,
    }
    return CliRunner().invoke(rereads, list(arguments), env=variables)


def test_a_loss_a_flood_and_an_outage_are_each_told_once_and_cleared(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with Endpoint(tmp_path) as endpoint:
        address = endpoint.fresh()
        totals = Totals(address)
        settings = {"audit_interval": 1, "stall_max": 2, "flood_window": 20}
        publish(broker, events(300))
        with WorkerProcess(broker.bootstrap_servers, address, **settings) as worker:
            worker.until(lambda: totals.counted()[:3] == (300,) * 3, "all are counted")
            worker.until(lambda: worker.log("the audit holds"), "and it holds")

            clients = Clients(address)
            with clients.use() as client:
                client.command("DELETE FROM usage_events_rows WHERE source_offset % 2 = 0")
            clients.close()
            worker.until(lambda: ("audit", "open") in told(broker), "the loss is told")
            rehearsal = command(broker, endpoint, address.database, "--missing")
            assert "rehearsal" in rehearsal.stdout, rehearsal.output
            assert totals.counted()[0] < 300
            done = command(broker, endpoint, address.database, "--missing", "--yes")
            assert (done.exit_code, totals.counted()[:3]) == (0, (300,) * 3), done.output
            worker.until(lambda: ("audit", "cleared") in told(broker), "the way back is seen")

            publish(broker, [b"junk"] * 60)
            worker.until(lambda: ("dead_letter_flood", "open") in told(broker), "the flood is told")

            endpoint.kill()
            publish(broker, events(10))
            worker.until(lambda: ("stall", "open") in told(broker), "the outage is told while it lasts")
            worker.process.kill()
            worker.ended()
        with WorkerProcess(broker.bootstrap_servers, address, **settings) as worker:
            worker.until(lambda: worker.log("stalled"), "it starts in the middle of the outage")
            endpoint.start()
            worker.until(lambda: totals.counted()[:3] == (310,) * 3, "all are counted")
            worker.until(lambda: ("stall", "cleared") in told(broker), "the end is told", seconds=90)
            worker.until(lambda: ("dead_letter_flood", "cleared") in told(broker), "that of the flood too", seconds=90)
            news = [each for each in told(broker) if each != ("stall", "updated")]  # a slow machine: it had doubled
            assert sorted(news) == sorted(
                (rule, status) for rule in ("audit", "dead_letter_flood", "stall") for status in ("open", "cleared")
            )
            stored = (
                "SELECT count() FROM (SELECT DISTINCT alert_id, revision FROM alerts_rows WHERE scope = 'pipeline')"
            )
            worker.until(lambda: totals.one(stored) == (len(told(broker)),), "every revision is a row")
            assert worker.stop() == 0
        totals.close()
