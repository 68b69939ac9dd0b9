"""Calls for the counters of metrics: each is read once, by its place in the log, and what was counted is kept.

The ledger of a partition says up to which offset everything is stored, since it is the last table that a flush writes
(``stream/store/order.py``). Between the offset where counting stands and that one no call comes any more; a re-pricing
gives a call another row and the same offset. So what is counted is counted, and never twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from types import MappingProxyType
from typing import Final, NamedTuple

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer

OFFSETS_AT_ONCE: Final = 250_000  # calls that all differ are as many rows of an answer: some 50 MB
NEVER: Final = 2**64 - 1  # an offset that no record has

TABLE: Final = "metric_counts"
EXPORTER: Final = "usage"

_STORED: Final = """
SELECT source, source_partition, min(offset_first) AS first, max(version) + 1 AS end FROM ingest_ledger_rows
GROUP BY source, source_partition"""

# The hours say where the calls are: what an offset above the first one has changed is in a row of that version. Copies
# of a call have one place; the one that was priced last has the highest price_rev. An embedding has no output.
_CALLS: Final = """
SELECT toString(provider) AS provider, toString(model) AS model, toString(task_type) AS task_type, user_id,
  toString(status) AS status,
  min(c.received_at) AS first_at,
  toInt64(count()) AS calls,
  toInt64(count(c.cost_usd)) AS priced_calls,
  sum(toDecimal128(ifNull(c.cost_usd, 0), 12)) AS cost_usd,
  toInt64(count(c.tokens)) AS token_calls,
  toInt64(sum(ifNull(c.tokens, 0))) AS tokens,
  sumForEach(arrayMap(edge -> toInt64(ifNull(c.tokens <= edge, 0)), {edges:Array(UInt32)})) AS at_most
FROM (
  SELECT provider, model, task_type, user_id, status, received_at, cost_usd,
    toInt64(input_tokens) + if(operation = 'embedding', ifNull(output_tokens, 0), output_tokens) AS tokens
  FROM usage_events_rows
  WHERE toStartOfHour(occurred_at) IN (
      SELECT hour FROM usage_hourly_rows
      WHERE source = {source:String}
        AND version >= transform(source_partition, {partitions:Array(UInt16)}, {firsts:Array(UInt64)}, {never:UInt64}))
    AND source = {source:String}
    AND source_offset >= transform(source_partition, {partitions:Array(UInt16)}, {firsts:Array(UInt64)}, {never:UInt64})
    AND source_offset < transform(source_partition, {partitions:Array(UInt16)}, {ends:Array(UInt64)}, 0)
  ORDER BY source_partition, source_offset, price_rev DESC
  LIMIT 1 BY source_partition, source_offset) AS c
GROUP BY provider, model, task_type, user_id, status"""

_KINDS: Final[dict[str, pl.DataType]] = {
    "exporter": pl.String(),
    "version": pl.UInt64(),
    "counted_at": pl.Datetime("ms", "UTC"),
    "sources": pl.List(pl.String),
    "partitions": pl.List(pl.UInt16),
    "firsts": pl.List(pl.UInt64),
    "counts": pl.String(),
}

_KEPT: Final = """
SELECT version, sources, partitions, firsts, counts FROM metric_counts_rows FINAL
WHERE exporter = {exporter:String}"""


class Place(NamedTuple):
    """A partition, in one of the lives of its topic."""

    source: str
    partition: int


class Kept(NamedTuple):
    """How far counting has come: of each place the offsets below ``firsts`` are in ``counts``, a text."""

    version: int = 0
    firsts: Mapping[Place, int] = MappingProxyType({})
    counts: str = ""

    def next(self, span: Span, counts: str) -> Kept:
        """With the calls of this span."""
        ends = {Place(span.source, partition): end for partition, (_, end) in span.offsets.items()}
        return Kept(self.version + 1, {**self.firsts, **ends}, counts)


class Span(NamedTuple):
    """Offsets that are counted at once: of each partition from the first one on, and until before the end."""

    source: str
    offsets: Mapping[int, tuple[int, int]]


def kept(reader: Reader) -> Kept:
    """What was kept last. Where nothing was, nothing is counted."""
    for row in reader.frame(_KEPT, exporter=EXPORTER).iter_rows(named=True):
        places = map(Place, row["sources"], row["partitions"])
        return Kept(row["version"], dict(zip(places, row["firsts"], strict=True)), row["counts"])
    return Kept()


def keep(writer: Writer, what: Kept, *, at: datetime) -> None:
    """Instead of what was kept before."""
    places = sorted(what.firsts)
    row = {
        "exporter": EXPORTER,
        "version": what.version,
        "counted_at": at,
        "sources": [place.source for place in places],
        "partitions": [place.partition for place in places],
        "firsts": [what.firsts[place] for place in places],
        "counts": what.counts,
    }
    writer.insert_at_once(TABLE, pl.DataFrame([row], schema=_KINDS))


def stored(reader: Reader) -> dict[Place, tuple[int, int]]:
    """Of each place the first offset that was read, and the first one that may not be stored whole."""
    rows = reader.frame(_STORED).iter_rows()
    return {Place(source, partition): (first, end) for source, partition, first, end in rows}


def spans(counted: Mapping[Place, int], stored: Mapping[Place, tuple[int, int]]) -> Iterator[Span]:
    """What is stored and not counted yet, in parts of about OFFSETS_AT_ONCE."""
    begun = {place: (max(first, counted.get(place, 0)), end) for place, (first, end) in sorted(stored.items())}
    left = {place: (first, end) for place, (first, end) in begun.items() if first < end}
    for source, places in groupby(left, key=lambda place: place.source):
        of_source = {place.partition: left[place] for place in places}
        while of_source:
            share = max(1, OFFSETS_AT_ONCE // len(of_source))
            yield Span(
                source, {partition: (first, min(end, first + share)) for partition, (first, end) in of_source.items()}
            )
            of_source = {n: (first + share, end) for n, (first, end) in of_source.items() if first + share < end}


def calls_of(reader: Reader, span: Span, *, edges: Sequence[int]) -> pl.DataFrame:
    """The calls of a span that are stored, those alike in one row: what ``sinks.metrics.counts`` counts. ``at_most``
    has of each edge how many of them have no more tokens."""
    firsts, ends = zip(*span.offsets.values(), strict=True)
    return reader.frame(
        _CALLS,
        source=span.source,
        partitions=list(span.offsets),
        firsts=list(firsts),
        ends=list(ends),
        never=NEVER,
        edges=list(edges),
    )
