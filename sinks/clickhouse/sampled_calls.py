"""A sample of the stored calls, and the texts of prices.

The calls are drawn by the hash of their ids with a salt: the same salt gives the same calls, another one gives others.
Of each price, source of a price and status of a cost about as many are drawn, so that a rare one is met as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final, TypeAlias

import polars as pl

from sinks.clickhouse.calls import PRICES
from sinks.clickhouse.ledger import REMOVED
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import to_integers

TEXTS_AT_ONCE: Final = 1_000  # a server takes 128 KiB as one parameter

CallKey: TypeAlias = tuple[datetime, str, str, str]  # the hour, the model, the feature and the id of a call

KIND: Final = "price_id, price_source, cost_status"
# A count that takes in superseded rows is good enough to share out places, and reads three columns of few values.
KINDS: Final = f"""
  SELECT toInt64(count()) AS calls FROM usage_events_rows WHERE occurred_at >= {{start:Date}}
  GROUP BY {KIND} LIMIT {{limit:UInt32}}"""  # noqa: S608 - written here

# Hashes are found first, which reads the ids and the columns of KIND. Then the others are read where these ids are: an
# id is part of the sort key, so PREWHERE leaves all copies of a row to FINAL.
SAMPLE: Final = f"""
  WITH drawn AS (
    SELECT arrayJoin(smallest) AS hash
    FROM (
      SELECT groupArraySorted({{of_each:UInt32}})(cityHash64(request_id, {{salt:String}})) AS smallest
      FROM usage_events_rows FINAL
      WHERE occurred_at >= {{start:Date}}
      GROUP BY {KIND}
      ORDER BY cityHash64({KIND}, {{salt:String}})
      LIMIT {{kinds:UInt32}})),
    again AS (
      SELECT toDateTime(tupleElement(call, 1), 'UTC') AS hour, tupleElement(call, 2) AS model,
        tupleElement(call, 3) AS feature, tupleElement(call, 4) AS request_id
      FROM (SELECT arrayJoin({{again:Array(Tuple(UInt32, String, String, String))}}) AS call))
  SELECT request_id, toStartOfHour(occurred_at) AS hour, provider, model, feature, operation, status,
    toInt64(input_tokens) AS input_tokens, toInt64(output_tokens) AS output_tokens,
    toInt64(cache_read_tokens) AS cache_read_tokens, toInt64(cache_write_tokens) AS cache_write_tokens,
    toInt64(reasoning_tokens) AS reasoning_tokens, quantities, unit_prices,
    cost_usd AS cost_pico, cost_status, price_version, price_source, price_id
  FROM usage_events_rows AS e FINAL
  PREWHERE (toStartOfHour(occurred_at) >= {{start:Date}}
      AND cityHash64(request_id, {{salt:String}}) IN (SELECT hash FROM drawn))
    OR (toStartOfHour(occurred_at), model, feature, request_id) IN (SELECT hour, model, feature, request_id FROM again)
  WHERE (source, source_partition, source_offset) NOT IN {REMOVED}
  ORDER BY hour, model, feature, request_id
  SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - written here


def sampled_calls(
    reader: Reader, *, start: date, salt: str, calls_max: int, again: Sequence[CallKey] = ()
) -> pl.DataFrame:
    """At most ``calls_max`` calls from ``start`` on, and beside them those that are to be looked at ``again``, as they
    are stored now: what each reports, its cost in 1e-12 USD, and the price that it names."""
    counts = reader.frame(KINDS, start=start, limit=calls_max)["calls"].to_list()
    of_each = shared_out(counts, calls_max) if counts else 1
    keys = [(int(hour.timestamp()), *names) for hour, *names in again]
    rows = reader.frame(SAMPLE, start=start, salt=salt, of_each=of_each, kinds=calls_max, again=keys)
    return to_integers(rows, pl.Int64)


def shared_out(counts: Sequence[int], places: int) -> int:
    """How many of each kind at most, so that all of them together take at most ``places``; at least one."""
    left, kinds = places, len(counts)
    for count in sorted(counts):
        if count * kinds > left:
            return max(left // kinds, 1)
        left, kinds = left - count, kinds - 1
    return max(*counts, 1)


def price_texts(reader: Reader, ids: Collection[str]) -> Mapping[str, str]:
    """The texts of these prices, by their ids. Read calls first: no call is stored before the text that it names."""
    wanted, found = sorted(ids), dict[str, str]()
    for at in range(0, len(wanted), TEXTS_AT_ONCE):
        found |= dict(reader.frame(PRICES, price_ids=wanted[at : at + TEXTS_AT_ONCE]).iter_rows())
    return found
