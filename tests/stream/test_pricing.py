"""What a priced event says: its cost, or why there is none, and which price it was."""

from __future__ import annotations

import ast
import json
import socket
import time as clock
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from genai_prices import data_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

import costream.pricing
import stream.pricing
from costream.events import TOKENS_MAX
from costream.pricing import (
    COST_PICO_MAX,
    PICO,
    Bracket,
    BundledPrices,
    Call,
    Linear,
    NoPrice,
    Note,
    Partial,
    Period,
    PriceBook,
    Priced,
    PriceUnknown,
    Reason,
    Resolution,
    Sku,
    TimeOfDay,
    Unpriced,
    completed,
    quote,
    units,
)
from costream.pricing.units import DIMENSIONS, is_part
from stream.pricing import columns, price
from tests.support.properties import examples
from tests.support.usage_frames import usage_frame

DAY = date(2026, 11, 1)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


def _priced(book: PriceBook, **event: Any) -> dict[str, Any]:
    """What pricing adds to one event; the model is gpt-4o-mini of openai unless said otherwise."""
    maps = {name: event[name] for name in ("quantities", "unit_prices") if name in event}
    event |= {name: json.dumps(by_unit) if by_unit else "" for name, by_unit in maps.items()}
    return price(usage_frame([event]), book).row(0, named=True)


def _usd(row: Mapping[str, Any]) -> Decimal | None:
    return None if row["cost_pico"] is None else Decimal(row["cost_pico"]).scaleb(-12)


class _Prices:
    """A source with the prices of one provider."""

    def __init__(self, version: str, prices: Mapping[str, Linear]) -> None:
        self.version = version
        self.changes: Collection[time] = ()
        self._prices = prices

    def resolve(self, sku: Sku, on: date) -> Resolution:
        unknown = f"{self.version} does not know '{sku.model}' of '{sku.provider}'"
        return self._prices.get(sku.model, NoPrice.of(Reason.UNKNOWN_MODEL, unknown))

    def spelling(self, sku: Sku) -> str | None:
        return sku.model if sku.model in self._prices else None

    def name_of(self, provider: str, model: str) -> str | None:
        return model if model in self._prices else None

    def lookup(self, price_version: str, sku: Sku) -> Linear | NoPrice | None:
        return self._prices[sku.model] if price_version.startswith(self.version) else None


def _flat(version: str, **prices: int | Fraction) -> Linear:
    return Linear(version, (Bracket.of(-1, prices),))


# Exact money


def test_input_and_output_are_priced_separately_and_summed(book: PriceBook) -> None:
    row = _priced(book, model="gpt-4-turbo", input_tokens=1_000, output_tokens=500)
    assert _usd(row) == Decimal("0.025")
    assert (row["cost_status"], row["cost_reason"], row["cost_detail"]) == ("priced", "", "")
    assert row["price_source"] == "list"


@pytest.mark.parametrize(
    ("provider", "model", "per_1k_in", "per_1k_out"),
    [
        ("openai", "gpt-4-turbo", "0.01", "0.03"),
        ("openai", "gpt-4", "0.03", "0.06"),
        ("openai", "gpt-3.5-turbo-0613", "0.0015", "0.002"),
        ("anthropic", "claude-3-5-sonnet-20241022", "0.003", "0.015"),
        ("anthropic", "claude-3-opus", "0.015", "0.075"),
        # The requirement's sample is the launch price of these two (0.0015/0.002 and 0.0005/0.0015).
        ("openai", "gpt-3.5-turbo", "0.0005", "0.0015"),
        ("google", "gemini-pro", "0.000125", "0.000375"),
    ],
)
def test_the_published_price_of_a_thousand_tokens_is_what_they_cost(
    book: PriceBook, provider: str, model: str, per_1k_in: str, per_1k_out: str
) -> None:
    spent_in = _priced(book, provider=provider, model=model, input_tokens=1_000, output_tokens=0)
    spent_out = _priced(book, provider=provider, model=model, input_tokens=0, output_tokens=1_000)
    assert (_usd(spent_in), _usd(spent_out)) == (Decimal(per_1k_in), Decimal(per_1k_out))


def test_ten_thousand_calls_of_a_millionth_of_a_dollar_sum_to_a_cent(book: PriceBook) -> None:
    call = {"model": "text-embedding-3-small", "operation": "embedding", "input_tokens": 50}
    costs = price(usage_frame([call] * 10_000), book)["cost_pico"]
    assert Decimal(costs.sum()).scaleb(-12) == Decimal("0.01")


def test_no_call_is_rounded_so_a_million_tiny_ones_keep_their_sum(book: PriceBook) -> None:
    call = {"model": "text-embedding-3-small", "operation": "embedding", "input_tokens": 20}
    frame = usage_frame([call] * 100_000)
    total = sum(price(frame, book)["cost_pico"].sum() for _ in range(10))
    assert Decimal(total).scaleb(-12) == Decimal("0.4")


def test_no_float_stands_in_the_code_of_money() -> None:
    folders = [Path(package.__file__ or "").parent for package in (costream.pricing, stream.pricing)]
    paths = [path for folder in folders for path in folder.glob("*.py")]
    assert len(paths) > 5
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), (path, node.lineno)
            assert not (isinstance(node, ast.Name) and node.id == "float"), (path, node.lineno)


def test_cached_tokens_are_a_part_of_the_input_and_cost_their_own_rate(book: PriceBook) -> None:
    row = _priced(
        book,
        provider="anthropic",
        model="claude-3-5-sonnet-20241022",
        input_tokens=1_000_000,
        output_tokens=0,
        cache_read_tokens=300_000,
        cache_write_tokens=200_000,
    )
    assert _usd(row) == Decimal("3") / 2 + Decimal("0.3") * 3 / 10 + Decimal("3.75") * 2 / 10


def test_reasoning_without_a_rate_of_its_own_costs_as_output(book: PriceBook) -> None:
    plain = _priced(book, model="o3", input_tokens=10, output_tokens=500)
    thinking = _priced(book, model="o3", input_tokens=10, output_tokens=500, reasoning_tokens=400)
    assert thinking["cost_pico"] == plain["cost_pico"]
    assert thinking["cost_status"] == "priced"


@pytest.mark.parametrize(("tokens", "usd"), [(128_000, "0.16"), (128_001, "0.3200025")])
def test_a_call_above_a_tier_pays_the_higher_rate_for_all_its_tokens(book: PriceBook, tokens: int, usd: str) -> None:
    row = _priced(book, provider="google", model="gemini-1.5-pro", input_tokens=tokens, output_tokens=0)
    assert _usd(row) == Decimal(usd)


def test_a_rate_that_no_second_divides_is_rounded_once_half_to_even() -> None:
    half = _flat("t@base", audio_seconds=Fraction(1, 2))
    costs = [quote(half, Call("transcription", failed=False, amounts={"audio_seconds": n * PICO})) for n in (1, 3, 5)]
    assert costs == [Priced(0), Priced(2), Priced(2)]


# Which price


