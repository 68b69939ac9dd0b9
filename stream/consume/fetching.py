"""The consumer's thread: it reads as committed, never jumps over records in silence, and outlives what can be mended.

Left alone, aiokafka begins again at the log's start when the offset it asks for is gone, and says nothing of the
records between; it stops for ever when an ACL refuses the group. So it is told to raise, and that is handled here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from stream.consume.faust_patches import (
    OpenConsumer,
    OpenConsumerThread,
    assignment_of,
    begin_and_end,
    committed_in,
    coordinator_has_ended,
    ends_of,
    hidden_topics,
    is_member,
    join_again,
    raise_what_refused_the_group,
    reading_of,
    seem_busy,
)
from stream.consume.positions import Positions
from stream.consume.reading import look
from stream.runtime.kafka import commit_note, records_next_of
from stream.runtime.patience import WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Outage, Patience
from stream.runtime.rights import READ, Right, RightMissing, right_on_group, right_on_topic
from stream.runtime.topics import KafkaUnavailable

RETRY_SECONDS: Final = 1.0  # how soon a fetch that was refused is tried again
GROUP_SECONDS: Final = 1.0  # how soon a refusal of the group is said and tried again
ENDS_SECONDS: Final = 2.0  # how often the ends are asked for of partitions that are not fetched from now

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LostPlace:
    """The offset that the group had come to is not in the log, or it had come to none: where reading goes on."""

    tp: TP
    expected: int | None  # the next offset to be read; None: the group has committed nothing here
    begin: int  # where the log begins: reading goes on here
    end: int


@dataclass(slots=True)
class Consumption:
    """What the consumer's thread shares with the worker."""

    patience: Patience
    bootstrap_servers: str = ""
    user: str = ""  # at Kafka; empty where nobody logs in
    positions: Positions = field(default_factory=Positions)
    lost_places: deque[LostPlace] = field(default_factory=deque)  # each stands here before a record beyond it is handed


