"""Where a message goes: to Kafka where it takes it, else to disk, else it is lost; and what Kafka's answers change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from confluent_kafka import KafkaError

from costream.delivery.copies import Copies
from costream.delivery.disk import FAILURES, Disk
from costream.delivery.link import HOPELESS, Link, Offer
from costream.delivery.loans import Loans
from costream.delivery.losses import Losses
from costream.delivery.parcel import Counts, Parcel
from costream.delivery.pending import Pending
from costream.delivery.spool import Message
from costream.settings import Settings


class Carrier:
    """The background thread's own. ``is_late``: whether the time to deliver is up, so that only the disk is left."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        disk: Disk,
        *,
        pending: Pending,
        counts: Counts,
        losses: Losses,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        is_late: Callable[[], bool],
        say_bug: Callable[[BaseException], None],
    ) -> None:
        self.copies = Copies(disk, now=now, monotonic=monotonic)
        self.loans = Loans(disk, link)
        self._settings = settings
        self._link = link
        self._disk = disk
        self._pending = pending
        self._counts = counts
        self._losses = losses
        self._now = now
        self._is_late = is_late
        self._say_bug = say_bug
        self._inbox: deque[Parcel] = deque()  # in hand: placed nowhere yet
        self._returned: list[Parcel] = []

    @property
    def waits(self) -> bool:
        """Whether Kafka is yet to answer for something."""
        return bool(self._pending or self.loans)

    @property
    def holds_some(self) -> bool:
        return bool(self._inbox)

    # --- placing -----------------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        self._inbox.append(self._pending.wrap(message))

    def send(self) -> None:
        """Empty the inbox: to Kafka where it takes them, else to disk."""
        try:
            if self._link.up:
                self._give_to_kafka()
        except Exception as error:  # noqa: BLE001 - a bug; what is still in the inbox goes to disk
            self._say_bug(error)
        try:
            self._store(self._inbox)
        except Exception as error:  # noqa: BLE001 - a bug
            self._say_bug(error)
            self._drop_all(self._inbox, "costream met a bug of its own")
        self._inbox.clear()

    def _give_to_kafka(self) -> None:
        """What finds no room there stays in the inbox."""
        self.copies.watch(self._inbox)
        if not self._link.proved:
            self.copies.write(0.0)
        for _ in range(len(self._inbox)):
            if not self._offer(self._inbox[0]):
                self._inbox.append(self._inbox[0])
            self._inbox.popleft()

    def borrow(self) -> None:
        """Offer what is spooled too."""
        if not self._is_late():
            self.loans.borrow(self._offer)

    def _offer(self, parcel: Parcel) -> bool:
        """Whether Kafka takes it from here, or has said that it never will."""
        offer = self._link.offer(parcel.message, partial(self._on_answer, parcel))
        if offer is Offer.HOPELESS:
            self._refuse(parcel, "it is too large")
        return offer is not Offer.NO_ROOM

    def _store(self, batch: Sequence[Parcel]) -> None:
        """To disk. Where the disk refuses, Kafka's queue in memory is the last resort; where that is full, lost."""
        for parcel in batch:
            if parcel.ahead is not None:
                self._leave_on_disk(parcel)
        batch = [parcel for parcel in batch if not parcel.settled]
        if not batch:
            return
        try:
            lost = self._disk.spool.write([parcel.message for parcel in batch], self._now())
        except FAILURES as error:
            self._disk.complain(error)
            homeless = [parcel for parcel in batch if self._is_late() or not self._offer(parcel)]
            self._drop_all(homeless, "neither Kafka nor the spool takes them")
            return
        self._disk.works = True
        self._counts.spooled += sum(not parcel.message.report_of for parcel in batch)
        for parcel in batch:
            self._settle(parcel)
        self._losses.drop(lost, f"the spool folder is full ({self._settings.spool_bytes_max} bytes)")

    def _leave_on_disk(self, parcel: Parcel) -> None:
        self.copies.keep(parcel)
        self._counts.spooled += not parcel.message.report_of
        self._settle(parcel)

    def _drop_all(self, parcels: Sequence[Parcel], reason: str) -> None:
        for parcel in parcels:
            self._losses.drop(parcel.message.lost(), reason)
            self._settle(parcel)

    def _settle(self, parcel: Parcel) -> None:
        """It is no longer in memory only: acknowledged, on disk, or given up and counted."""
        if parcel.settled:
            return
        parcel.settled = True
        if parcel.row is not None:
            self.loans.give_back(parcel.row)
        else:
            self._pending.settle(parcel.epoch)

    # --- Kafka's answers ---------------------------------------------------------------------------------------------

    def hear_kafka(self) -> None:
        self._link.listen()
        cut_off = self._link.lost_contact() and self._link.up and self.waits and self._disk.works
        if self._link.broken or cut_off:
            self._link.go_down()
            self._link.take_back()
        returned, self._returned = self._returned, []
        if returned:
            self._store(returned)

    def _on_answer(self, parcel: Parcel, error: KafkaError | None, _message: Any) -> None:
        if error is None:
            self._delivered(parcel)
        elif error.code() in HOPELESS:
            self._refuse(parcel, error.str())
        else:
            self._link.blame(error)
            if parcel.row is None:
                self._returned.append(parcel)  # still unsettled: it is written to the spool outside this callback
            else:
                self._settle(parcel)  # it never left the spool

    def _delivered(self, parcel: Parcel) -> None:
        self._counts.delivered += not parcel.message.report_of
        self._done_with(parcel)
        self._link.acknowledged()

    def _refuse(self, parcel: Parcel, reason: str) -> None:
        lost = parcel.message.lost()
        self._losses.refuse(lost, f"Kafka will never take a usage event, it is lost: {reason}", f"Kafka: {reason}")
        self._done_with(parcel)

    def _done_with(self, parcel: Parcel) -> None:
        if parcel.row is not None:
            self.loans.acknowledge(parcel.row)
        self.copies.answered(parcel)
        self._settle(parcel)
