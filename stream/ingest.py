"""From a batch of records to everything that must be written of it.

    records -> decode -> sort out -> name -> price -> roll up -> Flush

A Flush holds rows only; nothing is written here. What makes a batch safe to process again is in the steps: a record is
judged by its own bytes and its broker's clock, an id by the position it was first seen at, a rollup row by the offset
it has applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any, Final

import polars as pl

from costream.pricing import PriceBook
from costream.topics import FORWARDED_HEADER
from sinks.clickhouse import rows, state
from sinks.clickhouse.reader import Reader
from stream.budgets.counted import Counted, Spending
from stream.budgets.spend import added_up, shares
from stream.decode import arrival
from stream.decode.frame import AgeLimits, Decoded, Record, Refusal, decode
from stream.dedup.home import home_partitions
from stream.dedup.seen import SeenIds, Sorted
from stream.pricing import StoredNames, price, price_rows
from stream.rollup.rows import hashed
from stream.rollup.sums import (
    BUDGET_SPEND,
    DAILY,
    HOURLY,
    LEDGER,
    ROWS_MAX,
    UNITS,
    USER_DAILY,
    Rollup,
    by_hour,
    metered,
)
from stream.store.flood import Flood
from stream.store.flush import Flush, Outgoing
from stream.store.letters import arrivals, conflict, dead_letter_rows, sendable

PRICES_KNOWN_MAX: Final = 65_536  # ids of 16 letters: about 6 MB
UNITS_BYTES_MAX: Final = 4 * 1024**2  # of the text of units that are added up at once: 40,000 to 200,000 rows


def _no_budgets() -> Counted:
    return Counted(())


class Ingest:
    """The state of the partitions held, and what to do with their records. One batch at a time, each by the ``book``
    and the ``budgets`` that are in force when the work on it begins."""

    def __init__(
        self,
        *,
        reader: Reader,
        book: Callable[[], PriceBook],
        budgets: Callable[[], Counted] = _no_budgets,
        limits: AgeLimits,
        ids_max: int,
        rows_max: int = ROWS_MAX,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._book, self._budgets = book, budgets
        self._limits = limits
        self._source = ""
        self._partition_count = 0
        self._names = StoredNames(find_stored=self._stored_events)
        self._attempt: tuple[Decoded, PriceBook, Counted] | None = None  # the batch that is worked on, and by what
        self.seen = SeenIds(find_stored=self._stored_events, ids_max=ids_max)
        self._hourly, self._units, self._user_daily, self._budget_spend, self._ledger = (
            Rollup(spec, _StoredRows(self, spec.table), rows_max=rows_max)
            for spec in (HOURLY, UNITS, USER_DAILY, BUDGET_SPEND, LEDGER)
        )
        self._daily = Rollup(DAILY, _StoredRows(self, DAILY.table), codes=self._hourly.codes, rows_max=rows_max)
        self._partitions: list[int] = []
        self._ledger_applied: dict[int, int] = {}  # when the partitions were taken over
        self._letters_to: dict[int, int] | None = None  # as far as there are dead letters; None: not asked yet
        self._flushes = 0
        self._flood = Flood()
        self._prices_known: set[str] = set()  # whose texts are stored, or on their way in a flush before

    def assign(self, partitions: Sequence[int], *, partition_count: int, source: str, since: datetime) -> None:
        """Take over partitions of ``source``: read back what is stored of them since the hour of ``since``."""
        self.revoke()
        since = since.replace(minute=0, second=0, microsecond=0)  # memory knows whole hours or none of them
        self._source, self._partition_count = source, partition_count
        self._partitions, self._letters_to = list(partitions), None
        for rollup in self.rollups:
            applied = state.applied_offsets(self._reader, rollup.spec.table, source=source, partitions=list(partitions))
            rollup.assign(applied)
            self._ledger_applied = applied  # the ledger comes last
        stored = state.recent_ids(
            self._reader, partitions=partitions, partition_count=partition_count, source=source, since=since
        )
        self._names.go_by(self._book())
        stored = map(self._names.note, stored)
        self.seen.assign(partitions, partition_count=partition_count, source=source, since=since, stored=stored)

    def revoke(self) -> None:
        """Forget all: another worker may go on from here."""
        self.seen.revoke()
        self._names.forget()
        self._attempt = None
        self._flood = Flood()
        self._prices_known = set()
        for rollup in self.rollups:
            rollup.revoke()

    def trim(self, since: datetime) -> None:
        """Stay within the bounds of memory. Only when every Flush handed out is stored."""
        self.seen.forget_before(since)
        self.seen.trim()
        for rollup in self.rollups:
            rollup.trim()

    def decode(self, records: Sequence[Record]) -> Decoded:
        """The first half of the work on a batch. It remembers nothing, so it may run ahead of the second."""
        decoded = decode(records, source=self._source, limits=self._limits)
        return arrival.set_apart(decoded, now=self._clock(), limits=self._limits)

    def process(self, decoded: Decoded) -> Flush:
        """Sort out, name, price and roll up one batch, in the order of its partitions.

        When ClickHouse cannot answer a question in the middle, call again with the same batch: an id already taken
        in is then a replay, and a row that has applied an offset does not apply it twice. It is worked on by the same
        book and budgets again, since some of its sums may be made.
        """
        if self._attempt is None or self._attempt[0] is not decoded:
            self._attempt = decoded, self._book(), self._budgets()
        flush = self._flush_of(*self._attempt)
        self._attempt = None
        return flush

    def _flush_of(self, decoded: Decoded, book: PriceBook, budgets: Counted) -> Flush:
        self._names.go_by(book)
        letters = self._letters_before(decoded)
        decoded = self._as_judged_before(decoded, letters)
        self._flushes += 1
        records, flush = decoded.records, self._flushes
        found = self.seen.sort_out(decoded.frame)
        counted = self._derived_once(found.new, found.replayed, book)
        repeats = self._names.of_repeats(found.duplicates)
        self._names.keep(counted, flush=flush)
        refusals, letters_cut = self._flood.held_back(
            decoded.refusals + _conflicts(found.conflicts, records), read_at=decoded.read_at
        )
        spent = _effects(counted, repeats)
        return Flush(
            number=flush,
            prices=self._new_prices(counted, book),
            events=rows.of_events(counted),
            hourly=self._rows(self._hourly.add(spent, flush=flush)),
            units=self._rows(self._units_of(counted, flush)),
            daily=self._rows(self._daily.add(spent, flush=flush, summed=by_hour(self._hourly.summed))),
            user_daily=self._rows(self._user_daily.add(spent.filter("counted"), flush=flush)),
            budget_spend=self._rows(self._spend_of(counted, budgets.with_control, flush)),
            dead_letters=dead_letter_rows(refusals, source=self._source, now=self._clock(), known=arrivals(letters)),
            ledger=self._rows(self._ledger.add(_outcomes(found, refusals), flush=flush)),
            refusals=refusals,
            letters_cut=letters_cut,
            forwards=self._forwards(found.away, records),
            received=len(records),
            duplicates=found.duplicates.height,
            replayed=found.replayed.height,
            unpriced=_unpriced(counted),
        )

    def settle(self, flush: Flush) -> None:
        """This flush is stored, and so are those before it: what is in their rows need not stay in memory."""
        self._names.settle(flush.number)
        for rollup in self.rollups:
            rollup.settle(flush.number)

    def _units_of(self, counted: pl.DataFrame, flush: int) -> pl.DataFrame:
        """The rows of units that a batch changes, worked out a part of it at a time: its units may be sixteen times as
        many as its calls."""
        changed = [self._units.add(metered(part), flush=flush) for part in _parts_by_units(counted)]
        if len(changed) == 1:
            return changed[0]
        rows = pl.concat(changed)
        last = hashed(rows.select(self._units.spec.by)).select(pl.struct(pl.all()).is_last_distinct()).to_series()
        return rows.filter(last)

    def _spend_of(self, counted: pl.DataFrame, sums: Sequence[Spending], flush: int) -> pl.DataFrame:
        each = partial(shares, sums=sums)
        return self._budget_spend.add(counted, flush=flush, summed=added_up(counted, sums), each=each)

    def _derived_once(self, new: pl.DataFrame, replayed: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
        """New records with their names and price, and records delivered again with what was worked out when they were
        stored.

        The build that stored them may have known other names and prices, and its rollups may be stored already. So what
        it said stays. Only an event whose row is not stored, since the flush was torn, is named and priced now.
        """
        priced = price(self._names.of_calls(new), book)
        if replayed.is_empty():
            return priced
        spans = replayed.group_by("source_partition").agg(
            first=pl.col("source_offset").min(), last=pl.col("source_offset").max()
        )
        stored = state.derived(
            self._reader,
            source=self._source,
            offsets={partition: (first, last) for partition, first, last in spans.iter_rows()},
            hours=replayed["occurred_at"].dt.truncate("1h").unique().to_list(),
        )
        return pl.concat([priced, as_stored(price(self._names.of_calls(replayed), book), stored)])

    def _new_prices(self, counted: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
        """The texts of prices that no flush before has brought."""
        new = set(counted["price_id"].unique()) - self._prices_known
        if len(self._prices_known) > PRICES_KNOWN_MAX:
            self._prices_known = set()  # a text that is stored again is the same row
        self._prices_known |= new
        return price_rows(counted, new, book, now=self._clock())

    def _letters_before(self, decoded: Decoded) -> pl.DataFrame:
        """The dead letters that an earlier delivery of these records has left. Asked for only where a verdict hangs on
        a clock, and where there can be any."""
        if decoded.late is None:
            return pl.DataFrame(schema=state.LETTERS_SCHEMA)
        if self._letters_to is None:
            self._letters_to = state.letters_to(self._reader, source=self._source, partitions=self._partitions)
        known = self._letters_to
        return state.letters(
            self._reader,
            source=self._source,
            offsets={
                partition: (first, min(last, known[partition]))
                for partition, (first, last) in arrival.places(decoded.records).items()
                if first <= known.get(partition, -1)
            },
        )

    def _as_judged_before(self, decoded: Decoded, letters: pl.DataFrame) -> Decoded:
        late = decoded.late
        if late is None:
            return decoded
        by_age = letters.filter(pl.col("kind").is_in(arrival.BY_AGE))
        stored = (
            state.derived(
                self._reader,
                source=self._source,
                offsets=arrival.places(decoded.records[row] for row in late["row"]),
                hours=late["occurred_at"].dt.truncate("1h").unique().to_list(),
            )
            if late.height
            else late
        )
        return arrival.as_judged_before(
            decoded, letters=by_age, stored=stored, applied=self._ledger_applied, limits=self._limits
        )

    @property
    def rollups(self) -> tuple[Rollup, ...]:
        return self._hourly, self._units, self._daily, self._user_daily, self._budget_spend, self._ledger

    def _forwards(self, away: pl.DataFrame, records: Sequence[Record]) -> list[Outgoing]:
        """Each to its home by this worker's partition count, which is the one its ids were read back by; left to the
        producer, a count learned earlier or later would send it to where nobody knows its id. Once all workers know of
        new partitions, what is forwarded has arrived, so nothing travels in circles."""
        mark = (FORWARDED_HEADER, str(self._partition_count).encode())
        homes = home_partitions(away["request_id"], self._partition_count).tolist()
        return [
            Outgoing(request_id.encode(), records[row].value, [*_other_headers(records[row]), mark], home)
            for (row, request_id), home in zip(away.select("row", "request_id").iter_rows(), homes, strict=True)
        ]

    def _rows(self, changed: pl.DataFrame) -> pl.DataFrame:
        return rows.of_rollup(changed, source=self._source)

    # --- rows read back ---

    def _stored_events(self, request_ids: Sequence[str], hours: Sequence[datetime]) -> pl.DataFrame:
        return self._names.note(state.stored_ids(self._reader, request_ids=request_ids, hours=hours))


class _StoredRows:
    """What is stored of one table of rollups, by the source that is being worked on."""

    def __init__(self, ingest: Ingest, table: str) -> None:
        self._ingest, self._table = ingest, state.ROLLUPS[table]

    def rows(self, partitions: Sequence[int], buckets: Sequence[Any], *, limit: int) -> pl.DataFrame:
        return rows.as_summed(
            state.rollup_rows(
                self._reader, self._table, source=self._source, partitions=partitions, buckets=buckets, limit=limit
            )
        )

    def keys(self, partitions: Sequence[int], buckets: Sequence[Any]) -> Iterator[pl.DataFrame]:
        return state.rollup_keys(self._reader, self._table, source=self._source, partitions=partitions, buckets=buckets)

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        return rows.as_summed(state.rollup_rows_of(self._reader, self._table, source=self._source, keys=keys))

    @property
    def _reader(self) -> Reader:
        return self._ingest._reader

    @property
    def _source(self) -> str:
        return self._ingest._source


def as_stored(priced: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """``priced`` with the columns ``state.DERIVED`` of ``stored`` where it has the row, matched by their place."""
    place = ["source_partition", "source_offset"]
    kept = stored.select(*place, **{f"stored_{name}": name for name in state.DERIVED}, is_stored=pl.lit(True))
    found = priced.join(kept, on=place, how="left", maintain_order="left")
    chosen = [
        pl.when(pl.col("is_stored")).then(pl.col(f"stored_{name}")).otherwise(pl.col(name)).alias(name)
        for name in state.DERIVED
    ]
    return found.with_columns(chosen).select(priced.columns)


def _parts_by_units(counted: pl.DataFrame) -> list[pl.DataFrame]:
    """Events with units, cut where those come to some megabytes of text; at least one part, if only of none.

    In the order of their offsets: what a row has applied is the greatest of them, and it takes in none below.
    """
    reporting = counted.filter(pl.col("quantities") != "")
    sizes = reporting["quantities"].str.len_bytes()
    if sizes.sum() <= UNITS_BYTES_MAX:
        return [reporting]
    reporting = reporting.sort("source_partition", "source_offset")
    part = reporting["quantities"].str.len_bytes().cum_sum() // UNITS_BYTES_MAX
    ends = part.search_sorted(part.unique().sort(), side="right")
    return [reporting[start:end] for start, end in pairwise([0, *ends])]


def _effects(counted: pl.DataFrame, duplicates: pl.DataFrame) -> pl.DataFrame:
    """What the rollups add up: counted events with all they carry, duplicates with their place alone."""
    placed = [name for name in duplicates.columns if name in _PLACE]
    repeats = duplicates.select(placed).with_columns(counted=False)
    return pl.concat([counted.with_columns(counted=True), repeats], how="diagonal")


_PLACE: Final = {"occurred_at", "source_partition", "source_offset", *HOURLY.keys} - {"hour"}


def _unpriced(counted: pl.DataFrame) -> dict[tuple[str, str], int]:
    tally = counted.filter(pl.col("cost_status") == "unpriced").group_by("provider", "model").len()
    return {(provider, model): calls for provider, model, calls in tally.iter_rows()}


def _outcomes(found: Sorted, refusals: Iterable[Refusal]) -> pl.DataFrame:
    """Where each record went: the ledger adds it up by partition and block of offsets."""
    by_outcome = {
        "stored": [found.new, found.replayed],
        "duplicates": [found.duplicates],
        "forwarded": [found.away],
        "dead_lettered": [_positions(refusals)],
    }
    return pl.concat(
        frame.select("source_partition", "source_offset", outcome=pl.lit(outcome))
        for outcome, frames in by_outcome.items()
        for frame in frames
    )


def _positions(refusals: Iterable[Refusal]) -> pl.DataFrame:
    return pl.DataFrame(
        [(refusal.record.partition, refusal.record.offset) for refusal in refusals],
        schema={"source_partition": pl.Int64, "source_offset": pl.Int64},
        orient="row",
    )


def _conflicts(conflicts: pl.DataFrame, records: Sequence[Record]) -> list[Refusal]:
    return [conflict(records[row], request_id) for row, request_id in conflicts.select("row", "request_id").iter_rows()]


def _other_headers(record: Record) -> list[tuple[str, str | bytes | None]]:
    return sendable((name, value) for name, value in record.headers if name != FORWARDED_HEADER)
