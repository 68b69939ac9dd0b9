"""The demo: the main job on real input, in one process and with nothing to set up.

An embedded broker and engine, the real client and the real worker. It publishes 28,185 real requests of a production
LLM service (the folder `data`), with what reality adds: repeats, conflicts, malformed records, an unknown model, late
events and a spike in the last whole hour.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import polars as pl
from confluent_kafka import Producer
from faust.contrib.asgi import faust_app_running

from costream import UsageEvent, UsageProducer
from costream.topics import EVENTS
from sinks.clickhouse import migrate, retention
from sinks.clickhouse.reader import Reader
from stream.app import Worker
from stream.audit import AuditReport, audit
from stream.demo.trace import Request, as_events, read_requests, stretched
from stream.runtime import topics
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.up.broker import EmbeddedBroker

HOUR: Final = timedelta(hours=1)
SPAN_MIN: Final = timedelta(hours=26)  # a spike is judged against 24 whole hours at least
PARTITIONS: Final = 8  # the embedded broker keeps 5 MB a partition
SEED: Final = 20231116  # of what is drawn: which events come late and which are repeated

# The rule by which trace rows get a model: row n of a feature takes entry n modulo the length.
CHAT_MODELS: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("openai", "gpt-4o"),
)
CODE_MODELS: Final = (
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-4o"),
    ("google", "gemini-2.5-pro"),
)
SPIKE_MODELS: Final = (("openai", "gpt-4-turbo"),)
UNKNOWN_MODELS: Final = (("openai", "aurora-9-preview"),)  # nobody sells it
SPIKE_REQUESTS: Final = 1_200  # seven usual hours of calls in one, on a dearer model
UNKNOWN_REQUESTS: Final = 150
DUPLICATES_SHARE: Final = 0.02
LATE_SHARE: Final = 0.01
CONFLICTS: Final = 5
USERS: Final = 200

MALFORMED: Final = (
    b"not json at all",
    b'{"request_id": "demo-truncated", "occurred_at": "20',
    b'{"request_id": "demo-naive", "occurred_at": "2026-01-01T00:00:00", "provider": "openai", "model": "gpt-4o"}',
    b'{"request_id": "demo-typo", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai", "modle": "gpt-4o"}',
    b'{"request_id": "demo-negative", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai", "model": "gpt-4o",'
    b' "input_tokens": -5}',
    b'{"request_id": "demo-float-money", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai",'
    b' "model": "gpt-4o", "reported_cost_usd": 0.1}',
)


class SpanTooShort(StreamError):
    """The demo's span leaves no history for its spike."""

    def __init__(self, span: timedelta) -> None:
        super().__init__(f"--span {span} is too short: a spike needs {SPAN_MIN} to stand out from; nothing was started")


class DataDirInUse(StreamError):
    """The folder has a warehouse already; mixing two runs would prove nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds an earlier run: name another --data-dir or remove it; nothing was changed")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is published, in this order."""

    events: tuple[UsageEvent, ...]  # repeats and conflicts included
    malformed: tuple[bytes, ...]
    counted: int  # distinct ids: what must be stored
    duplicates: int
    conflicts: int

    @property
    def records(self) -> int:
        return len(self.events) + len(self.malformed)


def plan(*, span: timedelta, now: datetime, run: str) -> Plan:
    """The same for the same arguments. Real requests over the span, then what reality adds to them."""
    if span < SPAN_MIN:
        raise SpanTooShort(span)
    dice = random.Random(SEED)  # noqa: S311 - a demo's dice, not a secret's
    events = _real_and_odd(span=span, until=now - timedelta(seconds=5), run=run)
    late = set(dice.sample(range(len(events)), int(len(events) * LATE_SHARE)))
    on_time = [event for number, event in enumerate(events) if number not in late]
    repeats = dice.sample(events, int(len(events) * DUPLICATES_SHARE))
    conflicting = [_conflicting(event) for event in dice.sample(events, CONFLICTS)]
    halfway = len(repeats) // 2
    published = [*_interleaved(on_time, repeats[:halfway]), *(events[number] for number in late), *repeats[halfway:]]
    return Plan(
        events=(*published, *conflicting),
        malformed=MALFORMED,
        counted=len(events),
        duplicates=len(repeats),
        conflicts=len(conflicting),
    )


