"""The small parts of reading again: which header marks a forwarded record, what was asked for, what is counted."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from stream.audit.kafka import KafkaFacts, LogFacts
from stream.audit.report import PartitionTotals
from stream.decode.cut import Header
from stream.reread.group import Rewind, rewinds
from stream.reread.judge import Judged
from stream.reread.log import LogRecord
from stream.reread.restore import Offsets, Outcome, _BlockRead, _count, _forwarded_by, _note_oldest, _Part
from tests.support.records import NOW


@pytest.mark.parametrize(
    ("headers", "count"),
    [
        ([], 0),
        ([("costream-forwarded", b"4")], 4),
        ([("trace", b"9"), ("costream-forwarded", b"12")], 12),
        ([("trace", b"9")], 0),
        ([("costream-forwarded", None)], 0),
        ([("costream-forwarded", b"")], 0),
        ([("costream-forwarded", b"x4")], 0),
        ([("trace", b"x")], 0),
    ],
)
def test_a_record_was_forwarded_if_its_header_says_by_how_many_partitions(headers: list[Header], count: int) -> None:
    assert _forwarded_by(LogRecord(0, 0, 0, None, b"", headers)) == count


def part(first: int = 10, last: int = 19) -> _Part:
    asked = Offsets(3, first, last)
    return _Part(Outcome(asked), asked)


def rows(*offsets: int) -> pl.DataFrame:
    return pl.DataFrame({"source_offset": offsets}, schema={"source_offset": pl.Int64})


def test_of_a_block_only_what_is_asked_for_is_written_and_counted() -> None:
    assert part().within(rows(9, 10, 19, 20))["source_offset"].to_list() == [10, 19]
    assert part().count([9, 10, 15, 19, 20]) == 3
    assert str(part().offsets) == "offsets 10-19 of partition 3"


def test_every_record_is_counted_in_one_place() -> None:
    some = part()
    some.lost, some.counted_again = {10}, {11}
    read = _BlockRead(
        offsets=range(30),
        frame=rows(9, 10, 11, 12, 13, 14, 15, 16),
        stored={9, 10, 11, 12, 99},
        removed={11, 13, 98},
        letters_stored={17, 20},
        letters=rows(),
        refused=[17, 18, 20],
    )
    assert read.known == {9, 10, 11, 12, 99, 13, 98, 17, 20}
    assert read.at([10, 12])["source_offset"].to_list() == [10, 12]
    found = Judged(duplicates=[9, 14], forwarded=[10, 15], expired=[16, 20])
    _count(some, read, found, letters=rows(18))
    counts = {
        "records": 9, "stored": 1, "restored": 1, "removed": 1, "counted_again": 1, "duplicates": 1, "forwarded": 1,
        "beyond_retention": 1, "dead_letters": 1, "dead_letters_restored": 1, "unclear": 0, "missing_in_kafka": 0,
    }  # fmt: skip
    assert some.outcome.to_dict() == {"partition": 3, "from": 10, "to": 19, "notes": []} | counts
    assert some.outcome.written == 3
    _count(some, read, Judged(unclear=[10, 11, 30]), letters=rows())
    assert some.outcome.unclear == 2
    (note,) = some.outcome.notes
    assert note.startswith("offsets 10-19 of partition 3: more records without a row than the ledger misses")


def test_the_oldest_event_restored_is_remembered() -> None:
    outcome = Outcome(Offsets(0, 0, 9))
    times = pl.Datetime("ms", "UTC")
    for ages in ([], [2, 5], [1], [7], []):
        _note_oldest(
            outcome, pl.DataFrame({"occurred_at": [NOW - timedelta(hours=n) for n in ages]}, {"occurred_at": times})
        )
    assert outcome.oldest == NOW - timedelta(hours=7)


# --- the group -------------------------------------------------------------------------------------------------------


def totals(partition: int, offset_last: int) -> PartitionTotals:
    return PartitionTotals("s", partition, 0, offset_last, 1, 1, 0, 0, 0, 0, 0, 0)


def test_the_group_is_set_back_to_the_ledgers_end_where_it_is_ahead_and_nowhere_else() -> None:
    logs = (
        LogFacts(0, begin=0, end=20, committed=10),
        LogFacts(1, begin=0, end=20, committed=15),
        LogFacts(2, begin=12, end=20, committed=16),  # and what lies between is not in the log any more
        LogFacts(3, begin=15, end=20, committed=8),  # this one is behind: records expired
    )
    known = tuple(totals(partition, 9) for partition in range(4))
    assert rewinds(known, KafkaFacts("s", logs)) == [Rewind(1, 15, 10, 0), Rewind(2, 16, 12, 2)]
    assert rewinds(known, KafkaFacts("s", logs[:1])) == []
