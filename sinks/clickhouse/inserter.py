"""How Arrow gets into ClickHouse: by HTTP to a server, or by a file in memory to the engine in this process."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from sinks.clickhouse.connect import ClickHouseAddress, open_client, quoted
from sinks.clickhouse.embedded.engine import open_handle
from sinks.clickhouse.embedded.handover import handover, insert
from sinks.errors import WarehouseUnavailable, code_of

SETTINGS: Final = {
    "async_insert": "0",
    # A batch holds no key twice, so replacing within it would only cost time: more than the rest of the insert.
    "optimize_on_insert": "0",
}


class Inserter(Protocol):
    """One thread's way in."""

    def insert(self, table: str, rows: pa.Table) -> int:
        """Insert by column names; returns how many rows the engine has written, which are then on disk."""

    def close(self) -> None: ...


def open_inserter(address: ClickHouseAddress) -> Inserter:
    """The engine's own way in has no HTTP to cross, and its driver would write each batch to a file first."""
    if address.embedded:
        return EngineInserter(address)
    return ServerInserter(open_client(address), where=address.url)


class ServerInserter:
    """Through the driver, as one HTTP request."""

    def __init__(self, client: Client, *, where: str) -> None:
        self._client, self._where = client, where

    def insert(self, table: str, rows: pa.Table) -> int:
        # The server counts the rows before it answers only if it waits for the end.
        settings = SETTINGS | {"wait_end_of_query": "1"}
        try:
            summary = self._client.insert_arrow(quoted(table), rows, settings=settings)
        except TypeError as error:  # the driver stumbles over a summary that is not an object
            raise self._no_count(error) from error
        try:
            return int(summary.written_rows)
        except (ValueError, TypeError) as error:
            raise self._no_count(error) from error

    def _no_count(self, error: Exception) -> WarehouseUnavailable:
        """What answered was not ClickHouse, so nothing is known of the rows."""
        return WarehouseUnavailable(where=self._where, reason=f"its answer does not count the rows ({error})")

    def close(self) -> None:
        self._client.close()


class EngineInserter:
    """Through a handle of its own, without HTTP, and by a statement that raises what keeps rows from being stored."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self._database = address.database
        with _as_of_the_driver():
            self._handle: Any = open_handle(address.folder)
        # A handle that is open when the process ends takes it down.
        self._closed = weakref.finalize(self, self._handle.close)

    def insert(self, table: str, rows: pa.Table) -> int:
        columns = ", ".join(map(quoted, rows.column_names))
        into = f"INSERT INTO {quoted(self._database)}.{quoted(table)} ({columns})"
        with _as_of_the_driver(), handover() as given:
            with pa.ipc.new_stream(given.file, rows.schema) as stream:
                stream.write_table(rows)
            return insert(self._handle, into, given, data_format="ArrowStream", settings=SETTINGS).rows

    def close(self) -> None:
        self._closed()


@contextmanager
def _as_of_the_driver() -> Iterator[None]:
    """The engine's bare RuntimeError as the driver's error with ClickHouse's code, which connect.py translates."""
    try:
        yield
    except RuntimeError as error:
        raise DatabaseError(str(error), code=code_of(str(error))) from error
