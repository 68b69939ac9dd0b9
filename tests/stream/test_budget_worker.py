"""A worker counts by budgets, fills in those that are new, and tells what is crossed: once, whoever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from costream.alerts import Alert
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import audit
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import Warehouse
from tests.support.rules import publish_rules
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, WorkerProcess, read_topic, send_calls

pytestmark = pytest.mark.slow

TEAM = """
[[budget]]
name = "search_team"
only = { team = ["search"] }
period = "day"
zone = "Asia/Seoul"
amount = "1"
"""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.fixture
def place(clickhouse_endpoint: Server) -> Iterator[Warehouse]:
    address = clickhouse_endpoint.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)


def told(broker: EmbeddedBroker) -> list[tuple[str, str, int]]:
    alerts = [Alert.from_json(record.value()) for record in read_topic(broker.bootstrap_servers, "usage.alerts")]
    return [(alert.scope, alert.level.value, alert.revision) for alert in alerts if alert.rule == "budget"]


def test_a_user_over_the_shipped_budget_is_told_once_and_the_next_worker_goes_on_from_there(
    broker: EmbeddedBroker, place: Warehouse
) -> None:
    ann = "budget=user_daily_budget,user=ann"
    address = place.reader.address
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        send_calls(broker.bootstrap_servers, 59, user_id="bob")
        send_calls(broker.bootstrap_servers, 60, user_id="ann")
        worker.until(lambda: told(broker), "it is told", seconds=90)
        worker.process.kill()
        worker.ended()
    send_calls(broker.bootstrap_servers, 6, user_id="ann")
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        worker.until(lambda: len(told(broker)) >= 2, "the next step is told", seconds=90)
        assert worker.stop() == 0
    assert told(broker) == [(ann, "warning", 1), (ann, "critical", 2)]
    assert place.reader.frame("SELECT budget, subject, level FROM budget_status WHERE level != ''").rows() == [
        ("user_daily_budget", "user=ann", "critical")
    ]
    assert audit(place.reader).holds


def test_a_budget_that_is_published_counts_what_was_spent_before_it(broker: EmbeddedBroker, place: Warehouse) -> None:
    address = place.reader.address
    stored = "SELECT toInt64(count()) FROM usage_events"
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        send_calls(broker.bootstrap_servers, 5, team="search")
        send_calls(broker.bootstrap_servers, 5, team="ads")
        worker.until(lambda: place.reader.frame(stored).item() == 10, "they are stored", seconds=60)
        publish_rules(place, TEAM)
        worker.until(lambda: worker.log("rules taken over"), "the rules are taken over", seconds=60)
        send_calls(broker.bootstrap_servers, 1, team="search")
        worker.until(lambda: told(broker), "it is told", seconds=90)
        assert worker.stop() == 0
    assert told(broker) == [("budget=search_team", "warning", 1)]
    (status,) = place.reader.frame("SELECT * FROM budget_status WHERE budget = 'search_team'").to_dicts()
    assert (status["calls"], f"{status['spent']:f}", f"{status['ratio']:f}") == (6, "0.900000000000", "0.9000")
    assert audit(place.reader).holds
