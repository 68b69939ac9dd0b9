"""The ten verbs: what a worker does with a usage event, and with what it has stored. Open this first.

    usage.events ─▶ decode ─▶ work out ─▶ store ─▶ usage.rollups ─▶ watch, judge ─▶ usage.alerts ─▶ notify
                                            │                                 └─▶ usage.budgets
                                            ├─▶ ClickHouse ─▶ audit, fill, keep ─▶ usage.alerts ─▶ notify
                                            │           └─▶ export ─▶ /metrics
                                            └─▶ usage.deadletter

Kafka remembers what is not done yet (offsets), ClickHouse what is (rows); the worker itself may be killed at any line.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import faust

from stream.consume.batches import batches
from stream.consume.delivery import chunk_events
from stream.holding import Holding
from stream.ingest import Ingest
from stream.judges import Judges
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.stages import Stages
from stream.store.order import Store
from stream.store.vanished import LostPlaces
from stream.tally import Tally

WATCH_TICK_SECONDS: Final = 0.25  # how often the watch asks itself whether it is due
TICK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Pipeline:
    settings: Settings
    stages: Stages
    ingest: Ingest
    holding: Holding
    lost_places: LostPlaces
    warehouse: Store
    stalls: Stalls
    tally: Tally
    judges: Judges

    async def decode(self, events: faust.Stream[Any]) -> None:
        """Batches of usage.events in, decoded batches out."""
        rows_max, wait_max = self.settings.batch_rows_max, self.settings.batch_wait_max
        taken = batches(chunk_events(events), rows_max=rows_max, wait_max=wait_max, earlier_done=self.stages.none_waits)
        async for batch in taken:
            await self.lost_places.note()
            await self.holding.make_ready(batch.partitions)
            decoded = await self.stages.decoding.run(self.ingest.decode, batch.records)
            await self.stages.decoded.put((batch, decoded))

    async def work_out(self) -> None:
        """Decoded batches in, flushes out: told apart, priced, rolled up."""
        while True:
            batch, decoded = await self.stages.decoded.get()
            process = partial(self.ingest.process, decoded)
            flush = await self.stages.working.run(self.stalls.insist, process, doing="looking up what is stored")
            await self.stages.flushes.put((batch, flush))
            self.stages.decoded.task_done()

    async def store(self) -> None:
        """Store, then acknowledge, in the order of delivery. What cannot be stored now is tried until it can."""
        while True:
            batch, flush = await self.stages.next_flush()
            save = partial(self.warehouse.save, flush, source=self.holding.source)
            with self.tally.flush_seconds():
                await self.stages.storing.run(self.stalls.insist, save, doing="storing a batch")
            batch.ack()
            self.ingest.settle(flush)
            self.stages.flushes.task_done()
            self.tally.stored(batch, flush)

    async def watch(self, rollups: faust.Stream[Any]) -> None:
        """Note which hours changed. Acknowledged at once: whoever judges next judges all hours in reach anew."""
        rows_max, wait_max = self.settings.batch_rows_max, self.settings.watch_interval
        async for batch in batches(chunk_events(rollups), rows_max=rows_max, wait_max=wait_max):
            self.judges.watcher.part.notice(self.tally.rollups(record.value for record in batch.records))
            batch.ack()

    async def judge(self) -> None:
        """Are these hours usual, and whose budget is used up? While this worker holds usage.rollups, when it is due."""
        while True:
            await asyncio.sleep(WATCH_TICK_SECONDS)
            await self.stages.judging.run(self.judges.limits.tick)
            self.tally.told(await self.stages.judging.run(self.judges.watcher.tick))

    async def audit(self) -> None:
        """Does everything that is stored add up? Likewise."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.judges.auditor.follow(self.judges.turn.number)
            await self.stages.auditing.run(self.judges.auditor.tick)

    async def fill(self) -> None:
        """Beside them: are the sums that budgets are judged by whole? Likewise."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.judges.filler.follow(self.judges.turn.number)
            await self.stages.filling.run(self.judges.filler.tick)

    async def keep(self) -> None:
        """Does the pipeline itself run as it should? Likewise, and in an outage of the warehouse too."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tally.told(await self.stages.keeping.run(self.judges.keeper.tick))

    async def notify(self) -> None:
        """Tell people what is on usage.alerts, on their channels. Likewise."""
        while True:
            await asyncio.sleep(WATCH_TICK_SECONDS)
            await self.stages.notifying.run(self.judges.notifier.tick)

    async def export(self) -> None:
        """What was used, for Prometheus. Likewise."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self.stages.exporting.run(self.judges.exporter.tick)