@pytest.mark.parametrize(
    ("moment", "usd", "version"),
    [
        (datetime(2025, 6, 9, 23, 59, 59, 999_000, tzinfo=UTC), "50", "base"),
        (datetime(2025, 6, 10, tzinfo=UTC), "10", "2025-06-10"),
    ],
)
def test_the_price_in_force_when_the_call_happened_applies(
    book: PriceBook, moment: datetime, usd: str, version: str
) -> None:
    """However late it arrives: nothing but occurred_at is asked."""
    row = _priced(book, model="o3", occurred_at=moment, input_tokens=1_000_000, output_tokens=1_000_000)
    assert _usd(row) == Decimal(usd)
    assert row["price_version"] == f"genai-prices/0.2.3@{version}"


@pytest.mark.parametrize(
    ("at", "usd", "effective"),
    [
        (time(0, 29, 59, 999_000), "0.135", "base"),
        (time(0, 30), "0.27", "00:30-16:30Z"),
        (time(16, 29, 59, 999_000), "0.27", "00:30-16:30Z"),
        (time(16, 30), "0.135", "base"),
    ],
)
def test_a_price_that_changes_within_the_day_follows_the_time_of_the_call(
    book: PriceBook, at: time, usd: str, effective: str
) -> None:
    moment = datetime.combine(DAY, at, UTC)
    row = _priced(
        book,
        provider="deepseek",
        model="deepseek-chat",
        occurred_at=moment,
        input_tokens=1_000_000,
        output_tokens=0,
    )
    assert _usd(row) == Decimal(usd)
    assert row["price_version"] == f"genai-prices/0.2.3@{effective}"


def test_a_period_may_run_past_midnight() -> None:
    night, day = _flat("t@night", input_tokens=1), _flat("t@base", input_tokens=2)
    price_of_day = TimeOfDay(((Period(time(22), time(6)), night),), otherwise=day)
    moments = {21: day, 22: night, 0: night, 5: night, 6: day}
    assert all(price_of_day.at(datetime(2026, 1, 1, hour, tzinfo=UTC)) is used for hour, used in moments.items())


def test_a_period_that_ends_where_it_starts_holds_no_moment() -> None:
    assert [hour for hour in range(24) if time(hour) in Period(time(5), time(5))] == []


def test_the_times_of_a_period_are_those_of_their_zone_and_utc_where_they_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    try:
        east = timezone(timedelta(hours=8))
        constraints = [
            TimeOfDateConstraint(time(8, 30, tzinfo=east), time(1, tzinfo=east)),
            TimeOfDateConstraint(time(0, 30), time(17, tzinfo=UTC)),
        ]
        for constraint in constraints:
            prices = [
                ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
                ConditionalPrice(constraint, prices=ModelPrice(input_mtok=Decimal(2))),
            ]
            model = ModelInfo("m", ClauseEquals(equals="m"), prices=prices)
            table = BundledPrices([Provider("p", "P", "p", models=[model])])
            assert table.changes == {time(0, 30), time(17)}
            within_day = table.resolve(Sku("p", "m"), DAY)
            assert isinstance(within_day, TimeOfDay)
            assert within_day.at(datetime(2026, 11, 1, 0, 30, tzinfo=UTC)).version.endswith("@00:30-17:00Z")
            assert within_day.at(datetime(2026, 11, 1, 17, tzinfo=UTC)).version.endswith("@base")
    finally:
        monkeypatch.undo()
        clock.tzset()


AWS = ("amazon", "amazon-bedrock", "aws_bedrock", "bedrock")
AZURE = ("az.ai.inference", "azure.ai.openai", "azure-openai", "azure_openai")
GOOGLE = ("gemini", "google_genai", "google_vertexai", "vertex_ai")


@pytest.mark.parametrize(
    ("provider", "model", "same_as"),
    [
        ("aws.bedrock", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "aws"),
        ("az.ai.openai", "gpt-4o", "azure"),
        ("azure.ai.inference", "gpt-4o", "azure"),
        ("gcp.gemini", "gemini-2.5-pro", "google"),
        ("gcp.gen_ai", "gemini-2.5-pro", "google"),
        ("gcp.vertex_ai", "claude-haiku-4-5", "google"),
        ("mistral_ai", "mistral-large-latest", "mistral"),
        ("moonshot_ai", "kimi-k2-0711-preview", "moonshotai"),
        ("x_ai", "grok-3", "x-ai"),
        ("OpenAI", "gpt-4o", "openai"),
        *((name, "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "aws") for name in AWS),
        *((name, "gpt-4o", "azure") for name in AZURE),
        *((name, "gemini-2.5-pro", "google") for name in GOOGLE),
        *((name, "accounts/fireworks/models/deepseek-v3p2", "fireworks") for name in ("fireworks-ai", "fireworks_ai")),
        ("mistralai", "mistral-large-latest", "mistral"),
        *((name, "mistralai/Mixtral-8x7B-Instruct-v0.1", "together") for name in ("together-ai", "together_ai")),
        ("voyage", "voyage-3", "voyageai"),
        ("xai", "grok-3", "x-ai"),
    ],
)
def test_the_names_of_the_conventions_mean_the_same_provider(
    book: PriceBook, provider: str, model: str, same_as: str
) -> None:
    assert book.get_model_pricing(provider, model, DAY) is book.get_model_pricing(same_as, model, DAY)


def test_a_name_that_only_contains_a_provider_is_not_that_provider(book: PriceBook) -> None:
    assert book.resolve(Sku("my-openai-proxy", "gpt-4o"), DAY) == NoPrice.of(
        Reason.UNKNOWN_PROVIDER, "no prices known for provider 'my-openai-proxy'"
    )


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "openai/gpt-4o-mini"), ("openai", "GPT-4o-mini"), ("azure", "azure/gpt-4o-mini")]
)
def test_a_model_may_be_written_with_its_provider_before_it(book: PriceBook, provider: str, model: str) -> None:
    assert book.resolve(Sku(provider, model), DAY) is book.resolve(Sku(provider, "gpt-4o-mini"), DAY)


def test_another_providers_prefix_is_not_taken_off(book: PriceBook) -> None:
    assert isinstance(book.resolve(Sku("anthropic", "openai/gpt-4o-mini"), DAY), NoPrice)


@pytest.mark.parametrize("model", ["acme/gpt-4o-mini", "/gpt-4o-mini", "azure/gpt-4o-mini"])
def test_a_prefix_that_is_not_the_provider_is_part_of_the_name(book: PriceBook, model: str) -> None:
    known = "; the nearest known is 'gpt-4o-mini'"
    assert book.resolve(Sku("openai", model), DAY) == NoPrice.of(
        Reason.UNKNOWN_MODEL, f"no price known for model '{model}' of provider 'openai'{known}"
    )


def test_a_fine_tuned_model_with_a_price_of_its_own_takes_it(book: PriceBook) -> None:
    row = _priced(book, model="ft:gpt-4o-2024-08-06:acme::abc", input_tokens=1_000_000, output_tokens=0)
    assert (_usd(row), row["cost_status"]) == (Decimal("3.75"), "priced")


@pytest.mark.parametrize("model", ["ft:gpt-4o-mini:acme::abc", "openai/ft:gpt-4o-mini:acme::abc"])
def test_another_fine_tuned_model_costs_at_least_its_base(book: PriceBook, model: str) -> None:
    row = _priced(book, model=model, input_tokens=1_000_000, output_tokens=0)
    assert (_usd(row), row["cost_status"]) == (Decimal("0.15"), "partial")
    assert row["cost_reason"] == "base_model_price"
    assert row["cost_detail"] == "fine-tuned model charged at the rate of its base 'gpt-4o-mini'"


