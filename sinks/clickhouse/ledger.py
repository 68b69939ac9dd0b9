"""Which calls the ledger has applied, and which an audit has taken out: parts of questions that several rooms ask."""

from __future__ import annotations

from typing import Final

# Put before a question with WITH: for each source and partition the offset after the last one in the ledger.
STORED: Final = """
  stored AS (
    SELECT tupleElement(place, 1) AS source, tupleElement(place, 2) AS source_partition,
      tupleElement(place, 3) AS stored_next
    FROM (SELECT arrayJoin({stored:Array(Tuple(String, UInt16, UInt64))}) AS place))"""
REMOVED: Final = "(SELECT source, source_partition, source_offset FROM removed_events_rows)"
