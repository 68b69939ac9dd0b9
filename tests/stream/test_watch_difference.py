"""What a rise is made of: amounts by what changed and by who brought it, and they add up to the whole."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.watch.reasons.difference import EFFECTS, NAMED_MAX, Contribution, Difference, difference
from stream.watch.reasons.evidence import Change, Evidence, Part, Rates
from stream.watch.reasons.words import in_cents, made_of
from stream.watch.rounding import adding_up, to_decimal
from tests.support.properties import examples

RATES = Rates(read=Fraction(1, 1000), cached=Fraction(1, 10_000), written=Fraction(4, 1000))


def part(calls: int, cost: str, *, read: int = 0, written: int = 0, cached: int = 0) -> Part:
    return Part(calls, read + written, Decimal(cost), written, cached)


def charged(calls: int, *, read: int, written: int, cached: int) -> Part:
    """What RATES make of these tokens."""
    usd = (read - cached) * RATES.read + cached * RATES.cached + written * RATES.written
    return part(calls, f"{to_decimal(usd):f}", read=read, written=written, cached=cached)


def times(one: Part, hours: int) -> Part:
    """So many hours like this one."""
    return sum([one] * hours, start=Part())


def found(now: Part, usual: Part, *, hours: int = 1, **fields: Any) -> dict[str, Decimal]:
    """Of one model, what changed and by how much; what made nothing is left out."""
    made = difference(Evidence(usual_hours=hours, models={"m": Change(now, usual)}, **fields))
    assert made is not None
    return {kind: to_decimal(usd) for kind, usd in made.effects.items() if usd}


USUAL = part(100, "10", read=1000)


@pytest.mark.parametrize(
    ("now", "made"),
    [
        (USUAL, {}),
        (part(300, "30", read=3000), {"calls": 20}),
        (part(50, "5", read=500), {"calls": -5}),
        (part(100, "30", read=3000), {"tokens_per_call": 20}),
        (part(100, "30", read=1000), {"price": 20}),
        (part(200, "60", read=3000), {"calls": 10, "tokens_per_call": 10, "price": 30}),
        (part(0, "0"), {"calls": -10}),
        (part(0, "3"), {"calls": -7}),
    ],
)
def test_each_thing_that_changed_is_charged_with_what_it_made(now: Part, made: dict[str, int]) -> None:
    assert found(now, USUAL) == made
    assert found(now, times(USUAL, 24), hours=24) == made


def test_where_nothing_was_usual_calls_have_made_it_all() -> None:
    assert found(USUAL, Part()) == {"calls": 10}
    assert found(USUAL, part(0, "4")) == {"calls": 6}


def test_without_tokens_the_price_is_that_of_a_call() -> None:
    assert found(part(200, "60"), part(100, "10")) == {"calls": 10, "price": 40}
    assert found(part(200, "60", read=5), part(100, "10")) == {"calls": 10, "price": 40}
    assert found(part(200, "60"), part(100, "10", read=5)) == {"calls": 10, "price": 40}


def of_models(**models: Change) -> dict[str, Decimal]:
    made = difference(Evidence(usual_hours=1, models=models))
    assert made is not None
    return {kind: to_decimal(usd) for kind, usd in made.effects.items() if usd}


def test_a_dearer_model_is_a_choice_of_models_and_no_price() -> None:
    small, large = part(100, "1", read=1000), part(100, "20", read=1000)
    assert of_models(small=Change(usual=small), large=Change(now=large)) == {"model_mix": 19}
    halves = {"small": Change(part(50, "0.5", read=500), small), "large": Change(part(50, "10", read=500), Part())}
    assert of_models(**halves) == {"model_mix": Decimal("9.5")}
    back = {"small": Change(now=small), "large": Change(usual=large)}
    assert of_models(**back) == {"model_mix": -19}


def test_larger_requests_to_a_new_model_of_the_same_price_are_larger_requests() -> None:
    old, new = part(100, "10", read=1000), part(100, "100", read=10_000)
    assert of_models(old=Change(usual=old), new=Change(now=new)) == {"tokens_per_call": 90}


def test_a_model_without_tokens_beside_one_with_them_is_a_choice_of_models() -> None:
    chat, image = part(100, "10", read=1000), part(100, "50")
    more = of_models(chat=Change(chat, chat), image=Change(now=image))
    assert more == {"calls": 10, "tokens_per_call": -10, "model_mix": 50}
    assert of_models(chat=Change(chat, chat), image=Change(part(100, "90"), image)) == {"model_mix": 40}


def test_a_new_price_is_told_beside_a_new_model() -> None:
    changes = {
        "old": Change(part(100, "20", read=1000), part(200, "20", read=2000)),  # twice the price
        "new": Change(now=part(100, "30", read=1000)),
    }
    assert of_models(**changes) == {"model_mix": 20, "price": 10}


@pytest.mark.parametrize(
    ("now", "made"),
    [
        (charged(10, read=500, written=500, cached=250), {"output_share"}),  # longer answers, as many tokens
        (charged(10, read=800, written=200, cached=0), {"cached_share"}),  # nothing is read from the cache
        (charged(10, read=800, written=200, cached=800), {"cached_share"}),
        (charged(20, read=1600, written=400, cached=800), {"calls"}),
        (charged(10, read=1600, written=400, cached=800), {"tokens_per_call"}),
        (charged(10, read=0, written=1000, cached=0), {"output_share"}),
        (charged(10, read=500, written=500, cached=0), {"output_share", "cached_share"}),
    ],
)
def test_kinds_of_tokens_are_told_apart_from_their_price_where_it_is_known(now: Part, made: set[str]) -> None:
    usual = charged(10, read=800, written=200, cached=400)
    assert found(now, usual, rates={"m": RATES}).keys() == made
    in_place = {"price" if kind in {"output_share", "cached_share"} else kind for kind in made}
    assert found(now, usual).keys() == in_place


def test_the_shares_of_kinds_are_worked_out_by_hand() -> None:
    usual = charged(10, read=800, written=200, cached=400)  # 0.4 + 0.04 + 0.8 = 1.24
    now = charged(10, read=500, written=500, cached=0)  # 0.5 + 2 = 2.5
    # 300 tokens became output at 0.004 each, and were input, half of it cached, at 0.00055: 300 x 0.00345.
    # Of 500 tokens of input 250 would have been cached, which is 0.0009 less each.
    assert found(now, usual, rates={"m": RATES}) == {
        "output_share": Decimal("1.035"),
        "cached_share": Decimal("0.225"),
    }
    dearer = replace(now, cost_usd=now.cost_usd + 1)
    assert found(dearer, usual, rates={"m": RATES})["price"] == 1


def test_rates_say_nothing_of_a_model_without_tokens_on_both_sides() -> None:
    now, usual = charged(10, read=500, written=500, cached=0), charged(10, read=800, written=200, cached=400)
    for change in (Change(now, part(10, "1")), Change(part(10, "1"), usual)):
        evidence = Evidence(
            usual_hours=1, models={"m": change, "n": Change(usual, usual)}, rates={"m": RATES, "n": RATES}
        )
        made = difference(evidence)
        assert made is not None
        assert (made.effects["output_share"], made.effects["cached_share"]) == (0, 0)
        assert sum(made.effects.values()) == made.usd


def test_there_is_no_difference_without_hours_to_compare_with() -> None:
    assert difference(Evidence(usual_hours=0, models={"m": Change(USUAL, Part())})) is None


# --- who brought it ---


def test_three_are_named_by_how_much_they_changed_and_the_others_are_one_sum() -> None:
    grown = {"a": "1", "b": "5", "c": "3", "d": "5", "e": "0.5"}
    models = {name: Change(now=part(1, usd)) for name, usd in grown.items()} | {"f": Change(usual=part(1, "4"))}
    made = difference(Evidence(usual_hours=1, models=models))
    assert made is not None
    assert made.contributions == {
        "model": (
            *(Contribution("b", Fraction(5)), Contribution("d", Fraction(5)), Contribution("f", Fraction(-4))),
            Contribution(None, Fraction(9, 2)),
        )
    }
    assert len(made.contributions["model"]) == NAMED_MAX + 1


def test_who_changed_nothing_is_not_named_and_models_beyond_those_read_are_among_the_others() -> None:
    same = Change(USUAL, USUAL)
    evidence = Evidence(usual_hours=1, models={"m": same, "n": Change(now=part(1, "2"))}, features={"": same})
    made = difference(replace(evidence, other_models=Change(now=part(3, "7"))))
    assert made is not None
    assert made.usd == 9
    assert made.contributions == {
        "model": (Contribution("n", Fraction(2)), Contribution(None, Fraction(7))),
        "feature": (Contribution(None, Fraction(9)),),
    }
    assert sum(made.effects.values()) == 9


# --- it adds up ---

COUNTS = st.integers(0, 1000)
COSTS = st.integers(0, 10**9).map(lambda micros: Decimal(micros).scaleb(-6))
PARTS = st.builds(
    lambda calls, read, written, cost: Part(calls, read + written, cost, written, read // 3),
    *(COUNTS, COUNTS, COUNTS, COSTS),
)
CHANGES = st.dictionaries(st.sampled_from("abcdefgh"), st.builds(Change, PARTS, PARTS))
RATES_OF = st.dictionaries(
    st.sampled_from("abcdefgh"), st.builds(Rates, *[st.fractions(0, 1, max_denominator=10**6)] * 3)
)


@given(hours=st.integers(1, 168), models=CHANGES, others=st.builds(Change, PARTS, PARTS), rates=RATES_OF)
@examples(300)
def test_amounts_add_up_whatever_changed(
    hours: int, models: dict[str, Change], others: Change, rates: dict[str, Rates]
) -> None:
    known = {name: one for name, one in rates.items() if name in models}
    evidence = Evidence(usual_hours=hours, models=models, other_models=others, rates=known)
    made = difference(evidence)
    assert made is not None
    assert made.usd == Fraction(evidence.now.cost_usd) - Fraction(evidence.usual.cost_usd) / hours
    assert tuple(made.effects) == EFFECTS
    assert sum(made.effects.values()) == made.usd
    for parts in made.contributions.values():
        assert sum(part.usd for part in parts) == made.usd
    told: Any = made.told()
    whole = Decimal(told["usd"])
    assert sum(Decimal(usd) for usd in told["effects"].values()) == whole
    if models:
        assert sum(Decimal(one["usd"]) for one in told["model"]) == whole


@given(parts=st.lists(st.fractions(-1000, 1000), max_size=8), digits=st.integers(0, 6))
@examples(300)
def test_rounded_parts_add_up_to_their_rounded_sum_and_none_is_off_by_a_unit(
    parts: list[Fraction], digits: int
) -> None:
    rounded = adding_up(parts, digits=digits)
    unit = Fraction(1, 10**digits)
    assert sum(rounded) == round(sum(parts) / unit) * unit
    assert all(abs(Fraction(told) - part) < unit for told, part in zip(rounded, parts, strict=True))


def test_what_is_missing_goes_to_who_lost_most_and_of_equals_to_the_first() -> None:
    assert adding_up([Fraction(1, 3)] * 3, digits=0) == [1, 0, 0]
    assert adding_up([Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)], digits=0) == [0, 1, 0]
    assert in_cents([Fraction("0.004"), Fraction("0.006"), Fraction("1")]) == [0, Decimal("0.01"), 1]
    assert adding_up([], digits=2) == []


# --- and is said ---


def made(usd: str, **effects: str) -> Difference:
    whole = dict.fromkeys(EFFECTS, Fraction(0)) | {kind: Fraction(amount) for kind, amount in effects.items()}
    return Difference(Fraction(usd), whole)


def test_what_made_less_than_a_cent_is_not_said_and_the_rest_adds_up() -> None:
    assert made_of(made("3.201", calls="2.9", tokens_per_call="0.3", price="0.001")) == (
        "+3.20 USD against a usual hour. By what changed: number of calls +2.90, tokens a call +0.30."
    )
    thirds = made("1", calls="1/3", model_mix="1/3", cached_share="1/3")
    assert made_of(thirds) == (
        "+1.00 USD against a usual hour. "
        "By what changed: number of calls +0.34, choice of models +0.33, share of cached input +0.33."
    )
    assert made_of(made("-1234.5", output_share="-1234.5")) == (
        "-1,234.50 USD against a usual hour. By what changed: share of output -1,234.50."
    )
    assert made_of(made("0.001", price="0.001")) == "+0.00 USD against a usual hour."


def test_those_who_brought_it_are_named_safely() -> None:
    by = {
        "model": (Contribution("m\n", Fraction(3)), Contribution(None, Fraction(-1))),
        "feature": (Contribution("", Fraction(2)),),
    }
    assert made_of(replace(made("2", price="2"), contributions=by)) == (
        "+2.00 USD against a usual hour. By what changed: price of a token +2.00. "
        "By model: m\\u{a} +3.00, all others -1.00. By feature: calls without a feature +2.00."
    )
