"""What users spend: one by model, and who spends most."""

from __future__ import annotations

from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.figures.spans import BadQuestion

HOURS_MAX: Final = 24 * 366
USER_CHARS_MAX: Final = 1_024

_USER: Final = """
SELECT provider, model, calls AS total_calls, input_tokens AS total_input_tokens, output_tokens AS total_output_tokens,
  cost_usd AS total_cost, unpriced_calls, partial_calls
FROM user_cost_summary(user_id = {user_id:String}, period_hours = {period_hours:UInt32})
ORDER BY total_cost DESC NULLS LAST, provider, model"""

_TOP: Final = """
SELECT user_id, calls, errors, input_tokens, output_tokens, cost_usd, unpriced_calls, partial_calls
FROM top_users ORDER BY cost_usd DESC NULLS LAST, user_id"""


def user_cost_summary(reader: Reader, *, user_id: str, period_hours: int) -> pl.DataFrame:
    """The last hours of one user, a row for each provider and model, the dearest first: provider, model, total_calls,
    total_input_tokens, total_output_tokens, total_cost (USD), unpriced_calls, partial_calls. No row for a user who is
    not known."""
    return reader.frame(_USER, user_id=user_id, period_hours=hours(period_hours))


def top_users(reader: Reader) -> pl.DataFrame:
    """The ten users who cost most this month (UTC), the dearest first."""
    return reader.frame(_TOP)


def hours(period_hours: int) -> int:
    if not 1 <= period_hours <= HOURS_MAX:
        raise BadQuestion(f"period_hours: {period_hours} is not within 1 to {HOURS_MAX}")
    return period_hours
