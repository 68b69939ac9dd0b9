"""Earlier releases, by what they wrote of a flush: the tables and columns that their migrations had made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from contextlib import closing
from decimal import Decimal
from typing import Any, Final

import polars as pl

from sinks.clickhouse.connect import translated
from sinks.clickhouse.inserter import open_inserter
from sinks.clickhouse.rows import MONEY
from sinks.clickhouse.vocabulary import DIMENSIONS, rows_of
from stream.store.flush import Flush
from tests.support.ingest import Warehouse

FIRST: Final = 2  # the newest migration of the first release
LAST_WITHOUT_VIEWS: Final = 6  # its tables were called what people type; from 7 on that is a view of each
LAST_AS_SENT: Final = 13  # it kept names as they were sent: make its flushes with a book that leaves them so
LAST_WITH_MAPS: Final = 2  # it kept the units of an hour in a map; from 3 on they are rows
KEY: Final = ("hour", *DIMENSIONS, "source_partition")
ORDER: Final = (  # dead letters come first since
    *("usage_events", "usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily", "dead_letters"),
    "ingest_ledger",
)
MAP: Final = pl.Map(pl.String, MONEY)


def insert(warehouse: Warehouse, table: str, frame: pl.DataFrame) -> None:
    """Into a table of this very name."""
    address = warehouse.writer.address
    with translated(address), closing(open_inserter(address)) as inserter:
        inserter.insert(table, frame.to_arrow())


class Release:
    """The release that made this warehouse, which has exactly its migrations. What came later it does not write."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse, self._maps = warehouse, defaultdict[tuple[Any, ...], dict[str, Decimal]](dict)
        columns = warehouse.reader.frame(
            "SELECT table, groupArray(name) AS names FROM system.columns "
            "WHERE database = currentDatabase() GROUP BY table"
        )
        self._columns: dict[str, list[str]] = dict(columns.iter_rows())

    def store(self, flush: Flush, tables: Collection[str] = ORDER) -> None:
        """These tables of a flush, in the order in which it wrote them."""
        frames = (
            *(self._events(flush), self._hourly(flush), flush.units, flush.daily, flush.user_daily, flush.dead_letters),
            flush.ledger,
        )
        if rows_of("prices") in self._columns and flush.prices.height:  # whatever is torn, since they come first
            insert(self.warehouse, rows_of("prices"), flush.prices)
        for table, frame in zip(ORDER, frames, strict=True):
            place = rows_of(table) if rows_of(table) in self._columns else table
            known = self._columns.get(place)
            if known and table in tables:
                insert(self.warehouse, place, frame.select(name for name in frame.columns if name in known))

    def _events(self, flush: Flush) -> pl.DataFrame:
        place = rows_of("usage_events") if rows_of("usage_events") in self._columns else "usage_events"
        if "cost_detail" in self._columns[place]:
            return flush.events
        return flush.events.with_columns(cost_reason="cost_detail")

    def _hourly(self, flush: Flush) -> pl.DataFrame:
        if "quantities" not in self._columns.get("usage_hourly", ()):
            return flush.hourly
        for row in flush.units.to_dicts():
            amount = row["amount_whole"] + row["amount_pico"].scaleb(-12)
            self._maps[tuple(row[name] for name in KEY)][row["unit"]] = amount
        maps = [self._maps.get(tuple(row[name] for name in KEY), {}) for row in flush.hourly.to_dicts()]
        return flush.hourly.with_columns(quantities=pl.Series(maps, dtype=MAP))