def test_a_free_model_costs_nothing_and_that_is_known(book: PriceBook) -> None:
    row = _priced(book, provider="mistral", model="mistral-nemo:free", input_tokens=10, output_tokens=10)
    assert (row["cost_pico"], row["cost_status"]) == (0, "priced")


# Unknown is not zero


def test_what_the_table_does_not_know_has_no_cost_but_a_reason_and_its_neighbours_keep_theirs(book: PriceBook) -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    frame = usage_frame([usage, {"model": "gpt-17", **usage}, {"provider": "acme", **usage}, usage])
    priced = price(frame, book)
    assert priced["cost_pico"].to_list() == [750_000_000, None, None, 750_000_000]
    assert priced["cost_status"].to_list() == ["priced", "unpriced", "unpriced", "priced"]
    assert priced["cost_reason"].to_list() == ["", "unknown_model", "unknown_provider", ""]
    assert priced["cost_detail"].to_list()[1:3] == [
        "no price known for model 'gpt-17' of provider 'openai'; the nearest known is 'gpt-4.1'",
        "no prices known for provider 'acme'",
    ]
    assert priced["price_source"].to_list() == ["list", "", "", "list"]
    assert priced["price_version"].to_list() == ["genai-prices/0.2.3@base", "", "", "genai-prices/0.2.3@base"]


def test_a_model_that_the_table_lists_without_a_rate_is_unknown_not_free(book: PriceBook) -> None:
    row = _priced(book, provider="github-copilot", model="gpt-4o", input_tokens=10, output_tokens=10)
    assert row["cost_pico"] is None
    assert row["cost_reason"] == "no_rate"
    assert row["cost_detail"] == "genai-prices/0.2.3 lists no rate for model 'gpt-4o' of provider 'github-copilot'"


@pytest.mark.parametrize("status", ["ok", "error"])
def test_a_call_without_usage_has_no_cost(book: PriceBook, status: str) -> None:
    row = _priced(book, status=status, usage_status="missing")
    assert (row["cost_pico"], row["cost_status"], row["cost_reason"]) == (None, "unpriced", "usage_missing")
    assert row["cost_detail"] == "usage not reported"


def test_a_price_per_call_alone_needs_no_usage_if_a_call_costs_anything() -> None:
    nothing_used = Call("api", failed=False, amounts={})
    assert quote(_flat("t@base", requests=1), nothing_used) == Priced(1)
    assert quote(_flat("t@base", requests=0), nothing_used) == Unpriced.of(Reason.USAGE_MISSING, "usage not reported")
    assert quote(_flat("t@base", requests=7), Call("api", False, {"images": PICO})) == Partial(
        7, Note(Reason.QUANTITY_UNPRICED, "no price for images")
    )


def test_a_table_is_translated_rate_by_rate_and_tier_by_tier() -> None:
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(3)), Tier(start=200, price=Decimal(5))])
    models = {
        "tiered": ModelPrice(input_mtok=tiered, output_mtok=Decimal(7), requests_kcount=Decimal(2)),
        "none:free": ModelPrice(),
        "some:free": ModelPrice(input_mtok=Decimal(4)),
        "whisper-large-v3": ModelPrice(input_audio_mtok=Decimal(9)),
    }
    infos = [ModelInfo(name, ClauseEquals(equals=name), prices=prices) for name, prices in models.items()]
    table = BundledPrices([Provider("groq", "G", "g", models=infos)])
    found = {name: table.resolve(Sku("groq", name), DAY) for name in models}
    assert all(isinstance(price_of_model, Linear) for price_of_model in found.values())
    units = {
        name: [(bracket.above, bracket.per_call, bracket.rates) for bracket in linear.brackets]
        for name, linear in found.items()
        if isinstance(linear, Linear)
    }
    million, thousandth = PICO // 10**6, PICO // 10**3
    assert units == {
        "tiered": [
            (above, 2 * thousandth, {"input_tokens": rate * million, "output_tokens": 7 * million})
            for above, rate in ((-1, 1), (100, 3), (200, 5))
        ],
        "none:free": [(-1, 0, {"input_tokens": 0, "output_tokens": 0})],
        "some:free": [(-1, 0, {"input_tokens": 4 * million})],
        "whisper-large-v3": [(-1, 0, {"input_audio_tokens": 9 * million})],
    }
    least = {name: linear.audio_seconds_min for name, linear in found.items() if isinstance(linear, Linear)}
    assert least == {"tiered": 0, "none:free": 0, "some:free": 0, "whisper-large-v3": 10}
    elsewhere = BundledPrices([Provider("p", "P", "p", models=infos)]).resolve(Sku("p", "whisper-large-v3"), DAY)
    assert isinstance(elsewhere, Linear) and elsewhere.audio_seconds_min == 0


def test_the_parts_of_a_total_may_come_to_it_and_not_to_the_last_digit_more() -> None:
    price_of_both = _flat("t@base", input_tokens=3, cache_read_tokens=1)
    for beyond, found in (
        (0, Priced(1)),
        (1, Unpriced.of(Reason.USAGE_CONTRADICTORY, "the parts of input_tokens exceed it")),
    ):
        amounts = {"input_tokens": PICO, "cache_read_tokens": PICO + beyond}
        assert quote(price_of_both, Call("api", True, amounts)) == found


def test_where_the_input_chooses_the_rate_a_part_of_it_needs_it_though_only_the_output_has_a_price() -> None:
    tiers = (Bracket.of(-1, {"output_tokens": 1}), Bracket.of(100, {"output_tokens": 2}))
    call = Call("api", failed=True, amounts={"output_tokens": PICO, "cache_read_tokens": PICO})
    assert quote(Linear("t@base", tiers), call) == Unpriced.of(
        Reason.USAGE_CONTRADICTORY, "cache_read_tokens reported without input_tokens"
    )
    assert quote(Linear("t@base", tiers[:1]), call) == Partial(
        1, Note(Reason.QUANTITY_UNPRICED, "no price for cache_read_tokens")
    )


@pytest.mark.parametrize(
    ("operation", "usage", "missing"),
    [
        ("chat", {"input_tokens": 10}, "output_tokens"),
        ("chat", {"output_tokens": 10}, "input_tokens"),
        ("image", {"output_tokens": 10}, "input_tokens"),
        ("transcription", {"input_tokens": 10}, "output_tokens"),
        ("embedding", {"output_tokens": 10}, "input_tokens"),
    ],
)
def test_a_needed_total_that_was_not_reported_leaves_the_cost_unknown(
    book: PriceBook, operation: str, usage: dict[str, int], missing: str
) -> None:
    row = _priced(book, operation=operation, **usage)
    assert (row["cost_pico"], row["cost_reason"]) == (None, "usage_missing")
    assert row["cost_detail"] == f"{missing} not reported"


@pytest.mark.parametrize(("operation", "missing"), [("chat", True), ("embedding", True), ("image", False)])
def test_a_chat_and_an_embedding_need_their_tokens_whatever_else_they_report(operation: str, *, missing: bool) -> None:
    price_of_both = _flat("t@base", input_tokens=1, images=5)
    found = quote(price_of_both, Call(operation, failed=False, amounts={"images": PICO}))
    assert found == (Unpriced.of(Reason.USAGE_MISSING, "input_tokens not reported") if missing else Priced(5))


