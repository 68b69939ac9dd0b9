"""What Prometheus reads: names as they are asked for, every digit, and whatever a label holds."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from sinks.metrics.counts import TOKENS_AT_MOST, Count, Counts, Tokens
from sinks.metrics.families import Gauges, families
from sinks.metrics.text import Family, Sample, text_of
from tests.support.properties import examples

TODAY = date(2026, 11, 30)
HOSTILE = [
    'a"} 1\nllm_total_cost_usd{user_id="boss"} 999999',
    "\\",
    '\\"',
    "\\n",
    "\n",
    "\r\n",
    "x\x00y",
    "\u2028 \u202e \x85",
    "# HELP",
    "{}",
    "le",
    "héé 🙂",
]
COUNTS = Counts(
    TODAY,
    ("ann",),
    {("openai", "gpt-4o", "chat", "ann"): Count(Decimal("12345678901234567890.000000000001"), TODAY)},
    {("openai", "gpt-4o", "ok"): Count(3, TODAY), ("openai", "gpt-4o", "error"): Count(1, TODAY)},
    {("openai", "gpt-4o"): Count(Tokens((0, 1, 2, 2, 2, 2, 2), 3, 20_600), TODAY)},
)
GAUGES = Gauges(Decimal("0.000000000007"), {"user": Decimal("1.2500"), "daily": Decimal("0.8000")})
TEXT = """\
llm_total_cost_usd{provider="openai",model="gpt-4o",task_type="chat",user_id="ann"} 12345678901234567890.000000000001
llm_api_calls_total{provider="openai",model="gpt-4o",status="error"} 1
llm_api_calls_total{provider="openai",model="gpt-4o",status="ok"} 3
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="100.0"} 0
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="500.0"} 1
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="1000.0"} 2
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="2000.0"} 2
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="4000.0"} 2
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="8000.0"} 2
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="16000.0"} 2
llm_token_usage_bucket{provider="openai",model="gpt-4o",le="+Inf"} 3
llm_token_usage_sum{provider="openai",model="gpt-4o"} 20600
llm_token_usage_count{provider="openai",model="gpt-4o"} 3
llm_cost_per_hour_usd 0.000000000007
budget_usage_ratio{budget_type="daily"} 0.8000
budget_usage_ratio{budget_type="user"} 1.2500
"""


def told(counts: Counts, gauges: Gauges, *, by_user: bool = True) -> str:
    """Without the lines about the families."""
    lines = text_of(families(counts, gauges, by_user=by_user)).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def test_each_figure_is_told_under_its_name_with_all_its_digits() -> None:
    assert told(COUNTS, GAUGES) == TEXT


def test_each_family_says_its_kind_and_its_meaning_once() -> None:
    lines = text_of(families(COUNTS, GAUGES, by_user=True)).splitlines()
    assert [line for line in lines if line.startswith("# TYPE")] == [
        "# TYPE llm_total_cost_usd counter",
        "# TYPE llm_api_calls_total counter",
        "# TYPE llm_token_usage histogram",
        "# TYPE llm_cost_per_hour_usd gauge",
        "# TYPE budget_usage_ratio gauge",
    ]
    assert sum(line.startswith("# HELP") for line in lines) == 5


def test_a_figure_that_is_not_known_has_no_sample() -> None:
    assert told(Counts(), Gauges()) == ""


def test_a_rate_that_is_known_to_be_nothing_is_told() -> None:
    assert told(Counts(), Gauges(Decimal(0), {"daily": Decimal("0.0000")})) == (
        'llm_cost_per_hour_usd 0\nbudget_usage_ratio{budget_type="daily"} 0.0000\n'
    )


def test_users_can_be_left_out() -> None:
    assert "user_id" not in told(COUNTS.without_users(), GAUGES, by_user=False)


def test_the_buckets_are_those_that_were_asked_for() -> None:
    assert TOKENS_AT_MOST == (100, 500, 1000, 2000, 4000, 8000, 16000)


def read_back(text: str) -> list[tuple[str, dict[str, str], float]]:
    """As Prometheus's own client for Python reads it. It adds `_total` to counters in memory, whatever they are
    called, so names are taken from the text."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    names = [re.split("[{ ]", line, maxsplit=1)[0] for line in text.split("\n") if line and not line.startswith("#")]
    return [(name, sample.labels, sample.value) for name, sample in zip(names, samples, strict=True)]


def test_a_scraper_reads_the_names_labels_and_values() -> None:
    found = read_back(text_of(families(COUNTS, GAUGES, by_user=True)))
    assert found[1] == ("llm_api_calls_total", {"provider": "openai", "model": "gpt-4o", "status": "error"}, 1)
    assert [name for name, _, _ in found] == [re.split("[{ ]", line)[0] for line in TEXT.splitlines()]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_label_is_one_label_of_one_sample(value: str) -> None:
    labels = {"provider": value, "user_id": value}
    text = text_of([Family("llm_total_cost_usd", "counter", "USD.", [Sample(labels, Decimal("0.1"))])])
    assert read_back(text) == [("llm_total_cost_usd", labels, 0.1)]
    assert text.count("\n") == 3


@examples(200)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_whatever_a_label_holds_is_read_back(values: list[str]) -> None:
    samples = [Sample({"model": value, "at": str(at)}, at) for at, value in enumerate(values)]
    found = read_back(text_of([Family("llm_api_calls_total", "counter", 'Calls\n"of" \\ all.', samples)]))
    assert [labels["model"] for _, labels, _ in found] == values


@examples(200)
@given(whole=st.integers(0, 10**25), pico=st.integers(0, 10**12 - 1))
def test_no_digit_of_an_amount_is_lost(whole: int, pico: int) -> None:
    amount = Decimal(f"{whole}.{pico:012}")
    text = text_of([Family("llm_total_cost_usd", "counter", "USD.", [Sample({}, amount), Sample({}, whole)])])
    assert text.splitlines()[2:] == [f"llm_total_cost_usd {whole}.{pico:012}", f"llm_total_cost_usd {whole}"]
