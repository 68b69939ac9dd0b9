"""The callers' side of the background thread: a queue, what found no room in it, and whether the thread lives.

Everything here may be called from any thread, from a greenlet, and from a signal handler that interrupts any of the
rest. So no lock is waited for, nothing is imported, and each step is one that the interpreter does not split.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from costream.delivery.intake import Given
from costream.delivery.parcel import FlushOrder, StopOrder
from costream.delivery.real import Bell, SimpleQueue, Tally, new_lock, start_thread
from costream.events import UsageEvent

START_AGAIN_S: Final = 1.0  # after a thread was asked for and did not come
NEVER_S: Final = float("-inf")

Item = UsageEvent | Given | FlushOrder | StopOrder


class Door:
    """``work`` is the background thread's whole life; whoever passes here sees to it that one is alive."""

    def __init__(self, work: Callable[[], None], *, room: int, monotonic: Callable[[], float]) -> None:
        self.queue: SimpleQueue[Item] = SimpleQueue()
        self.bell = Bell()
        self.overflowed = Tally()  # events that found no room
        self.too_late = Tally()
        self.orders_taken = 0  # of those put; the background thread's own count
        self._orders_put = Tally()
        self._work = work
        self._room = room
        self._monotonic = monotonic
        self._alive = new_lock()  # held by the living thread
        self._asked_at = NEVER_S

    def put(self, event: UsageEvent | Given) -> None:
        """Take one event. It waits for nothing; where there is no room the event is dropped and counted."""
        if self.queue.qsize() >= self._room:
            self.overflowed.add()
        else:
            self.queue.put(event)
        if not self._alive.locked():
            self.see_that_it_lives()

    def order(self, order: FlushOrder | StopOrder) -> None:
        self._orders_put.add()
        self.queue.put(order)
        self.bell.ring()

    @property
    def events(self) -> int:
        """Events in the queue; the orders among them are none."""
        return max(0, self.queue.qsize() - (self._orders_put.value - self.orders_taken))

    def see_that_it_lives(self) -> bool:
        """Start the thread if there is none. False where none can be started now."""
        if self._alive.locked():
            return True
        now = self._monotonic()
        if now < self._asked_at + START_AGAIN_S:
            return True  # one is on its way
        self._asked_at = now  # before the start, so that a handler that interrupts it does not start another
        return start_thread(self._live)

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has come to it yet."""
        return self._asked_at == NEVER_S and not self._alive.locked() and not self.queue.qsize()

    def _live(self) -> None:
        if not self._alive.acquire(blocking=False):
            return  # two were started; one is enough
        try:
            self._work()
        finally:  # whatever ended it: the next caller starts another
            self._asked_at = NEVER_S
            self._alive.release()
