"""The lines of a cost: what is charged at which price, each part once, and together what the call costs."""

from __future__ import annotations

from fractions import Fraction

from costream.pricing import PICO, Bracket, Call, Linear, Note, Priced, Reason, quote
from costream.pricing.items import Item, Within, items, within
from costream.pricing.rates import ChargedAs
from costream.pricing.units import TOKEN_UNITS
from costream.pricing.usage import call_of


def call(*, failed: bool = False, **amounts: int) -> Call:
    return Call("chat", failed=failed, amounts={unit: amount * PICO for unit, amount in amounts.items()})


def flat(**prices: int | Fraction) -> Linear:
    return Linear("t@base", (Bracket.of(-1, prices),))


def test_a_part_with_a_price_of_its_own_is_not_in_the_line_of_its_total() -> None:
    price = flat(input_tokens=5, cache_read_tokens=2, output_tokens=9)
    used = call(input_tokens=10, cache_read_tokens=4, output_tokens=1)
    assert items(price, used) == (
        Item("input_tokens", 6 * PICO, 5),
        Item("output_tokens", PICO, 9),
        Item("cache_read_tokens", 4 * PICO, 2),
    )
    assert [item.cost for item in items(price, used)] == [30 * PICO, 9 * PICO, 8 * PICO]
    assert quote(price, used) == Priced(30 + 9 + 8)


def test_what_was_not_used_or_is_all_of_a_dearer_part_has_no_line() -> None:
    price = flat(input_tokens=5, cache_read_tokens=2, output_tokens=9, images=7)
    used = call(input_tokens=4, cache_read_tokens=4, output_tokens=0)
    assert items(price, used) == (Item("cache_read_tokens", 4 * PICO, 2),)


def test_the_input_chooses_the_price_and_none_is_the_least() -> None:
    tiers = (Bracket.of(-1, {"input_tokens": 1, "images": 3}), Bracket.of(0, {"input_tokens": 2, "images": 4}))
    price = Linear("t@base", tiers)
    assert items(price, call(input_tokens=1, images=1)) == (Item("images", PICO, 4), Item("input_tokens", PICO, 2))
    assert items(price, call(images=1)) == (Item("images", PICO, 3),)


def test_a_fee_is_for_one_call_or_for_as_many_requests_as_were_told() -> None:
    price = flat(requests=7, input_tokens=5)
    assert items(price, call(input_tokens=1)) == (Item("input_tokens", PICO, 5), Item("requests", PICO, 7))
    assert items(price, call(input_tokens=0)) == (Item("requests", PICO, 7),)
    assert items(price, call(requests=3)) == (Item("requests", 3 * PICO, 7),)
    assert items(flat(input_tokens=5), call(input_tokens=1)) == (Item("input_tokens", PICO, 5),)


def test_a_call_that_failed_owes_the_fee_only_if_it_used_something() -> None:
    price = flat(requests=7, input_tokens=5)
    assert items(price, call(failed=True, input_tokens=0)) == ()
    assert items(price, call(failed=True, input_tokens=1)) == (
        Item("input_tokens", PICO, 5),
        Item("requests", PICO, 7),
    )


def test_the_least_that_is_charged_for_stands_in_the_line() -> None:
    price = Linear("t@base", (Bracket.of(-1, {"audio_seconds": 2}),), audio_seconds_min=10)
    assert items(price, call(audio_seconds=1)) == (Item("audio_seconds", 10 * PICO, 2),)


def test_a_stored_row_leads_back_to_its_call() -> None:
    tokens = dict.fromkeys(TOKEN_UNITS)
    row = {"operation": "chat", "status": "error", "quantities": "", **tokens, "input_tokens": 5, "reasoning_tokens": 2}
    assert call_of(row) == call(failed=True, input_tokens=5, output_reasoning_tokens=2)
    told = {"operation": "image", "status": "ok", "quantities": '{"pages":"0.5"}', **tokens}
    assert call_of(told) == Call("image", failed=False, amounts={"input_document_pages": PICO // 2})
    twice = row | {"quantities": '{"output_reasoning_tokens":"2"}'}
    assert call_of(twice) == Note(Reason.USAGE_CONTRADICTORY, "output_reasoning_tokens reported twice")


def test_what_a_rule_charges_is_told_by_unit_with_its_total_and_its_entry() -> None:
    rules = {
        "input_video_tokens": ChargedAs("input_tokens", "own/v"),
        "input_image_tokens": ChargedAs("input_tokens", "own/i"),
        "output_image_tokens": ChargedAs("output_tokens", "own/o"),
    }
    price = Linear("t@base", (Bracket.of(-1, {"input_tokens": 5}),), same=rules)
    used = call(input_tokens=9, input_video_tokens=2, input_image_tokens=3, output_image_tokens=4)
    assert within(price, used) == (
        Within("input_image_tokens", 3 * PICO, "input_tokens", "own/i"),
        Within("input_video_tokens", 2 * PICO, "input_tokens", "own/v"),
    ), "the total of the output has no price, so the rule gives none"
    assert within(price, call(input_tokens=9, input_image_tokens=0)) == ()