def _real_and_odd(*, span: timedelta, until: datetime, run: str) -> list[UsageEvent]:
    """Every event once, oldest first."""
    chat, code = (_trace(name) for name in ("conv", "code"))
    last_hour = until.replace(minute=0, second=0, microsecond=0) - HOUR
    spike = stretched(
        chat[:SPIKE_REQUESTS], span=HOUR - timedelta(minutes=2), until=last_hour + HOUR - timedelta(minutes=1)
    )
    unknown = stretched(chat[-UNKNOWN_REQUESTS:], span=span, until=until)
    shared = {"environment": "prod", "team": "support"}
    parts: list[Iterable[UsageEvent]] = [
        _events(stretched(chat, span=span, until=until), f"{run}:conv", CHAT_MODELS, feature="chatbot", **shared),
        _events(
            stretched(code, span=span, until=until),
            f"{run}:code",
            CODE_MODELS,
            feature="code-assistant",
            environment="prod",
            team="engineering",
        ),
        _events(spike, f"{run}:spike", SPIKE_MODELS, feature="chatbot", **shared),
        _events(unknown, f"{run}:unknown", UNKNOWN_MODELS, feature="chatbot", **shared),
    ]
    return sorted((event for part in parts for event in part), key=lambda event: event.occurred_at)


def _events(
    requests: Sequence[Request], run: str, models: Sequence[tuple[str, str]], **fields: Any
) -> Iterable[UsageEvent]:
    for number, event in enumerate(as_events(requests, run=run, models=models, **fields)):
        yield event.model_copy(update={"user_id": f"user-{number * 7919 % USERS:03d}"})


def _trace(name: str) -> list[Request]:
    with as_file(files("stream.demo") / "data" / f"azure_llm_2023_{name}.csv.gz") as path:
        return read_requests(path)


def _conflicting(event: UsageEvent) -> UsageEvent:
    return event.model_copy(update={"output_tokens": (event.output_tokens or 0) + 1_000})


def _interleaved(events: Sequence[UsageEvent], repeats: Sequence[UsageEvent]) -> Iterable[UsageEvent]:
    """Each repeat some hundred events after its first, as a retrying client sends it."""
    wanted = {event.request_id: event for event in repeats}
    waiting: list[UsageEvent] = []
    for number, event in enumerate(events):
        yield event
        if repeat := wanted.pop(event.request_id, None):
            waiting.append(repeat)
        if number % 300 == 0:
            yield from waiting
            waiting.clear()
    yield from waiting
    yield from wanted.values()  # their first comes late


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
        handled=reader.frame("SELECT toInt64(sum(received)) AS n FROM ingest_ledger").item() or 0,
        records=planned.records,
        hours=reader.frame("SELECT hour, sum(cost_usd) AS cost_usd FROM usage_hourly GROUP BY hour ORDER BY hour"),
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
        dead_letters=reader.frame("SELECT kind, count() AS records FROM dead_letters GROUP BY kind ORDER BY kind"),
        alerts=reader.frame(ALERTS_SQL),
        audit=audit(reader),
    )


TOTALS_SQL: Final = """
  SELECT sum(h.calls) AS calls, sum(h.cost_usd) AS cost_usd, sum(h.unpriced_calls) AS unpriced_calls,
    sum(h.duplicates) AS duplicates, sum(h.input_tokens) AS input_tokens, sum(h.output_tokens) AS output_tokens
  FROM usage_hourly AS h"""
BY_SQL: Final = """
  SELECT {column}, sum(h.calls) AS calls, sum(h.cost_usd) AS cost_usd,
    sum(h.unpriced_calls) AS unpriced_calls
  FROM usage_hourly AS h GROUP BY {column} ORDER BY cost_usd DESC NULLS LAST, {column}"""
UNPRICED_SQL: Final = """
  SELECT provider, model, cost_reason AS reason, count() AS calls
  FROM usage_events WHERE cost_status = 'unpriced' GROUP BY provider, model, reason ORDER BY calls DESC"""
ALERTS_SQL: Final = """
  SELECT alert_id, revision, status, level, rule, scope, title, message, window_start
  FROM alerts ORDER BY timestamp, alert_id, revision"""
