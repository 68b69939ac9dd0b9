"""Lag is zero exactly if nothing is left, and never below what is; a commit passes over what is no record."""

from __future__ import annotations

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream.consume.positions import Positions, Reading
from stream.runtime.kafka import commit_note, records_next_of

HERE, THERE = TP("usage.events", 0), TP("usage.events", 1)


def read(positions: Positions, position: int, end: int, *, handed: tuple[int, int] | None = None) -> None:
    positions.read({HERE: Reading(position, end, handed=handed)})


def lag(positions: Positions) -> int | None:
    return positions.lag([HERE])[HERE]


def test_a_partition_of_which_nothing_is_known_has_no_lag_rather_than_none_left() -> None:
    positions = Positions()
    assert positions.lag([HERE, THERE]) == {HERE: None, THERE: None}
    read(positions, 0, 5)
    positions.forget()
    assert lag(positions) is None


def test_offsets_that_are_passed_over_without_a_record_are_no_lag() -> None:
    positions = Positions()
    read(positions, 10, 12, handed=(0, 9))
    positions.stored(HERE, 9)
    assert lag(positions) == 2, "they may be records, until they are passed over"
    read(positions, 12, 12)
    assert lag(positions) == 0


def test_what_was_handed_over_waits_until_it_is_stored_however_far_reading_has_come() -> None:
    positions = Positions()
    read(positions, 6, 12, handed=(3, 5))
    read(positions, 10, 12, handed=(6, 9))
    read(positions, 12, 12)
    assert lag(positions) == 9
    positions.stored(HERE, 5)
    assert lag(positions) == 6
    positions.stored(HERE, 9)
    assert lag(positions) == 0


def test_what_an_assignment_before_has_stored_does_not_count_in_this_one() -> None:
    positions = Positions()
    read(positions, 10, 10, handed=(0, 9))
    positions.forget()
    positions.begin(HERE, position=0, records_next=0)
    positions.stored(HERE, 9)
    read(positions, 10, 10, handed=(0, 9))
    assert lag(positions) == 10


def test_what_is_stored_of_a_partition_that_is_no_longer_held_is_nobodys_lag() -> None:
    positions = Positions()
    read(positions, 10, 10, handed=(0, 9))
    positions.stored(THERE, 9)
    assert positions.lag([HERE, THERE]) == {HERE: 10, THERE: None}


def test_an_end_asked_for_apart_counts_if_it_is_the_later_one() -> None:
    positions = Positions()
    read(positions, 5, 5)
    positions.reaches({HERE: 9, THERE: 4})
    assert positions.lag([HERE, THERE]) == {HERE: 4, THERE: None}
    positions.reaches({HERE: 7})
    assert lag(positions) == 4
    positions.begin(THERE, position=0, records_next=None)
    positions.reaches({THERE: 4})
    assert positions.lag([THERE]) == {THERE: 4}


def test_a_commit_passes_over_what_is_no_record_and_over_nothing_that_is_not_acknowledged() -> None:
    positions = Positions()
    read(positions, 12, 20, handed=(0, 9))
    assert positions.committable(HERE) is None
    positions.acknowledge(HERE, 5)
    assert positions.committable(HERE) == 6
    positions.acknowledge(HERE, 9)
    assert positions.committable(HERE) == 12
    read(positions, 15, 20, handed=(13, 14))
    assert positions.committable(HERE) == 10
    read(positions, 17, 20)
    positions.acknowledge(HERE, 14)
    assert positions.committable(HERE) == 17
    assert positions.records_next(HERE) == 15


def test_reading_that_begins_anew_knows_the_end_and_what_the_group_was_handed_before() -> None:
    positions = Positions()
    positions.begin(HERE, position=3, records_next=2)
    assert (lag(positions), positions.records_next(HERE)) == (None, 2)
    read(positions, 5, 9, handed=(3, 4))
    positions.begin(HERE, position=3, records_next=5)
    assert (lag(positions), positions.records_next(HERE)) == (6, 5)


