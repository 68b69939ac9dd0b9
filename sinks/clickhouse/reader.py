"""Questions to ClickHouse, answered as frames with their exact types."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import polars as pl
from polars.exceptions import PolarsError

from sinks.clickhouse.connect import READ_SETTINGS, ClickHouseAddress, Clients, may_set
from sinks.errors import WarehouseUnavailable

NO_BOUNDS: Final[Mapping[str, str]] = {}


class Reader:
    """Runs SELECT statements; safe to use from many threads. It sends no settings, so a read-only user will do.

    ``bounds`` are settings that limit what one question may take. A user who may not change them has bounds of its own.
    """

    def __init__(self, address: ClickHouseAddress, *, bounds: Mapping[str, str] = NO_BOUNDS) -> None:
        self.address = address
        self._clients = Clients(address, settings=READ_SETTINGS)
        self._bounds = dict(bounds)

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        """The result of ``sql``; ``{name:Type}`` in it is bound by the server, never pasted into the text.

        It travels as Parquet, the one format that keeps Decimal, DateTime and Map as what they are (Arrow turns
        DateTime into a bare integer).
        """
        with self._clients.use() as client:
            bounds = self._bounds if self._bounds and may_set(client) else None
            answer = client.raw_query(sql, parameters=parameters or None, fmt="Parquet", settings=bounds)
            try:
                return pl.read_parquet(io.BytesIO(answer))
            except PolarsError as error:  # not a whole result: what answered was no warehouse, or it was cut off
                reason = f"its answer of {len(answer)} bytes is no result: {bytes(answer[:80])!r}"
                raise WarehouseUnavailable(where=self.address.url, reason=reason) from error

    def close(self) -> None:
        self._clients.close()
