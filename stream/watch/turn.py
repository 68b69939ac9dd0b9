"""Whose turn it is to judge: the worker's that holds ``usage.rollups``, from its assignment until it is taken away.

Two workers that judged at once would tell the same revision of an alert with different figures. So a turn ends before
another worker can get the partition, and nothing is published out of turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from stream.runtime.errors import StreamError
from stream.runtime.stalls import Insists


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
    def publishing(self, number: int | None) -> Iterator[None]:
        """Hold the turn while publishing what was judged in it; raises OutOfTurn if that turn is over."""
        with self._publishing:
            if number is None or number != self.number:
                raise OutOfTurn
            yield


class Judge(Protocol):
    """Who publishes what it finds, alerts or limits. Both methods block."""

    def restore(self, published: Iterable[Any]) -> None:
        """Go on from what is published."""

    def tick(self) -> Sequence[Any]:
        """Judge if it is time; returns what was published."""


J = TypeVar("J", bound=Judge)
Publish = Callable[[Sequence[Any]], None]


class InTurn(Generic[J]):
    """A judge that judges in this worker's turns alone. Each turn begins with what the last one left."""

    def __init__(
        self,
        turn: Turn,
        make: Callable[[Publish], J],
        *,
        publish: Publish,
        published: Callable[[], Sequence[Any]],
        patience: Insists,
        doing: str,
    ) -> None:
        """``make`` gets what the judge is to publish by, ``doing`` says what is done where a turn begins."""
        self._turn, self._publish, self._published = turn, publish, published
        self._patience, self._doing = patience, doing
        self._number: int | None = None  # the turn that the judge has begun
        self.part = make(self._publish_in_turn)

    def tick(self) -> Sequence[Any]:
        number = self._turn.number
        if number is None:
            return ()
        if number != self._number:
            self._number = number
            self._patience.insist(lambda: self.part.restore(self._published()), doing=self._doing)
        return self.part.tick()

    def _publish_in_turn(self, news: Sequence[Any]) -> None:
        with self._turn.publishing(self._number):
            self._publish(news)
