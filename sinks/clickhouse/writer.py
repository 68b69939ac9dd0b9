"""Frames into ClickHouse as Arrow, and the proof that every row arrived."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import Final

import polars as pl
import pyarrow as pa

from sinks.clickhouse.connect import ClickHouseAddress, PerThread
from sinks.clickhouse.inserter import open_inserter
from sinks.errors import RowCountMismatch

MONEY: Final = pl.Decimal(38, 12)  # USD to 1e-12, as wide as ClickHouse's sums
QUANTITIES: Final = pl.Map(pl.String, MONEY)

# Columns of few different values: sent as dictionaries, they need not be made so row by row in ClickHouse.
LOW_CARDINALITY: Final = (
    *("provider", "model", "operation", "feature", "task_type", "team", "environment", "source"),
    *("status", "usage_status", "cost_status", "cost_reason", "price_version"),
)


def to_decimal(picodollars: pl.Expr) -> pl.Expr:
    """Integers of 1e-12 USD as Decimal(38, 12), exactly; null stays null (unknown is never 0)."""
    return (picodollars.cast(pl.Decimal(38, 0)) * Decimal("0.000000000001")).cast(MONEY)


def to_map(texts: pl.Series) -> pl.Series:
    """JSON text of unit to decimal text as ``Map(String, Decimal(38, 12))``; empty text is an empty map."""
    if texts.is_empty():
        return pl.Series(texts.name, [], dtype=QUANTITIES)
    different = texts.unique()  # few: most rows have none
    maps = pl.Series(texts.name, [_quantities(text) for text in different], dtype=QUANTITIES)
    return maps.gather(texts.replace_strict(different, range(len(different)), return_dtype=pl.UInt32))


def _quantities(text: str | None) -> dict[str, Decimal]:
    return {unit: Decimal(amount) for unit, amount in json.loads(text).items()} if text else {}


def _arrow(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    for position, name in enumerate(table.column_names):
        if name in LOW_CARDINALITY:
            table = table.set_column(position, name, table.column(position).dictionary_encode())
    return table


class Writer:
    """Inserts whole frames; safe to use from many threads. Every table is replacing, so a repeat changes nothing."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self.address = address
        self._inserters = PerThread(address, partial(open_inserter, address))

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        """Insert ``frame`` by its column names and return the rows written: all of them, on disk, or an error.

        A batch that a crash or a lost answer left half written is inserted again by the caller and ends as the same
        rows.
        """
        if frame.is_empty():
            return 0
        with self._inserters.use() as inserter:
            written = inserter.insert(table, _arrow(frame))
        if written != frame.height:
            raise RowCountMismatch(table=table, sent=frame.height, written=written)
        return written

    def close(self) -> None:
        self._inserters.close()
