"""Chunks to batches: what was fetched of a few partitions, together, so that ClickHouse gets few large inserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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


async def _at_once() -> None:
    """Nobody needs to be waited for."""


async def batches(
    events: AsyncIterator[Any],
    *,
    rows_max: int,
    wait_max: timedelta,
    bytes_max: int = BATCH_BYTES_MAX,
    earlier_done: Callable[[], Awaitable[None]] = _at_once,
) -> AsyncIterator[Batch]:
    """Batches of ``rows_max`` records or ``bytes_max`` bytes or a chunk more, or what has come ``wait_max`` after their
    first chunk, and until ``earlier_done`` returns: all batches before it are through.

    So full batches follow one another closely, and one that is not full fills up instead of standing in a queue: under
    load batches are large, and under none they are quick.
    """
    bound = _Bound(rows_max, bytes_max)
    waiting = _Waiting(bound)
    pump = asyncio.create_task(_pump(events, waiting))
    try:
        while first := await _get(waiting, pump):
            over = asyncio.create_task(_over(wait_max.total_seconds(), earlier_done))
            try:
                yield await _fill(first, waiting, bound, over=over, pump=pump)
            finally:
                over.cancel()
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


async def _over(wait_seconds: float, earlier_done: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(wait_seconds)
    await earlier_done()


async def _fill(
    first: Any, waiting: _Waiting, bound: _Bound, *, over: asyncio.Task[None], pump: asyncio.Task[None]
) -> Batch:
    taken, rows, size = [first], len(first.value), first.value.size
    while not (bound.reached(rows, size) or over.done()):
        getting = asyncio.ensure_future(waiting.get())
        await asyncio.wait({getting, over, pump}, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            getting.cancel()
            break
        taken.append(getting.result())
        rows += len(taken[-1].value)
        size += taken[-1].value.size
    return Batch(tuple(taken))
