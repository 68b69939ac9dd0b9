"""The way back on a real Kafka, beside a worker at work and producers that go on; a plain recount has the last word."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner

from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from stream.cli.audit import audit
from stream.cli.reread import reread
from stream.runtime import topics
from stream.runtime.settings import Settings
from tests.chaos import traffic
from tests.chaos.recount import hourly, recount
from tests.chaos.verdict import Verdict, _stored_hours, compare
from tests.support.ingest import TABLES
from tests.support.warehouse import Endpoint
from tests.support.worker import Totals, WorkerProcess, group_offsets

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
PARTITIONS = 3
EVENTS_SENT = 3_000
SECONDS = 75.0

app = typer.Typer()
app.command("reread")(reread)
app.command("audit")(audit)


class Site:
    """Topics and a warehouse of its own, and the commands as a person runs them."""

    def __init__(self, bootstrap_servers: str, prefix: str, address: ClickHouseAddress) -> None:
        self.bootstrap_servers, self.prefix, self.address = bootstrap_servers, prefix, address
        settings = Settings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix)
        topics.create(settings, partitions=PARTITIONS)
        self.events = settings.topic("usage.events")
        self.group = f"{prefix}costream"
        self.variables = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "COSTREAM_TOPIC_PREFIX": prefix,
            "COSTREAM_CONSUMER_GROUP": self.group,
            "COSTREAM_CLICKHOUSE_URL": address.url,
            "COSTREAM_CLICKHOUSE_DATABASE": address.database,
        }

    def command(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env=self.variables)

    def sql(self, statement: str) -> None:
        clients = Clients(self.address)
        with clients.use() as client:
            client.command(statement)
        clients.close()

    def ends(self) -> list[int]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": "looks-on"})
        try:
            places = [TopicPartition(self.events, partition) for partition in range(PARTITIONS)]
            return [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        finally:
            consumer.close()

    def committed(self) -> list[int]:
        return group_offsets(self.bootstrap_servers, self.group, self.events, PARTITIONS)


@pytest.fixture
def site(kafka_bootstrap: str, kafka_prefix: str, clickhouse_endpoint: Endpoint) -> Site:
    return Site(kafka_bootstrap, kafka_prefix, clickhouse_endpoint.fresh())


@pytest.fixture
def totals(site: Site) -> Iterator[Totals]:
    totals = Totals(site.address)
    yield totals
    totals.close()


def letters() -> list[traffic.Letter]:
    planned = traffic.plan(random.Random(5), start=datetime.now(UTC), events=EVENTS_SENT, seconds=SECONDS)
    return [letter for letter in planned if letter.route != "transaction"]


def test_rows_and_rollups_deleted_under_load_come_back_exactly(site: Site, totals: Totals, tmp_path: Path) -> None:
    publisher = traffic.Publisher(
        letters(), bootstrap_servers=site.bootstrap_servers, topic=site.events, folder=tmp_path
    )
    publishing = threading.Thread(target=publisher.run)
    with WorkerProcess(site.bootstrap_servers, site.address, prefix=site.prefix, audit_interval=0) as worker:
        publishing.start()
        worker.until(lambda: (totals.counted() or (0,))[0] > EVENTS_SENT // 4, "a quarter is stored")
        site.sql("DELETE FROM usage_events_rows WHERE cityHash64(request_id) % 2 = 0")
        site.sql("DELETE FROM dead_letters_rows WHERE 1")
        site.sql("DELETE FROM usage_hourly_rows WHERE source_partition = 1")
        site.sql("DELETE FROM usage_hourly_units_rows WHERE source_partition = 0")
        site.sql("DELETE FROM usage_user_daily_rows WHERE source_partition = 2")
        under_load = site.command("reread", "--missing", "--yes", "--json")
        assert publishing.is_alive(), "the producers go on meanwhile"
        read = json.loads(under_load.stdout)["read"]
        assert sum(each["restored"] for each in read) > EVENTS_SENT // 20, under_load.output
        site.sql("DELETE FROM usage_events_rows WHERE source_offset % 3 = 0")
        publishing.join()
        worker.until(lambda: site.committed() == site.ends(), "all is stored and acknowledged", seconds=120)

        rehearsal = site.command("reread", "--missing")
        assert "rehearsal" in rehearsal.stdout, rehearsal.output
        assert site.command("reread", "--missing", "--yes").exit_code in (0, 1), "rollups may still differ"
        # A worker writes back the rows that it holds in memory; what a correction made twice, the next one takes out.
        repaired = site.command("audit", "--repair")
        assert (repaired.exit_code, "the audit holds" in repaired.stdout) == (0, True), repaired.output
        assert "nothing to read again" in site.command("reread", "--missing").stdout
        assert worker.stop() == 0
    check(site, publisher.path)


def check(site: Site, path: Path) -> None:
    """Every raw row, letter and sum against what was published; how often ids came again the ledger alone knows."""
    published, verdict, reader = recount(path), Verdict(), Reader(site.address)
    compare(verdict, published, reader, [], hostile={}, partitions=PARTITIONS)
    verdict.must_be_0.pop("differing_usage_hourly")
    verdict.must_be_0.pop("sums_of_budgets_not_stated")  # a worker that ran for seconds has not said which there are
    assert verdict.holds, verdict.examples
    want, have = hourly(published.events.values(), {}), _stored_hours(reader)
    for cell in (*want.values(), *have.values()):
        cell.pop("duplicates")
    reader.close()
    assert have == want


def test_a_group_that_is_ahead_of_the_ledger_is_set_back_and_reads_again(
    site: Site, totals: Totals, tmp_path: Path
) -> None:
    """Acknowledged, and the rows are gone with the ledger's own: as after a disk that lied."""
    publisher = traffic.Publisher(
        letters()[:500], bootstrap_servers=site.bootstrap_servers, topic=site.events, folder=tmp_path
    )
    publisher.run()
    with WorkerProcess(site.bootstrap_servers, site.address, prefix=site.prefix) as worker:
        worker.until(lambda: site.committed() == site.ends(), "all is stored and acknowledged", seconds=120)
        refused = site.command("reread", "--rewind", "--yes")
        assert "nothing to set back" in refused.stdout, refused.output
        for table in TABLES:
            site.sql(f"DELETE FROM {rows_of(table)} WHERE source_partition != 0")
        at_work = site.command("reread", "--rewind", "--yes")
        said = " ".join(at_work.stderr.split())
        assert (at_work.exit_code, "stop them all first" in said) == (1, True), at_work.output
        assert worker.stop() == 0
    committed = site.committed()
    assert "costream reread --rewind" in site.command("audit").stdout
    rehearsal = site.command("reread", "--rewind")
    assert "a rehearsal" in rehearsal.stdout
    assert site.committed() == committed
    assert site.command("reread", "--rewind", "--yes").exit_code == 0
    assert site.committed() == [committed[0], 0, 0]
    with WorkerProcess(site.bootstrap_servers, site.address, prefix=site.prefix) as worker:
        worker.until(lambda: site.committed() == site.ends(), "all is stored again", seconds=120)
        assert worker.stop() == 0
    assert site.command("audit").exit_code == 0
    check(site, publisher.path)
