"""Why the bill and ours most likely differ: a closed set of reasons, each with words and a next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sinks.answers.bill.lines import EXACT, ROUNDED, Figures

SHOWN: Final = Decimal("0.000001")  # USD; what is less is not seen
RATIO: Final = Decimal("0.0001")


class Reason(StrEnum):
    EQUAL = "equal"
    LINE_ITEM = "line_item"
    DAY_NOT_OVER = "day_not_over"
    NOT_KEPT = "not_kept"
    MISSING_EVENTS = "missing_events"
    NOT_ON_THE_BILL = "not_on_the_bill"
    MIXED_TOKENS = "mixed_tokens"
    CACHE_TOKENS = "cache_tokens"
    OTHER_CURRENCY = "other_currency"
    ROUNDING = "rounding"
    UNKNOWN_PRICE = "unknown_price"
    CREDITED = "credited"
    PARTIAL_PRICE = "partial_price"
    ANOTHER_RATE = "another_rate"
    NO_TOKENS = "no_tokens"


@dataclass(frozen=True, slots=True)
class Told:
    """In words, and what to do next."""

    words: str
    next_step: str


_TOLD: Final = {
    Reason.EQUAL: Told("both say the same, to a millionth of a USD", ""),
    Reason.LINE_ITEM: Told(
        "the bill has a line that is of no model, and no calls of ours are compared with it",
        "if it belongs to your costs, publish an event for it: docs/event.md",
    ),
    Reason.DAY_NOT_OVER: Told("the day is not over, and bills come late", "compare it again when it is"),
    Reason.NOT_KEPT: Told("sums of that day are kept for a year, and it is older", "give later days with `--from`"),
    Reason.MISSING_EVENTS: Told(
        "the bill has more than was stored",
        "`costream reread --missing` tells whether rows were lost; if not, look for a service that sends no events",
    ),
    Reason.NOT_ON_THE_BILL: Told(
        "more was stored than the bill has",
        "is the export of all projects, keys and endpoints? Else the calls went to another account",
    ),
    Reason.MIXED_TOKENS: Told(
        "the bill has more tokens of one kind and fewer of the other",
        "look how the services fill in input and output tokens: docs/event.md",
    ),
    Reason.CACHE_TOKENS: Told(
        "input and output tokens are the same, but not how many of them were read from a cache or written to it",
        "look how the services fill in the cached ones: docs/event.md",
    ),
    Reason.OTHER_CURRENCY: Told(
        "the bill is not in USD, so money is not compared", "tokens are; an export in USD would have both"
    ),
    Reason.ROUNDING: Told(
        "no more than the bill's own rounding: half a unit of the last decimal of its file, a line", ""
    ),
    Reason.UNKNOWN_PRICE: Told(
        "some of the calls have no price",
        "`costream prices coverage` says which; once they have one, `costream reprice`",
    ),
    Reason.CREDITED: Told("the bill charges nothing for it, or less by the credits that it shows", ""),
    Reason.PARTIAL_PRICE: Told(
        "the price of some of the calls is not sure",
        "`costream prices coverage` says why; once it is, `costream reprice`",
    ),
    Reason.ANOTHER_RATE: Told(
        "the tokens are the same, so the rate is another: a tier, a discount, a price that has changed",
        "`costream prices show` has the rate; publish yours with `costream prices publish`, then `costream reprice`",
    ),
    Reason.NO_TOKENS: Told(
        "money differs, and the bill does not say of how many tokens", "give the usage export as another `FILE`"
    ),
}


def told(reason: Reason) -> Told:
    return _TOLD[reason]


@dataclass(frozen=True, slots=True)
class Doubts:
    """What else is known of a row. ``rounding_usd`` is the most that the bill may have rounded, ``credit_usd`` what it
    has taken off (0 or less)."""

    rounding_usd: Decimal = Decimal(0)
    credit_usd: Decimal = Decimal(0)
    other_currency: bool = False
    unpriced_calls: int = 0
    partial_calls: int = 0
    is_model: bool = True
    is_on_bill: bool = True
    is_over: bool = True
    is_kept: bool = True


def reason_of(theirs: Figures, ours: Figures, doubts: Doubts) -> Reason:
    """That of the first case that holds and has one. Tokens come before money: where they differ, money does too."""
    tokens, money = _of_tokens(theirs, ours), _of_money(theirs, ours, doubts)
    alone = tokens is None and not doubts.other_currency  # the bill has money, and nothing that it is for
    cases = (
        (not doubts.is_model, Reason.LINE_ITEM),
        (tokens in {None, Reason.EQUAL} and money is Reason.EQUAL, Reason.EQUAL),
        (not doubts.is_over, Reason.DAY_NOT_OVER),
        (not doubts.is_kept, Reason.NOT_KEPT),
        (tokens is not Reason.EQUAL, tokens),
        (not ours.calls and money is Reason.ANOTHER_RATE, Reason.MISSING_EVENTS),
        (alone and not doubts.is_on_bill, Reason.NOT_ON_THE_BILL),
        (alone and money is Reason.ANOTHER_RATE, Reason.NO_TOKENS),
    )
    return next((reason for holds, reason in cases if holds and reason), money)


def _of_tokens(theirs: Figures, ours: Figures) -> Reason | None:
    """By calls where the bill has no tokens. None where it has neither."""
    pairs = [(theirs.input_tokens, ours.input_tokens), (theirs.output_tokens, ours.output_tokens)]
    differences = _differences(pairs) or _differences([(theirs.calls, ours.calls)])
    if not differences:
        return None
    if any(one < 0 for one in differences):
        return Reason.MIXED_TOKENS if any(one > 0 for one in differences) else Reason.MISSING_EVENTS
    if any(one > 0 for one in differences):
        return Reason.NOT_ON_THE_BILL
    return Reason.EQUAL if _same_cache(theirs, ours) else Reason.CACHE_TOKENS


def _differences(pairs: Sequence[tuple[int | None, int | None]]) -> list[int]:
    return [our - their for their, our in pairs if our is not None and their is not None]


def _same_cache(theirs: Figures, ours: Figures) -> bool:
    pairs = [
        (theirs.cache_read_tokens, ours.cache_read_tokens),
        (theirs.cache_write_tokens, ours.cache_write_tokens),
    ]
    return not any(_differences(pairs))


def _of_money(theirs: Figures, ours: Figures, doubts: Doubts) -> Reason:
    if doubts.other_currency:
        return Reason.OTHER_CURRENCY
    if theirs.cost_usd is None:
        return Reason.EQUAL  # the bill says nothing of money
    if ours.cost_usd is None:
        return Reason.UNKNOWN_PRICE
    return _of_difference(EXACT.subtract(ours.cost_usd, theirs.cost_usd), theirs.cost_usd, doubts)


def _of_difference(difference: Decimal, theirs_usd: Decimal, doubts: Doubts) -> Reason:
    is_less = theirs_usd <= 0 or _is_credit(difference, doubts)
    cases = (
        (abs(difference) < SHOWN / 2, Reason.EQUAL),
        (abs(difference) <= doubts.rounding_usd, Reason.ROUNDING),
        (difference < 0 and doubts.unpriced_calls > 0, Reason.UNKNOWN_PRICE),
        (difference > 0 and is_less, Reason.CREDITED),
        (doubts.partial_calls > 0, Reason.PARTIAL_PRICE),
    )
    return next((reason for holds, reason in cases if holds), Reason.ANOTHER_RATE)


def _is_credit(difference: Decimal, doubts: Doubts) -> bool:
    beside = EXACT.add(difference, doubts.credit_usd)
    return doubts.credit_usd < 0 and abs(beside) <= max(doubts.rounding_usd, SHOWN)


def ratio_of(theirs: Figures, ours: Figures) -> Decimal | None:
    """Their money in proportion to ours."""
    if not theirs.cost_usd or not ours.cost_usd:
        return None
    return ROUNDED.quantize(ROUNDED.divide(theirs.cost_usd, ours.cost_usd), RATIO)
