"""What is being spent now: the cost of the 60 minutes before a moment, as the views tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from sinks.clickhouse.reader import Reader

SPAN: Final = timedelta(hours=1)

_COST: Final = """
SELECT toInt64(sum(calls)) AS calls, sum(cost_usd) AS cost_usd
FROM usage_between(from = {from:String}, to = {to:String}, zone = 'UTC', currency = 'USD')"""


def cost_of_last_hour(reader: Reader, *, now: datetime) -> Decimal | None:
    """USD. Without a call it is 0; None where there are calls and no known cost."""
    span = {"from": _text(now - SPAN), "to": _text(now)}
    calls, cost_usd = reader.frame(_COST, **span).row(0)
    return cost_usd if calls else Decimal(0)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
