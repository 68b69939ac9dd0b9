"""`costream reconcile` as a person gives it: a bill that the provider exported, against calls that are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from sinks.answers.bill import FILE_BYTES_MAX, PROVIDERS
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli import application, common
from stream.cli.reconcile import Provider
from tests.support.ingest import Warehouse, ingest_of
from tests.support.ingest import run as run_batches
from tests.support.records import FakeRecord, wire
from tests.support.warehouse import Server, settings_of

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
DAY = (NOW - timedelta(days=2)).replace(hour=9)
MIDNIGHT = round(DAY.replace(hour=0, minute=0).timestamp())

CALLS: list[dict[str, Any]] = [
    {"model": "gpt-4o", "input_tokens": 1_000_000, "output_tokens": 100_000},  # 2.50 + 1.00
    {"model": "gpt-4o-mini", "input_tokens": 1_000_000, "output_tokens": 0, "cache_read_tokens": 400_000},
    {
        "model": "text-embedding-3-small",
        "operation": "embedding",
        "input_tokens": 1_000_000,
        "output_tokens": 0,
    },  # 0.02
    {"model": "own-model", "input_tokens": 500, "output_tokens": 0},
    {"model": "o3", "input_tokens": 1_000_000, "output_tokens": 0},  # 2.00
    {"provider": "anthropic", "model": "claude-haiku-4-5", "input_tokens": 7, "output_tokens": 1},
]


class Place:
    def __init__(self, server: Server) -> None:
        self.address = server.fresh()
        self.reader, self.writer = Reader(self.address), Writer(self.address)
        settings = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(self.address).items()}
        self.environment = settings

    def fill(self) -> None:
        values = (
            wire(f"r-{at}", **({"provider": "openai", "occurred_at": DAY.isoformat()} | call))
            for at, call in enumerate(CALLS)
        )
        log = [FakeRecord(value, 0, at, round(NOW.timestamp() * 1_000)) for at, value in enumerate(values)]
        warehouse = Warehouse(self.reader, self.writer)
        run_batches(warehouse, ingest_of(warehouse, "topic-1", clock=lambda: NOW), log)

    def asked(self, *arguments: str | Path, status: int = 0) -> Result:
        given = ["reconcile", "--provider", "openai", *map(str, arguments)]
        result = CliRunner().invoke(application(only="reconcile"), given, env=self.environment)
        assert result.exit_code == status, result.output
        return result

    def told(self, *arguments: str | Path, status: int = 0) -> str:
        return " ".join(self.asked(*arguments, status=status).output.split())

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns. A console that was made where COLUMNS was set, as in a test runner, keeps those."""
    monkeypatch.setattr(common.console, "_width", 100)


@pytest.fixture(scope="module")
def place(clickhouse_endpoint: Server) -> Iterator[Place]:
    with closing(Place(clickhouse_endpoint)) as place:
        place.fill()
        yield place


def used(model: str, tokens: int, output: int = 0, cached: int = 0) -> dict[str, Any]:
    counts = {"input_tokens": tokens, "output_tokens": output, "input_cached_tokens": cached}
    return {"model": model, "num_model_requests": 1, **counts}


def paid(item: str, value: str, currency: str = "usd") -> dict[str, Any]:
    return {"line_item": item, "amount": {"value": value, "currency": currency}}


def page(*results: dict[str, Any], day: int = 0) -> str:
    start = MIDNIGHT + day * 86_400
    return json.dumps({"data": [{"start_time": start, "end_time": start + 86_400, "results": results}]})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    usage, costs = tmp_path / "usage.json", tmp_path / "costs.json"
    usage.write_text(
        page(
            used("gpt-4o-2024-08-06", 1_000_000, 100_000),
            used("gpt-4o-mini", 1_000_000, cached=500_000),
            used("text-embedding-3-small", 1_000_000),
            used("own-model", 500),
            used("gpt-5-nano", 9),
        )
    )
    costs.write_text(
        page(
            paid("gpt-4o-2024-08-06, input", "2.00"),
            paid("gpt-4o-2024-08-06, output", "0.80"),
            paid("gpt-4o-mini, input", "0.11"),
            paid("text-embedding-3-small, input", "0.02"),
            paid("own-model, input", "0.50"),
            paid("web search tool calls", "0.25"),
        )
    )
    return usage, costs


