"""Chunks to batches: filled while the taker is busy, quick when nothing more comes, acknowledged in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from faust.types import TP

from stream.consume.batches import Batch, batches
from stream.consume.delivery import Chunk
from tests.support.records import log_of

AGES = timedelta(hours=1)  # a wait that ends a test only by failing it
AT_ONCE = timedelta(microseconds=1)


class FakeEvent:
    """A Faust event with a chunk; it notes when it was acknowledged."""

    def __init__(self, rows: int, acknowledged: list[FakeEvent] | None = None, *, size: int = 0) -> None:
        self.value = Chunk(TP("t", 0), log_of([b"x"] * rows), size)  # type: ignore[arg-type]  # records as the stream reads them
        self._acknowledged = acknowledged if acknowledged is not None else []

    def ack(self) -> None:
        self._acknowledged.append(self)


async def stream_of(*events: FakeEvent, then: asyncio.Event | None = None) -> AsyncIterator[Any]:
    for event in events:
        yield event
    if then is not None:
        await then.wait()


async def sizes(events: AsyncIterator[Any], **named: Any) -> list[list[int]]:
    return [[len(chunk) for chunk in batch.chunks] async for batch in batches(events, **named)]


async def test_a_batch_is_full_with_the_chunk_that_reaches_its_rows() -> None:
    events = [FakeEvent(rows) for rows in (4, 5, 1, 9, 30, 1)]
    async with asyncio.timeout(10):
        taken = []
        open_end = asyncio.Event()
        async for batch in batches(stream_of(*events, then=open_end), rows_max=10, wait_max=AGES):
            taken.append([len(chunk) for chunk in batch.chunks])
            if len(taken) == 2:
                break
    assert taken == [[4, 5, 1], [9, 30]]


@pytest.mark.parametrize("sizes_of_chunks", [(1, 9, 30, 1), (9, 1, 2, 8, 10), (3, 4, 5, 1, 9)])
async def test_a_batch_takes_no_chunk_more_once_its_rows_are_reached(sizes_of_chunks: tuple[int, ...]) -> None:
    """Whatever the order of small and large chunks."""
    events = [FakeEvent(rows) for rows in sizes_of_chunks]
    async with asyncio.timeout(10):
        taken = await sizes(stream_of(*events), rows_max=10, wait_max=timedelta(seconds=0.2))
    for batch in taken:
        assert sum(batch[:-1]) < 10
    assert [size for batch in taken for size in batch] == list(sizes_of_chunks)
    assert all(sum(batch) >= 10 for batch in taken[:-1])


async def test_who_takes_no_more_batches_lets_go_of_the_stream() -> None:
    asked: list[int] = []

    async def endless() -> AsyncIterator[Any]:
        while True:
            asked.append(1)
            yield FakeEvent(1)
            await asyncio.sleep(0)

    async with asyncio.timeout(10):
        running = batches(endless(), rows_max=1_000_000, wait_max=AT_ONCE)
        await anext(running)
        await running.aclose()
        await asyncio.sleep(0)
        before = len(asked)
        for _ in range(20):
            await asyncio.sleep(0)
    assert len(asked) == before


async def test_a_batch_is_full_with_the_chunk_that_reaches_its_bytes() -> None:
    events = [FakeEvent(1, size=size) for size in (400, 500, 99, 1, 1_000, 3_000, 1)]
    async with asyncio.timeout(10):
        taken = await sizes(stream_of(*events), rows_max=1_000, bytes_max=1_000, wait_max=timedelta(seconds=0.2))
    assert taken == [[1, 1, 1, 1], [1], [1], [1]]


async def test_what_is_fetched_ahead_has_a_bound_in_bytes_whatever_was_taken_out_of_it() -> None:
    fetched = 0

    async def plenty() -> AsyncIterator[Any]:
        nonlocal fetched
        for number in range(1_000):
            fetched += 1
            yield FakeEvent(1, size=1 if number % 2 else 1_000)

    async with asyncio.timeout(10):
        running = batches(plenty(), rows_max=1_000, bytes_max=1_000, wait_max=AGES)
        for taken in range(1, 21):
            await anext(running)
            for _ in range(100):
                await asyncio.sleep(0)
            assert fetched <= 2 * taken + 4
        await running.aclose()


async def test_a_batch_waits_for_the_chunk_that_fills_it() -> None:
    async def slow() -> AsyncIterator[Any]:
        for _ in range(2):
            yield FakeEvent(1)
            for _ in range(100):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        assert await sizes(slow(), rows_max=2, wait_max=AGES) == [[1, 1]]


async def test_a_batch_that_does_not_fill_is_handed_on_after_its_wait() -> None:
    async with asyncio.timeout(10):
        open_end = asyncio.Event()
        async for batch in batches(stream_of(FakeEvent(3), then=open_end), rows_max=10, wait_max=AT_ONCE):
            assert [record.offset for record in batch.records] == [0, 1, 2]
            break


async def test_a_batch_that_is_not_full_fills_on_until_those_before_it_are_through() -> None:
    through, open_end = asyncio.Event(), asyncio.Event()

    async def earlier_done() -> None:
        await through.wait()

    async def trickle() -> AsyncIterator[Any]:
        for _ in range(6):
            yield FakeEvent(1)
            for _ in range(50):  # each long after the wait of the first is over
                await asyncio.sleep(0)
        through.set()
        await open_end.wait()

    async with asyncio.timeout(10):
        async for batch in batches(trickle(), rows_max=10, wait_max=AT_ONCE, earlier_done=earlier_done):
            assert len(batch.chunks) == 6
            break


async def test_a_full_batch_waits_for_nothing_and_the_last_of_a_stream_neither() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        events = stream_of(*(FakeEvent(1) for _ in range(5)))
        assert await sizes(events, rows_max=2, wait_max=AT_ONCE, earlier_done=never) == [[1, 1], [1, 1], [1]]


async def test_the_end_of_the_stream_ends_the_batches_and_leaves_no_chunk_behind() -> None:
    async with asyncio.timeout(10):
        taken = await sizes(stream_of(*(FakeEvent(1) for _ in range(5))), rows_max=2, wait_max=AT_ONCE)
    assert sum(len(batch) for batch in taken) == 5


async def test_while_the_taker_is_busy_the_next_batch_fills_up_to_a_bound() -> None:
    fetched = 0

    async def plenty() -> AsyncIterator[Any]:
        nonlocal fetched
        for _ in range(1_000):
            fetched += 1
            yield FakeEvent(1)

    async with asyncio.timeout(10):
        running = batches(plenty(), rows_max=10, wait_max=AGES)
        await anext(running)
        for _ in range(1_000):
            await asyncio.sleep(0)
        waiting = fetched - 10
        second = await anext(running)
        await running.aclose()
    assert 10 <= waiting <= 10 + 2  # a batch ahead, and what the pump holds in hand
    assert len(second.records) == 10


async def test_an_error_of_the_stream_reaches_the_taker() -> None:
    async def broken() -> AsyncIterator[Any]:
        yield FakeEvent(1)
        raise ConnectionError("the fetch failed")

    with pytest.raises(ConnectionError):
        async with asyncio.timeout(10):
            await sizes(broken(), rows_max=1, wait_max=AGES)


def test_a_batch_is_acknowledged_in_the_order_of_delivery() -> None:
    acknowledged: list[FakeEvent] = []
    events = [FakeEvent(1, acknowledged) for _ in range(3)]
    Batch(tuple(events)).ack()
    assert acknowledged == events
