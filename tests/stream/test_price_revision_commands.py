"""costream prices publish, list and show-revision as a person runs them, and what other commands make of a revision."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from costream.pricing import PriceBook
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.views import state
from sinks.clickhouse.writer import Writer
from stream.cli import application, revisions
from stream.cli.prices import app
from tests.support.commands import Commands
from tests.support.ingest import Warehouse, ingest_of
from tests.support.ingest import run as run_batches
from tests.support.records import log_of, wire
from tests.support.warehouse import Embedded

CHEAP = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
valid_from = 2026-03-01
source = "our contract"
rates.input_tokens = { price = "0.10", per = "1M" }
"""
GPU = """
[[price]]
provider = "acme"
models = ["gpu"]
source = "our card"
rates.gpu_hours = { price = "2.5", per = "hour" }
"""
CHANGE = "openai gpt-4o-mini from {}: input_tokens 0.00000015 -> 0.0000001"


@pytest.fixture
def place(clickhouse_embedded: Embedded, tmp_path: Path) -> Iterator[Commands]:
    with closing(Reader(clickhouse_embedded.fresh())) as reader:
        yield Commands(app, reader, tmp_path)


@pytest.fixture
def writer(place: Commands) -> Iterator[Writer]:
    with closing(Writer(place.reader.address)) as writer:
        yield writer


def test_a_published_revision_is_told_with_what_changes_and_listed_with_who_and_why(place: Commands) -> None:
    assert "no own prices are published" in place.told("list")
    cheap, gpu = place.file("cheap.toml", CHEAP), place.file("gpu.toml", GPU)
    told = place.told("publish", cheap, gpu, "--note", "contract of March", "--by", "ada")
    assert "gpt-4o-mini from " in told and "input_tokens 0.00000015 -> 0.0000001" in told
    assert "gpu_hours no price -> 2.5" in told
    assert "published as revision 1: workers price by it within 10 seconds" in told
    place.run("publish", cheap)
    assert [
        (one["revision"], one["published_by"] != "", one["note"], one["files"])
        for one in place.answer("list")["revisions"]
    ] == [(2, True, "", ["cheap.toml"]), (1, True, "contract of March", ["cheap.toml", "gpu.toml"])]
    listed = place.told("list")
    assert "by ada: cheap.toml, gpu.toml contract of March" in listed
    assert "UTC" in listed
    assert place.answer("list")["revisions"][1]["build"] == PriceBook.bundled().version


MONEY = """
[[exchange_rate]]
currency = "KRW"
per_usd = "1400"
valid_from = 2026-11-01
source = "a bank"

[[credit_price]]
price = "10"
currency = "KRW"
source = "our price list"

[[feature_credits]]
feature = "chat"
credits = "2"
valid_from = 2026-11-01
"""


def test_what_money_is_worth_is_told_where_it_changes_and_is_in_the_warehouse(place: Commands) -> None:
    told = place.told("publish", place.file("money.toml", MONEY))
    assert "one USD in KRW from 2026-11-01 UTC: none -> 1400" in told
    assert "one credit from ever: none -> 10 KRW" in told
    assert "credits of chat from 2026-11-01 UTC: none -> 2" in told
    assert "no price changes" not in told
    changed = place.answer("publish", place.file("money.toml", MONEY.replace('"2"', '"3"')), "--dry-run")
    assert changed["differences"] == []
    assert changed["money"] == [
        {"kind": "feature_credits", "name": "chat", "first_day": "2026-11-01", "old": "2", "new": "3"}
    ]
    assert place.reader.frame("SELECT credits FROM feature_credits").item() == 2
    assert "credits of chat from 2026-11-01 UTC: 2 -> none" in place.told("publish", "--none")
    assert place.reader.frame("SELECT credits FROM feature_credits").is_empty()


def test_nothing_is_published_to_a_warehouse_of_another_release(place: Commands) -> None:
    state.forget(place.reader.address)
    told = place.told("publish", place.file("cheap.toml", CHEAP), status=1)
    assert "views of this build" in told and "run `costream migrate up`" in told
    assert place.answer("list")["revisions"] == []


def test_the_same_files_are_no_new_revision_and_a_rehearsal_publishes_nothing(place: Commands) -> None:
    cheap = place.file("cheap.toml", CHEAP)
    rehearsed = place.answer("publish", cheap, "--dry-run")
    assert (rehearsed["revision"], rehearsed["published"], len(rehearsed["differences"])) == (None, False, 1)
    assert "nothing was published: this was a rehearsal" in place.told("publish", cheap, "--dry-run")
    assert place.answer("list")["revisions"] == []
    assert place.answer("publish", cheap)["revision"] == 1
    again = place.answer("publish", cheap)
    assert (again["revision"], again["published"]) == (1, False)
    assert "revision 1, which is in force, has the same files" in place.told("publish", cheap)
    assert len(place.answer("list")["revisions"]) == 1


def test_files_are_those_of_the_setting_where_none_is_given(place: Commands) -> None:
    named = f"{place.file('cheap.toml', CHEAP)},{place.file('gpu.toml', GPU)}"
    place.run("publish", COSTREAM_PRICE_FILES=named)
    (one,) = place.answer("list")["revisions"]
    assert one["files"] == ["cheap.toml", "gpu.toml"]


