"""Copies on disk of what Kafka has taken and not answered for.

It lives in this process's memory alone. So what waits for longer than a second is copied to disk, and until a handle
has had its first acknowledgement, which takes half a second, everything is: a process that is killed loses what it
recorded in the last hundredth of a second, or in the last second if Kafka has just fallen silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from costream.delivery.disk import FAILURES, Disk
from costream.delivery.parcel import Parcel

AHEAD_AFTER_S: Final = 1.0  # without an answer from Kafka, until a copy is on disk; a slow Kafka answers sooner
AHEAD_AGAIN_S: Final = 10.0  # after a disk that refused one
END_ROWS_MIN: Final = 500  # forgotten at once, as many as are taken at once: one transaction


class Copies:
    def __init__(self, disk: Disk, *, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self.unanswered = 0  # copies of messages that are in memory too
        self._kept = 0  # copies that have become the message itself, and are not spooled like others yet
        self._disk = disk
        self._now = now
        self._monotonic = monotonic
        self._watched: deque[tuple[float, Parcel]] = deque()  # given to Kafka, no copy on disk yet; oldest first
        self._answered: list[int] = []
        self._again_at = 0.0

    @property
    def rows(self) -> int:
        """Messages on disk that the spool's own count leaves out."""
        return self.unanswered + self._kept

    def watch(self, parcels: Iterable[Parcel]) -> None:
        """Kafka is about to take these."""
        now = self._monotonic()
        self._watched.extend((now, parcel) for parcel in parcels)

    def write(self, after_s: float = AHEAD_AFTER_S) -> None:
        """Copy to disk what has waited that long for Kafka's answer."""
        now = self._monotonic()
        late: list[Parcel] = []
        while self._watched and (self._watched[0][1].settled or now - self._watched[0][0] >= after_s):
            parcel = self._watched.popleft()[1]
            if not parcel.settled:
                late.append(parcel)
        if not late or now < self._again_at:
            return
        try:
            rows = self._disk.spool.write_ahead([parcel.message for parcel in late], self._now())
        except FAILURES as error:
            self._again_at = now + AHEAD_AGAIN_S
            self._disk.complain(error)
            return
        for parcel, row in zip(late, rows, strict=True):
            parcel.ahead = row
        self.unanswered += len(late)

    def answered(self, parcel: Parcel) -> None:
        """Kafka has the last word on it: a copy is not needed any more."""
        if parcel.ahead is not None:
            self.unanswered -= 1
            self._answered.append(parcel.ahead)
            parcel.ahead = None

    def keep(self, parcel: Parcel) -> None:
        """Its copy becomes the message itself."""
        self.unanswered -= 1
        self._kept += 1
        parcel.ahead = None

    def end(self) -> None:
        """Forget the copies that are not needed any more, a batch at a time."""
        all_answered = not self.unanswered
        if not self._answered and not all_answered:
            return
        if not all_answered and len(self._answered) < END_ROWS_MIN:
            return
        answered, self._answered = self._answered, []
        try:
            self._disk.spool.end_ahead(answered, all_answered=all_answered)
        except FAILURES as error:  # they will be sent again, and count once
            self._disk.complain(error)
            return
        if all_answered:
            self._kept = 0
