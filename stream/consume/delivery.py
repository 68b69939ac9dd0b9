"""Faust in chunks: one Faust event per fetched run of records of a partition.

A Faust agent that takes one event at a time spends about 100 us of asyncio on each; the same agent fed with chunks
spends it once in a thousand records (docs/decisions/0001). The scheduler, the topic's schema and the transport are
public extension points of Faust; what goes beyond them is in faust_patches.py.

The rule that makes commits safe: **the chunks of a partition are acknowledged in the order they were delivered, and
none is skipped.** An acknowledged chunk may therefore be committed with all that stands before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from faust import Schema, Stream
from faust.transport.drivers.aiokafka import Producer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.consume.faust_patches import OpenApp, OpenConsumer
from stream.consume.fetching import ChunkConsumerThread, Consumption, connected
from stream.consume.reading import Fetched
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


class ChunkConsumer(OpenConsumer):
    """Commits by chunk. A chunk carries its last offset, which Faust takes for a message with a gap before it."""

    def message_of(self, tp: TP, fetched: Chunk) -> ConsumerMessage:
        last = fetched.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,  # whose clock it was stays Kafka's business: the topic is created with the broker's
            None,  # key and headers stay with their records
            None,
            fetched,  # type: ignore[arg-type]  # Faust expects bytes here and hands on whatever it is given
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    @property
    def _consumption(self) -> Consumption:
        return cast(StatelessApp, self.app).consumption

    def new_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def also_to_commit(self) -> list[TP]:
        """Also those of which nothing was acknowledged: reading may have passed markers, which are no records."""
        return self._consumption.positions.known()

    def offset_to_commit(self, tp: TP, acknowledged: int | None) -> int | None:
        """The offset to commit: past the last acknowledged chunk, since chunks are acknowledged in order, and past what
        stands between it and the next record."""
        if acknowledged is not None:
            self._consumption.positions.acknowledge(tp, acknowledged)
        return self._consumption.positions.committable(tp)

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


class StatelessApp(OpenApp):
    """A Faust application without tables. It says so before it gives anything up, and before it stops."""

    before_leaving: Callable[[], Awaitable[None]]
    consumption: Consumption  # shared with the consumer's thread

    async def leave(self) -> None:
        await self.before_leaving()

    async def stop(self) -> None:
        await self.before_leaving()
        await super().stop()


async def chunk_events(stream: Stream[Any]) -> Any:
    """The Faust events of a stream, each holding a chunk, none acknowledged before ``event.ack()``."""
    async for event in stream.noack().events():
        yield event
