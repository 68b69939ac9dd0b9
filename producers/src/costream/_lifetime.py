"""What every open producer goes through with its process: forks and the exit."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Final, Protocol

from costream._fork import GATE

EXIT_WAIT_MAX_S: Final = 2.0  # an exit that takes longer is noticed; the spool keeps the rest


class Living(Protocol):
    def close(self, timeout: float) -> None: ...
    def start_over_in_child(self) -> None: ...


_open: Final[list[Living]] = []
_workers_arranged: Final[set[int]] = set()


def enroll(living: Living) -> None:
    _open.append(living)


def dismiss(living: Living) -> None:
    if living in _open:
        _open.remove(living)


def arrange_worker_exit() -> None:
    """Children of ``multiprocessing`` end without ``atexit``; they run their own finalizers instead."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return
    if os.getpid() not in _workers_arranged:
        _workers_arranged.add(os.getpid())
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_WAIT_MAX_S
    for living in list(_open):
        living.close(max(0.0, deadline - time.monotonic()))


def _in_child() -> None:
    GATE.after_fork_in_child()
    for living in list(_open):
        living.start_over_in_child()


# Registered at import, so that it runs after the handlers of a host that imports us first; those may still record.
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.before_fork, after_in_parent=GATE.after_fork_in_parent, after_in_child=_in_child)