def test_a_total_is_needed_if_any_bracket_charges_for_it() -> None:
    tiers = (
        Bracket.of(-1, {"input_tokens": 1, "output_tokens": 0}),
        Bracket.of(9, {"input_tokens": 1, "output_tokens": 2}),
    )
    call = Call("chat", failed=False, amounts={"input_tokens": 5 * PICO})
    assert quote(Linear("t@base", tiers), call) == Unpriced.of(Reason.USAGE_MISSING, "output_tokens not reported")
    assert quote(Linear("t@base", tiers[:1]), call) == Priced(5)


def test_the_least_that_is_charged_for_goes_for_the_whole_and_for_what_was_heard() -> None:
    rates = _flat("t@base", audio_seconds=2, input_audio_seconds=3)
    for seconds, charged in ((1, 10), (10, 10), (11, 11)):
        amounts = {"audio_seconds": seconds * PICO, "input_audio_seconds": seconds * PICO}
        assert quote(replace(rates, audio_seconds_min=10), Call("transcription", False, amounts)) == Priced(3 * charged)
    others = _flat("t@base", audio_seconds=2, output_tokens=1)
    amounts = {"audio_seconds": PICO, "output_tokens": 5 * PICO, "input_tokens": 0}
    assert quote(replace(others, audio_seconds_min=10), Call("transcription", False, amounts)) == Priced(25)
    heard = Call("transcription", False, {"input_audio_seconds": PICO})
    assert quote(replace(others, audio_seconds_min=10), heard) == Priced(20)
    half = Call("transcription", False, {"audio_seconds": PICO // 2})
    assert quote(rates, half) == Priced(1), "a price without a least charges for what there was"


def test_an_embedding_needs_no_output_and_no_total_is_needed_that_costs_nothing(book: PriceBook) -> None:
    embedding = {"model": "text-embedding-3-small", "input_tokens": 1_000_000}
    for operation in ("embedding", "chat"):
        assert _usd(_priced(book, operation=operation, **embedding)) == Decimal("0.02")


def test_an_embedding_needs_no_output_though_its_price_has_a_rate_for_it() -> None:
    both = _flat("t@base", input_tokens=1, output_tokens=2)
    embedding = Call("embedding", failed=False, amounts={"input_tokens": 3 * PICO})
    assert quote(both, embedding) == Priced(3)


def test_a_failed_call_is_priced_from_what_was_reported(book: PriceBook) -> None:
    row = _priced(book, status="error", input_tokens=1_000_000)
    assert (_usd(row), row["cost_status"]) == (Decimal("0.15"), "priced")


# Partial


def test_a_used_quantity_without_a_price_makes_the_cost_partial_and_is_named(book: PriceBook) -> None:
    quantities = {"images": "2", "gpu_hours": "0.5", "web_searches": "3"}
    row = _priced(book, input_tokens=1_000_000, output_tokens=0, quantities=quantities)
    assert _usd(row) == Decimal("0.15") + 3 * Decimal("0.01")
    assert (row["cost_status"], row["cost_reason"]) == ("partial", "quantity_unpriced")
    assert row["cost_detail"] == "no price for gpu_hours, images"
    assert row["price_version"] == "genai-prices/0.2.3@base"


def test_an_unused_quantity_without_a_price_changes_nothing(book: PriceBook) -> None:
    row = _priced(book, input_tokens=1_000_000, output_tokens=0, quantities={"images": "0"})
    assert (_usd(row), row["cost_status"]) == (Decimal("0.15"), "priced")


def test_output_of_a_model_that_prices_only_input_makes_the_cost_partial(book: PriceBook) -> None:
    row = _priced(book, model="text-embedding-3-small", input_tokens=1_000_000, output_tokens=5)
    assert (_usd(row), row["cost_detail"]) == (Decimal("0.02"), "no price for output_tokens")


def test_where_nothing_that_was_used_has_a_price_the_cost_is_unknown(book: PriceBook) -> None:
    row = _priced(book, model="whisper-1", operation="transcription", input_tokens=100, output_tokens=20)
    assert (row["cost_pico"], row["cost_detail"]) == (None, "no price for input_tokens, output_tokens")


@pytest.mark.parametrize(
    ("usage", "detail"),
    [
        (
            {"provider": "anthropic", "model": "claude-2", "cache_read_tokens": 5},
            "cache_read_tokens without a rate of its own, charged as the total",
        ),
        (
            {"model": "gpt-5.5", "quantities": {"input_audio_tokens": "5", "input_image_tokens": "5"}},
            "input_audio_tokens, input_image_tokens without a rate of their own, charged as the total",
        ),
        (
            {"model": "gpt-4o", "cache_read_tokens": 9, "quantities": {"cache_audio_read_tokens": "4"}},
            "cache_audio_read_tokens without a rate of its own, charged as the total",
        ),
        (
            {"provider": "aws", "model": "global.anthropic.claude-sonnet-4-20250514-v1:0", "cache_write_tokens": 5}
            | {"quantities": {"cache_write_1h_tokens": "5"}},
            "cache_write_1h_tokens without a rate of its own, charged as the total",
        ),
    ],
)
def test_a_part_without_a_rate_of_its_own_is_charged_as_its_total_and_the_cost_is_partial(
    book: PriceBook, usage: dict[str, Any], detail: str
) -> None:
    row = _priced(book, input_tokens=100, output_tokens=10, **usage)
    names = {name: usage[name] for name in ("provider", "model") if name in usage}
    whole = {name: amount for name, amount in usage.items() if name in ("cache_read_tokens", "cache_write_tokens")}
    plain = _priced(book, input_tokens=100, output_tokens=10, **names, **whole)
    assert (row["cost_status"], row["cost_reason"]) == ("partial", "quantity_unpriced")
    assert row["cost_detail"] == detail
    assert row["cost_pico"] == plain["cost_pico"]


@pytest.mark.parametrize(
    "unit", ["input_text_tokens", "output_text_tokens", "input_tool_tokens", "cache_write_5m_tokens"]
)
def test_what_no_provider_charges_otherwise_needs_no_rate_of_its_own(book: PriceBook, unit: str) -> None:
    usage = {"provider": "anthropic", "model": "claude-haiku-4-5", "input_tokens": 50, "output_tokens": 50}
    row = _priced(book, **usage, cache_write_tokens=7, quantities={unit: "7"})
    assert row["cost_status"] == "priced"
    assert row["cost_pico"] == _priced(book, **usage, cache_write_tokens=7)["cost_pico"]


def test_units_that_nobody_knows_are_compared_with_none() -> None:
    """A producer may invent sixteen of them with every call."""
    compared = units._is_part.cache_info()
    invented = {f"unit_{n}": 5 for n in range(16)}
    price_of_some = _flat("t@base", input_tokens=3, cache_read_tokens=1, **dict(list(invented.items())[:8]))
    amounts = dict.fromkeys(("input_tokens", *invented), PICO)
    assert isinstance(quote(price_of_some, Call("api", True, amounts)), Partial)
    assert units._is_part.cache_info().currsize - compared.currsize <= 4, "the two that it knows, each with each"


@pytest.mark.parametrize("way", ["input", "output"])
def test_a_rate_for_both_ways_is_that_of_each(way: str) -> None:
    seconds = _flat("t@base", audio_seconds=2)
    call = Call("speech", failed=False, amounts={"audio_seconds": 3 * PICO, f"{way}_audio_seconds": 3 * PICO})
    assert quote(seconds, call) == Priced(6)


@pytest.mark.parametrize(
    ("model", "operation", "told", "unsplit"),
    [
        ("gpt-realtime", "chat", {}, "output_tokens without how many of them are output_audio_tokens"),
        ("gpt-realtime", "chat", {"output_audio_tokens": "0"}, ""),
        ("gpt-realtime", "chat", {"output_text_tokens": "9"}, ""),
        ("gpt-image-1.5", "image", {}, "output_tokens without how many of them are output_image_tokens"),
        ("gpt-image-1.5", "image", {"output_image_tokens": "9"}, ""),
        ("gpt-4o", "image", {}, "output_tokens without how many of them are output_image_tokens"),
        ("gpt-4o", "speech", {}, "output_tokens without how many of them are output_audio_tokens"),
        ("gpt-4o", "chat", {}, ""),
        ("gpt-4o-transcribe", "transcription", {}, "input_tokens without how many of them are input_audio_tokens"),
        ("gpt-4o-transcribe", "transcription", {"input_audio_tokens": "9"}, ""),
        ("gpt-4o-transcribe", "chat", {}, ""),
    ],
)
def test_a_total_that_may_be_of_a_dearer_kind_needs_to_be_split(
    book: PriceBook, model: str, operation: str, told: dict[str, str], unsplit: str
) -> None:
    row = _priced(book, model=model, operation=operation, input_tokens=9, output_tokens=9, quantities=told)
    expected = ("partial", "split_missing", unsplit) if unsplit else ("priced", "", "")
    assert (row["cost_status"], row["cost_reason"], row["cost_detail"]) == expected


def test_all_kinds_that_a_total_may_be_of_are_named() -> None:
    several = _flat("t@base", input_tokens=1, output_tokens=1, output_image_tokens=7, output_audio_tokens=5)
    answer = quote(several, Call("chat", failed=False, amounts={"input_tokens": PICO, "output_tokens": PICO}))
    assert isinstance(answer, Partial)
    assert answer.note.detail == "output_tokens without how many of them are output_audio_tokens or output_image_tokens"


def test_a_kind_that_costs_what_text_does_needs_no_split_unless_it_costs_more_in_some_bracket() -> None:
    same = {"input_tokens": 1, "output_tokens": 5, "output_audio_tokens": 5}
    call = Call("chat", failed=False, amounts={"input_tokens": PICO, "output_tokens": PICO})
    assert quote(_flat("t@base", **same), call) == Priced(6)
    dearer_above = Linear("t@base", (Bracket.of(-1, same), Bracket.of(9, same | {"output_audio_tokens": 7})))
    assert isinstance(quote(dearer_above, call), Partial)


@pytest.mark.parametrize("least", [1, PICO])
def test_any_part_exceeds_a_total_of_nothing(least: int) -> None:
    text = _flat("t@base", input_tokens=3)
    answer = quote(text, Call("api", failed=False, amounts={"input_tokens": 0, "input_audio_tokens": least}))
    assert isinstance(answer, Unpriced)
    assert answer.note.detail == "the parts of input_tokens exceed it"


def test_several_doubts_are_all_told_and_the_first_gives_the_reason(book: PriceBook) -> None:
    row = _priced(book, model="ft:gpt-4o-mini:acme::abc", input_tokens=9, output_tokens=9, quantities={"images": "1"})
    assert row["cost_reason"] == "base_model_price"
    assert row["cost_detail"] == ("fine-tuned model charged at the rate of its base 'gpt-4o-mini'; no price for images")


def test_a_failed_call_that_used_nothing_costs_nothing_whatever_the_fee_of_a_call(book: PriceBook) -> None:
    sonar = {"provider": "perplexity", "model": "sonar", "output_tokens": 0}
    failed = _priced(book, **sonar, status="error", input_tokens=0)
    assert (failed["cost_pico"], failed["cost_status"], failed["cost_reason"]) == (0, "priced", "")
    used = _priced(book, **sonar, status="error", input_tokens=1)
    assert used["cost_pico"] == _priced(book, **sonar, input_tokens=1)["cost_pico"] > 0


def test_zeros_of_a_call_that_succeeded_are_priced_and_marked(book: PriceBook) -> None:
    for operation in ("chat", "embedding"):
        row = _priced(book, operation=operation, input_tokens=0, output_tokens=0)
        assert (row["cost_pico"], row["cost_status"], row["cost_reason"]) == (0, "priced", "zero_usage")
        assert row["cost_detail"] == "the call succeeded and reports no token in and none out"


# Prices that the caller names


def test_what_the_book_does_not_know_is_priced_by_the_caller_and_marked(book: PriceBook) -> None:
    search = {"provider": "tavily", "model": "search", "operation": "api", "quantities": {"searches": "3"}}
    row = _priced(book, **search, unit_prices={"searches": "0.008"})
    assert (_usd(row), row["cost_status"], row["cost_reason"]) == (Decimal("0.024"), "priced", "")
    assert (row["price_version"], row["price_source"]) == ("caller", "caller")
    fee = _priced(book, **search, unit_prices={"requests": "0.002"})
    assert (_usd(fee), fee["cost_status"]) == (Decimal("0.002"), "partial"), "the searches have no price"
    other = _priced(book, **search, unit_prices={"pages": "0.002"})
    assert (other["cost_pico"], other["cost_reason"]) == (None, "quantity_unpriced")


def test_a_price_for_each_call_needs_no_quantity_and_counts_the_requests_that_are_told(book: PriceBook) -> None:
    api = {"provider": "weather", "model": "forecast", "operation": "api", "unit_prices": {"calls": "0.002"}}
    assert _usd(_priced(book, **api)) == Decimal("0.002")
    assert _usd(_priced(book, **api, quantities={"requests": "5"})) == Decimal("0.010")
    assert _priced(book, **api, status="error")["cost_reason"] == "usage_missing"


def test_a_fee_that_the_caller_names_is_the_callers_though_nothing_else_was_used() -> None:
    unknown = NoPrice.of(Reason.UNKNOWN_MODEL, "nobody knows it")
    call = Call("api", failed=False, amounts={})
    assert quote(completed(unknown, {"requests": 7}), call) == Priced(7, by_caller=True)
    assert quote(_flat("t@base", requests=7), call) == Priced(7)


def test_the_books_price_comes_before_the_callers(book: PriceBook) -> None:
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    row = _priced(book, **usage, unit_prices={"input_tokens": "1"})
    assert (_usd(row), row["price_source"]) == (Decimal("0.15"), "list")
    both = _priced(book, **usage, quantities={"images": "2"}, unit_prices={"input_tokens": "1", "images": "0.5"})
    assert (_usd(both), both["cost_status"], both["price_source"]) == (Decimal("1.15"), "priced", "caller")
    assert both["price_version"] == row["price_version"], "the tokens are the table's"


def test_a_part_that_the_caller_prices_is_no_longer_charged_as_its_total(book: PriceBook) -> None:
    usage = {"model": "gpt-4o", "input_tokens": 1_000, "output_tokens": 0}
    row = _priced(
        book, **usage, quantities={"input_audio_tokens": "800"}, unit_prices={"input_audio_tokens": "0.00004"}
    )
    assert (_usd(row), row["cost_status"]) == (Decimal("0.0325"), "priced")


# Service tiers and places


@pytest.mark.parametrize(
    ("names", "usd", "status"),
    [
        ({"model": "gpt-5-nano", "service_tier": "flex"}, "0.000225", "priced"),
        ({"model": "gpt-5-nano", "service_tier": "batch"}, "0.000225", "priced"),
        ({"model": "gpt-5-nano", "service_tier": " Flex "}, "0.000225", "priced"),
        ({"model": "gpt-5-nano", "service_tier": "default"}, "0.00045", "priced"),
        ({"model": "gpt-5-nano", "service_tier": "on-demand"}, "0.00045", "priced"),
        ({"model": "gpt-5-nano", "service_tier": "scale"}, "0.00045", "partial"),
        ({"provider": "azure", "model": "gpt-5-nano", "service_tier": "flex"}, "0.00045", "partial"),
    ],
)
def test_the_tier_that_served_a_call_decides_its_price(
    book: PriceBook, names: dict[str, str], usd: str, status: str
) -> None:
    row = _priced(book, input_tokens=1_000, output_tokens=1_000, **names)
    assert (_usd(row), row["cost_status"]) == (Decimal(usd), status)
    if status == "partial":
        tier = names["service_tier"]
        assert row["cost_reason"] == "service_tier_unpriced"
        assert row["cost_detail"] == f"no price for service tier '{tier}', charged as the standard one"


def test_a_tier_has_a_price_from_the_day_on_that_the_table_knows_it(book: PriceBook) -> None:
    usage = {"model": "gpt-5-nano", "service_tier": "flex", "input_tokens": 1_000, "output_tokens": 1_000}
    before = _priced(book, **usage, occurred_at=datetime(2026, 10, 11, 23, 59, tzinfo=UTC))
    after = _priced(book, **usage, occurred_at=datetime(2026, 10, 12, tzinfo=UTC))
    assert [row["cost_status"] for row in (before, after)] == ["partial", "priced"]
    assert after["price_version"] == "genai-prices/0.2.3@base/flex:2026-10-12"
    found = book.lookup(after["price_version"], Sku("openai", "gpt-5-nano", "flex"))
    assert isinstance(found, Linear)
    amounts = {"input_tokens": 1_000 * PICO, "output_tokens": 1_000 * PICO}
    assert quote(found, Call("chat", failed=False, amounts=amounts)) == Priced(after["cost_pico"])


def test_a_rate_that_only_the_standard_tier_has_makes_a_cost_partial_but_for_what_is_not_tokens() -> None:
    standard = ModelPrice(input_mtok=Decimal(4), cache_read_mtok=Decimal(1), web_searches_kcount=Decimal(10))
    variant = PriceVariant({"processing": "batch"}, ModelPrice(input_mtok=Decimal(2)))
    model = ModelInfo("m", ClauseEquals(equals="m"), prices=standard, price_variants=[variant])
    table = PriceBook([BundledPrices([Provider("p", "P", "p", models=[model])])])
    batch = {"provider": "p", "model": "m", "operation": "embedding", "service_tier": "batch"}
    searched = _priced(table, **batch, input_tokens=1_000, quantities={"web_searches": "1"})
    assert (_usd(searched), searched["cost_status"]) == (Decimal("0.012"), "priced")
    cached = _priced(table, **batch, input_tokens=1_000, cache_read_tokens=1_000)
    assert (_usd(cached), cached["cost_status"]) == (Decimal("0.001"), "partial")
    assert cached["price_version"] == "genai-prices/0.2.3@base/batch:base"
    again = table.lookup(cached["price_version"], Sku("p", "m", "batch"))
    assert isinstance(again, Linear) and again.brackets[0].prices()["input_tokens"] == 2 * PICO // 10**6


@pytest.mark.parametrize(
    ("place", "status"), [("", "priced"), ("global", "priced"), ("not_available", "priced"), ("us", "partial")]
)
def test_a_place_without_a_price_makes_the_cost_partial(book: PriceBook, place: str, status: str) -> None:
    row = _priced(book, inference_geo=place, input_tokens=1_000, output_tokens=0)
    assert (_usd(row), row["cost_status"]) == (Decimal("0.00015"), status)
    if place == "us":
        assert row["cost_detail"] == "no price for inference in 'us', charged as without a place"


def test_a_price_of_another_providers_table_is_not_taken_in_silence(book: PriceBook) -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    row = _priced(book, provider="azure", model="kimi-k2-0905-preview", **usage)
    assert (row["cost_status"], row["cost_reason"]) == ("partial", "borrowed_price")
    assert row["cost_detail"] == "the price is that of provider 'moonshotai'"
    assert _priced(book, provider="azure", model="gpt-4o", **usage)["cost_status"] == "priced"
    assert _priced(book, provider="google", model="claude-haiku-4-5", **usage)["cost_status"] == "priced"


# Other quantities


@pytest.mark.parametrize(
    ("provider", "model", "operation", "quantities", "usd"),
    [
        ("openai", "whisper-1", "transcription", {"audio_seconds": "90"}, "0.009"),
        ("openai", "whisper-1", "transcription", {"audio_seconds": "0.1"}, "0.00001"),
        ("openai", "tts-1", "speech", {"characters": "1000"}, "0.015"),
        ("openai", "tts-1", "speech", {"input_characters": "1000"}, "0.015"),
        ("mistral", "mistral-ocr-latest", "image", {"pages": "3"}, "0.012"),
        ("mistral", "mistral-ocr-latest", "image", {"pages": "3", "input_annotated_document_pages": "1"}, "0.013"),
        ("groq", "whisper-large-v3", "transcription", {"audio_seconds": "3600"}, "0.111"),
        ("groq", "whisper-large-v3", "transcription", {"audio_seconds": "1"}, "0.000308333333"),
        ("groq", "whisper-large-v3-turbo", "transcription", {"audio_seconds": "1"}, "0.000111111111"),
        ("groq", "whisper-large-v3-turbo", "transcription", {"audio_seconds": "10"}, "0.000111111111"),
        ("groq", "whisper-large-v3-turbo", "transcription", {"audio_seconds": "11"}, "0.000122222222"),
    ],
)
def test_quantities_cost_their_rate(
    book: PriceBook, *, provider: str, model: str, operation: str, quantities: dict[str, str], usd: str
) -> None:
    row = _priced(book, provider=provider, model=model, operation=operation, quantities=quantities)
    assert (_usd(row), row["cost_status"]) == (Decimal(usd), "priced")


@pytest.mark.parametrize(
    ("model", "usage", "reason"),
    [
        ("gpt-4o-mini", {"input_tokens": 5, "quantities": {"input_tokens": "5"}}, "input_tokens reported twice"),
        ("tts-1", {"quantities": {"characters": "5", "input_characters": "5"}}, "input_characters reported twice"),
        (
            "whisper-1",
            {"quantities": {"input_audio_seconds": "9"}},
            "input_audio_seconds reported without audio_seconds",
        ),
        ("gpt-4o-mini", {"quantities": {"cache_read_tokens": "9"}}, "cache_read_tokens reported without input_tokens"),
        (
            "gpt-4o-transcribe",
            {"input_tokens": 5, "output_tokens": 0, "quantities": {"input_audio_tokens": "6"}},
            "the parts of input_tokens exceed it",
        ),
    ],
)
def test_usage_that_contradicts_itself_has_no_cost(
    book: PriceBook, model: str, usage: dict[str, Any], reason: str
) -> None:
    row = _priced(
        book, model=model, operation="api", **usage, **({} if "output_tokens" in usage else {"status": "error"})
    )
    assert (row["cost_pico"], row["cost_status"], row["cost_reason"]) == (None, "unpriced", "usage_contradictory")
    assert row["cost_detail"] == reason


def test_parts_that_overlap_have_no_cost_without_the_amount_of_both() -> None:
    """Tokens may be cached and audio at once: nothing says how many are, and each costs something else."""
    rates = {"input_tokens": 4, "cache_read_tokens": 1, "input_audio_tokens": 9, "cache_audio_read_tokens": 2}
    amounts = {"input_tokens": 10 * PICO, "cache_read_tokens": 5 * PICO, "input_audio_tokens": 5 * PICO}
    reason = "cache_read_tokens and input_audio_tokens reported without cache_audio_read_tokens"
    price_of_both = _flat("t@base", **rates)
    assert quote(price_of_both, Call("api", True, amounts)) == Unpriced.of(Reason.USAGE_CONTRADICTORY, reason)
    told = Call("api", True, amounts | {"cache_audio_read_tokens": 3 * PICO})
    assert quote(price_of_both, told) == Priced(3 * 4 + 2 * 1 + 2 * 9 + 3 * 2)
    without = _flat("t@base", **{unit: rates[unit] for unit in amounts})
    assert quote(without, Call("api", True, amounts)) == Priced(5 * 1 + 5 * 9)


def test_a_unit_is_a_part_of_what_has_fewer_dimensions_and_not_of_itself() -> None:
    assert is_part("cache_read_tokens", "input_tokens")
    assert not is_part("input_tokens", "cache_read_tokens")
    assert not any(is_part(unit, unit) for unit in [*DIMENSIONS, "gpu_hours"])
    assert len(set(DIMENSIONS.values())) == len(DIMENSIONS), "no two units of the table mean the same"


def test_an_absurd_quantity_costs_nothing_that_would_not_fit(book: PriceBook) -> None:
    row = _priced(book, model="whisper-1", operation="transcription", quantities={"audio_seconds": "9" * 18})
    assert row["cost_pico"] is None
    assert row["cost_reason"] == "cost_too_large"
    assert row["cost_detail"] == "the cost is above 999,999 USD, more than one event can hold"


@pytest.mark.parametrize(("rate", "known"), [(999_999_999_999_999_999, True), (10**18, False)])
def test_a_cost_may_fill_what_one_event_can_hold_and_have_not_a_digit_more(rate: int, *, known: bool) -> None:
    dear = _flat("t@base", input_tokens=rate)
    answer = quote(dear, Call("embedding", failed=False, amounts={"input_tokens": PICO}))
    too_much = Unpriced.of(Reason.COST_TOO_LARGE, "the cost is above 999,999 USD, more than one event can hold")
    assert answer == (Priced(rate) if known else too_much)
    row = _priced(PriceBook([_Prices("t", {"dear": dear})]), model="dear", operation="embedding", input_tokens=1)
    assert row["cost_pico"] == (rate if known else None)


@pytest.mark.parametrize(("rate", "cost"), [(COST_PICO_MAX // TOKENS_MAX, True), (10**10, False)])
def test_a_rate_beyond_what_a_row_can_hold_never_wraps_around(rate: int, cost: bool) -> None:
    dear = PriceBook([_Prices("t", {"dear": _flat("t@base", input_tokens=rate, output_tokens=rate)})])
    small = _priced(dear, model="dear", input_tokens=1, output_tokens=1)
    assert small["cost_pico"] == 2 * rate
    row = _priced(dear, model="dear", input_tokens=TOKENS_MAX, output_tokens=0)
    assert row["cost_pico"] == (rate * TOKENS_MAX if cost else None)


# Batches

EVENTS = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(["openai", "anthropic", "deepseek", "google", "openrouter", "acme"]),
        "model": st.sampled_from(
            ["gpt-4o-mini", "o3", "claude-haiku-4-5", "deepseek-chat", "gemini-2.5-pro", "google/gemini-3.5-flash", "?"]
        ),
        "occurred_at": st.integers(0, 80_000).map(
            lambda minutes: datetime.fromtimestamp(1_747_000_000 + minutes * 60, UTC)
        ),
        "operation": st.sampled_from(["chat", "embedding", "image"]),
        "status": st.sampled_from(["ok", "error"]),
        "input_tokens": st.none() | st.integers(0, 400_000),
        "output_tokens": st.none() | st.integers(0, 400_000),
        "quantities": st.sampled_from(["", '{"web_searches":"2"}', '{"images":"1"}', '{"audio_seconds":"1.5"}']),
    }
).map(lambda event: {**event, "cache_read_tokens": event["input_tokens"] and event["input_tokens"] // 3})

ADDED = [*columns.COSTS, "price_rev"]


@examples(150)
@given(st.lists(EVENTS, max_size=30), st.randoms(use_true_random=False), st.integers(1, 30))
def test_neither_order_nor_chunks_change_a_cost(
    book: PriceBook, events: list[dict[str, Any]], dice: Any, cut: int
) -> None:
    numbered = [{**event, "request_id": str(at)} for at, event in enumerate(events)]
    whole = price(usage_frame(numbered), book)
    shuffled = dice.sample(numbered, len(numbered))
    parts = pl.concat([price(usage_frame(shuffled[:cut]), book), price(usage_frame(shuffled[cut:]), book)])
    assert whole.sort("request_id").equals(parts.sort("request_id"))


@examples(150)
@given(st.lists(EVENTS, min_size=1, max_size=30))
def test_a_call_costs_the_same_in_a_batch_as_on_its_own(book: PriceBook, events: list[dict[str, Any]]) -> None:
    for event, row in zip(events, price(usage_frame(events), book).iter_rows(named=True), strict=True):
        used = book.at(Sku(event["provider"], event["model"]), event["occurred_at"])
        answer = Unpriced(used.note) if isinstance(used, NoPrice) else quote(used, _call(event))
        cost, status = {
            Priced: lambda a: (a.cost_pico, "priced"),
            Partial: lambda a: (a.cost_pico, "partial"),
            Unpriced: lambda a: (None, "unpriced"),
        }[type(answer)](answer)
        why = (answer.note.reason, answer.note.detail) if answer.note else ("", "")
        assert (row["cost_pico"], row["cost_status"], row["cost_reason"], row["cost_detail"]) == (cost, status, *why)


def _call(event: Mapping[str, Any]) -> Call:
    tokens = {unit: event[unit] for unit in ("input_tokens", "output_tokens", "cache_read_tokens")}
    amounts = {unit: amount * PICO for unit, amount in tokens.items() if amount is not None}
    amounts |= {unit: int(Fraction(text) * PICO) for unit, text in json.loads(event["quantities"] or "{}").items()}
    return Call(event["operation"], failed=event["status"] == "error", amounts=amounts)


def test_calls_of_tokens_alone_are_priced_in_columns_and_not_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "quote", lambda _, call: pytest.fail(f"{call} is quoted"))
    cheap = {"requests": 7, "input_tokens": 10, "output_tokens": 30, "cache_read_tokens": 1}
    tiers = (Bracket.of(-1, cheap), Bracket.of(1_000, cheap | {"input_tokens": 20}))
    book = PriceBook([_Prices("t", {"m": Linear("t@base", tiers)})])
    calls = [
        {"input_tokens": 1_000, "output_tokens": 0},
        {"input_tokens": 1_001, "output_tokens": 0},
        {"input_tokens": 100, "output_tokens": 5, "reasoning_tokens": 4, "cache_read_tokens": 40},
        {"operation": "embedding", "input_tokens": 1},
    ]
    priced = price(usage_frame([{"model": "m"} | call for call in calls]), book)
    assert priced["cost_pico"].to_list() == [10_007, 20_027, 7 + 600 + 40 + 150, 17]


def test_pricing_adds_its_columns_and_leaves_the_others(book: PriceBook) -> None:
    frame = usage_frame([{"input_tokens": 1, "output_tokens": 1, "request_id": "a"}, {"request_id": "b"}])
    for part in (frame, frame.head(0)):
        priced = price(part, book)
        assert priced.drop(ADDED).equals(part)
        assert priced.select(ADDED).schema == {
            "cost_pico": pl.Int64,
            "cost_status": pl.String,
            "cost_reason": pl.String,
            "cost_detail": pl.String,
            "price_version": pl.String,
            "price_source": pl.String,
            "price_id": pl.String,
            "price_rev": pl.Int64,
        }


def test_reasons_hold_no_number_of_one_event(book: PriceBook) -> None:
    """1,000 different events give no more of them than two do."""
    events = [
        {"input_tokens": n, "output_tokens": n if n % 2 else None, "quantities": f'{{"images":"{n}"}}'}
        for n in range(1, 1_001)
    ]
    assert price(usage_frame(events), book)["cost_detail"].n_unique() == 2


# The book


def test_a_look_up_without_a_price_names_the_provider_and_the_model(book: PriceBook) -> None:
    with pytest.raises(PriceUnknown) as unknown:
        book.get_model_pricing("acme", "gpt-17", DAY)
    assert str(unknown.value).endswith(f"(model 'gpt-17', provider 'acme', {DAY}, {book.version})")
    assert isinstance(book.get_model_pricing("openai", "gpt-4o", DAY), Linear)
    assert isinstance(book.get_model_pricing("deepseek", "deepseek-chat", DAY), TimeOfDay)


def test_a_stored_row_leads_back_to_the_price_it_was_given(book: PriceBook) -> None:
    row = _priced(book, model="o3", occurred_at=datetime(2025, 1, 1, tzinfo=UTC), input_tokens=7, output_tokens=9)
    used = book.lookup(row["price_version"], Sku(row["provider"], row["model"]))
    assert isinstance(used, Linear)
    assert quote(
        used, Call("chat", failed=False, amounts={"input_tokens": 7 * PICO, "output_tokens": 9 * PICO})
    ) == Priced(row["cost_pico"])


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (
            "genai-prices/0.1.0@base",
            "price version 'genai-prices/0.1.0@base' is not of this book, which holds {holds}",
        ),
        (
            "genai-prices/0.2.3@1999-01-01",
            "genai-prices/0.2.3 has no price '1999-01-01' for model 'o3' of provider 'openai'",
        ),
    ],
)
def test_a_version_that_the_book_does_not_hold_is_said_so(book: PriceBook, version: str, reason: str) -> None:
    assert book.lookup(version, Sku("openai", "o3")) == NoPrice.of(
        Reason.UNKNOWN_MODEL, reason.format(holds=book.version)
    )


def test_a_version_of_the_table_for_a_model_that_it_does_not_have_is_said_so(book: PriceBook) -> None:
    found = book.lookup("genai-prices/0.2.3@base", Sku("acme", "m"))
    assert found == NoPrice.of(Reason.UNKNOWN_PROVIDER, "no prices known for provider 'acme'")


def test_the_first_source_that_knows_a_price_decides() -> None:
    ours, theirs = _flat("ours/1@base", input_tokens=1), _flat("theirs/1@base", input_tokens=2)
    both = PriceBook([_Prices("ours/1", {"a": ours}), _Prices("theirs/1", {"a": theirs, "b": theirs})], price_rev=3)
    assert both.version == "ours/1+theirs/1"
    assert [both.resolve(Sku("p", model), DAY) for model in "ab"] == [ours, theirs]
    assert both.resolve(Sku("p", "c"), DAY) == NoPrice.of(Reason.UNKNOWN_MODEL, "theirs/1 does not know 'c' of 'p'")
    assert [both.lookup(f"{version}/1@base", Sku("p", "a")) for version in ("ours", "theirs")] == [ours, theirs]
    assert _priced(both, model="a", operation="embedding", input_tokens=1)["price_rev"] == 3
    unrevised = PriceBook([_Prices("ours/1", {"a": ours})])
    assert _priced(unrevised, model="a", operation="embedding", input_tokens=1)["price_rev"] == 0


def test_prices_are_resolved_once_for_all_batches_of_a_day() -> None:
    asked: list[str] = []

    class Counting(_Prices):
        def resolve(self, sku: Sku, on: date) -> Resolution:
            asked.append(sku.model)
            return super().resolve(sku, on)

    counting = PriceBook([Counting("t", {"a": _flat("t@base", input_tokens=1)})])
    for _ in range(3):
        price(usage_frame([{"model": "a", "input_tokens": 1}, {"model": "unknown"}] * 5), counting)
    assert sorted(asked) == ["a", "unknown"]


def test_the_bundled_book_needs_no_network_and_leaves_the_package_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pricing opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    fresh = PriceBook.bundled()
    assert _priced(fresh, input_tokens=1, output_tokens=1)["cost_status"] == "priced"
    assert fresh.version.startswith("genai-prices/0.2.3+shipped/")
    assert data_snapshot._custom_snapshot is None


def test_a_model_is_known_once_any_price_of_its_history_has_a_rate() -> None:
    prices = [
        ConditionalPrice(prices=ModelPrice()),
        ConditionalPrice(StartDateConstraint(date(2026, 3, 1)), prices=ModelPrice(input_mtok=Decimal(3))),
    ]
    model = ModelInfo("m", ClauseEquals(equals="m"), prices=prices)
    table = BundledPrices([Provider("p", "P", "p", models=[model])])
    assert isinstance(table.resolve(Sku("p", "m"), date(2026, 3, 1)), Linear)


def test_before_the_first_dated_price_the_first_one_is_taken() -> None:
    """The table knows no earlier one, and a call of that day was not free."""
    dated = [
        ConditionalPrice(StartDateConstraint(date(2026, month, 1)), prices=ModelPrice(input_mtok=Decimal(month)))
        for month in (3, 6)
    ]
    model = ModelInfo("m", ClauseEquals(equals="m"), prices=dated)
    table = BundledPrices([Provider("p", "P", "p", models=[model])])
    starts = [table.resolve(Sku("p", "m"), day) for day in (date(2026, 1, 1), date(2026, 3, 1), date(2026, 5, 31))]
    assert [price.version.partition("@")[2] for price in starts if isinstance(price, Linear)] == ["2026-03-01"] * 3
    later = table.resolve(Sku("p", "m"), date(2026, 6, 1))
    assert isinstance(later, Linear) and later.version.endswith("@2026-06-01")
