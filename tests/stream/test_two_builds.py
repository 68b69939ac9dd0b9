"""An upgrade in the middle of a flush: one build is killed, another with other prices and names reads the same records
again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

import polars as pl
import pytest

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from stream.audit import audit
from stream.up.broker import EmbeddedBroker
from tests.support.records import rfc3339, wire
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, Totals, WorkerProcess, producer_of

pytestmark = pytest.mark.slow

EVENTS = "usage.events"
COUNT, REPEATS = 600, 60
PROVIDERS = ("openai", "OpenAI", "google-gla")
MODELS = ("gpt-4o-mini", "nobody-knows", "GPT-4o-mini", "nobody-knows")
KILLED = -9


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.fixture
def address(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


def publish(broker: EmbeddedBroker) -> None:
    producer, now = producer_of(broker.bootstrap_servers), rfc3339(datetime.now(UTC))
    for number in range(COUNT):
        named = {"provider": PROVIDERS[number % 3], "model": MODELS[number % 4], "quantities": {"images": "1"}}
        request_id = str(uuid4())
        value = wire(request_id, occurred_at=now, input_tokens=number, **named)
        for _ in range(2 if number % 10 == 0 else 1):
            producer.produce(EVENTS, value, request_id)
    producer.flush()


def build(number: int, *, killed_at: str = "") -> str:
    """Python that makes a worker of this build, killed in its second flush when it comes to write this table; of raw
    rows, when every other one is written."""
    return (
        "import os, signal\n"
        "from sinks.clickhouse.writer import Writer\n"
        "from costream.pricing import PriceBook\n"
        "from tests.support.price_tables import BUILDS\n"
        f"PriceBook.bundled = classmethod(lambda cls: BUILDS[{number}])\n"
        "insert, flushes = Writer.insert, []\n"
        "def insert_or_die(self, table, frame):\n"
        "    flushes.extend(['one'] * (table == 'usage_events'))\n"
        f"    if len(flushes) == 2 and table == {killed_at!r}:\n"
        "        if table == 'usage_events':\n"
        "            insert(self, table, frame[::2])\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return insert(self, table, frame)\n"
        "Writer.insert = insert_or_die"
    )


def said(reader: Reader) -> dict[str, object]:
    """What each stored row says of its price and of its names."""
    rows = reader.frame(
        "SELECT request_id, cost_usd, cost_status, cost_reason, price_version, provider, model, provider_sent, "
        "model_sent FROM usage_events_rows FINAL"
    ).iter_rows()
    return {request_id: tuple(derived) for request_id, *derived in rows}


def repeats_in(reader: Reader) -> set[tuple[str, int]]:
    """How many repeats are counted in the series of the calls that were sent so: none twice, and none elsewhere."""
    by_series = reader.frame(
        "SELECT provider, model, toInt64(sum(duplicates)) AS repeats FROM usage_hourly GROUP BY ALL"
    )
    calls = reader.frame(
        "SELECT provider, model, provider_sent, toInt64(countIf(input_tokens % 10 = 0)) AS repeats "
        "FROM usage_events GROUP BY ALL"
    )
    assert by_series.sort(pl.all()).equals(
        calls.group_by("provider", "model").agg(pl.col("repeats").sum()).sort(pl.all())
    )
    return set(calls.group_by("provider_sent").agg(pl.col("repeats").sum()).iter_rows())


def named_without_text(reader: Reader) -> list[str]:
    """Prices that a stored row names and nobody can look up."""
    named = "SELECT DISTINCT price_id FROM usage_events_rows WHERE price_version != ''"
    return reader.frame(f"{named} AND price_id NOT IN (SELECT price_id FROM prices)")["price_id"].to_list()


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    "killed_at", ["prices", "usage_events", "usage_hourly", "usage_hourly_units", "usage_user_daily", "ingest_ledger"]
)
def test_no_cell_differs_after_a_build_with_other_prices_and_names_took_over_in_the_middle_of_a_flush(
    broker: EmbeddedBroker, address: ClickHouseAddress, killed_at: str, old: int, new: int
) -> None:
    publish(broker)
    totals = Totals(address)
    small = {"batch_rows_max": 100}
    with closing(Reader(address)) as reader:
        poison = build(old, killed_at=killed_at)
        with WorkerProcess(broker.bootstrap_servers, address, prelude=poison, **small) as worker:
            assert worker.ended(seconds=60) == KILLED
        before = said(reader)
        assert 0 < len(before) < COUNT
        with WorkerProcess(broker.bootstrap_servers, address, group="upgraded", prelude=build(new), **small) as worker:
            worker.until(lambda: totals.counted() == (COUNT, COUNT, COUNT, REPEATS, 0), "all is counted once")
            assert worker.stop() == 0
        after = said(reader)
        assert before.items() <= after.items()
        assert {str(derived[3]) for derived in after.values() if isinstance(derived, tuple)} >= {
            "first@base",
            "second@base",
        }
        assert repeats_in(reader) == {(sent, REPEATS // len(PROVIDERS)) for sent in PROVIDERS}
        assert named_without_text(reader) == []
        report = audit(reader)
        assert report.holds, report
