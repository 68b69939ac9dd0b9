"""What a worker needs before it takes the first record, in the order in which it looks. Whatever is missing is said and
waited for: a topic is created, an ACL granted, a schema migrated, and the worker goes on by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sinks.clickhouse import migrate, retention
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.embedded import parts
from stream.runtime import topics
from stream.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Precondition:
    """``check`` blocks, and raises while it does not hold."""

    name: str
    where: str
    check: Callable[[], None]


def preconditions(settings: Settings, address: ClickHouseAddress) -> Iterator[Precondition]:
    """The first that does not hold is what everything waits for; the later ones would say nothing new."""
    kafka, admin = settings.kafka_bootstrap_servers, topics.Admin(settings)
    yield Precondition("waiting for Kafka and its topics", kafka, admin.require_topics)
    yield Precondition("waiting for the settings of topics", kafka, admin.require_settings)
    yield Precondition("waiting for the consumer group", kafka, admin.require_group)
    yield Precondition("waiting for the warehouse", address.url, lambda: migrate.require_current(address))
    keeps = settings.retention
    yield Precondition("comparing the retention", address.url, lambda: retention.require(address, keeps))
    yield Precondition("looking for parts that are set aside", address.url, lambda: parts.require_all(address))
