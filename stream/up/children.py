"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1


def with_us() -> dict[str, Any]:
    """Arguments for ``subprocess.Popen``: a session of its own, so that Ctrl-C reaches the parent alone; and, on Linux,
    SIGTERM for the child when the thread that started it is gone, as where the parent was killed. Start it from the
    main thread."""
    if not sys.platform.startswith("linux"):
        return {"start_new_session": True}
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it is gone already
            os._exit(1)

    return {"start_new_session": True, "preexec_fn": die_with_parent}
