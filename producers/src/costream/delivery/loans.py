"""The spool, back to Kafka: a batch is lent, and forgotten once Kafka has answered for all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from costream.delivery.disk import FAILURES, Disk
from costream.delivery.link import Link
from costream.delivery.parcel import Parcel

PROBE_ROWS_MAX: Final = 100  # on offer to a Kafka that is away; enough to notice that it is back
DRAIN_ROWS_MAX: Final = 1_000  # spooled messages on their way at once, so that new ones find room beside them


class Loans:
    def __init__(self, disk: Disk, link: Link) -> None:
        self._disk = disk
        self._link = link
        self._borrowing = False
        self._out: set[int] = set()
        self._repaid: list[int] = []

    def __bool__(self) -> bool:
        """Whether Kafka is yet to answer for one of them."""
        return bool(self._out)

    def borrow(self, offer: Callable[[Parcel], bool]) -> None:
        """Offer spooled messages to Kafka, one batch at a time. ``offer`` says whether Kafka takes it from there."""
        if self._borrowing or not self._disk.rows or not self._link.may_try():
            return
        try:
            batch = self._disk.spool.lend(DRAIN_ROWS_MAX if self._link.up else PROBE_ROWS_MAX)
        except FAILURES as error:
            self._disk.complain(error)
            return
        self._borrowing = bool(batch)
        for stored in batch:
            self._out.add(stored.row)
            taken = False
            try:
                taken = offer(Parcel(stored.message, row=stored.row))
            finally:  # whatever is raised, nobody will ever answer for it
                if not taken:
                    self._out.discard(stored.row)
            if not taken:
                return

    def acknowledge(self, row: int) -> None:
        """It need not be in the spool any more."""
        self._repaid.append(row)

    def give_back(self, row: int) -> None:
        """It is answered for, one way or the other; it never left the spool."""
        self._out.discard(row)

    def repay(self) -> None:
        """Forget what Kafka has acknowledged, once the whole batch is answered."""
        if not self._borrowing or self._out:
            return
        repaid, self._repaid, self._borrowing = self._repaid, [], False
        try:
            self._disk.spool.settle(repaid)
        except FAILURES as error:  # they will be sent again, and count once
            self._disk.complain(error)
