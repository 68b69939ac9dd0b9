"""What is added up for budgets: each sum once, and a control total whose digest is that of all of them."""

from __future__ import annotations

from dataclasses import replace

from stream.budgets.counted import Counted, Spending
from stream.budgets.spend import shares
from tests.stream.test_budget_spend import DAILY, NOON, frame

USER = replace(DAILY, name="user", scope=("user",))


def test_budgets_of_one_sum_are_added_up_once() -> None:
    counted = Counted.by([USER, DAILY, replace(DAILY, name="limit", kind="limit")])
    assert sorted(one.spending for one in counted.sums) == sorted([DAILY.spending, USER.spending])
    assert set(counted.sums) == {Spending.of(DAILY), Spending.of(USER)}


def test_the_control_total_takes_in_every_call_by_day_of_utc_and_comes_last() -> None:
    *sums, control = Counted.by([USER, DAILY]).with_control
    assert control == Spending(Counted.by([DAILY, USER]).control, (), {}, "day", "UTC")
    assert {one.spending for one in sums} == {DAILY.spending, USER.spending}


def test_other_sums_have_another_control_total_and_the_same_ones_have_the_same_in_every_build() -> None:
    assert Counted.by([DAILY]).control == "90ee1e0c8409c3dd"
    assert Counted.by([DAILY, DAILY]).control == Counted.by([DAILY]).control
    assert Counted.by([DAILY, USER]).control == Counted.by([USER, DAILY]).control
    assert len({Counted.by(budgets).control for budgets in ([DAILY], [USER], [USER, DAILY])}) == 3


def test_a_call_counts_in_its_sum_and_in_the_control_total_also_where_both_take_in_every_call_of_a_day() -> None:
    counted = Counted.by([DAILY, USER])
    found = shares(frame([{"occurred_at": NOON, "user_id": "ann"}]), counted.with_control)
    assert sorted(found.select("spending", "subject").rows()) == sorted(
        [(DAILY.spending, ""), (USER.spending, "user=ann"), (counted.control, "")]
    )


def test_without_budgets_nothing_is_added_up() -> None:
    nothing = Counted.by([])
    assert (bool(nothing), nothing.with_control, nothing.control) == (False, (), "")
    assert Counted.by([DAILY])
