"""Each export that is read, as what its lines say; and what is refused, in a sentence."""

from __future__ import annotations

import json
import re
from dataclasses import astuple
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.answers.bill import FILE_BYTES_MAX, PROVIDERS, BillRefused, Export, export_of
from sinks.answers.bill.anthropic import named
from sinks.answers.bill.google import model_of
from sinks.answers.bill.records import COUNT_MAX
from tests.support.properties import examples
from tests.test_layers import IMPURE, ROOT, modules_in

BILLS: Final = Path(__file__).parent / "bills"
FIRST, SECOND = date(2026, 11, 1), date(2026, 11, 2)


def read(name: str) -> Export:
    return export_of(name, (BILLS / name).read_bytes(), provider=re.split(r"[_.]", name, maxsplit=1)[0])


def used(export: Export) -> list[tuple[Any, ...]]:
    """Day, name, calls, input, output, cache read, cache written."""
    return [(line.day, line.name, *astuple(line.counts)[:5]) for line in export.lines]


def paid(export: Export) -> list[tuple[date, str, bool, str]]:
    return [(line.day, line.name, line.is_model, str(line.amount)) for line in export.lines]


def refusal(data: bytes | str, provider: str = "openai") -> str:
    with pytest.raises(BillRefused) as refused:
        export_of("a.file", data if isinstance(data, bytes) else data.encode(), provider=provider)
    return str(refused.value)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_openai_s_usage_has_the_cache_in_its_input_as_ours_has() -> None:
    assert used(read("openai_usage.json")) == [
        (FIRST, "gpt-4o-2024-08-06", 120, 1_000_000, 200_000, 400_000, None),
        (FIRST, "gpt-4o-mini-2024-07-18", 300, 2_000_000, 300_000, 0, 0),
        (FIRST, "text-embedding-3-small", 40, 500_000, 0, None, None),
        (SECOND, "gpt-4o-2024-08-06", 60, 500_000, 100_000, 0, None),
    ]
    assert used(read("openai_usage.csv")) == [
        (FIRST, "gpt-4o-2024-08-06", 120, 1_000_000, 200_000, 400_000, None),
        (FIRST, "gpt-4o-2024-08-06", 30, 10, 20, 0, None),
    ]


def test_a_day_without_any_is_a_day_of_the_export() -> None:
    export = read("openai_usage.json")
    assert (export.first, export.last, sorted(export.kinds)) == (FIRST, date(2026, 11, 3), ["usage"])
    assert read("openai_usage.csv").last == SECOND


def test_openai_s_costs_name_the_model_in_the_line_item() -> None:
    export = read("openai_costs.json")
    assert paid(export)[4:7] == [
        (FIRST, "gpt-4o-mini-2024-07-18", True, "0.18"),
        (FIRST, "web search tool calls", False, "0.25"),
        (FIRST, "text-embedding-3-small", True, "0.01"),
    ]
    assert paid(export)[-1] == (SECOND, "gpt-4o-2024-08-06", True, "-0.5")
    assert export.notes == ("openai_costs.json says has_more at its end: it is whole only with the pages after it",)
    assert (export.half_unit, read("openai_costs.csv").half_unit) == (Decimal("0.005"), Decimal("5e-13"))


