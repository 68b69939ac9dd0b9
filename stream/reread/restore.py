"""Reading offsets again and writing what is missing of them, while workers run.

**Who may write when.** Only offsets that the ledger has applied are read. A worker has stored them whole; it reads them
again only after a crash, and then stores the same rows. Should such a replay and this command meet, both write a row
under the same key and place, so one replaces the other. Neither counts anything: rollups and ledger ignore what they
have applied. What stands above the ledger is a worker's to store. A worker that runs holds rollup rows in memory and
writes them whole; this command writes none, so it overwrites none. Two of these commands at once write the same rows. A
run that breaks off is finished by the next one.

A raw row is derived anew here: by the same gate, with the names that this build gives, and by the prices in force now,
for when the call occurred. The rollups keep the names and the cost that were counted; where the two differ, the audit
says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

import polars as pl

from costream.pricing import PriceBook
from costream.topics import FORWARDED_HEADER
from sinks.clickhouse import state
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import of_events
from stream.audit import queries
from stream.audit.ground import Ground, ground
from stream.audit.ledger import BLOCK_BITS, joined
from stream.audit.ledger import Block as LedgerBlock
from stream.audit.report import plain
from stream.decode import arrival
from stream.decode.frame import AgeLimits, Decoded, Refusal, decode
from stream.dedup.home import home_partitions
from stream.dedup.seen import DIGEST
from stream.pricing import named, price, price_rows
from stream.reread.judge import Block, Judged, Sighting, judge
from stream.reread.log import LogEnds, LogRecord
from stream.store.letters import conflict, dead_letter_rows

BLOCK_OFFSETS: Final = 1 << BLOCK_BITS
ROUNDS_MAX: Final = 5  # two do, unless ids were repeated after partitions had been added
REMEMBERED_MAX: Final = 500_000  # rows that a rehearsal keeps in mind, about 200 MB; beyond it the ledger alone judges

Progress = Callable[[str, int, int], None]


class Log(Protocol):
    """What is needed of an EventLog."""

    def ends(self, partition: int) -> LogEnds: ...

    def read(self, partition: int, first: int, last: int) -> Iterator[list[LogRecord]]: ...


class Writes(Protocol):
    """What is needed of a Writer."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


@dataclass(frozen=True, slots=True)
class Offsets:
    """A stretch of one partition, both ends included."""

    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"offsets {self.first}-{self.last} of partition {self.partition}"


@dataclass(slots=True)
class Outcome:
    """What became of one stretch: counts of records, each in one of them, and what was left alone and why."""

    offsets: Offsets
    records: int = 0  # that Kafka still has
    stored: int = 0  # their raw row is there
    restored: int = 0  # it was missing: written, or would be
    removed: int = 0  # taken out by the audit on purpose: they stay out
    counted_again: int = 0  # missing, and their id was counted once more later: noted as removed, or would be
    duplicates: int = 0
    forwarded: int = 0
    beyond_retention: int = 0
    dead_letters: int = 0  # the letter is there
    dead_letters_restored: int = 0
    unclear: int = 0
    missing_in_kafka: int = 0  # offsets that Kafka has no more
    notes: list[str] = field(default_factory=list)
    oldest: datetime | None = None  # of the events restored

    @property
    def written(self) -> int:
        return self.restored + self.counted_again + self.dead_letters_restored

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        counts = {name: getattr(self, name) for name in COUNTS}
        place = {"partition": self.offsets.partition, "from": self.offsets.first, "to": self.offsets.last}
        return place | counts | {"notes": self.notes}


COUNTS: Final = (
    *("records", "stored", "restored", "removed", "counted_again", "duplicates", "forwarded", "beyond_retention"),
    *("dead_letters", "dead_letters_restored", "unclear", "missing_in_kafka"),
)


@dataclass(frozen=True, slots=True)
class Derive:
    """What a row is made by: the same as in a worker."""

    source: str
    partition_count: int
    book: PriceBook
    limits: AgeLimits
    dedup_window: timedelta


def reread(
    log: Log,
    reader: Reader,
    writer: Writes | None,
    asked: Sequence[Offsets],
    *,
    derive: Derive,
    now: datetime,
    progress: Progress = lambda _doing, _done, _steps: None,
) -> list[Outcome]:
    """Restore what is missing of these offsets. Without a writer it is a rehearsal: counted, and nothing written.

    What an id is depends on rows that are stored; so records at home come first, in all partitions, and those that may
    have been counted where they are not at home today come in a second round.
    """
    return _Run(log, reader, writer, derive=derive, now=now, progress=progress).of(asked)


