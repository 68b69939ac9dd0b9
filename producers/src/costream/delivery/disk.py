"""The spool as the background thread has it: whether the disk works, and what it needs while the process lives."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Final

from costream.delivery import voice
from costream.delivery.complaints import INTERVAL_S, Complaints
from costream.delivery.losses import Losses
from costream.delivery.spool import Spool
from costream.settings import Settings

ORPHANS_EVERY_S: Final = 30.0
FAILURES: Final = (OSError, sqlite3.Error)  # what a disk that does not work raises


class Disk:
    def __init__(
        self,
        settings: Settings,
        *,
        complaints: Complaints,
        losses: Losses,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.spool = Spool(settings)
        self.works = True  # as far as was seen
        self._settings = settings
        self._complaints = complaints
        self._losses = losses
        self._now = now
        self._monotonic = monotonic
        self._adopt_at = 0.0
        self._expire_at = 0.0

    @property
    def rows(self) -> int:
        return self.spool.rows

    def complain(self, error: Exception) -> None:
        self.works = False
        self._complaints.say("disk", f"the spool folder {self._settings.spool_dir} cannot be used: {error}")

    def tend(self) -> None:
        """Adopt what processes that have ended left, and give up what has waited too long."""
        now = self._monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + ORPHANS_EVERY_S
                if rows := self.spool.adopt():
                    text = f"{rows} usage events left by a process that has ended will be delivered"
                    voice.say(logging.INFO, "adopted", text)
            if now >= self._expire_at:
                self._expire_at = now + INTERVAL_S
                lost = self.spool.expire(self._now())
                self._losses.drop(lost, f"Kafka was away for longer than {self._settings.spool_age_max}")
        except FAILURES as error:
            self.complain(error)
