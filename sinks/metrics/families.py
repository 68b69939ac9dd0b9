"""The metrics of usage, by their names: what each says, and its labels. docs/metrics.md has them for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from sinks.metrics.counts import TOKENS_AT_MOST, Count, Counts, Labels, Tokens
from sinks.metrics.text import Family, Sample

T = TypeVar("T")
F = TypeVar("F", Decimal, int)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is so now. None, or missing, is what is not known: it has no sample, since 0 would be a figure."""

    cost_per_hour_usd: Decimal | None = None
    budget_ratios: Mapping[str, Decimal] = field(default_factory=dict)  # by budget_type


def families(counts: Counts, gauges: Gauges, *, by_user: bool) -> list[Family]:
    rate, ratios = gauges.cost_per_hour_usd, gauges.budget_ratios
    return [
        Family(
            "llm_total_cost_usd",
            "counter",
            "USD that calls cost as they were stored; calls without a known cost are not in it. Corrections are in the "
            "warehouse alone.",
            _figures(("provider", "model", "task_type", "user_id")[: 4 if by_user else 3], counts.cost_usd),
        ),
        Family(
            "llm_api_calls_total",
            "counter",
            "Calls by status (ok or error), each request_id once.",
            _figures(("provider", "model", "status"), counts.calls),
        ),
        Family(
            "llm_token_usage",
            "histogram",
            "Input and output tokens of a call; calls whose tokens are not known are not in it.",
            [sample for labels, count in _in_order(counts.tokens) for sample in _buckets(labels, count.value)],
        ),
        Family(
            "llm_cost_per_hour_usd",
            "gauge",
            "USD that the calls of the last 60 minutes cost. No sample: none of them has a known cost.",
            [] if rate is None else [Sample({}, rate)],
        ),
        Family(
            "budget_usage_ratio",
            "gauge",
            "What was spent of a budget in the period that is running, of 1: daily and monthly of everything together, "
            "user of the user with the highest share. No sample: no such budget, or no exchange rate.",
            [Sample({"budget_type": name}, ratio) for name, ratio in sorted(ratios.items())],
        ),
    ]


def _figures(names: Sequence[str], series: Mapping[Labels, Count[F]]) -> list[Sample]:
    """``names`` may be fewer than the labels: those behind are left out, and are the same everywhere."""
    return [Sample(dict(zip(names, labels, strict=False)), count.value) for labels, count in _in_order(series)]


def _in_order(series: Mapping[Labels, Count[T]]) -> list[tuple[Labels, Count[T]]]:
    return sorted(series.items(), key=lambda item: item[0])


def _buckets(labels: Labels, known: Tokens) -> Iterator[Sample]:
    """The edges are written as Prometheus keeps them, 100.0 for 100."""
    pair = dict(zip(("provider", "model"), labels, strict=True))
    for edge, calls in zip(TOKENS_AT_MOST, known.at_most, strict=True):
        yield Sample(pair | {"le": f"{edge}.0"}, calls, "_bucket")
    yield Sample(pair | {"le": "+Inf"}, known.calls, "_bucket")
    yield Sample(pair, known.tokens, "_sum")
    yield Sample(pair, known.calls, "_count")
