"""What a record without a raw row was: rule by rule, each on both its sides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stream.reread.judge import Block, Judged, Sighting, judge

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)
BLOCK = Block(room=10, whole=True, partition_count=4, oldest_kept=NOW - 90 * DAY, dedup_window=7 * DAY)


def seen(offset: int, request_id: str = "", **other: Any) -> Sighting:
    usual = Sighting(
        request_id=request_id or f"r-{offset}",
        source="topic-1",
        partition=0,
        offset=offset,
        occurred_at=NOW - DAY,
        received_at=NOW,
        model="m",
        feature="f",
        digest=1,
    )
    return replace(usual, **other)


def judged(
    *sent: Sighting,
    known: Sequence[Sighting] = (),
    away: Collection[int] = (),
    counts: dict[int, set[int]] | None = None,
    **block: Any,
) -> Judged:
    """``away``: offsets that are not at home; ``counts``: those at home by a lower number of partitions."""
    at_home = {4: {each.offset for each in sent} - set(away)} | (counts or {})
    rows: dict[str, list[Sighting]] = {}
    for row in known:
        rows.setdefault(row.request_id, []).append(row)
    return judge(replace(BLOCK, **block), sent, at_home=lambda count: at_home.get(count, set()), known=rows)


def test_a_record_whose_id_is_nowhere_has_lost_its_row() -> None:
    assert judged(seen(1), seen(2)) == Judged(lost=[1, 2], gap=8)


def test_the_second_of_two_alike_is_a_duplicate_and_of_two_unlike_a_conflict() -> None:
    found = judged(seen(1, "a"), seen(2, "a"), seen(3, "a", digest=2), room=1)
    assert found == Judged(lost=[1], duplicates=[2], conflicts=[3])


def test_an_hour_ends_with_its_last_millisecond() -> None:
    """However long ago: an hour that is a second too long would be off by days after half a century."""
    start = datetime(2026, 11, 23, 11, tzinfo=UTC)
    end = start + timedelta(hours=1)
    hours = [seen(1, occurred_at=at).hour for at in (start, end - timedelta(milliseconds=1), end)]
    assert hours == [hours[0], hours[0], hours[0] + 1]


def test_an_id_that_is_stored_from_an_earlier_record_is_left_alone() -> None:
    assert judged(seen(5, "a"), known=[seen(1, "a")]).duplicates == [5]
    assert judged(seen(5, "a"), known=[seen(1, "a", digest=2)]).conflicts == [5]
    elsewhere = seen(99, "a", partition=3, received_at=NOW - DAY)
    assert judged(seen(5, "a"), known=[elsewhere]).duplicates == [5]


def test_an_id_that_a_later_record_has_taken_is_noted_and_not_written_over() -> None:
    assert judged(seen(5, "a"), known=[seen(9, "a")]).counted_again == [5]


def test_a_later_row_that_can_stand_beside_it_does_not_keep_it_away() -> None:
    """The audit finds the id in two places then, and takes out the later one."""
    assert judged(seen(5, "a"), known=[seen(9, "a", model="other")]).lost == [5]


@pytest.mark.parametrize("other", [{"model": "n"}, {"feature": "g"}, {"occurred_at": NOW - DAY - timedelta(hours=1)}])
def test_two_rows_of_an_id_stand_side_by_side_if_hour_model_or_feature_differ(other: dict[str, Any]) -> None:
    assert judged(seen(5, "a"), known=[seen(9, "a", **other)]).lost == [5]
    assert judged(seen(5, "a"), known=[seen(9, "a", digest=2, received_at=NOW + DAY)]).counted_again == [5]


@pytest.mark.parametrize("elsewhere", [{"partition": 3}, {"source": "topic-0"}])
def test_of_rows_in_two_logs_the_one_that_arrived_first_is_the_earlier(elsewhere: dict[str, Any]) -> None:
    """Offsets of two logs say nothing of each other."""
    second = timedelta(seconds=1)
    assert judged(seen(5, "a"), known=[seen(9, "a", received_at=NOW - second, **elsewhere)]).duplicates == [5]
    for later in (NOW, NOW + second):
        assert judged(seen(5, "a"), known=[seen(1, "a", received_at=later, **elsewhere)]).counted_again == [5]


def test_a_record_is_not_earlier_than_itself() -> None:
    assert judged(seen(5, "a"), known=[seen(5, "a")]).counted_again == [5]


def test_one_earlier_row_of_the_same_content_makes_it_a_duplicate_whatever_the_others_say() -> None:
    known = [seen(1, "a", digest=2), seen(2, "a"), seen(3, "a", digest=3)]
    assert judged(seen(5, "a"), known=known).duplicates == [5]


def test_what_was_counted_again_and_what_expired_fill_the_room_too() -> None:
    later, old = seen(9, "a"), seen(3, occurred_at=BLOCK.oldest_kept - DAY)
    sent = (seen(1), seen(2, "a"), old)
    assert judged(*sent, known=[later], room=4) == Judged(lost=[1], counted_again=[2], expired=[3], gap=1)
    assert judged(*sent, known=[later], room=3) == Judged(lost=[1], counted_again=[2], expired=[3])
    assert judged(*sent, known=[later], room=2) == Judged(expired=[3], unclear=[1, 2])
    assert judged(*sent, known=[later], room=0) == Judged(expired=[3], duplicates=[1, 2])


def test_where_nothing_is_lost_the_gap_is_what_the_ledger_misses() -> None:
    assert judged(room=0) == Judged()
    assert judged(room=2) == Judged(gap=2)
    assert judged(room=-2) == Judged(gap=-2)


def test_of_records_astray_the_one_partition_there_may_have_been_is_tried_too() -> None:
    sent, away = (seen(1), seen(2), seen(3)), [1, 2, 3]
    assert judged(*sent, away=away, room=2, counts={1: {1, 2}}).astray == [1, 2]
    assert judged(*sent, away=away, room=2, counts={0: {1, 2}}).astray == []
    assert judged(*sent, away=away, room=2, counts={1: {1, 2}, 3: {1, 2, 99}}).astray == [1, 2]


def test_records_astray_of_an_id_that_came_twice_are_told_by_their_first() -> None:
    sent = (seen(1, "a"), seen(2, "a"), seen(3, "b"))
    assert judged(*sent, away=[1, 2, 3], room=2).astray == [1, 3]


def test_an_older_row_counts_within_the_dedup_window_and_in_its_own_hour() -> None:
    def older(occurred_at: datetime) -> Sighting:
        return seen(1, "a", occurred_at=occurred_at, digest=2)

    assert judged(seen(5, "a"), known=[older(NOW - 7 * DAY)]).conflicts == [5]
    assert judged(seen(5, "a"), known=[older(NOW - 7 * DAY - timedelta(seconds=1))]).lost == [5]
    old = seen(5, "a", occurred_at=NOW - 30 * DAY)
    assert judged(old, known=[older(NOW - 30 * DAY)]).conflicts == [5]


def test_what_is_not_at_home_was_forwarded() -> None:
    found = judged(seen(1), seen(2), away=[2], room=1)
    assert (found.lost, found.forwarded) == ([1], [2])


def test_what_is_older_than_the_retention_stays_gone() -> None:
    edge = BLOCK.oldest_kept
    found = judged(seen(1, occurred_at=edge), seen(2, occurred_at=edge - timedelta(milliseconds=1)), room=2)
    assert (found.lost, found.expired) == ([1], [2])


def test_never_more_are_restored_than_the_ledger_misses() -> None:
    assert judged(seen(1), seen(2), room=2).lost == [1, 2]
    assert judged(seen(1), seen(2), room=1) == Judged(unclear=[1, 2])


def test_where_nothing_is_missing_they_are_repeats_of_what_is_missing_elsewhere() -> None:
    assert judged(seen(1), seen(2), room=0) == Judged(duplicates=[1, 2])
    assert judged(seen(1), room=-3) == Judged(duplicates=[1])


def test_records_astray_that_fill_the_gap_were_counted_here() -> None:
    sent = (seen(1), seen(2), seen(3))
    assert judged(*sent, away=[2, 3], room=3).astray == [2, 3]
    assert judged(*sent, away=[2, 3], room=2).astray == []
    assert judged(*sent, away=[2, 3], room=3, whole=False).astray == []
    edge = BLOCK.oldest_kept
    aged = (seen(1), seen(2, occurred_at=edge), seen(3, occurred_at=edge - timedelta(milliseconds=1)))
    assert judged(*aged, away=[2, 3], room=3).astray == [2]


def test_of_an_id_that_came_twice_only_the_first_record_fills_the_gap() -> None:
    assert judged(seen(1, "a"), seen(2, "a"), away=[1, 2], room=1).astray == [1]


def test_a_lower_number_of_partitions_tells_which_of_them_were_at_home() -> None:
    sent, away = (seen(1), seen(2), seen(3)), [1, 2, 3]
    assert judged(*sent, away=away, room=2, counts={3: {1, 3}, 2: {2}}).astray == [1, 3]
    assert judged(*sent, away=away, room=2, counts={3: {1, 3}, 2: {1, 2}}).astray == [], (
        "two numbers would: nobody knows"
    )


def test_an_id_that_is_stored_where_it_was_forwarded_to_is_not_astray() -> None:
    found = judged(seen(1, "a"), known=[seen(7, "a", partition=2)], away=[1], room=1)
    assert (found.forwarded, found.astray) == ([1], [])
