"""The audit works out the costs of a sample again: it holds on calls of every kind, and names each that was changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import Bracket, Linear, Note, Reason, Sku
from costream.pricing.texts import is_read_whole, price_id, price_text, text_id
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.sampled_calls import price_texts, sampled_calls, shared_out
from stream.audit import AuditReport, Check, audit, costs
from stream.audit.costs import BEFORE_TEXTS, OTHER_BUILD, OTHER_TABLE, UNPRICED, Fault, LeftOut, judged, read
from tests.support.databases import emptied
from tests.support.ingest import flush_of
from tests.support.properties import examples
from tests.support.records import wire
from tests.support.repriced import LIST, NOW, OURS, Place, call
from tests.support.warehouse import Server

ABROAD = """
[[price]]
provider = "mistral"
models = ["mistral-large*"]
currency = "EUR"
source = "contract 21"
rates.input_tokens = { price = "1.80", per = "1M" }
rates.output_tokens = { price = "5.50", per = "1M" }
tiers = [{ above = 1000, rates.input_tokens = { price = "3.7", per = "1M" }, rates.output_tokens = { price = "11", per = "1M" } }]

[[exchange_rate]]
currency = "EUR"
per_usd = "0.86"
source = "read on 2026-11-02"

[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
service_tier = "flex"
source = "contract 22"
factor = "0.333"
"""  # noqa: E501 - one line of TOML
BOOK = LIST.with_files({"abroad.toml": ABROAD})

MINI = {"provider": "openai", "model": "gpt-4o-mini"}
LARGE = {"provider": "mistral", "model": "mistral-large-latest", "output_tokens": 3}
SONAR = {"provider": "perplexity", "model": "sonar"}
NOTHING = {"input_tokens": 0, "output_tokens": 0}
SEARCH = {"provider": "tavily", "model": "search", "operation": "api", "input_tokens": None, "output_tokens": None}
SOUND = {"operation": "transcription", "input_tokens": None, "output_tokens": None}
CALLS: dict[str, dict[str, Any]] = {
    "tokens": MINI,
    "below a tier": LARGE | {"input_tokens": 1_000},
    "above a tier": LARGE | {"input_tokens": 1_001},
    "cached": {
        "provider": "anthropic",
        "model": "claude-haiku-4-5",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
    },
    "with a fee": SONAR,
    "failed": SONAR | NOTHING | {"status": "error"},
    "failed after a while": SONAR | {"output_tokens": 0, "status": "error"},
    "used nothing": MINI | NOTHING,
    "thirds": SOUND | {"provider": "groq", "model": "whisper-large-v3", "quantities": {"audio_seconds": "1"}},
    "by a rule": {
        "provider": "google",
        "model": "gemini-2.5-flash",
        "cache_read_tokens": 400,
        "output_tokens": 0,
        "quantities": {"input_image_tokens": "700", "cache_image_read_tokens": "300"},
    },
    "by a factor": MINI | {"service_tier": "flex", "input_tokens": 1_001, "output_tokens": 7},
    "by another name": {"provider": "google-gla", "model": "models/gemini-2.5-flash", "output_tokens": 1},
    "partial": MINI | {"quantities": {"images": "2"}},
    "by the caller": SEARCH | {"quantities": {"searches": "3"}, "unit_prices": {"searches": "0.008"}},
    "by the caller in part": SEARCH | {"quantities": {"searches": "3", "x": "1"}, "unit_prices": {"searches": "0.1"}},
    "completed": MINI | {"quantities": {"images": "2"}, "unit_prices": {"images": "0.000000000003"}},
    "unit prices of no use": MINI | {"unit_prices": {"images": "0.01"}},
    "another name of a unit": SEARCH | {"quantities": {"num_search_queries": "0.000000000001"}, "unit_prices": {}},
    "by the names of units": SEARCH
    | {"quantities": {"web_search_requests": "1.5"}, "unit_prices": {"web_searches": "0.01"}},
    "unknown": {"provider": "openai", "model": "gpt-17"},
    "contradictory": {"provider": "openai", "model": "gpt-4o", "quantities": {"cache_audio_read_tokens": "9999"}},
}


def of_kind(name: str) -> bytes:
    usual = {
        "occurred_at": (NOW - timedelta(hours=2, minutes=1)).isoformat(),
        "input_tokens": 1_000,
        "output_tokens": 7,
    }
    return wire(name, **usual | CALLS[name])


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress) -> Iterator[Place]:
    """A warehouse with calls of every kind, and some that were priced anew since."""
    with closing(Place(emptied(one_database))) as place:
        place.ingest = place.started(BOOK)
        place.store([of_kind(name) for name in CALLS])
        place.store([call(number) for number in range(40)])
        assert place.reprice(BOOK.with_files({"abroad.toml": ABROAD, "ours.toml": CHEAP})).calls
        yield place


CHEAP = """
[[price]]
provider = "openai"
models = ["gpt-4o"]
source = "our contract"
rates.input_tokens = { price = "2", per = "1M" }
"""


def audited(place: Place, **options: Any) -> AuditReport:
    return audit(place.reader, clock=lambda: NOW, pause=lambda: None, **options)


def changed(place: Place, request_id: str, sql: str) -> None:
    """Write the row of a call once more, with another content."""
    place.command(
        f"INSERT INTO usage_events_rows SELECT * REPLACE ({sql}) FROM usage_events_rows FINAL "
        f"WHERE request_id = '{request_id}'"
    )


# --- on the engine ---------------------------------------------------------------------------------------------------


def test_it_holds_on_calls_of_every_kind_of_price(place: Place) -> None:
    report = audited(place)
    assert {check.name: check.differing for check in report.checks if not check.holds} == {}
    check = report.check("costs")
    unpriced = 40 // 5 * 2 + 3  # calls of models that nobody knows, and three of CALLS
    assert (check.drawn, check.left_out) == (len(CALLS) + 40, {UNPRICED: unpriced})
    assert check.compared == check.drawn - unpriced
    statuses = dict(place.frame("SELECT cost_status, count() FROM usage_events GROUP BY 1").iter_rows())
    assert set(statuses) == {"priced", "partial", "unpriced"}
    assert place.frame("SELECT countIf(price_rev > 0) FROM usage_events").item() > 0


def test_what_was_changed_in_the_warehouse_is_named_with_the_next_step(place: Place) -> None:
    changed(place, "above a tier", "cost_usd + toDecimal64('0.000000000001', 12) AS cost_usd")
    report = audited(place, salt="autumn leaves")
    failed = {check.name: check for check in report.checks if not check.holds}
    assert failed["costs"].differing == 1
    (finding,) = failed["costs"].findings
    hour = NOW.replace(minute=0) - timedelta(hours=2)
    assert (finding.where["request_id"], finding.where["hour"]) == ("above a tier", hour)
    told, found = finding.numbers["cost_usd_stored"], finding.numbers["cost_usd_recomputed"]
    assert isinstance(told, Decimal) and isinstance(found, Decimal)
    assert told - found == Decimal("0.000000000001")
    first, second = (step for step in report.next_steps if step.check == "costs")
    assert first.command == "costream explain 'above a tier'"
    assert f"`costream audit --since {report.since} --salt 'autumn leaves'`" in first.text
    start, end = (f"{moment:%Y-%m-%dT%H:00:00}" for moment in (hour, hour + timedelta(hours=1)))
    assert second.command == f"costream reprice --from {start} --to {end} --dry-run"
    assert [step.check for step in report.next_steps][:2] == ["costs", "costs"], "before a repair"


@pytest.mark.slow
def test_a_call_that_was_changed_is_put_right_by_pricing_its_hour_anew(place: Place) -> None:
    changed(place, "tokens", "cost_usd * 2 AS cost_usd")
    assert not audited(place).check("costs").holds
    assert place.reprice(BOOK).calls
    assert audited(place).check("costs").holds


def test_a_text_that_is_not_there_is_named_and_so_is_one_that_was_changed(place: Place) -> None:
    ids = dict(place.frame("SELECT request_id, price_id FROM usage_events").iter_rows())
    place.command(f"ALTER TABLE prices_rows DELETE WHERE price_id = '{ids['cached']}' SETTINGS mutations_sync = 2")
    place.command(
        "ALTER TABLE prices_rows UPDATE price = replaceOne(price, '\"doubts\"', '\"doubt\"') "
        f"WHERE price_id = '{ids['with a fee']}' SETTINGS mutations_sync = 2"
    )
    check = audited(place).check("costs")
    assert {finding.where["request_id"]: finding.rule for finding in check.findings} == {
        "cached": costs.NO_TEXT,
        **dict.fromkeys(("with a fee", "failed", "failed after a while"), costs.OTHER_TEXT),
    }


@pytest.mark.slow
def test_what_an_audit_has_taken_out_is_not_looked_at(place: Place) -> None:
    changed(place, "tokens", "cost_usd * 2 AS cost_usd")
    row = {"event": "{}", "reason": "counted twice"}
    names = "occurred_at, request_id, source, source_partition, source_offset, received_at AS removed_at"
    taken = place.frame(f"SELECT {names} FROM usage_events WHERE request_id = 'tokens'")
    place.warehouse.writer.insert("removed_events", pl.concat([taken, pl.DataFrame([row])], how="horizontal"))
    assert audited(place).check("costs").holds


def test_a_flush_that_is_torn_behind_its_rows_is_no_difference(place: Place) -> None:
    values = [call(number) for number in range(40, 49)]
    place.warehouse.store(flush_of(place.ingest, place.records(values)), ("usage_events",))
    check = audited(place).check("costs")
    assert (check.holds, check.drawn) == (True, len(CALLS) + 49)


def test_every_price_is_met_within_the_bound_and_another_salt_draws_other_calls(place: Place) -> None:
    start = NOW.date() - timedelta(days=7)
    kinds = place.frame("SELECT DISTINCT price_id, price_source, cost_status FROM usage_events").rows()

    def drawn(salt: str, calls_max: int) -> pl.DataFrame:
        return sampled_calls(place.reader, start=start, salt=salt, calls_max=calls_max)

    few = drawn("a", len(kinds))
    assert sorted(few.select("price_id", "price_source", "cost_status").rows()) == sorted(kinds)
    assert few.equals(drawn("a", len(kinds)))
    assert not few.equals(drawn("b", len(kinds)))
    assert drawn("a", 3).height == 3
    assert drawn("a", 1_000).height == len(CALLS) + 40
    assert drawn("a", 30).height <= 30


def test_a_call_that_was_found_is_looked_at_again_whatever_is_drawn(place: Place) -> None:
    changed(place, "cached", "cost_usd * 2 AS cost_usd")
    found = audited(place).check("costs")
    again = costs.looked_at_again(found)
    assert [key[3] for key in again] == ["cached"]
    nothing = sampled_calls(place.reader, start=NOW.date() + timedelta(days=9), salt="", calls_max=9, again=again)
    assert nothing["request_id"].to_list() == ["cached"]
    later = audited(place, since=NOW + timedelta(days=9), again=again).check("costs")
    assert (later.differing, later.drawn) == (1, 1)


def test_only_calls_from_the_start_on_are_drawn(place: Place) -> None:
    assert audited(place, since=NOW + timedelta(days=9)).check("costs").drawn == 0


# --- on rows ---------------------------------------------------------------------------------------------------------


@dataclass
class Stored:
    """The rows of CALLS as they came back from the engine, and the texts of their prices."""

    rows: dict[str, dict[str, Any]]
    texts: dict[str, str]

    def check(self, name: str, **change: Any) -> Check:
        row = self.rows[name] | change
        named = row["price_id"]
        return judged([row], {named: read(named, self.texts.get(named))})


@pytest.fixture(scope="module")
def stored(one_database: ClickHouseAddress) -> Iterator[Stored]:
    with closing(Place(emptied(one_database))) as place:
        place.ingest = place.started(BOOK)
        place.store([of_kind(name) for name in CALLS])
        rows = sampled_calls(place.reader, start=NOW.date() - timedelta(days=7), salt="", calls_max=100).to_dicts()
        texts = price_texts(place.reader, {row["price_id"] for row in rows})
    yield Stored({row["request_id"]: row for row in rows}, dict(texts))


PRICED = sorted(CALLS.keys() - {"unknown", "contradictory", "another name of a unit"})


@pytest.mark.parametrize("name", PRICED)
def test_a_cost_that_is_off_by_its_last_digit_is_found(stored: Stored, name: str) -> None:
    cost = stored.rows[name]["cost_pico"]
    assert stored.check(name).holds
    for other in (cost + 1, cost - 1, None):
        (finding,) = stored.check(name, cost_pico=other).findings
        assert finding.rule == costs.OTHER_COST
        assert finding.numbers["cost_usd_recomputed"] == Decimal(cost).scaleb(-12)


@pytest.mark.parametrize("name", PRICED)
def test_another_status_is_found(stored: Stored, name: str) -> None:
    own = stored.rows[name]["cost_status"]
    for status in {"priced", "partial", "unpriced"} - {own}:
        (finding,) = stored.check(name, cost_status=status).findings
        assert finding.rule == costs.OTHER_STATUS
        assert (finding.numbers["cost_status_stored"], finding.numbers["cost_status_recomputed"]) == (status, own)


def test_what_the_calls_are_is_what_they_were_meant_to_be(stored: Stored) -> None:
    statuses = {name: row["cost_status"] for name, row in stored.rows.items()}
    assert {name for name, status in statuses.items() if status == "unpriced"} == set(CALLS) - set(PRICED)
    assert {name for name, status in statuses.items() if status == "partial"} >= {"partial", "by the caller in part"}
    assert stored.rows["failed"]["cost_pico"] == 0
    assert stored.rows["by the caller"]["price_id"] == ""
    assert stored.rows["completed"]["price_source"] == "caller" and stored.rows["completed"]["price_id"]


@pytest.mark.parametrize("change", [{"cost_pico": 7}, {"cost_status": "priced"}, {"cost_status": "partial"}])
def test_a_call_without_a_price_has_no_cost_and_is_unpriced(stored: Stored, change: dict[str, Any]) -> None:
    assert stored.check("unknown").left_out == {UNPRICED: 1}
    (finding,) = stored.check("unknown", **change).findings
    assert finding.rule == costs.UNKNOWN_COST


def test_a_call_from_before_there_were_texts_is_counted_and_not_compared(stored: Stored) -> None:
    check = stored.check("tokens", price_id="", cost_pico=7)
    assert (check.holds, check.drawn, check.compared, check.left_out) == (True, 1, 0, {BEFORE_TEXTS: 1})


def test_what_a_call_reports_is_part_of_its_cost(stored: Stored) -> None:
    assert stored.check("tokens", input_tokens=1).findings[0].rule == costs.OTHER_COST
    assert stored.check("tokens", quantities='{"input_tokens": "1"}').findings[0].numbers["cost_usd_recomputed"] is None
    for broken in ("{", '{"images": "many"}', '["images"]', '{"images": 2}'):
        assert stored.check("tokens", quantities=broken).findings[0].rule == costs.UNREADABLE
    for broken in ("", "{"):
        assert stored.check("by the caller", unit_prices=broken).findings[0].rule == costs.UNREADABLE


def test_a_call_that_names_a_price_without_a_text_is_found(stored: Stored) -> None:
    (finding,) = stored.check("tokens", price_id="0123456789abcdef").findings
    assert (finding.rule, finding.where["price_id"]) == (costs.NO_TEXT, "0123456789abcdef")


# --- texts -----------------------------------------------------------------------------------------------------------

PRICE = LIST.at(Sku("openai", "gpt-4o-mini"), NOW)
assert isinstance(PRICE, Linear)
TEXT = price_text(PRICE)


def of_another_build(**change: Any) -> tuple[str, str]:
    """A text with other members, and the id that it has."""
    text = json.dumps({**json.loads(TEXT), **change})
    return text_id(text), text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", TEXT.replace("0.00000015", "0.00000016"), TEXT[:-1]])
def test_a_text_that_is_not_the_one_that_its_id_names_is_a_fault(text: str) -> None:
    assert text != TEXT
    assert read(price_id(PRICE), text) == Fault(costs.OTHER_TEXT)


def test_where_a_price_stands_in_files_is_no_part_of_its_id() -> None:
    assert text_id(price_text(PRICE, [{"id": "own/1", "file": "a.toml"}])) == price_id(PRICE) == text_id(TEXT)
    assert text_id("[]") == text_id("{") == ""


@pytest.mark.parametrize(
    "change",
    [
        {"seconds_min": 3},
        {"doubts": [{"reason": "a later one", "detail": ""}]},
        {"brackets": 7},
        {"charged_as": {"a": {"sum": "b"}}},
        {"brackets": [{"above_input_tokens": None, "usd": {"input_tokens": "1/0"}}]},
    ],
)
def test_a_price_of_a_build_that_writes_other_texts_is_left_out(change: dict[str, Any]) -> None:
    assert read(*of_another_build(**change)) == LeftOut(OTHER_BUILD)
    row = {"price_id": (made := of_another_build(**change))[0]}
    check = judged([row], {made[0]: read(*made)})
    assert (check.holds, check.compared, check.left_out) == (True, 0, {OTHER_BUILD: 1})


def test_a_text_of_before_there_were_rules_is_left_out() -> None:
    said = json.loads(TEXT)
    del said["charged_as"]
    text = json.dumps(said | {"same": [["input", "modality", "text"]]})
    assert read(text_id(text), text) == LeftOut(OTHER_BUILD)


@pytest.mark.parametrize("version", ["genai-prices/0.0.1@base", "genai-prices/99.0@base+shipped/0+own/1"])
def test_of_a_price_of_another_table_the_cost_alone_is_compared(stored: Stored, version: str) -> None:
    named, text = of_another_build(price_version=version)
    row = stored.rows["partial"] | {"price_id": named}
    for status in ("priced", "partial"):
        check = judged([row | {"cost_status": status}], {named: read(named, text)})
        assert (check.holds, check.compared, check.left_out) == (True, 1, {OTHER_TABLE: 1})
    check = judged([row | {"cost_pico": row["cost_pico"] + 1}], {named: read(named, text)})
    assert (check.differing, check.findings[0].rule) == (1, costs.OTHER_COST)


@pytest.mark.parametrize("sku", [Sku("openai", "gpt-4o-mini"), Sku("acme", "a"), Sku("perplexity", "sonar")])
def test_prices_of_this_build_are_judged_in_full(sku: Sku) -> None:
    price = OURS.at(sku, NOW)
    assert isinstance(price, Linear)
    found = read(price_id(price), price_text(price, OURS.entries(price.version)))
    assert isinstance(found, costs.NamedPrice) and found.judged


@given(
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "cache_read_tokens", "images", "requests"]),
                    st.fractions(min_value=0, max_value=10**9), min_size=1),
    st.sampled_from([0, 10]),
    st.lists(st.sampled_from(list(Reason)), max_size=2),
)  # fmt: skip
@examples(50)
def test_every_text_that_is_written_is_read_whole(usd: dict[str, Any], seconds: int, reasons: list[Reason]) -> None:
    caveats = tuple(Note(reason, "why") for reason in reasons)
    price = Linear("t@base", (Bracket.of(-1, usd), Bracket.of(9, usd)), audio_seconds_min=seconds, caveats=caveats)
    text = price_text(replace(price, unsure=frozenset({"images"})), [{"file": "a"}])
    assert is_read_whole(text)


# --- the sample ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "places", "of_each"),
    [
        ([1], 10, 1),
        ([100], 10, 10),
        ([5, 5], 10, 5),
        ([1, 100], 10, 9),
        ([1, 2, 100, 100], 13, 5),
        ([9, 9, 9], 2, 1),
        ([3, 1, 2], 6, 3),
        ([0, 100], 10, 10),
    ],
)
def test_places_are_shared_out_evenly_and_what_a_rare_kind_leaves_goes_to_the_others(
    counts: list[int], places: int, of_each: int
) -> None:
    assert shared_out(counts, places) == of_each


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=40), st.integers(1, 3_000))
@examples(100)
def test_as_many_are_drawn_as_there_is_room_for(counts: list[int], places: int) -> None:
    of_each = shared_out(counts, places)

    def taken(most: int) -> int:
        return sum(min(count, most) for count in counts)

    assert taken(of_each) <= max(places, len(counts))
    assert of_each == max(counts) or taken(of_each + 1) > places


def test_findings_beyond_the_bound_are_counted(stored: Stored) -> None:
    row = stored.rows["tokens"] | {"cost_pico": 1}
    texts = {row["price_id"]: read(row["price_id"], stored.texts[row["price_id"]])}
    check = judged([row] * 150, texts)
    assert (check.differing, len(check.findings)) == (150, 100)
    again = costs.looked_at_again(check)
    assert len(again) == costs.AGAIN_MAX
    assert again[0] == (row["hour"], row["model"], row["feature"], row["request_id"])
    assert isinstance(row["hour"], datetime) and row["hour"].tzinfo is not None and row["hour"].astimezone(UTC)
