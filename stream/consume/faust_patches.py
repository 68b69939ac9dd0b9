"""Every private seam of Faust, mode and aiokafka. A patch is a debt; this is the book in which all of them stand.

Nothing else in stream/ reaches what these libraries keep to themselves (tests/stream/test_seams.py). Each seam says
what it reaches in which version, why there is no public way, and the guard: the test in
tests/stream/test_faust_patches.py that fails when the library moves. The versions are pinned in pyproject.toml, and a
worker does not start on others.

In the order in which a record meets them: the versions, what of Faust may be used at all, how a fetch is read, the
aiokafka consumer, Faust's thread around it, Faust's consumer around that, the application around them all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Final, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from faust import App
from faust import streams as faust_streams
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.utils.locks import Event

from stream.consume.positions import Reading
from stream.consume.reading import Fetched, look, read_batch, read_legacy
from stream.consume.wire import FetchedRecord
from stream.runtime.errors import ConfigurationError

# --- the versions ----------------------------------------------------------------------------------------------------

PINNED: Final = {"aiokafka": "0.14.0", "faust-streaming": "0.15.3", "mode-streaming": "0.7.1"}


def require_pinned_versions(installed: Callable[[str], str] = version) -> None:
    """Refuse other versions than those in which the seams below were read; all that differ are named at once."""
    found = {name: installed(name) for name in PINNED}
    others = [f"{name} {found[name]} instead of {pinned}" for name, pinned in PINNED.items() if found[name] != pinned]
    if others:
        raise ConfigurationError(
            f"installed: {', '.join(others)}. The worker replaces private parts of these libraries, and knows those of "
            "the pinned versions alone. Nothing was consumed; install what requirements.lock names and start again"
        )


# --- what of Faust may be used at all --------------------------------------------------------------------------------


def require_compiled_streams() -> None:
    """Refuse Faust's pure Python stream iterator: it acknowledges events that it skips after a rebalance.

    Reaches: faust-streaming 0.15.3, faust.streams._CStreamIterator.
    Why: Faust falls back to the other one in silence, and says nowhere which it took.
    Guard: test_without_the_compiled_iterator_the_worker_refuses_to_start
    """
    if faust_streams._CStreamIterator is None:  # type: ignore[attr-defined]  # imported there, not exported
        raise ConfigurationError(
            "faust-streaming runs without its compiled stream iterator, which would acknowledge skipped events; "
            "install the wheel of this platform or build it with Cython. Nothing was consumed."
        )


# --- how a fetch is read ---------------------------------------------------------------------------------------------

FORMAT: Final = 2  # what brokers have written since 2017
LENGTH_END: Final = 12  # base offset and length come first in all formats
MAGIC_AT: Final = 16


def read_what_brokers_accept() -> None:
    """Put the three classes below in the place where aiokafka's fetcher looks for its own.

    Reaches: aiokafka 0.14.0, the names MemoryRecords, PartitionRecords and FetchResult in aiokafka.consumer.fetcher.
    Why: there is no public way to choose how a fetched batch is read, and aiokafka's own reader dies of what a broker
    accepts (docs/decisions/0011).
    Guard: test_the_fetcher_still_looks_up_by_name_what_is_put_in_its_place
    """
    fetcher.MemoryRecords = FetchedBytes
    fetcher.PartitionRecords = FetchedRecords
    fetcher.FetchResult = FetchResult


class FetchedBytes:
    """A fetch of a partition, batch by batch; the last one may have been cut off by the broker.

    Reaches: aiokafka 0.14.0, what the fetcher calls of a MemoryRecords.
    Why: as read_what_brokers_accept.
    Guard: test_the_fetcher_still_asks_of_fetched_bytes_what_ours_answer
    """

    def __init__(self, fetched: bytes) -> None:
        self._fetched = memoryview(fetched)
        self._at = 0

    def has_next(self) -> bool:
        return self._end() <= len(self._fetched)

    def size_in_bytes(self) -> int:
        return len(self._fetched)

    def next_batch(self) -> memoryview:
        start, self._at = self._at, self._end()
        return self._fetched[start : self._at]

    def _end(self) -> int:
        if len(self._fetched) - self._at < LENGTH_END:
            return len(self._fetched) + 1
        return self._at + LENGTH_END + int.from_bytes(self._fetched[self._at + 8 : self._at + LENGTH_END], "big")


class FetchedRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka publishes no types
    """The records of one fetch of a partition, in lists with the bytes that were read for them.

    Reaches: aiokafka 0.14.0, PartitionRecords: _unpack_records, and what it needs for that (_tp, _records, _check_crcs,
    _isolation_level, _aborted_producers, _consume_aborted_up_to, _contains_abort_marker); aiokafka.record's batches.
    Why: as read_what_brokers_accept.
    Guard: test_what_is_used_and_replaced_of_partition_records_is_still_there
    """

    def _unpack_records(self) -> Iterator[tuple[list[FetchedRecord], int]]:
        while self._records.has_next():
            raw = self._records.next_batch()
            magic = raw[MAGIC_AT]
            batch = DefaultRecordBatch(raw) if magic >= FORMAT else LegacyRecordBatch(raw, magic)
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not self._is_passed_over(batch):
                yield from self._read(raw) if magic >= FORMAT else self._read_legacy(batch, raw)
            self.next_fetch_offset = batch.next_offset

    def _is_passed_over(self, batch: Any) -> bool:
        """Markers of transactions, and what belongs to one that was aborted; as aiokafka does it."""
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)

    def _contains_abort_marker(self, batch: Any) -> bool:
        """Compaction may have taken the marker and left its batch, which says nothing then; aiokafka dies of it."""
        marker = next(batch, None)
        return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER

    def _read(self, raw: memoryview) -> Iterator[tuple[list[FetchedRecord], int]]:
        lists = read_batch(
            raw,
            partition=self._tp.partition,
            from_offset=self.next_fetch_offset,
            parse=DefaultRecordBatch,
            owner=self,
        )
        for records, size, following in lists:
            self.next_fetch_offset = following
            yield records, size

    def _read_legacy(self, batch: Any, raw: memoryview) -> Iterator[tuple[list[FetchedRecord], int]]:
        records = read_legacy(batch, raw, partition=self._tp.partition, from_offset=self.next_fetch_offset)
        self.next_fetch_offset = batch.next_offset
        yield records, len(raw)


class FetchResult(fetcher.FetchResult):  # type: ignore[misc]  # as above
    """Hands on what the look still has room for, and keeps the rest.

    Reaches: aiokafka 0.14.0, FetchResult: getall, check_assignment, has_more, _partition_records, _topic_partition,
    _update_position.
    Why: as read_what_brokers_accept; and the number of records, all that aiokafka can be told, bounds no memory.
    Guard: test_what_is_used_and_replaced_of_a_fetch_result_is_still_there
    """

    _partition_records: FetchedRecords | None

    def getall(self, max_records: int | None = None) -> Fetched:
        if look.over or look.is_kept_from(self._partition_records):
            return Fetched()
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return Fetched()
        taken = Fetched()
        assert self._partition_records is not None, "it has more"
        for records, size in self._partition_records:
            taken.extend(records)
            taken.size += size
            look.spend(len(records), size)
            if look.over:
                self._update_position()
                return taken
        self._update_position()
        self._partition_records = None
        return taken


# --- the aiokafka consumer -------------------------------------------------------------------------------------------

READ_COMMITTED: Final = "read_committed"
ANSWER_MS_MAX: Final = 5_000


def read_as_committed(consumer: Any) -> None:
    """Nothing of a transaction that is open or aborted is handed over.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._isolation_level, before the consumer starts.
    Why: Faust builds the consumer, and reads as committed only within its own transactions.
    Guard: test_a_consumer_still_takes_its_isolation_level_from_there_when_it_starts
    """
    consumer._isolation_level = READ_COMMITTED


def assignment_of(consumer: Any) -> Any:
    """The present assignment of partitions, the same object for as long as it holds; None without one. Its ``tps`` are
    the partitions, and it is ``active`` until the next rebalance.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._subscription: SubscriptionState.subscription and its assignment.
    Why: consumer.assignment() is a set of names; it does not say whether a rebalance has come in between.
    Guard: test_an_assignment_still_tells_what_was_read_and_how_far_a_partition_reaches
    """
    subscription = consumer._subscription.subscription
    return subscription.assignment if subscription is not None else None


def reading_of(assignment: Any, tp: TP, handed: tuple[int, int] | None) -> Reading:
    """How far a partition has been read, and how far it reaches; ``handed``: what the fetch just brought of it.

    Reaches: aiokafka 0.14.0, Assignment.state_value: TopicPartitionState.has_valid_position, position, lso, highwater.
    Why: consumer.position() may wait, and is then of another moment than the end.
    Guard: test_an_assignment_still_tells_what_was_read_and_how_far_a_partition_reaches
    """
    state = assignment.state_value(tp)
    end = _end(state)
    withheld = 0 if end is None else max(0, int(state.highwater) - end)
    return Reading(state.position if state.has_valid_position else None, end, withheld, handed)


def _end(state: Any) -> int | None:
    """Before which everything can be delivered; brokers that know no transactions tell the high watermark alone."""
    if state.lso is not None and state.lso >= 0:
        return int(state.lso)
    return None if state.highwater is None else int(state.highwater)


def committed_in(assignment: Any, tp: TP) -> Awaitable[Any]:
    """What the group has committed of the partition, with its metadata; the offset is -1 if nothing.

    Reaches: aiokafka 0.14.0, TopicPartitionState.fetch_committed.
    Why: consumer.committed() leaves out the metadata, where our commits say which records they cover.
    Guard: test_an_assignment_still_tells_what_was_read_and_how_far_a_partition_reaches
    """
    return cast(Awaitable[Any], assignment.state_value(tp).fetch_committed())


async def begin_and_end(consumer: Any, tp: TP) -> tuple[int, int]:
    """Where the log begins and ends; raises KafkaError if nobody answers.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._fetcher: Fetcher.beginning_offsets and end_offsets.
    Why: those of the consumer wait for as long as a request may take, which is 40 seconds.
    Guard: test_the_fetcher_still_answers_for_offsets
    """
    begin = (await consumer._fetcher.beginning_offsets([tp], ANSWER_MS_MAX))[tp]
    return begin, (await ends_of(consumer, [tp]))[tp]


async def ends_of(consumer: Any, tps: Iterable[TP]) -> Mapping[TP, int]:
    """Where the logs end; raises KafkaError if nobody answers.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._fetcher: Fetcher.end_offsets.
    Why: as begin_and_end.
    Guard: test_the_fetcher_still_answers_for_offsets
    """
    return cast(Mapping[TP, int], await consumer._fetcher.end_offsets(list(tps), ANSWER_MS_MAX))


def hidden_topics(consumer: Any) -> set[str]:
    """The topics that an ACL keeps from this user, as far as brokers have said so.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._client: AIOKafkaClient.cluster.unauthorized_topics.
    Why: the consumer tells them once, in an error, and never that they are granted.
    Guard: test_the_client_still_knows_the_topics_that_are_kept_from_it
    """
    return set(consumer._client.cluster.unauthorized_topics)


def coordinator_has_ended(consumer: Any) -> bool:
    """Whether nobody looks after the membership in the group any more.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._coordinator: GroupCoordinator._coordination_task.
    Why: it ends of a bug in silence; the consumer goes on, and is never given a partition again.
    Guard: test_the_coordinator_still_says_whether_it_is_in_the_group
    """
    return bool(consumer._coordinator._coordination_task.done())


def raise_what_refused_the_group(consumer: Any) -> None:
    """Raise the coordinator's error, a KafkaError, if there is one.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._coordinator: GroupCoordinator.check_errors.
    Why: aiokafka hands it out in getmany(), which Faust never calls.
    Guard: test_the_coordinator_still_says_whether_it_is_in_the_group
    """
    consumer._coordinator.check_errors()


def join_again(consumer: Any) -> None:
    """Have the coordinator ask to be let in once more.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._coordinator: GroupCoordinator.request_rejoin.
    Why: one refusal would keep it from the group for ever.
    Guard: test_the_coordinator_still_says_whether_it_is_in_the_group
    """
    consumer._coordinator.request_rejoin()


def is_member(consumer: Any) -> bool:
    """Whether the group has this consumer, and no rebalance is on its way.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._coordinator: GroupCoordinator.need_rejoin; _subscription.subscription.
    Why: nothing public tells it.
    Guard: test_the_coordinator_still_says_whether_it_is_in_the_group
    """
    subscription = consumer._subscription.subscription
    return subscription is not None and not consumer._coordinator.need_rejoin(subscription)


def seem_busy(consumer: Any) -> None:
    """As if something were being fetched right now: a member that fetches nothing for long is sent out of the group.

    Reaches: aiokafka 0.14.0, AIOKafkaConsumer._subscription: SubscriptionState.fetch_context.
    Why: aiokafka counts the time between fetches alone, and has no other sign of life.
    Guard: test_a_fetch_that_ends_at_once_still_counts_as_a_sign_of_life
    """
    with consumer._subscription.fetch_context():
        pass


# --- Faust's thread around it ----------------------------------------------------------------------------------------


class OpenConsumerThread(AIOKafkaConsumerThread):
    """Faust's thread around an aiokafka consumer, open in three places: ``fetch``, ``commit_offsets``, the consumer.

    Reaches: faust-streaming 0.15.3, AIOKafkaConsumerThread: _create_worker_consumer, _fetch_records, _commit,
    _ensure_consumer, _consumer.
    Why: Faust has no hook between a consumer and what it makes of its errors, and lets nobody describe a commit.
    Guard: test_the_thread_still_fetches_commits_and_builds_its_consumer_by_these_methods
    """

    @abstractmethod
    async def fetch(self, consumer: Any, fetch: Callable[[], Awaitable[Any]]) -> Any:
        """What ``fetch`` brings, by partition; an error that leaves this ends the consumption."""

    @abstractmethod
    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Whether they are committed; an error that leaves this ends the worker."""

    def running_consumer(self) -> Any:
        """The aiokafka consumer, in this thread's own loop."""
        return self._ensure_consumer()

    def consumer_if_any(self) -> Any:
        """The same, or None if it was never made."""
        return self._consumer

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        read_as_committed(consumer)
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's own signature
        max_records: int | None = None,
    ) -> Any:
        fetch = super()._fetch_records
        return await self.fetch(consumer, partial(fetch, consumer, active_partitions, timeout, max_records))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.commit_offsets(offsets)


