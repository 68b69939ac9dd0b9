"""What the audit asks ClickHouse. All counting is done there; what comes back is one row a block, or what differs.

Everything is read on *closed ground*, so that a worker at work is no reason to cry wolf. A flush writes raw rows, then
rollup rows, then the ledger. The ledger is read first (``Stored``), and of the raw rows only those count that the
ledger, or the rollup row they belong to, says it has applied. What stands above is in flight.

Raw rows that stand in ``removed_events`` count as gone, whether or not their deletion has happened yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Any, Final

import polars as pl

from sinks.clickhouse.ledger import REMOVED, STORED
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import DIMENSIONS, TOKENS_WITHOUT_A_PRICE, rows_of

CORRECTION: Final = "correction:"  # before the source, in the source of a correction row

MONEY: Final = ("cost_usd", "revenue_usd")
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

END_OF_TIME: Final = date(2100, 1, 1)  # nothing later passes the gate

# What the columns of a rollup row are in the raw rows of its key.
_COUNTS: Final = {
    "calls": "toInt64(count())",
    "errors": "toInt64(countIf(status = 'error'))",
    "unpriced_calls": "toInt64(countIf(cost_status = 'unpriced'))",
    "partial_calls": "toInt64(countIf(cost_status = 'partial'))",
}
_TOKENS_OF: Final = {
    name: f"toInt64(sumIf(ifNull(input_tokens, 0) + ifNull(output_tokens, 0), cost_status = '{cost_status}'))"
    for name, cost_status in zip(TOKENS_WITHOUT_A_PRICE, ("unpriced", "partial"), strict=True)
}
_TOKENS: Final = {name: f"toInt64(ifNull(sum({name}), 0))" for name in TOKENS}
_MONEY: Final = {name: f"toDecimal128(ifNull(sum({name}), 0), 12)" for name in MONEY}
_DURATIONS: Final = {
    "duration_ms": "toInt64(ifNull(sum(duration_ms), 0))",
    "duration_calls": "toInt64(count(duration_ms))",
}
_AMOUNTS: Final = {  # `metered_text` is the decimal text of one unit of one event
    "amount_whole": "sum(toDecimal128(splitByChar('.', metered_text)[1], 0))",
    "amount_pico": "sum(toDecimal128(rightPad(splitByChar('.', metered_text)[2], 12, '0'), 0))",
}
_METERED: Final = "ARRAY JOIN JSONExtractKeysAndValues(quantities, 'String') AS metered"


@dataclass(frozen=True, slots=True)
class RollupTable:
    """A table of rollups, its key, and what its columns must equal in raw rows.

    Where a raw row adds to several rows of it, ``joined`` makes it several, and ``joined_columns`` are read of those.
    ``of_rows`` are the rows that are compared, where not all are; ``parameters`` are of the SQL here.
    """

    table: str
    bucket: str
    bucket_of_event: str
    labels: tuple[str, ...]
    columns: Mapping[str, str]
    joined: str = ""
    joined_columns: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)  # the column whose different texts it collects
    of_rows: str = "true"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.bucket, *self.labels)


HOURLY: Final = RollupTable(
    table="usage_hourly",
    bucket="hour",
    bucket_of_event="toStartOfHour(occurred_at)",
    labels=DIMENSIONS,
    columns=_COUNTS | _TOKENS_OF | _TOKENS | _MONEY | _DURATIONS,
    sets={"price_versions": "price_version"},
)
UNITS: Final = RollupTable(
    table="usage_hourly_units",
    bucket="hour",
    bucket_of_event="toStartOfHour(occurred_at)",
    labels=(*DIMENSIONS, "unit"),
    columns=_AMOUNTS,
    joined=_METERED,
    joined_columns={"unit": "tupleElement(metered, 1)", "metered_text": "tupleElement(metered, 2)"},
)
DAILY: Final = RollupTable(
    table="usage_daily",
    bucket="day",
    bucket_of_event="toDate(occurred_at)",
    labels=DIMENSIONS,
    columns=HOURLY.columns,
    sets=HOURLY.sets,
)
USER_DAILY: Final = RollupTable(
    table="usage_user_daily",
    bucket="day",
    bucket_of_event="toDate(occurred_at)",
    labels=("user_id",),
    columns=_COUNTS | _TOKENS_OF | {name: _TOKENS[name] for name in ("input_tokens", "output_tokens")} | _MONEY,
)

ROLLUPS: Final = (HOURLY, UNITS, DAILY, USER_DAILY)  # and the sums of budgets: budget_sums.py

Stored = Sequence[tuple[str, int, int]]  # source, partition, the offset after the last one in the ledger


# --- the ledger ------------------------------------------------------------------------------------------------------

LEDGER: Final = """
SELECT source, toInt64(source_partition) AS source_partition, toInt64(offset_block) AS offset_block,
  toInt64(offset_first) AS offset_first, toInt64(version) AS offset_last, toInt64(received) AS received,
  toInt64(stored) AS stored, toInt64(duplicates) AS duplicates, toInt64(dead_lettered) AS dead_lettered,
  toInt64(forwarded) AS forwarded
