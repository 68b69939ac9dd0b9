"""Taking single rows out of ``usage_events``: the one place where something is deleted before it expires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sinks.clickhouse.connect import ClickHouseAddress, Clients

# A lightweight delete masks the rows and returns when the mask is on every replica; doing it again masks nothing more.
DELETE: Final = """
DELETE FROM usage_events_rows
WHERE (source, source_partition, source_offset) IN {positions:Array(Tuple(String, UInt16, UInt64))}
SETTINGS lightweight_deletes_sync = 2"""


class Remover:
    """Deletes raw rows by their place in the log, which names exactly one event. Who calls has kept a copy."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self._clients = Clients(address)

    def remove_events(self, positions: Sequence[tuple[str, int, int]]) -> None:
        """Delete the rows at these places (source, partition, offset); returns when no reader sees them any more."""
        if positions:
            with self._clients.use() as client:
                client.command(DELETE, parameters={"positions": list(positions)})

    def close(self) -> None:
        self._clients.close()
