"""When a difference between calls and a rollup is believed, and what is written of it, whether workers rest or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from stream.audit import corrections
from stream.audit.corrections import AHEAD_ROUNDS_MAX, RESTLESS_ROUNDS_MAX, Corrected, Corrector
from stream.audit.ground import Ground
from stream.audit.queries import HOURLY, LEDGER, TAKEN_OUT, USER_DAILY, differing_sql, settled_sql

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
VERSION = round(NOW.timestamp() * 1_000)
EMPTY = pl.DataFrame(schema={"source": pl.String(), "source_partition": pl.Int64(), "offset_last": pl.Int64()})

Cell = dict[str, Any]


def cell(user: str, calls: int = 1, *, ahead: bool = False, partition: int = 0, corrected: int = 0) -> Cell:
    """One cell of which the calls say so many more than the worker's row, which has 5 of each."""
    sums: Cell = {}
    for name in USER_DAILY.columns:
        money = name.endswith("_usd")
        for side, amount in (("raw", 5 + calls), ("worker", 5), ("rolled", 5)):
            sums[f"{name}_{side}"] = Decimal(amount) if money else amount
    place = {"day": DAY, "user_id": user, "source": "s", "source_partition": partition}
    return place | sums | {"corrected_version": corrected, "ahead": ahead}


def frame_of(cells: Sequence[Cell]) -> pl.DataFrame:
    money = {name: pl.Decimal(38, 12) for name in cell("") if "_usd_" in name}
    frame = pl.DataFrame([cell(""), *cells], schema_overrides={"day": pl.Date(), **money})
    return frame[1:]


@dataclass
class Warehouse:
    """Answers the questions about what rests, and about what moves, one after the other; the last one for good."""

    settled: list[list[Cell]]
    differing: list[list[Cell]] = field(default_factory=lambda: [[]])
    asked: list[str] = field(default_factory=list)
    written: list[pl.DataFrame] = field(default_factory=list)

    def frame(self, sql: str, **_: Any) -> pl.DataFrame:
        if sql == LEDGER:
            self.asked.append("ledger")
            return EMPTY
        assert sql != TAKEN_OUT, "only hours have repeats"
        kind, answers = {
            settled_sql(USER_DAILY): ("settled", self.settled),
            differing_sql(USER_DAILY): ("differing", self.differing),
        }[sql]
        self.asked.append(kind)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return frame_of(answer) if kind == "settled" else frame_of(answer).drop("ahead")

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        assert table == "usage_user_daily"
        self.asked.append("write")
        self.written.append(frame)
        return frame.height

    @property
    def users(self) -> list[list[str]]:
        return [sorted(frame["user_id"]) for frame in self.written]


def corrected(warehouse: Any, *, short: Sequence[tuple[str, int]] = (), pause: Callable[[], None] = int) -> Corrected:
    on = Ground(DAY, NOW, EMPTY, [])
    corrector = Corrector(warehouse, warehouse, on, clock=lambda: NOW, pause=pause)
    return corrector.correct(USER_DAILY, (DAY, DAY + timedelta(days=1)), short=frozenset(short))


def test_where_nothing_differs_one_reading_is_enough() -> None:
    warehouse = Warehouse([[]])
    assert corrected(warehouse) == Corrected()
    assert warehouse.asked == ["ledger", "settled"]


def test_what_rests_is_written_at_the_first_reading_and_not_read_again() -> None:
    warehouse = Warehouse([[cell("a", 3), cell("b", -5)]])
    assert corrected(warehouse) == Corrected(2)
    assert warehouse.asked == ["ledger", "settled", "write"]
    (rows,) = warehouse.written
    assert rows.sort("user_id").select(
        "user_id", "calls", "cost_usd", "source", "source_partition", "version"
    ).rows() == [
        ("a", 3, Decimal(3), "correction:s", 0, VERSION),
        ("b", -5, Decimal(-5), "correction:s", 0, VERSION),
    ]
    assert set(rows.columns) == {"day", "user_id", "source", "source_partition", "version", *USER_DAILY.columns}


def test_the_ledger_is_read_before_the_rows_each_time() -> None:
    warehouse = Warehouse([[cell("a", ahead=True)], [cell("a", 2)]])
    assert corrected(warehouse) == Corrected(1)
    assert warehouse.asked == ["ledger", "settled", "ledger", "settled", "write"]
    assert warehouse.written[0]["calls"].to_list() == [2]


def test_what_is_ahead_waits_and_what_was_at_rest_before_is_not_waited_for() -> None:
    """The second cell was right when it was read; it is ahead now since events go on coming."""
    warehouse = Warehouse([[cell("a", ahead=True), cell("b")], [cell("a"), cell("b", ahead=True)]])
    assert corrected(warehouse) == Corrected(2)
    assert warehouse.users == [["b"], ["a"]]
    assert warehouse.asked.count("settled") == 2


def test_what_is_always_ahead_is_compared_with_what_it_has_applied_and_believed_when_told_alike_twice() -> None:
    moving = [[cell("a", 3)], [cell("a", 4)], [cell("a", 4)], [cell("a", 4)], []]
    warehouse = Warehouse([[cell("a", ahead=True)]], moving)
    assert corrected(warehouse) == Corrected(1)
    assert warehouse.asked.count("settled") == AHEAD_ROUNDS_MAX
    assert warehouse.asked[-6:] == [*["differing"] * 4, "write", "differing"]
    assert warehouse.written[0]["calls"].to_list() == [4]


