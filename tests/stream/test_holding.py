"""Partitions are read back when nothing is on its way to the warehouse, and only those that are new to this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from faust.types import TP

from costream.topics import EVENTS
from stream.consume.positions import Positions
from stream.consume.progress import Progress
from stream.holding import Holding
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.runtime.telemetry import Telemetry
from stream.stages import Stages
from stream.up.broker import EmbeddedBroker

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Memory:
    """In place of the state of the partitions, and of the prices: notes what is taken over."""

    def __init__(self) -> None:
        self.looks = 0
        self.taken: list[list[int]] = []
        self.seen: list[Any] = []

    def look(self) -> None:
        """For the newest prices, before anything is priced."""
        self.looks += 1
        assert self.looks == len(self.taken) + 1

    def assign(self, partitions: list[int], **_: Any) -> None:
        self.taken.append(sorted(partitions))


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({EVENTS: 4}) as broker:
        yield broker


async def test_partitions_are_taken_over_once_and_when_all_is_stored(broker: EmbeddedBroker) -> None:
    memory, stages, held = Memory(), Stages(), {0, 1}
    holding = Holding(
        memory,  # type: ignore[arg-type]  # as much of it as is asked
        memory,  # type: ignore[arg-type]  # the prices, likewise
        assignment=lambda: [TP(EVENTS, partition) for partition in held] + [TP("usage.rollups", 0)],
        settings=Settings(kafka_bootstrap_servers=broker.bootstrap_servers),
        stages=stages,
        stalls=Stalls(Patience(Telemetry().stalled), clock=lambda: NOW),
        progress=Progress(Positions()),
        clock=lambda: NOW,
    )
    try:
        stages.flushes.put_nowait(None)  # type: ignore[arg-type]  # a batch that is not stored yet
        taking = asyncio.ensure_future(holding.make_ready({0}))
        await asyncio.sleep(0.2)
        assert not memory.taken
        stages.flushes.get_nowait()
        stages.flushes.task_done()
        await taking
        assert memory.taken == [[0, 1]]
        assert holding.source
        await holding.make_ready({1})
        assert memory.taken == [[0, 1]], "it was taken over with the other"
        held.add(2)
        await holding.make_ready({2})
        assert memory.taken[1:] == [[0, 1, 2]]
        holding.end()
        await holding.make_ready({0})
        assert memory.taken[2:] == [[0, 1, 2]], "another worker may have gone on meanwhile"
        assert memory.looks == 3
    finally:
        stages.close()
