"""What is lost: counted, said aloud, and reported to Kafka as an event, so that totals can say "at least"."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from costream.delivery.complaints import INTERVAL_S, Complaints
from costream.delivery.drops import Drops
from costream.delivery.fork import GATE
from costream.delivery.parcel import Counts
from costream.delivery.spool import Lost, Message


class Losses:
    """The background thread's own."""

    def __init__(
        self,
        counts: Counts,
        complaints: Complaints,
        *,
        client: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.overflow_said = 0  # of the events that found no room in the queue
        self._counts = counts
        self._complaints = complaints
        self._client = client
        self._now = now
        self._monotonic = monotonic
        self._drops = Drops()
        self._report_at = 0.0
        self._last_report = False

    def drop(self, lost: Lost, reason: str) -> None:
        """A bound was reached."""
        self._counts.dropped += lost.events
        self._lament("dropped", lost, f"usage events are lost: {reason}", reason)

    def refuse(self, lost: Lost, text: str, why: str) -> None:
        """It is no event, or none that Kafka will ever take."""
        self._counts.refused += lost.events
        self._lament("refused", lost, text, why)

    def say_overflow(self, overflowed: int, reason: str) -> None:
        """Of the events that found no room, those that are not said yet; they are counted at the door."""
        new = overflowed - self.overflow_said
        self.overflow_said += new
        self._lament("dropped", Lost(new), f"usage events are lost: {reason}", reason)

    def _lament(self, kind: str, lost: Lost, text: str, why: str) -> None:
        if sum(lost):
            self._drops.add(sum(lost), self._now(), why)
        if lost.events:  # what a lost report stood for was said when it was dropped
            self._complaints.say(kind, text, times=lost.events, level=logging.ERROR)

    def report_if_due(self, *, stopping: bool) -> Message | None:
        """Once a minute while there is something to report, and once more before the end."""
        now = self._monotonic()
        if not self._drops.events or not (now >= self._report_at or (stopping and not self._last_report)):
            return None
        self._report_at = now + INTERVAL_S
        self._last_report = stopping
        return self.report()

    def report(self) -> Message | None:
        """What stands for all that was lost since the last one, if anything was."""
        dropped = self._drops.events
        if not dropped:
            return None
        report = self._drops.take_report(new_id=lambda: str(uuid4()), client=self._client)
        with GATE:
            return Message(report.request_id.encode(), report.to_json(), report_of=dropped)
