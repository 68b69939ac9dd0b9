"""Questions to ClickHouse, answered as frames with their exact types."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from sinks.clickhouse.connect import READ_SETTINGS, ClickHouseAddress, Clients, open_client, translated
from sinks.clickhouse.spans import explained
from sinks.errors import WarehouseRefused, WarehouseUnavailable


def ask(address: ClickHouseAddress, sql: str, *, output: str) -> bytes:
    """The answer to a person's own ``sql`` in any of ClickHouse's formats. The engine refuses whatever would write."""
    client = open_client(address, settings=READ_SETTINGS)
    try:
        with translated(address):
            # Who is read-only already may not even say so.
            changeable = client.server_settings["readonly"].readonly == 0
            return client.raw_query(sql, fmt=output, settings={"readonly": "1"} if changeable else None)
    except WarehouseRefused as error:
        raise WarehouseRefused(where=error.where, reason=explained(sql, error.reason), code=error.code) from error
    finally:
        client.close()


class Reader:
    """Runs SELECT statements; safe to use from many threads. It sends no settings, so a read-only user will do."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self.address = address
        self._clients = Clients(address, settings=READ_SETTINGS)

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        """The result of ``sql``; ``{name:Type}`` in it is bound by the server, never pasted into the text.

        It travels as Parquet, the one format that keeps Decimal, DateTime and Map as what they are (Arrow turns
        DateTime into a bare integer).
        """
        with self._clients.use() as client:
            answer = client.raw_query(sql, parameters=parameters or None, fmt="Parquet")
            try:
                return pl.read_parquet(io.BytesIO(answer))
            except PolarsError as error:  # not a whole result: what answered was no warehouse, or it was cut off
                reason = f"its answer of {len(answer)} bytes is no result: {bytes(answer[:80])!r}"
                raise WarehouseUnavailable(where=self.address.url, reason=reason) from error

    def close(self) -> None:
        self._clients.close()
