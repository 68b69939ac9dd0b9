"""The partitions that a worker holds: what is stored of them is read back before their first record is worked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Set
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from faust.types import TP

from costream.topics import EVENTS
from stream.consume.progress import Progress
from stream.ingest import Ingest
from stream.price_revisions import PriceRevisions
from stream.runtime import topics
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.stages import Stages

TRIM_SECONDS: Final = 600.0  # how often memory is brought back within its bounds

log = structlog.get_logger(__name__)


class Holding:
    """What is in memory is of these partitions, and of one incarnation of the topic (``source``)."""

    def __init__(
        self,
        ingest: Ingest,
        prices: PriceRevisions,
        *,
        assignment: Callable[[], Iterable[TP]],
        settings: Settings,
        stages: Stages,
        stalls: Stalls,
        progress: Progress,
        clock: Callable[[], datetime],
    ) -> None:
        self.source = ""
        self._ingest, self._prices = ingest, prices
        self._assignment, self._settings = assignment, settings
        self._stages, self._stalls, self._progress, self._clock = stages, stalls, progress, clock
        self._ready: frozenset[int] = frozenset()
        self._trimmed = time.monotonic()

    async def make_ready(self, partitions: Set[int]) -> None:
        """Return when records of these partitions can be worked on. What changes memory waits until no flush is on its
        way: what that stores would not be seen."""
        if not partitions <= self._ready:
            await self._stages.all_stored()
            held = [tp.partition for tp in self._assignment() if tp.topic == self._settings.topic(EVENTS)]
            await self._stages.working.run(self._read_back, held)
            self._ready = frozenset(held)
        elif time.monotonic() - self._trimmed >= TRIM_SECONDS:
            await self._stages.all_stored()
            await self._stages.working.run(self._ingest.trim, self._since())
            self._trimmed = time.monotonic()

    def end(self) -> None:
        """The partitions were taken away, and all that was delivered of them is stored."""
        self._ready = frozenset()

    def _read_back(self, partitions: list[int]) -> None:
        with self._progress.take_over():
            self._stalls.insist(partial(self._assign, partitions), doing="reading back the state of partitions")

    def _assign(self, partitions: list[int]) -> None:
        started = time.monotonic()
        topic = self._settings.topic(EVENTS)
        self.source = topics.source_of(self._settings, topic)
        count = topics.partition_count(self._settings, topic)
        self._prices.look()
        self._ingest.assign(partitions, partition_count=count, source=self.source, since=self._since())
        seconds = round(time.monotonic() - started, 2)
        log.info("partitions taken over", partitions=sorted(partitions), ids=len(self._ingest.seen), seconds=seconds)

    def _since(self) -> datetime:
        return self._clock() - self._settings.dedup_window