def test_theirs_ours_the_difference_and_the_likely_reason_of_each_day_and_model(
    place: Place, files: tuple[Path, Path]
) -> None:
    told = place.told(*files)
    day = f"{DAY:%Y-%m-%d}"
    assert f"{day} gpt-4o (gpt-4o-2024-08-06) USD 2.800000 3.500000 +0.700000 +25.00%" in told
    assert "another_rate, 0.8000 of ours tokens 1,100,000 1,100,000 +0 +0.00%" in told
    assert f"{day} text-embedding-3-small USD 0.020000 0.020000 +0.000000 +0.00% equal tokens 1,000,000" in told
    assert f"{day} gpt-4o-mini USD 0.110000 0.120000 +0.010000 +9.09% cache_tokens" in told
    assert f"{day} own-model USD 0.500000 unknown unknown unknown_price tokens 500 500 +0 +0.00%" in told
    assert f"{day} o3 USD 0.000000 2.000000 +2.000000 not_on_the_bill tokens 0 1,000,000 +1,000,000" in told
    assert f"{day} gpt-5-nano USD 0.000000 0.000000 +0.000000 missing_events tokens 9 0 -9 -100.00%" in told
    assert f"{day} web search tool calls USD 0.250000 line_item reason" in told
    assert "another_rate 1 2.800000 3.500000 +0.700000 +25.00%" in told
    assert "unknown_price 1 0.500000 unknown unknown" in told
    assert "all 7 3.680000 5.640000 +2.710000 +92.49%" in told
    assert "0.750000 USD of theirs has no known cost of ours beside it" in told
    assert "publish yours with `costream prices publish`, then `costream reprice`" in told
    assert "claude" not in told
    assert max(map(len, place.asked(*files).output.splitlines())) <= 100


