"""Alerts about the pipeline itself, on ``usage.alerts`` like those about money: the shell around watch/pipeline.py.

Whoever holds ``usage.rollups`` tells them. What has been told is read back from the topic alone, and a row for the
warehouse waits until it can be written: so an outage of the warehouse is told while it lasts, also by a worker that
starts in the middle of it. A stall of Kafka cannot be told on a topic of Kafka: the log and ``costream_stalled`` tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import polars as pl
import structlog

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import TABLE, alert_rows
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError
from stream.audit import AuditReport
from stream.audit.schedule import REACH
from stream.audit.vanished import vanished_records
from stream.runtime.errors import PublishFailed
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.watch.judge import latest
from stream.watch.pipeline import (
    AuditRule,
    FloodRule,
    Gone,
    Rule,
    StallRule,
    Storing,
    Tally,
    VanishedRule,
    revised,
    within,
)
from stream.watch.turn import OutOfTurn

log = structlog.get_logger(__name__)

REMEMBERED: Final = timedelta(days=7)  # an alert that ended longer ago is not told of again
STORE_AGAIN: Final = timedelta(seconds=15)  # while the warehouse is away

Publish = Callable[[Sequence[Alert]], None]
Read = Callable[[datetime], Any]  # what a rule reads; None where it cannot be told now


def pipeline_rules(
    settings: Settings, *, reader: Reader, stalls: Stalls, report: Callable[[], AuditReport | None]
) -> dict[Rule[Any], Read]:
    """Each rule with what it reads."""
    if not settings.pipeline_alerts_enabled:
        return {}
    flood = FloodRule(
        records_max=settings.flood_records_max, share_max=settings.flood_share_max, window=settings.flood_window
    )
    return {
        AuditRule(): lambda _: report(),
        StallRule(settings.stall_max): lambda _: Storing(stalls.longest, stalls.got_through),
        VanishedRule(): lambda _: gone_records(reader),
        flood: _Tallies(reader, flood.window),
    }


class _Tallies:
    """What the ledger has counted, looked at again and again: exact, whatever becomes of the letters themselves."""

    def __init__(self, reader: Reader, window: timedelta) -> None:
        self._reader, self._window = reader, window
        self._kept: list[Tally] = []

    def __call__(self, now: datetime) -> Sequence[Tally]:
        received, dead_lettered = self._reader.frame(TALLY).row(0)
        self._kept = within([*self._kept, Tally(now, received, dead_lettered)], now, self._window)
        return self._kept


TALLY: Final = """
SELECT toInt64(sum(l.received)) AS received, toInt64(sum(l.dead_lettered)) AS dead_lettered
FROM ingest_ledger_rows AS l FINAL"""


def gone_records(reader: Reader) -> list[Gone]:
    """What has vanished and nobody has accepted yet."""
    return [
        Gone(each.partition, each.offset_first, each.offset_last, each.noticed_at)
        for each in vanished_records(reader)
        if each.accepted_reason is None
    ]


class Rows(Protocol):
    """What is needed of ``sinks.clickhouse.writer.Writer``."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


class Keeper:
    """``restore`` begins a turn; ``tick`` judges the rules that are due. One thread calls them."""

    def __init__(
        self,
        rules: Mapping[Rule[Any], Read],
        *,
        writer: Rows,
        publish: Publish,
        clock: Callable[[], datetime],
    ) -> None:
        """``publish`` returns once Kafka has acknowledged every alert it was given, or raises."""
        self._rules = dict(rules)
        self._writer, self._publish, self._clock = writer, publish, clock
        self._names = {rule.name for rule in self._rules}
        self.restore(())

    def restore(self, published: Iterable[Alert]) -> None:
        """Go on from what the topic has. What the worker before did not get to store is stored again: the same rows."""
        now = self._clock()
        mine = [alert for alert in published if alert.rule in self._names]
        recent = [alert for alert in mine if alert.timestamp >= now - REMEMBERED]
        self._known: dict[str, Alert] = {}
        self._remember([alert for alert in mine if alert.standing or alert in recent])
        self._unpublished: list[Alert] = []
        self._unstored = recent
        self._store_at = now
        self._looked: dict[str, datetime] = {}
        self._blind: set[str] = set()

    def standing(self, rule: str) -> Alert | None:
        return next((alert for alert in self._of(rule).values() if alert.standing), None)

    def suspect_since(self) -> datetime | None:
        """From where on the audit last found something that is not known to be mended."""
        alert = self.standing(AuditRule.name)
        return alert.window_start - REACH if alert else None

    def tick(self) -> Sequence[Alert]:
        """Look, tell what is new, then store it. Returns what was told. No failure ends the loop."""
        now = self._clock()
        try:
            if not self._unpublished:
                looked = [self._look(rule, read, now) for rule, read in self._rules.items()]
                self._unpublished = [alert for alert in looked if alert is not None]
            told = self._tell()
        except OutOfTurn:
            self._unpublished = []  # the next holder judges anew
            return []
        except PublishFailed as error:
            log.error("alerts about the pipeline not published", reason=str(error), next="tried again; none is lost")
            return []
        self._store(now)
        return told

    def _look(self, rule: Rule[Any], read: Read, now: datetime) -> Alert | None:
        last = self._looked.get(rule.name)
        if last is not None and now - last < rule.every:
            return None
        self._looked[rule.name] = now
        reading = self._reading(rule, read, now)
        if reading is None:
            return None
        return revised(rule, rule.judge(reading, now), self._of(rule.name), now)

    def _reading(self, rule: Rule[Any], read: Read, now: datetime) -> Any:
        """What the rule reads; without the warehouse it is not known, and said once."""
        try:
            reading = read(now)
        except WarehouseError as error:
            if rule.name not in self._blind:
                log.warning("rule cannot look", rule=rule.name, reason=str(error), next="its alert stays as it is")
            self._blind.add(rule.name)
            return None
        self._blind.discard(rule.name)
        return reading

    def _of(self, rule: str) -> dict[str, Alert]:
        known = self._known
        return {alert_id: alert for alert_id, alert in known.items() if alert.rule == rule}

    def _remember(self, alerts: Iterable[Alert]) -> None:
        self._known = latest([*self._known.values(), *alerts])  # a new one: another thread may be reading the old

    def _tell(self) -> list[Alert]:
        """Never stored before it is told: after a crash in between, nobody would ever hear of it."""
        told = self._unpublished
        if told:
            self._publish(told)
            self._remember(told)
            self._unpublished, self._unstored = [], self._unstored + told
            self._store_at = self._clock()
        return told

    def _store(self, now: datetime) -> None:
        if not self._unstored or now < self._store_at:
            return
        try:
            self._writer.insert(TABLE, alert_rows(self._unstored))
        except WarehouseError as error:
            self._store_at = now + STORE_AGAIN
            log.info("alerts about the pipeline not stored", reason=str(error), next=f"tried again at {self._store_at}")
        else:
            self._unstored = []
