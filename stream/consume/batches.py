"""Chunks to batches: what was fetched of a few partitions, together, so that ClickHouse gets few large inserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from stream.consume.delivery import Chunk
from stream.consume.wire import FetchedRecord


@dataclass(frozen=True, slots=True)
class Batch:
    """Faust events, each with a chunk, in the order they were delivered."""

    events: tuple[Any, ...]

    @property
    def chunks(self) -> list[Chunk]:
        return [event.value for event in self.events]

    @property
    def partitions(self) -> set[int]:
        return {chunk.tp.partition for chunk in self.chunks}

    @property
    def records(self) -> list[FetchedRecord]:
        return [record for chunk in self.chunks for record in chunk.records]

    def ack(self) -> None:
        """Kafka may forget these records: they are stored. In order and without a pause, so no commit falls between."""
        for event in self.events:
            event.ack()


# Twice what a hundred thousand usual events come to. At most six batches are in memory, and one look at the fetches.
BATCH_BYTES_MAX: Final = 64 * 1024**2


async def batches(
    events: AsyncIterator[Any], *, rows_max: int, wait_max: timedelta, bytes_max: int = BATCH_BYTES_MAX
) -> AsyncIterator[Batch]:
    """Batches of ``rows_max`` records or ``bytes_max`` bytes or a chunk more, or what has come ``wait_max`` after their
    first chunk.

    While the taker of a batch is busy the next one fills: under load batches are large, and under none they are quick.
    """
    bound = _Bound(rows_max, bytes_max)
    waiting = _Waiting(bound)
    pump = asyncio.create_task(_pump(events, waiting))
    try:
        while first := await _get(waiting, pump):
            yield await _fill(first, waiting, bound, wait_max.total_seconds())
    finally:
        pump.cancel()


@dataclass(frozen=True, slots=True)
class _Bound:
    """How much a batch holds before it is full."""

    rows: int
    bytes: int

    def reached(self, rows: int, size: int) -> bool:
        return rows >= self.rows or size >= self.bytes


class _Waiting:
    """Events fetched ahead of the batch in work: at most a batch, or a chunk more."""

    def __init__(self, bound: _Bound) -> None:
        self._bound = bound
        self._rows = self._bytes = 0
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, event: Any) -> None:
        await self._room.wait()
        self._rows += len(event.value)
        self._bytes += event.value.size
        if self._bound.reached(self._rows, self._bytes):
            self._room.clear()
        self._events.put_nowait(event)

    async def get(self) -> Any:
        event = await self._events.get()
        self._rows -= len(event.value)
        self._bytes -= event.value.size
        if not self._bound.reached(self._rows, self._bytes):
            self._room.set()
        return event


async def _pump(events: AsyncIterator[Any], waiting: _Waiting) -> None:
    """A Faust stream breaks if a wait for its next event is cancelled; a queue does not."""
    async for event in events:
        await waiting.put(event)


async def _get(waiting: _Waiting, pump: asyncio.Task[None]) -> Any:
    """The next event; None when the stream has ended, which it does when the worker stops."""
    getting = asyncio.ensure_future(waiting.get())
    await asyncio.wait({getting, pump}, return_when=asyncio.FIRST_COMPLETED)
    if getting.done():
        return getting.result()
    getting.cancel()
    return pump.result()  # raises what the pump raised


async def _fill(first: Any, waiting: _Waiting, bound: _Bound, wait_seconds: float) -> Batch:
    taken, rows, size = [first], len(first.value), first.value.size
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while not bound.reached(rows, size):
        try:
            async with asyncio.timeout_at(deadline):
                taken.append(await waiting.get())
        except TimeoutError:
            break
        rows += len(taken[-1].value)
        size += taken[-1].value.size
    return Batch(tuple(taken))
