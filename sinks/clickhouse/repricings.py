"""Re-pricings as the warehouse has them: the calls that they take in, the rows that they write, what they changed.

A re-pricing has a number, and the rows that it writes have that number as ``price_rev``. It is written in this order:

    adjustments, planned ─▶ calls ─▶ adjustments, applied ─▶ rollups

so that one that breaks off anywhere can be told from what is stored (``open_adjustments``, ``standing``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any, Final

import polars as pl

from sinks.clickhouse.calls_of_span import IN_SPAN, Span
from sinks.clickhouse.ledger import REMOVED, STORED
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import MONEY
from sinks.clickhouse.writer import Writer

NUMBER_MAX: Final = 2**16 - 1  # price_rev is 16 bits
PLACES_MAX: Final = 2_000  # in one question: a server takes 128 KiB as one parameter
BLOCK_ROWS_MAX: Final = 250_000  # of calls read, priced and written at once: about 100 MB of usual ones
BLOCK_BYTES_MAX: Final = 128 * 1024**2  # of them, for calls with much metadata
ROW_BYTES: Final = 400  # of a usual call without its longer texts

UNDER_WAY, FINISHED, BROKEN_OFF = "under way", "finished", "broken off"
PLANNED, VOID, APPLIED, SPLIT = "planned", "void", "applied", "split"
STEPS: Final = {PLANNED: 0, VOID: 1, APPLIED: 2, SPLIT: 3}

HOUR: Final = timedelta(hours=1)

# Whole rows of what the ledger has applied. What an audit has taken out is no call any more.
CALLS: Final = f"""
  WITH {STORED}
  SELECT * EXCEPT stored_next
  FROM (
    SELECT * FROM usage_events_rows FINAL
    WHERE {IN_SPAN} AND cityHash64(request_id) % {{parts:UInt32}} = {{part:UInt32}}) AS e
  LEFT ANY JOIN stored USING (source, source_partition)
  WHERE source_offset < stored_next AND (source, source_partition, source_offset) NOT IN {REMOVED}
  SETTINGS do_not_merge_across_partitions_select_final = 1"""  # noqa: S608 - written here

HOURS: Final = f"""
  SELECT toInt64(toUnixTimestamp(toStartOfHour(occurred_at))) * 1000 AS hour, toInt64(count()) AS calls,
    toInt64(sum({ROW_BYTES} + length(metadata) + length(error) + length(quantities) + length(unit_prices))) AS bytes
  FROM usage_events_rows WHERE {IN_SPAN} GROUP BY hour ORDER BY hour"""  # noqa: S608 - written here

RUNS: Final = """
  SELECT toInt64(repricing) AS number, begun_at, begun_by, reason, span_start, span_end, provider, model, feature,
    toInt64(price_revision) AS price_revision, build, state, ended_at
  FROM repricings_rows FINAL ORDER BY number"""

OPEN: Final = """
  SELECT * FROM cost_adjustments_rows FINAL WHERE state IN ('planned', 'void') AND hour >= {since:DateTime('UTC')}"""
CHANGED: Final = """
  SELECT toInt64(count()), toDate(min(hour)), toDate(max(hour)) + 1
  FROM cost_adjustments_rows WHERE repricing IN {numbers:Array(UInt16)}"""
# How many calls of each hour and part a re-pricing has changed. One that was taken out since was changed as well.
STANDING: Final = """
  WITH asked AS (
    SELECT tupleElement(place, 1) AS repricing, toDateTime(tupleElement(place, 2), 'UTC') AS hour,
      tupleElement(place, 3) AS part, tupleElement(place, 4) AS parts
    FROM (SELECT arrayJoin({places:Array(Tuple(UInt16, UInt32, UInt16, UInt16))}) AS place))
  SELECT repricing, asked.hour AS hour, part, parts, toInt64(countIf(cityHash64(request_id) % parts = part)) AS calls
  FROM (
    SELECT toStartOfHour(occurred_at) AS hour, request_id, price_rev AS repricing
    FROM usage_events_rows FINAL
    WHERE price_rev > 0 AND toStartOfHour(occurred_at) IN (SELECT hour FROM asked)
    UNION ALL
    SELECT toStartOfHour(occurred_at), request_id, toUInt16(JSONExtractUInt(event, 'price_rev'))
    FROM removed_events_rows FINAL) AS changed
  INNER JOIN asked ON asked.hour = changed.hour AND asked.repricing = changed.repricing
  GROUP BY repricing, hour, part, parts"""


@dataclass(frozen=True, slots=True)
class Repricing:
    """One run, by its number. ``price_revision`` is that of own prices (0: none), ``build`` the price table's."""

    number: int
    begun_at: datetime
    begun_by: str
    reason: str
    span: Span
    price_revision: int
    build: str
    state: str = UNDER_WAY
    ended_at: datetime | None = None

    def ended(self, state: str, *, at: datetime) -> Repricing:
        return replace(self, state=state, ended_at=at)


@dataclass(frozen=True, slots=True)
class Block:
    """Calls that are changed at once: of whole hours, or of a part of one hour by the hash of their ids."""

    start: int  # in milliseconds
    end: int
    part: int = 0
    parts: int = 1

    @property
    def of_one_hour(self) -> bool:
        return self.end - self.start <= _ms(HOUR)

    def halves(self) -> tuple[Block, Block]:
        """By hours; one hour by the hash of its ids."""
        if not self.of_one_hour:
            middle = self.start + (self.end - self.start) // _ms(HOUR) // 2 * _ms(HOUR)
            return replace(self, end=middle), replace(self, start=middle)
        one = replace(self, parts=self.parts * 2)
        return one, replace(one, part=self.part + self.parts)


