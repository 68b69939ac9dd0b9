"""A bill against what is stored: matched by day and model, compared exactly, and added up."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal, Inexact
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PriceBook
from sinks.answers.bill import (
    BillRefused,
    Comparison,
    Export,
    Figures,
    Ours,
    Reason,
    Row,
    Span,
    compared,
    export_of,
    span_of,
    stored_of,
)
from sinks.answers.bill.comparison import percent
from sinks.answers.bill.lines import ALL_MODELS, COUNTS, Kind, Line, added
from sinks.answers.bill.names import family, rows_of
from tests.support.properties import examples

BILLS: Final = Path(__file__).parent / "bills"
DAY: Final = date(2026, 11, 1)
NEXT: Final = DAY + timedelta(days=1)
TODAY: Final = date(2026, 11, 30)
SPAN: Final = Span(DAY, DAY + timedelta(days=3), TODAY, date(2025, 11, 30))
BOTH: Final[tuple[Kind, ...]] = ("usage", "cost")


def used(model: str, tokens: int = 1_000, day: date = DAY, **more: int) -> Line:
    counts: dict[str, Any] = {"input_tokens": tokens, "output_tokens": 0} | more
    return Line(day, model, counts=Figures(**counts))


def paid(model: str, amount: str, day: date = DAY, currency: str = "USD", **more: Any) -> Line:
    return Line(day, model, amount=Decimal(amount), currency=currency, **more)


def export(*lines: Line, kinds: tuple[Kind, ...] = ("cost",), file: str = "bill", **more: Any) -> Export:
    days = [line.day for line in lines] or [DAY]
    given: dict[str, Any] = {"first": min(days), "last": max(days), "places": 2} | more
    return Export(file, "a format", frozenset(kinds), lines, **given)


def stored(model: str, cost: str | None, tokens: int = 1_000, day: date = DAY, **more: int) -> Ours:
    counts = {"calls": 1, "input_tokens": tokens, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0}
    return Ours(day, model, Figures(**counts, cost_usd=None if cost is None else Decimal(cost)), **more)


def compare(exports: list[Export], ours: list[Ours], provider: str = "openai", span: Span = SPAN) -> Comparison:
    book = PriceBook.bundled()
    return compared(exports, ours, span, canonical=lambda name: book.canonical(provider, name)[1])


def told(row: Row) -> tuple[str, tuple[str, ...], Reason]:
    return row.name, row.also, row.reason


def test_a_bill_of_10_00_against_9_50_shows_minus_5_percent() -> None:
    found = compare([export(paid("gpt-4o", "10.00"))], [stored("gpt-4o", "9.50")])
    (row,) = found.rows
    assert (row.difference.cost_usd, row.percent) == (Decimal("-0.50"), Decimal("-5.00"))
    assert (found.total.theirs_usd, found.total.ours_usd) == (Decimal("10.00"), Decimal("9.50"))
    assert (found.total.difference_usd, found.total.percent) == (Decimal("-0.50"), Decimal("-5.00"))
    assert row.reason is Reason.NO_TOKENS


def test_usage_and_costs_of_two_files_are_one_row_of_a_day_and_model() -> None:
    exports = [
        export(used("gpt-4o"), used("gpt-4o", 500, NEXT), kinds=("usage",)),
        export(paid("openai/gpt-4o", "1.00"), paid("gpt-4o", "0.50"), file="costs"),
    ]
    found = compare(exports, [stored("gpt-4o", "1.20"), stored("gpt-4o", "0.10", 500, NEXT)])
    first, second = found.rows
    assert (first.theirs.tokens, first.theirs.cost_usd, first.reason) == (1_000, Decimal("1.50"), Reason.ANOTHER_RATE)
    assert (first.ratio, first.also) == (Decimal("1.2500"), ("openai/gpt-4o",))
    assert (second.theirs.cost_usd, second.difference.cost_usd, second.reason) == (None, None, Reason.EQUAL)
    assert found.notes == (f"no file has cost of {NEXT}",)


def test_a_model_that_a_covered_day_does_not_have_is_0_there_and_one_of_a_day_that_is_not_covered_is_unknown() -> None:
    costs = export(paid("gpt-4o", "1.00"), paid("gpt-4o", "1.00", NEXT))
    found = compare([costs], [stored("o3", "2"), stored("o3", "2", day=DAY + timedelta(days=2))])
    rows = {(row.day, row.name): row for row in found.rows}
    assert rows[DAY, "o3"].theirs.cost_usd == 0
    assert rows[DAY, "o3"].theirs.input_tokens is None
    assert rows[DAY, "o3"].reason is Reason.NOT_ON_THE_BILL
    assert rows[DAY, "gpt-4o"].ours.cost_usd == 0
    assert rows[DAY, "gpt-4o"].reason is Reason.MISSING_EVENTS
    assert {day for day, _ in rows} == {DAY, NEXT}


def test_a_model_that_is_used_and_costs_nothing_is_free() -> None:
    exports = [export(used("gpt-4o"), kinds=("usage",)), export(paid("o3", "1.00"), file="costs")]
    rows = {row.name: row for row in compare(exports, [stored("gpt-4o", "2")]).rows}
    assert (rows["gpt-4o"].theirs.cost_usd, rows["gpt-4o"].reason) == (Decimal(0), Reason.CREDITED)
    assert rows["o3"].theirs == Figures(input_tokens=0, output_tokens=0, cost_usd=Decimal("1.00"))


def test_tokens_are_those_in_and_out_and_unknown_where_either_is() -> None:
    assert Figures(input_tokens=3, output_tokens=4, cache_read_tokens=2).tokens == 7
    assert Figures(input_tokens=3).tokens is None
    assert Figures(output_tokens=4).tokens is None
    assert Figures(input_tokens=0, output_tokens=0).tokens == 0


def test_a_percentage_of_tokens_is_of_theirs_and_unknown_where_the_bill_has_none() -> None:
    (row,) = compare([export(used("gpt-4o", 1_000), kinds=("usage",))], [stored("gpt-4o", "1", 1_010)]).rows
    assert row.tokens_percent == Decimal("1.00")
    (row,) = compare([export(paid("gpt-4o", "1.00"))], [stored("gpt-4o", "1")]).rows
    assert row.tokens_percent is None


def test_what_a_line_of_the_model_leaves_out_is_unknown_though_others_have_it() -> None:
    images = Line(DAY, "gpt-image-1", counts=Figures(calls=3))
    found = compare([export(used("gpt-4o", calls=1), images, kinds=("usage",))], [stored("gpt-image-1", "1", 700)])
    (row,) = (row for row in found.rows if row.name == "gpt-image-1")
    assert (row.theirs.calls, row.theirs.input_tokens, row.reason) == (3, None, Reason.MISSING_EVENTS)


def test_a_line_without_a_model_tells_no_tokens_though_others_do() -> None:
    lines = (used("gpt-4o"), paid("Web search", "0.30", is_model=False))
    assert compare([export(*lines, kinds=BOTH)], []).rows[1].theirs == Figures(cost_usd=Decimal("0.30"))


def test_a_line_without_a_model_has_nothing_of_ours_beside_it_and_no_difference() -> None:
    found = compare(
        [export(paid("Web search", "0.30", is_model=False), paid("gpt-4o", "1.00"))], [stored("gpt-4o", "1")]
    )
    model, item = found.rows
    assert (model.name, item.name, item.is_model, item.reason) == ("gpt-4o", "Web search", False, Reason.LINE_ITEM)
    assert (item.difference, item.percent) == (Figures(), None)
    total = found.total
    assert (total.theirs_usd, total.difference_usd, total.theirs_alone_usd) == (
        Decimal("1.30"),
        Decimal(0),
        Decimal("0.30"),
    )


def test_where_the_bill_does_not_tell_models_apart_a_day_is_compared_as_one() -> None:
    found = compare([export(paid(ALL_MODELS, "10.00"))], [stored("gpt-4o", "6"), stored("o3", "3.5")])
    (row,) = found.rows
    assert (told(row), row.difference.cost_usd) == ((ALL_MODELS, (), Reason.NO_TOKENS), Decimal("-0.50"))
    assert "does not tell its models apart" in found.notes[0]


def test_a_day_that_is_compared_as_one_has_no_other_names() -> None:
    exports = [export(paid(ALL_MODELS, "10.00")), export(used("gpt-4o"), kinds=("usage",), file="usage")]
    (row,) = compare(exports, [stored("o3", "10")]).rows
    assert (row.name, row.also, row.theirs.input_tokens) == (ALL_MODELS, (), 1_000)


def test_what_is_no_model_stands_beside_a_day_that_is_compared_as_one() -> None:
    search = paid("Web search", "0.30", is_model=False)
    found = compare([export(paid(ALL_MODELS, "10.00"), search)], [stored("gpt-4o", "6"), stored("o3", "4")])
    assert [(row.name, row.is_model, row.difference.cost_usd) for row in found.rows if row.is_model] == [
        (ALL_MODELS, True, Decimal(0))
    ]
    assert [row.name for row in found.rows if not row.is_model] == ["Web search"]


def test_where_only_some_lines_name_no_model_they_stand_apart() -> None:
    found = compare([export(paid("o3", "1.00"), paid(ALL_MODELS, "0.20"))], [stored("o3", "1")])
    assert [(row.name, row.is_model, row.reason) for row in found.rows] == [
        ("o3", True, Reason.EQUAL),
        (ALL_MODELS, False, Reason.LINE_ITEM),
    ]
    assert found.notes == ()


def test_money_of_another_currency_is_not_compared_and_tokens_are() -> None:
    both = export(used("gpt-4o"), paid("gpt-4o", "0.90", currency="eur"), kinds=BOTH)
    found = compare([both], [stored("gpt-4o", "1")])
    (row,) = found.rows
    assert (row.theirs.cost_usd, row.difference.input_tokens, row.reason) == (None, 0, Reason.OTHER_CURRENCY)
    assert found.notes == ("the bill is in EUR: costs are stored in USD, so money is not compared there",)
    (nameless,) = compare([export(paid("gpt-4o", "0.90", currency=""))], []).notes
    assert "the bill is in a currency that it does not name" in nameless


def test_a_cost_that_is_unknown_is_not_0() -> None:
    found = compare([export(paid("gpt-4o", "10.00"))], [stored("gpt-4o", None, unpriced_calls=1)])
    (row,) = found.rows
    assert (row.ours.cost_usd, row.difference.cost_usd, row.percent) == (None, None, None)
    assert row.reason is Reason.UNKNOWN_PRICE
    total = found.total
    assert (total.theirs_usd, total.ours_usd, total.difference_usd) == (Decimal("10.00"), None, None)
    assert (total.percent, total.theirs_alone_usd) == (None, Decimal("10.00"))


def test_rounding_is_half_a_unit_of_the_finest_decimal_a_line_and_never_less_than_of_a_cent() -> None:
    lines = [paid("gpt-4o", "0.01"), paid("gpt-4o", "0.02")]
    both = used("gpt-4o")
    for places, ours, reason in [
        (2, "0.04", Reason.ROUNDING),
        (2, "0.0401", Reason.ANOTHER_RATE),
        (0, "0.04", Reason.ROUNDING),
        (3, "0.031", Reason.ROUNDING),
        (3, "0.0311", Reason.ANOTHER_RATE),
    ]:
        exports = [export(*lines, places=places), export(both, kinds=("usage",), file="usage")]
        (row,) = compare(exports, [stored("gpt-4o", ours)]).rows
        assert row.reason is reason, (places, ours)


def test_what_credits_explain_is_credited() -> None:
    lines = (used("gpt-4o"), paid("gpt-4o", "1.00", credit=Decimal("-3.00")))
    (row,) = compare([export(*lines, kinds=BOTH)], [stored("gpt-4o", "4")]).rows
    assert row.reason is Reason.CREDITED


def test_days_that_are_not_over_or_no_longer_kept_are_said() -> None:
    span = Span(DAY, DAY + timedelta(days=3), today=NEXT, kept_since=NEXT)
    lines = [paid("gpt-4o", "2.00", DAY + timedelta(days=number)) for number in range(2)]
    found = compare([export(*lines)], [], span=span)
    assert [row.reason for row in found.rows] == [Reason.NOT_KEPT, Reason.DAY_NOT_OVER]
    assert found.notes[0] == f"sums of days are kept for a year: what is stored may be gone before {NEXT}"
    assert found.notes[1].startswith(f"{NEXT} is not over")


def test_the_span_is_that_of_the_exports_narrowed_by_what_is_asked_for() -> None:
    days = [DAY + timedelta(days=number) for number in range(4)]
    exports = [export(paid("m", "1", days[2])), export(paid("m", "1", days[0]), paid("m", "1", days[1]))]

    def span(start: date | None = None, end: date | None = None) -> tuple[date, date]:
        found = span_of(exports, start=start, end=end, today=TODAY, kept_since=DAY)
        return found.start, found.end

    assert span() == (days[0], days[3])
    assert span(days[1], days[2]) == (days[1], days[2])
    assert span(DAY - timedelta(days=9), days[3] + timedelta(days=9)) == (days[0], days[3])
    assert span(end=days[3]) == (days[0], days[3])
    with pytest.raises(BillRefused, match="no day of that is asked for"):
        span(days[1], days[1])


def test_lines_of_days_that_are_not_asked_for_count_nowhere() -> None:
    lines = (paid("gpt-4o", "1.00"), paid("gpt-4o", "9.00", NEXT))
    ours = [stored("gpt-4o", "1.00"), stored("gpt-4o", "8.00", day=NEXT)]
    found = compare([export(*lines)], ours, span=Span(DAY, NEXT, TODAY, DAY))
    assert [(row.day, row.theirs.cost_usd) for row in found.rows] == [(DAY, Decimal("1.00"))]
    assert (found.total.theirs_usd, found.total.ours_usd) == (Decimal("1.00"), Decimal("1.00"))


def test_a_cost_that_is_in_part_in_another_currency_is_unknown() -> None:
    (row,) = compare([export(paid("gpt-4o", "1.00"), paid("gpt-4o", "2.00", currency="EUR"))], []).rows
    assert row.theirs.cost_usd is None


def test_two_files_of_one_kind_and_day_are_said_to_be_added_up() -> None:
    exports = [export(paid("gpt-4o", "1.00"), file="a"), export(paid("gpt-4o", "2.00"), file="b")]
    found = compare(exports, [stored("gpt-4o", "3")])
    assert found.rows[0].theirs.cost_usd == Decimal("3.00")
    assert found.notes == (f"a and b both have cost of {DAY} to {DAY}: it is added up",)
    assert not compare([exports[0], export(used("gpt-4o"), kinds=("usage",))], []).notes


def test_days_of_which_a_kind_is_missing_are_counted_from_the_first_to_the_last() -> None:
    days = [DAY + timedelta(days=number) for number in range(3)]
    exports = [
        export(*(used("gpt-4o", day=day) for day in days), kinds=("usage",)),
        export(paid("gpt-4o", "1.00", days[1]), file="costs"),
    ]
    assert compare(exports, []).notes == (f"no file has cost of 2 days from {days[0]} to {days[2]}",)


def test_an_export_without_money_says_what_is_missing() -> None:
    (note,) = compare([export(used("gpt-4o"), kinds=("usage",))], []).notes
    assert note == "the export has no money: give the cost export as another FILE to compare it"


def test_only_rows_of_one_model_are_counted_where_they_are_asked_for() -> None:
    lines = (paid("gpt-4o-2024-08-06", "1.00"), paid("o3", "2.00"), paid("search", "3.00", is_model=False))
    found = compare([export(*lines)], [stored("gpt-4o", "1")])
    for name in ("gpt-4o", " GPT-4o-2024-08-06 "):
        assert [row.name for row in found.of_model(name).rows] == ["gpt-4o"]
    assert found.of_model("o3").total.theirs_usd == Decimal("2.00")
    assert found.of_model("search").rows == ()


@pytest.mark.parametrize(
    ("theirs", "ours", "rows"),
    [
        ({"gpt-4o-2024-08-06"}, {"gpt-4o"}, {"gpt-4o"}),
        ({"gpt-4o"}, {"gpt-4o-2024-08-06"}, {"gpt-4o-2024-08-06"}),
        ({"gpt-4o-2024-08-06"}, {"gpt-4o", "gpt-4o-2024-08-06"}, {"gpt-4o-2024-08-06"}),
        ({"gpt-4o-2024-08-06"}, {"gpt-4o-2024-08-06"}, {"gpt-4o-2024-08-06"}),
        ({"gpt-4o", "gpt-4o-2024-08-06"}, {"gpt-4o", "gpt-4o-2024-08-06"}, {"gpt-4o", "gpt-4o-2024-08-06"}),
        ({"gpt-4o-2024-08-06"}, {"gpt-4o-2024-05-13"}, {"gpt-4o-2024-08-06", "gpt-4o-2024-05-13"}),
        (
            {"gpt-4o-2024-08-06", "gpt-4o-2024-05-13"},
            {"gpt-4o"},
            {"gpt-4o-2024-08-06", "gpt-4o-2024-05-13", "gpt-4o"},
        ),
        ({"GPT-4o-2024-08-06"}, {"gpt-4o"}, {"gpt-4o"}),
        (set(), {"gpt-4o", "gpt-4o-2024-08-06"}, {"gpt-4o", "gpt-4o-2024-08-06"}),
        ({"gpt-4o-mini-2024-07-18"}, {"gpt-4o"}, {"gpt-4o-mini-2024-07-18", "gpt-4o"}),
        (
            {"claude-haiku-4-5", "claude-haiku-4-5-20251001"},
            {"claude-haiku-4-5-20251001"},
            {"claude-haiku-4-5-20251001"},
        ),
        ({"claude-sonnet-4-20250514"}, {"claude-sonnet-4-0"}, {"claude-sonnet-4-0"}),
        ({"claude-sonnet-3-7"}, {"claude-3-7-sonnet-latest"}, {"claude-3-7-sonnet-latest"}),
        ({"claude-3-5-sonnet@20241022"}, {"claude-3-5-sonnet"}, {"claude-3-5-sonnet"}),
        ({"gemini-3-flash"}, {"gemini-3-flash-preview"}, {"gemini-3-flash-preview"}),
        (
            {"gemini-2.5-flash"},
            {"gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"},
            {"gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"},
        ),
    ],
)
def test_a_snapshot_and_its_alias_are_one_row_where_nothing_else_can_be_meant(
    theirs: set[str], ours: set[str], rows: set[str]
) -> None:
    found = rows_of(theirs, ours)
    assert found.keys() == theirs | ours
    assert set(found.values()) == rows


def test_a_model_of_another_size_is_of_another_family() -> None:
    names = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-opus-4-1", "claude-opus-4", "gemini-2.5-flash-lite"]
    assert len({family(name) for name in names}) == len(names)


def test_the_row_of_an_alias_says_by_which_name_it_is_billed() -> None:
    (row,) = compare([export(paid("gpt-4o-2024-08-06", "1.00"))], [stored("gpt-4o", "1")]).rows
    assert told(row) == ("gpt-4o", ("gpt-4o-2024-08-06",), Reason.EQUAL)


def of_samples(provider: str, names: list[str], ours: list[Ours]) -> list[tuple[str, Reason, Decimal | None]]:
    exports = [export_of(name, (BILLS / name).read_bytes(), provider=provider) for name in names]
    rows = compare(exports, ours, provider).rows
    return [(row.name, row.reason, row.difference.cost_usd) for row in rows if row.day == DAY]


def test_the_two_exports_of_anthropic_s_console_name_a_model_in_two_ways_and_are_one_row() -> None:
    """The model is dated in one and shown as "Claude Haiku 4.5" in the other; callers sent the alias."""
    counts = Figures(5, 2_000, 400, 700, 300, Decimal("0.031"))
    found = of_samples(
        "anthropic", ["anthropic_usage.csv", "anthropic_costs.csv"], [Ours(DAY, "claude-haiku-4-5", counts)]
    )
    assert found == [
        ("claude-3-5-sonnet-20241022", Reason.MISSING_EVENTS, Decimal("-0.30")),
        ("claude-haiku-4-5", Reason.ROUNDING, Decimal("0.001")),
        ("web_search", Reason.LINE_ITEM, None),
    ]


def test_google_s_lines_of_a_model_are_one_row_with_what_credits_took_off() -> None:
    counts = Figures(5, 1_000_000, 200_000, 100_000, 0, Decimal("0.775"))
    found = of_samples("google", ["google.jsonl"], [Ours(DAY, "gemini-2.5-flash", counts)])
    assert found == [
        ("gemini-2.5-flash", Reason.CREDITED, Decimal("0.500")),
        ("gemini-2.5-pro", Reason.MISSING_EVENTS, Decimal("-0.01")),
        ("Grounding with Google Search", Reason.LINE_ITEM, None),
    ]


def test_the_usage_and_the_costs_of_openai_s_api_are_one_row() -> None:
    counts = Figures(120, 1_000_000, 200_000, 400_000, 0, Decimal("4.000"))
    found = of_samples("openai", ["openai_usage.json", "openai_costs.json"], [Ours(DAY, "gpt-4o", counts)])
    assert found[0] == ("gpt-4o", Reason.EQUAL, Decimal(0))


def test_the_span_is_what_the_files_have_narrowed_to_what_is_asked_for() -> None:
    exports = [export(paid("o3", "1"), paid("o3", "1", NEXT)), export(paid("o3", "1", DAY + timedelta(days=9)))]
    given: dict[str, Any] = {"today": TODAY, "kept_since": DAY}
    assert span_of(exports, start=None, end=None, **given) == Span(DAY, DAY + timedelta(days=10), TODAY, DAY)
    assert span_of(exports, start=NEXT, end=NEXT + timedelta(days=1), **given).end == NEXT + timedelta(days=1)
    assert span_of(exports, start=date(2020, 1, 1), end=date(2030, 1, 1), **given).start == DAY
    with pytest.raises(BillRefused, match="the files have 2026-11-01 to 2026-11-10, and no day of that is asked for"):
        span_of(exports, start=None, end=DAY, **given)


def test_rows_of_the_warehouse_become_what_is_compared() -> None:
    row = {"day": DAY, "model": "o3", **dict.fromkeys(COUNTS, 3), "cost_usd": None}
    (one,) = stored_of([row | {"unpriced_calls": 2, "partial_calls": 1}])
    assert one == Ours(DAY, "o3", Figures(3, 3, 3, 3, 3, None), unpriced_calls=2, partial_calls=1)


def test_a_percentage_is_of_theirs_and_of_nothing_there_is_none() -> None:
    assert percent(Decimal(1), Decimal(3)) == Decimal("33.33")
    assert percent(Decimal(1), Decimal(-4)) == Decimal("25.00")
    assert (percent(None, Decimal(1)), percent(Decimal(1), None), percent(Decimal(1), Decimal(0))) == (None,) * 3


def test_a_sum_that_would_be_rounded_raises_instead() -> None:
    assert added([Decimal(10) ** 15, Decimal("1e-60")]) == Decimal(f"1{'0' * 15}.{'0' * 59}1")
    with pytest.raises(Inexact):
        added([Decimal(10) ** 60, Decimal("1e-60")])


MONEY = st.decimals(-(10**15), 10**15, places=12) | st.decimals(-1, 1, places=40)
MODELS = st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3", "o3-2025-04-16", "gpt-4.1", ALL_MODELS])
DAYS = st.sampled_from([DAY, NEXT])
THEIRS = st.builds(
    lambda day, name, amount, tokens, is_model: Line(
        day, name, is_model, Figures(input_tokens=tokens, output_tokens=tokens), amount, "USD"
    ),
    *(DAYS, MODELS, st.none() | MONEY, st.none() | st.integers(0, 10**9), st.booleans()),
)
OURS = st.builds(
    lambda day, name, cost, tokens: Ours(day, name, Figures(1, tokens, tokens, 0, 0, cost)),
    *(DAYS, MODELS.filter(lambda name: name != ALL_MODELS), st.none() | MONEY, st.integers(0, 10**9)),
)


def exact(amounts: list[Decimal | None]) -> Fraction:
    return sum((Fraction(one) for one in amounts if one is not None), Fraction(0))


@given(lines=st.lists(THEIRS, min_size=1, max_size=12), ours=st.lists(OURS, max_size=12))
@examples(500)
def test_nothing_is_lost_or_rounded_between_lines_rows_reasons_and_the_total(
    lines: list[Line], ours: list[Ours]
) -> None:
    bill = export(*lines, kinds=BOTH, first=DAY, last=NEXT)
    found = compare([bill], ours)
    total = found.total
    assert exact([total.theirs_usd]) == exact([line.amount for line in lines])
    assert exact([total.ours_usd]) == exact([one.figures.cost_usd for one in ours])
    assert exact([total.difference_usd]) == exact([row.difference.cost_usd for row in found.rows])
    for row in found.rows:
        if row.difference.cost_usd is not None:
            assert Fraction(row.difference.cost_usd) == exact([row.ours.cost_usd]) - exact([row.theirs.cost_usd])
    for name in ("theirs_usd", "ours_usd", "difference_usd", "theirs_alone_usd"):
        parts = [getattr(part, name) for part in found.by_reason.values()]
        assert exact(parts) == exact([getattr(total, name)])
    assert sum(part.rows for part in found.by_reason.values()) == len(found.rows) == total.rows
    assert sum(row.ours.calls or 0 for row in found.rows) == len(ours)
