"""One id counts once: replays, duplicates, conflicts and strays are told apart, in memory and from ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from uuid import uuid4

import polars as pl
import pytest

from costream.events import UsageEvent
from stream.decode.frame import decode
from stream.dedup.ids import IdTable, Keys
from stream.dedup.seen import CONTENT, SeenIds, Sorted, _Batch
from tests.support.ingest import SINCE, Warehouse, flush_of, home_of, id_at_home_in, ids_at_home_in, ingest_of, run
from tests.support.records import LIMITS, NOW, FakeRecord, log_of, rfc3339, wire

PARTITIONS = 4
HOUR = timedelta(hours=1)


def nothing_stored(_ids: Sequence[str], _hours: Sequence[datetime]) -> pl.DataFrame:
    raise AssertionError("ClickHouse is asked for old events only")


def seen_ids(*, partitions: Sequence[int] = (0,), total: int = 1, ids_max: int = 1_000_000) -> SeenIds:
    seen = SeenIds(find_stored=nothing_stored, ids_max=ids_max)
    seen.assign(partitions, partition_count=total, source="s", since=SINCE, stored=[])
    return seen


def frame_of(records: Sequence[FakeRecord]) -> pl.DataFrame:
    return decode(records, source="s", limits=LIMITS).frame


def told(found: Sorted) -> dict[str, list[int]]:
    """Kind to offsets, the empty kinds left out."""
    kinds = {name: getattr(found, name)["source_offset"].to_list() for name in Sorted.__dataclass_fields__}
    return {kind: offsets for kind, offsets in kinds.items() if offsets}


# --- in memory --------------------------------------------------------------------------------------------------------


def test_the_first_sight_is_new_and_the_same_offset_again_a_replay() -> None:
    seen, events = seen_ids(), frame_of(log_of([wire("a"), wire("b")]))
    assert told(seen.sort_out(events)) == {"new": [0, 1]}
    assert told(seen.sort_out(events)) == {"replayed": [0, 1]}


def test_the_same_content_at_another_offset_is_a_duplicate_and_other_content_a_conflict() -> None:
    seen = seen_ids()
    seen.sort_out(frame_of(log_of([wire("a")])))
    again = frame_of(log_of([wire("a"), wire("a", output_tokens=501), wire("a")], first=1))
    assert told(seen.sort_out(again)) == {"duplicates": [1, 3], "conflicts": [2]}


def test_repeats_inside_one_batch_are_told_like_those_across_batches() -> None:
    log = log_of([wire("a"), wire("b"), wire("a"), wire("a", model="gpt-4o"), wire("b"), wire("c")])
    together = told(seen_ids().sort_out(frame_of(log)))
    one_by_one: dict[str, list[int]] = {}
    seen = seen_ids()
    for record in log:
        for kind, offsets in told(seen.sort_out(frame_of([record]))).items():
            one_by_one.setdefault(kind, []).extend(offsets)
    assert together == one_by_one == {"new": [0, 1, 5], "duplicates": [2, 4], "conflicts": [3]}


def test_the_first_stays_first_after_a_conflict() -> None:
    seen = seen_ids()
    seen.sort_out(frame_of(log_of([wire("a", input_tokens=1), wire("a", input_tokens=2)])))
    after = frame_of(log_of([wire("a", input_tokens=1), wire("a", input_tokens=2)], first=2))
    assert told(seen.sort_out(after)) == {"duplicates": [2], "conflicts": [3]}


def test_what_was_seen_is_told_right_in_the_batch_that_makes_the_table_grow() -> None:
    seen, few = seen_ids(), [wire(f"few-{number}") for number in range(100)]
    seen.sort_out(frame_of(log_of(few)))
    many = [wire(f"many-{number}") for number in range(5_000)]
    replayed, more = log_of(few), log_of([*few, *many], first=100)
    assert told(seen.sort_out(frame_of([*replayed, *more]))) == {
        "replayed": list(range(100)),
        "duplicates": list(range(100, 200)),
        "new": list(range(200, 5_200)),
    }


def test_an_id_in_the_first_slot_of_its_table_is_known_like_any_other() -> None:
    """Stored events of one id come in several blocks: from its home, and from where it came."""
    many = pl.Series([f"id-{number}" for number in range(20_000)])
    first = many.gather((IdTable()._home_slots(Keys.of(many)) == 0).nonzero()[0])[0]
    block = frame_of(log_of([wire(first), wire("b")]))
    seen = SeenIds(find_stored=nothing_stored, ids_max=1_000_000)
    assert len(seen) == 0
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=[block, block])
    assert seen._tables[0].find(Keys.of(pl.Series([first]))).tolist() == [0]
    assert len(seen) == 2
    assert told(seen.sort_out(block)) == {"replayed": [0, 1]}
    assert told(seen.sort_out(frame_of(log_of([wire(first), wire("b")], first=2)))) == {"duplicates": [2, 3]}


def test_an_event_of_the_first_hour_in_memory_is_looked_up_nowhere_else() -> None:
    first = [wire("a", occurred_at=rfc3339(SINCE)), wire("b", occurred_at=rfc3339(SINCE + HOUR - timedelta(seconds=1)))]
    assert told(seen_ids().sort_out(frame_of(log_of(first)))) == {"new": [0, 1]}


def test_an_old_id_in_the_first_slot_is_not_asked_for_again() -> None:
    many = pl.Series([f"id-{number}" for number in range(20_000)])
    first = many.gather((IdTable()._home_slots(Keys.of(many)) == 0).nonzero()[0])[0]
    old = frame_of(log_of([wire(first, occurred_at=rfc3339(SINCE - HOUR))]))
    asked: list[Sequence[str]] = []

    def find_stored(ids: Sequence[str], _hours: Sequence[datetime]) -> pl.DataFrame:
        asked.append(ids)
        return old.clear()

    seen = SeenIds(find_stored=find_stored, ids_max=1_000_000)
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=[])
    assert told(seen.sort_out(old)) == {"new": [0]}
    assert told(seen.sort_out(old)) == {"replayed": [0]}
    assert asked == [[first]]


# Of each field that is counted, another value than RICH has. Written out: the list in dedup cannot shrink unseen.
COUNTED = {
    "occurred_at": "2026-11-23T12:00:00.001Z",
    "provider": "azure",
    "model": "gpt-4o",
    "operation": "embedding",
    "feature": "other",
    "task_type": "other",
    "user_id": "",
    "team": "other",
    "environment": "other",
    "status": "error",
    "usage_status": "estimated",
    "input_tokens": 1001,
    "output_tokens": 501,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "reasoning_tokens": 0,
    "service_tier": "batch",
    "inference_geo": "eu",
    "quantities": {"images": "2"},
    "unit_prices": {"images": "0.05"},
    "reported_cost_usd": "0",
    "revenue_usd": "0.000000000001",
    "duration_ms": 0,
    "utilization": "0",
}
RICH = {
    "cache_read_tokens": 1,
    "cache_write_tokens": 1,
    "reasoning_tokens": 1,
    "service_tier": "flex",
    "inference_geo": "us",
    "quantities": {"images": "1"},
    "unit_prices": {"images": "0.04"},
    "reported_cost_usd": "0.01",
    "revenue_usd": "0.02",
    "duration_ms": 5,
    "utilization": "0.5",
}
DESCRIBES = {"metadata", "session_id", "error", "time_to_first_token_ms"}


def test_every_field_of_an_event_is_either_counted_or_only_describes_it() -> None:
    assert {*COUNTED, *DESCRIBES, "request_id", "schema_version"} == set(UsageEvent.model_fields)


@pytest.mark.parametrize("name", COUNTED)
def test_a_report_that_differs_in_what_is_counted_is_a_conflict(name: str) -> None:
    one, other = wire("a", **RICH), wire("a", **RICH | {name: COUNTED[name]})
    assert told(seen_ids().sort_out(frame_of(log_of([one, other])))) == {"new": [0], "conflicts": [1]}


@pytest.mark.parametrize("name", [name for name in RICH if name.endswith("tokens") or name == "duration_ms"])
def test_a_count_that_is_not_reported_differs_from_one_of_zero(name: str) -> None:
    one, other = wire("a", **RICH | {name: None}), wire("a", **RICH | {name: 0})
    assert told(seen_ids().sort_out(frame_of(log_of([one, other])))) == {"new": [0], "conflicts": [1]}


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"try": 2}},
        {"session_id": "s-2"},
        {"error": "timed out"},
        {"time_to_first_token_ms": 7},
        {"occurred_at": "2026-11-23T21:00:00.0009+09:00"},
        {"schema_version": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_report_that_differs_in_what_only_describes_it_is_a_duplicate(changed: dict[str, object]) -> None:
    assert told(seen_ids().sort_out(frame_of(log_of([wire("a"), wire("a", **changed)])))) == {
        "new": [0],
        "duplicates": [1],
    }


CONTENT_TYPES = {name: frame_of(log_of([wire()])).schema[name] for name in CONTENT}


@pytest.mark.parametrize(
    ("kind", "values"), [(pl.String(), ("x", "y")), (pl.Int64(), (4, 5)), (pl.Int64(), (None, 0))], ids=str
)
def test_two_fields_that_change_places_are_a_conflict(kind: pl.DataType, values: tuple[object, object]) -> None:
    names = [name for name, of_column in CONTENT_TYPES.items() if of_column == kind]
    assert len(names) > 6
    for one, other in combinations(names, 2):
        frame = frame_of(log_of([wire("a"), wire("a")])).with_columns(
            pl.Series(one, values, dtype=kind), pl.Series(other, values[::-1], dtype=kind)
        )
        assert told(seen_ids().sort_out(frame)) == {"new": [0], "conflicts": [1]}, (one, other)


def test_an_event_that_is_not_at_home_is_sent_there_and_not_remembered() -> None:
    seen = seen_ids(partitions=[0, 1], total=PARTITIONS)
    stray = id_at_home_in(3, total=PARTITIONS)
    assert told(seen.sort_out(frame_of(log_of([wire(stray), wire(stray)], partition=1)))) == {"away": [0, 1]}
    assert len(seen) == 0


def test_partitions_do_not_share_offsets() -> None:
    seen = seen_ids(partitions=[0, 1], total=PARTITIONS)
    here, there = (id_at_home_in(home, total=PARTITIONS) for home in (0, 1))
    records = [FakeRecord(wire(here), 0, 5), FakeRecord(wire(there), 1, 5)]
    assert told(seen.sort_out(frame_of(records))) == {"new": [5, 5]}
    crossed = [FakeRecord(wire(here), 0, 6), FakeRecord(wire(there), 1, 5)]
    assert told(seen.sort_out(frame_of(crossed))) == {"duplicates": [6], "replayed": [5]}


@pytest.mark.parametrize("second", ["00:00.000", "59:59.999"])
def test_an_id_is_remembered_with_the_hour_it_occurred_in(second: str) -> None:
    events = frame_of(log_of([wire("a", occurred_at=f"2026-11-23T11:{second}Z")]))
    (hour,) = _Batch.of(events).sightings.hours.tolist()
    assert datetime(1970, 1, 1, tzinfo=UTC) + hour * HOUR == datetime(2026, 11, 23, 11, tzinfo=UTC)


# --- the bound of memory ----------------------------------------------------------------------------------------------


def hourly_log(hours: int, each: int) -> list[FakeRecord]:
    moments = [NOW - (hours - 1 - hour) * HOUR for hour in range(hours) for _ in range(each)]
    return log_of([wire(f"e-{at}", occurred_at=rfc3339(moment)) for at, moment in enumerate(moments)])


def test_beyond_the_bound_the_oldest_hours_go_and_the_window_in_force_shrinks() -> None:
    seen = seen_ids(ids_max=100)
    seen.sort_out(frame_of(hourly_log(hours=10, each=20)))
    assert (len(seen), seen.known_since) == (200, SINCE.replace(minute=0))
    assert seen.trim()
    assert len(seen) == 80
    assert seen.known_since == NOW.replace(minute=0) - 3 * HOUR


def test_nine_tenths_of_the_bound_may_stay_and_no_id_more() -> None:
    for each, kept in ((10, 90), (9, 90), (11, 88)):
        seen = seen_ids(ids_max=100)
        seen.sort_out(frame_of(hourly_log(hours=12, each=each)))
        assert seen.trim()
        assert len(seen) == kept


def test_within_the_bound_nothing_is_forgotten() -> None:
    seen = seen_ids(ids_max=300)
    seen.sort_out(frame_of(hourly_log(hours=10, each=20)))
    assert not seen.trim()
    assert len(seen) == 200


def test_what_falls_out_of_the_window_is_forgotten() -> None:
    seen = seen_ids()
    seen.sort_out(frame_of(hourly_log(hours=10, each=20)))
    seen.forget_before(NOW - HOUR)
    assert (len(seen), seen.known_since) == (40, NOW.replace(minute=0) - HOUR)


def test_only_events_older_than_the_window_that_memory_does_not_know_are_looked_up() -> None:
    asked: list[tuple[list[str], list[datetime]]] = []

    def find_stored(ids: Sequence[str], hours: Sequence[datetime]) -> pl.DataFrame:
        asked.append((list(ids), list(hours)))
        return frame_of(log_of([wire("stored", occurred_at=rfc3339(old))], first=3))

    old = NOW - timedelta(days=8)
    seen = SeenIds(find_stored=find_stored, ids_max=1_000)
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=[])
    late = [wire(name, occurred_at=rfc3339(old + HOUR)) for name in ("late", "later")]
    values = [wire("fresh"), wire("stored", occurred_at=rfc3339(old)), *late]
    assert told(seen.sort_out(frame_of(log_of(values, first=10)))) == {"new": [10, 12, 13], "duplicates": [11]}
    hour = old.replace(minute=0, tzinfo=UTC)
    assert asked == [(["stored", "late", "later"], [hour, hour + HOUR])], "each hour once"
    assert told(seen.sort_out(frame_of(log_of(values[1:], first=20)))) == {"duplicates": [20, 21, 22]}
    assert len(asked) == 1


def test_ids_read_back_beyond_the_bound_are_the_latest() -> None:
    blocks = [frame_of(hourly_log(hours=10, each=20)[at : at + 40]) for at in range(0, 200, 40)]
    seen = SeenIds(find_stored=nothing_stored, ids_max=100)
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=blocks)
    assert len(seen) <= 100
    assert seen.known_since > NOW - 6 * HOUR


@pytest.mark.parametrize("offset", range(4))
def test_what_was_stored_from_elsewhere_is_at_no_offset_of_this_log(offset: int) -> None:
    elsewhere = decode(log_of([wire("a")], first=offset), source="before", limits=LIMITS).frame
    seen = SeenIds(find_stored=nothing_stored, ids_max=100)
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=[elsewhere])
    assert told(seen.sort_out(frame_of(log_of([wire("a")], first=offset)))) == {"duplicates": [offset]}


def test_as_many_ids_as_the_bound_are_all_read_back() -> None:
    blocks = [frame_of(hourly_log(hours=10, each=10))]
    seen = SeenIds(find_stored=nothing_stored, ids_max=100)
    seen.assign([0], partition_count=1, source="s", since=SINCE, stored=blocks)
    assert len(seen) == 100


# --- from ClickHouse --------------------------------------------------------------------------------------------------


@pytest.fixture
def source() -> str:
    return f"test-{uuid4()}"


def kinds_after_restart(
    warehouse: Warehouse, source: str, records: Sequence[FakeRecord], *, partition: int = 0, total: int = 1
) -> dict[str, int]:
    """What a worker that has just started makes of these records."""
    flush = flush_of(ingest_of(warehouse, source, [partition], count=total), records)
    counts = {
        "stored": flush.stored,
        "duplicates": flush.duplicates,
        "refused": len(flush.refusals),
        "forwarded": len(flush.forwards),
    }
    return {outcome: number for outcome, number in counts.items() if number}


def test_after_a_restart_replays_duplicates_and_conflicts_are_told_as_before(warehouse: Warehouse, source: str) -> None:
    first = f"a-{source}"
    rich = wire(
        first,
        cache_read_tokens=3,
        reported_cost_usd="0.000000000001",
        revenue_usd="999999.999999999999",
        quantities={"images": "2", "audio_seconds": "1.50"},
        unit_prices={"images": "0.04"},
        occurred_at="2026-11-23T12:00:00.789Z",
        duration_ms=5,
        utilization="0.853211",
        user_id="ü\\'\n".strip(),
    )
    run(warehouse, ingest_of(warehouse, source), log_of([rich]))
    assert kinds_after_restart(warehouse, source, log_of([rich])) == {"stored": 1}
    assert kinds_after_restart(warehouse, source, log_of([rich], first=1)) == {"duplicates": 1}
    for sent, other in ((b'"duration_ms":5', b'"duration_ms":6'), (b'"0.853211"', b'"0.853212"')):
        conflict = log_of([rich.replace(sent, other)], first=1)
        assert kinds_after_restart(warehouse, source, conflict) == {"refused": 1}


def test_an_id_stored_from_another_incarnation_of_the_topic_is_known(warehouse: Warehouse, source: str) -> None:
    log = log_of([wire(f"a-{source}")])
    run(warehouse, ingest_of(warehouse, f"{source}-before"), log)
    assert kinds_after_restart(warehouse, source, log) == {"duplicates": 1}


def test_an_id_is_known_at_its_new_home_after_partitions_were_added(warehouse: Warehouse, source: str) -> None:
    moved = id_at_home_in(5, total=6)
    before = home_of(moved, total=4)
    run(warehouse, ingest_of(warehouse, source, [before], count=4), log_of([wire(moved)], partition=before))
    copy = log_of([wire(moved)], partition=5)
    assert kinds_after_restart(warehouse, source, copy, partition=5, total=6) == {"duplicates": 1}
    original = log_of([wire(moved)], partition=before)
    assert kinds_after_restart(warehouse, source, original, partition=before, total=6) == {"stored": 1}, "a replay"
    stray = log_of([wire(moved)], partition=before, first=9)
    assert kinds_after_restart(warehouse, source, stray, partition=before, total=6) == {"forwarded": 1}


def test_an_event_older_than_the_window_is_looked_up_before_it_is_counted(warehouse: Warehouse, source: str) -> None:
    old = wire(f"old-{source}", occurred_at=rfc3339(NOW - timedelta(days=30)))
    ids_before = len(ingest_of(warehouse, source).seen)
    run(warehouse, ingest_of(warehouse, source), log_of([old]))
    assert len(ingest_of(warehouse, source).seen) == ids_before, "it was not read back"
    assert kinds_after_restart(warehouse, source, log_of([old], first=7)) == {"duplicates": 1}
    assert kinds_after_restart(warehouse, source, log_of([old])) == {"stored": 1}


def test_a_late_event_is_counted_once_though_its_hour_is_forgotten_in_between(
    warehouse: Warehouse, source: str
) -> None:
    ingest = ingest_of(warehouse, source)
    late = wire(f"late-{source}", occurred_at=rfc3339(NOW - timedelta(days=8)))
    (first,) = run(warehouse, ingest, log_of([late]))
    ingest.trim(SINCE)
    (second,) = run(warehouse, ingest, log_of([late], first=1))
    assert (first.stored, second.stored, second.duplicates) == (1, 0, 1)


# --- strays -----------------------------------------------------------------------------------------------------------

FORGED = [b"", b"99999999999999999999", b"1000000", b"-1", b"\xff", None]


@pytest.mark.parametrize("mark", FORGED, ids=repr)
def test_no_header_makes_a_stray_count_where_it_is(warehouse: Warehouse, source: str, mark: bytes | None) -> None:
    stray = id_at_home_in(2, total=PARTITIONS)
    headers = [("costream-forwarded", mark), ("trace", b"t-1")]
    record = FakeRecord(wire(stray), 1, 0, key=b"wrong", headers=headers)  # type: ignore[arg-type]  # Kafka has null values
    flush = flush_of(ingest_of(warehouse, source, [1], count=PARTITIONS), [record])
    (message,) = flush.forwards
    assert (message.key, message.value, message.partition) == (stray.encode(), record.value, 2)
    assert message.headers == [("trace", b"t-1"), ("costream-forwarded", b"4")]
    assert flush.stored == 0


def test_a_forwarded_event_that_has_arrived_is_counted_and_never_sent_again(warehouse: Warehouse, source: str) -> None:
    stray = id_at_home_in(2, total=PARTITIONS)
    ingest = ingest_of(warehouse, source, range(PARTITIONS), count=PARTITIONS)
    waiting = [FakeRecord(wire(stray), 1, 0), FakeRecord(wire(stray), 3, 0)]
    hops, stored = 0, 0
    while waiting:
        (flush,) = run(warehouse, ingest, waiting)
        stored += flush.stored
        hops += len(flush.forwards)
        waiting = [
            FakeRecord(message.value, message.partition or 0, hops + at, headers=message.headers)  # type: ignore[arg-type]  # as sent
            for at, message in enumerate(flush.forwards)
        ]
    assert (hops, stored) == (2, 1)


def test_workers_that_disagree_on_the_partition_count_end_at_one_home_once_both_know(
    warehouse: Warehouse, source: str
) -> None:
    """Until the one that is behind hears of the new partitions, the event travels and is counted nowhere."""
    moved = next(found for found in ids_at_home_in(2, total=6) if home_of(found, total=4) != 2)
    behind = ingest_of(warehouse, source, [2], count=4)
    (message,) = flush_of(behind, log_of([wire(moved)], partition=2)).forwards
    back_home = home_of(moved, total=4)
    assert message.partition == back_home
    ahead = ingest_of(warehouse, source, [back_home], count=6)
    (message,) = flush_of(ahead, log_of([message.value], partition=back_home)).forwards
    assert message.partition == 2
    behind.assign([2], partition_count=6, source=source, since=SINCE)
    assert flush_of(behind, log_of([message.value], partition=2, first=1)).stored == 1