def blocks_of(reader: Reader, span: Span, *, rows_max: int = BLOCK_ROWS_MAX) -> list[Block]:
    """The hours of the span that have calls, in blocks of about ``rows_max`` of them, or of BLOCK_BYTES_MAX."""
    return list(in_blocks(reader.frame(HOURS, **span.asked()).iter_rows(), rows_max=rows_max))


def in_blocks(hours: Iterable[tuple[int, int, int]], *, rows_max: int) -> Iterator[Block]:
    """``hours``: each in milliseconds, with its calls and their bytes, in their order."""
    start = end = 0
    held = 0.0  # of what a block may hold
    for hour, calls, size in hours:
        share = max(calls / rows_max, size / BLOCK_BYTES_MAX)
        if held and held + share > 1:
            yield Block(start, end)
            held = 0.0
        after = hour + _ms(HOUR)
        if share > 1:
            parts = ceil(share)
            yield from (Block(hour, after, part, parts) for part in range(parts))
        else:
            start = start if held else hour
            end, held = after, held + share
    if held:
        yield Block(start, end)


def calls_of(reader: Reader, span: Span, block: Block, *, stored: Sequence[tuple[str, int, int]]) -> pl.DataFrame:
    """Whole rows of ``usage_events`` in both the span and the block, of what the ledger has applied. ``stored`` has for
    each source and partition the offset after the last one in the ledger."""
    asked = span.asked()
    asked |= {"start": max(asked["start"], block.start), "end": min(asked["end"], block.end)}
    return reader.frame(CALLS, **asked, part=block.part, parts=block.parts, stored=list(stored))


# --- the runs --------------------------------------------------------------------------------------------------------


def repricings(reader: Reader) -> list[Repricing]:
    """All of them, the oldest first."""
    return [_repricing(row) for row in reader.frame(RUNS).iter_rows(named=True)]


def _repricing(row: dict[str, Any]) -> Repricing:
    names = {name: row.pop(name) for name in ("provider", "model", "feature")}
    return Repricing(span=Span(row.pop("span_start"), row.pop("span_end"), **names), **row)


def put(writer: Writer, run: Repricing) -> None:
    row = {
        "repricing": run.number,
        "begun_at": run.begun_at,
        "begun_by": run.begun_by,
        "reason": run.reason,
        "span_start": run.span.start,
        "span_end": run.span.end,
        "provider": run.span.provider,
        "model": run.span.model,
        "feature": run.span.feature,
        "price_revision": run.price_revision,
        "build": run.build,
        "state": run.state,
        "ended_at": run.ended_at,
        "step": int(run.state != UNDER_WAY),
    }
    moments = dict.fromkeys(("begun_at", "span_start", "span_end", "ended_at"), pl.Datetime("ms", "UTC"))
    kinds = pl.Schema({"repricing": pl.UInt16(), "price_revision": pl.UInt32(), "step": pl.UInt8(), **moments})
    writer.insert("repricings", pl.DataFrame([row], schema_overrides=kinds))


# --- what they changed -----------------------------------------------------------------------------------------------

ADJUSTMENT: Final = pl.Schema(
    {
        "hour": pl.Datetime("ms", "UTC"),
        **dict.fromkeys(("provider", "model", "feature"), pl.String()),
        **dict.fromkeys(("repricing", "price_rev_before", "part", "parts"), pl.UInt16()),
        "calls": pl.UInt64(),
        **dict.fromkeys(("cost_usd_before", "cost_usd"), MONEY),
        **dict.fromkeys(("unpriced_calls_before", "unpriced_calls"), pl.UInt64()),
        **dict.fromkeys(("partial_calls_before", "partial_calls"), pl.UInt64()),
        "adjusted_at": pl.Datetime("ms", "UTC"),
    }
)
PLACE: Final = ("repricing", "hour", "part", "parts")  # of what is changed at once


def put_adjustments(writer: Writer, adjustments: pl.DataFrame, state: str) -> None:
    """Rows as ADJUSTMENT has them, in the state that they are in: the furthest in STEPS is what counts. What is split
    was refused by the warehouse, and is planned anew in smaller parts."""
    known = adjustments.select(ADJUSTMENT.names()).cast(ADJUSTMENT)
    writer.insert(
        "cost_adjustments", known.with_columns(state=pl.lit(state), step=pl.lit(STEPS[state], dtype=pl.UInt8))
    )


def open_adjustments(reader: Reader, *, since: datetime) -> pl.DataFrame:
    """Those of hours from then on that are planned, or were found not to be applied."""
    return reader.frame(OPEN, since=since)


def days_changed(reader: Reader, numbers: Collection[int]) -> tuple[date, date] | None:
    """The days from the first to before the second have all that these re-pricings changed, or had planned to."""
    found = reader.frame(CHANGED, numbers=list(numbers)).row(0)
    return (found[1], found[2]) if found[0] else None


def standing(reader: Reader, adjustments: pl.DataFrame) -> pl.DataFrame:
    """Of the adjustments those whose calls are changed. An hour and part is changed whole or not at all."""
    places = adjustments.select("repricing", pl.col("hour").dt.epoch("s"), "part", "parts").unique().rows()
    found = [
        reader.frame(STANDING, places=places[at : at + PLACES_MAX]).filter(pl.col("calls") > 0).select(PLACE)
        for at in range(0, len(places), PLACES_MAX)
    ]
    if not found:
        return adjustments
    kinds = pl.Schema({name: ADJUSTMENT[name] for name in PLACE})
    return adjustments.join(pl.concat(found).cast(kinds), on=PLACE, how="semi")


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
