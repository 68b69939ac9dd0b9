"""Faust in chunks: what is handed on, and which offset an acknowledgement commits."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust import App
from faust import streams as faust_streams
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP

from stream.delivery import (
    Chunk,
    ChunkConsumer,
    ChunkScheduler,
    ChunkSchema,
    ChunkTransport,
    StatelessApp,
    _FetchedRecords,
    require_compiled_streams,
)
from tests.support.records import FakeRecord, log_of

HERE, THERE = TP("usage.events", 0), TP("usage.events", 1)


def chunk(tp: TP = HERE, *, first: int = 0, rows: int = 3) -> Chunk:
    return Chunk(tp, log_of([b"x"] * rows, partition=tp.partition, first=first))  # type: ignore[arg-type]  # as the stream reads them


def test_each_record_keeps_the_headers_that_it_came_with() -> None:
    """Those equal to the record before are kept once; a dead letter must not carry its neighbour's."""
    same, other = [("a", b"1"), ("b", None)], [("a", b"2")]
    sent = [same, same, other, [], same]
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 100_000)
    for offset, headers in enumerate(sent):
        builder.append(offset, 1_700_000_000_000, b"k", b"v", headers)
    place = TopicPartition(HERE.topic, HERE.partition)
    fetched = _FetchedRecords(place, MemoryRecords(bytes(builder.build())), [], 0, None, None, True, 0)
    records = list(fetched)
    assert [record.headers for record in records] == sent
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert records[0].headers is records[1].headers


def consumer(**acknowledged: Any) -> ChunkConsumer:
    """A consumer that has not been started: what is tested asks Kafka nothing."""
    made = ChunkConsumer.__new__(ChunkConsumer)
    made._acked = {HERE: [], THERE: []}
    made._acked_index = {HERE: set(), THERE: set()}
    return made


def test_one_fetch_of_a_partition_is_one_chunk_and_an_empty_one_none() -> None:
    here, there = log_of([b"a", b"b"]), log_of([b"c"], partition=1)
    taken = list(ChunkScheduler().iterate({HERE: here, THERE: there, TP("usage.events", 2): []}))  # type: ignore[dict-item]  # as above
    assert [(tp, part.records) for tp, part in taken] == [(HERE, here), (THERE, there)]


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


def test_the_offset_to_commit_is_past_the_last_acknowledged_chunk_and_told_once() -> None:
    made = consumer()
    assert made._new_offset(HERE) is None
    made._acked[HERE] = [4, 9]
    made._acked_index[HERE] = {4, 9}
    assert made._new_offset(HERE) == 10
    assert made._new_offset(HERE) is None
    assert not made._acked_index[HERE]


def test_partitions_are_committed_apart() -> None:
    made = consumer()
    made._acked[HERE] = [4]
    assert (made._new_offset(THERE), made._new_offset(HERE)) == (None, 5)


async def test_the_offsets_inside_a_chunk_are_no_gap() -> None:
    made = consumer()
    await made._add_gap(HERE, 0, 1_000_000)
    assert made._acked[HERE] == []


def test_the_transport_brings_the_consumer_that_commits_by_chunk() -> None:
    assert ChunkTransport.Consumer is ChunkConsumer


@pytest.mark.parametrize("name", ["_to_message", "_add_gap", "_new_offset"])
def test_what_is_overridden_is_still_a_method_of_faust_with_the_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(owner, name)) for owner in (ChunkConsumer, FaustConsumer))
    assert len(ours.parameters) == len(theirs.parameters)


@pytest.mark.parametrize(
    "name", ["_on_partitions_revoked", "_on_rebalance_when_stopped", "stop", "_create_directories"]
)
def test_what_the_application_overrides_is_still_a_method_of_faust_with_the_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(owner, name)) for owner in (StatelessApp, App))
    assert len(ours.parameters) == len(theirs.parameters)


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


def test_without_the_compiled_iterator_the_worker_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    require_compiled_streams()
    monkeypatch.setattr(faust_streams, "_CStreamIterator", None)
    with pytest.raises(RuntimeError, match=r"would acknowledge skipped events.*Nothing was consumed"):
        require_compiled_streams()
