"""A worker tells of a model without a price on usage.alerts, and the worker after it does not tell it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from costream.alerts import Alert
from stream.up.broker import EmbeddedBroker
from tests.support.records import rfc3339, wire
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, Totals, WorkerProcess, producer_of, read_topic

pytestmark = pytest.mark.slow

# A prelude: the rule looks once a minute.
LOOKS_OFTEN = """
from datetime import timedelta
from stream.watch.rules import unknown_price
unknown_price.EVERY = timedelta(seconds=1)
"""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def told(broker: EmbeddedBroker) -> list[Alert]:
    alerts = [Alert.from_json(record.value()) for record in read_topic(broker.bootstrap_servers, "usage.alerts")]
    return [alert for alert in alerts if alert.rule == "unknown_price"]


def publish(broker: EmbeddedBroker, count: int, **fields: Any) -> None:
    producer = producer_of(broker.bootstrap_servers)
    for _ in range(count):
        producer.produce("usage.events", wire(str(uuid4()), occurred_at=rfc3339(datetime.now(UTC)), **fields))
    assert producer.flush(30) == 0


def test_a_misspelt_model_is_told_once_with_the_nearest_name_and_not_again_by_the_next_worker(
    broker: EmbeddedBroker, clickhouse_endpoint: Server
) -> None:
    address = clickhouse_endpoint.fresh()
    with closing(Totals(address)) as totals:
        publish(broker, 20)
        publish(broker, 3, model="gpt-4o-mimi")
        with WorkerProcess(broker.bootstrap_servers, address, prelude=LOOKS_OFTEN) as worker:
            worker.until(lambda: told(broker), "it is told", seconds=60)
            worker.until(lambda: totals.one("SELECT count() FROM alerts_rows") == (1,), "and stored")
            worker.process.kill()
            worker.ended()
        publish(broker, 5, model="gpt-4o-mimi")
        publish(broker, 1, model="gpt-4o-maxi")
        with WorkerProcess(broker.bootstrap_servers, address, prelude=LOOKS_OFTEN) as worker:
            worker.until(lambda: len(told(broker)) == 2, "another is told", seconds=60)
            assert worker.stop() == 0
        first, second = told(broker)
        assert (first.scope, second.scope) == ("model=openai/gpt-4o-mimi", "model=openai/gpt-4o-maxi")
        assert (first.revision, first.status) == (1, "open")
        assert 1 <= first.unpriced_calls <= 3, "those that were stored by then"
        assert "; the nearest known is 'gpt-4o-mini'. What they cost is not known and in no figure." in first.message
        assert totals.one("SELECT count() FROM alerts WHERE rule = 'unknown_price'") == (2,)