def test_what_passes_is_no_difference() -> None:
    warehouse = Warehouse([[cell("a", ahead=True)]], [[cell("a", 3)], []])
    assert corrected(warehouse) == Corrected()
    assert warehouse.written == []


def test_what_never_gives_the_same_difference_twice_is_given_up_and_counted() -> None:
    moving = [[cell("a", number)] for number in range(1, 99)]
    warehouse = Warehouse([[cell("a", ahead=True)]], moving)
    assert corrected(warehouse) == Corrected(restless=1)
    assert warehouse.asked.count("differing") == 2 * RESTLESS_ROUNDS_MAX


def test_after_a_cell_that_stands_still_the_others_have_all_their_rounds_anew() -> None:
    moving = [[cell("a"), cell("b", 1)], [cell("a"), cell("b", 2)], *([cell("b", number)] for number in range(3, 99))]
    warehouse = Warehouse([[cell("a", ahead=True), cell("b", ahead=True)]], moving)
    assert corrected(warehouse) == Corrected(1, restless=1)
    assert warehouse.users == [["a"]]
    assert warehouse.asked[::-1].index("write") == 2 * RESTLESS_ROUNDS_MAX


def test_more_than_are_read_at_once_come_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "CELLS_MAX", 2)
    warehouse = Warehouse([[cell("a"), cell("b")], [cell("c"), cell("d")], [cell("e")]])
    assert corrected(warehouse) == Corrected(5)
    assert warehouse.users == [["a", "b"], ["c", "d"], ["e"]]


def test_after_a_reading_that_was_cut_off_all_that_is_ahead_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that was ahead before may have been among those that were not read."""
    monkeypatch.setattr(corrections, "CELLS_MAX", 2)
    behind = [[cell("a", ahead=True)], [cell("b"), cell("c", ahead=True)], [cell("c", ahead=True)], [cell("c", 4)]]
    warehouse = Warehouse(behind)
    assert corrected(warehouse) == Corrected(2)
    assert warehouse.users == [["b"], ["c"]]


def test_cells_that_are_left_count_among_those_that_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "CELLS_MAX", 2)
    left = cell("left", partition=3)
    warehouse = Warehouse([[cell("a"), left], [left, cell("b")], [left]])
    assert corrected(warehouse, short=[("s", 3)]) == Corrected(2, {("s", 3): 1})
    assert warehouse.users == [["a"], ["b"]]


def test_what_differs_when_all_rounds_for_what_rests_are_over_is_read_as_what_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corrections, "CELLS_MAX", 1)
    monkeypatch.setattr(corrections, "ROUNDS_MAX", 2)
    warehouse = Warehouse([[cell("a")], [cell("b")], [cell("c")]], [[cell("c")], [cell("c")], []])
    assert corrected(warehouse) == Corrected(3)
    assert warehouse.users == [["a"], ["b"], ["c"]]


def test_partitions_that_are_short_of_calls_are_left_and_counted() -> None:
    warehouse = Warehouse(
        [[cell("a"), cell("b", partition=3), cell("c", partition=3), cell("d", ahead=True, partition=3)]]
    )
    assert corrected(warehouse, short=[("s", 3)]) == Corrected(1, {("s", 3): 2})
    assert warehouse.users == [["a"]]


def test_a_correction_is_above_the_one_before_whatever_the_clock_said_then() -> None:
    warehouse = Warehouse([[cell("a", corrected=VERSION + 7), cell("b", corrected=VERSION - 7)]])
    corrected(warehouse)
    assert dict(warehouse.written[0].select("user_id", "version").rows()) == {"a": VERSION + 8, "b": VERSION}


def test_a_correction_of_an_hour_says_how_many_repeats_were_taken_out_there() -> None:
    of_hours: dict[str, Any] = {}
    for name in HOURLY.columns:
        of_hours |= {f"{name}_raw": 7, f"{name}_worker": 5}
    sets = {f"price_versions_{side}": [version] for side, version in (("raw", "v2"), ("worker", "v1"))}
    rows = [
        dict.fromkeys(HOURLY.keys, name)
        | {"source": "s", "source_partition": 0, "corrected_version": 0}
        | of_hours
        | sets
        for name in ("a", "b", "c")
    ]
    cells = pl.DataFrame(rows)
    taken_out = cells[1:2].with_columns(duplicates=pl.lit(3), beside=pl.lit("not asked for"))
    written = corrections.corrections(HOURLY, cells, taken_out, now=NOW)
    assert written.select(HOURLY.keys[0], "duplicates", "calls").rows() == [("a", 0, 2), ("b", 3, 2), ("c", 0, 2)]
    assert written["price_versions"].to_list() == [["v2"]] * 3
    columns = {*HOURLY.keys, "source", "source_partition", *HOURLY.columns, *HOURLY.sets, "version", "duplicates"}
    assert set(written.columns) == columns


def test_an_unknown_sum_stays_unknown_and_is_the_same_each_time() -> None:
    unknown = cell("a") | {"unpriced_tokens_worker": None, "unpriced_tokens_rolled": None}
    warehouse = Warehouse([[unknown | {"ahead": True}]], [[unknown], [unknown], []])
    assert corrected(warehouse) == Corrected(1)
    assert warehouse.written[0]["unpriced_tokens"].to_list() == [None]
    assert warehouse.written[0]["calls"].to_list() == [1]