FROM ingest_ledger_rows FINAL
ORDER BY source, source_partition, offset_block"""

# `events` and `dead_letters` are rows that can be counted today, `removed` what the audit itself took out.
BLOCKS: Final = f"""
WITH {STORED}
SELECT source, toInt64(source_partition) AS source_partition, toInt64(bitShiftRight(source_offset, 16)) AS offset_block,
  toInt64(countIf(kind = 'event' AND NOT ahead)) AS events,
  toInt64(countIf(kind = 'event' AND NOT ahead AND occurred_at < {{horizon:DateTime('UTC')}})) AS events_expiring,
  toInt64(countIf(kind = 'removed' AND NOT ahead)) AS removed,
  toInt64(countIf(kind = 'dead letter' AND NOT ahead)) AS dead_letters,
  toInt64(countIf(ahead)) AS in_flight,
  minIf(received_at, kind != 'removed') AS received_first
FROM (
  SELECT *, source_offset >= stored_next AS ahead
  FROM (
    SELECT source, source_partition, source_offset, occurred_at, received_at, 'event' AS kind
    FROM usage_events_rows FINAL
    WHERE (source, source_partition, source_offset) NOT IN {REMOVED}
    UNION ALL
    SELECT source, source_partition, source_offset, occurred_at, removed_at, 'removed'
    FROM removed_events_rows FINAL
    UNION ALL
    SELECT source, source_partition, source_offset, received_at, received_at, 'dead letter'
    FROM dead_letters_rows FINAL
  ) AS records LEFT ANY JOIN stored USING (source, source_partition)
)
GROUP BY source, source_partition, offset_block
ORDER BY source, source_partition, offset_block"""  # noqa: S608 - all parts are constants above

# Calls of hours whose raw rows may have expired: they explain raw rows that the ledger has and nobody can count.
EXPIRED: Final = f"""
SELECT if(startsWith(source, '{CORRECTION}'), substring(source, {len(CORRECTION) + 1}), source) AS origin,
  toInt64(source_partition) AS source_partition,
  toInt64(sumIf(calls, hour < {{horizon:DateTime('UTC')}})) AS calls_expired,
  toInt64(minIf(version, NOT startsWith(source, '{CORRECTION}'))) AS applied_first,
  min(hour) AS hour_first
FROM usage_hourly_rows FINAL
GROUP BY origin, source_partition"""  # noqa: S608 - the prefix is a constant above


def ledger(reader: Reader) -> pl.DataFrame:
    """One row a block of offsets: where its records went."""
    return reader.frame(LEDGER)


def stored_to(ledger_rows: pl.DataFrame) -> list[tuple[str, int, int]]:
    """For each source and partition the offset after the last one in the ledger."""
    last = ledger_rows.group_by("source", "source_partition").agg(pl.col("offset_last").max() + 1)
    return [(source, partition, after) for source, partition, after in last.sort(pl.all()).iter_rows()]


def blocks(reader: Reader, *, stored: Stored, horizon: datetime) -> pl.DataFrame:
    """One row a block of offsets: the rows of each table that come from it."""
    return reader.frame(BLOCKS, stored=list(stored), horizon=horizon)


def expired(reader: Reader, *, horizon: datetime) -> pl.DataFrame:
    """One row a source and partition: how many calls only the rollups remember."""
    return reader.frame(EXPIRED, horizon=horizon)


# --- raw rows against rollups ----------------------------------------------------------------------------------------


def differing_sql(spec: RollupTable) -> str:
    """The cells (key, source, partition) where raw rows and rollup do not agree, with what each of them says.

    ``m_raw`` is the raw rows' sum, ``m_worker`` the worker's own row, ``m_rolled`` that row with its correction. Of a
    set the rollup may have more, since it keeps what was taken back. ``corrected_version`` is that of the correction.
    """
    keys = ", ".join(spec.keys)
    measures = ", ".join((*spec.columns, *spec.sets))
    return f"""
