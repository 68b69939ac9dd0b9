"""What retention excuses, and what it does not: the ledger remembers longer than the rows it counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from stream.audit.ledger import AGGREGATES_KEPT_MIN, Conservation, Gap, conservation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HORIZON = datetime(2026, 8, 27, tzinfo=UTC)
MOMENT = pl.Datetime("ms", "UTC")
LEDGER = (
    "offset_block",
    "offset_first",
    "offset_last",
    "received",
    "stored",
    "duplicates",
    "dead_lettered",
    "forwarded",
)
COUNTED = ("offset_block", "events", "events_expiring", "removed", "dead_letters", "in_flight")


def entry(block: int, *, stored: int, dead_lettered: int = 0) -> dict[str, int]:
    first = block << 16
    received = stored + dead_lettered
    return dict(zip(LEDGER, (block, first, first + received - 1, received, stored, 0, dead_lettered, 0), strict=True))


def counted(block: int, received_first: datetime | None, **rows: int) -> dict[str, Any]:
    return dict.fromkeys(COUNTED, 0) | {"offset_block": block, "received_first": received_first} | rows


def judged(
    ledger: list[dict[str, int]],
    rows: list[dict[str, Any]],
    *,
    calls_expired: int = 0,
    applied_first: int = 0,
    hour_first: datetime = HORIZON,
    remembered: bool = True,
) -> Conservation:
    place = {"source": pl.lit("s"), "source_partition": pl.lit(0, dtype=pl.Int64)}
    schema = dict.fromkeys(COUNTED, pl.Int64()) | {"received_first": MOMENT}
    expired = pl.DataFrame({"calls": [calls_expired], "applied_first": [applied_first], "hour_first": [hour_first]})
    if not remembered:
        expired = expired.clear()
    return conservation(
        pl.DataFrame(ledger).with_columns(**place),
        pl.DataFrame(rows, schema=schema).with_columns(**place),
        expired.select(pl.lit("s").alias("origin"), place["source_partition"].alias("source_partition"), pl.all()),
        now=NOW,
        horizon=HORIZON,
    )


def test_each_check_says_which_sums_are_to_be_equal() -> None:
    found = judged([entry(0, stored=1)], [counted(0, NOW, events=1)])
    assert [(check.name, check.question) for check in (found.records, found.raw_rows, found.dead_letters)] == [
        ("records", "received = stored + duplicates + dead-lettered + forwarded"),
        ("raw rows", "rows in usage_events and removed_events = stored"),
        ("dead letters", "rows in dead_letters = dead-lettered"),
    ]


def test_missing_rows_are_excused_up_to_the_calls_that_only_rollups_remember() -> None:
    ledger, rows = [entry(0, stored=100), entry(1, stored=50)], [counted(1, NOW, events=50)]
    exact = judged(ledger, rows, calls_expired=100)
    assert exact.raw_rows.holds
    assert exact.partitions[0].beyond_retention == 100
    short = judged(ledger, rows, calls_expired=99)
    assert short.raw_rows.differing == 1
    (finding,) = short.raw_rows.findings
    assert finding.rule == "every stored record is a row"
    assert finding.numbers == {"stored": 100, "rows": 0, "removed": 0, "beyond_retention": 99}
    assert short.short == {("s", 0)}


def test_expiring_rows_that_are_still_there_excuse_nothing() -> None:
    rows = [counted(0, HORIZON, events=40, events_expiring=40)]
    assert judged([entry(0, stored=100)], rows, calls_expired=100).raw_rows.holds
    assert not judged([entry(0, stored=101)], rows, calls_expired=100).raw_rows.holds


def test_in_a_young_warehouse_nothing_is_excused() -> None:
    for remembered in (True, False):
        found = judged([entry(0, stored=100, dead_lettered=2)], [], remembered=remembered)
        assert (found.raw_rows.differing, found.dead_letters.differing) == (1, 1)
        (gap,) = found.gaps
        assert (gap.rows, gap.letters) == (100, 2)
        (total,) = found.partitions
        assert total.beyond_retention == 0


def test_blocks_from_before_all_rollups_are_excused_once_rollups_expire() -> None:
    ledger, rows = [entry(0, stored=100), entry(1, stored=50)], [counted(1, NOW, events=50)]
    a_year_ago = NOW - timedelta(days=334)
    assert judged(ledger, rows, applied_first=1 << 16, hour_first=a_year_ago).raw_rows.holds
    assert not judged(ledger, rows, applied_first=1 << 16, hour_first=a_year_ago + timedelta(hours=1)).raw_rows.holds
    assert not judged(ledger, rows, applied_first=99, hour_first=a_year_ago).raw_rows.holds


def test_a_dead_letter_is_excused_only_where_its_arrival_may_lie_beyond_retention() -> None:
    ledger = [entry(0, stored=1, dead_lettered=1), entry(1, stored=1, dead_lettered=1)]
    young = HORIZON + timedelta(days=8)
    old = [counted(0, young - timedelta(seconds=1), events=1), counted(1, NOW, events=1, dead_letters=1)]
    assert judged(ledger, old, calls_expired=1).dead_letters.holds
    lost = [counted(0, young, events=1), counted(1, NOW, events=1, dead_letters=1)]
    (finding,) = judged(ledger, lost, calls_expired=1).dead_letters.findings
    assert finding.rule == "every dead letter is a row"
    too_many = [counted(1, NOW, events=1, dead_letters=2)]
    (finding,) = judged(ledger[1:], too_many).dead_letters.findings
    assert finding.rule == "every row is in the ledger as dead-lettered"
    assert finding.numbers == {"dead_lettered": 1, "rows": 2}


def test_a_dead_letter_is_excused_where_even_the_hours_that_knew_of_its_time_may_have_gone() -> None:
    ledger, rows = [entry(0, stored=1, dead_lettered=1)], [counted(0, HORIZON, events=1)]
    assert not judged(ledger, rows).dead_letters.holds
    assert judged(ledger, rows, hour_first=NOW - AGGREGATES_KEPT_MIN).dead_letters.holds


def test_a_row_whose_block_no_ledger_knows_is_a_finding() -> None:
    found = judged([entry(1, stored=1)], [counted(0, NOW, events=1), counted(1, NOW, events=1)])
    (finding,) = found.raw_rows.findings
    assert finding.rule == "every row is in the ledger as stored"
    assert finding.numbers == {"stored": 0, "rows": 1, "removed": 0, "beyond_retention": 0}


def test_a_dead_letter_whose_block_no_ledger_knows_is_a_finding() -> None:
    found = judged([entry(1, stored=1)], [counted(0, NOW, dead_letters=2), counted(1, NOW, events=1)])
    (finding,) = found.dead_letters.findings
    assert finding.numbers == {"dead_lettered": 0, "rows": 2}


def test_offsets_between_blocks_that_hold_no_record_are_told() -> None:
    found = judged([entry(0, stored=10), entry(2, stored=10)], [counted(0, NOW, events=10), counted(2, NOW, events=10)])
    assert found.records.holds
    assert found.partitions[0].offsets_without_record == (2 << 16) - 10


def test_a_block_cannot_receive_more_records_than_it_has_offsets() -> None:
    full = entry(3, stored=10)
    assert judged([full], [counted(3, NOW, events=10)]).records.holds
    (finding,) = judged(
        [full | {"offset_last": full["offset_first"] + 8}], [counted(3, NOW, events=10)]
    ).records.findings
    assert finding.rule == "no more records than offsets between the first and the last"
    assert finding.numbers == {"received": 10, "offsets": 9}


def test_a_record_that_was_received_and_went_nowhere_is_a_finding() -> None:
    (finding,) = judged([entry(0, stored=10) | {"stored": 9}], [counted(0, NOW, events=9)]).records.findings
    assert finding.rule == "a received record has exactly one outcome"
    assert finding.numbers == {"received": 10, "stored": 9, "duplicates": 0, "dead_lettered": 0, "forwarded": 0}


def test_a_block_whose_rows_are_all_gone_says_nothing_of_its_age() -> None:
    """ClickHouse answers 1970 for the earliest arrival of no rows. The next block is what tells."""
    no_rows = datetime(1970, 1, 1, tzinfo=UTC)
    ledger = [entry(0, stored=1), entry(1, stored=1, dead_lettered=1)]
    lost = judged(ledger, [counted(0, no_rows), counted(1, NOW, events=1)], calls_expired=1)
    assert lost.dead_letters.differing == 1
    old = judged(ledger, [counted(0, no_rows), counted(1, HORIZON, events=1)], calls_expired=1)
    assert old.dead_letters.holds


def test_offsets_without_a_record_are_counted_exactly_and_never_below_none() -> None:
    def gaps(offset_last: int) -> int:
        found = judged([entry(0, stored=10) | {"offset_last": offset_last}], [counted(0, NOW, events=10)])
        return found.partitions[0].offsets_without_record

    assert [gaps(offset_last) for offset_last in (8, 9, 10, 12)] == [0, 0, 1, 3]


def test_the_oldest_blocks_are_excused_first_and_none_that_misses_nothing() -> None:
    ledger = [entry(block, stored=10) for block in range(4)]
    rows = [counted(2, NOW, events=10), counted(3, NOW, events=12)]
    found = judged(ledger, rows, calls_expired=13)
    assert [
        (finding.where["offset_block"], finding.numbers["beyond_retention"]) for finding in found.raw_rows.findings
    ] == [
        (1, 3),
        (3, 0),
    ]
    assert found.partitions[0].beyond_retention == 13
    assert [(gap.first, gap.last, gap.rows) for gap in found.gaps] == [(1 << 16, (1 << 16) + 9, 7)]


def test_a_block_of_a_year_ago_that_is_whole_uses_up_no_excuse() -> None:
    ledger = [entry(0, stored=10), entry(1, stored=10)]
    a_year_ago = NOW - timedelta(days=334)
    found = judged(ledger, [], applied_first=1 << 16, calls_expired=10, hour_first=a_year_ago)
    assert found.raw_rows.holds
    assert found.partitions[0].beyond_retention == 20


def test_where_the_rollups_have_expired_too_and_none_is_left_every_block_is_excused() -> None:
    """The partition has no rollup row any more; another one tells that rollups expire."""
    place = {"source": pl.lit("s"), "source_partition": pl.lit(0, dtype=pl.Int64)}
    ledger = pl.DataFrame([entry(0, stored=5)]).with_columns(**place)
    rows = pl.DataFrame([counted(0, None)], schema=dict.fromkeys(COUNTED, pl.Int64()) | {"received_first": MOMENT})
    columns = {
        "origin": ["s"],
        "source_partition": [0],
        "calls": [0],
        "applied_first": [None],
        "hour_first": [NOW - timedelta(days=334)],
    }
    found = conservation(
        ledger,
        rows.with_columns(**place),
        pl.DataFrame(columns, schema_overrides={"applied_first": pl.Int64}),
        now=NOW,
        horizon=HORIZON,
    )
    assert found.raw_rows.holds


def test_removed_rows_count_as_there() -> None:
    rows = [counted(0, NOW, events=7, removed=3)]
    assert judged([entry(0, stored=10)], rows).raw_rows.holds
    (finding,) = judged([entry(0, stored=12)], rows).raw_rows.findings
    assert finding.numbers == {"stored": 12, "rows": 7, "removed": 3, "beyond_retention": 0}


def test_the_numbers_of_a_partition_are_the_sums_of_its_blocks() -> None:
    first = entry(0, stored=10, dead_lettered=2) | {"duplicates": 3, "forwarded": 1, "received": 16, "offset_last": 19}
    second = entry(1, stored=5) | {"offset_first": (1 << 16) + 2, "offset_last": (1 << 16) + 8}
    rows = [counted(0, NOW, events=10, dead_letters=2, in_flight=4), counted(1, NOW, events=5, in_flight=1)]
    (found,) = judged([first, second], rows).partitions
    assert (found.source, found.partition, found.offset_first, found.offset_last) == ("s", 0, 0, (1 << 16) + 8)
    assert (found.received, found.stored, found.duplicates) == (21, 15, 3)
    assert (found.dead_lettered, found.forwarded, found.in_flight) == (2, 1, 5)
    assert found.offsets_without_record == (1 << 16) + 9 - 21
    assert found.beyond_retention == 0


def test_every_block_that_the_ledger_or_a_row_knows_is_compared() -> None:
    found = judged([entry(0, stored=1), entry(2, stored=1)], [counted(1, NOW, in_flight=1), counted(2, NOW, events=1)])
    assert (found.records.compared, found.raw_rows.compared, found.dead_letters.compared) == (3, 3, 3)


@pytest.mark.parametrize("other", [{"source": "t"}, {"source_partition": 1}])
def test_blocks_of_two_partitions_or_of_two_incarnations_are_never_mixed(other: dict[str, Any]) -> None:
    def both(one: dict[str, Any], another: dict[str, Any]) -> pl.DataFrame:
        usual = {"source": "s", "source_partition": 0}
        return pl.DataFrame([usual | one, usual | other | another])

    ledger = both(entry(0, stored=5), entry(0, stored=7, dead_lettered=1))
    rows = both(counted(0, NOW, events=5), counted(0, NOW, events=6)).with_columns(
        pl.col("received_first").cast(MOMENT)
    )
    columns = {"origin": ["s"], "source_partition": [0], "calls": [9], "applied_first": [0], "hour_first": [HORIZON]}
    found = conservation(ledger, rows, pl.DataFrame(columns), now=NOW, horizon=HORIZON)
    assert [each.stored for each in found.partitions] == [5, 7]
    (finding,) = found.raw_rows.findings
    assert finding.where == {"source": "s", "source_partition": 0, "offset_block": 0} | other
    assert finding.numbers["beyond_retention"] == 0, "what another partition remembers excuses nothing"
    assert found.dead_letters.differing == 1
    assert found.short == {(str(finding.where["source"]), finding.where["source_partition"])}


def test_rows_in_flight_alone_are_no_totals_of_a_partition() -> None:
    ledger = pl.DataFrame([entry(0, stored=1)]).with_columns(source=pl.lit("s"), source_partition=pl.lit(0)).clear()
    rows = pl.DataFrame(
        [counted(0, NOW, in_flight=1)], schema=dict.fromkeys(COUNTED, pl.Int64()) | {"received_first": MOMENT}
    )
    expired = pl.DataFrame(
        schema={
            "origin": pl.String,
            "source_partition": pl.Int64,
            "calls": pl.Int64,
            "applied_first": pl.Int64,
            "hour_first": MOMENT,
        }
    )
    found = conservation(
        ledger.cast({"source_partition": pl.Int64}),
        rows.with_columns(source=pl.lit("s"), source_partition=pl.lit(0, dtype=pl.Int64)),
        expired,
        now=NOW,
        horizon=HORIZON,
    )
    assert found.partitions == ()
    assert found.raw_rows.holds


def test_missing_letters_are_a_gap_only_where_they_are_due() -> None:
    ledger = [entry(0, stored=1, dead_lettered=3), entry(1, stored=3)]
    old = [counted(0, HORIZON, events=1, dead_letters=1), counted(1, NOW)]
    found = judged(ledger, old, calls_expired=1)
    assert [(gap.first, gap.rows, gap.letters) for gap in found.gaps] == [(1 << 16, 2, 0)]
    assert found.dead_letters.holds
    young = judged(ledger, [old[0] | {"received_first": NOW}, old[1]])
    assert [(gap.first, gap.rows, gap.letters) for gap in young.gaps] == [(0, 0, 2), (1 << 16, 3, 0)]
    assert young.short == {("s", 0)}


def stretch(first: int, last: int, *, arrived: datetime | None = NOW, **other: Any) -> Gap:
    return replace(Gap("s", 0, first, last, 3, 1, arrived), **other)


def test_a_stretch_touches_the_one_in_the_next_block_of_its_own_partition() -> None:
    block = 1 << 16
    assert stretch(0, 9).touches(stretch(block + 7, block + 9))
    assert not stretch(0, 9).touches(stretch(2 * block, 2 * block + 9))
    assert not stretch(0, 9).touches(stretch(10, 19))
    assert not stretch(0, 9).touches(stretch(block, block + 9, partition=1))
    assert not stretch(0, 9).touches(stretch(block, block + 9, source="before"))


def test_two_stretches_that_touch_are_one_of_both_and_arrived_with_the_earlier() -> None:
    earlier, block = NOW - timedelta(days=1), 1 << 16
    one, next_one = stretch(3, 9), stretch(block, block + 5, arrived=earlier, rows=4, letters=2)
    assert one.and_then(next_one) == Gap("s", 0, 3, block + 5, 7, 3, earlier)
    assert one.and_then(replace(next_one, received_first=None)).received_first is None
    assert replace(one, received_first=None).and_then(next_one).received_first is None
