"""One look at a system that runs: what waits in Kafka, what is stored, what is wrong. It changes nothing.

Each part is asked for itself, so that one that is away hides nothing of the others. What a worker alone knows is asked
of the one whose pages COSTREAM_HEALTH_BIND and COSTREAM_HEALTH_PORT name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from pydantic_core import to_jsonable_python

from costream.topics import EVENTS
from sinks.clickhouse import migrate
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rule_revisions import RULES
from sinks.clickhouse.stored_alerts import latest_alerts
from sinks.errors import WarehouseError
from stream.audit.kafka import KafkaFacts, kafka_facts
from stream.audit.vanished import vanished_records
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.store import stored_letters
from stream.watch.rules.audit import AuditRule
from stream.watch.unpriced import SCOPE

ALERTS_MAX: Final = 1_000
PAGE_SECONDS_MAX: Final = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A partition of usage.events: ``lag`` is what its group has not committed of what can be delivered, at most."""

    partition: int
    lag: int
    committed: int | None  # None: the group has committed nothing here
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the warehouse has."""

    last_stored: datetime | None  # when the broker took the event that was stored last
    per_second: float  # over the last minute
    events: int
    dead_letters: Mapping[str, int]  # of the last 24 hours, by kind, whatever became of them
    dead_letters_open: Mapping[str, int]  # by kind: neither replayed nor given up
    vanished_records: int  # that nobody has accepted
    price_revision: int | None  # of own prices, in force; None where none was ever published
    price_revision_published_at: datetime | None
    rule_revision: int | None  # likewise, of own rules
    rule_revision_published_at: datetime | None
    bytes_by_table: Mapping[str, int]
    bytes_free: int | None  # on its disk; None where it does not tell


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that stands."""

    rule: str
    scope: str
    level: str
    title: str
    since: datetime


@dataclass(frozen=True, slots=True)
class WorkerPages:
    """What one worker says of itself."""

    url: str
    ready: bool
    faults: tuple[str, ...]
    partitions: tuple[int, ...]
    audited_at: datetime | None  # None: this one does not audit, or has not yet
    audit_differences: Mapping[str, int]  # by check, where it does not hold