WITH {STORED},
  rolled AS (
    SELECT {keys}, {measures}, {_ORIGIN}, version + 1 AS applied_next
    FROM {rows_of(spec.table)} FINAL
    WHERE {spec.bucket} >= {{start:Date}} AND {spec.bucket} < {{end:Date}} AND {spec.of_rows}),
  raw AS ({_calls(spec)}),
  applied AS (
    SELECT *
    FROM raw
    LEFT ANY JOIN (SELECT {keys}, origin, origin_partition, applied_next FROM rolled WHERE NOT is_correction) AS own
      USING ({keys}, origin, origin_partition)
    LEFT ANY JOIN stored USING (source, source_partition)
    WHERE source_offset < greatest(applied_next, stored_next))
SELECT *, toInt64(count() OVER ()) AS differing
FROM (
  SELECT {keys}, origin AS source, toInt64(origin_partition) AS source_partition,
    {_sums("raw", "side = 'raw'", spec)},
    {_sums("worker", "side = 'worker'", spec)},
    {_sums("rolled", "side != 'raw'", spec)},
    toInt64(maxIf(version, side = 'correction')) AS corrected_version
  FROM (
    SELECT {keys}, origin, origin_partition, if(is_correction, 'correction', 'worker') AS side,
      applied_next - 1 AS version, {measures}
    FROM rolled
    UNION ALL
    SELECT {keys}, origin, origin_partition, 'raw', 0, {", ".join((*spec.columns.values(), *_collected(spec)))}
    FROM applied GROUP BY {keys}, origin, origin_partition)
  GROUP BY {keys}, origin, origin_partition)
WHERE {" OR ".join(_differs(spec))}
ORDER BY {keys}, source, source_partition
LIMIT {{limit:UInt32}}"""  # noqa: S608 - every part comes from the constants above


def settled_sql(spec: RollupTable) -> str:
    """Like ``differing_sql``, of what was at rest when the ledger was read, which makes one reading enough.

    Only what the ledger had applied is added up on the side of the calls. A worker's row that has applied no more than
    that is then its whole sum of the same calls, whichever table is read first. One that has applied more is ``ahead``:
    of its numbers nothing is said.
    """
    keys = ", ".join(spec.keys)
    measures = ", ".join((*spec.columns, *spec.sets))
    return f"""
WITH {STORED},
  told AS (
    SELECT {keys}, {measures}, {_ORIGIN}, version, if(is_correction, 'correction', 'worker') AS side
    FROM {rows_of(spec.table)} FINAL
    WHERE {spec.bucket} >= {{start:Date}} AND {spec.bucket} < {{end:Date}} AND {spec.of_rows}
    UNION ALL
    SELECT {keys}, {", ".join((*spec.columns.values(), *_collected(spec)))}, false, origin, origin_partition,
      toUInt64(0), 'raw'
    FROM ({_calls(spec)}) AS calls
    LEFT ANY JOIN stored USING (source, source_partition)
    WHERE source_offset < stored_next
    GROUP BY {keys}, origin, origin_partition)
SELECT cells.*, toBool(cells.applied >= stored.stored_next) AS ahead
FROM (
  SELECT {keys}, origin AS source, toInt64(origin_partition) AS source_partition,
    {_sums("raw", "side = 'raw'", spec)},
    {_sums("worker", "side = 'worker'", spec)},
    {_sums("rolled", "side != 'raw'", spec)},
    maxIf(version, side = 'worker') AS applied,
    toInt64(maxIf(version, side = 'correction')) AS corrected_version
  FROM told
  GROUP BY {keys}, origin, origin_partition) AS cells