def test_only_partitions_whose_position_is_known_are_known() -> None:
    positions = Positions()
    positions.begin(HERE, position=None, records_next=None)
    positions.begin(THERE, position=0, records_next=None)
    assert positions.known() == [THERE]
    assert positions.records_next(TP("usage.events", 9)) is None


def test_an_answer_without_an_end_leaves_the_one_that_is_known() -> None:
    positions = Positions()
    read(positions, 5, 9)
    positions.read({HERE: Reading(6, None)})
    assert lag(positions) == 3


def test_what_stands_behind_an_open_transaction_is_told_apart_and_is_no_lag() -> None:
    positions = Positions()
    assert positions.withheld([HERE]) == {HERE: 0}
    positions.begin(HERE, position=4, records_next=None)
    assert positions.withheld([HERE]) == {HERE: 0}
    positions.read({HERE: Reading(4, 4, withheld=3)})
    assert (positions.withheld([HERE, THERE]), lag(positions)) == ({HERE: 3, THERE: 0}, 0)
    read(positions, 4, 4)
    assert positions.withheld([HERE]) == {HERE: 0}


def test_without_a_position_no_more_is_committed_than_what_is_acknowledged() -> None:
    positions = Positions()
    positions.begin(HERE, position=None, records_next=None)
    assert positions.committable(HERE) is None
    positions.acknowledge(HERE, 4)
    assert positions.committable(HERE) == 5
    assert positions.committable(THERE) is None
    positions.begin(THERE, position=3, records_next=None)
    assert positions.committable(THERE) == 3, "nothing was handed over: all before it is passed over"
    positions.acknowledge(THERE, 6)
    assert positions.committable(THERE) == 7, "a commit never goes back"


def test_a_log_that_ends_before_the_position_has_no_lag_below_zero() -> None:
    positions = Positions()
    read(positions, 9, 5)
    assert lag(positions) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=12), st.data())
def test_lag_is_zero_exactly_if_every_record_is_stored_and_never_less_than_what_is_left(
    runs: list[tuple[bool, int]], data: st.DataObject
) -> None:
    """A log of runs of records and of offsets without one; each fetch brings one run; storing lags behind at will."""
    end = sum(length for _, length in runs)
    records: list[int] = []
    positions, stored, position = Positions(), -1, 0
    everything = [at for start, (real, length) in _starts(runs) if real for at in range(start, start + length)]
    positions.read({HERE: Reading(0, end)})
    for start, (real, length) in _starts(runs):
        position = start + length
        positions.read({HERE: Reading(position, end, handed=(start, position - 1) if real else None)})
        records += range(start, position) if real else ()
        waiting = [at for at in records if at > stored]
        if waiting and data.draw(st.booleans()):
            stored = data.draw(st.sampled_from(waiting))
            positions.stored(HERE, stored)
            positions.acknowledge(HERE, stored)
        left = sum(at > stored for at in everything)
        told = lag(positions)
        assert told is not None
        assert told >= left
        if position == end:
            assert (told == 0) == (left == 0)
        committed = positions.committable(HERE) or 0
        assert not [at for at in everything if stored < at < committed], "a record would be skipped"


def _starts(runs: list[tuple[bool, int]]) -> list[tuple[int, tuple[bool, int]]]:
    starts, at = [], 0
    for run in runs:
        starts.append((at, run))
        at += run[1]
    return starts


def test_a_commit_notes_the_offset_after_the_last_record_and_another_ones_commit_says_no_more_than_itself() -> None:
    assert records_next_of(commit_note(10, 12), 12) == 10
    assert records_next_of(commit_note(10, 12) + "7\x01ĳ", 12) == 10  # what stood behind it in memory
    assert records_next_of("records:10", 12) == 10  # of the release before
    assert records_next_of(commit_note(None, 12), 12) == 12
    for note in ("", "records:", "records:-1", "records:9x", "something else"):
        assert records_next_of(note, 12) == 12
    assert records_next_of("records:99", 12) == 12, "a commit that was set back covers no more"