@pytest.mark.parametrize(
    ("item", "name", "is_model"),
    [
        ("gpt-5.6, cached input", "gpt-5.6", True),
        ("priority | gpt-5.6, output, long context", "gpt-5.6", True),
        ("gpt-audio-mini-2025-12-15 audio, input", "gpt-audio-mini-2025-12-15", True),
        ("gpt-5-nano, input_tokens", "gpt-5-nano", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::b1, output", "ft:gpt-4o-mini-2024-07-18:acme::b1", True),
        ("assistants api | file search", "assistants api | file search", False),
        ("web search tool calls", "web search tool calls", False),
        ("", "(all models)", True),
    ],
)
def test_a_line_item_is_a_model_where_it_says_what_of_it_was_used(item: str, name: str, is_model: bool) -> None:
    text = json.dumps({"start_time": 1_793_491_200, "line_item": item, "amount": {"value": 0.06, "currency": "usd"}})
    (line,) = export_of("c.json", text.encode(), provider="openai").lines
    assert (line.name, line.is_model, line.amount) == (name, is_model, Decimal("0.06"))


def test_anthropic_s_input_gets_what_went_through_the_cache() -> None:
    expected = (FIRST, "claude-haiku-4-5-20251001", None, 2_000, 400, 700, 300)
    assert used(read("anthropic_usage.json"))[0] == expected
    assert used(read("anthropic_usage.csv"))[0] == expected
    assert read("anthropic_usage.json").last == SECOND


def test_anthropic_s_api_tells_amounts_in_cents_and_its_console_in_usd() -> None:
    assert paid(read("anthropic_costs.json")) == [
        (FIRST, "claude-haiku-4-5-20251001", True, "1.2345"),
        (FIRST, "claude-haiku-4-5-20251001", True, "0.0055"),
        (FIRST, "Web Search Usage", False, "0.0300"),
    ]
    assert paid(read("anthropic_costs.csv"))[1:] == [
        (FIRST, "claude-haiku-4-5", True, "0.02"),
        (FIRST, "claude-3-5-sonnet-20241022", True, "0.30"),
        (FIRST, "web_search", False, "0.05"),
    ]
    assert read("anthropic_costs.csv").half_unit == Decimal("0.005")


@pytest.mark.parametrize(
    ("cost_type", "is_model"), [("web_search", False), ("code_execution", False), ("session_usage", False), ("", True)]
)
def test_what_the_console_charges_beside_tokens_is_an_item_whatever_model_it_names(
    cost_type: str, *, is_model: bool
) -> None:
    record = {"usage_date_utc": "2026-11-01", "model": "claude-haiku-4-5", "cost_type": cost_type, "cost_usd": "1"}
    (line,) = export_of("a", json.dumps(record).encode(), provider="anthropic").lines
    assert line.is_model is is_model


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"cost_type": "web_search", "token_type": "t"}, "web_search"),
        ({"token_type": "uncached_input_tokens", "usage_type": "u"}, "uncached_input_tokens"),
        ({"usage_type": "session"}, "session"),
        ({}, "without a model"),
    ],
)
def test_what_the_console_charges_without_a_model_has_the_name_that_says_most(
    fields: dict[str, str], name: str
) -> None:
    record = {"usage_date_utc": "2026-11-01", "model": "", "cost_usd": "1"} | fields
    (line,) = export_of("a", json.dumps(record).encode(), provider="anthropic").lines
    assert (line.name, line.is_model, line.amount, line.currency) == (name, False, Decimal(1), "USD")


@pytest.mark.parametrize("amount", ["amount", "cost_usd"])
def test_a_line_without_an_amount_is_no_line_of_costs(amount: str) -> None:
    record = {"starting_at": "2026-11-01", "usage_date_utc": "2026-11-01", "model": "claude-haiku-4-5"}
    records = [record | {amount: "1", "currency": "USD"}, record | {amount: None, "currency": "USD"}]
    assert len(export_of("a", json.dumps(records).encode(), provider="anthropic").lines) == 1


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        ("uncached_input_tokens", (9, 0, 0, 0)),
        ("output_tokens", (0, 9, 0, 0)),
        ("cache_read_input_tokens", (9, 0, 9, 0)),
        ("cache_creation_ephemeral_5m_input_tokens", (9, 0, 0, 9)),
        ("cache_creation_ephemeral_1h_input_tokens", (9, 0, 0, 9)),
    ],
)
def test_a_record_of_one_kind_of_tokens_used_none_of_the_others(column: str, counts: tuple[int, ...]) -> None:
    record = {"starting_at": "2026-11-01", "model": "claude-haiku-4-5", "uncached_input_tokens": None, column: 9}
    (line,) = export_of("a", json.dumps(record).encode(), provider="anthropic").lines
    assert astuple(line.counts)[:5] == (None, *counts)


def test_a_name_as_the_console_shows_it_becomes_one_as_callers_write_it() -> None:
    assert named("Claude Opus 4.1") == "claude-opus-4-1"
    assert named("claude-opus-4-1-20250805") == "claude-opus-4-1-20250805"


