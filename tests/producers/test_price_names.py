"""Names of providers and models as libraries and people write them: each leads to the price that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from genai_prices.types import ClauseEquals, ClauseOr, ClauseStartsWith, ModelInfo, ModelPrice, Provider
from hypothesis import given
from hypothesis import strategies as st

from costream.events import NAME_CHARS_MAX
from costream.pricing import Linear, NoPrice, PriceBook, Reason, Resolution, Sku, TimeOfDay
from costream.pricing.bundled import BundledPrices
from costream.pricing.layers import shipped
from costream.pricing.names import aliases, provider_id, spellings
from tests.support.price_tables import Table
from tests.support.properties import examples

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
        (
            "azure_ai",
            "azure/eu/gpt-4o",
            Reason.INFERENCE_GEO_UNPRICED,
            "no price for inference in 'eu', charged as without a place",
        ),
        *(
            (
                "openrouter",
                f"openai/gpt-4o{route}",
                Reason.BASE_MODEL_PRICE,
                f"charged at the rate of 'openai/gpt-4o': who served it by '{route}' is not told",
            )
            for route in (":nitro", ":floor", ":exacto", ":online")
        ),
        (
            "openai",
            "ft:gpt-4o-mini:acme::abc",
            Reason.BASE_MODEL_PRICE,
            "fine-tuned model charged at the rate of its base 'gpt-4o-mini'",
        ),
    ],
)
def test_a_part_of_a_name_that_may_change_the_price_is_a_doubt(
    book: PriceBook, provider: str, model: str, reason: Reason, told: str
) -> None:
    price = book.resolve(Sku(provider, model), DAY)
    assert isinstance(price, Linear)
    (doubt,) = price.caveats
    assert (doubt.reason, doubt.detail) == (reason, told)


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


# --- one name of a model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "canonical"),
    [
        (" OpenAI ", "openai/GPT-4o", ("openai", "gpt-4o")),
        ("google-gla", "models/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("vertex_ai", "publishers/google/models/gemini-2.5-flash", ("google", "gemini-2.5-flash")),
        ("azure_ai", "azure/global-standard/gpt-4o", ("azure", "gpt-4o")),
        (
            "bedrock_converse",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ),
        # As the table writes it, or where it knows many by a rule, in small letters.
        (
            "together",
            "meta-llama/llama-3.3-70b-instruct-TURBO",
            ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ),
        ("anthropic", "Claude-Sonnet-4-5-latest", ("anthropic", "claude-sonnet-4-5-latest")),
        # As an entry that is shipped writes it.
        ("perplexity", "SONAR", ("perplexity", "sonar")),
        # Products of their own.
        ("openai", "gpt-4o-2024-08-06", ("openai", "gpt-4o-2024-08-06")),
        ("perplexity", "perplexity/sonar", ("perplexity", "perplexity/sonar")),
        # What may cost another price.
        ("openai", "ft:gpt-4o-mini:acme::abc", ("openai", "ft:gpt-4o-mini:acme::abc")),
        ("azure_ai", "azure/eu/gpt-4o", ("azure", "azure/eu/gpt-4o")),
        ("openrouter", "openai/gpt-4o:online", ("openrouter", "openai/gpt-4o:online")),
        # What nobody knows.
        ("openai", " My-Own ", ("openai", "My-Own")),
        (" ACME Corp", "models/X", ("acme corp", "models/X")),
        ("  ", " ", ("  ", " ")),
        ("İ" * NAME_CHARS_MAX, "x" * NAME_CHARS_MAX, ("İ" * NAME_CHARS_MAX, "x" * NAME_CHARS_MAX)),
        ("X" * NAME_CHARS_MAX, "y", ("x" * NAME_CHARS_MAX, "y")),
    ],
)
def test_a_model_has_one_name_however_it_is_written(
    book: PriceBook, provider: str, model: str, canonical: tuple[str, str]
) -> None:
    assert book.canonical(provider, model) == canonical


FORMS = ("{model}", " {model}", "{provider}/{model}", "models/{model}", "publishers/x/models/{model}",
    "arn:aws:bedrock:us-east-1:1:foundation-model/{model}")  # fmt: skip


def told(price: Resolution) -> object:
    """All that a price says, but for the name in the words of one that is not known."""
    if isinstance(price, NoPrice):
        return price.note.reason
    if isinstance(price, TimeOfDay):
        return [(period, told(each)) for period, each in price.periods], told(price.otherwise)
    return price.version, price.brackets, price.caveats, price.unsure, price.source, price.audio_seconds_min


def written() -> Iterator[tuple[str, str]]:
    """Every model of the table and of what is shipped, in every form, under a name of its provider."""
    models = {(provider.id, model.id) for provider in BundledPrices.load().providers for model in provider.models}
    models |= {(entry.provider, name) for entry in shipped() for name in entry.models}
    by_provider: dict[str, list[str]] = {}
    for alias, provider in aliases().items():
        by_provider.setdefault(provider, [provider]).append(alias)
    for number, (provider, model) in enumerate(sorted(models)):
        names = by_provider.get(provider, [provider, provider.upper()])
        for at, form in enumerate(FORMS):
            alias = names[(number + at) % len(names)]
            text = form.format(provider=alias, model=model.upper() if (number + at) % 3 else model)
            yield alias, text[:NAME_CHARS_MAX]


@pytest.mark.slow
def test_no_price_and_no_note_of_any_model_changes_by_its_one_name(book: PriceBook) -> None:
    folded = 0
    for provider, model in written():
        canonical = book.canonical(provider, model)
        assert book.canonical(*canonical) == canonical
        assert all(0 < len(name) <= NAME_CHARS_MAX for name in canonical)
        assert told(book.resolve(Sku(*canonical), DAY)) == told(book.resolve(Sku(provider, model), DAY)), model
        folded += canonical[1] != model.strip()
    assert folded > 2_000


def test_a_model_of_the_table_has_one_name_in_any_case(book: PriceBook) -> None:
    """But for the few that stand in it under a name by which nobody finds them, or not for sure."""
    listed = [(provider.id, model.id) for provider in BundledPrices.load().providers for model in provider.models]
    known = [(provider, model) for provider, model in listed if book.sources[0].name_of(provider, model)]
    assert len(known) > 0.95 * len(listed)
    for provider, model in known:
        assert len({book.canonical(provider, text) for text in (model, model.upper(), model.lower())}) == 1, model


SPELLED = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", " ", "openai/", "OPENAI/", "models/", "azure/", "azure/eu/", "openai/azure/"]),
    st.sampled_from(["", "ft:"]),
    st.sampled_from(["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "my-x", "My-X", "my-x:online", "gpt-4o:online", "İx"]),
)
ENTRY = st.builds(
    lambda provider, models, tier, price: (
        f'[[price]]\nprovider = "{provider}"\nmodels = {models}\nservice_tier = "{tier}"\nsource = "a test"\n'
        f'rates.input_tokens = {{ price = "{price}" }}\n'
    ),
    st.sampled_from(["openai", "azure"]),
    st.lists(st.one_of(SPELLED.map(str.strip), st.sampled_from(["*", "my*", "openai/*"])), min_size=1, max_size=2),
    st.sampled_from(["", "flex"]),
    st.integers(1, 9),
)


@examples(200)
@given(
    st.lists(ENTRY, min_size=1, max_size=4),
    st.sampled_from(["openai", "azure_ai"]),
    SPELLED,
    st.sampled_from(["", "flex"]),
)
def test_no_price_changes_by_the_one_name_whatever_entries_lie_over_the_table(
    book: PriceBook, files: list[str], provider: str, model: str, tier: str
) -> None:
    own = book.with_files({"own.toml": "".join(files)})
    canonical = own.canonical(provider, model)
    assert own.canonical(*canonical) == canonical
    assert told(own.resolve(Sku(*canonical, tier), DAY)) == told(own.resolve(Sku(provider, model, tier), DAY))


def test_an_entry_for_one_spelling_alone_keeps_it_apart_from_the_others(book: PriceBook) -> None:
    dear = (
        '[[price]]\nprovider = "openai"\nmodels = ["openai/gpt-4o"]\nsource = "ours"\nrates.requests = { price = "1" }'
    )
    own = book.with_files({"own.toml": dear})
    assert own.canonical("openai", "OpenAI/gpt-4o") == ("openai", "openai/gpt-4o")
    assert own.canonical("openai", "gpt-4o") == ("openai", "gpt-4o")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("big-1", "Big-1"),  # the id of the model
        ("big-1-latest", "Big-1-Latest"),
        ("BIG-ONE", "Big-One"),
        ("Big-1-2026", "big-1-2026"),  # by a rule for all that begin so
        ("b", None),
    ],
)
def test_a_name_is_written_as_the_table_writes_it_and_small_where_it_does_not(sent: str, name: str | None) -> None:
    named = ClauseOr(or_=[ClauseEquals(equals="Big-1-Latest"), ClauseOr(or_=[ClauseEquals(equals="Big-One")])])
    match = ClauseOr(or_=[named, ClauseStartsWith(starts_with="big-1")])
    model = ModelInfo("Big-1", match, prices=ModelPrice(input_mtok=Decimal(1)))
    table = BundledPrices([Provider("p", "P", "p", models=[model])])
    assert table.name_of("p", sent) == name


def test_the_name_of_a_model_is_worked_out_once_however_often_it_comes() -> None:
    class Counting(Table):
        asked = 0

        def name_of(self, provider: str, model: str) -> str | None:
            self.asked += 1
            return super().name_of(provider, model)

    table = Counting("t", ["m"], rate=1)
    book = PriceBook([table])
    assert [book.canonical("acme", "m") for _ in range(3)] == [("acme", "m")] * 3
    assert table.asked == 1


def test_an_arn_has_the_price_of_an_entry_for_its_model(book: PriceBook) -> None:
    """Though the table knows the whole ARN by what it holds."""
    model = "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0"
    arn = f"arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/{model}"
    assert brackets(book, "aws", arn) == brackets(book, "aws", model)
