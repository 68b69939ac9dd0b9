"""The audit's comparison without an engine: how often it asks again, where days begin, how many cells differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse.reader import Reader
from stream.audit import audit, checks, queries
from stream.audit import ground as grounds
from stream.audit.checks import ATTEMPTS_MAX, differing_cells
from stream.audit.ground import Ground, ground
from stream.audit.queries import USER_DAILY, RollupTable, spans, stored_to
from tests.support.records import NOW
from tests.support.tables import columns_of, key_of
from tests.support.warehouse import Embedded, Server

DAYS = [date(2026, 11, day) for day in range(1, 9)]
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


class Answers:
    """A reader whose answers are set by the test; the last one is given again and again."""

    def __init__(self, *frames: pl.DataFrame) -> None:
        self.frames, self.asked = list(frames), list[dict[str, Any]]()

    def frame(self, _sql: str, **asked: Any) -> pl.DataFrame:
        self.asked.append(asked)
        return self.frames.pop(0) if len(self.frames) > 1 else self.frames[0]


def reader(*frames: pl.DataFrame) -> Any:
    return Answers(*frames)


def cells(*days: date, differing: int | None = None) -> pl.DataFrame:
    rows = [{"day": day, "user_id": "u", "source": "s", "source_partition": 0, "calls_raw": 1} for day in days]
    schema = {
        "day": pl.Date,
        "user_id": pl.String,
        "source": pl.String,
        "source_partition": pl.Int64,
        "calls_raw": pl.Int64,
    }
    frame = pl.DataFrame(rows, schema=schema)
    return frame.with_columns(differing=pl.lit(frame.height if differing is None else differing))


def asked_until_it_passes(
    monkeypatch: pytest.MonkeyPatch, *frames: pl.DataFrame
) -> tuple[list[date], list[dict[str, Any]], int]:
    """The days that go on differing, what was asked, and how many pauses were made."""
    monkeypatch.setattr(queries, "spans", lambda *_, **__: [(DAYS[0], DAYS[-1])])
    answers, pauses = reader(*frames), list[int]()
    on = Ground(DAYS[0], MIDNIGHT, pl.DataFrame(), [])
    (found,) = differing_cells(answers, USER_DAILY, on, pause=lambda: pauses.append(1))
    return found["day"].to_list(), answers.asked, len(pauses)


def test_where_nothing_differs_it_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked, pauses = asked_until_it_passes(monkeypatch, cells())
    assert (found, len(asked), pauses) == ([], 1, 0)
    assert (asked[0]["start"], asked[0]["end"], asked[0]["limit"]) == (DAYS[0], DAYS[-1], checks.CELLS_MAX)


def test_what_differs_is_asked_for_again_between_its_first_and_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked, pauses = asked_until_it_passes(
        monkeypatch, cells(DAYS[1], DAYS[3], DAYS[5]), cells(DAYS[3], DAYS[5], DAYS[4]), cells(DAYS[3])
    )
    assert (found, len(asked), pauses) == ([DAYS[3]], ATTEMPTS_MAX, ATTEMPTS_MAX - 1)
    assert [(each["start"], each["end"]) for each in asked[1:4]] == [
        (DAYS[1], DAYS[6]),
        (DAYS[3], DAYS[6]),
        (DAYS[3], DAYS[4]),
    ]


def test_a_day_after_the_span_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked, _ = asked_until_it_passes(monkeypatch, cells(DAYS[7]), cells())
    assert asked[1]["end"] == DAYS[-1]


def test_it_is_asked_no_more_once_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked, pauses = asked_until_it_passes(monkeypatch, cells(DAYS[1]), cells(DAYS[2]), cells(DAYS[1]))
    assert (found, len(asked), pauses) == ([], 2, 1)


def test_more_cells_than_can_be_compared_one_by_one_all_differ_by_the_engines_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "CELLS_MAX", 2)
    over = cells(DAYS[1], DAYS[2], differing=3)
    found, asked, _ = asked_until_it_passes(monkeypatch, over, cells(DAYS[4]))
    assert (found, len(asked)) == ([DAYS[1], DAYS[2]], ATTEMPTS_MAX)
    assert checks._count(over) == 3
    assert checks._count(cells(DAYS[1])) == 1
    at_the_bound = cells(DAYS[1], DAYS[2])
    assert asked_until_it_passes(monkeypatch, at_the_bound, cells(DAYS[1], differing=9))[0] == [DAYS[1]]


def test_an_audit_makes_every_check(clickhouse_embedded: Embedded | Server) -> None:
    """Of a warehouse that holds nothing: each check is made, and holds."""
    with closing(Reader(clickhouse_embedded.fresh())) as reader:
        found = audit(reader, retention=timedelta(days=90))
    assert [check.name for check in found.checks] == [
        *("records", "raw rows", "dead letters", "vanished"),
        *("usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily"),
        *("costs", "adjustments", "ids", "removals"),
    ]
    assert found.holds


def test_the_pause_between_two_questions_is_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    checks.rest()
    assert slept == [0.5]


def test_whoever_wrote_corrections_since_an_audit_began_may_have_said_so_ten_seconds_before_it() -> None:
    claims = reader(pl.DataFrame())
    assert checks.writing_since(claims, NOW - timedelta(seconds=5), now=NOW) == []
    assert claims.asked == [{"milliseconds": 15_000}]


def test_a_finding_has_the_sums_that_differ_with_both_sides_and_the_texts_that_the_rollup_lacks() -> None:
    spec = queries.HOURLY
    sums = {f"{name}_{side}": 1 for name in spec.columns for side in ("raw", "rolled")}
    place = dict.fromkeys(spec.keys, "k") | {"source": "s", "source_partition": 3}
    versions = {"price_versions_raw": ["d", "b", "a"], "price_versions_rolled": ["b", "x"]}
    found = checks._cell_finding(spec, place | sums | versions | {"calls_raw": 2, "differing": 1})
    assert found.where == place
    assert found.rule == "usage_hourly is the sum of its raw rows"
    assert found.numbers == {"calls_raw": 2, "calls_rolled": 1, "price_versions_lacking": "a d"}
    whole = checks._cell_finding(spec, place | sums | versions | {"price_versions_raw": ["b"], "errors_rolled": 0})
    assert whole.numbers == {"errors_raw": 1, "errors_rolled": 0}


# --- the ground ------------------------------------------------------------------------------------------------------

LEDGER = pl.DataFrame({"source": ["s", "s", "r"], "source_partition": [1, 1, 0], "offset_last": [70_000, 9, 4]})


def start_of(
    monkeypatch: pytest.MonkeyPatch, raw_since: datetime, **options: datetime | timedelta | None
) -> tuple[date, datetime]:
    monkeypatch.setattr(grounds, "raw_since", lambda *_, **__: raw_since)
    monkeypatch.setattr(queries, "ledger", lambda _: LEDGER)
    on = ground(reader(LEDGER), now=NOW, **options)  # type: ignore[arg-type]  # each is of its kind
    assert on.stored == [("r", 0, 5), ("s", 1, 70_001)]
    return on.start, on.horizon


def test_compared_is_from_the_second_midnight_after_what_may_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    since = MIDNIGHT - timedelta(days=90, hours=-5, seconds=-1, microseconds=-1)
    horizon = MIDNIGHT - timedelta(days=88)
    assert start_of(monkeypatch, since) == (horizon.date(), horizon)
    assert start_of(monkeypatch, MIDNIGHT - timedelta(days=90)) == (horizon.date(), horizon)


def test_a_shorter_retention_narrows_what_is_compared_and_a_longer_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since = MIDNIGHT - timedelta(days=90)
    start, horizon = start_of(monkeypatch, since, retention=timedelta(days=30))
    assert horizon == MIDNIGHT - timedelta(days=28)
    assert start == horizon.date()
    assert start_of(monkeypatch, since, retention=timedelta(days=300))[1] == MIDNIGHT - timedelta(days=88)


def test_a_start_that_is_asked_for_narrows_the_days_and_not_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    since = MIDNIGHT - timedelta(days=90)
    horizon = MIDNIGHT - timedelta(days=88)
    asked = MIDNIGHT - timedelta(days=3, hours=-7)
    assert start_of(monkeypatch, since, since=asked) == ((MIDNIGHT - timedelta(days=3)).date(), horizon)
    assert start_of(monkeypatch, since, since=MIDNIGHT - timedelta(days=300)) == (horizon.date(), horizon)


# --- spans of days ---------------------------------------------------------------------------------------------------


def spans_of(rows_max: int, *counts: int) -> list[int]:
    """How many rows of these days each span has."""
    days = pl.DataFrame({"day": DAYS[: len(counts)], "rows": counts}, schema={"day": pl.Date, "rows": pl.Int64})
    found: Sequence[tuple[date, date]] = spans(reader(days), start=DAYS[0], rows_max=rows_max)
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]], "a gap"
    assert (found[0][0], found[-1][1]) == (DAYS[0], queries.END_OF_TIME)
    return [sum(count for day, count in zip(DAYS, counts, strict=False) if start <= day < end) for start, end in found]


@pytest.mark.parametrize(
    ("counts", "rows"),
    [
        ((), [0]),
        ((10,), [10]),
        ((4, 6, 1), [10, 1]),
        ((4, 7, 1), [4, 8]),
        ((40, 1, 9, 1), [40, 10, 1]),
        ((0, 11, 0, 1), [11, 1]),
    ],
)
def test_days_are_compared_in_runs_of_about_so_many_rows_without_a_gap(
    counts: tuple[int, ...], rows: list[int]
) -> None:
    assert spans_of(10, *counts) == rows


@pytest.mark.parametrize(("rows", "shards"), [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_ids_are_compared_in_as_many_shards_as_hold_them(rows: int, shards: int) -> None:
    assert queries.shards(reader(pl.DataFrame({"n": [rows]})), rows_max=10) == shards


def test_the_ledger_tells_the_offset_after_the_last_of_each_partition() -> None:
    assert stored_to(LEDGER) == [("r", 0, 5), ("s", 1, 70_001)]


# --- what is compared ------------------------------------------------------------------------------------------------

NOT_IN_RAW = {  # what raw rows do not tell, or what is told by other columns
    "source", "source_partition", "version", "duplicates", "price_versions", "quantities", "amount",
}  # fmt: skip


@pytest.mark.parametrize("spec", queries.ROLLUPS, ids=lambda spec: spec.table)
def test_every_label_and_every_column_of_a_rollup_is_compared(spec: RollupTable) -> None:
    assert {*spec.keys, "source", "source_partition"} == key_of(spec.table)
    assert set(spec.columns) == columns_of(spec.table) - set(spec.keys) - NOT_IN_RAW
