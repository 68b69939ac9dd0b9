"""Earlier releases, by what they wrote of a flush: the tables and columns that their migrations had made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

import polars as pl

from sinks.clickhouse.rows import MONEY
from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.store.flush import Flush
from tests.support.ingest import Warehouse

FIRST: Final = 2  # the newest migration of the first release
LAST_WITH_MAPS: Final = 2  # it kept the units of an hour in a map; from 3 on they are rows
KEY: Final = ("hour", *DIMENSIONS, "source_partition")
ORDER: Final = (  # dead letters come first since
    *("usage_events", "usage_hourly", "usage_hourly_units", "usage_user_daily", "dead_letters", "ingest_ledger"),
)
MAP: Final = pl.Map(pl.String, MONEY)


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
        frames = (flush.events, self._hourly(flush), flush.units, flush.user_daily, flush.dead_letters, flush.ledger)
        for table, frame in zip(ORDER, frames, strict=True):
            known = self._columns.get(table)
            if known and table in tables:
                self.warehouse.writer.insert(table, frame.select(name for name in frame.columns if name in known))

    def _hourly(self, flush: Flush) -> pl.DataFrame:
        if "quantities" not in self._columns["usage_hourly"]:
            return flush.hourly
        for row in flush.units.to_dicts():
            amount = row["amount_whole"] + row["amount_pico"].scaleb(-12)
            self._maps[tuple(row[name] for name in KEY)][row["unit"]] = amount
        maps = [self._maps.get(tuple(row[name] for name in KEY), {}) for row in flush.hourly.to_dicts()]
        return flush.hourly.with_columns(quantities=pl.Series(maps, dtype=MAP))