LEFT ANY JOIN stored USING (source, source_partition)
WHERE ahead OR {" OR ".join(_differs(spec))}
ORDER BY {keys}, source, source_partition
LIMIT {{limit:UInt32}}"""  # noqa: S608 - every part comes from the constants above


# Of a row of rollups: whether it is a correction, and of which source and partition.
_ORIGIN: Final = (
    f"startsWith(source, '{CORRECTION}') AS is_correction, "
    f"if(is_correction, substring(source, {len(CORRECTION) + 1}), source) AS origin, "
    "source_partition AS origin_partition"
)


def _calls(spec: RollupTable) -> str:
    """The calls of the days that are asked about, with the bucket that each belongs to."""
    columns = {spec.bucket: spec.bucket_of_event, **spec.joined_columns}
    read = "".join(f"{sql} AS {name}, " for name, sql in columns.items())
    return f"""
    SELECT *, {read} source AS origin, source_partition AS origin_partition
    FROM usage_events_rows FINAL {spec.joined}
    WHERE occurred_at >= {{start:Date}} AND occurred_at < {{end:Date}}
      AND (source, source_partition, source_offset) NOT IN {REMOVED}"""  # noqa: S608 - constants above


def _collected(spec: RollupTable) -> list[str]:
    return [f"groupUniqArrayIf(toString({name}), {name} != '') AS {as_}_of_raw" for as_, name in spec.sets.items()]


def _differs(spec: RollupTable) -> list[str]:
    differs = [f"{name}_raw != {name}_rolled" for name in spec.columns]
    return differs + [f"NOT hasAll({name}_rolled, {name}_raw)" for name in spec.sets]


def _sums(as_: str, of: str, spec: RollupTable) -> str:
    """One column a measure or a set. A sum is unknown where one of its rows is, and then it differs from nothing."""
    sums = [
        f"if(countIf(isNull({name}) AND {of}) > 0, NULL, ifNull(sumIf({name}, {of}), 0)) AS {name}_{as_}"
        if name in TOKENS_WITHOUT_A_PRICE
        else f"sumIf({name}, {of}) AS {name}_{as_}"
        for name in spec.columns
    ]
    sets = [f"arraySort(groupUniqArrayArrayIf({name}, {of})) AS {name}_{as_}" for name in spec.sets]
    return ", ".join([*sums, *sets])


def differing(reader: Reader, spec: RollupTable, *, stored: Stored, start: date, end: date, limit: int) -> pl.DataFrame:
    """The cells from ``start`` until before ``end`` where raw rows and rollup do not agree; at most ``limit``."""
    asked = {"stored": list(stored), "start": start, "end": end, "limit": limit}
    return reader.frame(differing_sql(spec), **asked, **spec.parameters)


def settled(reader: Reader, spec: RollupTable, *, stored: Stored, start: date, end: date, limit: int) -> pl.DataFrame:
    """The cells from ``start`` until before ``end`` that differ, or are ahead of the ledger; at most ``limit``."""
    asked = {"stored": list(stored), "start": start, "end": end, "limit": limit}
    return reader.frame(settled_sql(spec), **asked, **spec.parameters)


CELLS: Final = "SELECT toInt64(count()) FROM {table} FINAL WHERE {bucket} >= {{start:Date}} AND {of_rows}"
DAYS: Final = """
SELECT toDate(occurred_at) AS day, toInt64(count()) AS rows
FROM usage_events_rows WHERE occurred_at >= {start:Date}
GROUP BY day ORDER BY day"""


def cells(reader: Reader, spec: RollupTable, *, start: date) -> int:
    """How many rows of a rollup are compared."""
    sql = CELLS.format(table=rows_of(spec.table), bucket=spec.bucket, of_rows=spec.of_rows)
    return int(reader.frame(sql, start=start).item())


def spans(reader: Reader, *, start: date, rows_max: int) -> list[tuple[date, date]]:
    """Whole days from ``start`` on, in runs of about ``rows_max`` raw rows, without a gap, open to the future."""
    bounds, held = [start], 0
    for day, count in reader.frame(DAYS, start=start).iter_rows():
        if held and held + count > rows_max:
            bounds.append(day)
            held = 0
        held += count
    return list(pairwise([*bounds, END_OF_TIME]))


# --- ids counted twice -----------------------------------------------------------------------------------------------

# Of the rows of one id the first to arrive is the one that counts; the others are the answer. By shards of ids, so that
# the memory needed does not grow with the table.
REPEATED: Final = f"""
WITH {STORED},
  raw AS (
    SELECT request_id, occurred_at, received_at, source, source_partition, source_offset,
      provider, model, feature, cost_usd
    FROM usage_events_rows FINAL
    WHERE cityHash64(request_id) % {{shards:UInt32}} = {{shard:UInt32}}
      AND (source, source_partition, source_offset) NOT IN {REMOVED}),
  settled AS (
    SELECT * FROM raw LEFT ANY JOIN stored USING (source, source_partition) WHERE source_offset < stored_next)
