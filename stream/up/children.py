"""Processes of the stack: each in a session of its own, with a log of its own, and none outlives who started it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
COMMAND: Final = (sys.executable, "-c", "from stream.cli import main; main()")
WAIT_SECONDS_FIRST: Final = 1.0  # until a process that has ended is started again; twice as long each time
WAIT_SECONDS_MAX: Final = 30.0
LOG_BYTES_MAX: Final = (
    10_000_000  # of a log that is gone on with; a larger one is put aside, and the one before it goes
)
STEADY_SECONDS: Final = 60.0  # after so long its next end is a first one again


def with_us(*, keep_open: int) -> dict[str, Any]:
    """Arguments for ``subprocess.Popen``: a session of its own, so that Ctrl-C reaches the parent alone; the file
    ``keep_open`` with its lock; and, on Linux, SIGTERM for the child when the thread that started it is gone, as where
    the parent was killed. Start it from the main thread."""
    shared: dict[str, Any] = {"start_new_session": True, "pass_fds": (keep_open,)}
    if not sys.platform.startswith("linux"):
        return shared
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it is gone already
            os._exit(1)

    return shared | {"preexec_fn": die_with_parent}


class Child:
    """A command of costream that runs until it is told to end, and is started again when it ends by itself."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        popen: Mapping[str, Any],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.log = name, log
        self._arguments, self.environment = tuple(arguments), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._popen = dict(popen)
        self._monotonic = monotonic
        self._started = self._again_at = 0.0
        self._wait = WAIT_SECONDS_FIRST

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".before.log"))
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*COMMAND, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                **self._popen,
            )
        self._started = self._monotonic()

    @property
    def ended(self) -> int | None:
        """The status that it has ended with; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def tend(self) -> str:
        """Start it again if it has ended; returns what to say of it, if anything."""
        now = self._monotonic()
        if self._again_at:
            if now >= self._again_at:
                self._again_at = 0.0
                self.start()
            return ""
        status = self.ended
        if status is None:
            return ""
        if now - self._started >= STEADY_SECONDS:
            self._wait = WAIT_SECONDS_FIRST
        self._again_at, wait = now + self._wait, self._wait
        self._wait = min(2 * self._wait, WAIT_SECONDS_MAX)
        return f"{self.name} ended with status {status}; it is started again in {wait:.0f} s ({self.log})"

    def terminate(self) -> None:
        """Tell it to end."""
        self._again_at = 0.0
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds_max: float) -> None:
        """Return when it has ended; after that long it is killed, which loses nothing either."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def log_tail(self, lines: int = 20) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
