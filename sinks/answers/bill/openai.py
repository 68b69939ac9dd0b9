"""What OpenAI exports: the usage and the costs of an organization, by its API (JSON) and by its dashboard (CSV).

Both have the same names. Days are those of UTC. Input tokens have those that were read from the cache and written to it
in them, as ours do.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from sinks.answers.bill.formats import COSTS, USAGE, Format
from sinks.answers.bill.lines import ALL_MODELS, Figures, Line
from sinks.answers.bill.records import Record

# Such as "gpt-4o-2024-08-06, cached input" or "priority | gpt-5.6, output". What has no comma is no model.
LINE_ITEM: Final = re.compile(
    r"(?:\w+ \| )?(?P<model>[\w.:/@-]+)(?: (?:text|audio|image|video))?, .*(?:input|output|cache|tokens|audio|image).*"
)


def _day(record: Record) -> date:
    iso = record.moment("start_time") is None
    return record.day("start_time_iso", "end_time_iso") if iso else record.day("start_time", "end_time")


def _used(record: Record, day: date) -> Line | None:
    counts = Figures(
        calls=record.count("num_model_requests"),
        input_tokens=record.count("input_tokens"),
        output_tokens=record.count("output_tokens"),
        cache_read_tokens=record.count("input_cached_tokens"),
        cache_write_tokens=record.count("input_cache_write_tokens"),
    )
    if counts.calls is None and counts.input_tokens is None:
        return None  # a day without any
    if counts.input_tokens is not None and counts.output_tokens is None:
        counts = Figures(counts.calls, counts.input_tokens, 0, counts.cache_read_tokens, counts.cache_write_tokens)
    return Line(day, record.text("model") or ALL_MODELS, counts=counts)


def _paid(record: Record, day: date) -> Line | None:
    amount = record.amount("amount_value")
    if amount is None:
        return None
    item, currency = record.text("line_item"), record.text("amount_currency")
    found = LINE_ITEM.fullmatch(item)
    name = found["model"] if found else item or ALL_MODELS
    return Line(day, name, is_model=bool(found) or not item, amount=amount, currency=currency)


FORMATS: Final = (
    Format("usage of OpenAI's API or dashboard", USAGE, "num_model_requests", (), _day, _used),
    Format("costs of OpenAI's API or dashboard", COSTS, "amount_value", ("amount_currency",), _day, _paid),
)
