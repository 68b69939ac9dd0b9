"""Which messages are in this process's memory alone, and who waits until they are not.

A flush ends an epoch: it waits for the messages of its own and of those before. The background thread writes; callers
read what is left, from copies that the interpreter makes in one step.
"""

from __future__ import annotations

from collections import Counter

from costream.delivery.parcel import FlushOrder, Parcel
from costream.delivery.spool import Message


class Pending:
    def __init__(self) -> None:
        self._epoch = 0
        self._by_epoch: Counter[int] = Counter()
        self._flushes: list[FlushOrder] = []

    def __bool__(self) -> bool:
        return bool(self._by_epoch)

    @property
    def messages(self) -> int:
        return sum(list(self._by_epoch.values()))

    def until(self, epoch: int) -> int:
        """How many messages of this epoch and of those before are left."""
        return sum(count for each, count in list(self._by_epoch.items()) if each <= epoch)

    def wrap(self, message: Message) -> Parcel:
        self._by_epoch[self._epoch] += 1
        return Parcel(message, self._epoch)

    def settle(self, epoch: int) -> None:
        """One of them is no longer in memory only."""
        self._by_epoch[epoch] -= 1
        if not self._by_epoch[epoch]:
            del self._by_epoch[epoch]

    def take(self, flush: FlushOrder) -> None:
        flush.epoch = self._epoch
        self._epoch += 1
        self._flushes.append(flush)

    def answer_flushes(self) -> None:
        for flush in self._flushes:
            if flush.epoch is not None and all(epoch > flush.epoch for epoch in self._by_epoch):
                flush.done = True
        self._flushes = [flush for flush in self._flushes if not flush.done]
