"""The demo's script: publish the plan into a stack, wait until all of it is stored, and look at what is there.

``run`` plays it on a stack of its own, which ends with it; ``play_into`` on one that stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from confluent_kafka import Producer

from costream import UsageProducer
from costream.topics import EVENTS
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError
from stream.audit import AuditReport, audit
from stream.demo.plan import Plan, plan, require_history
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.up.stack import Stack, Tell, Wanted, free_port
from stream.watch.scopes import SYSTEM

BEGUN: Final = "demo.json"  # what a later play needs to make the same plan again


class DataDirInUse(StreamError):
    """The folder has a warehouse already; mixing two runs would prove nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} holds an earlier run: name another --data-dir or remove it; nothing was published or changed"
        )


class DemoStuck(StreamError):
    """The records were published, and the worker has not handled them in time."""

    def __init__(self, *, handled: int, records: int, waited: timedelta, logs: Path) -> None:
        super().__init__(
            f"{handled:,} of {records:,} records were handled within {waited}, and the alert was waited for as well; "
            f"the demo has ended. With --data-dir the logs of its parts are kept, in DIR/{logs.name}"
        )


class NoPlan(StreamError):
    """What an earlier play has written down cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} does not say when the demo was begun here ({reason}); nothing was published. Remove it to play "
            "the demo anew: its requests are then new ones and count beside those of the earlier play"
        )


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
    seconds: float  # from the first record published until the last is stored and the alert is out
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


def run(
    *,
    folder: Path,
    span: timedelta,
    now: datetime,
    show: Callable[[Sight], None],
    wait_max: timedelta,
    page: bool = False,
    at_end: Callable[[Outcome, Stack], None] = lambda _outcome, _stack: None,
) -> Outcome:
    """The script on a stack of its own: ports that are free, and of the environment no setting. With a ``page`` if
    that is wanted; the stack runs until ``at_end`` has returned."""
    require_history(span)
    if (folder / "clickhouse").exists():
        raise DataDirInUse(folder)
    others = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    with Stack(_alone(folder, page=page), settings=_defaults(), environment=others, tell=_say_nothing) as stack:
        planned = _begun(folder, _Begun(now, span))  # meanwhile the worker starts
        with closing(Reader(warehouse_address(stack.settings))) as reader:
            started = time.monotonic()
            with _publishing(planned, stack) as published:

                def is_worked_off() -> bool:
                    sight = _see(planned, reader)
                    show(sight)
                    if time.monotonic() - started > wait_max.total_seconds():
                        raise DemoStuck(
                            handled=sight.handled, records=sight.records, waited=wait_max, logs=folder / "logs"
                        )
                    spiked = (sight.alerts["scope"] == SYSTEM).any()
                    return published.done() and sight.handled >= sight.records and spiked

                stack.watch(until=is_worked_off)
                published.result()
            outcome = _look(planned, reader, seconds=round(time.monotonic() - started, 1))
        at_end(outcome, stack)
        return outcome


def _alone(folder: Path, *, page: bool) -> Wanted:
    """The embedded broker: the demo needs no Java, and what it publishes fits."""
    return Wanted(
        folder=folder.resolve(),
        broker="embedded",
        clickhouse_port=free_port(),
        health_port=0,
        page_port=free_port() if page else None,
    )


def _defaults() -> Settings:
    """Of the environment nothing: the demo is the same everywhere."""
    return Settings.model_construct(**{name: field.default for name, field in Settings.model_fields.items()})


def _say_nothing(_: str) -> None:
    """The parts tell their own logs."""


def play_into(
    stack: Stack,
    *,
    span: timedelta,
    now: datetime,
    broken_off: Callable[[], bool],
    tell: Tell,
    wait_max: timedelta,
) -> None:
    """The script on a stack that stays, until it is stored or ``broken_off`` holds. A folder has one plan, whose ids do
    not change, and what of it is stored is not published again: played a second time it counts nothing twice."""
    begun = _begun_before(stack.wanted.folder) or _Begun(now, span)
    if now - begun.at > stack.settings.retention - begun.span:
        tell(
            f"demo         it was played here on {begun.at:%Y-%m-%d}, and its rows expire by now; nothing was published"
        )
        return
    planned = _begun(stack.wanted.folder, begun)
    with closing(Reader(warehouse_address(stack.settings))) as reader:
        left = planned.without(_stored(planned, reader))
        if not left.counted:
            tell(
                f"demo         all of its {planned.counted:,} requests are stored already; nothing was published again"
            )
            return
        if before := planned.counted - left.counted:
            tell(f"demo         {before:,} of its requests are stored already; only the others are published")
        give_up_at = time.monotonic() + wait_max.total_seconds()

        def is_over() -> bool:
            if broken_off() or time.monotonic() > give_up_at:
                return True
            return published.done() and not _left(planned, reader)

        with _publishing(left, stack) as published:
            tell(f"demo         publishing {left.records:,} records, of {left.counted:,} requests")
            stack.watch(until=is_over)
            published.result()
            if missing := _left(planned, reader):
                tell(f"demo         {missing:,} requests are not stored yet; `costream status` shows what waits")
            else:
                tell(f"demo         all of its {planned.counted:,} requests are stored")


@contextmanager
def _publishing(planned: Plan, stack: Stack) -> Iterator[Future[None]]:
    """In a thread, so that the stack is watched meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(_publish, planned, stack.settings, stack.wanted.folder / "spool")


