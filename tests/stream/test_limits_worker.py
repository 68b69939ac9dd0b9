"""From calls to a refusal: a worker tells who has used up a budget, and the guard of a client knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from costream import BudgetGuard
from costream.budgets import BudgetState
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.budgets.zones import zone
from stream.runtime import topics
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import Warehouse
from tests.support.records import STEADY_ZONE, rfc3339
from tests.support.rules import publish_rules
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, WorkerProcess, read_topic, send_calls

pytestmark = pytest.mark.slow

REFUSING = f"""
[[budget]]
name = "user_daily_budget"
scope = ["user"]
period = "day"
zone = "{STEADY_ZONE}"
amount = "1"
refuse_at = "0.95"
"""


class Site:
    """Topics, a warehouse with rules, and calls of one moment."""

    def __init__(self, bootstrap_servers: str, prefix: str, place: Warehouse) -> None:
        self.bootstrap_servers, self.prefix, self.place = bootstrap_servers, prefix, place
        self.at = datetime.now(UTC)

    def publish_rules(self, text: str) -> None:
        publish_rules(self.place, text)

    def send(self, count: int, **fields: Any) -> None:
        """Calls of 0.15 USD each."""
        occurred_at = {"occurred_at": rfc3339(self.at)}
        send_calls(self.bootstrap_servers, count, topic=f"{self.prefix}usage.events", **occurred_at | fields)

    def worker(self) -> WorkerProcess:
        return WorkerProcess(self.bootstrap_servers, self.place.reader.address, prefix=self.prefix)

    def guard(self, **named: Any) -> BudgetGuard:
        servers, topic = self.bootstrap_servers, f"{self.prefix}usage.budgets"
        return BudgetGuard(bootstrap_servers=servers, topic=topic, enabled=True, **named)

    def told(self) -> list[tuple[bytes, bool | None]]:
        """Every message on the topic."""
        records = read_topic(self.bootstrap_servers, f"{self.prefix}usage.budgets")
        values = [(record.key(), record.value()) for record in records]
        return [(key, BudgetState.from_json(value).limited if value else None) for key, value in values]


@pytest.fixture
def place(clickhouse_endpoint: Server) -> Iterator[Warehouse]:
    address = clickhouse_endpoint.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def site(request: pytest.FixtureRequest, place: Warehouse) -> Iterator[Site]:
    if request.param == "embedded":
        with EmbeddedBroker(TOPICS) as broker:
            yield Site(broker.bootstrap_servers, "", place)
    else:
        bootstrap, prefix = (request.getfixturevalue(name) for name in ("kafka_bootstrap", "kafka_prefix"))
        topics.create(Settings(kafka_bootstrap_servers=bootstrap, topic_prefix=prefix), partitions=4)
        yield Site(bootstrap, prefix, place)


ANN = b'["user_daily_budget",{"user_id":"ann"}]'


def test_a_user_at_95_percent_is_limited_until_the_day_ends_and_others_are_allowed(site: Site) -> None:
    site.publish_rules(REFUSING)
    with site.worker() as worker, site.guard() as guard:
        assert guard.ready(60)
        worker.until(lambda: worker.log("sums of budgets filled in") or worker.page("/readyz")[0] == 200, "it runs")
        site.send(6, user_id="bob")
        site.send(7, user_id="ann")
        worker.until(lambda: guard.check(user_id="ann"), "she is limited", seconds=120)
        limited = guard.check(user_id="ann")
        assert limited is not None
        assert (limited.budget, f"{limited.spent:f}", f"{limited.amount:f}") == ("user_daily_budget", "1.05", "1")
        assert limited.resets_at is not None
        assert limited.resets_at.astimezone(zone(STEADY_ZONE)).time() == time(), "it is midnight there"
        assert timedelta(0) < limited.resets_at - site.at <= timedelta(days=1)
        assert guard.check(user_id="bob") is None
        with site.guard(clock=lambda: limited.resets_at) as later:
            assert later.ready(60)
            assert later.check(user_id="ann") is None
        worker.process.kill()
        worker.ended()
        with site.worker() as successor:
            successor.until(lambda: successor.page("/readyz")[0] == 200, "it runs", seconds=120)
            site.send(1, user_id="ann")
            site.send(1, user_id="bob")
            successor.until(lambda: guard.check(user_id="bob"), "he is limited too", seconds=120)
            assert site.told() == [(ANN, True), (ANN.replace(b"ann", b"bob"), True)]
            site.publish_rules(REFUSING.replace("refuse_at", "# refuse_at"))
            successor.until(lambda: not guard.check(user_id="ann"), "she is let go", seconds=120)
            successor.until(lambda: not guard.check(user_id="bob"), "and so is he", seconds=60)
            assert successor.stop() == 0
        assert site.told()[2:] == [(ANN, False), (ANN.replace(b"ann", b"bob"), False)]


def test_without_a_share_nobody_is_refused(site: Site) -> None:
    site.publish_rules(REFUSING.replace("refuse_at", "# refuse_at"))
    with site.worker() as worker, site.guard() as guard:
        site.send(20, user_id="ann")
        alerts = f"{site.prefix}usage.alerts"
        worker.until(lambda: read_topic(site.bootstrap_servers, alerts), "an alert is told", seconds=120)
        assert guard.ready(60)
        assert guard.check(user_id="ann") is None
        assert worker.stop() == 0
    assert site.told() == []
