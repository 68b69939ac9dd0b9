"""Faust in chunks: what is handed on, and which offset an acknowledgement commits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust import App
from faust.transport.consumer import Fetcher
from faust.types import TP
from mode import Service
from prometheus_client import CollectorRegistry, Gauge

from stream.consume.delivery import (
    Chunk,
    ChunkConsumer,
    ChunkScheduler,
    ChunkSchema,
    ChunkTransport,
    StatelessApp,
)
from stream.consume.fetching import Consumption
from stream.consume.reading import Fetched
from stream.runtime.patience import Patience
from tests.support.records import FakeRecord, log_of

WAIT_MAX_S = 20.0
HERE, THERE = TP("usage.events", 0), TP("usage.events", 1)


def chunk(tp: TP = HERE, *, first: int = 0, rows: int = 3) -> Chunk:
    return Chunk(tp, log_of([b"x"] * rows, partition=tp.partition, first=first))  # type: ignore[arg-type]  # as the stream reads them


class Kafka(Service):
    """The edge, in the place of the thread in which aiokafka runs: what it fetches, and what it is told to commit."""

    def __init__(self, *fetched: dict[TP, list[FakeRecord]]) -> None:
        super().__init__()
        self._fetched = list(fetched)
        self.committed: list[dict[TP, int]] = []

    async def getmany(self, _active: set[TP], _seconds: float) -> dict[TP, Fetched]:
        if not self._fetched:
            await asyncio.Event().wait()  # nothing more is published
        return {tp: Fetched(records) for tp, records in self._fetched.pop(0).items()}  # type: ignore[arg-type]  # as the stream reads them

    async def commit(self, offsets: dict[TP, int]) -> bool:
        self.committed.append(dict(offsets))
        return True

    def assignment(self) -> set[TP]:
        return {HERE, THERE}

    def highwater(self, _: TP) -> int:
        return 0

    def close(self) -> None:
        pass


class Reading:
    """Faust's own fetcher between that edge and a stream; what arrives in ``messages`` waits to be acknowledged."""

    def __init__(self, kafka: Kafka) -> None:
        class Consumer(ChunkConsumer):
            def new_thread(self) -> Any:
                return kafka

        self._app = StatelessApp("test", broker="kafka://nowhere", ConsumerScheduler=ChunkScheduler)
        self._app.consumption = Consumption(Patience(Gauge("stalled", "", registry=CollectorRegistry())))
        self._app.topics.acking_topics.add(HERE.topic)
        self._app.producer = SimpleNamespace(flush=self._nothing)  # type: ignore[assignment]  # a commit flushes it first
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        transport = ChunkTransport(["kafka://nowhere"], self._app)
        self.consumer = Consumer(transport, self.messages.put, self._nothing, self._nothing)  # type: ignore[arg-type]  # no rebalance comes
        self._app.consumer = self.consumer
        self.consumer.resume_flow()
        self.consumer.resume_partitions({HERE, THERE})

    async def _nothing(self, *_: Any) -> None:
        pass

    async def acknowledge(self, count: int) -> list[int]:
        """The last offsets of the next messages, which are acknowledged in the order in which they came."""
        messages = [await asyncio.wait_for(self.messages.get(), WAIT_MAX_S) for _ in range(count)]
        assert all(self.consumer.ack(message) for message in messages)
        return [message.offset for message in messages]


@contextlib.asynccontextmanager
async def reading(*fetched: dict[TP, list[FakeRecord]]) -> AsyncIterator[tuple[Reading, Kafka]]:
    kafka = Kafka(*fetched)
    reading = Reading(kafka)
    fetcher = Fetcher(reading.consumer.app)
    await fetcher.start()
    yield reading, kafka
    await fetcher.stop()


def test_one_fetch_of_a_partition_is_one_chunk_and_an_empty_one_none() -> None:
    here, there = Fetched(log_of([b"a", b"b"])), Fetched(log_of([b"c"], partition=1))  # type: ignore[arg-type]  # as above
    here.size, there.size = 20, 10
    taken = list(ChunkScheduler().iterate({HERE: here, THERE: there, TP("usage.events", 2): Fetched()}))
    assert [(tp, part.records, part.size) for tp, part in taken] == [(HERE, here, 20), (THERE, there, 10)]


