"""The queues between the stages: who may go on when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from stream.stages import Stages

ONE, OTHER = cast(Any, "a batch"), cast(Any, "the next")


@pytest.fixture
async def stages() -> AsyncIterator[Stages]:
    stages = Stages()
    yield stages
    stages.close()


async def settled(task: asyncio.Task[None]) -> bool:
    for _ in range(20):
        await asyncio.sleep(0)
    return task.done()


async def test_none_waits_once_the_last_batch_is_being_stored(stages: Stages) -> None:
    await asyncio.wait_for(stages.none_waits(), 10)  # nothing has come yet
    await stages.decoded.put(ONE)
    waiting = asyncio.create_task(stages.none_waits())
    assert not await settled(waiting), "it is not worked out yet"
    await stages.flushes.put(await stages.decoded.get())
    stages.decoded.task_done()
    assert not await settled(waiting), "it waits to be stored"
    assert await stages.next_flush() is ONE
    assert await settled(waiting), "it is being stored"


async def test_all_is_stored_only_when_it_is(stages: Stages) -> None:
    await stages.flushes.put(ONE)
    waiting = asyncio.create_task(stages.all_stored())
    await stages.next_flush()
    assert not await settled(waiting)
    stages.flushes.task_done()
    assert await settled(waiting)


async def test_a_batch_that_comes_meanwhile_is_waited_for_as_well(stages: Stages) -> None:
    await stages.flushes.put(ONE)
    waiting = asyncio.create_task(stages.none_waits())
    assert not await settled(waiting)
    taken = asyncio.create_task(stages.next_flush())
    putting = asyncio.create_task(stages.flushes.put(OTHER))
    assert not await settled(waiting), "the next one waits behind it now"
    assert (await taken, putting.done()) == (ONE, True)
    assert await stages.next_flush() is OTHER
    assert await settled(waiting)
