"""Whose turn it is to judge: the worker's that holds ``usage.rollups``, from its assignment until it is taken away.

Two workers that judged at once would tell the same revision of an alert with different figures. So a turn ends before
another worker can get the partition, and nothing is published out of turn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from stream.runtime.errors import StreamError


class OutOfTurn(StreamError):
    """What was about to be published was judged in a turn that is over; who judges now arrives at it again."""

    def __init__(self) -> None:
        super().__init__("usage.rollups was taken away meanwhile: nothing was published, its next holder judges anew")


class Turn:
    """One worker's turns, numbered. Safe to use from many threads."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._publishing = threading.Lock()
        self.number: int | None = None  # the turn that it is; None while it is another worker's

    def begin(self) -> None:
        """The partition was assigned. It is a new turn also where this worker had the last one."""
        self.number = next(self._numbers)

    def end(self) -> None:
        """The partition goes. Returns when what is being published is published: whoever is next can read it."""
        self.number = None
        with self._publishing:
            pass

    @contextmanager
    def publishing(self, number: int) -> Iterator[None]:
        """Hold the turn while publishing what was judged in it; raises OutOfTurn if that turn is over."""
        with self._publishing:
            if number != self.number:
                raise OutOfTurn
            yield
