"""Records that were gone from Kafka before they were read: what the workers have noted of them, named ever after.

A loss that nobody has looked at makes the audit fail. Once a person has accepted it, with a reason, it is still named,
but it no longer hides what comes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit.report import FINDINGS_MAX, Check, Finding, Value

TABLE: Final = "vanished_records"

VANISHED: Final = """
SELECT source, toInt64(source_partition) AS source_partition, toInt64(offset_first) AS offset_first,
  toInt64(offset_last) AS offset_last, noticed_at, consumer_group, accepted, accepted_reason, accepted_at
FROM vanished_records_rows FINAL
ORDER BY source, source_partition, offset_first, offset_last"""


@dataclass(frozen=True, slots=True)
class Vanished:
    """A stretch of offsets; each was at most one record."""

    source: str
    partition: int
    offset_first: int
    offset_last: int
    noticed_at: datetime
    consumer_group: str
    accepted_reason: str | None  # None: nobody has accepted it
    accepted_at: datetime | None = None

    @property
    def records(self) -> int:
        return self.offset_last - self.offset_first + 1


def vanished_records(reader: Reader) -> list[Vanished]:
    """All that the workers have noted, in the order of the log. Noticed again after a restart, more may have gone from
    the same offset on: the longest stretch has them all."""
    longest = {
        (row["source"], row["source_partition"], row["offset_first"]): row for row in reader.frame(VANISHED).to_dicts()
    }
    return [
        Vanished(
            source=row["source"],
            partition=row["source_partition"],
            offset_first=row["offset_first"],
            offset_last=row["offset_last"],
            noticed_at=row["noticed_at"],
            consumer_group=row["consumer_group"],
            accepted_reason=row["accepted_reason"] if row["accepted"] else None,
            accepted_at=row["accepted_at"],
        )
        for row in longest.values()
    ]


def vanished_check(found: Sequence[Vanished]) -> Check:
    """Holds if every loss has been accepted; names them all either way, those not accepted first."""
    named = sorted(found, key=lambda each: each.accepted_reason is not None)
    return Check(
        name="vanished",
        question="no record was gone from Kafka before it was read, or a person has accepted that",
        compared=len(found),
        differing=sum(each.accepted_reason is None for each in found),
        findings=tuple(_finding(each) for each in named[:FINDINGS_MAX]),
    )


def _finding(lost: Vanished) -> Finding:
    where: dict[str, Value] = {"source": lost.source, "source_partition": lost.partition}
    numbers: dict[str, Value] = {
        "offset_first": lost.offset_first,
        "offset_last": lost.offset_last,
        "records_max": lost.records,
        "noticed_at": lost.noticed_at,
    }
    if lost.accepted_reason is None:
        return Finding(where, "no record vanishes before it is read", numbers)
    return Finding(where, f"accepted: {lost.accepted_reason}", numbers | {"accepted_at": lost.accepted_at})


def accept_vanished(reader: Reader, writer: Writer, *, reason: str, now: datetime) -> int:
    """Note that a person knows of everything that has vanished so far; returns how many stretches that are new to them.
    They stay, with the reason."""
    new = [each for each in vanished_records(reader) if each.accepted_reason is None]
    times = pl.Datetime("ms", "UTC")
    rows = [
        {
            "source": each.source,
            "source_partition": each.partition,
            "offset_first": each.offset_first,
            "offset_last": each.offset_last,
            "noticed_at": each.noticed_at,
            "consumer_group": each.consumer_group,
            "accepted": 1,
            "accepted_reason": reason,
            "accepted_at": now,
        }
        for each in new
    ]
    writer.insert(TABLE, pl.DataFrame(rows, schema_overrides={"noticed_at": times, "accepted_at": times}))
    return len(new)