def test_google_s_lines_are_kinds_of_tokens_and_what_has_no_model_keeps_the_name_of_its_sku() -> None:
    export = read("google.jsonl")
    assert used(export) == [
        (FIRST, "gemini-2.5-flash", None, 900_000, 0, 0, None),
        (FIRST, "gemini-2.5-flash", None, 100_000, 0, 100_000, None),
        (FIRST, "gemini-2.5-flash", None, 0, 200_000, 0, None),
        (FIRST, "gemini-2.5-pro", None, 0, 1_000, 0, None),
        (FIRST, "gemini-2.5-flash", None, None, None, None, None),
        (FIRST, "Grounding with Google Search", None, None, None, None, None),
    ]
    assert [str(line.amount) for line in export.lines] == ["0.27", "0.003", "0.0", "0.01", "0.002", "0.105"]
    assert [line.credit for line in export.lines][2] == Decimal("-0.5")
    assert export.kinds == {"usage", "cost"}
    euros = read("google.csv").lines
    assert [(line.name, line.currency, line.credit) for line in euros] == [
        ("gemini-3-flash", "EUR", 0),
        ("gemini-3-flash", "EUR", Decimal("-0.003")),
    ]


@pytest.mark.parametrize(
    ("sku", "model"),
    [
        ("Generate content output token count Gemini 2.5 Pro short output text", "gemini-2.5-pro"),
        ("Generate_content_cached_input_token_count_gemini_3_pro_short_image", "gemini-3-pro"),
        ("Generate content output token count gemini 3.1 flash lite preview text", "gemini-3.1-flash-lite-preview"),
        ("GenerateContent text output token count for Gemini 2.0 Flash", "gemini-2.0-flash"),
        ("Gemini 3.0 Pro Image Input Caching", "gemini-3-pro"),
        ("Gemini 2.5 Flash Lite GA Text Input - Batch Predictions", "gemini-2.5-flash-lite"),
        (
            "Generate_content image output token count for Gemini 2.5 Flash Native Image Generation",
            "gemini-2.5-flash-image",
        ),
        ("Generate_content image output token count for Gemini 3 Pro Image", "gemini-3-pro-image"),
        ("Generate content input token count gemini 3.5 flash lite image", "gemini-3.5-flash-lite"),
        ("Gemini 2.5 Flash Native Audio Input - Predictions", None),
        ("Gemini 2.5 Flash TTS Audio Output", None),
        ("EmbedContent input token count for gemini-embedding-2 text", "gemini-embedding-2"),
        ("Grounding with Google Search", None),
    ],
)
def test_a_sku_names_its_model(sku: str, model: str | None) -> None:
    assert model_of(sku) == model


@pytest.mark.parametrize(
    ("sku", "unit", "tokens"), [("", "count", 9), (" Caching Storage", "count", None), ("", "h", None)]
)
def test_only_what_is_counted_in_tokens_is_tokens(sku: str, unit: str, tokens: int | None) -> None:
    row = {"usage_start_time": "2026-11-01", "service_description": "Vertex AI", "cost": 1, "currency": "USD"}
    row |= {"sku_description": f"Gemini 2.5 Pro Text Input{sku}", "usage_amount": 9, "usage_unit": unit}
    (line,) = export_of("g.json", json.dumps(row).encode(), provider="google").lines
    assert (line.name, line.counts.input_tokens) == ("gemini-2.5-pro", tokens)


def test_credits_may_be_a_list_their_json_text_or_their_sum() -> None:
    row = {
        "usage_start_time": "2026-11-01T23:59:59Z",
        "service": {"description": "Vertex AI"},
        "sku": {"description": "Gemini 2.5 Pro Text Input - Predictions"},
        "cost": 2,
        "currency": "USD",
    }
    for taken_off in ([{"amount": -0.5}, {"amount": -1}], '[{"amount": -1.5}]', "-1.5"):
        (line,) = export_of("g.json", json.dumps(row | {"credits": taken_off}).encode(), provider="google").lines
        assert (line.amount, line.credit) == (Decimal("0.5"), Decimal("-1.5"))
    assert "is no list of credits" in refusal(json.dumps(row | {"credits": [3]}), "google")
    assert "cannot be read as JSON" in refusal(json.dumps(row | {"credits": "[{"}), "google")
    assert "credits 'some' is not a number" in refusal(json.dumps(row | {"credits": "some"}), "google")


