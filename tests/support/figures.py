"""A dozen calls of two days, and what they come to, worked out by hand: what every door tells of them is the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.warehouse_rows import this_hour

CENT: Final = 10_000_000_000  # in 1e-12 USD

# The noon before last: both days are over, and single calls of them are kept.
NOON: Final = this_hour().replace(hour=12) - timedelta(days=2)
EVE: Final = NOON - timedelta(days=1)


def call(name: str, at: datetime, cents: int | None, **changes: Any) -> dict[str, Any]:
    """One of the feature "chat" and the model gpt-4o, with 100 tokens in and 10 out; without a price where ``cents``
    is None."""
    usual = {
        "request_id": name,
        "occurred_at": at,
        "provider": "openai",
        "model": "gpt-4o",
        "feature": "chat",
        "user_id": "ann",
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_pico": None if cents is None else cents * CENT,
    }
    unpriced = {"cost_status": "unpriced", "cost_reason": "unknown_model"} if cents is None else {}
    return usual | unpriced | changes


HOSTILE: Final = "<img src=x onerror=alert(1)>'\"\\; DROP TABLE x --"

# Of the noon: 8.00 USD in six calls, one of which has no price. Of the eve: 0.50 USD in two.
CALLS: Final = [
    call("n1", NOON, 100),
    call("n2", NOON + timedelta(minutes=20), 250, provider="anthropic", model="claude-sonnet-4-5", user_id="bob"),
    call("n3", NOON + timedelta(minutes=40), None, model="aurora", user_id="bob"),
    call("n4", NOON + timedelta(hours=1), 400, feature="search", user_id=""),
    call("n5", NOON + timedelta(hours=1, minutes=59), 0, status="error", feature="search", user_id="cy"),
    call("n6", NOON + timedelta(hours=5), 50, feature=HOSTILE, user_id=HOSTILE),
    call("e1", EVE, 30, user_id="cy"),
    call("e2", EVE + timedelta(minutes=1), 20, feature="search", user_id="cy"),
]

# Rates of KRW: of the eve there is none.
WON: Final = f"""
exchange_rate = [
  {{ currency = "KRW", per_usd = "1400", valid_from = {NOON:%Y-%m-%d}, source = "the bank" }},
]
"""


def publish_won(reader: Reader, writer: Writer) -> None:
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"won": WON}, new_id=lambda: "p", pause=lambda: None, **told)
