"""Chunks to batches: what was fetched of a few partitions, together, so that ClickHouse gets few large inserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from aiokafka.structs import ConsumerRecord

from stream.delivery import Chunk

CHUNKS_WAITING_MAX: Final = 64  # of about 1 MB each: what may be fetched ahead while a flush is being stored


@dataclass(frozen=True, slots=True)
class Batch:
    """Faust events, each with a chunk, in the order they were delivered."""

    events: tuple[Any, ...]

    @property
    def chunks(self) -> list[Chunk]:
        return [event.value for event in self.events]

    @property
    def records(self) -> list[ConsumerRecord]:
        return [record for chunk in self.chunks for record in chunk.records]

    def ack(self) -> None:
        """Kafka may forget these records: they are stored. In order and without a pause, so no commit falls between."""
        for event in self.events:
            event.ack()


async def batches(events: AsyncIterator[Any], *, rows_max: int, wait_max: timedelta) -> AsyncIterator[Batch]:
    """Batches of ``rows_max`` records or a chunk more, or what has come ``wait_max`` after their first chunk.

    While the taker of a batch is busy the next one fills: under load batches are large, and under none they are quick.
    """
    waiting: asyncio.Queue[Any] = asyncio.Queue(CHUNKS_WAITING_MAX)
    pump = asyncio.create_task(_pump(events, waiting))
    try:
        while first := await _get(waiting, pump):
            yield await _fill(first, waiting, rows_max, wait_max.total_seconds())
    finally:
        pump.cancel()


async def _pump(events: AsyncIterator[Any], waiting: asyncio.Queue[Any]) -> None:
    """A Faust stream breaks if a wait for its next event is cancelled; a queue does not."""
    async for event in events:
        await waiting.put(event)


async def _get(waiting: asyncio.Queue[Any], pump: asyncio.Task[None]) -> Any:
    """The next event; None when the stream has ended, which it does when the worker stops."""
    getting = asyncio.ensure_future(waiting.get())
    await asyncio.wait({getting, pump}, return_when=asyncio.FIRST_COMPLETED)
    if getting.done():
        return getting.result()
    getting.cancel()
    return pump.result()  # raises what the pump raised


async def _fill(first: Any, waiting: asyncio.Queue[Any], rows_max: int, wait_seconds: float) -> Batch:
    taken, rows = [first], len(first.value)
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while rows < rows_max:
        try:
            async with asyncio.timeout_at(deadline):
                taken.append(await waiting.get())
        except TimeoutError:
            break
        rows += len(taken[-1].value)
    return Batch(tuple(taken))
