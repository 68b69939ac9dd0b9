"""Names of providers and models as libraries and people write them: each leads to the price that it stands for."""

from __future__ import annotations

from datetime import date

import pytest

from costream.pricing import Linear, NoPrice, PriceBook, Reason, Sku
from costream.pricing.bundled import BundledPrices
from costream.pricing.names import aliases, provider_id, spellings

DAY = date(2026, 11, 26)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


def brackets(book: PriceBook, provider: str, model: str) -> object:
    price = book.resolve(Sku(provider, model), DAY)
    assert isinstance(price, Linear), price
    return price.brackets


def test_every_alias_stands_for_a_provider_of_the_table_and_hides_none() -> None:
    known = {provider.id for provider in BundledPrices.load().providers}
    assert {*aliases().values()} <= known
    assert not {alias for alias in aliases() if alias in known}
    assert len(aliases()) > 100


@pytest.mark.parametrize("alias", aliases())
def test_an_alias_is_read_in_any_case_and_with_hyphens(alias: str) -> None:
    for written in (alias, alias.upper(), f" {alias} ", alias.replace("_", "-"), alias.replace("_", " ")):
        assert provider_id(written) == aliases()[alias]


@pytest.mark.parametrize(
    ("provider", "model", "same_as"),
    [
        ("OpenAI", "gpt-4o", ("openai", "gpt-4o")),
        ("openai ", "GPT-4o", ("openai", "gpt-4o")),
        ("openai", "openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai.responses", "gpt-4o", ("openai", "gpt-4o")),
        ("azure_ai", "azure/gpt-4o", ("azure", "gpt-4o")),
        ("azure_ai", "azure/global-standard/gpt-4o", ("azure", "gpt-4o")),
        ("google-gla", "models/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("google-vertex", "publishers/google/models/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        (
            "vertex_ai",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-flash",
            ("google", "gemini-2.5-flash"),
        ),
        ("google.generative-ai", "gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        (
            "amazon_bedrock",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ),
        (
            "bedrock_converse",
            "arn:aws:bedrock:us-east-1:1234:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ),
        (
            "bedrock",
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/amazon.nova-pro-v1:0",
            ("aws", "amazon.nova-pro-v1:0"),
        ),
        ("anthropic.messages", "claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("cohere_chat", "command-r", ("cohere", "command-r")),
        ("moonshot", "kimi-k2-0905-preview", ("moonshotai", "kimi-k2-0905-preview")),
    ],
)
def test_a_model_has_the_price_of_what_its_name_stands_for(
    book: PriceBook, provider: str, model: str, same_as: tuple[str, str]
) -> None:
    assert brackets(book, provider, model) == brackets(book, *same_as)
    price = book.resolve(Sku(provider, model), DAY)
    assert isinstance(price, Linear) and price.caveats == ()


@pytest.mark.parametrize(
    ("provider", "model", "reason", "told"),
    [
        ("azure_ai", "azure/eu/gpt-4o", Reason.INFERENCE_GEO_UNPRICED, "in 'eu'"),
        *(
            ("openrouter", f"openai/gpt-4o{route}", Reason.BASE_MODEL_PRICE, f"by '{route}' is not told")
            for route in (":nitro", ":floor", ":exacto", ":online")
        ),
        ("openai", "ft:gpt-4o-mini:acme::abc", Reason.BASE_MODEL_PRICE, "its base 'gpt-4o-mini'"),
    ],
)
def test_a_part_of_a_name_that_may_change_the_price_is_a_doubt(
    book: PriceBook, provider: str, model: str, reason: Reason, told: str
) -> None:
    price = book.resolve(Sku(provider, model), DAY)
    assert isinstance(price, Linear)
    (doubt,) = price.caveats
    assert doubt.reason == reason
    assert told in doubt.detail


@pytest.mark.parametrize(
    ("provider", "model", "told"),
    [
        ("openai", "gpt-4o-minii", "; the nearest known is 'gpt-4o-mini'"),
        ("openaii", "gpt-4o", "; the nearest known is 'openai'"),
        ("zhipu", "glm-4.6", "; provider 'zai' has one of that name"),
        ("openai", "zzz", "no price known for model 'zzz' of provider 'openai'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_known(book: PriceBook, provider: str, model: str, told: str) -> None:
    unknown = book.resolve(Sku(provider, model), DAY)
    assert isinstance(unknown, NoPrice)
    assert unknown.note.detail.endswith(told)


def test_the_surest_spelling_comes_first_and_the_name_itself_is_never_left_out() -> None:
    assert [name for name, _ in spellings("openai", " openai/ft:gpt-4o:a::b ")] == [
        "openai/ft:gpt-4o:a::b",
        "ft:gpt-4o:a::b",
        "gpt-4o",
    ]
    first, *_ = (name for name, _ in spellings("fireworks", "accounts/fireworks/models/x"))
    assert first == "accounts/fireworks/models/x"
