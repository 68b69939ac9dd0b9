"""What stored calls would have cost by other prices: worked out by hand, against a plain sum, and as a person asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from costream.pricing import PriceBook
from sinks.clickhouse import state
from sinks.clickhouse.calls_of_span import Span, blocks_of, calls_in
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli.prices import app
from stream.pricing import price
from stream.pricing.rehearsal import rehearsed
from tests.support.ingest import Warehouse, ingest_of
from tests.support.ingest import run as run_batches
from tests.support.records import FakeRecord, wire
from tests.support.warehouse import Server, settings_of

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
TODAY = NOW.replace(hour=0, minute=0)
MINI: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1_000, "output_tokens": 0}
ACME: dict[str, Any] = {"provider": "acme", "model": "a", "input_tokens": 1_000_000, "output_tokens": 500_000}
OURS = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
source = "our contract"
rates.input_tokens = { price = "0.10", per = "1M" }

[[price]]
provider = "acme"
models = ["a"]
source = "our contract"
rates.input_tokens = { price = "2", per = "1M" }
rates.output_tokens = { price = "4", per = "1M" }
"""


# --- pure ------------------------------------------------------------------------------------------------------------


def calls_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    usual = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "provider_stored": "openai",
        "model_stored": "gpt-4o-mini",
        "operation": "chat",
        "feature": "f",
        "status": "ok",
        "service_tier": "",
        "inference_geo": "",
        "occurred_at": NOW,
        "quantities": "",
        "unit_prices": "",
        "cost_status_stored": "priced",
    }
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    numbers = (*counts, "cost_stored_pico")
    schema = {
        **dict.fromkeys(usual, pl.String),
        "occurred_at": pl.Datetime("ms", "UTC"),
        **dict.fromkeys(numbers, pl.Int64),
    }
    return pl.DataFrame([usual | dict.fromkeys(numbers) | row for row in rows], schema=schema)


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["gpt-4o-mini", "gpt-17"]),
            "input_tokens": st.integers(0, 10**9),
            "output_tokens": st.integers(0, 10**9),
            "feature": st.sampled_from(["f", "g"]),
            "occurred_at": st.sampled_from([NOW, NOW - timedelta(days=1)]),
            "cost_stored_pico": st.none() | st.integers(0, 10**17),
        }
    ),
    max_size=12,
)


@given(CALLS, st.integers(0, 12))
def test_it_is_the_plain_sum_of_what_each_call_would_cost_wherever_the_calls_are_cut(
    given: list[dict[str, Any]], at: int
) -> None:
    book = PriceBook.bundled()
    rows = [
        row
        | {
            "model_stored": row["model"],
            "cost_status_stored": "unpriced" if row["cost_stored_pico"] is None else "priced",
        }
        for row in given
    ]
    found = rehearsed([calls_of(rows[:at]), calls_of(rows[at:])], book)
    each = price(calls_of(rows), book).to_dicts()
    expected: dict[tuple[Any, ...], dict[str, int]] = {}
    for call in each:
        key = (call["occurred_at"].date(), "openai", call["model"], call["feature"])
        sums = expected.setdefault(key, dict.fromkeys(("calls", "changed", "unpriced", "then", "was", "would"), 0))
        sums["calls"] += 1
        sums["changed"] += (call["cost_pico"], call["cost_status"]) != (
            call["cost_stored_pico"],
            call["cost_status_stored"],
        )
        sums["unpriced"] += call["cost_stored_pico"] is None
        sums["then"] += call["cost_pico"] is None
        sums["was"] += call["cost_stored_pico"] or 0
        sums["would"] += call["cost_pico"] or 0
    names = ("calls", "changed_calls", "unpriced_calls", "rehearsed_unpriced_calls", "cost_pico", "rehearsed_cost_pico")
    told = {
        (row["day"], row["provider"], row["model"], row["feature"]): tuple(row[name] for name in names)
        for row in found.to_dicts()
    }
    assert told == {key: tuple(sums.values()) for key, sums in expected.items()}


Place = tuple[Reader, dict[str, str]]  # a warehouse, and the variables that name it


# --- asked of a warehouse --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(clickhouse_endpoint: Server) -> Iterator[Place]:
    """Calls of three days in their order, of which one has no price, and one was sent under another name."""
    address = clickhouse_endpoint.fresh()
    calls = [
        (0, MINI | {"feature": "search"}),
        (0, MINI | {"provider": "OpenAI", "feature": "search", "input_tokens": 3_000}),
        (
            0,
            {
                "provider": "acme",
                "model": "a",
                "feature": "search",
                "input_tokens": 1_000_000,
                "output_tokens": 500_000,
            },
        ),
        (1, MINI | {"feature": "chat", "input_tokens": 10_000}),
        (1, {"provider": "openai", "model": "gpt-4o", "feature": "chat", "input_tokens": 10, "output_tokens": 1}),
        (2, MINI | {"feature": "chat"}),
    ]
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        values = (
            wire(f"r-{at}", **{"occurred_at": (TODAY - timedelta(days=days)).isoformat()} | call)
            for at, (days, call) in enumerate(calls)
        )
        log = [FakeRecord(value, 0, at, round(NOW.timestamp() * 1_000)) for at, value in enumerate(values)]
        ingest = ingest_of(Warehouse(reader, writer), "topic-1", clock=lambda: NOW)
        run_batches(Warehouse(reader, writer), ingest, log)
        settings = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(address).items()}
        yield reader, settings | {"COLUMNS": "120"}


