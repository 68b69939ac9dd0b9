"""costream status: what it says of a system that runs, and what it still says when a part of it is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.cells import cell_len
from typer.testing import CliRunner

from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revisions
from sinks.clickhouse.rule_revisions import RULES
from sinks.clickhouse.writer import Writer
from stream.cli.status import status
from stream.store.deadletter import decide
from stream.store.decisions import Decision
from stream.store.stored_letters import Which
from stream.up.broker import EmbeddedBroker
from tests.producers.test_alert import alert
from tests.support.ingest import Warehouse, flush_of, ids_at_home_in, ingest_of
from tests.support.records import FakeRecord, rfc3339, wire
from tests.support.warehouse import Endpoint

NOW = datetime.now(UTC).replace(microsecond=0)
NOBODY = "127.0.0.1:1"

app = typer.Typer()
app.command()(status)


class System:
    """Two partitions of which one has five records, three of them committed; two are stored, and a letter."""

    def __init__(self, endpoint: Endpoint, broker: EmbeddedBroker) -> None:
        self.address = endpoint.fresh()
        self.variables = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "COSTREAM_CLICKHOUSE_URL": endpoint.url,
            "COSTREAM_CLICKHOUSE_DATABASE": self.address.database,
            "COSTREAM_HEALTH_PORT": "1",
        }
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        for _ in range(5):
            producer.produce("usage.events", b"{}", partition=1)
        assert producer.flush(10) == 0
        group = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "costream", "log_level": 0})
        group.commit(offsets=[TopicPartition("usage.events", 1, 3)], asynchronous=False)
        group.close()

    def store(self) -> None:
        ids = ids_at_home_in(1, total=2)
        values = [wire(next(ids), occurred_at=rfc3339(NOW - timedelta(minutes=5))) for _ in range(2)] + [b"junk"]
        arrived = round((NOW - timedelta(seconds=30)).timestamp() * 1000)
        warehouse = Warehouse(Reader(self.address), Writer(self.address))
        ingest = ingest_of(warehouse, "topic-1", [0, 1], count=2, since=NOW - timedelta(days=7))
        warehouse.store(flush_of(ingest, [FakeRecord(v, 1, at, arrived) for at, v in enumerate(values)]))
        warehouse.reader.close()
        warehouse.writer.close()

    def insert(self, table: str, rows: Any) -> None:
        writer = Writer(self.address)
        writer.insert(table, rows)
        writer.close()

    def ask(self, *arguments: str, **changed: str) -> Any:
        return CliRunner().invoke(app, list(arguments), env=self.variables | changed)

    def told(self, **changed: str) -> tuple[int, dict[str, Any]]:
        answer = self.ask("--json", **changed)
        return answer.exit_code, json.loads(answer.stdout)


@pytest.fixture
def system(clickhouse_endpoint: Endpoint) -> Iterator[System]:
    with EmbeddedBroker({"usage.events": 2}) as broker:
        yield System(clickhouse_endpoint, broker)


def test_lag_is_what_the_group_has_not_committed_and_stored_is_what_the_tables_have(system: System) -> None:
    system.store()
    code, told = system.told()
    assert code == 0, told["faults"]
    assert told["faults"] == []
    assert told["kafka"]["lag"] == 2
    assert told["kafka"]["partitions"] == [
        {"partition": 0, "lag": 0, "committed": None, "begin": 0, "end": 0},
        {"partition": 1, "lag": 2, "committed": 3, "begin": 0, "end": 5},
    ]
    warehouse = told["warehouse"]
    assert (warehouse["events"], warehouse["dead_letters"], warehouse["vanished_records"]) == (2, {"malformed": 1}, 0)
    assert warehouse["dead_letters_open"] == {"malformed": 1}
    assert datetime.fromisoformat(warehouse["last_stored"]) == NOW - timedelta(seconds=30)
    assert warehouse["per_second"] in (0.0, round(2 / 60, 1))  # it falls out of the minute on a slow machine
    assert warehouse["bytes_by_table"]["usage_events"] > 0
    assert (told["alerts"], told["audit"], told["worker"]) == ([], "unknown", None)


def test_letters_are_counted_as_open_until_somebody_decides(system: System) -> None:
    system.store()
    assert "1 open: malformed 1; 1 new in 24 hours" in system.ask().stdout
    with closing(Reader(system.address)) as reader, closing(Writer(system.address)) as writer:
        decide(reader, writer, Which(), Decision("given_up", at=NOW, reason="a test"))
    assert system.told()[1]["warehouse"]["dead_letters_open"] == {}
    assert "none open; 1 new in 24 hours" in system.ask().stdout


@pytest.mark.parametrize(("revisions", "name"), [(PRICES, "price_revision"), (RULES, "rule_revision")])
def test_the_revision_of_own_prices_and_of_own_rules_in_force_is_told(
    system: System, revisions: Revisions, name: str
) -> None:
    assert system.ask().stdout.count("none published") == 2
    assert system.told()[1]["warehouse"][name] is None
    with closing(Reader(system.address)) as reader, closing(Writer(system.address)) as writer:
        for number in (1, 2):
            revisions.publish(
                reader,
                writer,
                {"ours.toml": f"price = []  # {number}"},
                published_by="test",
                note="",
                build="b",
                new_id=lambda: str(uuid4()),
                pause=lambda: None,
            )
    warehouse = system.told()[1]["warehouse"]
    assert warehouse[name] == 2
    published_at = datetime.fromisoformat(warehouse[f"{name}_published_at"])
    assert abs(published_at - datetime.now(UTC)) < timedelta(minutes=1)
    said = system.ask().stdout
    assert said.count("none published") == 1
    assert f"revision 2, published {published_at:%Y-%m-%d %H:%M:%S} UTC" in said


def test_an_empty_system_is_said_to_be_empty_and_nothing_is_wrong_with_it(system: System) -> None:
    answer = system.ask()
    assert answer.exit_code == 0
    assert "nothing yet" in answer.stdout
    assert "none open, none new in 24 hours" in answer.stdout
    assert "none stands" in answer.stdout


def test_alerts_that_stand_are_told_and_one_of_the_audit_says_that_it_does_not_hold(system: System) -> None:
    standing = alert(alert_id="a", rule="audit", scope="pipeline", level="critical", title="The audit does not hold")
    ended = alert(alert_id="b", status="cleared")
    system.insert("alerts", alert_rows([standing, ended]))
    code, told = system.told()
    assert [(each["rule"], each["level"]) for each in told["alerts"]] == [("audit", "critical")]
    assert (code, told["audit"]) == (1, "differs")
    assert "DOES NOT HOLD" in system.ask().stdout


def test_the_most_urgent_alerts_are_told_first_and_those_of_single_models_last(system: System) -> None:
    models = [
        alert(alert_id=f"m-{number}", scope=f"model=p/{number}", timestamp=NOW + timedelta(seconds=number))
        for number in range(101)
    ]
    spike = alert(alert_id="s", scope="system", timestamp=NOW - timedelta(hours=1))
    audit = alert(alert_id="a", rule="audit", scope="pipeline", level="critical", timestamp=NOW - timedelta(days=1))
    system.insert("alerts", alert_rows([*models, spike, audit]))
    _, told = system.told()
    assert [each["scope"] for each in told["alerts"]][:4] == ["pipeline", "system", "model=p/100", "model=p/99"]
    assert (len(told["alerts"]), told["audit"]) == (103, "differs")


def test_records_that_vanished_are_told_until_a_person_has_accepted_them(system: System) -> None:
    place = {"source": "topic-1", "source_partition": 0, "noticed_at": NOW, "consumer_group": "costream"}
    gone = [place | {"offset_first": first, "offset_last": last} for first, last in ((0, 9), (20, 24))]
    accepted = gone[1] | {"accepted": 1, "accepted_reason": "a test", "accepted_at": NOW}
    times = {"noticed_at": pl.Datetime("ms", "UTC"), "accepted_at": pl.Datetime("ms", "UTC")}
    system.insert("vanished_records", pl.DataFrame(gone, schema_overrides={"noticed_at": times["noticed_at"]}))
    assert system.told()[1]["warehouse"]["vanished_records"] == 15
    system.insert("vanished_records", pl.DataFrame([accepted], schema_overrides=times))
    code, told = system.told()
    assert (code, told["warehouse"]["vanished_records"]) == (1, 10)
    assert "10 records at most" in system.ask().stdout


@pytest.mark.parametrize(
    ("away", "missing", "left"),
    [
        ("COSTREAM_KAFKA_BOOTSTRAP_SERVERS", ("kafka", "lag"), ("warehouse", "events")),
        ("COSTREAM_CLICKHOUSE_URL", ("warehouse", "events"), ("kafka", "lag")),
    ],
)
def test_a_part_that_is_away_is_named_and_hides_nothing_of_the_others(
    system: System, away: str, missing: tuple[str, str], left: tuple[str, str]
) -> None:
    nobody = NOBODY if "KAFKA" in away else f"http://{NOBODY}"
    code, told = system.told(**{away: nobody})
    assert code == 1
    assert any(NOBODY in fault for fault in told["faults"])
    assert told[missing[0]].get(missing[1]) is None
    assert told[left[0]][left[1]] is not None


def test_a_warehouse_of_an_older_schema_is_a_fault_with_its_remedy(system: System) -> None:
    code, told = system.told(COSTREAM_CLICKHOUSE_DATABASE="nothing_here")
    assert code == 1
    assert any("costream migrate up" in fault for fault in told["faults"])
    assert told["kafka"]["lag"] == 2


class Pages(BaseHTTPRequestHandler):
    """A worker that is not ready, and whose audit found something."""

    def do_GET(self) -> None:
        ready = {"ready": False, "faults": ["9 records wait"], "partitions": [0, 1], "lag": 9}
        metrics = (
            "# TYPE costream_audit_timestamp_seconds gauge\n"
            "costream_audit_timestamp_seconds 1.7e+09\n"
            'costream_audit_differences{check="ids"} 0.0\n'
            'costream_audit_differences{check="usage_hourly"} 3.0\n'
        )
        self.send_response(503 if self.path == "/readyz" else 200)
        self.end_headers()
        self.wfile.write(json.dumps(ready).encode() if self.path == "/readyz" else metrics.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


def test_what_a_worker_says_of_itself_is_told_with_the_verdict_of_its_audit(system: System, pages: int) -> None:
    code, told = system.told(COSTREAM_HEALTH_PORT=str(pages))
    assert (code, told["audit"], told["faults"]) == (1, "differs", ["9 records wait"])
    assert told["worker"] == {
        "url": f"http://127.0.0.1:{pages}",
        "ready": False,
        "faults": ["9 records wait"],
        "partitions": [0, 1],
        "audited_at": "2023-11-14T22:13:20Z",
        "audit_differences": {"usage_hourly": 3},
    }


def test_it_fits_80_columns_and_shows_no_control_characters(system: System) -> None:
    system.store()
    system.insert("alerts", alert_rows([alert(scope="feature=\x1b[31m" + "x" * 90, title="\x07" + "wide 漢字 " * 30)]))
    answer = system.ask()
    lines = answer.stdout.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert not set(answer.stdout) & {"\x1b", "\x07"}
    assert "1 dead letter" not in answer.stdout
    assert "1 open: malformed 1; 1 new in 24 hours" in answer.stdout
