"""The guards of the seams: each fails when Faust, mode or aiokafka moves under a patch (test_seams.py has the rest)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import consumer as consumer_module
from aiokafka.consumer import fetcher, subscription_state
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust import App
from faust import streams as faust_streams
from faust.transport.consumer import Consumer as AnyConsumer
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import TP
from mode import Service

from stream.app import Worker
from stream.consume import faust_patches
from stream.consume.faust_patches import FetchedBytes, FetchedRecords, FetchResult, OpenApp, OpenConsumer
from stream.consume.faust_patches import OpenConsumerThread as Thread
from stream.runtime.errors import ConfigurationError
from stream.runtime.settings import Settings

PLACE = TP("usage.events", 0)


def names_in(*things: Any) -> set[str]:
    """Every global and attribute that the code of functions and classes reads, writes or calls."""
    return {name for thing in things for code in _codes(thing) for name in code.co_names}


def _codes(thing: Any) -> Iterator[CodeType]:
    if inspect.isclass(thing):
        for member in vars(thing).values():
            yield from _codes(member)
    elif isinstance(thing, property):
        yield from _codes(thing.fget)
    elif code := getattr(inspect.unwrap(thing) if callable(thing) else thing, "__code__", None):
        waiting = [code]
        while waiting:
            yield (code := waiting.pop())
            waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]


def is_overridden_with_the_same_arguments(ours: type, theirs: type, *names: str) -> bool:
    return all(arguments(getattr(ours, name)) == arguments(getattr(theirs, name)) for name in names)


def arguments(method: Any) -> int:
    return len(inspect.signature(method).parameters)


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


# --- the versions ----------------------------------------------------------------------------------------------------


def test_the_versions_that_are_installed_and_asked_for_are_those_that_were_read() -> None:
    faust_patches.require_pinned_versions()
    asked = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"{name}=={version}" for name, version in faust_patches.PINNED.items()} <= set(asked)


def test_on_other_versions_a_worker_does_not_start_and_names_them_all() -> None:
    found = {"aiokafka": "0.15.0", "faust-streaming": "0.15.3", "mode-streaming": "0.7.2"}
    with pytest.raises(ConfigurationError) as refused:
        faust_patches.require_pinned_versions(found.__getitem__)
    assert "aiokafka 0.15.0 instead of 0.14.0, mode-streaming 0.7.2 instead of 0.7.1" in str(refused.value)
    assert "faust-streaming" not in str(refused.value)
    assert "Nothing was consumed" in str(refused.value)


async def test_a_worker_looks_at_the_versions_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(faust_patches.PINNED, "aiokafka", "0.13.9")
    with pytest.raises(ConfigurationError, match=r"aiokafka 0\.14\.0 instead of 0\.13\.9"):
        Worker(cast(Settings, None))


# --- what of Faust may be used at all --------------------------------------------------------------------------------


def test_without_the_compiled_iterator_the_worker_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    faust_patches.require_compiled_streams()
    assert "_CStreamIterator" in names_in(faust_streams.Stream)
    monkeypatch.setattr(faust_streams, "_CStreamIterator", None)
    with pytest.raises(ConfigurationError, match=r"would acknowledge skipped events.*Nothing was consumed"):
        faust_patches.require_compiled_streams()


# --- how a fetch is read ---------------------------------------------------------------------------------------------


def test_the_fetcher_still_looks_up_by_name_what_is_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MemoryRecords", "PartitionRecords", "FetchResult"):
        assert name in names_in(fetcher.Fetcher)
        monkeypatch.setattr(fetcher, name, None)
    faust_patches.read_what_brokers_accept()
    assert (fetcher.MemoryRecords, fetcher.PartitionRecords, fetcher.FetchResult) == (
        *(FetchedBytes, FetchedRecords, FetchResult),
    )


def test_the_fetcher_still_asks_of_fetched_bytes_what_ours_answer() -> None:
    from aiokafka.record.memory_records import MemoryRecords

    assert public(MemoryRecords) == public(FetchedBytes)
    theirs = FetchedRecords.__mro__[1]
    assert public(FetchedBytes) <= names_in(fetcher.Fetcher, theirs)


def test_what_is_used_and_replaced_of_partition_records_is_still_there() -> None:
    theirs = FetchedRecords.__mro__[1]
    assert is_overridden_with_the_same_arguments(FetchedRecords, theirs, "_unpack_records", "_contains_abort_marker")
    assert {"_unpack_records", "_consume_aborted_up_to", "_contains_abort_marker"} <= names_in(theirs)
    made = theirs(PLACE, FetchedBytes(b""), [], 7, None, None, True, fetcher.READ_COMMITTED)
    assert (made._tp, made._check_crcs, made._isolation_level) == (PLACE, True, fetcher.READ_COMMITTED)
    assert (made.next_fetch_offset, made._records.has_next()) == (7, False)
    made = theirs(PLACE, FetchedBytes(b""), [(11, 3)], 7, None, None, True, fetcher.READ_COMMITTED)
    made._consume_aborted_up_to(2)
    assert made._aborted_producers == set()
    made._consume_aborted_up_to(3)
    assert made._aborted_producers == {11}


def test_what_is_used_and_replaced_of_a_fetch_result_is_still_there() -> None:
    theirs = FetchResult.__mro__[1]
    assert is_overridden_with_the_same_arguments(FetchResult, theirs, "getall")
    assert {"getall", "has_more"} <= names_in(fetcher.Fetcher)
    position: list[int] = []
    state = SimpleNamespace(paused=False, position=3, consumed_to=position.append)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    made = theirs(PLACE, assignment=assignment, partition_records=SimpleNamespace(next_fetch_offset=3), backoff=0)
    assert made._topic_partition == PLACE
    assert made.check_assignment(PLACE)
    made._update_position()
    assert position == [3]
    made._partition_records = None
    assert not made.has_more()


# --- the aiokafka consumer -------------------------------------------------------------------------------------------


@pytest.fixture
async def consumer() -> AsyncIterator[Any]:
    """One that has not been started: no broker is asked anything."""
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="costream")
    yield consumer
    consumer._closed = True  # or it would complain that nobody has closed it


class Enough(Exception):
    """The consumer has said what was to be seen."""


async def test_a_consumer_still_takes_its_isolation_level_from_there_when_it_starts(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bootstrap(self: Any) -> None:
        pass

    def made(*_: Any, isolation_level: str, **__: Any) -> None:
        raise Enough(isolation_level)

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", bootstrap)
    monkeypatch.setattr(consumer_module, "Fetcher", made)
    faust_patches.read_as_committed(consumer)
    with pytest.raises(Enough, match=r"^read_committed$"):
        await consumer.start()


async def test_an_assignment_still_tells_what_was_read_and_how_far_a_partition_reaches(consumer: Any) -> None:
    assert faust_patches.assignment_of(consumer) is None
    consumer.subscribe([PLACE.topic])
    assert faust_patches.assignment_of(consumer) is None
    consumer._subscription.assign_from_subscribed({TopicPartition(*PLACE)})
    assignment = faust_patches.assignment_of(consumer)
    assert (assignment.tps, assignment.active) == ({PLACE}, True)
    assert assignment is faust_patches.assignment_of(consumer)
    assert faust_patches.reading_of(assignment, PLACE, None).position is None
    assert {"lso", "highwater"} <= names_in(fetcher.Fetcher)
    state = assignment.state_value(PLACE)
    state.seek(5)
    state.lso, state.highwater = 7, 9
    reading = faust_patches.reading_of(assignment, PLACE, (3, 4))
    assert (reading.position, reading.end, reading.withheld, reading.handed) == (5, 7, 2, (3, 4))
    asked = faust_patches.committed_in(assignment, PLACE)
    assert assignment.requesting_committed() == [PLACE]
    state.update_committed(OffsetAndMetadata(11, "noted"))
    assert await asked == OffsetAndMetadata(11, "noted")
    consumer._subscription.assign_from_subscribed(set())
    assert not assignment.active
    assert faust_patches.assignment_of(consumer) is not assignment


async def test_the_fetcher_still_answers_for_offsets(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(self: Any, timestamps: Any, timeout_ms: float) -> Any:
        asked.append(timeout_ms)
        return {tp: (4 if when == OffsetResetStrategy.EARLIEST else 9, -1) for tp, when in timestamps.items()}

    asked: list[float] = []
    monkeypatch.setattr(fetcher.Fetcher, "_retrieve_offsets", answers)
    assert consumer._fetcher is None
    consumer._fetcher = object.__new__(fetcher.Fetcher)
    assert "_fetcher" in names_in(AIOKafkaConsumer.end_offsets, AIOKafkaConsumer.beginning_offsets)
    assert await faust_patches.begin_and_end(consumer, PLACE) == (4, 9)
    assert await faust_patches.ends_of(consumer, [PLACE]) == {PLACE: 9}
    assert set(asked) == {faust_patches.ANSWER_MS_MAX}


async def test_the_client_still_knows_the_topics_that_are_kept_from_it(consumer: Any) -> None:
    assert faust_patches.hidden_topics(consumer) == set()
    assert "unauthorized_topics" in names_in(ClusterMetadata.update_metadata)
    consumer._client.cluster.unauthorized_topics = {"usage.events"}
    assert faust_patches.hidden_topics(consumer) == {"usage.events"}


async def test_the_coordinator_still_says_whether_it_is_in_the_group(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def joined(self: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(GroupCoordinator, "_coordination_routine", joined)
    assert "_coordinator" in names_in(AIOKafkaConsumer.start)
    assert not faust_patches.is_member(consumer)
    consumer.subscribe([PLACE.topic])
    subscription = consumer._subscription
    consumer._coordinator = coordinator = GroupCoordinator(consumer._client, subscription, group_id="costream")
    assert not faust_patches.coordinator_has_ended(consumer)
    assert not faust_patches.is_member(consumer)
    subscription.assign_from_subscribed({TopicPartition(*PLACE)})
    assert faust_patches.is_member(consumer)
    faust_patches.join_again(consumer)
    assert not faust_patches.is_member(consumer)
    faust_patches.raise_what_refused_the_group(consumer)
    subscription.register_fetch_waiters([])
    coordinator._push_error_to_user(GroupAuthorizationFailedError("costream")).close()  # it would wait for the user
    with pytest.raises(GroupAuthorizationFailedError):
        faust_patches.raise_what_refused_the_group(consumer)
    coordinator._coordination_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await coordinator._coordination_task
    assert faust_patches.coordinator_has_ended(consumer)


async def test_a_fetch_that_ends_at_once_still_counts_as_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(subscription_state, "time", SimpleNamespace(monotonic=lambda: now[0]))
    subscription = SubscriptionState()
    now[0] = 100.0
    assert subscription.fetcher_idle_time == 100.0
    faust_patches.seem_busy(SimpleNamespace(_subscription=subscription))
    assert subscription.fetcher_idle_time == 0.0
    assert "fetcher_idle_time" in names_in(GroupCoordinator)


# --- Faust -----------------------------------------------------------------------------------------------------------


def test_the_thread_still_fetches_commits_and_builds_its_consumer_by_these_methods() -> None:
    patched = ("_create_worker_consumer", "_fetch_records", "_commit")
    assert is_overridden_with_the_same_arguments(Thread, AIOKafkaConsumerThread, *patched)
    for caller, called in (("_create_consumer", patched[0]), ("getmany", patched[1]), ("commit", patched[2])):
        assert called in names_in(getattr(AIOKafkaConsumerThread, caller)), caller
    assert "_consumer" in names_in(AIOKafkaConsumerThread.on_start)
    thread = object.__new__(AIOKafkaConsumerThread)
    thread._consumer = here = object()
    assert Thread.running_consumer(thread) is Thread.consumer_if_any(thread) is here  # type: ignore[arg-type]  # Faust's own will do


def test_the_consumer_still_reads_and_commits_by_these_methods() -> None:
    patched = {
        "_to_message": AnyConsumer.getmany,
        "_add_gap": AnyConsumer._drain_messages,
        "_new_consumer_thread": ThreadDelegateConsumer.__init__,
        "_filter_tps_with_pending_acks": AnyConsumer.force_commit,
        "_new_offset": AnyConsumer,
        "_commit_offsets": AnyConsumer,
    }
    assert is_overridden_with_the_same_arguments(OpenConsumer, Consumer, *patched)
    for name, caller in patched.items():
        assert name in names_in(caller), name
    assert {"_acked", "_acked_index", "_committed_offset"} <= names_in(AnyConsumer.ack, AnyConsumer._new_offset)
    assert "_read_offset" in names_in(AnyConsumer._drain_messages)
    assert "_committed_offset" in names_in(AnyConsumer._commit_offsets)


def test_the_application_still_calls_these_methods() -> None:
    patched = ("_create_directories", "_on_partitions_revoked", "_on_rebalance_when_stopped")
    assert is_overridden_with_the_same_arguments(OpenApp, App, *patched)
    assert set(patched) <= names_in(App)


async def test_a_service_that_crashes_still_says_so_by_this_event() -> None:
    service = Service()
    assert not faust_patches.crash_of(service).is_set()  # type: ignore[arg-type]  # an App is one
    await service.crash(ValueError("broken"))
    assert faust_patches.crash_of(service).is_set()  # type: ignore[arg-type]  # as above