def test_no_own_prices_any_more_is_said_by_a_word_and_never_by_leaving_files_out(place: Commands) -> None:
    cheap = place.file("cheap.toml", CHEAP)
    place.run("publish", cheap)
    assert "say which prices" in place.told("publish", status=2)
    assert "say which prices" in place.told("publish", cheap, "--none", status=2)
    assert "published as revision 2" in place.told("publish", "--none")
    assert "2 of " in place.told("list") and "no files" in place.told("list")


def test_nothing_is_published_of_files_with_a_fault(place: Commands) -> None:
    cheap, wrong = place.file("cheap.toml", CHEAP), place.file("wrong.toml", "[[price]]\nfactor = 'x'\n")
    told = place.told("publish", cheap, wrong, str(place.folder / "none.toml"), status=2)
    assert "wrong.toml: entry 1 (?): source: it is required" in told
    assert "none.toml cannot be read" in told
    other = place.folder / "elsewhere"
    other.mkdir()
    shutil.copy(cheap, other)
    assert "two of the files have the same name" in place.told("publish", cheap, str(other / "cheap.toml"), status=2)
    assert "at most 1,000; nothing was published" in place.told("publish", cheap, "--note", "n" * 1_001, status=2)
    assert place.answer("list")["revisions"] == []


def test_a_revision_has_a_bound_in_bytes(place: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap, gpu = place.file("cheap.toml", CHEAP), place.file("gpu.toml", GPU)
    size = len((CHEAP + GPU).encode())
    monkeypatch.setattr(revisions, "BYTES_MAX", size - 1)
    assert f"the files have {size} bytes, and a revision at most {size - 1}" in place.told(
        "publish", cheap, gpu, status=2
    )
    monkeypatch.setattr(revisions, "BYTES_MAX", size)
    place.run("publish", cheap, gpu)


@pytest.mark.slow
def test_what_a_revision_shows_can_be_published_again(place: Commands) -> None:
    place.run("publish", place.file("cheap.toml", CHEAP), place.file("gpu.toml", GPU))
    place.run("publish", "--none")
    shown = place.run("show-revision", "1").stdout
    assert shown.startswith("# revision 1 of ")
    before = place.file("before.toml", shown)
    assert place.answer("publish", before)["revision"] == 3
    assert place.answer("diff", "revision:1", "revision:newest") == {"differences": [], "without_effect": []}
    assert place.answer("show-revision", "1")["files"] == {"cheap.toml": CHEAP, "gpu.toml": GPU}
    assert place.answer("show-revision", "newest")["revision"] == 3
    assert "there is no revision 9 of prices" in place.told("show-revision", "9", status=1)
    assert "revision 'last' is neither a number nor newest" in place.told("show-revision", "last", status=2)
    assert PRICES.numbered(place.reader, 9) is None


def test_show_quote_diff_and_coverage_go_by_a_revision_where_it_is_asked_for(place: Commands) -> None:
    place.run("publish", place.file("cheap.toml", CHEAP))
    at = ("--at", "2026-11-01")

    def usd(*options: str) -> str:
        (one,) = place.answer("show", "openai/gpt-4o-mini", *at, *options)
        return str(one["prices"][0]["usd"]["input_tokens"])

    assert usd() == "0.00000015"
    assert usd("--revision", "1") == usd("--revision", "newest") == "0.0000001"
    call = '{"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 0}'
    events = place.file("events.jsonl", call)
    assert json.loads(place.run("quote", events, "--revision", "newest").stdout)["cost_usd"] == "0.0001"
    told = place.run("diff", "shipped", "revision:1", "--since", "2026-01-01").stdout.splitlines()
    assert told == [CHANGE.format("2026-03-01 00:00 UTC")]
    assert "there is no revision 7" in place.told("diff", "shipped", "revision:7", status=1)
    both = place.told("quote", events, "--revision", "1", "--prices", str(place.folder / "cheap.toml"), status=2)
    assert "--prices and --revision are both given" in both


def test_what_has_no_price_is_said_to_have_one_by_the_prices_that_are_published(
    place: Commands, writer: Writer
) -> None:
    warehouse = Warehouse(place.reader, writer)
    call = {"provider": "acme", "model": "gpu", "operation": "api", "quantities": {"gpu_hours": "1"}}
    run_batches(warehouse, ingest_of(warehouse, "topic-1"), log_of([wire("r-1", **call)]))
    days = ("--days", "366")
    assert [one["has_a_price_now"] for one in place.answer("coverage", *days)["unsure"]] == [False]
    place.run("publish", place.file("gpu.toml", GPU))
    assert [one["has_a_price_now"] for one in place.answer("coverage", *days)["unsure"]] == [True]


def test_a_call_is_explained_by_the_file_that_priced_it_after_that_is_gone(place: Commands, writer: Writer) -> None:
    warehouse = Warehouse(place.reader, writer)
    book = PriceBook.bundled().with_files({"cheap.toml": CHEAP})
    run_batches(warehouse, ingest_of(warehouse, "topic-1", book=book), log_of([wire("r-1")]))
    environment = place.variables | {"COLUMNS": "120"}
    told = CliRunner().invoke(application(only="explain"), ["explain", "r-1"], env=environment).stdout
    words = " ".join(told.split())
    assert "in cheap.toml, since 2026-03-01T00:00:00Z: our contract" in words
    assert "0.0000001" in words
    answer = json.loads(
        CliRunner().invoke(application(only="explain"), ["explain", "r-1", "--json"], env=environment).stdout
    )
    (call,) = answer["calls"]
    assert call["price"]["brackets"][0]["usd"]["input_tokens"] == "0.0000001"
    assert call["sum_usd"] is not None
