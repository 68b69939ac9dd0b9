"""The consumer's thread: it reads as committed, never jumps over records in silence, and outlives what can be mended.

Left alone, aiokafka begins again at the log's start when the offset it asks for is gone, and says nothing of the
records between; it stops for ever when an ACL refuses the group. So it is told to raise, and that is handled here.

Some seams are private, for want of a public way: ``_isolation_level`` (Faust reads as committed only within its own
transactions), an assignment's states (position, end and commit of one moment), the coordinator's errors and its
task. Versions are pinned; tests/stream/test_worker_log.py and test_worker_start.py fail if these move.
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
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from stream.consume.aiokafka_patches import begin_look
from stream.consume.positions import Positions, Reading
from stream.runtime.kafka import commit_note, records_next_of
from stream.runtime.patience import WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Outage, Patience
from stream.runtime.rights import READ, Right, RightMissing, right_on_group, right_on_topic
from stream.runtime.topics import KafkaUnavailable

READ_COMMITTED: Final = "read_committed"
RETRY_SECONDS: Final = 1.0  # how soon a fetch that was refused is tried again
GROUP_SECONDS: Final = 1.0  # how soon a refusal of the group is said and tried again
ENDS_SECONDS: Final = 2.0  # how often the ends are asked for of partitions that are not fetched from now
ANSWER_MS_MAX: Final = 5_000

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


class ChunkConsumerThread(AIOKafkaConsumerThread):
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
        if self._consumer is not None:
            await self._consumer.stop()

    async def on_thread_stop(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = READ_COMMITTED
        return consumer

    # --- fetching ---

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own signature
        max_records: int | None = None,
    ) -> Any:
        begin_look()
        try:
            records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
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
        if not self._refused_topics or self._refused_topics & consumer._client.cluster.unauthorized_topics:
            return
        assignment = self._assignment(consumer)
        held = [tp for tp in assignment.tps if tp.topic in self._refused_topics] if assignment is not None else []
        if all((assignment.state_value(tp).timestamp or 0) > self._refused_ms for tp in held):
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
            state = assignment.state_value(tp)
            position = state.position if state.has_valid_position else None
            readings[TP(*tp)] = Reading(position, _end(state), _withheld(state), handed)
        self.consumption.positions.read(readings)

    def _assignment(self, consumer: Any) -> Any:
        """The present assignment of partitions; what is known of the one before is forgotten."""
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is not self._held:
            self._held = assignment
            self.consumption.positions.forget()
        return assignment

    async def _find_place(self, consumer: Any, tp: TP, expected: int | None) -> None:
        """Go on where the log begins, and leave word of it. What fails here is tried again: the error comes again."""
        try:
            begin = (await consumer._fetcher.beginning_offsets([tp], ANSWER_MS_MAX))[tp]
            end = (await consumer._fetcher.end_offsets([tp], ANSWER_MS_MAX))[tp]
            if consumer._subscription.is_assigned(tp):
                self._go_on_at(consumer, LostPlace(TP(*tp), expected, begin, end))
        except KafkaError as error:
            log.debug("place not found", partition=str(tp), error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _go_on_at(self, consumer: Any, place: LostPlace) -> None:
        self.consumption.lost_places.append(place)
        # Faust drops what stands before the last offset it has read, and acknowledges nothing before its last commit.
        self.consumer._read_offset[place.tp] = None
        if place.expected is None or place.expected > place.end:
            self.consumer._committed_offset[place.tp] = None
        known = self.consumption.positions.records_next(place.tp)
        consumer.seek(place.tp, place.begin)
        self.consumption.positions.begin(place.tp, position=place.begin, records_next=known or 0)

    # --- commits ---

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return await self.call_thread(self._seek_to_committed)  # type: ignore[no-any-return]

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        """As aiokafka does, and with what our commits say beside the offset."""
        consumer = self._ensure_consumer()
        assignment = self._assignment(consumer)
        states = {TP(*tp): assignment.state_value(tp) for tp in assignment.tps} if assignment else {}
        found = await asyncio.gather(*(state.fetch_committed() for state in states.values()))
        offsets: dict[TP, int | None] = {}
        for tp, committed in zip(states, found, strict=True):
            known = committed.offset >= 0
            offsets[tp] = committed.offset if known else None
            if committed.offset > 0 and consumer._subscription.is_assigned(tp):
                consumer._fetcher.seek_to(tp, committed.offset)
            records_next = records_next_of(committed.metadata, committed.offset) if known else 0
            self.consumption.positions.begin(tp, position=offsets[tp] or None, records_next=records_next)
        return offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """As Faust does, except that a commit says which records it covers, and that one that fails is no crash: the
        next one commits the same and more."""
        consumer = self._ensure_consumer()
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
            consumer = self._ensure_consumer()
            if hidden := consumer._client.cluster.unauthorized_topics & consumer.subscription():
                self._refuse(hidden)  # of these nobody is told that they are there, so nobody is assigned any
            assignment = self._assignment(consumer)
            if assignment is None:
                continue
            since = (time.time() - ENDS_SECONDS) * 1000
            quiet = [tp for tp in assignment.tps if (assignment.state_value(tp).timestamp or 0) < since]
            if not quiet:
                self._away.over()
                continue
            try:
                ends = await consumer._fetcher.end_offsets(quiet, ANSWER_MS_MAX)
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
            consumer = self._ensure_consumer()
            if consumer._coordinator._coordination_task.done():
                await self.crash(RuntimeError("aiokafka's group coordinator has ended"))
                return
            self._look_at_group(consumer)

    def _look_at_group(self, consumer: Any) -> None:
        try:
            consumer._coordinator.check_errors()
        except KafkaError as error:
            self._commit_refused = False
            self._group.because(self._told(error), refused=True)
            consumer._coordinator.request_rejoin()
        else:
            self._seem_busy(consumer)
            if self._is_member(consumer) and not self._commit_refused:
                self._group.over()

    def _is_member(self, consumer: Any) -> bool:
        subscription = consumer._subscription.subscription
        return subscription is not None and not consumer._coordinator.need_rejoin(subscription)

    def _seem_busy(self, consumer: Any) -> None:
        """A member that fetches nothing for long leaves the group, and without partitions it never comes back. One that
        waits, for partitions or for an outage to end, is to stay."""
        assignment = self._assignment(consumer)
        if self.consumption.patience.waiting or (assignment is not None and not assignment.tps):
            with consumer._subscription.fetch_context():
                pass


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


def _end(state: Any) -> int | None:
    """Before which everything can be delivered; brokers that know no transactions tell the high watermark alone."""
    if state.lso is not None and state.lso >= 0:
        return int(state.lso)
    return None if state.highwater is None else int(state.highwater)


def _withheld(state: Any) -> int:
    end = _end(state)
    return 0 if end is None else max(0, int(state.highwater) - end)
