"""The watch: hours that changed → what the rules about money say → ``usage.alerts`` → table ``alerts``. The shell.

``usage.rollups`` only says which hours changed; what a rule judges by it reads from the warehouse.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import polars as pl
import structlog

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import TABLE, alert_rows
from sinks.errors import WarehouseUnavailable
from stream.runtime.errors import PublishFailed
from stream.watch.judge import latest
from stream.watch.queries import RESTORED, Reader, stored_alerts
from stream.watch.rules.hourly import RETRY_WAIT
from stream.watch.rules.rule import Past, Rule, news_of
from stream.watch.series import hour_of
from stream.watch.turn import OutOfTurn

log = structlog.get_logger(__name__)


class Inserts(Protocol):
    """What the watch needs of ``sinks.clickhouse.writer.Writer``."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


Publish = Callable[[Sequence[Alert]], None]


class Watcher:
    """One worker watches: ``usage.rollups`` has one partition. Methods block; the app runs them in a thread.

    ``notice`` may be called while ``evaluate`` runs; ``evaluate`` itself is called by one thread at a time.
    """

    def __init__(
        self,
        *,
        rules: Callable[[], Sequence[Rule[Any]]],
        reader: Reader,
        writer: Inserts,
        publish: Publish,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``rules`` are asked for at each tick: others, as a new list, are judged by from then on, from the start.
        ``publish`` returns once Kafka has acknowledged every alert it was given, or raises."""
        self._reader, self._writer, self._publish, self._clock = reader, writer, publish, clock
        self._in_force = rules
        self._rules: Sequence[Rule[Any]] = ()  # nothing is asked before a turn begins
        self._names: set[str] = set()
        self._alerts: dict[str, Alert] = {}  # the latest revision of each that may still change
        self._unpublished: list[Alert] = []  # decided, not yet acknowledged by the topic
        self._unstored: list[Alert] = []  # on the topic, not yet in the warehouse
        self._lock = threading.Lock()
        self._past: dict[str, Past] = {}

    def restore(self, published: Iterable[Alert] = ()) -> None:
        """Go on where the last worker was: its alerts from the warehouse and from the tail of ``usage.alerts``.

        What is only on the topic was published right before a crash; it is known from here on, and stored next.
        """
        now = self._clock()
        self._take_over(self._in_force())
        stored = latest(alert for alert in stored_alerts(self._reader, now=now) if alert.rule in self._names)
        mine = [alert for alert in published if alert.rule in self._names]  # others are about the pipeline: keeper.py
        tail = [alert for alert in mine if alert.standing or alert.window_end >= now - RESTORED]
        unstored = [
            alert for alert in tail if alert.alert_id not in stored or alert.revision > stored[alert.alert_id].revision
        ]
        self._alerts = latest([*stored.values(), *unstored])
        self._unpublished, self._unstored = [], unstored
        self._look_anew()  # hours went by while nobody watched

    def notice(self, rows: Iterable[Mapping[str, Any] | None]) -> None:
        """Remember which hours the values of ``usage.rollups`` say have changed; tombstones and other tables pass."""
        named = {_hour_named_by(row) for row in rows if row and row.get("table") == "usage_hourly"}
        hours = {hour for hour in named if hour is not None}
        with self._lock:
            for name, past in self._past.items():
                self._past[name] = replace(past, changed=past.changed | hours)

    def due(self, now: datetime) -> list[Rule[Any]]:
        """The rules for which it is time."""
        with self._lock:
            past = dict(self._past)
        return [rule for rule in self._rules if rule.is_due(now, past[rule.name])]

    def tick(self) -> Sequence[Alert]:
        """Evaluate if it is time. A failure is logged and tried again in a minute; it never ends the loop."""
        now = self._clock()
        try:
            self._take_over(self._in_force())
            due = self.due(now)
            return self.evaluate(now, due) if due else []
        except OutOfTurn as error:
            log.info("judgement dropped", reason=str(error))
            return []
        except Exception as error:
            outage = isinstance(error, WarehouseUnavailable | PublishFailed)
            log.error(
                "alerts not evaluated",
                reason=str(error),
                next=f"tried again in {RETRY_WAIT.total_seconds():.0f} s; no alert is lost, it comes later",
                exc_info=not outage,
            )
            return []

    def _take_over(self, rules: Sequence[Rule[Any]]) -> None:
        if rules is not self._rules:
            self._rules, self._names = rules, {rule.name for rule in rules}
            self._look_anew()

    def _look_anew(self) -> None:
        """Judge at once, and as if nobody had looked yet."""
        with self._lock:
            changed = {name: past.changed for name, past in self._past.items()}
            self._past = {name: Past(changed=changed.get(name, frozenset())) for name in self._names}

    def evaluate(self, now: datetime, rules: Sequence[Rule[Any]] | None = None) -> list[Alert]:
        """Judge by these rules, all if none are named, publish what is new, then store it. Returns what was published.

        What cannot be published or stored now is kept, and the next call begins with it: the same bytes, and nothing
        that Kafka has acknowledged again. Never store before publishing: after a crash between the two the alert would
        be known, and nobody would ever hear of it.
        """
        asked = self._rules if rules is None else rules
        past = self._begin(asked, now)
        published = self._deliver()
        news = [alert for rule in asked for alert in self._news(rule, past[rule.name], now)]
        self._unpublished = news
        self._remember(news, now)
        published = published + self._deliver()
        self._done(asked)
        return published

    def _begin(self, rules: Sequence[Rule[Any]], now: datetime) -> dict[str, Past]:
        """What has been until now. From here on these looks have failed, until they are done."""
        with self._lock:
            past = dict(self._past)
            self._past |= {rule.name: Past(looked_at=now, failed=True) for rule in rules}
        return past

    def _done(self, rules: Sequence[Rule[Any]]) -> None:
        with self._lock:
            self._past |= {rule.name: replace(self._past[rule.name], failed=False) for rule in rules}

    def _news(self, rule: Rule[Any], past: Past, now: datetime) -> list[Alert]:
        known = {alert_id: alert for alert_id, alert in self._alerts.items() if alert.rule == rule.name}
        return news_of(rule, rule.read(now, past, list(known.values())), known, now)

    def _remember(self, news: list[Alert], now: datetime) -> None:
        kept = latest([*self._alerts.values(), *news]).values()
        self._alerts = {alert.alert_id: alert for alert in kept if alert.standing or alert.window_end >= now - RESTORED}

    def _deliver(self) -> list[Alert]:
        published = self._unpublished
        if published:
            self._publish(published)
            self._unpublished, self._unstored = [], self._unstored + published
        if self._unstored:
            self._writer.insert(TABLE, alert_rows(self._unstored))
            self._unstored = []
        return published


def _hour_named_by(row: Mapping[str, Any]) -> datetime | None:
    """The hour of a rollup row; None, with a line in the log, for one that no rollup of ours would have."""
    try:
        hour = datetime.fromisoformat(row["hour"])
        return hour_of(hour if hour.tzinfo else hour.replace(tzinfo=UTC))
    except (KeyError, TypeError, ValueError, OverflowError):
        log.warning("rollup without an hour", hour=repr(row.get("hour"))[:100], next="ignored")
        return None
