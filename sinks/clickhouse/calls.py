"""All that the warehouse knows of one call, by its request_id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sinks.clickhouse.reader import Reader

CALLS: Final = "SELECT * FROM usage_events WHERE request_id = {request_id:String} ORDER BY occurred_at"
REMOVED: Final = """
  SELECT occurred_at, source, source_partition, source_offset, reason, removed_at
  FROM removed_events WHERE request_id = {request_id:String} ORDER BY removed_at"""
LETTERS: Final = """
  SELECT received_at, source, source_partition, source_offset, kind, reason
  FROM dead_letters WHERE request_id = {request_id:String} ORDER BY received_at"""


@dataclass(frozen=True, slots=True)
class KnownCall:
    """Rows by the names of their columns: the call as it counts (more than one is a fault that the audit names), what
    an audit took out, and what was refused under the same id."""

    calls: tuple[dict[str, Any], ...]
    removed: tuple[dict[str, Any], ...]
    letters: tuple[dict[str, Any], ...]


def known_call(reader: Reader, request_id: str) -> KnownCall:
    found = (reader.frame(sql, request_id=request_id).to_dicts() for sql in (CALLS, REMOVED, LETTERS))
    return KnownCall(*map(tuple, found))
