"""What people read with, against the endpoint of the embedded engine and the topic of alerts: each client as it comes.

Every client tells the same things, in every way of compressing that it has; the programs are in tests/readers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from costream.alerts import Alert
from sinks.clickhouse.connect import open_client
from sinks.clickhouse.writer import Writer
from stream.watch.alert_topic import outbox_for_alerts, publish_alerts
from tests.producers.test_alert import HOUR, alert
from tests.support.databases import migrated
from tests.support.kafka import ROOT, create_topics
from tests.support.readers import run_java, run_node, table
from tests.support.warehouse import Endpoint
from tests.support.warehouse_rows import events, store_hours, this_hour

pytestmark = pytest.mark.slow

WRITE, READ = "write-me", "read-me"
ODD_ID: Final = "it's \\ r-1"  # what a statement that is pasted together would break on
SCHEMA: Final = ROOT / "producers" / "schema" / "usage-alert.v1.schema.json"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Two calls, one of them without a price, behind passwords."""
    with Endpoint(tmp_path_factory.mktemp("read"), write_token=WRITE, read_token=READ) as endpoint:
        address = migrated(endpoint.address())
        priced = {
            "request_id": ODD_ID,
            "cost_pico": 123_456_789_012_345_678,
            "quantities": '{"seconds": "1.500000000001"}',
        }
        unpriced = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown model"}
        with closing(Writer(address)) as writer:
            writer.insert("usage_events", events([priced, {"request_id": "r-2"} | unpriced]))
            store_hours(writer, [{}, {"feature": "search", "unpriced_calls": 1, "cost_pico": 0}])
        yield endpoint


# What each of them tells of the two calls.
VALUES: Final = {
    "ping": "true",
    "feature_cost_summary": "2",
    "realtime_cost_monitor": "1",
    "unknown_cost_calls": "1",
    "usage_hourly": "2 1",
    "cost": "123456.789012345678",
    "low_cardinality": "openai",
    "count": "100",
    "map": "1.500000000001",
    "array": "[openai, gpt-4o-mini]",
    "null": "null r-2",
    "prepared": ODD_ID,
    "large": "100000 2499950000",
}
REFUSALS: Final = {
    "unknown_column": (47, "Unknown expression identifier `nothing`"),
    "unknown_table": (60, "nowhere"),
    "file": (497, "file() reaches outside the warehouse"),
    "insert": (164, "INSERT changes the warehouse, and this request may only read it"),
    "drop": (164, "DROP changes the warehouse, and this request may only read it"),
    "password": (516, "password is incorrect"),
}


def jdbc(warehouse: Endpoint, compress: str) -> str:
    return run_java("Jdbc.java", f"{warehouse.url}/costream", "default", READ, compress)


def client_v2(warehouse: Endpoint, compression: str) -> str:
    return run_java("ClientV2.java", warehouse.url, "costream", READ, WRITE, compression)


def node(warehouse: Endpoint, compressed: str) -> str:
    return run_node("clickhouse.cjs", warehouse.url, "costream", READ, compressed)


@pytest.mark.parametrize(
    ("read", "compression"),
    [
        (jdbc, "0"),
        (jdbc, "1"),
        (client_v2, "none"),
        (client_v2, "blocks"),
        (client_v2, "http"),
        (node, "false"),
        (node, "true"),
    ],
)
def test_a_client_reads_exact_values_and_is_refused_in_sentences(
    warehouse: Endpoint, read: Callable[[Endpoint, str], str], compression: str
) -> None:
    with closing(open_client(warehouse.address())) as writer:
        writer.command("CREATE OR REPLACE TABLE written (word String) ENGINE = MergeTree ORDER BY word")
        told = table(read(warehouse, compression))
        assert told == told | VALUES | {"time": this_hour().strftime("%Y-%m-%dT%H:00:00Z")}
        for name, (code, sentence) in REFUSALS.items():
            assert told[name].startswith(f"{code} ")
            assert sentence in told[name]
        assert told["server"] == writer.command("SELECT version()")
        columns = told["columns"].split("; ")
        assert {"occurred_at=DateTime64(3, 'UTC')", "provider=LowCardinality(String)", "request_id=String"} <= {
            *columns
        }
        if "tables" in told:
            assert {"usage_events", "feature_cost_summary", "unknown_cost_calls"} <= {*told["tables"].split()}
        if read is client_v2:  # it says what the server said, streams lines, and compresses what it writes too
            assert (told["result_rows"], told["streamed"], told["written"]) == ("100000", "100000 0", "20000 1")
        else:
            assert writer.command("SELECT count() FROM written") == 0


def test_kafkajs_reads_alerts_as_the_published_schema_says(kafka_bootstrap: str, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}usage.alerts"
    create_topics(kafka_bootstrap, {topic: 1})
    sent: list[Alert] = [alert(), alert(revision=2, status="cleared", timestamp=HOUR + timedelta(hours=2))]
    publish_alerts(outbox_for_alerts({"bootstrap.servers": kafka_bootstrap}), topic, sent)
    read: list[dict[str, Any]] = [
        json.loads(line) for line in run_node("alerts.cjs", kafka_bootstrap, topic, "2").splitlines()
    ]
    assert [message["key"] for message in read] == [one.alert_id for one in sent]
    assert [Alert.from_json(json.dumps(message["value"]).encode()) for message in read] == sent
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=Draft202012Validator.FORMAT_CHECKER)
    for message in read:
        schema.validate(message["value"])
