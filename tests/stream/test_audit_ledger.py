"""What retention excuses, and what it does not: the ledger remembers longer than the rows it counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from stream.audit.ledger import Conservation, conservation

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
) -> Conservation:
    place = {"source": pl.lit("s"), "source_partition": pl.lit(0, dtype=pl.Int64)}
    schema = dict.fromkeys(COUNTED, pl.Int64()) | {"received_first": MOMENT}
    expired = pl.DataFrame({"calls": [calls_expired], "applied_first": [applied_first], "hour_first": [hour_first]})
    return conservation(
        pl.DataFrame(ledger).with_columns(**place),
        pl.DataFrame(rows, schema=schema).with_columns(**place),
        expired.select(pl.lit("s").alias("origin"), place["source_partition"].alias("source_partition"), pl.all()),
        now=NOW,
        horizon=HORIZON,
    )


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
    found = judged([entry(0, stored=100, dead_lettered=2)], [])
    assert (found.raw_rows.differing, found.dead_letters.differing) == (1, 1)


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


def test_a_row_whose_block_no_ledger_knows_is_a_finding() -> None:
    found = judged([entry(1, stored=1)], [counted(0, NOW, events=1), counted(1, NOW, events=1)])
    (finding,) = found.raw_rows.findings
    assert finding.rule == "every row is in the ledger as stored"
    assert finding.numbers == {"stored": 0, "rows": 1, "removed": 0, "beyond_retention": 0}


def test_offsets_between_blocks_that_hold_no_record_are_told() -> None:
    found = judged([entry(0, stored=10), entry(2, stored=10)], [counted(0, NOW, events=10), counted(2, NOW, events=10)])
    assert found.records.holds
    assert found.partitions[0].offsets_without_record == (2 << 16) - 10


def test_a_block_cannot_receive_more_records_than_it_has_offsets() -> None:
    full = entry(0, stored=10)
    assert judged([full], [counted(0, NOW, events=10)]).records.holds
    (finding,) = judged([full | {"offset_last": 8}], [counted(0, NOW, events=10)]).records.findings
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
