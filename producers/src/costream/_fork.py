"""Forks wait for the moments in which a copy of the process would be broken.

sqlite and librdkafka guard global state with locks of their own. A child forked while another thread holds one would
find it locked for ever. So whoever enters them holds this gate, and a fork takes it first.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any, Final

from costream._real import get_ident, new_lock

GATE_WAIT_MAX_S: Final = 1.0  # a transaction takes milliseconds; a stalled disk must not hold up the host's fork


class Gate:
    def __init__(self) -> None:
        self._lock = new_lock()
        self._forking: int | None = None  # the thread that holds it for its fork

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        if self._lock.acquire(timeout=GATE_WAIT_MAX_S):
            self._forking = get_ident()

    def after_fork_in_parent(self) -> None:
        if self._forking == get_ident():
            self._forking = None
            self._lock.release()

    def after_fork_in_child(self) -> None:
        self._lock = new_lock()
        self._forking = None


GATE: Final = Gate()


def leak(inherited: Any) -> None:
    """Keep an object of the parent from ever being destroyed here.

    Destroying a copied Kafka handle waits for threads that do not exist in the child, and closing a copied sqlite
    connection would write to the parent's file.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