class ChunkConsumerThread(OpenConsumerThread):
    """Faust's thread around an aiokafka consumer."""

    consumption: Consumption

    def __post_init__(self) -> None:
        super().__post_init__()
        self.consumption = cast(Any, self.app).consumption
        self._held: Any = None  # the assignment that the positions are of
        self._refused: Outage = self.consumption.patience.outage("reading from Kafka")
        self._refused_topics: frozenset[str] = frozenset()
        self._refused_ms = 0.0  # when that was last seen, in Unix time
        self._group: Outage = self.consumption.patience.outage("taking part in the consumer group")
        self._commit_refused = False  # stands until a commit goes through, or the group itself refuses
        self._away: Outage = self.consumption.patience.outage("asking Kafka for the ends of partitions")
        self._beside: list[asyncio.Task[None]] = []

    async def on_start(self) -> None:
        await connected(super().on_start, self._give_up_start, self.consumption, doing="connecting to Kafka")
        loop = asyncio.get_running_loop()
        self._beside = [loop.create_task(self._ask_for_ends()), loop.create_task(self._stay_in_group())]

    async def _give_up_start(self) -> None:
        if (consumer := self.consumer_if_any()) is not None:
            await consumer.stop()

    async def on_thread_stop(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await super().on_thread_stop()

    # --- fetching ---

    async def fetch(self, consumer: Any, fetch: Callable[[], Awaitable[Any]]) -> Any:
        look.begin()
        try:
            records = await fetch()
        except OffsetOutOfRangeError as error:
            ((tp, expected),) = error.args[0].items()
            await self._find_place(consumer, tp, expected)
        except NoOffsetForPartitionError as error:
            await self._find_place(consumer, error.args[0], None)
        except GroupAuthorizationFailedError:
            await asyncio.sleep(RETRY_SECONDS)  # _stay_in_group tells of it
        except TopicAuthorizationFailedError as error:
            self._refuse(topics_of(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._see_if_granted(consumer)
            self._note(consumer, records)
            return records
        return {}

    def _refuse(self, topics: Iterable[str]) -> None:
        """Whatever was fetched of other topics meanwhile says nothing of these."""
        self._refused_topics |= frozenset(topics)
        self._refused_ms = time.time() * 1000
        rights = [right_on_topic(topic, [READ]) for topic in sorted(self._refused_topics)]
        self._refused.because(self._right_missing(rights), refused=True)

    def _see_if_granted(self, consumer: Any) -> None:
        """A fetch that brought nothing has been let in too: it told where the partition ends, and when."""
        if not self._refused_topics or self._refused_topics & hidden_topics(consumer):
            return
        assignment = self._assignment(consumer)
        held = [tp for tp in assignment.tps if tp.topic in self._refused_topics] if assignment is not None else []
        if all((consumer.last_poll_timestamp(tp) or 0) > self._refused_ms for tp in held):
            self._refused_topics = frozenset()
            self._refused.over()

    def _right_missing(self, rights: Sequence[Right]) -> RightMissing:
        return RightMissing(
            rights=rights,
            user=self.consumption.user,
            bootstrap_servers=self.consumption.bootstrap_servers,
            data="What was taken is stored; the rest stays in Kafka",
        )

    def _told(self, error: KafkaError) -> Exception:
        """A refusal by the right that would end it; anything else as it is."""
        if isinstance(error, GroupAuthorizationFailedError):
            return self._right_missing([right_on_group(self.app.conf.id)])
        return cast(Exception, error)

    def _note(self, consumer: Any, records: Mapping[TP, list[Any]]) -> None:
        """How far reading has come with these records. Nothing else runs in this thread since they were taken."""
        assignment = self._assignment(consumer)
        if assignment is None:
            return
        readings = {}
        for tp in assignment.tps:
            found = records.get(tp)
            handed = (found[0].offset, found[-1].offset) if found else None
            readings[TP(*tp)] = reading_of(assignment, tp, handed)
        self.consumption.positions.read(readings)

    def _assignment(self, consumer: Any) -> Any:
        """The present assignment of partitions; what is known of the one before is forgotten."""
        assignment = assignment_of(consumer)
        if assignment is not self._held:
            self._held = assignment
            self.consumption.positions.forget()
        return assignment

    async def _find_place(self, consumer: Any, tp: TP, expected: int | None) -> None:
        """Go on where the log begins, and leave word of it. What fails here is tried again: the error comes again."""
        try:
            begin, end = await begin_and_end(consumer, tp)
            if tp in consumer.assignment():
                self._go_on_at(consumer, LostPlace(TP(*tp), expected, begin, end))
        except KafkaError as error:
            log.debug("place not found", partition=str(tp), error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _go_on_at(self, consumer: Any, place: LostPlace) -> None:
        self.consumption.lost_places.append(place)
        beyond_the_end = place.expected is None or place.expected > place.end
        cast(OpenConsumer, self.consumer).forget_place(place.tp, committed=beyond_the_end)
        known = self.consumption.positions.records_next(place.tp)
        consumer.seek(place.tp, place.begin)
        self.consumption.positions.begin(place.tp, position=place.begin, records_next=known or 0)

    # --- commits ---

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return await self.call_thread(self._seek_to_committed)  # type: ignore[no-any-return]

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        """As aiokafka does, and with what our commits say beside the offset."""
        consumer = self.running_consumer()
        assignment = self._assignment(consumer)
        held = [TP(*tp) for tp in assignment.tps] if assignment else []
        found = await asyncio.gather(*(committed_in(assignment, tp) for tp in held))
        offsets: dict[TP, int | None] = {}
        for tp, committed in zip(held, found, strict=True):
            known = committed.offset >= 0
            offsets[tp] = committed.offset if known else None
            if committed.offset > 0 and tp in consumer.assignment():
                consumer.seek(tp, committed.offset)
            records_next = records_next_of(committed.metadata, committed.offset) if known else 0
            self.consumption.positions.begin(tp, position=offsets[tp] or None, records_next=records_next)
        return offsets

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """As Faust does, except that a commit says which records it covers, and that one that fails is no crash: the
        next one commits the same and more."""
        consumer = self.running_consumer()
        held = self.assignment()
        now = time.monotonic()
        commits = {TopicPartition(*tp): self._described(tp, offset) for tp, offset in offsets.items() if tp in held}
        self.tp_last_committed_at.update(dict.fromkeys(offsets, now))
        try:
            await consumer.commit(commits)
        except GroupAuthorizationFailedError as error:
            self._commit_refused = True
            self._group.because(self._told(error), refused=True)
            return False
        except (CommitFailedError, IllegalStateError) as error:  # the group has moved on: who holds it now reads again
            log.warning("not committed", reason=str(error), next="what is stored is recognised when it is read again")
            return False
        except KafkaError as error:
            log.warning("not committed", reason=repr(error), next="committed with what is stored next")
            return False
        self._commit_refused = False
        return True

    def _described(self, tp: TP, offset: int) -> OffsetAndMetadata:
        return OffsetAndMetadata(offset, commit_note(self.consumption.positions.records_next(tp), offset))

    # --- beside it ---

    async def _ask_for_ends(self) -> None:
        """The ends of partitions of which nothing was fetched lately: their records wait for room, or Kafka is away."""
        while True:
            await asyncio.sleep(ENDS_SECONDS)
            consumer = self.running_consumer()
            if hidden := hidden_topics(consumer) & consumer.subscription():
                self._refuse(hidden)  # of these nobody is told that they are there, so nobody is assigned any
            assignment = self._assignment(consumer)
            if assignment is None:
                continue
            since = (time.time() - ENDS_SECONDS) * 1000
            quiet = [tp for tp in assignment.tps if (consumer.last_poll_timestamp(tp) or 0) < since]
            if not quiet:
                self._away.over()
                continue
            try:
                ends = await ends_of(consumer, quiet)
            except TopicAuthorizationFailedError as error:
                self._refuse(topics_of(error))
            except KafkaError as error:
                if not isinstance(error, GroupAuthorizationFailedError):
                    self._away.because(error)
            else:
                self._away.over()
                if assignment.active:
                    self.consumption.positions.reaches({TP(*tp): end for tp, end in ends.items()})

    async def _stay_in_group(self) -> None:
        """Take the coordinator's errors, which aiokafka hands out only where Faust never asks, and have it join again.
        Left there, one refusal would keep it from the group for ever."""
        while True:
            await asyncio.sleep(GROUP_SECONDS)
            consumer = self.running_consumer()
            if coordinator_has_ended(consumer):
                await self.crash(RuntimeError("aiokafka's group coordinator has ended"))
                return
            self._look_at_group(consumer)

    def _look_at_group(self, consumer: Any) -> None:
        try:
            raise_what_refused_the_group(consumer)
        except KafkaError as error:
            self._commit_refused = False
            self._group.because(self._told(error), refused=True)
            join_again(consumer)
        else:
            self._seem_busy(consumer)
            if is_member(consumer) and not self._commit_refused:
                self._group.over()

    def _seem_busy(self, consumer: Any) -> None:
        """A member that fetches nothing for long leaves the group, and without partitions it never comes back. One that
        waits, for partitions or for an outage to end, is to stay."""
        assignment = self._assignment(consumer)
        if self.consumption.patience.waiting or (assignment is not None and not assignment.tps):
            seem_busy(consumer)


def topics_of(error: TopicAuthorizationFailedError) -> Iterable[str]:
    """The topics that a refusal is of; aiokafka gives one or many."""
    named = error.args[0] if error.args else ()
    return [named] if isinstance(named, str) else named


async def connected(
    start: Callable[[], Awaitable[None]], give_up: Callable[[], Awaitable[None]], shared: Consumption, *, doing: str
) -> None:
    """Start a client of aiokafka. It connects once and raises; here it is tried until it can, as in any outage."""
    outage, wait = shared.patience.outage(doing), WAIT_SECONDS_FIRST
    while True:
        try:
            await start()
        except KafkaError as error:
            outage.because(KafkaUnavailable(bootstrap_servers=shared.bootstrap_servers, reason=str(error)))
            await give_up()
        else:
            outage.over()
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, WAIT_SECONDS_MAX)