@dataclass(frozen=True, slots=True)
class Status:
    """A part that could not be asked is None, and ``faults`` says why."""

    at: datetime
    kafka: str
    topic: str
    group: str
    warehouse: str
    waiting: tuple[Waiting, ...] | None
    stored: Stored | None
    alerts: tuple[Standing, ...] | None
    worker: WorkerPages | None
    faults: tuple[str, ...] = field(default=())

    @property
    def lag(self) -> int | None:
        return None if self.waiting is None else sum(each.lag for each in self.waiting)

    @property
    def audit(self) -> str:
        """holds, differs or unknown. An alert of the audit stands until an audit holds again."""
        if self.worker and self.worker.audited_at:
            return "differs" if self.worker.audit_differences else "holds"
        if self.alerts is None:
            return "unknown"
        return "differs" if any(AuditRule.tells(alert.rule) for alert in self.alerts) else "unknown"

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: times in RFC 3339."""
        return {
            "at": to_jsonable_python(self.at),
            "kafka": {
                "bootstrap_servers": self.kafka,
                "topic": self.topic,
                "group": self.group,
                "lag": self.lag,
                "partitions": to_jsonable_python(self.waiting),
            },
            "warehouse": {"url": self.warehouse} | (to_jsonable_python(self.stored) if self.stored else {}),
            "alerts": to_jsonable_python(self.alerts),
            "audit": self.audit,
            "worker": to_jsonable_python(self.worker),
            "faults": list(self.faults),
        }


def status(settings: Settings, *, now: datetime) -> Status:
    """Ask Kafka, the warehouse and a worker; each takes seconds at most where nobody answers."""
    faults: list[str] = []
    facts = _asked(lambda: kafka_facts(settings), faults)
    reader = Reader(warehouse_address(settings))
    try:
        current = _asked(lambda: _is_current(reader), faults)
        stored = _asked(lambda: _stored(reader, now=now), faults) if current else None
        alerts = _asked(lambda: _standing(reader), faults) if current else None
    finally:
        reader.close()
    worker = _worker(settings)
    if worker is not None:
        faults += worker.faults
    return Status(
        at=now,
        kafka=settings.kafka_bootstrap_servers,
        topic=settings.topic(EVENTS),
        group=settings.consumer_group,
        warehouse=settings.clickhouse_url,
        waiting=None if facts is None else _waiting(facts),
        stored=stored,
        alerts=alerts,
        worker=worker,
        faults=tuple(faults),
    )


def _is_current(reader: Reader) -> bool:
    migrate.require_current(reader.address)
    return True


def _asked(question: Callable[[], T], faults: list[str]) -> T | None:
    try:
        return question()
    except (StreamError, WarehouseError) as error:
        faults.append(str(error))
        return None


def _waiting(facts: KafkaFacts) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(log.partition, max(0, log.end - max(log.begin, log.committed or 0)), log.committed, log.begin, log.end)
        for log in facts.partitions
    )


def _stored(reader: Reader, *, now: datetime) -> Stored:
    since_ms = round(now.timestamp() * 1000)
    last_ms, lately, events = reader.frame(EVENTS_SQL, since=since_ms - 60_000).row(0)
    letters = reader.frame(LETTERS_SQL, since=since_ms - 86_400_000)
    parts = reader.frame(PARTS_SQL)
    free = reader.frame(FREE_SQL)
    prices, rules = PRICES.newest(reader), RULES.newest(reader)
    return Stored(
        last_stored=datetime.fromtimestamp(last_ms / 1000, UTC) if events else None,
        per_second=round(lately / 60, 1),
        events=events,
        dead_letters=dict(letters.iter_rows()),
        dead_letters_open=stored_letters.counts(reader, stored_letters.Which(states=["open"])),
        vanished_records=sum(each.records for each in vanished_records(reader) if each.accepted_reason is None),
        price_revision=prices.number if prices else None,
        price_revision_published_at=prices.published_at if prices else None,
        rule_revision=rules.number if rules else None,
        rule_revision_published_at=rules.published_at if rules else None,
        bytes_by_table=dict(parts.iter_rows()),
        bytes_free=free.item() if free.height else None,
    )


# Copies of a row that are not merged yet are counted twice here: this is a look, `costream audit` is the proof.
EVENTS_SQL: Final = """
  SELECT toUnixTimestamp64Milli(max(received_at)) AS last,
    toInt64(countIf(received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC'))) AS lately,
    toInt64(count()) AS events
  FROM usage_events_rows"""
LETTERS_SQL: Final = """
  SELECT kind, toInt64(count()) AS letters FROM dead_letters
  WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') GROUP BY kind ORDER BY letters DESC"""
PARTS_SQL: Final = """
  SELECT replaceRegexpOne(table, '_rows$', '') AS name, toInt64(sum(bytes_on_disk)) AS bytes FROM system.parts
  WHERE active AND database = currentDatabase() GROUP BY name ORDER BY bytes DESC"""
FREE_SQL: Final = "SELECT toInt64(min(unreserved_space)) AS free FROM system.disks HAVING count() > 0"


def _standing(reader: Reader) -> tuple[Standing, ...]:
    """The most urgent first, and of those the latest; of single models there may be many, so they come last."""
    latest = latest_alerts(reader, standing_only=True, limit=ALERTS_MAX)
    found = sorted(latest, key=lambda each: (each.level, not each.scope.startswith(SCOPE)), reverse=True)
    return tuple(Standing(each.rule, each.scope, each.level.value, each.title, each.window_start) for each in found)


# --- the pages of a worker -------------------------------------------------------------------------------------------


def _worker(settings: Settings) -> WorkerPages | None:
    """None where no worker answers there."""
    url = f"http://{settings.health_bind}:{settings.health_port}"
    try:
        ready = json.loads(_page(f"{url}/readyz"))
        metrics = _page(f"{url}/metrics")
        audited = _metric(metrics, "costream_audit_timestamp_seconds")
        return WorkerPages(
            url=url,
            ready=bool(ready["ready"]),
            faults=tuple(map(str, ready["faults"])),
            partitions=tuple(ready["partitions"]),
            audited_at=datetime.fromtimestamp(audited, UTC) if audited else None,
            audit_differences={check: int(float(places)) for check, places in DIFFERENCES.findall(metrics)},
        )
    except (URLError, OSError, ValueError, KeyError, TypeError):  # nobody, or somebody else
        return None


def _page(url: str) -> str:
    try:
        with urlopen(url, timeout=PAGE_SECONDS_MAX) as answer:  # noqa: S310 - http, by the settings
            return str(answer.read().decode())
    except HTTPError as error:  # not ready is 503, and says why
        with error:
            return error.read().decode()


DIFFERENCES: Final = re.compile(r'^costream_audit_differences\{check="([^"]+)"\} ([1-9]\S*)$', re.MULTILINE)


def _metric(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0
