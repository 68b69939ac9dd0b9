"""What each record of a block was when a worker read it, told from what is stored now. Pure.

A record without a raw row is one of these: its row was lost; or it never had one, because it was a duplicate, a
conflict, forwarded, or refused. Its id tells most: an id that is stored elsewhere is left alone. The ledger decides the
rest: it says how many rows of the block there were, so never more than the missing ones are restored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

HOUR_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event at its place in a log: one that was read again, or one that a raw row shows."""

    request_id: str
    source: str
    partition: int
    offset: int
    occurred_at: datetime
    received_at: datetime
    model: str  # as it is stored
    feature: str
    digest: int  # of what was sent

    @property
    def hour(self) -> int:
        return int(self.occurred_at.timestamp()) // HOUR_SECONDS

    @property
    def place(self) -> tuple[str, int, int]:
        """In the log."""
        return self.source, self.partition, self.offset

    @property
    def place_in_table(self) -> tuple[int, str, str]:
        """With the id, the sorting key of usage_events: two rows that share it cannot stand side by side."""
        return self.hour, self.model, self.feature

    def before(self, other: Sighting) -> bool:
        if (self.source, self.partition) == (other.source, other.partition):
            return self.offset < other.offset
        return self.received_at < other.received_at


@dataclass(slots=True)
class Judged:
    """The offsets of one block's records without a raw row, by what they were."""

    lost: list[int] = field(default_factory=list)  # the row was there: restore it
    counted_again: list[int] = field(default_factory=list)  # lost, and the id was counted once more by a later record
    expired: list[int] = field(default_factory=list)  # older than the retention: the row went as it should
    duplicates: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)
    forwarded: list[int] = field(default_factory=list)
    unclear: list[int] = field(default_factory=list)  # more than the ledger misses: left alone
    # Of the forwarded those that were counted here, by a worker that knew fewer partitions. To be believed once all
    # that is at home is restored, everywhere.
    astray: list[int] = field(default_factory=list)
    gap: int = 0  # rows that the ledger misses beyond these


@dataclass(frozen=True, slots=True)
class Block:
    """What the ledger says of one block: ``room`` raw rows are missing; ``whole`` if all its offsets were read."""

    room: int
    whole: bool
    partition_count: int
    oldest_kept: datetime
    dedup_window: timedelta


# The offsets whose records are at home in a topic of so many partitions.
AtHome = Callable[[int], Collection[int]]


def judge(
    block: Block, sent: Sequence[Sighting], *, at_home: AtHome, known: Mapping[str, Iterable[Sighting]]
) -> Judged:
    """``sent``: the block's accepted records without a raw row, by offset; ``known``: the raw rows that share an id
    with one of them."""
    here = at_home(block.partition_count)
    found = Judged()
    seen = {request_id: list(rows) for request_id, rows in known.items()}
    astray: list[Sighting] = []
    for record in sent:
        others = [other for other in seen.get(record.request_id, ()) if _was_known(other, record, block.dedup_window)]
        if record.offset not in here:
            if not others:
                astray.append(record)
            found.forwarded.append(record.offset)
            continue
        if earlier := [other for other in others if other.before(record)]:
            same = any(other.digest == record.digest for other in earlier)
            (found.duplicates if same else found.conflicts).append(record.offset)
            continue
        if any(other.place_in_table == record.place_in_table for other in others):
            found.counted_again.append(record.offset)
        elif record.occurred_at < block.oldest_kept:
            found.expired.append(record.offset)
        else:
            found.lost.append(record.offset)
        seen.setdefault(record.request_id, []).append(record)
    _hold_to_the_ledger(found, block, astray, at_home)
    return found


def _was_known(other: Sighting, record: Sighting, dedup_window: timedelta) -> bool:
    """Whether whoever read ``record`` could see ``other``: in the same hour always, elsewhere within the window."""
    return other.hour == record.hour or other.occurred_at >= record.received_at - dedup_window


def _hold_to_the_ledger(found: Judged, block: Block, astray: Sequence[Sighting], at_home: AtHome) -> None:
    """Never more rows than are missing."""
    wanted = len(found.lost) + len(found.counted_again) + len(found.expired)
    if wanted > max(block.room, 0):
        doubtful = found.lost + found.counted_again
        # Nothing is missing here: they are repeats of ids whose own rows are missing elsewhere.
        (found.unclear if block.room > 0 else found.duplicates).extend(doubtful)
        found.lost, found.counted_again = [], []
        return
    found.gap = block.room - wanted
    if astray and block.whole and found.gap:
        kept = {record.offset for record in astray if record.occurred_at >= block.oldest_kept}
        found.astray = sorted(kept & _counted_here(block, astray, at_home, gap=found.gap))


def _counted_here(block: Block, astray: Sequence[Sighting], at_home: AtHome, *, gap: int) -> frozenset[int]:
    """Which of the astray fill the gap: all of them, or those that one lower number of partitions would put here. If
    several numbers would, nobody can tell."""
    first_of_id = {record.request_id: record.offset for record in reversed(astray)}.values()
    if len(first_of_id) == gap:
        return frozenset(first_of_id)
    by_count = {frozenset(first_of_id) & set(at_home(count)) for count in range(1, block.partition_count)}
    fitting = [offsets for offsets in by_count if len(offsets) == gap]
    return fitting[0] if len(fitting) == 1 else frozenset()