def test_a_chunk_knows_its_bounds_with_the_gaps_that_compaction_leaves() -> None:
    records = [FakeRecord(b"x", 0, offset) for offset in (5, 6, 9)]
    part = Chunk(HERE, records)  # type: ignore[arg-type]  # as above
    assert (part.offset_first, part.offset_last, len(part)) == (5, 9, 3)


def test_equal_chunks_are_still_two_so_that_a_set_holds_both() -> None:
    records = log_of([b"x"])
    assert len({Chunk(HERE, records), Chunk(HERE, records)}) == 2  # type: ignore[arg-type]  # as above


def test_nothing_is_decoded_since_faust_acknowledges_what_it_cannot_decode() -> None:
    message = SimpleNamespace(key=b"\xff", value=object())
    schema = ChunkSchema()
    assert schema.loads_key(None, message) is message.key
    assert schema.loads_value(None, message) is message.value


async def test_the_offset_to_commit_is_past_the_last_acknowledged_chunk_and_told_once() -> None:
    fetched = [{HERE: log_of([b"x"] * 5)}, {HERE: log_of([b"x"] * 5, first=5)}, {HERE: log_of([b"x"], first=10)}]
    async with reading(*fetched) as (stream, kafka):
        assert await stream.acknowledge(2) == [4, 9]
        assert await stream.consumer.commit()
        assert not await stream.consumer.commit(), "there is nothing new to say"
        assert await stream.acknowledge(1) == [10]
        assert await stream.consumer.commit()
        kept = [*stream.consumer._acked.values(), *stream.consumer._acked_index.values()]
        assert not any(kept), "what is committed would be kept for ever"
    assert kafka.committed == [{HERE: 10}, {HERE: 11}]


async def test_what_was_handed_on_and_not_acknowledged_is_not_committed() -> None:
    async with reading({HERE: log_of([b"x"] * 5)}, {HERE: log_of([b"x"] * 5, first=5)}) as (stream, kafka):
        await stream.acknowledge(1)
        await stream.messages.get()
        assert await stream.consumer.commit()
    assert kafka.committed == [{HERE: 5}]


async def test_partitions_are_committed_apart() -> None:
    here, there = log_of([b"x"] * 5), log_of([b"x"] * 3, partition=1)
    async with reading({HERE: here, THERE: there}) as (stream, kafka):
        await stream.acknowledge(1)
        await stream.messages.get()
        assert await stream.consumer.commit()
    assert kafka.committed == [{HERE: 5}]


async def test_the_offsets_inside_a_chunk_are_no_gap_and_those_that_compaction_took_hold_no_commit_back() -> None:
    """Faust takes a chunk for one message behind a gap and would keep an interval for each, for ever."""
    fetched = [{HERE: [FakeRecord(b"x", 0, offset) for offset in place]} for place in ((0, 5), (9, 1_000_000))]
    async with reading(*fetched) as (stream, kafka):
        await stream.acknowledge(2)
        assert await stream.consumer.commit()
        assert not any(stream.consumer._gap.values())
    assert kafka.committed == [{HERE: 1_000_001}]


def test_the_transport_brings_the_consumer_that_commits_by_chunk() -> None:
    assert ChunkTransport.Consumer is ChunkConsumer


async def test_before_partitions_go_or_the_worker_stops_it_says_so_first(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    async def say(what: str) -> None:
        said.append(what)

    monkeypatch.setattr(App, "_on_partitions_revoked", lambda app, revoked: say("revoked"))
    monkeypatch.setattr(App, "stop", lambda app: say("stopped"))
    app = StatelessApp("test")
    app.before_leaving = lambda: say("leaving")
    await app._on_partitions_revoked(set())
    await app.stop()
    assert said == ["leaving", "revoked", "leaving", "stopped"]


def test_a_rebalance_during_the_stop_leaves_the_consumer_open_for_the_last_commit() -> None:
    app = StatelessApp("test")
    app._consumer = SimpleNamespace(close=lambda: pytest.fail("closed under the commit that ends the stop"))  # type: ignore[assignment]  # all that Faust would call
    app._on_rebalance_when_stopped()
