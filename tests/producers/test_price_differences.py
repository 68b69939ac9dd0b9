"""What changes between two books of prices: of which models, from which moment on, and each change once."""

from __future__ import annotations

from datetime import UTC, datetime

from costream.pricing import PriceBook
from costream.pricing.differences import Difference, differences
from costream.pricing.exchange import load_all
from costream.pricing.layers import Layer
from costream.pricing.rates import Exact
from tests.support.price_tables import Table

UNDER = Table("table", ["m", "M-big", "other"], rate=10)
SINCE = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
KNOWN = [("acme", "m"), ("acme", "M-big"), ("acme", "other"), ("zeta", "m2")]


def entry(text: str, *, model: str = "m") -> str:
    return f'[[price]]\nprovider = "acme"\nmodels = ["{model}"]\nsource = "our contract"\n{text}\n'


def rates(**prices: int) -> str:
    """In 1e-12 USD for one of each unit."""
    return "\n".join(f'rates.{unit} = {{ price = "0.{price:012d}" }}' for unit, price in prices.items())


Told = tuple[str, datetime, str, Exact | None, Exact | None]


def changes(old: str, new: str) -> list[Told]:
    found = found_between(old, new)
    assert {(one.sku.provider, one.above) for one in found} <= {("acme", -1)}
    return [(one.sku.model, one.since, one.unit, one.old, one.new) for one in found]


def tiers(old: str, new: str) -> list[tuple[int, str, Exact | None, Exact | None]]:
    return [(one.above, one.unit, one.old, one.new) for one in found_between(old, new)]


def found_between(old: str, new: str) -> list[Difference]:
    entries = [load_all({"own.toml": text})["own.toml"] if text else () for text in (old, new)]
    before, after = (PriceBook([Layer("own", {"own.toml": each}, under=UNDER)]) for each in entries)
    return [*differences(before, after, named=[*entries[0], *entries[1]], known=KNOWN, since=SINCE)]


def test_what_holds_already_changes_at_once_and_what_comes_on_its_day() -> None:
    assert changes("", entry(rates(input_tokens=3))) == [("m", SINCE, "input_tokens", 10, 3)]
    began = entry(rates(input_tokens=3) + "\nvalid_from = 2026-01-01")
    assert changes("", began) == [("m", SINCE, "input_tokens", 10, 3)]
    later = entry(rates(input_tokens=3, output_tokens=10) + "\nvalid_from = 2026-12-01")
    assert changes("", later) == [("m", datetime(2026, 12, 1, tzinfo=UTC), "input_tokens", 10, 3)]
    assert changes(later, later) == []


def test_the_end_of_a_price_is_a_change_and_of_one_that_both_have_is_none() -> None:
    ends = entry(rates(input_tokens=3) + "\nvalid_to = 2026-12-01")
    assert changes(entry(rates(input_tokens=3)), ends) == [
        ("m", datetime(2026, 12, 1, tzinfo=UTC), "input_tokens", 3, 10)
    ]
    twice = ends + entry(rates(input_tokens=4) + "\nvalid_from = 2026-12-01")
    assert changes("", twice) == [
        ("m", SINCE, "input_tokens", 10, 3),
        ("m", datetime(2026, 12, 1, tzinfo=UTC), "input_tokens", 10, 4),
    ]


def test_what_is_new_had_no_price_and_a_fee_is_a_unit_of_its_own() -> None:
    assert changes("", entry(rates(input_tokens=3, requests=7), model="new")) == [
        ("new", SINCE, "input_tokens", None, 3),
        ("new", SINCE, "requests", None, 7),
    ]
    assert changes(entry(rates(requests=7)), "") == [("m", SINCE, "requests", 7, None)]


def test_a_star_stands_for_the_models_of_its_provider_that_begin_so_in_any_case() -> None:
    found = changes("", entry(rates(input_tokens=3), model="M*"))
    assert [model for model, *_ in found] == ["m", "M-big"]


def test_each_model_changes_on_its_own_days() -> None:
    text = entry(rates(input_tokens=3)) + entry(
        rates(input_tokens=4) + "\nvalid_from = 2026-12-15T06:00:00Z", model="other"
    )
    assert changes("", text) == [
        ("m", SINCE, "input_tokens", 10, 3),
        ("other", datetime(2026, 12, 15, 6, tzinfo=UTC), "input_tokens", 10, 4),
    ]


def test_hours_of_a_day_of_the_week_are_told_once_when_they_come_next() -> None:
    """Of this Wednesday they are over."""
    hours = 'when.windows = [["09:00", "12:00"]]\nwhen.weekdays = ["{}"]'
    for day, next_one in (
        ("sun", datetime(2026, 11, 29, 9, tzinfo=UTC)),
        ("wed", datetime(2026, 12, 2, 9, tzinfo=UTC)),
    ):
        text = entry(f"{rates(input_tokens=3)}\n{hours.format(day)}")
        assert changes("", text) == [("m", next_one, "input_tokens", 10, 3)]


def test_hours_of_every_day_are_told_once_and_not_again_each_morning() -> None:
    text = entry(f'{rates(input_tokens=3)}\nwhen.windows = [["09:00", "12:00"]]')
    assert changes("", text) == [("m", datetime(2026, 11, 26, 9, tzinfo=UTC), "input_tokens", 10, 3)]


def test_a_new_rule_is_a_change_of_its_unit_and_one_that_stays_goes_with_its_total() -> None:
    rule = entry('same = { input_image_tokens = "input_tokens" }')
    assert changes("", rule) == [("m", SINCE, "input_image_tokens", None, 10)]
    assert changes(rule, rule + entry(rates(input_tokens=3))) == [("m", SINCE, "input_tokens", 10, 3)]


def tier(above: int, **prices: int) -> str:
    return f"[[price.tiers]]\nabove = {above}\n{rates(**prices)}\n"


def test_a_new_tier_changes_the_units_that_it_names_and_is_held_against_what_was_paid_there() -> None:
    assert tiers("", entry(tier(100, input_tokens=12))) == [(100, "input_tokens", 10, 12)]
    assert tiers(entry(tier(100, input_tokens=12)), "") == [(100, "input_tokens", 12, 10)]
    before, after = (entry(tier(100, input_tokens=12) + tier(200, input_tokens=at)) for at in (15, 18))
    assert tiers(before, after) == [(200, "input_tokens", 15, 18)]
    assert tiers(entry(tier(100, input_tokens=12)), after) == [(200, "input_tokens", 12, 18)]


def test_a_change_that_goes_on_over_tiers_is_told_once() -> None:
    assert tiers("", entry(rates(output_tokens=11) + "\n" + tier(100, input_tokens=12))) == [
        (-1, "output_tokens", 10, 11),
        (100, "input_tokens", 10, 12),
    ]


def test_a_fee_goes_on_over_tiers_too() -> None:
    fee = entry(rates(requests=7))
    assert tiers(fee, entry(rates(requests=7) + "\n" + tier(100, input_tokens=12))) == [(100, "input_tokens", 10, 12)]
    assert tiers("", fee) == [(-1, "requests", None, 7)]
