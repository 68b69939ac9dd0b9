"""costream prices as a person runs it: what a model costs, what calls would cost, and whether files are right."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli.prices import app
from tests.support.ingest import Warehouse, ingest_of
from tests.support.ingest import run as run_batches
from tests.support.records import FakeRecord, wire
from tests.support.warehouse import Server, settings_of

RATES = 'rates.input_tokens = { price = "0.10", per = "1M" }'


def run(*arguments: str, status: int = 0, text: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=text, env={"COLUMNS": "120"})
    assert result.exit_code == status, result.output
    return result


def file_of(folder: Path, *entries: str) -> str:
    path = folder / "own.toml"
    path.write_text("\n".join(f'[[price]]\nsource = "our contract"\n{entry}' for entry in entries))
    return str(path)


def events(*some: dict[str, Any]) -> str:
    return "\n".join(json.dumps(one) for one in some)


MINI = {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1_000, "output_tokens": 0}


# --- show ------------------------------------------------------------------------------------------------------------


def test_a_price_is_shown_with_its_units_its_tiers_and_where_it_stands() -> None:
    told = run("show", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "--provider", "bedrock").stdout
    assert "input_tokens                            3.3 USD per million" in told
    assert "above 200,000 input tokens" in told
    assert "(override)" in told
    assert "litellm" in told, "the source of the override"


def test_a_price_is_that_of_the_moment_the_tier_and_the_place_that_are_asked_for() -> None:
    found = [
        json.loads(run("show", "openai/o3", "--json", *options).stdout)[0]
        for options in (["--at", "2025-06-09"], ["--at", "2026-11-01"], ["--tier", "flex", "--at", "2026-11-01"])
    ]
    assert [one["prices"][0]["usd"]["input_tokens"] for one in found] == ["0.00001", "0.000002", "0.000001"]
    geo = json.loads(run("show", "openai/o3", "--geo", "eu", "--json").stdout)[0]
    assert geo["doubts"] == ["no price for inference in 'eu', charged as without a place"]


def test_a_name_that_several_providers_have_is_shown_of_each() -> None:
    assert len(json.loads(run("show", "glm-4.7", "--json").stdout)) > 1


def test_what_has_no_price_is_told_and_ends_with_status_1() -> None:
    told = run("show", "gpt-4o-minii", "--provider", "openai", status=1).stdout
    assert "the nearest known is 'gpt-4o-mini'" in " ".join(told.split())
    assert "no provider is known to have a model 'zzz'" in run("show", "zzz", status=1).stderr


def test_own_prices_stand_over_those_that_are_shipped(tmp_path: Path) -> None:
    file = file_of(tmp_path, f'provider = "openai"\nmodels = ["gpt-4o-mini"]\n{RATES}')
    found = json.loads(run("show", "openai/gpt-4o-mini", "--prices", file, "--json").stdout)[0]
    assert found["prices"][0]["usd"]["input_tokens"] == "0.0000001"
    assert (found["price_source"], found["sources"]) == ("override", ["our contract"])


def test_a_unit_that_is_charged_as_its_total_is_shown_with_the_rule_and_where_it_stands(tmp_path: Path) -> None:
    told = " ".join(run("show", "google/gemini-2.5-flash").stdout.split())
    rule = "input_image_tokens charged as input_tokens, https://ai.google.dev/gemini-api/docs/pricing"
    assert rule in told
    assert "input_audio_tokens 1 USD per million" in told
    assert "input_audio_tokens charged as" not in told
    file = file_of(
        tmp_path, 'provider = "openai"\nmodels = ["gpt-5.5"]\nsame = { input_image_tokens = "input_tokens" }'
    )
    found = json.loads(run("show", "openai/gpt-5.5", "--prices", file, "--json").stdout)[0]
    assert found["charged_as"] == [{"unit": "input_image_tokens", "total": "input_tokens", "source": "our contract"}]
    assert found["price_source"] == "list", "no price is another"
    assert json.loads(run("show", "openai/gpt-5.5", "--json").stdout)[0]["charged_as"] == []


# --- quote -----------------------------------------------------------------------------------------------------------


def test_each_event_is_answered_in_its_order_and_a_bad_line_in_its_place(tmp_path: Path) -> None:
    searches = {"provider": "tavily", "model": "search", "operation": "api", "quantities": {"searches": "3"}}
    lines = [
        events(MINI | {"request_id": "a"}),
        "{",
        events(searches | {"unit_prices": {"searches": "0.008"}}),
        events({"provider": "openai"}),
        events(MINI | {"model": "gpt-17"}),
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines) + "\n\n")
    result = run("quote", str(path), status=1)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers[0] == {
        "request_id": "a",
        "cost_usd": "0.00015",
        "cost_status": "priced",
        "cost_reason": "",
        "cost_detail": "",
        "price_version": "genai-prices/0.2.3@base",
        "price_source": "list",
        "price_id": answers[0]["price_id"],
        "rates": answers[0]["rates"],
    }
    assert answers[0]["rates"]["input_tokens"] == "0.00000015"
    assert answers[1]["error"].startswith("event: it is not JSON")
    assert (answers[2]["cost_usd"], answers[2]["rates"]) == ("0.024", {"searches": "0.008"})
    assert answers[3] == {"error": "model: it is required"}
    assert (answers[4]["cost_usd"], answers[4]["cost_reason"]) == (None, "unknown_model")
    assert "2 lines of " in result.stderr


def test_more_events_than_are_priced_at_once_keep_their_order() -> None:
    text = events(*(MINI | {"request_id": str(n), "input_tokens": n} for n in range(2_500)))
    answers = [json.loads(line) for line in run("quote", "-", text=text).stdout.splitlines()]
    assert [one["request_id"] for one in answers] == [str(n) for n in range(2_500)]
    assert answers[-1]["cost_usd"] == "0.00037485"


def test_a_call_that_is_partial_is_mended_by_an_entry(tmp_path: Path) -> None:
    call = events(MINI | {"quantities": {"images": "2"}})
    partial = json.loads(run("quote", "-", text=call).stdout)
    assert (partial["cost_status"], partial["cost_detail"]) == ("partial", "no price for images")
    file = file_of(tmp_path, 'provider = "openai"\nmodels = ["gpt-4o-mini"]\nrates.images = { price = "0.01" }')
    mended = json.loads(run("quote", "-", "--prices", file, text=call).stdout)
    assert (mended["cost_usd"], mended["cost_status"], mended["price_source"]) == ("0.02015", "priced", "override")


def test_a_call_with_images_is_priced_by_a_rule_at_the_same_cost(tmp_path: Path) -> None:
    call = events(MINI | {"model": "gpt-5.5", "quantities": {"input_image_tokens": "800"}})
    partial = json.loads(run("quote", "-", text=call).stdout)
    assert partial["cost_detail"] == "input_image_tokens without a rate of its own, charged as the total"
    file = file_of(
        tmp_path, 'provider = "openai"\nmodels = ["gpt-5.5"]\nsame = { input_image_tokens = "input_tokens" }'
    )
    priced = json.loads(run("quote", "-", "--prices", file, text=call).stdout)
    assert (priced["cost_usd"], priced["cost_status"], priced["cost_detail"]) == (partial["cost_usd"], "priced", "")
    assert (priced["price_version"], priced["price_source"]) == (partial["price_version"], "list")
    assert priced["price_id"] != partial["price_id"], "the text of the price has the rule"


# --- check and diff --------------------------------------------------------------------------------------------------


def test_a_right_file_is_called_right_and_of_wrong_ones_every_fault_is_told(tmp_path: Path) -> None:
    right = file_of(tmp_path, f'provider = "acme"\nmodels = ["a", "b"]\n{RATES}')
    assert run("check", right).stdout == "right: 2 models in 1 entries\n"

    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[price]]\nprovider = "acme"\nmodels = ["a"]\nfactor = "x"\n')
    told = run("check", right, str(wrong), str(tmp_path / "none.toml"), status=2).stderr
    assert "prices that cannot be used; nothing was done" in told
    assert "wrong.toml: entry 1 (acme/a): source: it is required" in told
    assert "wrong.toml: entry 1 (acme/a): factor: 'x' is not decimal text" in told
    assert "none.toml cannot be read: No such file or directory" in told


EUROS = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
currency = "EUR"
source = "contract 21"
rates.requests = { price = "0.46" }
"""
RATE = """
[[exchange_rate]]
currency = "EUR"
per_usd = "0.46"
valid_from = 2026-01-01
source = "a bank"
"""


