"""What the worker was last seen doing with its partitions: for health checks and metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from faust.types import TP

from stream.consume.delivery import Chunk
from stream.consume.positions import Positions


class Progress:
    """Times are of the monotonic clock."""

    def __init__(self, positions: Positions) -> None:
        self.moved_at = time.monotonic()
        self.partitions: frozenset[TP] | None = None
        self.taking_over = False  # what is stored is being read back: it takes as long as it takes
        self._positions = positions

    def assigned(self, partitions: Iterable[TP]) -> None:
        self.partitions = frozenset(partitions)
        self.moved_at = time.monotonic()

    def revoked(self) -> None:
        self.partitions = None
        self.moved_at = time.monotonic()

    @contextmanager
    def take_over(self) -> Iterator[None]:
        self.taking_over = True
        try:
            yield
        finally:
            self.taking_over = False
            self.moved_at = time.monotonic()

    def stored(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self._positions.stored(chunk.tp, chunk.offset_last)
        self.moved_at = time.monotonic()

    def lag(self) -> dict[int, int | None]:
        """Of each partition held, the records that wait, at most; None where that is not known yet."""
        return {tp.partition: records for tp, records in self._positions.lag(self.partitions or ()).items()}

    def withheld(self) -> dict[int, int]:
        """Of each partition held, the offsets behind an open transaction."""
        return {tp.partition: offsets for tp, offsets in self._positions.withheld(self.partitions or ()).items()}
