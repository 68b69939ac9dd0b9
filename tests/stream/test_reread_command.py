"""costream reread as a person runs it, on the embedded broker: what it asks for, what it says, what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from confluent_kafka import Producer
from rich.cells import cell_len
from typer.testing import CliRunner

from sinks.clickhouse.connect import Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli.reread import reread
from stream.reread import EventLog, LogEnds
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import Warehouse, flush_of, ids_at_home_in, ingest_of
from tests.support.records import FakeRecord, rfc3339, wire
from tests.support.warehouse import Endpoint

NOW = datetime.now(UTC).replace(microsecond=0)
SOURCE = "topic-1"
COUNT = 20

app = typer.Typer()
app.command()(reread)


class Installation:
    """One partition of two has had twenty events and a record that is none; all are stored."""

    def __init__(self, endpoint: Endpoint, broker: EmbeddedBroker) -> None:
        self.address = endpoint.fresh()
        self.settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers)
        self.variables = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "COSTREAM_CLICKHOUSE_URL": endpoint.url,
            "COSTREAM_CLICKHOUSE_DATABASE": self.address.database,
            "COSTREAM_SOURCE": SOURCE,
        }
        ids = ids_at_home_in(1, total=2)
        values = [wire(next(ids), occurred_at=rfc3339(NOW - timedelta(minutes=5))) for _ in range(COUNT)] + [b"junk"]
        self.producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for value in values:
            self.producer.produce("usage.events", value, partition=1, headers=[("trace", b"1")])
        assert self.producer.flush(10) == 0
        self.log = EventLog(self.settings, "usage.events")
        records = [record for some in self.log.read(1, 0, COUNT) for record in some]
        self._store([FakeRecord(each.value, 1, each.offset, each.timestamp) for each in records])

    def _store(self, records: list[FakeRecord]) -> None:
        warehouse = Warehouse(Reader(self.address), Writer(self.address))
        ingest = ingest_of(warehouse, SOURCE, [0, 1], count=2, since=NOW - timedelta(days=7))
        warehouse.store(flush_of(ingest, records))
        warehouse.reader.close()
        warehouse.writer.close()

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env=self.variables)

    def sql(self, statement: str) -> None:
        clients = Clients(self.address)
        with clients.use() as client:
            client.command(statement)
        clients.close()

    def rows(self) -> int:
        reader = Reader(self.address)
        count = reader.frame("SELECT toInt64(count()) FROM usage_events_rows FINAL").item()
        reader.close()
        return int(count)


@pytest.fixture(scope="module")
def installation(clickhouse_endpoint: Endpoint) -> Iterator[Installation]:
    with EmbeddedBroker({"usage.events": 2}) as broker:
        found = Installation(clickhouse_endpoint, broker)
        yield found
        found.log.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to read again"),
        (("--topic-partition", "usage.events"), "is not usage.events:NUMBER"),
        (("--topic-partition", "usage.rollups:0"), "is not usage.events:NUMBER"),
        (("--topic-partition", "usage.events:7"), "there is no partition 7: the topic has 2"),
        (("--missing", "--repair"), "it needs --yes"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_written(
    installation: Installation, arguments: tuple[str, ...], said: str
) -> None:
    result = installation.run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())


def test_where_nothing_is_missing_there_is_nothing_to_read(installation: Installation) -> None:
    result = installation.run("--missing")
    assert (result.exit_code, "nothing to read again" in result.stdout) == (0, True), result.output


@pytest.mark.slow  # two audits find differences, and ask for each three times
def test_a_rehearsal_then_the_rows_and_what_is_told_fits_80_columns(installation: Installation) -> None:
    installation.sql("DELETE FROM usage_events_rows WHERE source_offset >= 10")
    installation.sql("DELETE FROM dead_letters_rows WHERE 1")
    rehearsal = installation.run("--topic-partition", "usage.events:1", "--from", "5", "--to", "14")
    assert rehearsal.exit_code == 0, rehearsal.output
    assert "10  records that Kafka has" in rehearsal.stdout
    assert "5  raw rows are missing: would be added" in rehearsal.stdout
    assert "5 raw rows and 0 dead letters would be written; this was a rehearsal" in rehearsal.stdout
    assert installation.rows() == 10
    done = installation.run("--topic-partition", "usage.events:1", "--from", "5", "--to", "14", "--yes")
    assert "THE AUDIT DOES NOT HOLD" in done.stdout
    assert "--from 0 --to 20" in done.stdout, "the next step is the rest of the block"
    assert installation.rows() == 15
    rest = installation.run("--missing", "--yes")
    assert (rest.exit_code, installation.rows()) == (0, COUNT), rest.output
    assert "5 raw rows and 1 dead letter written" in rest.stdout
    assert "the audit holds" in rest.stdout
    assert [line for line in (rehearsal.stdout + done.stdout).splitlines() if cell_len(line) > 80] == []


def test_as_json_it_is_one_object_with_the_counts_and_the_audit(installation: Installation) -> None:
    told = json.loads(installation.run("--topic-partition", "usage.events:1", "--yes", "--json").stdout)
    (read,) = told["read"]
    assert (read["partition"], read["records"], read["stored"], read["dead_letters"]) == (1, COUNT + 1, COUNT, 1)
    assert (told["written"], told["audit"]["holds"], told["audit"]["next_steps"]) == (True, True, [])


def test_offsets_above_the_ledger_are_left_to_the_workers_and_said(installation: Installation) -> None:
    result = installation.run("--topic-partition", "usage.events:1", "--to", "99")
    assert result.exit_code == 1
    told = " ".join(result.stdout.split())
    assert f"offsets {COUNT + 1}-99 are not in the ledger: a worker stores them when it reads them" in told


def test_an_end_is_where_the_log_ends_and_an_empty_partition_is_read_at_once(installation: Installation) -> None:
    assert (installation.log.ends(0), installation.log.ends(1)) == (LogEnds(0, 0), LogEnds(0, COUNT + 1))
    assert list(installation.log.read(0, 0, 10)) == []
    (some,) = installation.log.read(1, 3, 5)
    assert [record.offset for record in some] == [3, 4, 5]
    assert some[0].headers == [("trace", b"1")]


@pytest.mark.slow  # it takes its time to be sure
def test_a_broker_that_is_away_is_said_in_one_line() -> None:
    nobody = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "COSTREAM_SOURCE": SOURCE}
    result = CliRunner().invoke(app, ["--topic-partition", "usage.events:0"], env=nobody)
    assert result.exit_code == 1
    assert "Kafka at 127.0.0.1:1 does not answer" in " ".join(result.stderr.split())
