"""Calls whose right price is known from outside: each is right, or says by name what it leaves out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costream import UsageEvent
from costream.pricing import PriceBook
from stream.pricing import price
from stream.pricing.events import frame_of

CALLS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "producers/fixtures/priced-calls.jsonl").read_text().splitlines()
]
AT = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


def priced(book: PriceBook, event: dict[str, Any]) -> dict[str, Any]:
    made = UsageEvent.create(request_id="r-1", occurred_at=AT, **event)
    return price(frame_of([made]), book).row(0, named=True)


@pytest.mark.parametrize("call", CALLS, ids=[call["case"] for call in CALLS])
def test_a_call_costs_what_it_should_or_says_what_has_no_price(book: PriceBook, call: dict[str, Any]) -> None:
    row, right = priced(book, call["event"]), call["right"]
    assert row["cost_status"] == right["cost_status"]
    if "cost_usd" in right:
        assert Decimal(row["cost_pico"]).scaleb(-12) == Decimal(right["cost_usd"])
    assert right.get("names", "") in row["cost_detail"]
    assert row["price_source"] == right.get("price_source", row["price_source"])


WRONG_IN_THE_TABLE = [
    # deepseek-v4-pro: a Saturday and a Wednesday in the peak hours; a working holiday; the hour before the change.
    ("deepseek", "deepseek-v4-pro", "2026-11-21T02:00:00Z", {}, "2.64"),
    ("deepseek", "deepseek-v4-pro", "2026-11-25T02:00:00Z", {}, "5.28"),
    ("deepseek", "deepseek-v4-pro", "2026-11-25T05:00:00Z", {}, "2.64"),
    ("deepseek", "deepseek-v4-pro", "2026-10-01T02:00:00Z", {}, "2.64"),
    ("deepseek", "deepseek-v4-pro", "2026-08-16T15:59:59Z", {}, "1.305"),
    ("deepseek", "deepseek-v4-pro", "2026-08-16T16:00:00Z", {}, "2.64"),
    ("deepseek", "deepseek-v4-pro", "2026-07-01T02:00:00Z", {}, "1.305"),
    ("mistral", "mistral-large-latest", "2026-11-25T05:00:00Z", {}, "2"),
    ("azure", "deepseek-v4-pro", "2026-11-25T05:00:00Z", {}, "5.22"),
    ("azure", "gpt-5.5-pro", "2026-11-25T05:00:00Z", {"cache_read_tokens": 1_000_000}, "276"),
    ("mistral", "codestral-latest", "2026-11-25T05:00:00Z", {"cache_read_tokens": 1_000_000}, "0.93"),
    (
        "openai",
        "gpt-4o-audio-preview-2024-12-17",
        "2026-11-25T05:00:00Z",
        {"quantities": {"input_audio_tokens": "1000000", "output_audio_tokens": "1000000"}},
        "120",
    ),
]


@pytest.mark.parametrize(("provider", "model", "at", "usage", "usd"), WRONG_IN_THE_TABLE)
def test_what_the_table_says_wrong_is_put_right(
    book: PriceBook, *, provider: str, model: str, at: str, usage: dict[str, Any], usd: str
) -> None:
    """A million tokens in and a million out."""
    whole = {"provider": provider, "model": model, "input_tokens": 1_000_000, "output_tokens": 1_000_000, **usage}
    made = UsageEvent.create(request_id="r-1", occurred_at=datetime.fromisoformat(at), **whole)
    row = price(frame_of([made]), book).row(0, named=True)
    assert (Decimal(row["cost_pico"]).scaleb(-12), row["cost_status"]) == (Decimal(usd), "priced")
    assert row["price_source"] == "override"


def test_by_a_calendar_that_has_ended_no_price_is_sure(book: PriceBook) -> None:
    usage = {"provider": "deepseek", "model": "deepseek-v4-pro", "input_tokens": 1, "output_tokens": 1}
    made = UsageEvent.create(request_id="r-1", occurred_at=datetime(2027, 1, 5, 2, tzinfo=UTC), **usage)
    row = price(frame_of([made]), book).row(0, named=True)
    assert (row["cost_status"], row["cost_reason"]) == ("partial", "no_price_at_that_time")
    assert row["cost_detail"] == "the holidays after 2026-12-31 are not known"
