"""What passes from the callers to the background thread, and the counts of what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from costream.delivery.spool import Message


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """What became of the events since this producer was made, or since the fork that copied it."""

    recorded: int = 0  # handed to record()
    delivered: int = 0  # acknowledged by Kafka, those an earlier process had left in the spool included
    spooled: int = 0  # written to disk because Kafka did not take them
    spool_rows: int = 0  # on disk now, copies of what Kafka has not answered for included
    queued: int = 0  # in memory only, not acknowledged yet
    dropped: int = 0  # given up because a bound was reached; reported as a usage event
    refused: int = 0  # not an event, or Kafka will never take it; reported as well
    changed: int = 0  # recorded, but a part had to be cut, replaced or left out; the event says which


@dataclass(slots=True)
class Counts:
    """What became of the events. Written by the background thread alone."""

    taken: int = 0
    delivered: int = 0
    spooled: int = 0
    dropped: int = 0
    refused: int = 0
    changed: int = 0


@dataclass(slots=True)
class Parcel:
    """A message on its way: from memory, where ``epoch`` says which flushes wait for it, or from a row of the spool."""

    message: Message
    epoch: int = 0
    row: int | None = None
    ahead: int | None = None  # the row of a copy on disk, while Kafka has not answered
    settled: bool = False


@dataclass(slots=True)
class FlushOrder:
    """Stands in the queue behind the events it waits for."""

    epoch: int | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class StopOrder:
    deadline: float
