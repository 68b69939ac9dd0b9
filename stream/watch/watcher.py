"""The watch: hours that changed → figures → ``judge`` → ``usage.alerts`` → table ``alerts``. The thin shell.

``usage.rollups`` only says which hours changed; every figure is read from the warehouse, where it is exact. So a
rollup that arrives twice, late or out of order changes nothing, and a lost one costs a minute at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import polars as pl
import structlog

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import TABLE, alert_rows
from sinks.errors import WarehouseUnavailable
from stream.runtime.errors import PublishFailed
from stream.runtime.settings import Settings
from stream.watch.baseline import Rules
from stream.watch.case import ALL_RULES
from stream.watch.drivers import drivers
from stream.watch.history import History
from stream.watch.judge import explained, judge, latest, usual_hours
from stream.watch.queries import RESTORED, Reader, evidence, stored_alerts
from stream.watch.series import Series, hour_of
from stream.watch.turn import OutOfTurn

log = structlog.get_logger(__name__)

IDLE_MAX: Final = timedelta(minutes=1)  # an hour ends, and an alert clears, without any event
RETRY_WAIT: Final = timedelta(minutes=1)  # after a failed evaluation


class Inserts(Protocol):
    """What the watch needs of ``sinks.clickhouse.writer.Writer``."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


Publish = Callable[[Sequence[Alert]], None]


def is_due(now: datetime, *, last: datetime | None, failed: bool, dirty: bool, interval: timedelta) -> bool:
    """Soon after something changed, once a minute in any case, and a minute after a failure."""
    if last is None:
        return True
    if failed:
        return now - last >= RETRY_WAIT
    return now - last >= (interval if dirty else max(interval, IDLE_MAX))


class Watcher:
    """One worker watches: ``usage.rollups`` has one partition. Methods block; the app runs them in a thread.

    ``notice`` may be called while ``evaluate`` runs; ``evaluate`` itself is called by one thread at a time.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Inserts,
        publish: Publish,
        settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``publish`` returns once Kafka has acknowledged every alert it was given, or raises."""
        self._reader, self._writer, self._publish, self._clock = reader, writer, publish, clock
        self._rules, self._interval = Rules.of(settings), settings.watch_interval
        self._history = History(reader, self._rules)
        self._alerts: dict[str, Alert] = {}  # the latest revision of each that may still change
        self._unpublished: list[Alert] = []  # decided, not yet acknowledged by the topic
        self._unstored: list[Alert] = []  # on the topic, not yet in the warehouse
        self._lock = threading.Lock()
        self._dirty: set[datetime] = set()
        self._last: datetime | None = None
        self._failed = False

    def restore(self, published: Iterable[Alert] = ()) -> None:
        """Go on where the last worker was: its alerts from the warehouse and from the tail of ``usage.alerts``.

        What is only on the topic was published right before a crash; it is known from here on, and stored next.
        """
        now = self._clock()
        stored = latest(alert for alert in stored_alerts(self._reader, now=now) if alert.rule in ALL_RULES)
        mine = [alert for alert in published if alert.rule in ALL_RULES]  # others are about the pipeline: keeper.py
        tail = [alert for alert in mine if alert.standing or alert.window_end >= now - RESTORED]
        unstored = [
            alert for alert in tail if alert.alert_id not in stored or alert.revision > stored[alert.alert_id].revision
        ]
        self._alerts = latest([*stored.values(), *unstored])
        self._unpublished, self._unstored = [], unstored
        self._last = None  # judge at once: hours went by while nobody watched
        self._history.forget()

    def notice(self, rows: Iterable[Mapping[str, Any] | None]) -> None:
        """Remember which hours the values of ``usage.rollups`` say have changed; tombstones and other tables pass."""
        hours = {_hour_named_by(row) for row in rows if row and row.get("table") == "usage_hourly"}
        with self._lock:
            self._dirty |= {hour for hour in hours if hour is not None}

    def due(self, now: datetime) -> bool:
        with self._lock:
            dirty = bool(self._dirty)
        return is_due(now, last=self._last, failed=self._failed, dirty=dirty, interval=self._interval)

    def tick(self) -> Sequence[Alert]:
        """Evaluate if it is time. A failure is logged and tried again in a minute; it never ends the loop."""
        now = self._clock()
        if not self.due(now):
            return []
        try:
            return self.evaluate(now)
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

    def evaluate(self, now: datetime) -> list[Alert]:
        """Judge the hours in reach, publish what is new, then store it. Returns what was published.

        What cannot be published or stored now is kept, and the next call begins with it: the same bytes, and nothing
        that Kafka has acknowledged again. Never store before publishing: after a crash between the two the alert would
        be known, and nobody would ever hear of it.
        """
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        self._last, self._failed = now, True
        try:
            news = self._evaluate(now, dirty)
        except BaseException:
            self._history.forget()  # it may be half refreshed
            raise
        self._failed = False
        return news

    def _evaluate(self, now: datetime, dirty: set[datetime]) -> list[Alert]:
        published = self._deliver()
        standing = [alert for alert in self._alerts.values() if alert.standing]
        history = self._history.read(now, dirty=dirty, standing=standing)
        news = judge(
            history=history, alerts=self._alerts.values(), now=now, rules=self._rules, baselines=self._history.baselines
        )
        self._unpublished = [self._explained(alert, history) for alert in news]
        self._remember(self._unpublished, now)
        return published + self._deliver()

    def _explained(self, alert: Alert, history: Mapping[str, Series]) -> Alert:
        if not alert.standing:
            return alert
        usual = usual_hours(alert, history=history, rules=self._rules)
        return explained(alert, drivers(evidence(self._reader, alert, usual=usual)))

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