def test_an_exchange_rate_that_nobody_has_dated_is_told(tmp_path: Path) -> None:
    path = tmp_path / "euros.toml"
    path.write_text(EUROS)
    told = " ".join(run("check", str(path)).stdout.split())
    undated = "prices in EUR go by the rate that is shipped, 0.92 for one USD, which has no date: add an"
    assert told == f"right: 1 model in 1 entries {undated} [[exchange_rate]] of EUR with its date"
    today = datetime.now(UTC).date()
    path.write_text(EUROS + RATE + RATE.replace("2026-01-01", str(today - timedelta(days=31))))
    assert run("check", str(path)).stdout == "right: 1 model in 1 entries, 2 exchange rates\n"
    asked = ("show", "openai/gpt-4o-mini", "--prices", str(path), "--at", "2026-02-01T00:00:00", "--json")
    (found,) = json.loads(run(*asked).stdout)
    assert found["prices"][0]["usd"]["requests"] == "1"


def test_an_exchange_rate_of_more_than_a_month_ago_is_told(tmp_path: Path) -> None:
    day = datetime.now(UTC).date() - timedelta(days=32)
    path = tmp_path / "rates.toml"
    path.write_text(RATE.replace("2026-01-01", str(day)))
    said = f"the newest exchange rate of EUR is of {day}, 32 days ago: add that of this month"
    assert " ".join(run("check", str(path)).stdout.split()) == f"right: 1 exchange rate {said}"
    path.write_text(RATE.replace("valid_from = 2026-01-01\n", ""))
    assert run("check", str(path)).stdout == "right: 1 exchange rate\n", "one without a date is of any day"


