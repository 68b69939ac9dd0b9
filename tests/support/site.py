"""What a test of workers on a real Kafka stands on: topics, a warehouse, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from sinks.clickhouse.connect import ClickHouseAddress
from stream import topics
from stream.settings import Settings
from tests.support.records import rfc3339, wire
from tests.support.worker import Totals, WorkerProcess, group_offsets, producer_of

PARTITIONS = 3
Events = list[tuple[str, bytes]]


class Site:
    """Topics, warehouse and totals of one test."""

    def __init__(self, bootstrap_servers: str, prefix: str, address: ClickHouseAddress) -> None:
        self.bootstrap_servers, self.prefix, self.address = bootstrap_servers, prefix, address
        self.settings = Settings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix)
        self.events = self.settings.topic("usage.events")
        self.totals = Totals(address)

    def create(self, partitions: int = PARTITIONS) -> None:
        topics.create(self.settings, partitions=partitions)

    def worker(self, **named: Any) -> WorkerProcess:
        return WorkerProcess(self.bootstrap_servers, self.address, prefix=self.prefix, **named)

    def producer(self, **config: Any) -> Producer:
        return producer_of(self.bootstrap_servers, **config)

    def publish(self, producer: Producer, events: Events, **placed: Any) -> None:
        for request_id, value in events:
            producer.produce(self.events, value=value, **({"key": request_id} | placed))
        assert producer.flush(30) == 0

    def counts(self, calls: int) -> bool:
        """Rows kept, calls by hour and calls by day all say the same."""
        return self.totals.counted()[:3] == (calls,) * 3

    def ledger(self) -> tuple[int, ...]:
        return self.totals.one(
            "SELECT toInt64(sum(received)), toInt64(sum(stored)), toInt64(sum(duplicates)), "
            "toInt64(sum(dead_lettered)), toInt64(sum(forwarded)) FROM ingest_ledger FINAL"
        )

    def acknowledged(self, partitions: int) -> int:
        return sum(
            max(0, at)
            for at in group_offsets(self.bootstrap_servers, f"{self.prefix}costream", self.events, partitions)
        )


def now_events(count: int) -> Events:
    occurred_at = rfc3339(datetime.now(UTC))
    ids = [str(uuid4()) for _ in range(count)]
    return [(request_id, wire(request_id, occurred_at=occurred_at)) for request_id in ids]
