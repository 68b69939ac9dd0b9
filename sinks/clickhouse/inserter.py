"""How Arrow gets into ClickHouse: by HTTP to a server, or piece by piece into the engine in this process."""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from sinks.clickhouse.connect import ClickHouseAddress, open_client, quoted
from sinks.errors import code_of

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
    return ServerInserter(open_client(address))


class ServerInserter:
    """Through the driver, as one HTTP request."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def insert(self, table: str, rows: pa.Table) -> int:
        # The server counts the rows before it answers only if it waits for the end.
        settings = SETTINGS | {"wait_end_of_query": "1"}
        return int(self._client.insert_arrow(quoted(table), rows, settings=settings).written_rows)

    def close(self) -> None:
        self._client.close()


class EngineInserter:
    """Through a handle of its own: each buffer of a column is handed over as it is, and nothing holds the whole."""

    def __init__(self, address: ClickHouseAddress) -> None:
        import chdb

        self._database = address.database
        with _as_of_the_driver():
            self._handle: Any = chdb.connect(os.path.realpath(address.folder))  # spelled as the driver spells it
        # A handle that is open when the process ends takes it down.
        self._closed = weakref.finalize(self, self._handle.close)

    def insert(self, table: str, rows: pa.Table) -> int:
        columns = ", ".join(map(quoted, rows.column_names))
        settings = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
        into = f"INSERT INTO {quoted(self._database)}.{quoted(table)} ({columns}) SETTINGS {settings}"
        with _as_of_the_driver(), self._handle.send_insert(into, "ArrowStream") as insert:
            with pa.ipc.new_stream(pa.PythonFile(_Appended(insert), "w"), rows.schema) as stream:
                stream.write_table(rows)
            return int(insert.finish().rows_written)

    def close(self) -> None:
        self._closed()


class _Appended(io.RawIOBase):
    """A file whose content is what is appended to an insert."""

    def __init__(self, insert: Any) -> None:
        self._insert = insert

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._insert.append(bytes(data))
        return len(data)


@contextmanager
def _as_of_the_driver() -> Iterator[None]:
    """The engine's bare RuntimeError as the driver's error with ClickHouse's code, which connect.py translates."""
    try:
        yield
    except RuntimeError as error:
        raise DatabaseError(str(error), code=code_of(str(error))) from error