def test_as_json_every_figure_is_exact_and_what_is_unknown_is_null(place: Place, files: tuple[Path, Path]) -> None:
    whole = json.loads(place.asked(*files, "--json").stdout)
    day, after = (f"{DAY + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    assert (whole["provider"], whole["from"], whole["to"]) == ("openai", day, after)
    assert [(one["has"], one["lines"], one["first"]) for one in whole["files"]] == [
        (["usage"], 5, day),
        (["cost"], 6, day),
    ]
    rows = {row["model"] or row["line_item"]: row for row in whole["rows"]}
    assert rows["gpt-4o"] == {
        "day": day,
        "model": "gpt-4o",
        "line_item": None,
        "also": ["gpt-4o-2024-08-06"],
        "theirs": {
            "calls": 1,
            "input_tokens": 1_000_000,
            "output_tokens": 100_000,
            "cache_read_tokens": 0,
            "cache_write_tokens": None,
            "cost_usd": "2.80",
        },
        "ours": {
            "calls": 1,
            "input_tokens": 1_000_000,
            "output_tokens": 100_000,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "cost_usd": "3.500000000000",
        },
        "difference": {
            "calls": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_read_tokens": 0,
            "cache_write_tokens": None,
            "cost_usd": "0.700000000000",
        },
        "difference_percent": "25.00",
        "reason": "another_rate",
        "ratio": "0.8000",
    }
    assert (rows["own-model"]["ours"]["cost_usd"], rows["own-model"]["difference"]["cost_usd"]) == (None, None)
    search = rows["web search tool calls"]
    assert (search["model"], search["ours"], search["difference"], search["reason"]) == (None, None, None, "line_item")
    differences = [Decimal(row["difference"]["cost_usd"] or 0) for row in whole["rows"] if row["difference"]]
    assert Decimal(whole["total"]["difference_usd"]) == sum(differences)
    assert sum(Decimal(one["difference_usd"] or 0) for one in whole["reasons"]) == sum(differences)


def test_an_entered_bill_of_10_00_against_9_50_shows_minus_5_percent(place: Place, tmp_path: Path) -> None:
    """Ours is made 9.50 of theirs by a bill of it: o3 has cost 2.00, and 2.00 of 2.105263... is -5 percent."""
    bill = tmp_path / "bill.csv"
    head = "start_time,amount_value,amount_currency,line_item\n"
    bill.write_text(f'{head}{MIDNIGHT},2.105263157895,usd,"o3, input"\n')
    (row,) = json.loads(place.asked(bill, "--model", "o3", "--json").stdout)["rows"]
    assert row["difference_percent"] == "-5.00"
    assert "USD 2.105263 2.000000 -0.105263 -5.00%" in place.told(bill, "--model", "o3")


def test_only_differences_and_only_one_model(place: Place, files: tuple[Path, Path]) -> None:
    rows = json.loads(place.asked(*files, "--only-differences", "--json").stdout)["rows"]
    assert "text-embedding-3-small" not in {row["model"] for row in rows}
    assert len(rows) == 6
    (row,) = json.loads(place.asked(*files, "--model", "gpt-4o-2024-08-06", "--json").stdout)["rows"]
    assert row["model"] == "gpt-4o"
    told = place.told(*files, "--model", "text-embedding-3-small", "--only-differences")
    assert "no row differs by more than the bill's rounding" in told
    assert "no row is asked for" in place.told(*files, "--model", "gpt-2")


def test_days_are_narrowed_and_a_day_that_is_not_over_is_said(place: Place, tmp_path: Path) -> None:
    usage = tmp_path / "u.json"
    usage.write_text(json.dumps([json.loads(page(used("o3", 1_000_000), day=day)) for day in (0, 2)]))
    told = place.told(usage)
    assert f"{NOW:%Y-%m-%d} is not over, and bills come late" in told
    assert "day_not_over" in told
    narrowed = json.loads(
        place.asked(usage, "--from", f"{DAY:%Y-%m-%d}", "--to", f"{DAY:%Y-%m-%d}T", "--json", status=2).stdout or "{}"
    )
    assert narrowed == {}
    before = f"{DAY + timedelta(days=1):%Y-%m-%d}"
    assert len(json.loads(place.asked(usage, "--to", before, "--json").stdout)["rows"]) >= 1
    assert "no day of that is asked for; nothing was compared" in place.told(usage, "--to", f"{DAY:%Y-%m-%d}", status=2)


def test_no_digit_is_cut_off_where_the_terminal_is_narrow(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = tmp_path / "bill.json"
    bill.write_text(page(paid("o3, input", "123456789012345.123456"), paid("o4-" + "x" * 200 + ", input", "1")))
    monkeypatch.setattr(common.console, "_width", 40)
    told = place.asked(bill).output
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 40


def test_the_providers_of_the_option_are_those_that_are_read() -> None:
    assert get_args(Provider) == PROVIDERS


def test_nothing_is_written(place: Place, files: tuple[Path, Path]) -> None:
    sql = (
        "SELECT table, sum(rows) AS rows FROM system.parts WHERE active AND database = currentDatabase() GROUP BY table"
    )
    before = sorted(place.reader.frame(sql).rows())
    place.asked(*files)
    assert sorted(place.reader.frame(sql).rows()) == before


def test_what_a_file_says_steers_no_terminal(place: Place, tmp_path: Path) -> None:
    bill = tmp_path / "bill.json"
    bill.write_text(page(paid("web \x1b[31msearch\u202e [bold]", "0.25")))
    told = place.asked(bill).output
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "[bold]" in told
    bill.write_text(page({"line_item": "x", "amount": {"value": "\x1b[2J", "currency": "usd"}}))
    assert "\x1b" not in place.asked(bill, status=2).output


def test_a_file_that_cannot_be_compared_is_refused_in_a_sentence(place: Place, tmp_path: Path) -> None:
    assert "No such file or directory; nothing was compared" in place.told(tmp_path / "none.csv", status=2)
    assert "Is a directory; nothing was compared" in place.told(tmp_path, status=2)
    bill, copy = tmp_path / "a.json", tmp_path / "b.json"
    bill.write_text("a\x00\nb\n")
    assert "is no export of openai that is known" in place.told(bill, status=2)
    for file in (bill, copy):
        file.write_text(page(paid("o3, input", "1")))
    assert "are the same: its figures would count twice" in place.told(bill, copy, status=2)
    with copy.open("wb") as large:
        large.truncate(FILE_BYTES_MAX + 1)
    assert "is larger than 64 MiB" in place.told(copy, status=2)
    assert "Missing argument" in place.told(status=2)