SELECT request_id, occurred_at, received_at, source, toInt64(source_partition) AS source_partition,
  toInt64(source_offset) AS source_offset, provider, model, feature, cost_usd, kept_occurred_at,
  toInt64(count() OVER ()) AS repeats
FROM (
  SELECT *, row_number() OVER arrivals AS copy, first_value(occurred_at) OVER arrivals AS kept_occurred_at
  FROM settled
  WHERE request_id IN (SELECT request_id FROM settled GROUP BY request_id HAVING count() > 1)
  WINDOW arrivals AS (PARTITION BY request_id ORDER BY received_at, source_offset, source, source_partition))
WHERE copy > 1 AND occurred_at >= {{start:Date}}
ORDER BY request_id, copy
LIMIT {{limit:UInt32}}"""  # noqa: S608 - all parts are constants above
ROWS: Final = "SELECT toInt64(count()) FROM usage_events_rows"
REMOVALS: Final = "SELECT toInt64(count()) FROM removed_events_rows FINAL"

# Written to removed_events and still there: a repair that broke off, or a worker that read the record once more.
PENDING: Final = f"""
SELECT request_id, occurred_at, source, toInt64(source_partition) AS source_partition,
  toInt64(source_offset) AS source_offset, toInt64(count() OVER ()) AS pending
FROM usage_events_rows FINAL
WHERE (source, source_partition, source_offset) IN {REMOVED}
ORDER BY source, source_partition, source_offset
LIMIT {{limit:UInt32}}"""  # noqa: S608 - all parts are constants above


def rows(reader: Reader) -> int:
    """Raw rows, unmerged copies included."""
    return int(reader.frame(ROWS).item())


def removals(reader: Reader) -> int:
    """How many events an audit has removed so far."""
    return int(reader.frame(REMOVALS).item())


def shards(reader: Reader, *, rows_max: int) -> int:
    """Into how many shards the ids are split so that each holds about ``rows_max``."""
    return -(-rows(reader) // rows_max) or 1


def repeated(reader: Reader, *, stored: Stored, start: date, shard: int, shards: int, limit: int) -> pl.DataFrame:
    """The rows of one shard whose id is counted by an earlier row already; at most ``limit``."""
    return reader.frame(REPEATED, stored=list(stored), start=start, shard=shard, shards=shards, limit=limit)


def pending(reader: Reader, *, limit: int) -> pl.DataFrame:
    """Raw rows that were to be removed and are there; at most ``limit``."""
    return reader.frame(PENDING, limit=limit)


# --- what a repair reads ---------------------------------------------------------------------------------------------

AT: Final = "(source, source_partition, source_offset) IN {positions:Array(Tuple(String, UInt16, UInt64))}"
WHOLE: Final = f"SELECT * FROM usage_events_rows FINAL WHERE {AT}"  # noqa: S608 - a constant

# The removed events of each cell: they are repeats of counted ids, which is what the column `duplicates` counts.
TAKEN_OUT: Final = f"""
SELECT toStartOfHour(occurred_at) AS hour,
  {", ".join(f"JSONExtractString(event, '{name}') AS {name}" for name in DIMENSIONS)},
  source, toInt64(source_partition) AS source_partition, toInt64(count()) AS duplicates
FROM removed_events_rows FINAL
GROUP BY ALL"""  # noqa: S608 - the names are constants above


def whole_rows(reader: Reader, positions: Sequence[tuple[str, int, int]]) -> pl.DataFrame:
    """Raw rows by their place in the log, every column of them."""
    return reader.frame(WHOLE, positions=list(positions))


def taken_out(reader: Reader) -> pl.DataFrame:
    """How many events were removed, by cell of usage_hourly."""
    return reader.frame(TAKEN_OUT)
