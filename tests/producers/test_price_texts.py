"""The text of a price: nothing that a cost hangs on is lost on the way into the warehouse and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PICO, Bracket, Call, Linear, Note, PriceBook, Reason, Sku, TimeOfDay, completed, quote
from costream.pricing.bundled import BundledPrices
from costream.pricing.rates import ChargedAs
from costream.pricing.texts import exact_usd, is_read_whole, price_id, price_of, price_text, text_id
from costream.pricing.units import DIMENSIONS
from tests.support.properties import examples

DAY = date(2026, 11, 1)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


def in_force(book: PriceBook, sku: Sku) -> list[Linear]:
    found = book.resolve(sku, DAY)
    prices = [price for _, price in found.periods] + [found.otherwise] if isinstance(found, TimeOfDay) else [found]
    return [price for price in prices if isinstance(price, Linear)]


def fields(price: Linear) -> dict[str, object]:
    return {name: getattr(price, name) for name in price.__slots__}


def test_every_price_of_the_table_comes_back_as_it_was(book: PriceBook) -> None:
    seen = 0
    for provider in BundledPrices.load().providers:
        for model in provider.models:
            for tier in ("", "flex"):
                for price in in_force(book, Sku.of(provider.id, model.id, tier, "")):
                    again = price_of(price_text(price, book.entries(price.version)))
                    assert fields(again) == fields(price)
                    assert price_id(again) == price_id(price)
                    seen += 1
    assert seen > 2_000


BASE = Linear("t@base", (Bracket.of(-1, {"input_tokens": 150, "output_tokens": 600, "requests": 7}),))


@pytest.mark.parametrize(
    "change",
    [
        {"version": "t@later"},
        {"source": "override"},
        {"brackets": (Bracket.of(-1, {"input_tokens": 151, "output_tokens": 600, "requests": 7}),)},
        {"brackets": (*BASE.brackets, Bracket.of(128_000, {"input_tokens": 300}))},
        {"brackets": (*BASE.brackets, Bracket.of(0, {"input_tokens": 300}))},
        {"audio_seconds_min": 10},
        {"caveats": (Note(Reason.BORROWED_PRICE, "the price is that of provider 'x'"),)},
        {"same": {"input_image_tokens": ChargedAs("input_tokens", "own/0")}},
        {"unsure": frozenset({"input_tokens"})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_price_changes_its_id_and_comes_back(change: dict[str, object]) -> None:
    other = replace(BASE, **change)  # type: ignore[arg-type]
    assert price_id(other) != price_id(BASE)
    assert fields(price_of(price_text(other))) == fields(other)


def test_a_price_without_a_fee_names_none() -> None:
    text = price_text(Linear("t@base", (Bracket.of(-1, {"input_tokens": 150}),)))
    assert json.loads(text)["brackets"] == [{"above_input_tokens": None, "usd": {"input_tokens": "0.00000000015"}}]


def test_an_id_is_the_same_on_every_machine() -> None:
    assert price_id(BASE) == price_id(replace(BASE)) == "5f7eb9b74e0ffed1"


def test_a_price_that_an_event_alone_names_has_no_id() -> None:
    unpriced = PriceBook.bundled().at(Sku("acme", "m"), datetime(2026, 11, 1, tzinfo=UTC))
    assert price_id(completed(unpriced, {"searches": 8_000})) == ""


def test_a_text_has_the_id_of_its_price_whatever_files_it_names_and_however_it_is_laid_out() -> None:
    text = price_text(BASE, [{"id": "own/0", "file": "rates.toml"}])
    assert text_id(text) == text_id(json.dumps(json.loads(text), indent=2, sort_keys=True)) == price_id(BASE)
    assert text_id(text.replace('"t@base"', '"t@later"')) != price_id(BASE)


@pytest.mark.parametrize("text", ["", "{", "[]", '"t@base"', "7", "null"])
def test_a_text_that_is_no_object_has_no_id_and_is_not_read(text: str) -> None:
    assert text_id(text) == ""
    assert not is_read_whole(text)


DOUBTFUL = replace(BASE, caveats=(Note(Reason.BORROWED_PRICE, "the price is that of provider 'x'"),))


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"entries": [{"id": "own/0"}]}, True),
        ({"discount": "0.5"}, False),
        ({"unsure": 1}, False),
        ({"doubts": [{"reason": "a_later_one", "detail": "x"}]}, False),
        ({"doubts": [{"reason": "borrowed_price"}]}, False),
        ({"brackets": [{"above_input_tokens": None, "usd": {"input_tokens": "x"}}]}, False),
        ({"brackets": [{"above_input_tokens": None, "usd": {"input_tokens": "1/0"}}]}, False),
        ({"brackets": 1}, False),
        ({"charged_as": []}, False),
        ({"charged_as": {"images": {"total": 1, "by": "x"}}}, False),
        ({"audio_seconds_min": 10}, True),
        *(({"audio_seconds_min": value}, False) for value in ("10", 1.5, True, -1, None, [])),
        ({"brackets": [{"above_input_tokens": "10", "usd": {}}]}, False),
        ({"brackets": [{"above_input_tokens": None, "usd": {"input_tokens": 1}}]}, False),
        ({"doubts": [{"reason": "borrowed_price", "detail": 1}]}, False),
        ({"price_version": 1}, False),
        ({"price_source": None}, False),
        ({"unsure": [1]}, False),
    ],
)
def test_a_text_is_read_whole_only_where_this_build_knows_all_that_it_says(
    change: dict[str, object], *, whole: bool
) -> None:
    assert is_read_whole(json.dumps(json.loads(price_text(DOUBTFUL)) | change)) is whole


def test_what_a_file_says_stands_in_the_text_letter_by_letter() -> None:
    assert "Vertrag für Größe" in price_text(BASE, [{"source": "Vertrag für Größe"}])


@examples(200)
@given(st.integers(0, 10**20) | st.fractions(0, 10**9))
def test_an_amount_in_usd_is_read_back_exactly(pico: int | Fraction) -> None:
    assert Fraction(exact_usd(pico)) * PICO == pico


@pytest.mark.parametrize(
    ("pico", "usd"),
    [(0, "0"), (1, "0.000000000001"), (PICO, "1"), (150_000, "0.00000015"), (-PICO // 2, "-0.5"),
     (Fraction(PICO, 3), "1/3"), (Fraction(1, 8), "0.000000000000125")],
)  # fmt: skip
def test_an_amount_is_decimal_text_where_it_has_an_end(pico: int | Fraction, usd: str) -> None:
    assert exact_usd(pico) == usd


@examples(100)
@given(
    st.dictionaries(st.sampled_from(sorted(DIMENSIONS)), st.integers(0, 10**9) | st.fractions(0, 10**6), min_size=1),
    st.integers(0, 400_000),
)
def test_a_call_costs_the_same_by_the_text(prices: dict[str, int | Fraction], tokens: int) -> None:
    price = Linear("t@base", (Bracket.of(-1, prices), Bracket.of(200_000, {**prices, "input_tokens": 5})))
    call = Call("chat", failed=False, amounts=dict.fromkeys(("input_tokens", *prices), tokens * PICO))
    assert quote(price_of(price_text(price)), call) == quote(price, call)


def test_the_text_says_usd_for_one_of_a_unit_and_what_of_files_is_in_it() -> None:
    own = """
        [[price]]
        provider = "openai"
        models = ["gpt-4o-mini"]
        valid_from = 2026-03-01
        source = "our contract"
        rates.input_tokens = { price = "0.10", per = "1M" }
        """
    book = PriceBook.bundled().with_files({"rates.toml": own})
    (price,) = in_force(book, Sku("openai", "gpt-4o-mini"))
    said = json.loads(price_text(price, book.entries(price.version)))
    assert said["brackets"][0]["above_input_tokens"] is None
    assert said["brackets"][0]["usd"]["input_tokens"] == "0.0000001"
    (entry,) = said["entries"]
    assert entry == {
        "id": price.version.split("+")[1],
        "file": "rates.toml",
        "provider": "openai",
        "models": ["gpt-4o-mini"],
        "valid_from": "2026-03-01T00:00:00Z",
        "rates": {"input_tokens": {"price": "0.10", "per": "1M"}},
        "source": "our contract",
    }
