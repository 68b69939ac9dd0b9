"""The stages of a worker: their threads, and the queues between them."""

from __future__ import annotations

import asyncio

from stream.consume.batches import Batch
from stream.decode.frame import Decoded
from stream.runtime.stage import Stage
from stream.store.flush import Flush


class Stages:
    """One thread each: while a batch is stored the next is worked out and the one after it is decoded.

    A queue between two stages holds one, so at most six batches are in memory. Build it inside the running loop.
    """

    def __init__(self) -> None:
        self.decoding, self.working, self.storing = Stage("decode"), Stage("work"), Stage("store")
        self.judging, self.auditing, self.keeping = Stage("watch"), Stage("audit"), Stage("keep")
        self.filling, self.notifying, self.looking = Stage("fill"), Stage("notify"), Stage("prices")
        self.exporting = Stage("export")
        self.decoded: asyncio.Queue[tuple[Batch, Decoded]] = asyncio.Queue(maxsize=1)
        self.flushes: asyncio.Queue[tuple[Batch, Flush]] = asyncio.Queue(maxsize=1)
        self._flush_taken = asyncio.Condition()

    async def next_flush(self) -> tuple[Batch, Flush]:
        """What is to be stored next, once it is there."""
        taken = await self.flushes.get()
        async with self._flush_taken:
            self._flush_taken.notify_all()
        return taken

    async def none_waits(self) -> None:
        """Return once nothing is on its way to the warehouse but what is being stored."""
        await self.decoded.join()
        async with self._flush_taken:
            await self._flush_taken.wait_for(self.flushes.empty)

    async def all_stored(self) -> None:
        """Return once nothing is on its way from decoding to the warehouse."""
        await self.decoded.join()
        await self.flushes.join()

    def close(self) -> None:
        judges = (self.judging, self.auditing, self.filling, self.keeping, self.notifying, self.exporting)
        for stage in (self.decoding, self.working, self.storing, *judges, self.looking):
            stage.close()
