"""Why a row differs, most likely: each reason by a case, and both sides of where one ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sinks.answers.bill import Figures, Reason, told
from sinks.answers.bill.reasons import Doubts, ratio_of, reason_of

SAME = Figures(10, 1_000, 100, 400, 0, Decimal("10"))


def usd(amount: str) -> Figures:
    return replace(SAME, cost_usd=Decimal(amount))


def money(amount: str) -> Figures:
    """Of a bill that tells no tokens."""
    return Figures(cost_usd=Decimal(amount))


@pytest.mark.parametrize(
    ("theirs", "ours", "doubts", "reason"),
    [
        (SAME, SAME, {}, Reason.EQUAL),
        (SAME, SAME, {"is_over": False}, Reason.EQUAL),
        (usd("10"), usd("10.000000499"), {}, Reason.EQUAL),
        (usd("10"), usd("10.0000005"), {}, Reason.ANOTHER_RATE),
        (replace(SAME, cost_usd=None), SAME, {}, Reason.EQUAL),
        (replace(SAME, calls=11), SAME, {}, Reason.EQUAL),  # a call that failed is on no bill
        (money("10"), SAME, {}, Reason.EQUAL),
        (Figures(cost_usd=Decimal(1)), Figures(), {"is_model": False}, Reason.LINE_ITEM),
        (usd("11"), SAME, {"is_over": False}, Reason.DAY_NOT_OVER),
        (usd("11"), SAME, {"is_kept": False}, Reason.NOT_KEPT),
        (replace(SAME, input_tokens=1_001), SAME, {}, Reason.MISSING_EVENTS),
        (replace(SAME, output_tokens=101), SAME, {}, Reason.MISSING_EVENTS),
        (SAME, Figures(0, 0, 0, 0, 0, Decimal(0)), {}, Reason.MISSING_EVENTS),
        (replace(SAME, input_tokens=999), SAME, {}, Reason.NOT_ON_THE_BILL),
        (Figures(0, 0, 0, 0, 0, Decimal(0)), SAME, {"is_on_bill": False}, Reason.NOT_ON_THE_BILL),
        (replace(SAME, input_tokens=1_001, output_tokens=99), SAME, {}, Reason.MIXED_TOKENS),
        (Figures(calls=11), SAME, {}, Reason.MISSING_EVENTS),
        (Figures(calls=9), SAME, {}, Reason.NOT_ON_THE_BILL),
        (Figures(calls=10), SAME, {}, Reason.EQUAL),
        (Figures(input_tokens=1_001), SAME, {}, Reason.MISSING_EVENTS),
        (replace(SAME, cache_read_tokens=399), SAME, {}, Reason.CACHE_TOKENS),
        (replace(SAME, cache_write_tokens=1), SAME, {}, Reason.CACHE_TOKENS),
        (replace(SAME, cache_write_tokens=None), SAME, {}, Reason.EQUAL),
        (replace(SAME, cost_usd=None), SAME, {"other_currency": True}, Reason.OTHER_CURRENCY),
        (Figures(), SAME, {"other_currency": True}, Reason.OTHER_CURRENCY),
        (replace(SAME, input_tokens=999, cost_usd=None), SAME, {"other_currency": True}, Reason.NOT_ON_THE_BILL),
        (usd("10.005"), SAME, {"rounding_usd": Decimal("0.005")}, Reason.ROUNDING),
        (usd("9.995"), SAME, {"rounding_usd": Decimal("0.005")}, Reason.ROUNDING),
        (usd("10.0051"), SAME, {"rounding_usd": Decimal("0.005")}, Reason.ANOTHER_RATE),
        (SAME, replace(SAME, cost_usd=None), {"unpriced_calls": 10}, Reason.UNKNOWN_PRICE),
        (usd("11"), SAME, {"unpriced_calls": 1}, Reason.UNKNOWN_PRICE),
        (usd("9.5"), SAME, {"unpriced_calls": 1}, Reason.ANOTHER_RATE),
        (usd("9"), SAME, {"unpriced_calls": 1}, Reason.ANOTHER_RATE),  # a price more would not make it less
        (money("11"), SAME, {"unpriced_calls": 1}, Reason.UNKNOWN_PRICE),
        (usd("0"), SAME, {}, Reason.CREDITED),
        (usd("-2"), SAME, {}, Reason.CREDITED),
        (usd("9"), SAME, {"credit_usd": Decimal(-1)}, Reason.CREDITED),
        (usd("9.004"), SAME, {"credit_usd": Decimal(-1), "rounding_usd": Decimal("0.005")}, Reason.CREDITED),
        (usd("9.006"), SAME, {"credit_usd": Decimal(-1), "rounding_usd": Decimal("0.005")}, Reason.ANOTHER_RATE),
        (usd("11"), SAME, {"credit_usd": Decimal(-1)}, Reason.ANOTHER_RATE),
        (money("0"), SAME, {}, Reason.CREDITED),
        (money("0"), SAME, {"is_on_bill": False}, Reason.NOT_ON_THE_BILL),
        (money("3"), Figures(0, 0, 0, 0, 0, Decimal(0)), {}, Reason.MISSING_EVENTS),
        (Figures(0, 0, 0, 0, 0, Decimal(3)), Figures(0, 0, 0, 0, 0, Decimal(0)), {}, Reason.MISSING_EVENTS),
        (money("-3"), Figures(0, 0, 0, 0, 0, Decimal(0)), {}, Reason.CREDITED),
        (money("3"), Figures(2, 0, 0, 0, 0, None), {"unpriced_calls": 2}, Reason.UNKNOWN_PRICE),
        (usd("11"), SAME, {"partial_calls": 1}, Reason.PARTIAL_PRICE),
        (usd("9"), SAME, {"partial_calls": 1}, Reason.PARTIAL_PRICE),
        (money("9"), SAME, {"partial_calls": 1}, Reason.PARTIAL_PRICE),
        (usd("8"), SAME, {}, Reason.ANOTHER_RATE),
        (usd("12"), SAME, {}, Reason.ANOTHER_RATE),
        (money("8"), SAME, {}, Reason.NO_TOKENS),
    ],
)
def test_the_likely_reason(theirs: Figures, ours: Figures, doubts: dict[str, Any], reason: Reason) -> None:
    assert reason_of(theirs, ours, Doubts(**doubts)) is reason


def test_every_reason_has_words_and_all_that_can_be_mended_a_next_step() -> None:
    without = {reason for reason in Reason if not told(reason).next_step}
    assert without == {Reason.EQUAL, Reason.ROUNDING, Reason.CREDITED}
    assert all(told(reason).words for reason in Reason)


def test_the_ratio_is_theirs_to_ours() -> None:
    assert ratio_of(usd("8"), SAME) == Decimal("0.8000")
    assert ratio_of(usd("10"), usd("3")) == Decimal("3.3333")
    assert ratio_of(usd("0"), SAME) is None
    assert ratio_of(SAME, usd("0")) is None
    assert ratio_of(Figures(), SAME) is None
