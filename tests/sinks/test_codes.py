"""The table of ClickHouse's error numbers: what is done about each, and that the page says the same."""

from __future__ import annotations

from pathlib import Path

from sinks.clickhouse.codes import CODES, OF_A_ROW, Remedy, remedy_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_every_code_with_what_is_done_about_it() -> None:
    page = (ROOT / "docs" / "warehouse-errors.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.split("|")[1].strip().isdecimal()]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in rows]
    assert cells == [
        (str(code.number), code.name, f"says `{code.said}`" if code.said else "", code.remedy.value, code.why)
        for code in CODES
    ]


def test_the_narrower_meaning_of_a_number_stands_before_the_wider() -> None:
    seen: set[int] = set()
    for code in CODES:
        assert code.number not in seen, f"{code.name} is never reached"
        if not code.said:
            seen.add(code.number)


def test_a_number_that_nobody_has_judged_means_stop() -> None:
    assert remedy_of(99_999, "whatever") is Remedy.STOP
    assert remedy_of(1001, "std::bad_function_call") is Remedy.STOP
    assert remedy_of(1001, "std::exception: No space left on device") is Remedy.WAIT
    assert remedy_of(252, "Too many parts (300)") is Remedy.WAIT
    assert remedy_of(252, "Too many partitions for single INSERT block (more than 100)") is Remedy.SPLIT


def test_a_fault_of_one_row_is_a_value_that_does_not_fit_or_a_constraint() -> None:
    """The batch is searched for these alone: a search costs an insert for each half."""
    assert {6, 27, 53, 69, 117, 131, 349, 407, 469} == OF_A_ROW
    assert {remedy_of(number, "") for number in OF_A_ROW} == {Remedy.STOP}
