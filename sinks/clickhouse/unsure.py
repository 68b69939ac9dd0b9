"""What of the last days has no price, or not a sure one, by what it comes to."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader

# Tokens come first, since they are what most calls are charged for; of what has none, the calls.
UNSURE: Final = """
  SELECT u.*, s.sent_as FROM (
    SELECT 'unpriced' AS cost_status, provider, model, cost_reason, cost_detail, toInt64(sum(calls)) AS calls,
      toInt64(sum(tokens)) AS tokens, CAST(NULL AS Nullable(Decimal(38, 12))) AS cost_usd
    FROM unknown_cost_calls WHERE day >= {since:Date} GROUP BY provider, model, cost_reason, cost_detail
    UNION ALL
    SELECT 'partial' AS cost_status, provider, model, cost_reason, cost_detail, toInt64(sum(calls)) AS calls,
      CAST(0 AS Int64) AS tokens, sum(cost_usd) AS cost_usd
    FROM partial_cost_calls WHERE day >= {since:Date} GROUP BY provider, model, cost_reason, cost_detail
  ) AS u
  LEFT JOIN (
    SELECT provider, model, arraySort(groupUniqArray(5)(concat(provider_sent, ' ', model_sent))) AS sent_as
    FROM usage_events
    WHERE occurred_at >= {since:Date} AND cost_status != 'priced' AND (provider_sent, model_sent) != (provider, model)
    GROUP BY provider, model
  ) AS s USING (provider, model)
  ORDER BY cost_status DESC, tokens DESC, ifNull(cost_usd, 0) DESC, calls DESC, provider, model, cost_detail
  LIMIT {limit:UInt32}"""

COUNTED: Final = """
  SELECT toInt64(sum(d.calls)) AS calls, toInt64(sum(d.unpriced_calls)) AS unpriced_calls,
    toInt64(sum(d.partial_calls)) AS partial_calls
  FROM usage_daily AS d WHERE d.day >= {since:Date}"""


def unsure_calls(reader: Reader, *, since: date, limit: int) -> pl.DataFrame:
    """A row for each status, provider, model and reason: first what is unpriced, by its tokens, then what is partial,
    by its cost. ``sent_as`` lists up to five other spellings under which calls of the provider's model were sent."""
    return reader.frame(UNSURE, since=since, limit=limit)


def calls_since(reader: Reader, *, since: date) -> dict[str, int]:
    """All calls of these days, and those of them that are unpriced and partial."""
    (row,) = reader.frame(COUNTED, since=since).to_dicts()
    return row
