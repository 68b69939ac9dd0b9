"""costream audit as a person runs it: exit status, one JSON object, a broker's own facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from sinks.clickhouse.writer import Writer
from stream.audit import kafka_facts
from stream.audit.kafka import LogFacts
from stream.cli.audit import audit
from stream.decode.frame import Refusal
from stream.runtime.settings import Settings
from stream.store.letters import dead_letter_rows
from stream.up.broker import EmbeddedBroker
from tests.support.warehouse import Server, settings_of

NOW = datetime.now(UTC).replace(microsecond=0)
GOOD = json.dumps({"request_id": "r-1", "occurred_at": NOW.isoformat(), "provider": "openai", "model": "m"}).encode()


@dataclass
class Log:
    """A record as the consumer hands it over."""

    offset: int
    value: bytes
    partition: int = 0
    timestamp: int = round(NOW.timestamp() * 1000)
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    cut: None = None
    fault: str = ""
    own_time: bool = False


class Installation:
    """A warehouse and a broker, in which one partition of two has had three records: two refused, one a duplicate."""

    def __init__(self, endpoint: Server, broker: EmbeddedBroker) -> None:
        self.address = endpoint.fresh()
        self.settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers)
        # It outlives the broker by a moment, and would say so.
        self.producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for _ in range(3):
            self.producer.produce("usage.events", b"x", partition=0)
        assert self.producer.flush(10) == 0
        self.variables = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "COSTREAM_SOURCE": "topic-1",
        } | {f"COSTREAM_{name.upper()}": value for name, value in settings_of(self.address).items()}
        self._store()

    def _store(self) -> None:
        refusals = [Refusal(Log(0, b"{"), "malformed", "not JSON"), Refusal(Log(1, GOOD), "too_early", "early", "r-1")]
        writer = Writer(self.address)
        writer.insert("dead_letters", dead_letter_rows(refusals, source="topic-1", now=datetime.now(UTC)))
        entry = {"offset_block": 0, "offset_first": 0, "received": 3, "stored": 0, "duplicates": 1, "dead_lettered": 2}
        place = {"source": "topic-1", "source_partition": 0, "forwarded": 0, "version": 2}
        writer.insert("ingest_ledger", pl.DataFrame([place | entry]))
        writer.close()

    def run(self, app: typer.Typer, *arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env=self.variables)

    def commit(self, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": self.settings.kafka_bootstrap_servers, "group.id": "costream"})
        consumer.commit(offsets=[TopicPartition("usage.events", 0, offset)], asynchronous=False)
        consumer.close()


@pytest.fixture(scope="module")
def installation(clickhouse_endpoint: Server) -> Iterator[Installation]:
    with EmbeddedBroker({"usage.events": 2}) as broker:
        found = Installation(clickhouse_endpoint, broker)
        yield found


audits = typer.Typer()
audits.command()(audit)


def test_the_broker_tells_how_far_the_log_and_the_group_have_come(installation: Installation) -> None:
    installation.commit(2)
    settings = installation.settings.model_copy(update={"source": "topic-1"})
    facts = kafka_facts(settings)
    assert facts.source == "topic-1"
    assert facts.partitions == (LogFacts(0, 0, 3, 2), LogFacts(1, 0, 0, None))


def test_an_audit_that_holds_ends_with_status_0(installation: Installation) -> None:
    result = installation.run(audits)
    assert result.exit_code == 0, result.output
    assert "the audit holds" in result.stdout


def test_the_audit_as_json_is_one_object_with_what_kafka_says(installation: Installation) -> None:
    told = json.loads(installation.run(audits, "--json", "--repair").stdout)
    assert told["holds"] is True
    assert told["repairs"] == {"removed": 0, "corrected": 0, "left": 0, "left_in": []}
    assert [(each["received"], each["log_end"], each["lag"]) for each in told["partitions"]] == [(3, 3, 0)]


def test_an_audit_that_does_not_hold_ends_with_status_1_and_names_the_place(installation: Installation) -> None:
    writer = Writer(installation.address)
    row = {
        "source": "topic-1",
        "source_partition": 1,
        "offset_block": 0,
        "offset_first": 0,
        "received": 1,
        "version": 0,
    }
    writer.insert(
        "ingest_ledger", pl.DataFrame([row | {"stored": 1, "duplicates": 0, "dead_lettered": 0, "forwarded": 0}])
    )
    result = installation.run(audits, "--no-kafka")
    writer.insert(
        "ingest_ledger", pl.DataFrame([row | {"stored": 0, "duplicates": 1, "dead_lettered": 0, "forwarded": 0}])
    )
    writer.close()
    assert result.exit_code == 1
    assert "source_partition=1" in result.stdout
    assert "every stored record is a row" in result.stdout
