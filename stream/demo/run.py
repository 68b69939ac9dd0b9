"""The demo: the main job on real input, in one process and with nothing to set up.

An embedded broker and engine, the real client and the real worker, on what `plan` has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from confluent_kafka import Producer
from faust.contrib.asgi import faust_app_running

from costream import UsageProducer
from costream.topics import EVENTS
from sinks.clickhouse import migrate, retention
from sinks.clickhouse.reader import Reader
from stream.app import Worker
from stream.audit import AuditReport, audit
from stream.demo.plan import Plan, plan
from stream.runtime import topics
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.up.broker import EmbeddedBroker

PARTITIONS: Final = 8  # the embedded broker keeps 5 MB a partition


class DataDirInUse(StreamError):
    """The folder has a warehouse already; mixing two runs would prove nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds an earlier run: name another --data-dir or remove it; nothing was changed")


# --- running it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen at a moment while the demo runs."""

    handled: int  # stored, recognised as a repeat, or dead-lettered
    records: int
    hours: pl.DataFrame  # hour, cost_usd
    alerts: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo ends with; ``holds`` decides the exit status."""

    plan: Plan
    seconds: float
    totals: dict[str, Any]
    by_feature: pl.DataFrame
    by_model: pl.DataFrame
    unpriced: pl.DataFrame
    dead_letters: pl.DataFrame
    alerts: pl.DataFrame
    audit: AuditReport

    @property
    def holds(self) -> bool:
        return self.audit.holds and self.totals["calls"] == self.plan.counted


async def run(
    *, folder: Path, span: timedelta, now: datetime, show: Callable[[Sight], None], wait_max: timedelta
) -> Outcome:
    """Publish the plan, let the worker work it off, and look at what the warehouse then says."""
    planned = plan(span=span, now=now, run=now.isoformat())
    _write_down(planned, folder)
    started = asyncio.get_running_loop().time()
    async with AsyncExitStack() as running:
        broker = running.enter_context(EmbeddedBroker(TOPICS))
        settings = _settings(broker, folder)
        migrate.up(warehouse_address(settings))
        retention.apply(warehouse_address(settings), settings.retention, now=now)
        worker = Worker(settings)
        running.push_async_callback(worker.close)
        await running.enter_async_context(faust_app_running(worker.app))
        reader = Reader(warehouse_address(settings))
        publishing = asyncio.create_task(
            asyncio.to_thread(publish, planned, broker.bootstrap_servers, folder / "spool")
        )
        async with asyncio.timeout(wait_max.total_seconds()):
            await _until_handled(planned, reader, publishing, show)
        broker.assert_complete(*TOPICS)
        outcome = await asyncio.to_thread(_look, planned, reader)
        return replace(outcome, seconds=round(asyncio.get_running_loop().time() - started, 1))


TOPICS: Final = {spec.name: PARTITIONS if spec.partitions_may_grow else spec.partitions for spec in topics.TOPICS}


def _settings(broker: EmbeddedBroker, folder: Path) -> Settings:
    """Of the environment nothing: the demo is the same everywhere."""
    return Settings.model_construct(
        **{name: field.default for name, field in Settings.model_fields.items()}
        | {
            "kafka_bootstrap_servers": broker.bootstrap_servers,
            "clickhouse_url": f"chdb://{(folder / 'clickhouse').resolve()}",
            "health_port": 0,
        }
    )


def _write_down(planned: Plan, folder: Path) -> None:
    """``published.jsonl`` has every event as published, so that anyone can check the totals without us."""
    if (folder / "clickhouse").exists():
        raise DataDirInUse(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "published.jsonl").write_bytes(b"".join(event.to_json() + b"\n" for event in planned.events))
    (folder / "published-malformed.txt").write_bytes(b"".join(value + b"\n" for value in planned.malformed))


async def _until_handled(
    planned: Plan, reader: Reader, publishing: asyncio.Task[None], show: Callable[[Sight], None]
) -> None:
    """Until every record is accounted for and the spike is on the alert topic."""
    while True:
        sight = await asyncio.to_thread(_see, planned, reader)
        show(sight)
        if publishing.done() and sight.handled >= sight.records and sight.alerts.height:
            return await publishing
        await asyncio.sleep(0.2)


def publish(planned: Plan, bootstrap_servers: str, spool: Path) -> None:
    """As services would, and then what no client of ours would send."""
    with UsageProducer(
        bootstrap_servers=bootstrap_servers, spool_dir=spool, queue_events_max=len(planned.events)
    ) as client:
        for event in planned.events:
            client.record(event)
        client.flush(60)
    other = Producer({"bootstrap.servers": bootstrap_servers})
    for value in planned.malformed:
        other.produce(EVENTS, value=value, key=b"someone else's client")
    other.flush(10)


# --- looking at it ---------------------------------------------------------------------------------------------------


def _see(planned: Plan, reader: Reader) -> Sight:
    return Sight(
        handled=reader.frame("SELECT toInt64(sum(received)) AS n FROM ingest_ledger FINAL").item() or 0,
        records=planned.records,
        hours=reader.frame("SELECT hour, sum(cost_usd) AS cost_usd FROM hourly GROUP BY hour ORDER BY hour"),
        alerts=reader.frame(ALERTS_SQL),
    )


def _look(planned: Plan, reader: Reader) -> Outcome:
    totals = reader.frame(TOTALS_SQL).row(0, named=True)
    return Outcome(
        plan=planned,
        seconds=0.0,
        totals=totals,
        by_feature=reader.frame(BY_SQL.format(column="feature")),
        by_model=reader.frame(BY_SQL.format(column="model")),
        unpriced=reader.frame(UNPRICED_SQL),
        dead_letters=reader.frame(
            "SELECT kind, count() AS records FROM dead_letters FINAL GROUP BY kind ORDER BY kind"
        ),
        alerts=reader.frame(ALERTS_SQL),
        audit=audit(reader),
    )


TOTALS_SQL: Final = """
  SELECT sum(h.calls) AS calls, sum(h.cost_usd) AS cost_usd, sum(h.unpriced_calls) AS unpriced_calls,
    sum(h.duplicates) AS duplicates, sum(h.input_tokens) AS input_tokens, sum(h.output_tokens) AS output_tokens
  FROM hourly AS h"""
BY_SQL: Final = """
  SELECT {column}, sum(h.calls) AS calls, sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
    sum(h.unpriced_calls) AS unpriced_calls
  FROM hourly AS h GROUP BY {column} ORDER BY cost_usd DESC NULLS LAST, {column}"""
UNPRICED_SQL: Final = """
  SELECT provider, model, cost_reason AS reason, count() AS calls
  FROM usage_events FINAL WHERE cost_status = 'unpriced' GROUP BY provider, model, reason ORDER BY calls DESC"""
ALERTS_SQL: Final = """
  SELECT alert_id, revision, status, level, rule, scope, title, message, window_start
  FROM alerts FINAL ORDER BY timestamp, alert_id, revision"""
