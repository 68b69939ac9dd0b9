"""What the records of usage.rollups say has changed. Anybody may write to a topic: what is not ours is passed over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from stream.watch.series import hour_of


class _RollupRow(msgspec.Struct):
    """What the watch needs of a record."""

    table: str
    hour: str = ""


class Noticed(NamedTuple):
    """A row for each hour that the records name, and how many records are none of ours, with why of the first."""

    rows: list[dict[str, str]]
    strange: int
    reason: str


_read: Final = msgspec.json.Decoder(_RollupRow).decode


def noticed(values: Iterable[bytes | None]) -> Noticed:
    """The watch reads the figures themselves from the warehouse. A tombstone says nothing."""
    rows: set[tuple[str, str]] = set()
    strange, reason = 0, ""
    for value in values:
        if value is None:
            continue
        try:
            row = _read(value)
            if row.table == "usage_hourly":
                hour_of(datetime.fromisoformat(row.hour))
            rows.add((row.table, row.hour))
        except (ValueError, OverflowError, RecursionError) as error:
            strange += 1
            reason = reason or str(error)[:200]
    return Noticed([{"table": table, "hour": hour} for table, hour in rows], strange, reason)
