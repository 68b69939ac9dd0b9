"""Records that were gone from Kafka before they were read: said, counted, and kept in the warehouse for good.

The consumer's thread tells where the offset that the group had come to is not in the log any more. What was lost by
that is what neither the group has acknowledged nor the ledger has: offsets from there to where the log begins now. How
many of these were records nobody can tell any more; so numbers are upper bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import polars as pl
import structlog

from costream.topics import EVENTS
from sinks.clickhouse import state
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.consume.fetching import LostPlace
from stream.runtime import topics
from stream.runtime.settings import Settings
from stream.runtime.stage import Stage
from stream.runtime.stalls import Stalls

TABLE: Final = "vanished_records"
TICK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class VanishedRecords:
    """Judges each lost place, and writes down what vanished. Doing it again for the same place changes nothing."""

    def __init__(self, *, reader: Reader, writer: Writer, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._reader, self._writer, self._settings, self._clock = reader, writer, settings, clock

    def note(self, place: LostPlace) -> int:
        """How many records vanished, at most."""
        if place.tp.topic != self._settings.topic(EVENTS):
            return 0  # what we have written ourselves: the warehouse has it
        source = topics.source_of(self._settings, place.tp.topic)
        read_next = self._read_next(place, source)
        if read_next is None:
            _tell_of_the_start(place)
            return 0
        if read_next >= place.begin:
            _tell_of_the_end(place, read_next)
            return 0
        self._write(place, source, read_next)
        return place.begin - read_next

    def _read_next(self, place: LostPlace, source: str) -> int | None:
        """The offset after the last one acknowledged or stored; None if nothing ever was."""
        stored = state.applied_offsets(
            self._reader, "ingest_ledger", source=source, partitions=[place.tp.partition]
        ).get(place.tp.partition)
        known = [place.expected, None if stored is None else stored + 1]
        return max((offset for offset in known if offset is not None), default=None)

    def _write(self, place: LostPlace, source: str, first: int) -> None:
        row = {
            "source": source,
            "source_partition": place.tp.partition,
            "offset_first": first,
            "offset_last": place.begin - 1,
            "noticed_at": self._clock(),
            "consumer_group": self._settings.consumer_group,
        }
        self._writer.insert(TABLE, pl.DataFrame([row], schema_overrides={"noticed_at": pl.Datetime("ms", "UTC")}))
        log.error(
            "RECORDS VANISHED BEFORE THEY WERE READ",
            topic=place.tp.topic,
            partition=place.tp.partition,
            offset_first=first,
            offset_last=place.begin - 1,
            records_max=place.begin - first,
            reason="Kafka deleted them: they expired, or somebody removed them",
            next=f"reading goes on at {place.begin}; `costream audit` names them ever after; keep the topic for longer "
            "than workers may be away",
        )


class LostPlaces:
    """The places that reading has lost: each is judged before any record beyond it is acknowledged."""

    def __init__(
        self,
        places: deque[LostPlace],
        vanished: VanishedRecords,
        *,
        storing: Stage,
        stalls: Stalls,
        count: Callable[[int], None],
    ) -> None:
        """``places`` are left there by the consumer; ``count`` is told how many records vanished."""
        self._places, self._vanished = places, vanished
        self._storing, self._stalls, self._count = storing, stalls, count
        self._noting = asyncio.Lock()

    async def note(self) -> None:
        """Return when all places that are known by now are noted."""
        async with self._noting:
            while self._places:
                note = partial(self._vanished.note, self._places[0])
                self._count(await self._storing.run(self._stalls.insist, note, doing="noting where reading goes on"))
                self._places.popleft()

    async def keep_noting(self) -> None:
        """Also where nothing comes after what vanished, as on a topic that is quiet since."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self.note()


def _tell_of_the_start(place: LostPlace) -> None:
    if place.begin > 0:
        log.info(
            "reading begins where the log does",
            topic=place.tp.topic,
            partition=place.tp.partition,
            offset=place.begin,
            next="what expired before was never this group's to read; nothing is missing from what it counts",
        )


def _tell_of_the_end(place: LostPlace, read_next: int) -> None:
    if read_next > place.end:
        log.error(
            "THE LOG ENDS BEFORE WHAT WAS READ OF IT",
            topic=place.tp.topic,
            partition=place.tp.partition,
            read_next=read_next,
            log_end=place.end,
            next="Kafka has lost its end, or the topic was recreated under the same COSTREAM_SOURCE: new records under "
            "offsets that were read already would be taken for replays. Give COSTREAM_SOURCE a new name and restart",
        )
