"""What every open producer goes through with its process: forks and the ends that a process can come to.

| how it ends | what runs |
|---|---|
| the interpreter's exit, ``sys.exit`` | ``atexit``: delivered for at most 2 s, then spooled |
| ``os._exit`` (children of multiprocessing, RQ's work horses, many a fork) | the same, by our patch of it |
| Celery recycles or stops a prefork worker, and kills it before its ``os._exit`` | the same, by Celery's own signal |
| a signal that nobody handles, SIGKILL, ``os.exec*`` | nothing: what is neither acknowledged nor on disk yet is lost |
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from functools import wraps
from typing import Any, Final, NoReturn, Protocol

from costream.delivery import voice
from costream.delivery.fork import GATE

EXIT_WAIT_MAX_S: Final = 2.0  # an exit that takes longer is noticed; the spool keeps the rest
_OURS: Final = "_delivers_usage_events"  # an attribute of our os._exit: it is patched once


class Living(Protocol):
    def close(self, timeout: float) -> None: ...
    def hand_over(self, timeout: float) -> None: ...
    def start_over_in_child(self) -> None: ...


_open: Final[list[Living]] = []


def enroll(living: Living) -> None:
    _open.append(living)
    _patch_hard_exit()


def dismiss(living: Living) -> None:
    if living in _open:
        _open.remove(living)


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_WAIT_MAX_S
    for living in list(_open):
        living.close(max(0.0, deadline - time.monotonic()))


def _hand_over_all(**_: Any) -> None:
    """Deliver or spool what there is; the producers stay open, since others may still record."""
    deadline = time.monotonic() + EXIT_WAIT_MAX_S
    for living in list(_open):
        living.hand_over(max(0.0, deadline - time.monotonic()))


def _patch_hard_exit() -> None:
    """Have ``os._exit`` deliver first. A patch, because no hook of the interpreter runs there.

    It is how a forked child is told to end by the book, so children would lose what they recorded last. Where nothing
    was recorded it does nothing. What was bound before, by ``from os import _exit``, is not reached.
    """
    hard_exit = os._exit
    if getattr(hard_exit, _OURS, None) is _hand_over_all:
        return

    @wraps(hard_exit)
    def deliver_and_exit(status: int) -> NoReturn:
        try:
            _hand_over_all()
        finally:
            hard_exit(status)

    setattr(deliver_and_exit, _OURS, _hand_over_all)
    setattr(os, "_exit", deliver_and_exit)  # noqa: B010 - for mypy a function of a module is not to be assigned


def arrange_celerys_exit() -> None:
    """Celery ends its prefork workers by SIGTERM right after this signal of its own."""
    signal = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if signal is not None:
        signal.connect(_hand_over_all, weak=False, dispatch_uid="costream")


def _in_child() -> None:
    GATE.after_fork_in_child()
    voice.start_over_in_child()
    for living in list(_open):
        living.start_over_in_child()


# Registered at import, so that it runs after the handlers of a host that imports us first; those may still record.
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GATE.before_fork, after_in_parent=GATE.after_fork_in_parent, after_in_child=_in_child)
