"""What is stored of a provider, by day and model."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader

DAYS_KEPT: Final = timedelta(days=365)  # of sums of days. A row goes in the background, some time after
DAYS: Final = """
  SELECT u.day AS day, u.model AS model, toInt64(sum(u.calls)) AS calls,
    toInt64(sum(u.input_tokens)) AS input_tokens, toInt64(sum(u.output_tokens)) AS output_tokens,
    toInt64(sum(u.cache_read_tokens)) AS cache_read_tokens, toInt64(sum(u.cache_write_tokens)) AS cache_write_tokens,
    sum(u.cost_usd) AS cost_usd, toInt64(sum(u.unpriced_calls)) AS unpriced_calls,
    toInt64(sum(u.partial_calls)) AS partial_calls
  FROM usage_daily AS u
  WHERE u.provider = {provider:String} AND u.day >= {start:Date} AND u.day < {end:Date}
  GROUP BY u.day, u.model ORDER BY u.day, u.model"""


def days_of_models(reader: Reader, *, provider: str, start: date, end: date) -> pl.DataFrame:
    """The days of UTC from ``start`` until before ``end``. A cost is null where no call of the row has a price."""
    return reader.frame(DAYS, provider=provider, start=start, end=end)