# --- Faust's consumer around that ------------------------------------------------------------------------------------


class OpenConsumer(Consumer):
    """Faust's consumer, open where it makes a message of what was fetched and where it says what to commit.

    Reaches: faust-streaming 0.15.3, Consumer: _to_message, _add_gap, _new_consumer_thread,
    _filter_tps_with_pending_acks, _new_offset, _commit_offsets, _acked, _acked_index, _committed_offset, _read_offset.
    Why: Faust commits by message. A chunk is one message with a gap before it, of which it would list every offset,
    and the chunk's own twice, and it notes a commit that failed as done.
    Guard: test_the_consumer_still_reads_and_commits_by_these_methods
    """

    @abstractmethod
    def message_of(self, tp: TP, fetched: Any) -> ConsumerMessage:
        """What stands for the records that were fetched from ``tp``."""

    @abstractmethod
    def new_thread(self) -> OpenConsumerThread:
        """The thread that this consumer reads by."""

    @abstractmethod
    def offset_to_commit(self, tp: TP, acknowledged: int | None) -> int | None:
        """The offset to commit, None for none; ``acknowledged``: the last offset that was, since the last question."""

    @abstractmethod
    def also_to_commit(self) -> Iterable[TP]:
        """Partitions to be asked of though nothing was acknowledged."""

    def forget_place(self, tp: TP, *, committed: bool) -> None:
        """Reading goes back: Faust drops what stands before the last offset it has read, and acknowledges nothing
        before its last commit."""
        self._read_offset[tp] = None
        if committed:
            self._committed_offset[tp] = None

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return self.message_of(tp, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """The offsets inside a chunk are not a gap; Faust would list every one of them, and the chunk's own twice."""

    def _new_consumer_thread(self) -> OpenConsumerThread:
        return self.new_thread()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from {*super()._filter_tps_with_pending_acks(topics), *self.also_to_commit()}

    def _new_offset(self, tp: TP) -> int | None:
        acknowledged = self._acked[tp]
        last = int(max(acknowledged)) if acknowledged else None
        if acknowledged:
            acknowledged.clear()
            self._acked_index[tp].clear()
        return self.offset_to_commit(tp, last)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Faust notes a commit that failed as done; this one is tried again a second later."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        did_commit = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not did_commit:
            self._committed_offset.update(before)
        return did_commit


# --- the application around them all ---------------------------------------------------------------------------------


class OpenApp(App):
    """A Faust application that keeps nothing on disk, and says so before it gives partitions up.

    Reaches: faust-streaming 0.15.3, App: _create_directories, _on_partitions_revoked, _on_rebalance_when_stopped.
    Why: Faust's own signal on_partitions_revoked comes after the wait for flushes, which may outlast the group's
    patience, and not at all when the worker stops.
    Guard: test_the_application_still_calls_these_methods
    """

    @abstractmethod
    async def leave(self) -> None:
        """Partitions are about to be given up."""

    def _create_directories(self) -> None:
        """None: Faust would leave an empty folder wherever the worker is started."""

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.leave()
        await super()._on_partitions_revoked(revoked)

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: Faust would close the coordinator under the commit that ends the stop, and that commit would then be
        tried for ever. Left alone, it goes through or is refused."""


def crash_of(app: App) -> Event:
    """Set once the application has crashed; then ``app.crash_reason`` says of what.

    Reaches: mode-streaming 0.7.1, Service._crashed.
    Why: app.crashed is a yes or no; to wait for it, one would have to look again and again.
    Guard: test_a_service_that_crashes_still_says_so_by_this_event
    """
    return app._crashed
