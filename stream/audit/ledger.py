"""Conservation: every offset of every partition went to exactly one place, and is still there.

Frames in, findings out; what is read is in queries.py.

Rows expire, the ledger does not. Raw rows that are missing are excused as *beyond retention* as far as the rollups of
hours before the retention remember calls that no raw row shows any more: a count, not a guess. What they do not explain
is missing. Once rollups have expired too (a year), blocks before the oldest offset that any rollup row of the partition
has applied cannot be judged, and are excused whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import polars as pl

from stream.audit.report import FINDINGS_MAX, Check, Finding, PartitionTotals, Value

BLOCK_BITS: Final = 16
OUTCOMES: Final = ("stored", "duplicates", "dead_lettered", "forwarded")
PLACE: Final = ("source", "source_partition", "offset_block")
COUNTED: Final = ("events", "events_expiring", "removed", "dead_letters", "in_flight")
# Parts expire whole, a week at a time; so rows up to this much younger than the horizon may stand next to expired ones.
PART_SPAN: Final = timedelta(days=8)
AGGREGATES_KEPT_MIN: Final = timedelta(days=334)  # a year, less the month that a part of usage_hourly spans


@dataclass(frozen=True, slots=True)
class Block:
    """One block of offsets: what the ledger says (None: nothing), and what can be counted."""

    source: str
    partition: int
    number: int
    ledger: dict[str, int] | None
    counted: dict[str, int]
    received_first: datetime | None

    @property
    def where(self) -> dict[str, str | int]:
        return {"source": self.source, "source_partition": self.partition, "offset_block": self.number}

    @property
    def missing(self) -> int:
        """Raw rows that the ledger has and nobody can count; below zero, rows that it does not know."""
        stored = self.ledger["stored"] if self.ledger else 0
        return stored - self.counted["events"] - self.counted["removed"]

    @property
    def dead_letters_missing(self) -> int:
        return (self.ledger["dead_lettered"] if self.ledger else 0) - self.counted["dead_letters"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of offsets, whole blocks of it, with rows missing."""

    source: str
    partition: int
    first: int
    last: int
    rows: int
    letters: int
    received_first: datetime | None  # of the rows that are left

    def touches(self, after: Gap) -> bool:
        same = (self.source, self.partition) == (after.source, after.partition)
        return same and self.last >> BLOCK_BITS == (after.first >> BLOCK_BITS) - 1

    def and_then(self, after: Gap) -> Gap:
        rows, letters = self.rows + after.rows, self.letters + after.letters
        arrived = [each for each in (self.received_first, after.received_first) if each is not None]
        first = min(arrived) if len(arrived) == 2 else None
        return Gap(self.source, self.partition, self.first, after.last, rows, letters, first)


@dataclass(frozen=True, slots=True)
class Expired:
    """What the rollups of one partition remember of hours before the horizon."""

    calls: int = 0
    applied_first: int | None = None


@dataclass(frozen=True, slots=True)
class Conservation:
    """The three checks, and the totals of each partition."""

    records: Check
    raw_rows: Check
    dead_letters: Check
    partitions: tuple[PartitionTotals, ...]
    gaps: tuple[Gap, ...]  # every block with rows or letters missing
    short: frozenset[tuple[str, int]]  # partitions with raw rows missing: their rollups know more than can be rebuilt


def conservation(
    ledger: pl.DataFrame, blocks: pl.DataFrame, expired: pl.DataFrame, *, now: datetime, horizon: datetime
) -> Conservation:
    """Compare the ledger with itself and with the rows of each block."""
    remembered = {(row[0], row[1]): Expired(row[2], row[3]) for row in expired.iter_rows()}
    hour_first = expired["hour_first"].min() if expired.height else None
    forgets = isinstance(hour_first, datetime) and hour_first <= now - AGGREGATES_KEPT_MIN
    records: list[Finding] = []
    raw: list[Finding] = []
    dead: list[Finding] = []
    totals: list[PartitionTotals] = []
    gaps: list[Gap] = []
    compared = 0
    for (source, partition), found in groupby(
        joined(ledger, blocks), key=lambda block: (block.source, block.partition)
    ):
        of_partition = list(found)
        compared += len(of_partition)
        memory = remembered.get((source, partition), Expired())
        excused = _excused(of_partition, memory, forgets=forgets)
        records += [finding for block in of_partition for finding in _ledger_faults(block)]
        raw += _raw_faults(of_partition, excused)
        letters = list(_dead_letter_faults(of_partition, old=forgets or bool(memory.calls), horizon=horizon))
        dead += letters
        due = {finding.where["offset_block"] for finding in letters}
        gaps += _gaps(of_partition, excused, due)
        totals += _totals(source, partition, of_partition, excused)
    return Conservation(
        records=_check("records", "received = stored + duplicates + dead-lettered + forwarded", compared, records),
        raw_rows=_check("raw rows", "rows in usage_events and removed_events = stored", compared, raw),
        dead_letters=_check("dead letters", "rows in dead_letters = dead-lettered", compared, dead),
        partitions=tuple(totals),
        gaps=tuple(gaps),
        short=frozenset((str(finding.where["source"]), _partition(finding)) for finding in raw),
    )


def _partition(finding: Finding) -> int:
    partition = finding.where["source_partition"]
    assert isinstance(partition, int), "a block names its partition"
    return partition


