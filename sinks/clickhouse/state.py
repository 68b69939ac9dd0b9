"""What the stream reads back: the ids it has counted and the rows it has summed. The warehouse is its only memory.

Every question runs with FINAL: of two copies of a row only the winning one is seen. FINAL may skip merging across
partitions, because a row's partition follows from its sort key and copies always meet in one.

Types are those of the stream's own frames: text String, counts Int64 (null where none was reported), times
``Datetime("ms", "UTC")``, money as integers of 1e-12 USD (Int64 for one event, Int128 for a sum), maps as JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar

import polars as pl

from sinks.clickhouse.connect import quoted
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import to_integers
from sinks.clickhouse.vocabulary import DIMENSIONS, VERSION_END, rows_of
from sinks.errors import VersionNotUnderstood

T = TypeVar("T")

BLOCK_ROWS_MAX: Final = 500_000  # about 150 MB as a frame; an hour busier than this comes as one larger block
ID_BYTES_MAX: Final = 64_000  # of ids in one question: a server takes 128 KiB as one parameter
VALUES_MAX: Final = 1_000  # hours or days in one question, for the same reason
# Of keys in one parameter, but for the last that begins in it: the driver writes a quote as two bytes.
KEY_BYTES_MAX: Final = 56_000
PARTS_MAX: Final = 64  # parameters of keys: a question reads much of its hours, so one for a whole batch is best

LABELS: Final = ", ".join(DIMENSIONS)

# What was sent, which is what contents are compared by: of a name the text beside it, where that was another one.
NAMES: Final = ("provider", "model")
SENT_AS: Final = {name: f"if(e.{name}_sent = '', e.{name}, e.{name}_sent) AS {name}" for name in NAMES}
STORED_AS: Final = ", ".join(f"e.{name} AS {name}_stored" for name in NAMES)

EVENT_COLUMNS: Final = f"""
  request_id, occurred_at, source,
  toInt64(source_partition) AS source_partition, toInt64(source_offset) AS source_offset,
  {", ".join(SENT_AS.get(name, name) for name in DIMENSIONS)}, {STORED_AS},
  user_id, service_tier, inference_geo, status, usage_status,
  toInt64(input_tokens) AS input_tokens, toInt64(output_tokens) AS output_tokens,
  toInt64(cache_read_tokens) AS cache_read_tokens, toInt64(cache_write_tokens) AS cache_write_tokens,
  toInt64(reasoning_tokens) AS reasoning_tokens, quantities, unit_prices,
  reported_cost_usd AS reported_cost_pico, revenue_usd AS revenue_pico, toInt64(duration_ms) AS duration_ms,
  utilization AS utilization_micro"""

# An id's home is the partition Kafka's own murmur2 gives its key; ClickHouse computes the same, already positive.
# By home, so that an id is found whatever partition or topic incarnation it once came from; by source as well, so that
# a replay is known for a replay.
RECENT: Final = """
  occurred_at >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
  AND occurred_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
  AND (has({partitions:Array(Int64)}, toInt64(kafkaMurmurHash(request_id) % {partition_count:UInt32}))
    OR (source = {source:String} AND has({partitions:Array(Int64)}, toInt64(source_partition))))"""

OF_IDS: Final = "occurred_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND request_id IN {ids:Array(String)}"
STORED: Final = "toStartOfHour(occurred_at) IN {hours:Array(UInt32)} AND request_id IN {ids:Array(String)}"

# What was worked out of an event when it was stored first. It stays when the record is delivered again, whatever the
# present build would make of it: sums have been made of it.
DERIVED: Final = (
    *("provider", "model", "provider_sent", "model_sent"),
    *("cost_pico", "cost_status", "cost_reason", "cost_detail"),
    *("price_version", "price_source", "price_id", "price_rev"),
)
STORED_DERIVED: Final = """
  SELECT toInt64(source_partition) AS source_partition, toInt64(source_offset) AS source_offset,
    provider, model, provider_sent, model_sent,
    cost_usd AS cost_pico, cost_status, cost_reason, cost_detail, price_version, price_source, price_id,
    toInt64(price_rev) AS price_rev
  FROM usage_events_rows FINAL
  WHERE toStartOfHour(occurred_at) IN {hours:Array(UInt32)} AND source = {source:String}
    AND arrayExists(r -> source_partition = r.1 AND source_offset BETWEEN r.2 AND r.3,
      {ranges:Array(Tuple(UInt16, UInt64, UInt64))})
  SETTINGS do_not_merge_across_partitions_select_final = 1"""

LETTERS_TO: Final = """
  SELECT toInt64(source_partition) AS source_partition, toInt64(max(source_offset)) AS source_offset
  FROM dead_letters_rows WHERE source = {source:String} AND has({partitions:Array(Int64)}, toInt64(source_partition))
  GROUP BY source_partition"""

LETTERS: Final = """
  SELECT toInt64(source_partition) AS source_partition, toInt64(source_offset) AS source_offset, kind, reason,
    toUnixTimestamp64Milli(received_at) AS received_at
  FROM dead_letters_rows FINAL
  WHERE source = {source:String} AND source_partition = {partition:UInt16}
    AND source_offset BETWEEN {first:UInt64} AND {last:UInt64}"""

HOURS_FILLED: Final = """
  SELECT toInt64(toUnixTimestamp(toStartOfHour(occurred_at))) * 1000 AS hour, toInt64(count()) AS rows
  FROM usage_events_rows WHERE occurred_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  GROUP BY hour ORDER BY hour"""

_SUMS: Final = """
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd AS cost_pico, revenue_usd AS revenue_pico, duration_ms, duration_calls, price_versions,
    toInt64(version) AS version"""

HOURLY_SQL: Final = f"""
  SELECT hour, {LABELS}, source, toInt64(source_partition) AS source_partition, duplicates, {_SUMS}
  FROM usage_hourly_rows FINAL
  WHERE source = {{source:String}} AND has({{partitions:Array(Int64)}}, toInt64(source_partition))
    AND hour IN {{values:Array(UInt32)}}"""  # noqa: S608 - names written here

UNITS_SQL: Final = f"""
  SELECT hour, {LABELS}, unit,
    source, toInt64(source_partition) AS source_partition, amount_whole, amount_pico, toInt64(version) AS version
  FROM usage_hourly_units_rows FINAL
  WHERE source = {{source:String}} AND has({{partitions:Array(Int64)}}, toInt64(source_partition))
    AND hour IN {{values:Array(UInt32)}}"""  # noqa: S608 - names written here

DAILY_SQL: Final = f"""
  SELECT day, {LABELS}, source, toInt64(source_partition) AS source_partition, {_SUMS}
  FROM usage_daily_rows FINAL
  WHERE source = {{source:String}} AND has({{partitions:Array(Int64)}}, toInt64(source_partition))
    AND day IN {{values:Array(Date)}}"""  # noqa: S608 - names written here

USER_DAILY_SQL: Final = """
  SELECT day, user_id, source, toInt64(source_partition) AS source_partition,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cost_usd AS cost_pico, revenue_usd AS revenue_pico, toInt64(version) AS version
  FROM usage_user_daily_rows FINAL
  WHERE source = {source:String} AND has({partitions:Array(Int64)}, toInt64(source_partition))
    AND day IN {values:Array(Date)}"""

BUDGET_SPEND_SQL: Final = """
  SELECT day, spending, subject, period_start, period_end, source, toInt64(source_partition) AS source_partition,
    calls, unpriced_calls, cost_usd AS cost_pico, toInt64(version) AS version
  FROM budget_spend_rows FINAL
  WHERE source = {source:String} AND has({partitions:Array(Int64)}, toInt64(source_partition))
    AND day IN {values:Array(Date)}"""

LEDGER_SQL: Final = """
  SELECT source, toInt64(source_partition) AS source_partition, toInt64(offset_block) AS offset_block,
    toInt64(offset_first) AS offset_first, toInt64(received) AS received, toInt64(stored) AS stored,
    toInt64(duplicates) AS duplicates, toInt64(dead_lettered) AS dead_lettered, toInt64(forwarded) AS forwarded,
    toInt64(version) AS version
  FROM ingest_ledger_rows FINAL
  WHERE source = {source:String} AND has({partitions:Array(Int64)}, toInt64(source_partition))
    AND has({values:Array(Int64)}, toInt64(offset_block))"""
APART: Final = "\n  SETTINGS do_not_merge_across_partitions_select_final = 1"


@dataclass(frozen=True, slots=True)
class StoredRollup:
    """A table of rollups, how its rows are asked for, and their key beside source and partition."""

    name: str
    sql: str
    bucket: str
    bucket_type: str
    labels: tuple[str, ...] = ()
    times: frozenset[str] = frozenset()  # labels that are moments; the others are text

    def kind_of(self, label: str) -> str:
        return "UInt32" if label in self.times else "String"


ROLLUPS: Final = {
    table.name: table
    for table in (
        StoredRollup("usage_hourly", HOURLY_SQL, "hour", "UInt32", DIMENSIONS),
        StoredRollup("usage_hourly_units", UNITS_SQL, "hour", "UInt32", (*DIMENSIONS, "unit")),
        StoredRollup("usage_daily", DAILY_SQL, "day", "Date", DIMENSIONS),
        StoredRollup("usage_user_daily", USER_DAILY_SQL, "day", "Date", ("user_id",)),
        StoredRollup(
            "budget_spend",
            BUDGET_SPEND_SQL,
            "day",
            "Date",
            ("spending", "subject", "period_start", "period_end"),
            times=frozenset({"period_start", "period_end"}),
        ),
        StoredRollup("ingest_ledger", LEDGER_SQL, "offset_block", "UInt64"),
    )
}


# A version is the offset applied last. A row that lost to a newer one has applied less, so no FINAL is needed.
APPLIED: Final = """
  SELECT toInt64(source_partition) AS source_partition, toInt64(max(version)) AS version
  FROM {table} WHERE source = {{source:String}} AND has({{partitions:Array(Int64)}}, toInt64(source_partition))
  GROUP BY source_partition"""


def recent_ids(
    reader: Reader, *, partitions: Sequence[int], partition_count: int, source: str, since: datetime
) -> Iterator[pl.DataFrame]:
    """The events since ``since`` whose id has its home in ``partitions``, or that were read from them, oldest first.

    In blocks of whole hours, which is how the table is sorted, so that the memory needed does not grow with the window.
    """
    for start, end in _blocks(reader, since):
        yield _events(
            reader,
            RECENT,
            start=start,
            end=end,
            partitions=list(partitions),
            partition_count=partition_count,
            source=source,
        )


def stored_ids(reader: Reader, *, request_ids: Sequence[str], hours: Sequence[datetime]) -> pl.DataFrame:
    """The stored events with one of ``request_ids`` in one of ``hours`` (the whole hours around these moments)."""
    parts = [
        _events(reader, STORED, ids=ids, hours=some)
        for ids in _by_bytes(sorted(set(request_ids)))
        for some in _chunks(_whole_hours(hours))
    ]
    return pl.concat(parts) if parts else _events(reader, "0")


def events_of_ids(reader: Reader, *, request_ids: Sequence[str], since: datetime) -> pl.DataFrame:
    """The stored events with one of ``request_ids`` that occurred since then, with the time of their arrival too."""
    start = round(since.timestamp() * 1000)
    columns = f"{EVENT_COLUMNS}, received_at"
    parts = [
        _events(reader, OF_IDS, columns=columns, ids=ids, since=start) for ids in _by_bytes(sorted(set(request_ids)))
    ]
    return pl.concat(parts) if parts else _events(reader, "0", columns=columns)


def derived(
    reader: Reader, *, source: str, offsets: Mapping[int, tuple[int, int]], hours: Sequence[datetime]
) -> pl.DataFrame:
    """What is stored as DERIVED of the events of ``source`` in the whole ``hours``, by partition and offset.

    ``offsets`` has the first and the last offset wanted of each partition. What lies between comes along: a stretch
    that is delivered again has no holes worth a longer question.
    """
    ranges = [(partition, first, last) for partition, (first, last) in offsets.items()]
    parts = [
        reader.frame(STORED_DERIVED, source=source, ranges=ranges, hours=some) for some in _chunks(_whole_hours(hours))
    ]
    return to_integers(pl.concat(parts), pl.Int64)


def letters_to(reader: Reader, *, source: str, partitions: Sequence[int]) -> dict[int, int]:
    """The greatest offset that has a dead letter, for the partitions that have any."""
    return dict(reader.frame(LETTERS_TO, source=source, partitions=list(partitions)).iter_rows())


def letters(reader: Reader, *, source: str, offsets: Mapping[int, tuple[int, int]]) -> pl.DataFrame:
    """Place, kind, reason and arrival (in milliseconds) of the dead letters between these offsets, both included."""
    parts = [
        reader.frame(LETTERS, source=source, partition=partition, first=first, last=last)
        for partition, (first, last) in offsets.items()
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=LETTERS_SCHEMA)


LETTERS_SCHEMA: Final = {
    **dict.fromkeys(("source_partition", "source_offset"), pl.Int64()),
    **dict.fromkeys(("kind", "reason"), pl.String()),
    "received_at": pl.Int64(),
}


def rollup_rows(
    reader: Reader, table: StoredRollup, *, source: str, partitions: Sequence[int], buckets: Sequence[Any], limit: int
) -> pl.DataFrame:
    """The rows of these partitions and buckets, at most ``limit``."""
    parts: list[pl.DataFrame] = []
    for values in _chunks(_bucket_values(buckets)) or [[]]:
        left = limit - sum(part.height for part in parts)
        sql = f"{table.sql}\n  LIMIT {{limit:UInt64}}{APART}"
        parts.append(reader.frame(sql, source=source, partitions=list(partitions), values=values, limit=left))
    return to_integers(_understood(pl.concat(parts), table.name, source), pl.Int128)


def rollup_keys(
    reader: Reader, table: StoredRollup, *, source: str, partitions: Sequence[int], buckets: Sequence[Any]
) -> Iterator[pl.DataFrame]:
    """The keys of all rows of these partitions and buckets, in blocks of about BLOCK_ROWS_MAX."""
    where = f"""FROM {rows_of(table.name)}
      WHERE source = {{source:String}} AND has({{partitions:Array(Int64)}}, toInt64(source_partition))
        AND {table.bucket} IN {{values:Array({table.bucket_type})}}"""
    key = ", ".join((table.bucket, *table.labels))
    for values in _chunks(_bucket_values(buckets)):
        asked = {"source": source, "partitions": list(partitions), "values": values}
        shards = 1 + reader.frame(f"SELECT toInt64(count()) {where}", **asked).item() // BLOCK_ROWS_MAX
        for shard in range(shards):
            sql = f"""SELECT DISTINCT {key}, toInt64(source_partition) AS source_partition {where}
              AND cityHash64({key}) % {{shards:UInt32}} = {{shard:UInt32}}"""
            yield reader.frame(sql, **asked, shards=shards, shard=shard)


def rollup_rows_of(reader: Reader, table: StoredRollup, *, source: str, keys: pl.DataFrame) -> pl.DataFrame:
    """The rows of these keys (columns source_partition, bucket and labels)."""
    names = (table.bucket, *table.labels, f"{rows_of(table.name)}.source_partition")
    kinds = ", ".join([table.bucket_type, *map(table.kind_of, table.labels), "UInt16"])
    parts = []
    for texts, some in _questions(table, keys):
        given = {f"keys_{at}": text for at, text in enumerate(texts)}
        lists = ", ".join(f"CAST({{{name}:String}}, 'Array(Tuple({kinds}))')" for name in given)
        sql = f"{table.sql}\n    AND ({', '.join(names)}) IN (SELECT arrayJoin(arrayConcat({lists}, []))){APART}"
        values = _bucket_values(some[table.bucket].unique().to_list())
        partitions = some["source_partition"].unique().to_list()
        parts.append(reader.frame(sql, source=source, partitions=partitions, values=values, **given))
    return to_integers(_understood(pl.concat(parts), table.name, source), pl.Int128)


def _questions(table: StoredRollup, keys: pl.DataFrame) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """Keys as questions that a server takes: the texts of lists of tuples, and the keys they are of. In the order of
    the table, so that what is close together there is asked for together."""
    placed = keys.sort(table.bucket, *(name for name in ("model", "feature") if name in table.labels)).with_columns(
        key=pl.format(
            f"({', '.join(['{}'] * (len(table.labels) + 2))})",
            _bucket_text(keys.schema[table.bucket], table.bucket),
            *(pl.col(name).dt.epoch("s") if name in table.times else _quoted_text(name) for name in table.labels),
            "source_partition",
        )
    )
    size = pl.col("key").str.len_bytes().cast(pl.Int64) + 1
    placed = placed.with_columns(
        part=(size.cum_sum() - size) // KEY_BYTES_MAX, values=(pl.col(table.bucket).rank("dense") - 1) // VALUES_MAX
    ).with_columns(question=pl.col("part") // PARTS_MAX)
    for _, some in placed.group_by("question", "values", maintain_order=True):
        lists = some.group_by("part", maintain_order=True).agg(pl.col("key").str.join(","))
        yield [f"[{text}]" for text in lists["key"]], some


def _bucket_text(kind: pl.DataType, bucket: str) -> pl.Expr:
    """As ``_bucket_value`` has it."""
    if isinstance(kind, pl.Datetime):
        return pl.col(bucket).dt.epoch("s")
    return pl.format("'{}'", pl.col(bucket).dt.to_string("iso")) if kind == pl.Date else pl.col(bucket)


def _quoted_text(name: str) -> pl.Expr:
    escaped = pl.col(name).str.replace_all("\\", "\\\\", literal=True).str.replace_all("'", "\\'", literal=True)
    return pl.format("'{}'", escaped)


def applied_offsets(reader: Reader, table: str, *, source: str, partitions: Sequence[int]) -> dict[int, int]:
    """The greatest offset that any row of a rollup table has applied, for the partitions that have rows at all."""
    sql = APPLIED.format(table=quoted(rows_of(table)))
    rows = reader.frame(sql, source=source, partitions=list(partitions))
    return dict(_understood(rows, table, source).iter_rows())


END_OF_TIME: Final = 4_102_444_800_000  # 2100-01-01 in milliseconds: nothing later passes the gate


def _blocks(reader: Reader, since: datetime) -> Iterator[tuple[int, int]]:
    """The last one is open to the future."""
    start = round(since.timestamp() * 1000)
    return runs_of_hours(reader.frame(HOURS_FILLED, since=start), start=start, end=END_OF_TIME)


def runs_of_hours(filled: pl.DataFrame, *, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Bounds in milliseconds of runs of hours with about BLOCK_ROWS_MAX rows, without a gap. ``filled`` has the hours
    in their order, and how many rows each has."""
    rows = 0
    for hour, count in filled.iter_rows():
        if rows and rows + count > BLOCK_ROWS_MAX:
            yield start, hour
            start, rows = hour, 0
        rows += count
    yield start, end


