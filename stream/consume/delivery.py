"""Faust in chunks: one Faust event per fetched run of records of a partition.

A Faust agent that takes one event at a time spends about 100 us of asyncio on each; the same agent fed with chunks
spends it once in a thousand records (docs/decisions/0001). The scheduler, the topic's schema and the transport are
public extension points of Faust. What the consumer and the application override beyond them is private to
faust-streaming 0.15.3, and written with an underscore; tests/stream/test_delivery.py and test_worker_log.py fail when
it moves.

The rule that makes commits safe: **the chunks of a partition are acknowledged in the order they were delivered, and
none is skipped.** An acknowledged chunk may therefore be committed with all that stands before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from faust import App, Schema, Stream
from faust import streams as faust_streams
from faust.transport.drivers.aiokafka import Consumer, Producer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.consume.aiokafka_patches import Fetched
from stream.consume.fetching import ChunkConsumerThread, Consumption, connected
from stream.consume.wire import FetchedRecord


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive fetched records of one partition, at least one; ``eq`` is identity, so that a set holds it."""

    tp: TP
    records: list[FetchedRecord]
    size: int = 0  # bytes read for them, decompressed

    @property
    def offset_first(self) -> int:
        return self.records[0].offset

    @property
    def offset_last(self) -> int:
        return self.records[-1].offset

    def __len__(self) -> int:
        return len(self.records)


class ChunkScheduler:
    """Faust's ``ConsumerScheduler``: hands on what one fetch brought for a partition as one chunk."""

    def iterate(self, records: Mapping[TP, Fetched]) -> Iterator[tuple[TP, Chunk]]:
        for tp, fetched in records.items():
            if fetched:
                yield tp, Chunk(tp, fetched, fetched.size)


class ChunkSchema(Schema[Any, Any]):
    """Leaves key and value as they are: Faust acknowledges what it cannot decode, so it must not decode."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


class ChunkConsumer(Consumer):
    """Commits by chunk. A chunk carries its last offset, which Faust takes for a message with a gap before it."""

    def _to_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,  # whose clock it was stays Kafka's business: the topic is created with the broker's
            None,  # key and headers stay with their records
            None,
            chunk,  # type: ignore[arg-type]  # Faust expects bytes here and hands on whatever it is given
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """The offsets inside a chunk are not a gap; Faust would list every one of them, and the chunk's own twice."""

    @property
    def _consumption(self) -> Consumption:
        return cast(StatelessApp, self.app).consumption

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        """Also those of which nothing was acknowledged: reading may have passed markers, which are no records."""
        yield from {*super()._filter_tps_with_pending_acks(topics), *self._consumption.positions.known()}

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: past the last acknowledged chunk, since chunks are acknowledged in order, and past what
        stands between it and the next record."""
        acknowledged = self._acked[tp]
        if acknowledged:
            self._consumption.positions.acknowledge(tp, int(max(acknowledged)))
            acknowledged.clear()
            self._acked_index[tp].clear()
        return self._consumption.positions.committable(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Faust notes a commit that failed as done; this one is tried again a second later."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        did_commit = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not did_commit:
            self._committed_offset.update(before)
        return did_commit

    def on_buffer_full(self, tp: TP) -> None:
        """Fetching stops because the stream's queue is bounded; Faust's own way would then idle for a second."""

    def on_buffer_drop(self, tp: TP) -> None:
        """The counterpart of on_buffer_full."""


class PatientProducer(Producer):
    """Faust starts one, though nothing is published by it (outbox.py does that); it must not end a start."""

    async def on_start(self) -> None:
        shared = cast(StatelessApp, self.app).consumption
        await connected(super().on_start, self.on_stop, shared, doing="connecting to Kafka")


class ChunkTransport(Transport):
    """Faust's aiokafka transport with the consumer and the producer above."""

    Consumer = ChunkConsumer
    Producer = PatientProducer


class StatelessApp(App):
    """A Faust application without tables: it has nothing to keep on disk. It says so before it gives anything up.

    Faust's own signal ``on_partitions_revoked`` comes after the wait for flushes, which may outlast the group's
    patience, and not at all when the worker stops.
    """

    before_leaving: Callable[[], Awaitable[None]]
    consumption: Consumption  # shared with the consumer's thread

    def _create_directories(self) -> None:
        """None: Faust would leave an empty folder wherever the worker is started."""

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.before_leaving()
        await super()._on_partitions_revoked(revoked)

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: Faust would close the coordinator under the commit that ends the stop, and that commit would then be
        tried for ever. Left alone, it goes through or is refused."""

    async def stop(self) -> None:
        await self.before_leaving()
        await super().stop()


def require_compiled_streams() -> None:
    """Refuse Faust's pure Python stream iterator: it acknowledges events that it skips after a rebalance."""
    if faust_streams._CStreamIterator is None:  # type: ignore[attr-defined]  # imported there, not exported
        raise RuntimeError(
            "faust-streaming runs without its compiled stream iterator, which would acknowledge skipped events; "
            "install the wheel of this platform or build it with Cython. Nothing was consumed."
        )


async def chunk_events(stream: Stream[Any]) -> Any:
    """The Faust events of a stream, each holding a chunk, none acknowledged before ``event.ack()``."""
    async for event in stream.noack().events():
        yield event