def _check(name: str, question: str, compared: int, findings: Sequence[Finding]) -> Check:
    return Check(name, question, compared, len(findings), tuple(findings[:FINDINGS_MAX]))


def joined(ledger: pl.DataFrame, blocks: pl.DataFrame) -> Iterator[Block]:
    """Every block that the ledger or a row knows, in the order of the log."""
    both = ledger.join(blocks, on=PLACE, how="full", coalesce=True).sort(PLACE)
    for row in both.iter_rows(named=True):
        known = row["received"] is not None
        yield Block(
            source=row["source"],
            partition=row["source_partition"],
            number=row["offset_block"],
            ledger={name: row[name] for name in ("offset_first", "offset_last", "received", *OUTCOMES)}
            if known
            else None,
            counted={name: row[name] or 0 for name in COUNTED},
            received_first=_moment(row["received_first"]),
        )


def _moment(value: datetime | None) -> datetime | None:
    """ClickHouse's minimum of no rows is 1970."""
    return value if value is not None and value.timestamp() > 0 else None


# --- rules -----------------------------------------------------------------------------------------------------------


def _ledger_faults(block: Block) -> Iterator[Finding]:
    if block.ledger is None:
        return
    entry = block.ledger
    outcomes = {name: entry[name] for name in OUTCOMES}
    if entry["received"] != sum(outcomes.values()):
        rule = "a received record has exactly one outcome"
        yield Finding(block.where, rule, {"received": entry["received"], **outcomes})
    span = entry["offset_last"] - entry["offset_first"] + 1
    if entry["received"] > span:
        rule = "no more records than offsets between the first and the last"
        yield Finding(block.where, rule, {"received": entry["received"], "offsets": span})


def _raw_faults(blocks: Sequence[Block], excused: dict[int, int]) -> Iterator[Finding]:
    for block in blocks:
        missing = block.missing - excused.get(block.number, 0)
        if missing:
            rule = "every stored record is a row" if missing > 0 else "every row is in the ledger as stored"
            yield Finding(
                block.where,
                rule,
                {
                    "stored": block.ledger["stored"] if block.ledger else 0,
                    "rows": block.counted["events"],
                    "removed": block.counted["removed"],
                    "beyond_retention": excused.get(block.number, 0),
                },
            )


def _excused(blocks: Sequence[Block], memory: Expired, *, forgets: bool) -> dict[int, int]:
    """How many missing rows of each block retention explains; the oldest blocks first."""
    left = max(0, memory.calls - sum(block.counted["events_expiring"] for block in blocks))
    excused: dict[int, int] = {}
    for block in blocks:
        if block.missing <= 0 or block.ledger is None:
            continue
        if forgets and _before_memory(block.ledger, memory):
            excused[block.number] = block.missing
            continue
        excused[block.number] = min(left, block.missing)
        left -= excused[block.number]
    return excused


def _gaps(blocks: Iterable[Block], excused: dict[int, int], letters_due: Collection[Value]) -> Iterator[Gap]:
    """What can be looked for in Kafka."""
    for block in blocks:
        rows = max(0, block.missing - excused.get(block.number, 0))
        letters = max(0, block.dead_letters_missing) if block.number in letters_due else 0
        if rows or letters:
            assert block.ledger is not None, "what no ledger has cannot be missing"
            first, last = block.ledger["offset_first"], block.ledger["offset_last"]
            yield Gap(block.source, block.partition, first, last, rows, letters, block.received_first)


def _before_memory(entry: dict[str, int], memory: Expired) -> bool:
    return memory.applied_first is None or entry["offset_last"] < memory.applied_first


def _dead_letter_faults(blocks: Iterable[Block], *, old: bool, horizon: datetime) -> Iterator[Finding]:
    """A dead letter expires by its arrival. Offsets arrive in order: behind a young record stand only younger ones."""
    oldest_surviving: datetime | None = None
    for block in blocks:
        oldest_surviving = oldest_surviving or block.received_first
        may_have_expired = old and (oldest_surviving is None or oldest_surviving < horizon + PART_SPAN)
        missing = block.dead_letters_missing
        if missing < 0 or (missing > 0 and not may_have_expired):
            rule = "every dead letter is a row" if missing > 0 else "every row is in the ledger as dead-lettered"
            dead_lettered = block.ledger["dead_lettered"] if block.ledger else 0
            yield Finding(block.where, rule, {"dead_lettered": dead_lettered, "rows": block.counted["dead_letters"]})


def _totals(source: str, partition: int, blocks: Sequence[Block], excused: dict[int, int]) -> Iterator[PartitionTotals]:
    """Nothing for a partition that no ledger knows yet: all its rows are in flight, or a finding each."""
    entries = [block.ledger for block in blocks if block.ledger is not None]
    if not entries:
        return
    first, last = entries[0]["offset_first"], max(entry["offset_last"] for entry in entries)
    sums = {name: sum(entry[name] for entry in entries) for name in ("received", *OUTCOMES)}
    yield PartitionTotals(
        source=source,
        partition=partition,
        offset_first=first,
        offset_last=last,
        **sums,
        offsets_without_record=max(0, last - first + 1 - sums["received"]),
        in_flight=sum(block.counted["in_flight"] for block in blocks),
        beyond_retention=sum(excused.values()),
    )
