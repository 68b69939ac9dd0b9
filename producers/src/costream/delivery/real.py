"""Threads, locks and queues of the operating system, whatever the host has patched.

gevent and eventlet put greenlets in the place of what ``threading``, ``queue`` and ``time`` offer, before a host
imports this package or after. A background "thread" that is a greenlet stops every request whenever the disk or
librdkafka stops it; a lock of one kind that is waited for by the other freezes the process for ever. So the background
thread is made of what stands here: built by a copy of the builtin module ``_thread`` that is ours alone, and that
nobody patches.

A caller that has to wait, in ``flush()`` and ``close()``, does so with the host's own ``time.sleep``. Under gevent that
lets the other greenlets run.

Nothing here waits for a lock in a caller's thread: a signal handler may call in at any point of what it interrupts.
"""

from __future__ import annotations

import _thread
import sys
import time
from _queue import SimpleQueue
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from itertools import repeat
from operator import length_hint
from types import BuiltinFunctionType, ModuleType
from typing import Final

__all__ = [
    "Bell",
    "SimpleQueue",
    "Tally",
    "get_ident",
    "is_patched",
    "new_lock",
    "new_reentrant_lock",
    "start_host_thread",
    "start_thread",
    "wait_until",
]

PAUSE_MIN_S: Final = 0.000_5  # between two looks of a waiting caller, at first
PAUSE_MAX_S: Final = 0.01  # and at last: the background thread looks at its queue as often


def _unpatched(module: ModuleType) -> ModuleType:
    """A builtin module as the interpreter makes it, and not what others have put into it since."""
    spec = BuiltinImporter.find_spec(module.__name__)
    if spec is None or spec.loader is None:  # an interpreter that keeps it elsewhere
        return module
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


_os_thread: Final = _unpatched(_thread)
new_lock: Final[Callable[[], _thread.LockType]] = _os_thread.allocate_lock
new_reentrant_lock: Final = _os_thread.RLock
get_ident: Final[Callable[[], int]] = _os_thread.get_ident


def is_patched() -> bool:
    """Whether what the host calls a thread is a greenlet by now."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def start_thread(work: Callable[[], object]) -> bool:
    """Run it in a daemon thread. False where none can be started: too many, or the interpreter is going down."""
    try:
        _os_thread.start_new_thread(work, ())
    except (RuntimeError, MemoryError):
        return False
    return True


def start_host_thread(work: Callable[[], object]) -> bool:
    """The same with what the host calls a thread: under gevent a greenlet of the calling thread's loop."""
    try:
        _thread.start_new_thread(work, ())
    except Exception:  # noqa: BLE001 - another library's code
        return False
    return True


class Bell:
    """Wakes the one thread that waits for it. It may be rung from anywhere, however often, and stays rung."""

    def __init__(self) -> None:
        self._silence = new_lock()
        self._silence.acquire()

    def ring(self) -> None:
        with suppress(RuntimeError):  # it rings already
            self._silence.release()

    def wait(self, timeout: float) -> bool:
        """Whether it rang; from then on it is silent again."""
        return self._silence.acquire(timeout=timeout)


class Tally:
    """Counts without a lock: one ``next`` is one step of the interpreter, which no thread and no handler splits."""

    def __init__(self) -> None:
        self._left = repeat(None, sys.maxsize)

    def add(self) -> None:
        next(self._left)

    @property
    def value(self) -> int:
        return sys.maxsize - length_hint(self._left)


def wait_until(holds: Callable[[], bool], timeout: float, *, monotonic: Callable[[], float] = time.monotonic) -> bool:
    """Wait in a caller's thread; whether it holds when the time is up.

    ``monotonic`` is bound here: libraries that freeze the time for a test replace what is in ``time``.
    """
    deadline = monotonic() + timeout
    pause = PAUSE_MIN_S
    while not holds():
        left = deadline - monotonic()
        if left <= 0:
            return False
        _pause(min(pause, left))
        pause = min(2 * pause, PAUSE_MAX_S)
    return True


def _pause(seconds: float) -> None:
    try:
        time.sleep(seconds)
    except Exception:  # noqa: BLE001 - a patched sleep refuses in the event loop's own callbacks; then the thread waits
        Bell().wait(seconds)
