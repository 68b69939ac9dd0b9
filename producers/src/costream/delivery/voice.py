"""Log lines of the client, spoken by a thread of their own.

A log handler is the host's code. It may raise, and it may wait for a log server that is as far away as Kafka is just
now. Neither is allowed to hold up a delivery or a caller, so nobody here calls a logger but this thread.

Under gevent the locks of ``logging`` belong to the greenlets of one thread; taken by another thread they are not handed
back, and requests hang. There the lines wait for the next caller, and a greenlet of his speaks them.

Where the host has configured no logging at all, the first line of each kind goes to stderr: usage that is lost, or that
waits for a Kafka at a wrong address, must be seen once.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from contextlib import suppress
from typing import Final, NamedTuple

from costream.delivery.real import is_patched, new_lock, start_host_thread, start_thread, wait_until

LINES_MAX: Final = 200  # that wait for a handler that hangs; complaints are a few a minute


class Line(NamedTuple):
    log: logging.Logger
    level: int
    kind: str  # at most one line of a kind goes to stderr
    text: str


class Voice:
    def __init__(self, shown: set[str], lines: deque[Line]) -> None:
        self._shown = shown
        self._lines = lines
        self._speaking = new_lock()

    def say(self, line: Line) -> None:
        """Returns at once and raises nothing; the line is spoken soon."""
        self._lines.append(line)
        if not is_patched() and not self._speaking.locked() and not start_thread(self._speak):
            self._speak()

    def lend_a_thread(self) -> None:
        """In a caller's thread: say what may be said in no other."""
        if self._lines and is_patched() and not self._speaking.locked():
            start_host_thread(self._speak)

    def wait(self, timeout: float) -> None:
        """Until all has been said."""
        self.lend_a_thread()
        wait_until(lambda: not self._lines and not self._speaking.locked(), timeout)

    def _speak(self) -> None:
        while self._lines and self._speaking.acquire(blocking=False):
            try:
                self._speak_all()
            finally:
                self._speaking.release()
            # Whoever added a line just before the release saw a speaker at work and left it to us: look again.

    def _speak_all(self) -> None:
        with suppress(IndexError):  # all is said
            while True:
                line = self._lines.popleft()
                with suppress(
                    BaseException
                ):  # a handler may even raise SystemExit; the next line is spoken all the same
                    line.log.log(line.level, "%s", line.text)
                with suppress(BaseException):
                    self._show_if_nobody_listens(line)

    def _show_if_nobody_listens(self, line: Line) -> None:
        if line.level < logging.WARNING or line.kind in self._shown or not line.log.isEnabledFor(line.level):
            return
        if _has_listener(line.log):
            return
        self._shown.add(line.kind)
        sys.stderr.write(f"costream: {line.text} [said once: no logging is configured]\n")
        sys.stderr.flush()


def _has_listener(log: logging.Logger) -> bool:
    """Whether a handler other than our own ``NullHandler`` gets its lines."""
    at: logging.Logger | None = log
    while at is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in at.handlers):
            return True
        at = at.parent if at.propagate else None
    return False


LOG: Final = logging.getLogger("costream")
_shown: Final[set[str]] = set()  # in this process, forked children included
LINES: Final[deque[Line]] = deque(maxlen=LINES_MAX)  # that nobody has spoken yet
_voice = Voice(_shown, LINES)


def say(level: int, kind: str, text: str, log: logging.Logger = LOG) -> None:
    _voice.say(Line(log, level, kind, text))


def lend_a_thread() -> None:
    _voice.lend_a_thread()


def wait(timeout: float) -> None:
    _voice.wait(timeout)


def start_over_in_child() -> None:
    """The parent's speaker does not exist here, and the parent says its lines itself."""
    global _voice  # noqa: PLW0603 - one per process
    LINES.clear()
    _voice = Voice(_shown, LINES)
