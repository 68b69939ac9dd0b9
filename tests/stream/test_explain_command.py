"""costream explain: the arithmetic of a stored call comes out as its cost, to the last digit, and says its price."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from costream.pricing import PICO, Bracket, Call, Linear, PriceBook, Priced, Sku, quote
from costream.pricing.items import Within, items, within
from costream.pricing.rates import ChargedAs
from costream.pricing.units import TOKEN_UNITS
from sinks.answers.explain import explained as explanation
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli import application
from tests.support.ingest import Warehouse, ingest_of, run
from tests.support.properties import examples
from tests.support.records import log_of, wire
from tests.support.warehouse import Server, settings_of

CALLS: dict[str, dict[str, Any]] = {
    "cached": {
        "provider": "anthropic",
        "model": "claude-haiku-4-5",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
        "reported_cost_usd": "0.001",
    },
    "overridden": {"provider": "perplexity", "model": "sonar", "input_tokens": 1_000, "output_tokens": 1_000},
    "by the caller": {
        "provider": "tavily",
        "model": "search",
        "operation": "api",
        "quantities": {"searches": "3"},
        "unit_prices": {"searches": "0.008"},
    },
    "completed": {
        "quantities": {"images": "2"},
        "unit_prices": {"images": "0.01"},
        "input_tokens": 7,
        "output_tokens": 3,
    },
    "flex": {"model": "gpt-5-nano", "service_tier": "flex", "input_tokens": 1_000, "output_tokens": 1_000},
    "thirds": {
        "provider": "groq",
        "model": "whisper-large-v3",
        "operation": "transcription",
        "quantities": {"audio_seconds": "1"},
    },
    "images": {
        "provider": "google",
        "model": "gemini-2.5-flash",
        "input_tokens": 1_000,
        "output_tokens": 0,
        "cache_read_tokens": 400,
        "quantities": {"input_image_tokens": "700", "cache_image_read_tokens": "300"},
    },
    "failed": {"provider": "perplexity", "model": "sonar", "status": "error", "input_tokens": 0, "output_tokens": 0},
    "partial": {"quantities": {"images": "2"}, "input_tokens": 1_000, "output_tokens": 0},
    "spelled": {"provider": "google-gla", "model": "models/gemini-2.5-flash", "input_tokens": 1, "output_tokens": 1},
    "unknown": {"model": "gpt-17", "input_tokens": 1, "output_tokens": 1},
}


@pytest.fixture(scope="module")
def variables(clickhouse_endpoint: Server) -> dict[str, str]:
    address = clickhouse_endpoint.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        warehouse = Warehouse(reader, writer)
        log = log_of(
            [wire(name, **{"provider": "openai", "model": "gpt-4o-mini"} | call) for name, call in CALLS.items()]
        )
        run(warehouse, ingest_of(warehouse, "topic-1"), log)
        removed = {"request_id": "partial", "source": "topic-1", "source_partition": 0, "source_offset": 99}
        told = {"event": "{}", "reason": "counted twice"}
        moments = reader.frame("SELECT occurred_at, received_at AS removed_at FROM usage_events LIMIT 1")
        writer.insert("removed_events", pl.concat([moments, pl.DataFrame([removed | told])], how="horizontal"))
    return {f"COSTREAM_{name.upper()}": value for name, value in settings_of(address).items()} | {"COLUMNS": "120"}


def explained(variables: dict[str, str], *arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(application(only="explain"), ["explain", *arguments], env=variables)
    assert result.exit_code == status, result.output
    return result


@pytest.mark.parametrize("name", CALLS)
def test_the_lines_of_a_call_sum_to_its_stored_cost(variables: dict[str, str], name: str) -> None:
    answer = json.loads(explained(variables, name, "--json").stdout)
    (call,) = answer["calls"]
    if call["cost_usd"] is None:
        assert (call["lines"], call["sum_usd"], call["why"]) == ([], None, call["cost_detail"])
        return
    total = sum((Decimal(line["cost_usd"]) for line in call["lines"]), Decimal(0))
    assert total == Decimal(call["sum_usd"])
    assert total.quantize(Decimal("1e-12"), ROUND_HALF_EVEN) == Decimal(call["cost_usd"])
    for line in call["lines"]:
        product = Decimal(line["amount"]) * Decimal(line["price_usd"])
        assert abs(product - Decimal(line["cost_usd"])) < Decimal("1e-20")


def test_a_part_with_a_price_of_its_own_is_not_in_the_line_of_its_total(variables: dict[str, str]) -> None:
    (call,) = json.loads(explained(variables, "cached", "--json").stdout)["calls"]
    assert {line["unit"]: line["amount"] for line in call["lines"]} == {
        "input_tokens": "300",
        "output_tokens": "100",
        "cache_read_tokens": "600",
        "cache_write_tokens": "100",
    }
    assert Decimal(call["difference_usd"]) == Decimal("0.001") - Decimal(call["cost_usd"])


def test_a_person_is_told_the_arithmetic_the_price_its_source_and_the_place(variables: dict[str, str]) -> None:
    told = explained(variables, "overridden").stdout
    assert "0.007000000000 USD, priced" in told
    assert "requests" in told and "0.005" in told
    assert "(override)" in told
    assert "pricing/perplexity-ai.json" in told
    assert "as topic-1/0/1, stored " in told


def test_what_is_in_the_line_of_its_total_by_a_rule_is_told_with_its_source(variables: dict[str, str]) -> None:
    (call,) = json.loads(explained(variables, "images", "--json").stdout)["calls"]
    assert (call["cost_status"], call["price_source"]) == ("priced", "list")
    assert {line["unit"]: line["amount"] for line in call["lines"]} == {
        "input_tokens": "600",
        "cache_read_tokens": "400",
    }
    assert [(one["unit"], one["amount"], one["total"]) for one in call["charged_as"]] == [
        ("cache_image_read_tokens", "300", "cache_read_tokens"),
        ("input_image_tokens", "700", "input_tokens"),
    ]
    told = " ".join(explained(variables, "images").stdout.split())
    source = "https://ai.google.dev/gemini-api/docs/pricing"
    assert f"700 input_image_tokens charged as input_tokens, {source}" in told
    assert f"300 cache_image_read_tokens charged as cache_read_tokens, {source}" in told
    assert told.count(source) == 2, "and not once more as the source of the price"
    assert "charged as" not in explained(variables, "cached").stdout


def test_what_the_caller_named_and_what_has_no_price_is_said(variables: dict[str, str]) -> None:
    assert "by the price caller (caller)" in explained(variables, "by the caller").stdout
    assert "partial: no price for images" in explained(variables, "partial").stdout
    unknown = explained(variables, "unknown").stdout
    assert "cost unknown, unpriced: no price known for model 'gpt-17'" in unknown
    assert "by the price" not in unknown


def test_what_was_taken_out_under_the_id_is_named(variables: dict[str, str]) -> None:
    assert "counted twice" in explained(variables, "partial").stdout


def test_an_id_that_is_not_stored_is_said_and_ends_with_status_1(variables: dict[str, str]) -> None:
    assert "no call with the id nobody is stored" in explained(variables, "nobody", status=1).stdout
    assert json.loads(explained(variables, "nobody", "--json", status=1).stdout)["calls"] == []


RATES = st.dictionaries(
    st.sampled_from(["requests", "input_tokens", "output_tokens", "cache_read_tokens", "input_audio_tokens", "images"]),
    st.integers(0, 10**9),
    min_size=1,
)


@examples(200)
@given(RATES, st.integers(0, 1_000), st.integers(0, 1_000), st.integers(0, 10), st.booleans())
def test_the_items_of_any_call_sum_to_what_it_is_quoted_at(
    rates: dict[str, int], tokens: int, part: int, images: int, failed: bool
) -> None:
    amounts = {"input_tokens": tokens, "output_tokens": part, "cache_read_tokens": min(part, tokens), "images": images}
    call = Call("chat", failed=failed, amounts={unit: amount * PICO for unit, amount in amounts.items()})
    price = Linear("t@base", (Bracket.of(-1, rates),))
    answer = quote(price, call)
    if hasattr(answer, "cost_pico"):
        assert sum(item.cost for item in items(price, call)) == answer.cost_pico * PICO
    if isinstance(answer, Priced) and answer.cost_pico:
        assert all(item.amount > 0 for item in items(price, call))


def test_a_unit_is_told_as_charged_like_its_total_where_the_total_has_a_price() -> None:
    rules = {"input_image_tokens": ChargedAs("input_tokens", "own/1")}
    call = Call("chat", failed=False, amounts={"input_tokens": 9 * PICO, "input_image_tokens": 4 * PICO})
    priced = Linear("t@base", (Bracket.of(-1, {"input_tokens": 1}),), same=rules)
    assert within(priced, call) == (Within("input_image_tokens", 4 * PICO, "input_tokens", "own/1"),)
    assert within(Linear("t@base", (Bracket.of(-1, {"output_tokens": 1}),), same=rules), call) == ()


@pytest.mark.parametrize(("model", "cost"), [("gpt-4o-mini", "0.00018"), ("gpt-4o", "0.003")])
def test_a_row_from_before_there_were_texts_is_explained_by_the_book_that_it_names(model: str, cost: str) -> None:
    book = PriceBook.bundled()
    price = book.resolve(Sku("openai", model), date(2026, 11, 30))
    assert isinstance(price, Linear)
    row = {
        "provider": "openai",
        "model": model,
        "service_tier": "",
        "inference_geo": "",
        "operation": "chat",
        "price_version": price.version,
        "price_id": "of no text",
        "price_source": "list",
        "status": "ok",
        "cost_usd": Decimal(cost),
        "cost_detail": "",
        "reported_cost_usd": None,
        "quantities": "",
        "unit_prices": "",
        **dict.fromkeys(TOKEN_UNITS),
        "input_tokens": 800,
        "output_tokens": 100,
    }
    assert explanation(row, {}, book).sum_usd == Decimal(cost)