def _publish(planned: Plan, settings: Settings, spool: Path) -> None:
    """As services would, and then what no client of ours would send."""
    topic = settings.topic(EVENTS)
    with UsageProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        topic=topic,
        spool_dir=spool,
        queue_events_max=max(1, len(planned.events)),
        enabled=True,
    ) as client:
        for event in planned.events:
            client.record(event)
        client.flush(60)
    other = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for value in planned.malformed:
        other.produce(topic, value=value, key=b"someone else's client")
    other.flush(10)


# --- what was begun in a folder --------------------------------------------------------------------------------------


class _Begun(msgspec.Struct, frozen=True):
    """What a plan is made of."""

    at: datetime
    span: timedelta


def _begun(folder: Path, begun: _Begun) -> Plan:
    """The plan, written down before any of it is published. ``published.jsonl`` has every event, so that anyone can
    check the totals without us."""
    planned = plan(span=begun.span, now=begun.at, run=begun.at.isoformat())
    (folder / "published.jsonl").write_bytes(b"".join(event.to_json() + b"\n" for event in planned.events))
    (folder / "published-malformed.txt").write_bytes(b"".join(value + b"\n" for value in planned.malformed))
    (folder / BEGUN).write_bytes(msgspec.json.encode(begun))
    return planned


def _begun_before(folder: Path) -> _Begun | None:
    path = folder / BEGUN
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Begun)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise NoPlan(path, str(error)) from error


def _stored(planned: Plan, reader: Reader) -> set[str]:
    """Which of its requests the warehouse has."""
    ids = sorted({event.request_id for event in planned.events})
    return set(reader.frame(STORED_SQL, ids=ids)["request_id"])


def _left(planned: Plan, reader: Reader) -> int:
    """How many of its requests are not stored yet. The engine may just be started again: then none is known to be."""
    try:
        return planned.counted - len(_stored(planned, reader))
    except WarehouseError:
        return planned.counted


# --- looking at it ---------------------------------------------------------------------------------------------------


def _see(planned: Plan, reader: Reader) -> Sight:
    return Sight(
        handled=reader.frame("SELECT toInt64(sum(received)) AS n FROM ingest_ledger").item() or 0,
        records=planned.records,
        hours=reader.frame("SELECT hour, sum(cost_usd) AS cost_usd FROM usage_hourly GROUP BY hour ORDER BY hour"),
        alerts=reader.frame(ALERTS_SQL),
    )


def _look(planned: Plan, reader: Reader, *, seconds: float) -> Outcome:
    totals = reader.frame(TOTALS_SQL).row(0, named=True)
    return Outcome(
        plan=planned,
        seconds=seconds,
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
  SELECT provider, model, cost_detail AS reason, count() AS calls
  FROM usage_events WHERE cost_status = 'unpriced' GROUP BY provider, model, reason ORDER BY calls DESC"""
ALERTS_SQL: Final = """
  SELECT alert_id, revision, status, level, rule, scope, title, message, window_start
  FROM alerts ORDER BY timestamp, alert_id, revision"""

STORED_SQL: Final = "SELECT DISTINCT request_id FROM usage_events WHERE request_id IN {ids:Array(String)}"
