"""A person's own question to ClickHouse, answered in the bytes of a format. No library of frames is loaded for it."""

from __future__ import annotations

from sinks.clickhouse.connect import READ_SETTINGS, ClickHouseAddress, may_set, open_client, translated
from sinks.clickhouse.spans import explained
from sinks.errors import WarehouseRefused


def ask(address: ClickHouseAddress, sql: str, *, output: str) -> bytes:
    """The answer to a person's own ``sql`` in any of ClickHouse's formats. The engine refuses whatever would write."""
    client = open_client(address, settings=READ_SETTINGS)
    try:
        with translated(address):
            # Who is read-only already may not even say so.
            return client.raw_query(sql, fmt=output, settings={"readonly": "1"} if may_set(client) else None)
    except WarehouseRefused as error:
        raise WarehouseRefused(where=error.where, reason=explained(sql, error.reason), code=error.code) from error
    finally:
        client.close()