def test_credits_are_counted_and_their_currency_needs_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "credits.toml"
    sold = '[[credit_price]]\nprice = "10"\ncurrency = "KRW"\nsource = "s"\n'
    chat = '[[feature_credits]]\nfeature = "chat"\ncredits = "2"\n'
    path.write_text(sold + chat)
    told = run("check", str(path), status=2).stderr
    assert "credit price 1: currency: there is no exchange rate of KRW: add an [[exchange_rate]] of it" in told
    path.write_text(sold.replace("KRW", "EUR") + chat + chat.replace("2", "3"))
    told = " ".join(run("check", str(path)).stdout.split())
    assert told.startswith("right: 1 credit price, credits of 1 feature prices in EUR go by the rate that is shipped")


def test_a_rule_that_cannot_be_kept_is_told_with_its_file_its_entry_and_why(tmp_path: Path) -> None:
    circle = 'same = { input_image_tokens = "input_video_tokens", input_video_tokens = "input_image_tokens" }'
    faulty = file_of(
        tmp_path,
        f'provider = "acme"\nmodels = ["a"]\n{circle}',
        'provider = "acme"\nmodels = ["b"]\nsame = { input_img_tokens = "input_tokens" }',
    )
    told = " ".join(run("check", faulty, status=2).stderr.split())
    assert (
        "own.toml: entry 1 (acme/a): same: input_image_tokens as input_video_tokens as input_image_tokens goes" in told
    )
    assert "own.toml: entry 2 (acme/b): same: 'input_img_tokens' is no unit of the price table" in told


def test_a_rule_is_a_change_of_what_had_no_price(tmp_path: Path) -> None:
    file = file_of(
        tmp_path, 'provider = "openai"\nmodels = ["gpt-5.5"]\nsame = { input_image_tokens = "input_tokens" }'
    )
    told = run("diff", "shipped", file, "--since", "2026-11-01").stdout.splitlines()
    assert told[0] == "openai gpt-5.5 from 2026-11-01 00:00 UTC: input_image_tokens no price -> 0.000005"


def test_what_changes_is_told_by_model_moment_and_unit_and_what_changes_nothing_is_named(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        f'provider = "openai"\nmodels = ["gpt-4o-mini"]\nvalid_from = 2030-01-01\n{RATES}',
        'provider = "openai"\nmodels = ["gpt-4o"]\nrates.input_tokens = { price = "2.5", per = "1M" }',
    )
    told = run("diff", "shipped", file, "--since", "2026-01-01").stdout.splitlines()
    assert told == [
        "openai gpt-4o-mini from 2030-01-01 00:00 UTC: input_tokens 0.00000015 -> 0.0000001",
        "without effect from 2026-01-01 00:00 UTC on: openai/gpt-4o, our contract",
    ]
    as_json = json.loads(run("diff", "shipped", file, "--since", "2026-01-01", "--json").stdout)
    assert as_json["without_effect"] == ["openai/gpt-4o"]
    (change,) = as_json["differences"]
    assert (change["unit"], change["old_usd"], change["new_usd"]) == ("input_tokens", "0.00000015", "0.0000001")
    assert run("diff", "shipped", "shipped").stdout == "no price changes\n"


def test_prices_by_the_hour_are_told_once_and_a_factor_for_every_model_that_it_is_for(tmp_path: Path) -> None:
    hourly = file_of(
        tmp_path,
        f'provider = "openai"\nmodels = ["gpt-4o-mini"]\nwhen.windows = [["01:00", "02:00"]]\n{RATES}',
    )
    told = run("diff", "shipped", hourly, "--since", "2026-01-01").stdout.splitlines()
    assert told == ["openai gpt-4o-mini from 2026-01-01 01:00 UTC: input_tokens 0.00000015 -> 0.0000001"]
    cheaper = file_of(tmp_path, 'provider = "openai"\nmodels = ["gpt-5*"]\nfactor = "0.9"')
    models = {line.split()[1] for line in run("diff", "shipped", cheaper).stdout.splitlines()}
    assert {"gpt-5", "gpt-5-nano"} <= models
    assert not [model for model in models if not model.startswith("gpt-5")]


