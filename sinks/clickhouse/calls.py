"""All that the warehouse knows of one call, by its request_id."""

from __future__ import annotations

from collections.abc import Mapping
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
REPRICINGS: Final = """
  SELECT repricing, begun_at, begun_by, reason, price_revision FROM repricings
  WHERE repricing IN {numbers:Array(UInt16)}"""
PRICES: Final = "SELECT price_id, price FROM prices WHERE price_id IN {price_ids:Array(String)}"


@dataclass(frozen=True, slots=True)
class KnownCall:
    """Rows by the names of their columns: the call as it counts (more than one is a fault that the audit names), what
    an audit took out, and what was refused under the same id. ``prices`` has the texts of their prices by their ids,
    and ``repricings`` what gave them their prices, by its number, where that was a re-pricing."""

    calls: tuple[dict[str, Any], ...]
    removed: tuple[dict[str, Any], ...]
    letters: tuple[dict[str, Any], ...]
    prices: Mapping[str, str]
    repricings: Mapping[int, dict[str, Any]]


def known_call(reader: Reader, request_id: str) -> KnownCall:
    calls, removed, letters = (
        tuple(reader.frame(sql, request_id=request_id).to_dicts()) for sql in (CALLS, REMOVED, LETTERS)
    )
    ids = sorted({call["price_id"] for call in calls if call["price_id"]})
    prices = dict(reader.frame(PRICES, price_ids=ids).iter_rows()) if ids else {}
    numbers = sorted({call["price_rev"] for call in calls if call["price_rev"]})
    found = reader.frame(REPRICINGS, numbers=numbers).to_dicts() if numbers else []
    return KnownCall(calls, removed, letters, prices, {row["repricing"]: row for row in found})
