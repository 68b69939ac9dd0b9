"""When a record came, where its topic takes the clocks of its producers.

Usually a record's time is the broker's: then an event is judged by that, and nothing here does anything. With
``message.timestamp.type=CreateTime`` the time is its producer's. A clock that is wrong by years is wrong in record and
event alike, so the two agree, and the row would expire the moment it is stored, or stand in a year to come. So such an
event is judged by when a worker reads it, too (docs/decisions/0018).

A worker's clock goes on, so the next one to read the same record may judge otherwise. What was judged once stays: of a
record that is delivered again, what is stored says which it was. A flush stores its dead letters first and its events
next, so nothing of it is stored without its verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from stream.decode.frame import UTC_MILLISECONDS, AgeLimits, Decoded, Record, Refusal, RefusalKind

Place = tuple[int, int]  # partition and offset

# A producer's time that is nearer is taken for the record's arrival: it may have waited for a worker over night.
DRIFT_MAX: Final = timedelta(days=1)
# An event this much before the end of its row is too old already: a row that is just expiring cannot tell any more that
# it was counted, and the audit leaves out the two days that are.
EXPIRING: Final = timedelta(days=1)


def set_apart(decoded: Decoded, *, now: datetime, limits: AgeLimits) -> Decoded:
    """``late`` takes the events whose time no topic vouches for, and that are too early or too old by now."""
    own = [row for row, record in enumerate(decoded.records) if record.own_time]
    if not own:
        return decoded
    ahead = pl.col("occurred_at") - pl.lit(now).cast(UTC_MILLISECONDS)
    out = pl.col("row").is_in(own) & ((ahead > limits.future_max) | (ahead < EXPIRING - limits.past_max))
    return replace(decoded, frame=decoded.frame.filter(~out), late=decoded.frame.filter(out), read_at=now)


def refused_late(decoded: Decoded, limits: AgeLimits) -> list[Refusal]:
    """The refusals of ``late``."""
    if decoded.late is None:
        return []
    assert decoded.read_at is not None, "who sets apart says when"
    rows = decoded.late.select("row", "occurred_at", "request_id").iter_rows()
    return [
        _refused(decoded.records[row], occurred_at, request_id, decoded.read_at, limits)
        for row, occurred_at, request_id in rows
    ]


def _refused(record: Record, occurred_at: datetime, request_id: str, now: datetime, limits: AgeLimits) -> Refusal:
    kind: RefusalKind = "too_early" if occurred_at > now else "too_old"
    kept = f"{limits.past_max - EXPIRING}, the retention less a day, before"
    bound = f"{limits.future_max} after" if occurred_at > now else kept
    reason = (
        f"occurred_at: {occurred_at.astimezone(UTC).isoformat()} is not within {bound} the moment when it was read, "
        f"{now.astimezone(UTC).isoformat(timespec='milliseconds')}; when it came nobody knows, since its topic takes "
        "its producers' clocks: mend the clock, and set message.timestamp.type to LogAppendTime"
    )
    return Refusal(record, kind, reason, request_id)


def as_judged_before(
    decoded: Decoded,
    *,
    letters: pl.DataFrame,
    stored: pl.DataFrame,
    applied: Mapping[int, int],
    limits: AgeLimits,
) -> Decoded:
    """With nothing set apart: what is stored as a dead letter stays one, what is stored as an event stays counted, as
    does whatever else the ledger has applied; of the rest this worker's clock judges.

    ``letters`` and ``stored`` hold places, the former kind and reason too; ``applied`` are the ledger's offsets.
    """
    if decoded.late is None:
        return decoded
    told = {(row["source_partition"], row["source_offset"]): row for row in letters.to_dicts()}
    refused = pl.concat([decoded.frame, decoded.late]).join(letters.select(PLACE), on=PLACE, how="semi")
    again = [
        Refusal(decoded.records[row], told[partition, offset]["kind"], told[partition, offset]["reason"], request_id)
        for row, request_id, partition, offset in refused.select("row", "request_id", *PLACE).iter_rows()
    ]
    late = decoded.late.join(refused, on="row", how="anti")
    applied_to = pl.col("source_partition").replace_strict(applied, default=-1, return_dtype=pl.Int64)
    done = late.filter(pl.col("source_offset") <= applied_to)
    counted = pl.concat([done, late.join(done, on="row", how="anti").join(stored.select(PLACE), on=PLACE, how="semi")])
    now_late = replace(decoded, late=late.join(counted, on="row", how="anti"))
    return replace(
        decoded,
        frame=pl.concat([decoded.frame.join(refused, on="row", how="anti"), counted]).sort("row"),
        refusals=[*decoded.refusals, *again, *refused_late(now_late, limits)],
        late=None,
    )


PLACE: Final = ["source_partition", "source_offset"]
BY_AGE: Final = ("too_early", "too_old")


def places(records: Iterable[Record]) -> dict[int, tuple[int, int]]:
    """The first and the last offset of each partition."""
    found: dict[int, tuple[int, int]] = {}
    for record in records:
        first, last = found.get(record.partition, (record.offset, record.offset))
        found[record.partition] = min(first, record.offset), max(last, record.offset)
    return found


def arrived(record: Record, *, now: datetime, known: Mapping[Place, int]) -> int:
    """When it came, in milliseconds: as it was stored before, else as its producer says if that can be, else now."""
    moment, drift = round(now.timestamp() * 1000), DRIFT_MAX // timedelta(milliseconds=1)
    near = record.timestamp if abs(record.timestamp - moment) <= drift else moment
    return known.get((record.partition, record.offset), near)
