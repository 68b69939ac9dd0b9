"""Alerts about the pipeline itself, on ``usage.alerts`` like those about money: the shell around the rules.

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
from sinks.errors import WarehouseError
from stream.runtime.errors import PublishFailed
from stream.watch.judge import latest
from stream.watch.rules.rule import Past, Rule, news_of
from stream.watch.turn import OutOfTurn

log = structlog.get_logger(__name__)

REMEMBERED: Final = timedelta(days=7)  # an alert that ended longer ago is not told of again
STORE_AGAIN: Final = timedelta(seconds=15)  # while the warehouse is away

Publish = Callable[[Sequence[Alert]], None]


class Rows(Protocol):
    """What is needed of ``sinks.clickhouse.writer.Writer``."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


class Keeper:
    """``restore`` begins a turn; ``tick`` judges the rules that are due. One thread calls them."""

    def __init__(
        self,
        rules: Sequence[Rule[Any]],
        *,
        writer: Rows,
        publish: Publish,
        clock: Callable[[], datetime],
    ) -> None:
        """``publish`` returns once Kafka has acknowledged every alert it was given, or raises."""
        self._rules = list(rules)
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

    def tick(self) -> Sequence[Alert]:
        """Look, tell what is new, then store it. Returns what was told. No failure ends the loop."""
        now = self._clock()
        try:
            if not self._unpublished:
                self._unpublished = [alert for rule in self._rules for alert in self._look(rule, now)]
            told = self._tell()
        except OutOfTurn:
            self._unpublished = []  # the next holder judges anew
            return []
        except PublishFailed as error:
            log.error("alerts about the pipeline not published", reason=str(error), next="tried again; none is lost")
            return []
        self._store(now)
        return told

    def _look(self, rule: Rule[Any], now: datetime) -> list[Alert]:
        past = Past(self._looked.get(rule.name))
        if not rule.is_due(now, past):
            return []
        self._looked[rule.name] = now
        known = self._of(rule.name)
        return news_of(rule, self._reading(rule, now, past, known), known, now)

    def _reading(self, rule: Rule[Any], now: datetime, past: Past, known: Mapping[str, Alert]) -> Any:
        """What the rule reads; without the warehouse it is not known, and said once."""
        try:
            reading = rule.read(now, past, list(known.values()))
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
