"""What a test of workers on a real Kafka stands on: topics, a warehouse, and what they say."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from stream.audit import AuditReport, audit, kafka_facts
from stream.runtime import topics
from stream.runtime.settings import Settings
from tests.support.records import rfc3339, wire
from tests.support.worker import Totals, WorkerProcess, group_offsets, producer_of

PARTITIONS = 3
Events = list[tuple[str, bytes]]


class Site:
    """Topics, warehouse and totals of one test."""

    def __init__(self, bootstrap_servers: str, prefix: str, address: ClickHouseAddress) -> None:
        self.bootstrap_servers, self.prefix, self.address = bootstrap_servers, prefix, address
        self.settings = Settings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix)
        self.events, self.group = self.settings.topic("usage.events"), f"{prefix}costream"
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
            "toInt64(sum(dead_lettered)), toInt64(sum(forwarded)) FROM ingest_ledger_rows FINAL"
        )

    def acknowledged(self, partitions: int) -> int:
        return sum(max(0, at) for at in group_offsets(self.bootstrap_servers, self.group, self.events, partitions))

    def delete_records(self, partition: int, before: int) -> None:
        """Delete what stands before an offset of usage.events."""
        place = TopicPartition(self.events, partition, before)
        admin = self._admin()
        admin.delete_records([place])[place].result(30)

    def configure(self, topic: str, **config: object) -> None:
        """Set settings of a topic, with underscores for dots."""
        given = [
            ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.settings.topic(topic), incremental_configs=given)
        admin = self._admin()
        admin.incremental_alter_configs([resource])[resource].result(30)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers})

    def audited(self) -> AuditReport:
        """What `costream audit` finds now."""
        settings = self.settings.model_copy(update={"consumer_group": self.group})
        with closing(Reader(self.address)) as reader:
            return audit(reader, kafka=kafka_facts(settings), pause=lambda: None)


def now_events(count: int) -> Events:
    occurred_at = rfc3339(datetime.now(UTC))
    ids = [str(uuid4()) for _ in range(count)]
    return [(request_id, wire(request_id, occurred_at=occurred_at)) for request_id in ids]


def broken(report: AuditReport) -> dict[str, Any]:
    """The checks that do not hold, with what they found."""
    return {check.name: check.findings for check in report.checks if not check.holds}


def lags(worker: WorkerProcess) -> dict[int, int]:
    """The lag that its metrics tell, by partition."""
    return {int(partition): int(float(lag)) for partition, lag in LAG.findall(worker.page("/metrics")[1])}


def ready(worker: WorkerProcess) -> Any:
    return json.loads(worker.page("/readyz")[1] or "{}")


def metric(worker: WorkerProcess, name: str) -> int:
    """A metric without labels; 0 while nobody answers."""
    found = re.search(rf"^{name} (\S+)$", worker.page("/metrics")[1], re.MULTILINE)
    return int(float(found[1])) if found else 0


LAG: Final = re.compile(r'^costream_lag_records\{partition="(\d+)"\} (\S+)$', re.MULTILINE)