def test_every_correction_that_is_shipped_still_changes_what_the_table_says() -> None:
    """Once a new version of the table says the same, the entry goes."""
    answer = json.loads(run("diff", "list", "shipped", "--since", "2024-01-01", "--json").stdout)
    assert answer["without_effect"] == []


@pytest.mark.parametrize("command", [["quote", "none.jsonl"], ["diff", "list", "none.toml"], ["check", "none.toml"]])
def test_a_file_that_is_not_there_is_said_without_a_traceback(command: list[str]) -> None:
    assert "cannot be read: No such file or directory" in run(*command, status=2).stderr


# --- coverage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(clickhouse_endpoint: Server) -> dict[str, str]:
    """Six calls of today, and one of forty days ago."""
    address = clickhouse_endpoint.fresh()
    now = datetime.now(UTC)
    calls = [
        MINI,
        MINI | {"model": "gpt-17", "input_tokens": 900, "output_tokens": 100},
        MINI | {"provider": "OpenAI", "model": " gpt-17", "input_tokens": 500, "output_tokens": 500},
        MINI | {"provider": "acme", "model": "a", "input_tokens": 4_000, "output_tokens": 1_000},
        MINI | {"quantities": {"images": "1"}},
        MINI | {"usage_status": "missing", "input_tokens": None, "output_tokens": None},
        MINI | {"model": "long-ago", "occurred_at": (now - timedelta(days=40)).isoformat()},
    ]
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        warehouse = Warehouse(reader, writer)
        values = (wire(f"r-{n}", **{"occurred_at": now.isoformat()} | call) for n, call in enumerate(calls))
        arrived = round(now.timestamp() * 1_000)
        log = [FakeRecord(value, 0, offset, arrived) for offset, value in enumerate(values)]
        run_batches(warehouse, ingest_of(warehouse, "topic-1", clock=lambda: now), log)
    return {f"COSTREAM_{name.upper()}": value for name, value in settings_of(address).items()} | {"COLUMNS": "120"}


def covered(variables: dict[str, str], *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["coverage", *arguments], env=variables)
    assert result.exit_code == 0, result.output
    return result


def test_what_has_no_price_comes_by_its_tokens_and_what_is_partial_by_its_cost(variables: dict[str, str]) -> None:
    answer = json.loads(covered(variables, "--json").stdout)
    assert (answer["calls"], answer["unpriced_calls"], answer["partial_calls"]) == (6, 4, 1)
    told = [
        (one["cost_status"], one["model"], one["calls"], one["tokens"], one["cost_usd"]) for one in answer["unsure"]
    ]
    assert told == [
        ("unpriced", "a", 1, 5_000, None),
        ("unpriced", "gpt-17", 2, 2_000, None),
        ("unpriced", "gpt-4o-mini", 1, 0, None),
        ("partial", "gpt-4o-mini", 1, 0, "0.000150000000"),
    ]
    assert json.loads(covered(variables, "--json", "--days", "60").stdout)["unpriced_calls"] == 5
    assert len(json.loads(covered(variables, "--json", "--limit", "2").stdout)["unsure"]) == 2


def test_a_person_is_told_the_counts_and_the_nearest_known_name(variables: dict[str, str]) -> None:
    told = covered(variables).stdout
    assert "6 calls since " in told
    assert "1 priced, 1 partial, 4 unpriced" in " ".join(told.split())
    assert "unpriced: openai gpt-17, 2 calls, 2,000 tokens" in told
    assert "the nearest known is 'gpt-4.1'" in " ".join(told.split())
    assert told.count("sent as") == told.count("sent as OpenAI  gpt-17") == 1


def test_what_has_a_price_by_now_is_said(variables: dict[str, str], tmp_path: Path) -> None:
    file = file_of(tmp_path, f'provider = "acme"\nmodels = ["a"]\n{RATES}')
    assert "it has a price by now" not in covered(variables).stdout
    told = covered(variables, "--prices", file).stdout
    assert told.count("it has a price by now") == 1
    answer = json.loads(covered(variables, "--prices", file, "--json").stdout)
    assert [one["model"] for one in answer["unsure"] if one["has_a_price_now"]] == ["a"]