def _events(reader: Reader, where: str, *, columns: str = EVENT_COLUMNS, **parameters: Any) -> pl.DataFrame:
    sql = (
        f"SELECT {columns} FROM usage_events_rows AS e FINAL WHERE {where} "  # noqa: S608 - both parts are constants above
        "SETTINGS do_not_merge_across_partitions_select_final = 1"
    )
    return to_integers(reader.frame(sql, **parameters), pl.Int64)


def _understood(rows: pl.DataFrame, table: str, source: str) -> pl.DataFrame:
    """``rows``, if every version can be an offset: a row that follows another rule must not be added to."""
    strange = rows.filter(~pl.col("version").is_between(0, VERSION_END, closed="left"))  # toInt64 makes 2^63 negative
    if strange.height:
        partition, version = strange.select("source_partition", "version").row(0)
        raise VersionNotUnderstood(table=table, source=source, partition=partition, version=version % 2**64)
    return rows


def _whole_hours(moments: Sequence[datetime]) -> list[int]:
    return sorted({int(moment.timestamp()) // 3600 * 3600 for moment in moments})


def _bucket_values(buckets: Sequence[Any]) -> list[Any]:
    """Hours, days or numbers as a question has them."""
    return sorted({_bucket_value(bucket) for bucket in buckets})


def _bucket_value(bucket: Any) -> Any:
    if isinstance(bucket, datetime):
        return int(bucket.timestamp())
    return bucket.isoformat() if isinstance(bucket, date) else bucket


def _chunks(values: Sequence[T]) -> list[list[T]]:
    return [list(values[at : at + VALUES_MAX]) for at in range(0, len(values), VALUES_MAX)]


def _by_bytes(ids: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for request_id in ids:
        size += len(request_id.encode()) + 4  # its quotes, comma and space
        if some and size > ID_BYTES_MAX:
            yield some
            some, size = [], len(request_id.encode()) + 4
        some.append(request_id)
    if some:
        yield some
