"""How long raw rows are kept. One number: the tables' TTL, what the worker lets in and what the audit compares.

The setting says it, ``costream migrate up`` writes it into the tables, and a worker that was told another one refuses
to start. Rollups are kept a year whatever it is.
"""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from sinks.clickhouse.connect import ClickHouseAddress, open_client, translated
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from sinks.errors import RetentionDiffers, RowsWouldExpire

COUNTED_FROM: Final = {
    "usage_events": "occurred_at",
    "dead_letters": "received_at",
    "dead_letter_states": "received_at",
}
AT_FIRST: Final = timedelta(days=90)  # what migration 001 gives the tables

TABLES: Final = """
  SELECT name, create_table_query FROM system.tables
  WHERE database = currentDatabase() AND name IN {tables:Array(String)}"""
CHANGES: Final = "SELECT changed_at, toInt64(days) AS days FROM retention_changes_rows FINAL ORDER BY changed_at"
EXPIRING: Final = """
  SELECT toInt64(count()) FROM {table}
  WHERE {column} >= fromUnixTimestamp64Milli({{start:Int64}}) AND {column} < fromUnixTimestamp64Milli({{end:Int64}})"""


def kept(reader: Reader) -> dict[str, timedelta | None]:
    """How long each table keeps its rows, as its TTL says; None where it says nothing that we would have written."""
    ddl = dict(reader.frame(TABLES, tables=[rows_of(table) for table in COUNTED_FROM]).iter_rows())
    return {table: _ttl(ddl.get(rows_of(table), ""), column) for table, column in COUNTED_FROM.items()}


def require(address: ClickHouseAddress, retention: timedelta) -> None:
    """Return if the tables keep their rows for ``retention``, else raise ``RetentionDiffers``; reads only."""
    with closing(Reader(address)) as reader:
        found = kept(reader)
    if set(found.values()) != {retention}:
        raise RetentionDiffers(where=address.url, database=address.database, wanted=retention, found=found)


def apply(address: ClickHouseAddress, retention: timedelta, *, now: datetime, drop_data: bool = False) -> bool:
    """Make the tables keep their rows for ``retention``; whether anything had to be changed.

    The parts that there are work out anew when their rows go in the background: waiting for all of a large table would
    take longer than an answer may. The change is recorded last. Should that not come to pass, the next call does it all
    again and records a later moment, and the audit compares a little less.
    """
    with closing(Reader(address)) as reader:
        found = kept(reader)
        changing = {table: span for table, span in found.items() if span != retention}
        if not changing and _last_recorded(reader) == retention:
            return False
        if not drop_data:
            _keep_rows(reader, changing, retention, now=now)
    with translated(address), closing(open_client(address)) as client:
        for table, column in COUNTED_FROM.items():
            ttl = f"toDateTime({column}) + INTERVAL {retention.days} DAY"
            client.command(f"ALTER TABLE {rows_of(table)} MODIFY TTL {ttl} SETTINGS materialize_ttl_after_modify = 0")
            client.command(f"ALTER TABLE {rows_of(table)} MATERIALIZE TTL SETTINGS mutations_sync = 0")
    change = pl.DataFrame({"changed_at": [now], "days": [retention.days]}).with_columns(
        pl.col("changed_at").cast(pl.Datetime("ms", "UTC"))
    )
    with closing(Writer(address)) as writer:
        writer.insert("retention_changes", change)
    return True


def raw_since(reader: Reader, *, now: datetime) -> datetime:
    """The moment before which raw rows may have expired: under the TTL of today, or under a shorter one before it."""
    bounds = [now - span for span in kept(reader).values() if span is not None]
    span = AT_FIRST
    for changed_at, days in reader.frame(CHANGES).iter_rows():
        bounds.append(changed_at - span)
        span = timedelta(days=days)
    return max([*bounds, now - span])


def _last_recorded(reader: Reader) -> timedelta:
    days = reader.frame(CHANGES)["days"].to_list()
    return timedelta(days=days[-1]) if days else AT_FIRST


def _keep_rows(reader: Reader, changing: dict[str, timedelta | None], retention: timedelta, *, now: datetime) -> None:
    """Raise ``RowsWouldExpire`` if rows that are kept today would go."""
    doomed = {}
    for table, span in changing.items():
        sql = EXPIRING.format(table=rows_of(table), column=COUNTED_FROM[table])
        start = _milliseconds(now - span) if span is not None else 0
        rows = reader.frame(sql, start=start, end=_milliseconds(now - retention)).item()
        if rows:
            doomed[table] = rows
    if doomed:
        raise RowsWouldExpire(retention=retention, rows=doomed)


def _ttl(ddl: str, column: str) -> timedelta | None:
    found = re.search(rf"\bTTL toDateTime\({column}\) \+ toIntervalDay\((\d+)\)", ddl)
    return timedelta(days=int(found[1])) if found else None


def _milliseconds(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)