def day(ago: int) -> str:
    return f"{TODAY - timedelta(days=ago):%Y-%m-%d}"


def asked(place: Place, *arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["rehearse", *arguments], env=place[1])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def ours(tmp_path: Path) -> str:
    path = tmp_path / "ours.toml"
    path.write_text(OURS)
    return str(path)


def test_the_difference_is_told_by_day_model_and_feature_the_largest_first(place: Place, ours: str) -> None:
    """0.15 USD a million becomes 0.10: 4,000 tokens 0.0006 -> 0.0004, 10,000 tokens 0.0015 -> 0.001. What had no price
    costs 2 + 2 USD. gpt-4o stays: 10 * 2.5 + 1 * 10 USD a million."""
    told = json.loads(asked(place, "--from", day(1), "--prices", ours, "--json").stdout)
    assert (told["calls"], told["changed_calls"], told["unpriced_calls"], told["rehearsed_unpriced_calls"]) == (
        5,
        4,
        1,
        0,
    )
    assert (Decimal(told["cost_usd"]), Decimal(told["rehearsed_cost_usd"])) == (
        Decimal("0.002135"),
        Decimal("4.001435"),
    )
    assert Decimal(told["difference_usd"]) == Decimal("3.9993")
    rows = [
        (row["day"], row["provider"], row["model"], row["feature"], row["changed_calls"], row["cost_usd"])
        for row in told["changes"]
    ]
    assert rows == [
        (day(0), "acme", "a", "search", 1, None),
        (day(1), "openai", "gpt-4o-mini", "chat", 1, "0.001500000000"),
        (day(0), "openai", "gpt-4o-mini", "search", 2, "0.000600000000"),
    ]
    assert [row["difference_usd"] for row in told["changes"]] == [
        "4.000000000000",
        "-0.000500000000",
        "-0.000200000000",
    ]
    assert told["changes_not_listed"] == 0


def test_a_span_a_model_and_a_feature_are_those_that_are_asked_for(place: Place, ours: str) -> None:
    def calls(*more: str) -> tuple[int, int]:
        told = json.loads(asked(place, "--prices", ours, "--json", *more).stdout)
        return told["calls"], told["changed_calls"]

    assert calls("--from", day(2)) == (6, 5)
    assert calls("--from", day(2), "--to", day(1)) == (1, 1)
    assert calls("--from", f"{day(1)}T00:00:01") == (3, 3)
    assert calls("--from", day(2), "--model", "gpt-4o") == (1, 0)
    assert calls("--from", day(2), "--provider", "openai", "--feature", "chat") == (3, 2)
    assert calls("--from", day(2), "--feature", "nobody") == (0, 0)
    one = json.loads(asked(place, "--from", day(2), "--prices", ours, "--limit", "1", "--json").stdout)
    assert (len(one["changes"]), one["changes_not_listed"], one["changed_calls"]) == (1, 3, 5)


def test_a_person_is_told_what_would_change_and_that_nothing_was(place: Place, ours: str) -> None:
    told = " ".join(asked(place, "--from", day(1), "--prices", ours).stdout.split())
    assert f"{day(1)} 00:00:00 UTC until before" in told
    assert "by files: 5 calls" in told
    assert "4 of them would change: 0.002135000000 USD -> 4.001435000000 USD (+3.999300000000)" in told
    assert "unpriced calls 1 -> 0" in told
    assert f"{day(0)} acme a search 1 of 1 call: unknown -> 4.000000000000 USD (+4.000000000000)" in told
    assert told.endswith("nothing was changed")


def test_by_the_prices_in_force_what_was_priced_by_them_does_not_change(place: Place) -> None:
    told = " ".join(asked(place, "--from", day(2)).stdout.split())
    assert "by the newest revision: 6 calls no call would change" in told


def test_what_cannot_be_meant_or_worked_out_is_refused_in_a_sentence(place: Place, ours: str) -> None:
    empty = asked(place, "--from", day(0), "--to", day(1), "--prices", ours, status=2)
    assert "the span is empty" in empty.stderr
    old = asked(place, "--from", day(200), "--prices", ours, status=2)
    told = " ".join(old.stderr.split())
    assert "may have expired: their cost cannot be worked out. Nothing was done; give --from " in told
    advised = re.search(r"give --from (\S+) or later", told)
    assert advised is not None
    assert json.loads(asked(place, "--from", advised[1], "--prices", ours, "--json").stdout)["calls"] == 6
    both = asked(place, "--from", day(0), "--prices", ours, "--revision", "1", status=2)
    assert "--prices and --revision are both given" in both.stderr


def test_calls_come_in_blocks_of_whole_hours_without_a_gap(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "BLOCK_ROWS_MAX", 2)
    reader, span = place[0], Span(TODAY - timedelta(days=2), NOW)
    blocks = blocks_of(reader, span)
    starts = [datetime.fromtimestamp(start / 1_000, UTC) for start, _ in blocks]
    assert starts == [TODAY - timedelta(days=2), TODAY - timedelta(days=1), TODAY]
    assert [end for _, end in blocks] == [start for start, _ in blocks[1:]] + [round(NOW.timestamp() * 1_000)]
    assert [calls.height for calls in calls_in(reader, span, blocks)] == [1, 2, 3]
    nobody = Span(TODAY - timedelta(days=9), TODAY - timedelta(days=8))
    assert [calls.height for calls in calls_in(reader, nobody, blocks_of(reader, nobody))] == [0]
