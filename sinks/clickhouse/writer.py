"""Frames into ClickHouse as Arrow, and the proof that every row arrived."""

from __future__ import annotations

from functools import partial
from typing import Final

import polars as pl
import pyarrow as pa

from sinks.clickhouse.codes import OF_A_ROW
from sinks.clickhouse.connect import ClickHouseAddress, PerThread
from sinks.clickhouse.inserter import open_inserter
from sinks.clickhouse.vocabulary import DIMENSIONS, rows_of
from sinks.errors import RowCountMismatch, RowRefused, WarehouseRefused, WarehouseTooSmall

# Columns of few different values: sent as dictionaries, they need not be made so row by row in ClickHouse.
LOW_CARDINALITY: Final = (
    *(*DIMENSIONS, "provider_sent", "model_sent", "source"),
    *("status", "usage_status", "service_tier", "inference_geo"),
    *("cost_status", "cost_reason", "price_version", "price_source", "price_id"),
)


# What names a row to a person, where its table has it.
PLACE: Final = (
    "source",
    "source_partition",
    "source_offset",
    "request_id",
    "hour",
    "day",
    "model",
    "feature",
    "user_id",
)
SPLIT_ROWS_MIN: Final = 100  # so few take no memory to speak of, and no more partitions than one insert may have


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
        """Insert ``frame`` by its column names into what is stored of ``table``, which is the name that readers know,
        and return the rows written: all of them, on disk, or an error.

        A batch that a crash or a lost answer left half written is inserted again by the caller and ends as the same
        rows. One that is too large for the warehouse as it is now goes in by halves. So does one with a row that does
        not fit, until ``RowRefused`` can name it.
        """
        if frame.is_empty():
            return 0
        try:
            return self._insert(table, frame)
        except WarehouseTooSmall:
            if frame.height <= SPLIT_ROWS_MIN:
                raise
        except WarehouseRefused as error:
            if error.code not in OF_A_ROW:
                raise
            if frame.height == 1:
                raise self._row_refused(table, frame, error) from error
        middle = frame.height // 2
        return self.insert(table, frame[:middle]) + self.insert(table, frame[middle:])

    def insert_at_once(self, table: str, frame: pl.DataFrame) -> int:
        """Like ``insert``, and never by halves: of each partition of the table all rows are stored, or none.

        It travels as one block, which the engine writes as one part of a partition. One that is too large raises
        ``WarehouseTooSmall``, and nothing of it is stored.
        """
        return self._insert(table, frame.rechunk()) if frame.height else 0

    def _insert(self, table: str, frame: pl.DataFrame) -> int:
        with self._inserters.use() as inserter:
            written = inserter.insert(rows_of(table), _arrow(frame))
        if written != frame.height:
            raise RowCountMismatch(where=self.address.url, table=table, sent=frame.height, written=written)
        return written

    def _row_refused(self, table: str, frame: pl.DataFrame, error: WarehouseRefused) -> RowRefused:
        names = [name for name in PLACE if name in frame.columns] or frame.columns
        row = frame.select(names).row(0, named=True)
        return RowRefused(where=self.address.url, reason=error.reason, code=error.code, table=table, row=row)

    def close(self) -> None:
        self._inserters.close()
