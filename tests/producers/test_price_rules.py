"""Units that are charged as their total: what a rule may say, what it does to a price, and which rules are shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import (
    PICO,
    Bracket,
    BundledPrices,
    Call,
    Linear,
    NoPrice,
    Partial,
    PriceBook,
    Priced,
    Sku,
    completed,
    quote,
)
from costream.pricing.differences import differences
from costream.pricing.entries import PriceEntry, PricesRefused
from costream.pricing.exchange import load_all
from costream.pricing.items import Within, items, within
from costream.pricing.layers import OWN, SHIPPED, SHIPPED_FILE, Layer, shipped
from costream.pricing.rates import ChargedAs, by_rules
from costream.pricing.texts import price_id, price_of, price_text
from costream.pricing.units import DIMENSIONS, TOKEN_FAMILY, is_part
from costream.pricing.validity import ALL
from tests.support.properties import examples

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
TABLE = BundledPrices.load()
BOOK = PriceBook.bundled()


def entry(text: str, *, model: str = "m", provider: str = "acme") -> str:
    return f'[[price]]\nprovider = "{provider}"\nmodels = ["{model}"]\nsource = "our contract"\n{text}\n'


def rates(**prices: int) -> str:
    """In 1e-12 USD for one of each unit."""
    return "\n".join(f'rates.{unit} = {{ price = "0.{price:012d}" }}' for unit, price in prices.items())


def own(*texts: str) -> PriceBook:
    """The entries of a file over the table and what is shipped."""
    under = Layer(SHIPPED, {SHIPPED_FILE: shipped()}, under=TABLE)
    return PriceBook([Layer(OWN, load_all({"own.toml": "\n".join(texts)}), under=under)])


def at(book: PriceBook, provider: str = "acme", model: str = "m", tier: str = "") -> Linear:
    price = book.at(Sku.of(provider, model, tier), AT)
    assert isinstance(price, Linear), price
    return price


def call(**amounts: int) -> Call:
    return Call("chat", failed=False, amounts={unit: amount * PICO for unit, amount in amounts.items()})


def cost(price: Linear, **amounts: int) -> Any:
    return quote(price, call(**amounts))


IMAGES = 'same = { input_image_tokens = "input_tokens" }'
CACHED = 'same = { input_image_tokens = "input_tokens", cache_image_read_tokens = "cache_read_tokens" }'
CARD = rates(input_tokens=10, output_tokens=100, cache_read_tokens=1)


# --- what a rule may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('same = { input_imag_tokens = "input_tokens" }', "same: 'input_imag_tokens' is no unit of the price table"),
        ('same = { input_image_tokens = "tokens" }', "same: 'tokens' is no unit of the price table"),
        ('same = { requests = "input_tokens" }', "same: 'requests' is no unit of the price table"),
        ('same = { input_tokens = "input_tokens" }', "same: input_tokens as input_tokens goes in a circle"),
        (
            'same = { input_image_tokens = "input_video_tokens", input_video_tokens = "input_image_tokens" }',
            "same: input_image_tokens as input_video_tokens as input_image_tokens goes in a circle; "
            "input_video_tokens as input_image_tokens as input_video_tokens goes in a circle",
        ),
        (
            'same = { input_image_tokens = "output_tokens" }',
            "same: input_image_tokens is no part of output_tokens: only a part can be charged as its total",
        ),
        ('same = { input_tokens = "input_image_tokens" }', "same: input_tokens is no part of input_image_tokens"),
        ("same = { input_image_tokens = 1 }", "same.input_image_tokens: it must be text"),
        (IMAGES + "\n" + rates(input_image_tokens=1), "same: input_image_tokens has a rate in this entry too"),
        (
            f"{IMAGES}\n[[price.tiers]]\nabove = 9\n{rates(input_image_tokens=1)}",
            "same: input_image_tokens has a rate in this entry too: give one of the two",
        ),
        ("same = {}", "an entry has either rates or a factor, or says what is charged the `same`"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused_with_its_file_its_entry_and_why(text: str, fault: str) -> None:
    with pytest.raises(PricesRefused) as refused:
        load_all({"own.toml": entry(text)})["own.toml"]
    (told,) = refused.value.faults
    assert told.startswith("own.toml: entry 1 (acme/m): ")
    assert fault in told


def test_an_entry_without_a_rule_keeps_the_digest_that_stored_rows_name() -> None:
    plain, ruled = (load_all({"f": entry(text)})["f"][0].digest for text in (CARD, f"{CARD}\n{IMAGES}"))
    assert plain == "1992e1df6da6"
    assert ruled != plain


# --- what it does to a price -----------------------------------------------------------------------------------------


def test_a_part_with_a_rule_is_priced_and_costs_what_its_total_does() -> None:
    without, ruled = at(own(entry(CARD))), at(own(entry(CARD), entry(IMAGES)))
    used = {"input_tokens": 1_000, "output_tokens": 10, "input_image_tokens": 400}
    partial = cost(without, **used)
    assert isinstance(partial, Partial)
    assert partial.note.detail == "input_image_tokens without a rate of its own, charged as the total"
    priced = cost(ruled, **used)
    assert isinstance(priced, Priced)
    assert priced.cost_pico == partial.cost_pico == 11_000
    assert isinstance(cost(ruled, input_video_tokens=5, **used), Partial), "the rule does not speak of video"


def test_a_part_of_what_has_a_rule_is_priced_where_it_costs_the_same_at_every_model() -> None:
    """Results of tools are input to every provider, so images among them are what images are."""
    used = {"input_tokens": 9, "output_tokens": 0, "input_tool_tokens": 5, "input_image_tool_tokens": 3}
    ruled = cost(at(own(entry(CARD), entry(IMAGES))), input_image_tokens=3, **used)
    assert ruled == Priced(90)


def test_a_rule_takes_the_place_of_a_rate_from_under_it_and_a_later_rate_the_place_of_the_rule() -> None:
    used = {"input_tokens": 10, "output_tokens": 0, "input_image_tokens": 4}
    dear = entry(rates(input_image_tokens=50))
    found = [cost(at(own(entry(CARD), *texts)), **used) for texts in ([dear], [dear, entry(IMAGES)])]
    assert [one.cost_pico for one in found] == [260, 100]
    again = at(own(entry(CARD), entry(IMAGES), dear))
    assert cost(again, **used) == Priced(260)
    assert not again.same
    over_the_table = entry(IMAGES, provider="openai", model="gpt-image-1")
    assert "input_image_tokens" in at(BOOK, "openai", "gpt-image-1").units
    ruled = at(own(over_the_table), "openai", "gpt-image-1")
    assert "input_image_tokens" not in ruled.units
    assert (ruled.version.split("+")[-1].split("/")[0], ruled.source) == (OWN, "override"), "every call names it"


def test_where_other_totals_would_make_it_dearer_a_part_still_costs_what_its_rule_says() -> None:
    """Cached images, beside a rate of images: without a rate of their own they would cost the sum of the two."""
    text = 'same = { cache_image_read_tokens = "cache_read_tokens" }'
    price = at(own(entry(CARD), entry(rates(input_image_tokens=50)), entry(text)))
    used = {"input_tokens": 10, "output_tokens": 0, "cache_read_tokens": 4, "input_image_tokens": 4}
    assert cost(price, cache_image_read_tokens=4, **used) == Priced(6 * 10 + 4 * 1)


def test_a_rule_follows_its_total_into_every_tier_and_through_a_factor() -> None:
    tiers = f"{CARD}\n[[price.tiers]]\nabove = 100\n{rates(input_tokens=20)}"
    price = at(own(entry(tiers), entry(IMAGES), entry('factor = "0.5"')))
    found = [cost(price, input_tokens=n, output_tokens=0, input_image_tokens=n) for n in (100, 101)]
    assert [one.cost_pico for one in found] == [500, 1_010]
    assert all(isinstance(one, Priced) for one in found)


def test_a_rule_about_a_total_without_a_price_leaves_its_parts_without_one() -> None:
    text = 'same = { output_image_tokens = "output_tokens" }'
    price = at(own(entry(rates(input_tokens=1)), entry(text)))
    assert isinstance(cost(price, input_tokens=1, output_tokens=5, output_image_tokens=5), Partial)
    assert isinstance(own(entry(IMAGES, model="new")).at(Sku("acme", "new"), AT), NoPrice)
    only_images = at(own(entry(rates(output_image_tokens=7)), entry(text)))
    assert cost(only_images, output_image_tokens=2) == Priced(14), "its own rate stays"


def test_a_rule_is_as_sure_as_the_rate_of_its_total() -> None:
    """The table names no rate of cached tokens in the tier: they are charged as in the standard one."""
    text = 'service_tier = "batch"\nsame = { cache_image_read_tokens = "cache_read_tokens" }'
    price = at(own(entry(text, provider="google", model="gemini-2.5-flash")), "google", "gemini-2.5-flash", "batch")
    assert "cache_read_tokens" in price.unsure
    used = {"input_tokens": 9, "output_tokens": 0, "cache_read_tokens": 5, "cache_image_read_tokens": 5}
    answer = cost(price, **used)
    assert isinstance(answer, Partial)
    assert answer.note.detail.startswith("cache_image_read_tokens, cache_read_tokens without a rate of their own")
    named = load_all({"own.toml": entry(text, provider="google", model="gemini-2.5-flash")})["own.toml"]
    without = own(entry(CARD))
    ruled = own(entry(CARD), entry(text, provider="google", model="gemini-2.5-flash"))
    assert not list(differences(without, ruled, named=named, known=[], since=AT)), "it is no price, so none changes"


def test_a_rule_may_lead_to_a_rate_by_another_rule() -> None:
    way = 'same = { cache_image_read_tokens = "cache_read_tokens" }', 'same = { cache_read_tokens = "input_tokens" }'
    used = {"input_tokens": 9, "output_tokens": 0, "cache_read_tokens": 5, "cache_image_read_tokens": 5}
    assert cost(at(own(entry(rates(input_tokens=10)), *map(entry, way))), **used) == Priced(90)
    in_one = 'same = { cache_image_read_tokens = "cache_read_tokens", cache_read_tokens = "input_tokens" }'
    assert cost(at(own(entry(rates(input_tokens=10)), entry(in_one))), **used) == Priced(90)


def test_images_of_which_some_may_have_been_cached_are_priced_only_if_a_rule_speaks_of_cached_ones() -> None:
    used = {"input_tokens": 10, "output_tokens": 0, "cache_read_tokens": 4, "input_image_tokens": 8}
    unsaid = cost(at(own(entry(CARD), entry(IMAGES))), **used)
    assert isinstance(unsaid, Partial)
    assert unsaid.note.detail.startswith("cache_image_read_tokens without a rate of its own")
    assert isinstance(cost(at(own(entry(CARD), entry(CACHED))), **used), Priced)
    none_of_them = cost(at(own(entry(CARD), entry(IMAGES))), cache_image_read_tokens=0, **used)
    assert isinstance(none_of_them, Priced), "that none was cached is said"


def test_a_rule_settles_no_doubt_of_the_price_and_is_none_of_another_tier() -> None:
    rule = entry('same = { input_video_tokens = "input_tokens" }', provider="azure", model="*")
    borrowed = at(own(rule), "azure", "kimi-k2-0905-preview")
    assert [note.reason for note in borrowed.caveats] == ["borrowed_price"]
    assert not at(own(entry(IMAGES, provider="openai", model="o3")), "openai", "o3", "flex").same
    for tier in ("flex", "no-such-tier"):
        used = {"input_tokens": 9, "output_tokens": 0, "input_image_tokens": 3}
        assert isinstance(cost(at(BOOK, "openai", "o3", tier), **used), Partial)


def test_a_price_that_the_caller_names_is_not_taken_where_a_rule_gives_one() -> None:
    price = completed(at(own(entry(CARD), entry(IMAGES))), {"input_image_tokens": 999, "images": 7})
    used = {"input_tokens": 10, "output_tokens": 0, "input_image_tokens": 5}
    answer = cost(price, images=1, **used)
    assert isinstance(answer, Priced)
    assert answer.cost_pico == 107
    cached = at(own(entry(CARD), entry('same = { cache_image_read_tokens = "cache_read_tokens" }')))
    parts = used | {"cache_read_tokens": 5, "cache_image_read_tokens": 5}
    assert cost(completed(cached, {"input_image_tokens": 999}), **parts).cost_pico == 5 * 10 + 5 * 1


# --- how a price with rules is kept ----------------------------------------------------------------------------------


def test_a_rule_that_changes_no_rate_leaves_the_version_of_the_price_and_is_in_its_text() -> None:
    price, plain = at(BOOK, "google", "gemini-2.5-flash"), at(PriceBook([TABLE]), "google", "gemini-2.5-flash")
    assert (price.version, price.source, price.brackets) == (plain.version, "list", plain.brackets)
    assert price_id(price) != price_id(plain)
    again = price_of(price_text(price))
    assert (again.same, price_id(again)) == (price.same, price_id(price))
    images = call(input_tokens=9, output_tokens=1, input_image_tokens=3)
    (rule,) = within(again, images)
    assert rule == Within("input_image_tokens", 3 * PICO, "input_tokens", rule.by)
    assert within(again, call(input_tokens=9, output_tokens=1)) == ()
    (told,) = BOOK.entries(price.made_of)
    assert (told["id"], told["file"]) == (rule.by, "overrides.toml")
    assert told["source"].startswith("https://ai.google.dev/")


def test_the_entries_of_rules_follow_the_version_in_the_order_of_their_ids_each_once() -> None:
    units = ("input_audio_tokens", "input_image_tokens", "input_text_tokens", "input_video_tokens", "input_tool_tokens")
    rules = {unit: ChargedAs("input_tokens", f"own/{at}") for unit, at in zip(units, "edbab", strict=True)}
    price = Linear("t@base+own/c", (Bracket.of(-1, {"input_tokens": 1}),), same=rules)
    assert price.made_of == "t@base+own/c+own/a+own/b+own/d+own/e"


@pytest.mark.parametrize(
    "texts",
    [
        [CARD, IMAGES],
        [IMAGES, CARD],
        [CARD, CACHED, rates(input_image_tokens=50)],
        [CARD, rates(input_image_tokens=50), CACHED],
        [CARD, rates(input_image_tokens=50, cache_image_read_tokens=9), IMAGES],
        [CARD, CACHED, 'factor = "0.5"', rates(input_tokens=3)],
        [CARD, f"{rates(output_tokens=7)}\n{CACHED}"],
    ],
)
def test_the_version_of_a_price_and_its_text_lead_back_to_what_a_call_cost(texts: list[str]) -> None:
    book = own(*map(entry, texts))
    price = at(book)
    used = {
        "input_tokens": 100,
        "output_tokens": 10,
        "cache_read_tokens": 40,
        "input_image_tokens": 30,
        "cache_image_read_tokens": 20,
    }
    answer = cost(price, **used)
    again, kept = book.lookup(price.made_of, Sku("acme", "m")), price_of(price_text(price))
    assert isinstance(again, Linear)
    assert cost(again, **used) == cost(kept, **used) == answer
    assert sum(item.cost for item in items(kept, call(**used))) == answer.cost_pico * PICO
    unruled = book.lookup(price.version, Sku("acme", "m"))
    assert isinstance(unruled, Linear)
    assert cost(unruled, **used).cost_pico == answer.cost_pico


UNITS = sorted(TOKEN_FAMILY)
PARTS = [(unit, total) for unit in UNITS for total in UNITS if is_part(unit, total)]


@examples(300)
@given(
    st.dictionaries(st.sampled_from(UNITS), st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=8),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=5),
)
def test_whatever_the_rates_and_the_rules_a_part_costs_what_its_total_does(
    prices: dict[str, tuple[int, int]], pairs: list[tuple[str, str]]
) -> None:
    """In both brackets; and what has no rule costs what it did."""
    brackets = [
        Bracket.of(above, {unit: both[at] for unit, both in prices.items()}) for at, above in enumerate((-1, 50))
    ]
    rules = {unit: ChargedAs(total, "f/1") for unit, total in dict(pairs).items()}
    ruled = by_rules(brackets, rules)
    assert ruled[0].rates.keys() == ruled[1].rates.keys()
    for bracket, under in zip(ruled, brackets, strict=True):
        assert all(bracket.charged(unit) == bracket.charged(rule.total) for unit, rule in rules.items())
        assert all(bracket.charged(unit) == under.charged(unit) for unit in prices.keys() - rules.keys())


# --- what is shipped -------------------------------------------------------------------------------------------------

RULES: Final = [one for one in shipped() if one.same]
MAKERS: Final = {
    "anthropic": "https://platform.claude.com/",
    "google": ("https://ai.google.dev/", "https://cloud.google.com/"),
    "mistral": "https://docs.mistral.ai/",
    "openai": "https://developers.openai.com/",
    "x-ai": "https://docs.x.ai/",
}


def _models(one: PriceEntry) -> Iterator[str]:
    """Those that the table knows under a star."""
    known = [model.id for provider in TABLE.providers if provider.id == one.provider for model in provider.models]
    for name in one.models:
        yield from [model for model in known if model.startswith(name[:-1])] if name.endswith(ALL) else [name]


SHIPPED_RULES: Final = [
    pytest.param(one, model, unit, total, id=f"{model}{'/' + one.service_tier if one.service_tier else ''}-{unit}")
    for one in RULES
    for model in _models(one)
    for unit, total in one.same.items()
]


@pytest.mark.parametrize(("one", "model", "unit", "total"), SHIPPED_RULES)
def test_a_shipped_rule_prices_its_unit_at_the_rate_of_text(one: PriceEntry, model: str, unit: str, total: str) -> None:
    price = at(BOOK, one.provider, model, one.service_tier)
    amounts = {"input_tokens": 1_000, "output_tokens": 0, total: 1_000}
    text, ruled = cost(price, **amounts), cost(price, **amounts, **{unit: 400})
    assert isinstance(ruled, Priced), ruled
    assert ruled.cost_pico == text.cost_pico
    assert price.same[unit] == ChargedAs(total, f"{SHIPPED}/{one.digest}")
    alone = cost(price, **{"input_tokens": 1_000, "output_tokens": 0, total: 1_000, unit: 1_000})
    assert alone.cost_pico == 1_000 * price.brackets[0].prices()[total]


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.models[0])
def test_a_shipped_rule_is_a_statement_of_the_maker_with_the_day_of_its_reading(one: PriceEntry) -> None:
    assert one.source.startswith(MAKERS[one.provider])
    assert re.search(r", 20\d\d-\d\d-\d\d$", one.source)
    assert not one.rates, "a rule stands apart from rates: its source speaks of it alone"


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.models[0])
def test_no_shipped_rule_speaks_of_a_unit_for_which_the_table_has_a_rate(one: PriceEntry) -> None:
    """A new table may know better: then the rule goes."""
    for model in _models(one):
        price = PriceBook([TABLE]).at(Sku.of(one.provider, model, one.service_tier), AT)
        assert isinstance(price, Linear)
        assert not price.units & one.same.keys(), model


OUTSIDE: Final = [
    ("google", "gemini-3.7-flash", "", "input_image_tokens"),
    ("google", "gemini-2.5-flash-image", "", "input_video_tokens"),
    ("google", "gemini-3-pro-image", "", "input_image_tokens"),
    ("google", "gemini-3.1-flash-image", "", "input_image_tokens"),
    ("google", "gemini-2.5-pro", "batch", "input_image_tokens"),
    ("x-ai", "grok-4-0709", "", "input_video_tokens"),
    ("openai", "gpt-5.5", "", "input_image_tokens"),
    ("openai", "gpt-4o", "", "input_audio_tokens"),
    ("openai", "gpt-4o", "batch", "input_image_tokens"),
    ("openai", "gpt-4o-mini-audio-preview", "", "input_audio_tokens"),
    ("openai", "gpt-audio", "", "input_image_tokens"),
    ("openai", "gpt-4o-realtime-preview", "", "input_image_tokens"),
    ("openai", "gpt-5-image", "", "input_image_tokens"),
    ("azure", "gpt-4o", "", "input_image_tokens"),
    ("openrouter", "google/gemini-2.5-flash", "", "input_image_tokens"),
    ("anthropic", "claude-sonnet-5", "", "input_image_tokens"),
    ("aws", "amazon.nova-pro-v1:0", "", "input_image_tokens"),
    ("mistral", "mistral-large-2512", "", "input_audio_tokens"),
]


@pytest.mark.parametrize(("provider", "model", "tier", "unit"), OUTSIDE)
def test_what_no_rule_speaks_of_stays_partial(provider: str, model: str, tier: str, unit: str) -> None:
    totals = {total: 1_000 for total in ("input_tokens", "output_tokens") if is_part(unit, total)}
    answer = cost(at(BOOK, provider, model, tier), **{"input_tokens": 1_000, "output_tokens": 0, **totals, unit: 400})
    assert isinstance(answer, Partial)
    assert unit in answer.note.detail


@pytest.mark.parametrize(
    ("provider", "model", "unit"),
    [
        ("google", "gemini-2.5-flash", "input_audio_tokens"),
        ("openai", "gpt-image-1", "input_image_tokens"),
        ("openai", "gpt-realtime", "input_image_tokens"),
        ("google", "gemini-3.8-live", "input_video_tokens"),
    ],
)
def test_a_unit_that_costs_more_keeps_the_rate_that_the_table_has(provider: str, model: str, unit: str) -> None:
    price = at(BOOK, provider, model)
    assert unit in DIMENSIONS and unit in price.units
    assert unit not in price.same
    assert price.brackets[0].charged(unit) > price.brackets[0].charged("input_tokens")
