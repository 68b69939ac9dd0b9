"""What a scope cost, hour by hour: everything together, or what has these values in its dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import DIMENSIONS

HOURS: Final = """
  SELECT u.hour AS hour, sum(u.cost_usd) AS cost_usd, toInt64(sum(u.calls)) AS calls,
    toInt64(sum(u.unpriced_calls)) AS unpriced_calls
  FROM usage_hourly AS u
  WHERE u.hour >= toDateTime({start:UInt32}, 'UTC') AND u.hour < toDateTime({end:UInt32}, 'UTC') AND u.calls > 0"""


def hours_of_scope(reader: Reader, scope: Mapping[str, str], *, start: datetime, end: datetime) -> pl.DataFrame:
    """The hours with calls from ``start`` until before ``end``, oldest first. A cost is null where none has a price.
    ``scope`` has the value of each dimension that is asked for."""
    assert scope.keys() <= set(DIMENSIONS), "these are the names of the columns"
    asked = "".join(f" AND u.{dimension} = {{{dimension}:String}}" for dimension in sorted(scope))
    span = {"start": int(start.timestamp()), "end": int(end.timestamp())}
    return reader.frame(f"{HOURS}{asked} GROUP BY u.hour ORDER BY u.hour", **span, **scope)
