"""What Anthropic exports: the usage and cost reports of its Admin API (JSON) and of its console (CSV).

Days are those of UTC. Its input tokens are those beside the cache; ours have the cache in them. The API tells amounts
in cents.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from sinks.answers.bill.formats import COSTS, USAGE, Format
from sinks.answers.bill.lines import ALL_MODELS, EXACT, Figures, Line
from sinks.answers.bill.records import Record

NOT_TOKENS: Final = {"web_search", "code_execution", "session_usage"}
CREATED: Final = ("cache_creation_ephemeral_5m_input_tokens", "cache_creation_ephemeral_1h_input_tokens")
WRITTEN: Final = ("usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h")
USD: Final = "USD"


def _day(record: Record) -> date:
    return record.day("starting_at", "ending_at")


def _console_day(record: Record) -> date:
    return record.day("usage_date_utc")


def _figures(record: Record, uncached: str, read: str, written: tuple[str, ...], output: str) -> Figures | None:
    """None where the record has none of them. What is not there beside others was not used."""
    if all(record.count(column) is None for column in (uncached, read, *written, output)):
        return None
    cache_read = record.count(read) or 0
    cache_write = sum(record.count(column) or 0 for column in written)
    whole = (record.count(uncached) or 0) + cache_read + cache_write
    return Figures(None, whole, record.count(output) or 0, cache_read, cache_write)


def _used(record: Record, day: date) -> Line | None:
    counts = _figures(record, "uncached_input_tokens", "cache_read_input_tokens", CREATED, "output_tokens")
    return Line(day, record.text("model") or ALL_MODELS, counts=counts) if counts else None


def _console_used(record: Record, day: date) -> Line | None:
    read = "usage_input_tokens_cache_read"
    counts = _figures(record, "usage_input_tokens_no_cache", read, WRITTEN, "usage_output_tokens")
    return Line(day, record.text("model_version") or ALL_MODELS, counts=counts) if counts else None


def _paid(record: Record, day: date) -> Line | None:
    cents = record.amount("amount")
    if cents is None:
        return None
    model, item = record.text("model"), record.text("description") or record.text("cost_type")
    is_model = bool(model) or not item
    name = model or item or ALL_MODELS
    return Line(day, name, is_model=is_model, amount=EXACT.scaleb(cents, -2), currency=record.text("currency"))


def _console_paid(record: Record, day: date) -> Line | None:
    amount = record.amount("cost_usd")
    if amount is None:
        return None
    cost_type, model = record.text("cost_type"), record.text("model")
    if cost_type in NOT_TOKENS or not model:
        item = cost_type or record.text("token_type") or record.text("usage_type") or "without a model"
        return Line(day, item, is_model=False, amount=amount, currency=USD)
    return Line(day, named(model), amount=amount, currency=USD)


def named(shown: str) -> str:
    """The console's cost export shows "Claude 3.5 Sonnet 2024-10-22" for claude-3-5-sonnet-20241022."""
    if " " not in shown:
        return shown
    text = re.sub(r"(\d{4})-(\d\d)-(\d\d)$", r"\1\2\3", shown.lower())
    return re.sub(r"[ .]+", "-", text)


FORMATS: Final = (
    Format("usage report of Anthropic's Admin API", USAGE, "uncached_input_tokens", ("starting_at",), _day, _used),
    Format("cost report of Anthropic's Admin API", COSTS, "amount", ("starting_at", "currency"), _day, _paid),
    Format(
        "usage export of Anthropic's console",
        USAGE,
        "usage_input_tokens_no_cache",
        ("usage_date_utc", "model_version", "usage_output_tokens"),
        _console_day,
        _console_used,
    ),
    Format(
        "cost export of Anthropic's console",
        COSTS,
        "cost_usd",
        ("usage_date_utc", "model"),
        _console_day,
        _console_paid,
    ),
)