def test_a_file_of_pages_of_one_page_a_line_or_with_another_delimiter_and_a_mark_in_front_says_the_same() -> None:
    page = json.loads((BILLS / "openai_usage.json").read_text())
    expected = used(read("openai_usage.json"))
    for text in (json.dumps([page]), json.dumps(page["data"]), "\n".join(map(json.dumps, page["data"]))):
        assert used(export_of("u", text.encode(), provider="openai")) == expected
    table = (BILLS / "openai_usage.csv").read_text()
    for text in ("\ufeff" + table, table.replace(",", ";"), table.replace(",", "\t"), table.replace("\n", "\r\n")):
        assert used(export_of("u", text.encode(), provider="openai")) == used(read("openai_usage.csv"))


def test_a_column_is_known_however_its_name_is_written() -> None:
    record = {
        "Start Time": 1_793_491_200,
        "AMOUNT": {"Value": "0.06"},
        "amount.currency": "usd",
        "line_item": "o3, input",
    }
    assert paid(export_of("c", json.dumps(record).encode(), provider="openai")) == [(FIRST, "o3", True, "0.06")]


# --- what is refused -------------------------------------------------------------------------------------------------

COSTS: Final = "start_time,amount_value,amount_currency,line_item\n"


def cost(value: str, start: str = "1793491200") -> str:
    return f"{COSTS}{start},{value},usd,x\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a.file is empty; nothing was compared"),
        ("\ufeff \n", "a.file is empty"),
        (b"\xff\xfe\x00", "a.file is no text in UTF-8: export it as CSV or JSON"),
        ("{", "a.file cannot be read as JSON"),
        ("[" * 100_000, "a.file cannot be read as JSON"),
        ("[]", "a.file has no record"),
        ("{}", "a.file is no export of openai that is known"),
        ("[3]", "a.file has 3 where a record is expected"),
        ('[{"results": [[]]}]', "a.file has a list where a result is expected"),
        ('{"a": 1}\n{', "a.file: line 2 cannot be read as JSON"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"start_time": 0.' + "1" * 200 + ', "num_model_requests": 1}', "start_time NaN is no time of the years"),
        ('{"a": ' + "9" * 5_000 + "}", "a.file cannot be read as JSON"),
        ("a,b\n1,2\n", "It has a, b; nothing was compared"),
        ("a" * 70 + ",b\n1,2\n", "It has " + "a" * 59 + "..., b; nothing was compared"),
        (",".join(f"c{n}" for n in range(30)) + "\n1\n", "c29; nothing was compared"),
        (",".join(f"c{n}" for n in range(31)) + "\n1\n", "c29 and 1 more; nothing was compared"),
        ("a,b\n1,2,3\n", "a.file: record 1 has 3 fields, and the first line names 2"),
        ("start_time,amount_value\n1,2\n", "a.file lacks the column amount_currency of the costs of OpenAI's"),
        (COSTS, "a.file has no record"),
        (cost(""), "a.file has no line of openai's models"),
        (cost("NaN"), "a.file, record 1: amount_value 'NaN' is no amount from"),
        (cost("1e400"), "amount_value '1e400' is no amount from"),
        (cost("1e-61"), "amount_value '1e-61' is no amount from"),
        (cost("-1e16"), "amount_value '-1e16' is no amount from -1,000,000,000,000,000 to 1,000,000,000,000,000"),
        (cost("9" * 200), "is not a number; nothing was compared"),
        (cost("ten"), "amount_value 'ten' is not a number"),
        (cost("1_0"), "amount_value '1_0' is not a number"),
        (cost("1", start="soon"), "start_time 'soon' is no time of the years 2015 to 2099"),
        (cost("1", start="NaN"), "start_time 'NaN' is no time of the years 2015 to 2099"),
        (cost("1", start="1e12"), "start_time '1e12' is no time of the years 2015 to 2099"),
        (cost("1", start="0"), "start_time '0' is no time of the years 2015 to 2099"),
        (cost("1", start="0001-01-01T00:00:00+10:00"), "is no time of the years"),
        ((BILLS / "google.jsonl").read_text(), "a.file is an export of google: give --provider google"),
    ],
)
def test_what_is_no_bill_is_refused_in_a_sentence(text: bytes | str, says: str) -> None:
    assert says in refusal(text)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("input_tokens", -1, "input_tokens -1 is no count from 0 to"),
        ("input_tokens", 0.5, "input_tokens 0.5 is no whole number"),
        ("input_tokens", True, "input_tokens True is not a number"),
        ("input_tokens", [], "input_tokens a list is not a number"),
        ("input_tokens", 10**40, "is not a number"),
        ("model", 7, "model 7 is not a text"),
        ("start_time", float("1." + "1" * 16), "start_time 1.1111111111111112 is no time of the years"),
        ("start_time", True, "start_time True is no time of the years 2015 to 2099"),
        ("start_time", [1], "start_time a list is no time of the years 2015 to 2099"),
        ("start_time", -1, "start_time -1 is no time of the years 2015 to 2099"),
        ("start_time", None, "start_time_iso None is no time: which day the record is of is not said"),
        ("end_time", 1_793_491_200 + 86_401, "is more than a day after start_time: export it by day"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_its_place(column: str, value: Any, says: str) -> None:
    record = {"start_time": 1_793_491_200, "end_time": 1_793_577_600, "num_model_requests": 1, "model": "gpt-4o"}
    told = refusal(json.dumps([record, record | {column: value}]))
    assert told.startswith("a.file, record 2: ")
    assert says in told


def test_a_count_at_the_bound_is_one() -> None:
    record = {"start_time": 1_793_491_200, "end_time": 1_793_577_600, "num_model_requests": 1, "model": "gpt-4o"}
    export = export_of("a", json.dumps(record | {"input_tokens": COUNT_MAX}).encode(), provider="openai")
    assert export.lines[0].counts.input_tokens == COUNT_MAX
    assert "is no count from 0" in refusal(json.dumps(record | {"input_tokens": COUNT_MAX + 1}))


# By the names in docs/reconcile.md; the first one is its mark.
COLUMNS: Final = {
    ("openai", "usage of OpenAI's API or dashboard"): ("num_model_requests",),
    ("openai", "costs of OpenAI's API or dashboard"): ("amount_value", "amount_currency"),
    ("anthropic", "usage report of Anthropic's Admin API"): ("uncached_input_tokens", "starting_at"),
    ("anthropic", "cost report of Anthropic's Admin API"): ("amount", "starting_at", "currency"),
    ("anthropic", "usage export of Anthropic's console"): (
        *("usage_input_tokens_no_cache", "usage_date_utc", "model_version", "usage_output_tokens"),
    ),
    ("anthropic", "cost export of Anthropic's console"): ("cost_usd", "usage_date_utc", "model"),
    ("google", "billing table of Google Cloud in BigQuery"): (
        *("usage_start_time", "service_description", "sku_description", "cost", "currency"),
    ),
}


@pytest.mark.parametrize(
    ("provider", "name", "column"),
    [(*known, column) for known, (_, *needed) in COLUMNS.items() for column in needed],
)
def test_an_export_without_a_column_that_it_needs_is_refused_with_its_name(
    provider: str, name: str, column: str
) -> None:
    others = [other for other in COLUMNS[provider, name] if other != column]
    told = refusal(json.dumps(dict.fromkeys(others, "1")), provider=provider)
    assert f"lacks the column {column} of the {name}" in told


def test_all_columns_that_an_export_lacks_are_named() -> None:
    told = refusal(json.dumps({"usage_start_time": "2026-11-01", "cost": "1"}), "google")
    assert told == (
        "a.file lacks the columns service_description, sku_description, currency of the billing table of Google Cloud "
        "in BigQuery. It has usage_start_time, cost. Export it with all columns; nothing was compared"
    )


def test_a_number_has_at_most_100_characters() -> None:
    (line,) = export_of("c", cost("0" * 99 + "1").encode(), provider="openai").lines
    assert line.amount == Decimal(1)
    assert "is not a number" in refusal(cost("0" * 100 + "1"))


def test_days_of_another_zone_are_refused() -> None:
    record = {"start_time": 1_793_491_200 + 7 * 3_600, "end_time": 1_793_577_600 + 7 * 3_600, "num_model_requests": 1}
    told = refusal(json.dumps(record))
    assert "end_time 1793602800 is on the day after start_time: its days are not those of UTC. Export it in UTC" in told


@pytest.mark.parametrize(
    "header",
    [
        "Date,Service description,Service ID,SKU description,SKU ID,Usage amount,Usage unit,List cost ($),Subtotal ($)",
        "Service description,SKU description,Cost type,Usage start date,Usage amount,Usage unit,Cost ($)",
    ],
)
def test_a_report_of_google_s_console_is_refused_as_its_days_are_not_ours(header: str) -> None:
    row = ",".join("x" * len(header.split(",")))
    assert refusal(f"{header}\n{row}\n", "google") == (
        "a.file is a report of Google Cloud's billing console: "
        "its days are those of Pacific time, or it is of a month, so "
        "no day of UTC can be told by it. Export the billing table from BigQuery: docs/reconcile.md has the query; "
        "nothing was compared"
    )


def test_an_export_by_the_hour_is_added_up_by_the_day_of_utc() -> None:
    hours = [{"start_time": 1_793_491_200 + 3_600 * hour, "num_model_requests": 1} for hour in (0, 23, 24)]
    export = export_of("u.json", json.dumps(hours).encode(), provider="openai")
    assert [line.day for line in export.lines] == [FIRST, FIRST, SECOND]


def test_a_file_above_the_bound_is_refused_and_one_at_it_is_looked_at() -> None:
    assert "a.file is larger than 64 MiB: export fewer days" in refusal(b" " * (FILE_BYTES_MAX + 1))
    assert "is empty" in refusal(b" " * FILE_BYTES_MAX)


SAMPLES = [path.read_bytes() for path in sorted(BILLS.iterdir())]
NAMES = st.sampled_from(
    [
        *("data", "results", "start_time", "end_time", "amount", "value", "currency", "model", "num_model_requests"),
        *("starting_at", "uncached_input_tokens", "cost", "credits", "usage_start_time", "service", "sku", "usage"),
        *("description", "amount_value", "amount_currency", "input_tokens", "cost_usd", "usage_date_utc"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=30,
)


def read_or_refused(data: bytes, provider: str) -> None:
    try:
        export = export_of("a.file", data, provider=provider)
    except BillRefused as error:
        assert str(error).endswith("nothing was compared")
    else:
        assert export.first <= min(line.day for line in export.lines)


@given(data=st.binary(), provider=st.sampled_from(PROVIDERS))
@examples(300)
def test_any_bytes_are_read_or_refused(data: bytes, provider: str) -> None:
    read_or_refused(data, provider)


@given(value=JSON, provider=st.sampled_from(PROVIDERS))
@examples(1_000)
def test_any_json_is_read_or_refused(value: Any, provider: str) -> None:
    read_or_refused(json.dumps(value).encode(), provider)


@given(sample=st.sampled_from(SAMPLES), at=st.floats(0, 1), put=st.binary(max_size=6), cut=st.integers(0, 8))
@examples(1_000)
def test_a_sample_that_was_damaged_is_read_or_refused(sample: bytes, at: float, put: bytes, cut: int) -> None:
    place = int(at * len(sample))
    for provider in PROVIDERS:
        read_or_refused(sample[:place] + put + sample[place + cut :], provider)


ODD = ["NaN", "-NaN", "sNaN", "Infinity", "1e400", "1e-400", "-1", "1e30", "0." + "1" * 200, "9" * 300, "", "x"]
ODD += ["null", "true", "[]", "{}", '"NaN"', '"x"', '""', "2026-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31"]


@given(sample=st.sampled_from(SAMPLES), at=st.floats(0, 1), odd=st.sampled_from(ODD))
@examples(2_000)
def test_a_sample_with_an_odd_value_in_it_is_read_or_refused(sample: bytes, at: float, odd: str) -> None:
    values = list(re.finditer(rb"(?<=[:,\n])[^:,\n]*", sample))
    value = values[int(at * (len(values) - 1))]
    for provider in PROVIDERS:
        read_or_refused(sample[: value.start()] + odd.encode() + sample[value.end() :], provider)


def test_the_room_reaches_nothing_outside() -> None:
    for path in sorted((ROOT / "sinks" / "answers" / "bill").glob("*.py")):
        modules = set(modules_in(path.read_text()))
        assert not {name.split(".")[0] for name in modules} & (IMPURE | {"pathlib", "stream"})
        assert {name for name in modules if name.startswith("sinks.")} == {
            name for name in modules if name.startswith("sinks.answers.bill.")
        }
