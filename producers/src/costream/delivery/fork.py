"""Forks wait for the moments in which a copy of the process would be broken.

sqlite, librdkafka and pydantic's core guard global state with locks of their own. A child forked while another thread
holds one would find it locked for ever. So whoever enters them holds this gate, and a fork takes it first.

librdkafka looks names up in threads of its own, which hold no gate, and the C library's resolver has a lock as well: a
child forked in the middle of a look-up could never connect. Look-ups come when a handle is new. So a fork waits until
Kafka has answered a new handle and a moment more, but not for long.
"""

from __future__ import annotations

import ctypes
from time import monotonic
from types import TracebackType
from typing import Any, Final

from costream.delivery.real import Bell, get_ident, new_lock

GATE_WAIT_MAX_S: Final = 1.0  # a transaction takes milliseconds; a stalled disk must not hold up the host's fork
LOOK_AGAIN_S: Final = 0.001
SETTLED_AFTER_S: Final = 0.1
SETTLE_MAX_S: Final = 0.5  # a look-up and a connection take milliseconds; where Kafka is away nobody waits longer


class Gate:
    def __init__(self) -> None:
        self._lock = new_lock()
        self._forking: int | None = None  # the thread that holds it for its fork
        self._settling: dict[int, float] = {}  # a handle that Kafka has not answered yet -> until when a fork waits

    def settling(self, handle: int) -> None:
        """A handle is about to be made: its threads look names up from now on."""
        self._settling[handle] = monotonic() + SETTLE_MAX_S

    def answered(self, handle: int) -> None:
        """Kafka has answered it. Connections to other brokers may come right after."""
        self._settling[handle] = monotonic() + SETTLED_AFTER_S

    def settled(self, handle: int) -> None:
        """It is given up."""
        self._settling.pop(handle, None)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        deadline = monotonic() + GATE_WAIT_MAX_S
        while self._lock.acquire(timeout=max(0.0, deadline - monotonic())):
            if monotonic() >= deadline or not self._unsettled():
                self._forking = get_ident()
                return
            self._lock.release()
            Bell().wait(LOOK_AGAIN_S)  # the thread itself waits: no greenlet may run between here and the fork

    def _unsettled(self) -> bool:
        return any(until > monotonic() for until in tuple(self._settling.values()))

    def after_fork_in_parent(self) -> None:
        if self._forking == get_ident():
            self._forking = None
            self._lock.release()

    def after_fork_in_child(self) -> None:
        self._lock = new_lock()
        self._forking = None
        self._settling = {}


GATE: Final = Gate()


def leak(inherited: Any) -> None:
    """Keep an object of the parent from ever being destroyed here.

    Destroying a copied Kafka handle waits for threads that do not exist in the child, and closing a copied sqlite
    connection would write to the parent's file.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