class _Run:
    def __init__(
        self, log: Log, reader: Reader, writer: Writes | None, *, derive: Derive, now: datetime, progress: Progress
    ) -> None:
        self._log, self._reader, self._writer, self._derive, self._now = log, reader, writer, derive, now
        self._progress = progress
        # The ledger first, as in the audit: what it has applied was stored before, so it can be counted.
        self._ground: Ground = ground(reader, now=now, retention=derive.limits.past_max)
        counted = queries.blocks(reader, stored=self._ground.stored, horizon=self._ground.horizon)
        self._blocks = {
            (block.partition, block.number): block
            for block in joined(self._ground.ledger, counted)
            if block.source == derive.source
        }
        self._applied = {
            partition: after - 1 for source, partition, after in self._ground.stored if source == derive.source
        }
        self._oldest_kept = now - derive.limits.past_max
        self._restored = 0
        # Where ids were forwarded to, with the number of partitions that decided it: the last word has the greatest.
        self._forwarded: dict[str, tuple[int, int]] = {}
        self._remembered: dict[str, list[Sighting]] = {}  # what a rehearsal would have restored

    def of(self, asked: Sequence[Offsets]) -> list[Outcome]:
        """What is restored of one block may decide about another: rounds, until one of them brings nothing."""
        outcomes = [Outcome(each) for each in asked]
        pending = [_Part(outcome, offsets) for outcome in outcomes for offsets in self._blocks_of(outcome)]
        for number in range(ROUNDS_MAX):
            before = self._restored
            done = [self._restore(part, guess=number > 0, steps=len(pending)) for part in pending]
            pending = [part for part, decided in zip(pending, done, strict=True) if not decided]
            if number and self._restored == before:
                break
        for part in pending:
            self._restore(part, guess=True, last=True)
        return outcomes

    def _blocks_of(self, outcome: Outcome) -> list[Offsets]:
        """The blocks to read; what cannot be read, or not yet, is said."""
        asked, ends = outcome.offsets, self._log.ends(outcome.offsets.partition)
        applied = self._applied.get(asked.partition, -1)
        first, last = max(asked.first, ends.begin), min(asked.last, applied, ends.end - 1)
        if asked.last > applied:
            outcome.notes.append(
                f"offsets {max(asked.first, applied + 1)}-{asked.last} are not in the ledger: a worker stores them when"
                " it reads them; they were left alone"
            )
        outcome.missing_in_kafka = max(0, min(asked.last + 1, ends.begin) - asked.first)
        if outcome.missing_in_kafka:
            outcome.notes.append(
                f"Kafka has no offsets before {ends.begin} any more: what is missing of them can only come from a "
                "backup of usage_events"
            )
        starts = range(first >> BLOCK_BITS, (last >> BLOCK_BITS) + 1) if first <= last else ()
        return [
            Offsets(asked.partition, max(first, number << BLOCK_BITS), min(last, ((number + 1) << BLOCK_BITS) - 1))
            for number in starts
        ]

    def _restore(self, part: _Part, *, guess: bool, last: bool = False, steps: int = 0) -> bool:
        """One block; whether all of it is decided."""
        self._progress(f"partition {part.offsets.partition}", part.offsets.first >> BLOCK_BITS, steps)
        block = self._blocks.get((part.offsets.partition, part.offsets.first >> BLOCK_BITS))
        if block is None or block.ledger is None:
            part.outcome.notes.append(f"the ledger has nothing of {part.offsets}; they were left alone")
            return True
        read = self._read(part.offsets, block)
        found = self._judged(read, block, part)
        partitions_added = bool(found.gap and found.forwarded)  # perhaps: then look at all that was forwarded first
        if (found.unclear and not last) or (partitions_added and not guess):
            return False
        self._write_rows(read, part, lost=found.lost, counted_again=found.counted_again)
        self._write_rows(read, part, lost=found.astray)
        letters = part.within(self._letters(part.outcome, read, found, block))
        if self._writer is not None:
            self._writer.insert("dead_letters", letters)
        _count(part, read, found, letters)
        return True

    def _judged(self, read: _BlockRead, block: LedgerBlock, part: _Part) -> Judged:
        assert block.ledger is not None, "only what the ledger has applied is read"
        rest = read.frame.filter(~pl.col("source_offset").is_in(list(read.known | part.handled)))
        sent, forwarded = self._without_strays(self._sighted(rest))
        rule = Block(
            room=block.missing - len(part.handled),
            whole=self._log.ends(part.offsets.partition).begin <= block.ledger["offset_first"],
            partition_count=self._derive.partition_count,
            oldest_kept=self._oldest_kept,
            dedup_window=self._derive.dedup_window,
        )
        found = judge(rule, sent, at_home=partial(_at_home, rest), known=self._known(sent))
        found.forwarded += forwarded
        return found

    def _without_strays(self, sent: list[Sighting]) -> tuple[list[Sighting], list[int]]:
        """A record whose id was forwarded to another partition was not counted in this one."""
        strays = {
            each.offset
            for each in sent
            if each.request_id in self._forwarded and self._forwarded[each.request_id][1] != each.partition
        }
        return [each for each in sent if each.offset not in strays], sorted(strays)

    # --- reading ---

    def _read(self, part: Offsets, block: LedgerBlock) -> _BlockRead:
        """The whole block, however little of it is asked for: what a record was depends on those before it."""
        assert block.ledger is not None, "only what the ledger has applied is read"
        first = max(part.first & ~(BLOCK_OFFSETS - 1), self._log.ends(part.partition).begin)
        last = min(first | (BLOCK_OFFSETS - 1), block.ledger["offset_last"])
        place = {"source": self._derive.source, "partition": part.partition, "first": first, "last": last}
        letters_stored = set(self._reader.frame(LETTERS, **place)["source_offset"].to_list())
        frames, letters, refused = [], list[pl.DataFrame](), list[int]()
        records = 0
        for some in self._log.read(part.partition, first, last):
            records += len(some)
            decoded = self._decoded(some, letters_stored)
            refused += [refusal.record.offset for refusal in decoded.refusals]
            missing = [each for each in decoded.refusals if each.record.offset not in letters_stored]
            letters.append(dead_letter_rows(missing, source=self._derive.source, now=self._now))
            frames.append(decoded.frame)
            self._note_forwarded(some, decoded.frame)
        frame = pl.concat(frames) if frames else decode([], source="", limits=self._derive.limits).frame
        removed = set(self._reader.frame(REMOVED, **place)["source_offset"].to_list())
        stored = set(self._rows_stored(frame, place)) - removed
        return _BlockRead(
            offsets=range(first, last + 1),
            frame=frame,
            stored=stored,
            removed=removed,
            letters_stored=letters_stored,
            letters=pl.concat(letters) if letters else dead_letter_rows([], source="", now=self._now),
            refused=refused,
        )

    def _decoded(self, records: Sequence[LogRecord], letters_stored: Collection[int]) -> Decoded:
        """As a worker decodes. Where its topic takes producers' clocks, a record with a dead letter was refused when it
        was read; and what is too old by now has expired since, or is due as a dead letter."""
        limits = self._derive.limits
        decoded = decode(records, source=self._derive.source, limits=limits)
        decoded = arrival.set_apart(decoded, now=self._now, limits=limits)
        if decoded.late is None:
            return decoded
        refused = pl.col("source_offset").is_in(list(letters_stored))
        again = [
            Refusal(records[row], "too_old", "it has a dead letter", request_id)  # of which nothing is written again
            for row, request_id in decoded.frame.filter(refused).select("row", "request_id").iter_rows()
        ]
        refusals = [*decoded.refusals, *arrival.refused_late(decoded, limits), *again]
        return replace(decoded, frame=decoded.frame.filter(~refused), refusals=refusals)

    def _note_forwarded(self, records: Sequence[LogRecord], frame: pl.DataFrame) -> None:
        """What the header of a forwarded record says."""
        marked = {row: count for row, record in enumerate(records) if (count := _forwarded_by(record))}
        for row, request_id in frame.filter(pl.col("row").is_in(list(marked))).select("row", "request_id").iter_rows():
            if len(self._forwarded) < REMEMBERED_MAX:
                place = (marked[row], records[row].partition)
                self._forwarded[request_id] = max(place, self._forwarded.get(request_id, place))

    def _rows_stored(self, frame: pl.DataFrame, place: Mapping[str, Any]) -> list[int]:
        if frame.is_empty():
            return []
        at = frame["occurred_at"].dt.epoch("ms")
        return self._reader.frame(STORED, **place, since=at.min(), until=at.max())["source_offset"].to_list()

    def _known(self, sent: Sequence[Sighting]) -> dict[str, list[Sighting]]:
        """The raw rows that share an id with one of these records; those of this run included."""
        if not sent:
            return {}
        since = min(min(each.occurred_at, each.received_at - self._derive.dedup_window) for each in sent)
        since = since.replace(minute=0, second=0, microsecond=0)
        rows = state.events_of_ids(self._reader, request_ids=[each.request_id for each in sent], since=since)
        remembered = [row for each in sent for row in self._remembered.get(each.request_id, ())]
        found: dict[str, list[Sighting]] = {}
        places = {each.place for each in sent}
        for row in {each for each in (*_sightings(rows), *remembered) if each.place not in places}:
            found.setdefault(row.request_id, []).append(row)
        return found

    # --- writing ---

    def _letters(self, outcome: Outcome, read: _BlockRead, found: Judged, block: LedgerBlock) -> pl.DataFrame:
        """The missing dead letters, conflicts among them; never more than the ledger misses."""
        room = max(0, block.dead_letters_missing)
        kept = read.letters.filter(pl.col("received_at") >= self._oldest_kept)
        conflicts = read.at(found.conflicts).filter(pl.col("received_at") >= self._oldest_kept)
        if kept.height + conflicts.height <= room:
            return pl.concat([kept, self._conflict_letters(conflicts)])
        if room:
            outcome.notes.append(
                f"block {block.number}: more dead letters than the ledger misses, so which of them are due is not clear"
            )
        return kept if kept.height <= room else kept.clear()

    def _conflict_letters(self, conflicts: pl.DataFrame) -> pl.DataFrame:
        """Their bytes are read once more: of accepted records only the columns were kept."""
        places = conflicts.select("source_partition", "source_offset", "request_id").iter_rows()
        refusals = [
            conflict(record, request_id)
            for partition, offset, request_id in places
            for records in self._log.read(partition, offset, offset)
            for record in records
        ]
        return dead_letter_rows(refusals, source=self._derive.source, now=self._now)

    def _write_rows(
        self, read: _BlockRead, part: _Part, *, lost: Collection[int], counted_again: Collection[int] = ()
    ) -> None:
        rows, again = part.within(read.at(lost)), part.within(read.at(counted_again))
        part.lost |= set(rows["source_offset"])
        part.counted_again |= set(again["source_offset"])
        self._restored += rows.height + again.height
        _note_oldest(part.outcome, rows)
        if self._writer is not None:
            priced, priced_again = (self._derived(some) for some in (rows, again))
            for some in (priced, priced_again):
                self._writer.insert("prices", price_rows(some, set(some["price_id"]), self._derive.book, now=self._now))
            self._writer.insert("usage_events", of_events(priced))
            self._writer.insert("removed_events", self._removed_rows(priced_again))
        elif len(self._remembered) < REMEMBERED_MAX:
            for sighting in self._sighted(rows):
                self._remembered.setdefault(sighting.request_id, []).append(sighting)

    def _derived(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Named and priced."""
        return price(named(frame, self._derive.book), self._derive.book)

    def _sighted(self, frame: pl.DataFrame) -> list[Sighting]:
        """With the model by which the row stands, or would stand, in its table."""
        models = named(frame, self._derive.book)["model"]
        return _sightings(frame.with_columns(model_stored=models))

    def _removed_rows(self, priced: pl.DataFrame) -> pl.DataFrame:
        """Rows of removed_events: the later row of an id stays; `audit --repair` takes the earlier off the sums."""
        rows = of_events(priced).to_dicts()
        columns = ("occurred_at", "request_id", "source", "source_partition", "source_offset")
        return pl.DataFrame(
            [
                {
                    **{name: row[name] for name in columns},
                    "event": json.dumps({name: plain(value) for name, value in row.items()}),
                    "reason": "its row was lost, and request_id was then counted again by a later record",
                    "removed_at": self._now,
                }
                for row in rows
            ],
            schema_overrides=dict.fromkeys(("occurred_at", "removed_at"), pl.Datetime("ms", "UTC")),
        )


@dataclass(frozen=True, slots=True)
class _BlockRead:
    """What was read of one block, and which places of it are in the warehouse."""

    offsets: range
    frame: pl.DataFrame  # all records that the gate accepts
    stored: set[int]
    removed: set[int]
    letters_stored: set[int]
    letters: pl.DataFrame  # rows of dead_letters that are missing, conflicts aside
    refused: list[int]

    @property
    def known(self) -> set[int]:
        """The places with a raw row, a note of removal or a dead letter."""
        return self.stored | self.removed | self.letters_stored

    def at(self, offsets: Collection[int]) -> pl.DataFrame:
        return self.frame.filter(pl.col("source_offset").is_in(list(offsets)))


@dataclass(slots=True)
class _Part:
    """The offsets of one block that are asked for, and what this run has restored of them so far."""

    outcome: Outcome
    offsets: Offsets
    lost: set[int] = field(default_factory=set)
    counted_again: set[int] = field(default_factory=set)

    @property
    def handled(self) -> set[int]:
        return self.lost | self.counted_again

    def within(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(pl.col("source_offset").is_between(self.offsets.first, self.offsets.last))

    def count(self, offsets: Iterable[int]) -> int:
        return sum(self.offsets.first <= offset <= self.offsets.last for offset in offsets)


def _count(part: _Part, read: _BlockRead, found: Judged, letters: pl.DataFrame) -> None:
    outcome, accepted = part.outcome, set(read.frame["source_offset"])
    outcome.records += part.count([*accepted, *read.refused])
    outcome.stored += part.count((read.stored & accepted) - part.handled)
    outcome.restored += len(part.lost)
    outcome.removed += part.count((read.removed & accepted) - part.handled)
    outcome.counted_again += len(part.counted_again)
    outcome.duplicates += part.count(found.duplicates)
    outcome.forwarded += part.count(set(found.forwarded) - part.lost)
    outcome.beyond_retention += part.count(found.expired)
    outcome.dead_letters += part.count(read.letters_stored)
    outcome.dead_letters_restored += letters.height
    outcome.unclear += part.count(found.unclear)
    if found.unclear:
        outcome.notes.append(
            f"{part.offsets}: more records without a row than the ledger misses, so which of them were counted is not "
            "clear; `costream reread --missing` reads what comes before them too"
        )


def _note_oldest(outcome: Outcome, rows: pl.DataFrame) -> None:
    oldest = rows["occurred_at"].min()
    if isinstance(oldest, datetime):
        outcome.oldest = min(outcome.oldest or oldest, oldest)


def _forwarded_by(record: LogRecord) -> int:
    """The number of partitions by which this record was forwarded; 0 if it was not."""
    for name, value in record.headers:
        if name == FORWARDED_HEADER and value and value.isdigit():
            return int(value)
    return 0


def _at_home(rows: pl.DataFrame, partition_count: int) -> set[int]:
    if rows.is_empty():
        return set()
    homes = home_partitions(rows["request_id"], partition_count)
    return set(rows.filter(pl.Series(homes == rows["source_partition"].to_numpy()))["source_offset"])


def _sightings(rows: pl.DataFrame) -> list[Sighting]:
    """Of rows with their names as they were sent, and the model beside it that is stored."""
    seen = rows.select(*_SIGHTED, digest=DIGEST).sort("source_offset")
    return [Sighting(*values) for values in seen.iter_rows()]


_SIGHTED: Final = (
    *("request_id", "source", "source_partition", "source_offset", "occurred_at", "received_at"),
    *("model_stored", "feature"),
)


_PLACE: Final = """
  source = {source:String} AND source_partition = {partition:UInt16}
  AND source_offset >= {first:UInt64} AND source_offset <= {last:UInt64}"""
# The span of time leads the sorting key, so that a block does not cost a look at every row there is.
STORED: Final = f"""
SELECT toInt64(source_offset) AS source_offset FROM usage_events_rows FINAL
WHERE occurred_at >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')
  AND occurred_at <= fromUnixTimestamp64Milli({{until:Int64}}, 'UTC') AND {_PLACE}"""  # noqa: S608 - a constant above
REMOVED: Final = "SELECT toInt64(source_offset) AS source_offset FROM removed_events_rows WHERE " + _PLACE  # noqa: S608 - as above
LETTERS: Final = "SELECT toInt64(source_offset) AS source_offset FROM dead_letters_rows WHERE " + _PLACE  # noqa: S608 - as above
