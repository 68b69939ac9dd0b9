"""From a batch of records to everything that must be written of it.

    records -> decode -> sort out -> price -> roll up -> Flush

A Flush holds rows only; nothing is written here. What makes a batch safe to process again is in the steps: a record is
judged by its own bytes and its broker's clock, an id by the position it was first seen at, a rollup row by the offset
it has applied.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from costream.topics import FORWARDED_HEADER, NAMES_HEADER
from sinks.clickhouse import state
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import to_decimal
from stream.decode import arrival
from stream.decode.cut import Cut, Header, bytes_of, encoded
from stream.decode.frame import UTC_MILLISECONDS, AgeLimits, Decoded, Record, Refusal, decode, is_credible
from stream.dedup.home import home_partitions
from stream.dedup.seen import SeenIds, Sorted
from stream.flood import Flood
from stream.pricing import PriceBook, price
from stream.rollup.sums import HOURLY, LEDGER, ROWS_MAX, UNITS, USER_DAILY, Rollup, metered


class Message(NamedTuple):
    """A record to be published: on which topic is the outbox's to know. A tuple, since there are many."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]
    partition: int | None = None  # None leaves it to the key


@dataclass(frozen=True, slots=True)
class Flush:
    """What one batch leaves behind, in the order it must be written."""

    number: int
    events: pl.DataFrame  # table usage_events
    hourly: pl.DataFrame  # table usage_hourly: the rows that changed, whole
    units: pl.DataFrame  # table usage_hourly_units
    user_daily: pl.DataFrame  # table usage_user_daily
    dead_letters: pl.DataFrame  # table dead_letters
    ledger: pl.DataFrame  # table ingest_ledger
    refusals: list[Refusal]  # topic usage.deadletter
    letters_cut: int  # of them: kept without their bytes, since there were too many
    forwards: list[Message]  # topic usage.events, to their home
    received: int
    duplicates: int
    replayed: int  # of the stored: delivered again, and known at the same offset
    unpriced: Mapping[tuple[str, str], int]  # (provider, model) -> calls

    @property
    def stored(self) -> int:
        return self.events.height


class Ingest:
    """The state of the partitions held, and what to do with their records. One batch at a time."""

    def __init__(
        self,
        *,
        reader: Reader,
        book: PriceBook,
        limits: AgeLimits,
        ids_max: int,
        rows_max: int = ROWS_MAX,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._book = book
        self._limits = limits
        self._source = ""
        self._partition_count = 0
        self.seen = SeenIds(find_stored=self._stored_events, ids_max=ids_max)
        self._hourly, self._units, self._user_daily, self._ledger = (
            Rollup(spec, _StoredRows(self, spec.table), rows_max=rows_max)
            for spec in (HOURLY, UNITS, USER_DAILY, LEDGER)
        )
        self._partitions: list[int] = []
        self._ledger_applied: dict[int, int] = {}  # when the partitions were taken over
        self._letters_to: dict[int, int] | None = None  # as far as there are dead letters; None: not asked yet
        self._flushes = 0
        self._flood = Flood()

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
        self.seen.assign(partitions, partition_count=partition_count, source=source, since=since, stored=stored)

    def revoke(self) -> None:
        """Forget all: another worker may go on from here."""
        self.seen.revoke()
        self._flood = Flood()
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
        """Sort out, price and roll up one batch, in the order of its partitions.

        When ClickHouse cannot answer a question in the middle, call again with the same batch: an id already taken
        in is then a replay, and a row that has applied an offset does not apply it twice.
        """
        letters = self._letters_before(decoded)
        decoded = self._as_judged_before(decoded, letters)
        self._flushes += 1
        records, flush = decoded.records, self._flushes
        found = self.seen.sort_out(decoded.frame)
        counted = self._priced_once(found.new, found.replayed)
        refusals, letters_cut = self._flood.held_back(
            decoded.refusals + _conflicts(found.conflicts, records), read_at=decoded.read_at
        )
        spent = _effects(counted, found.duplicates)
        return Flush(
            number=flush,
            events=event_rows(counted),
            hourly=self._hourly_rows(self._hourly.add(spent, flush=flush)),
            units=self._unit_rows(self._units.add(metered(counted), flush=flush)),
            user_daily=self._user_rows(self._user_daily.add(spent.filter("counted"), flush=flush)),
            dead_letters=dead_letter_rows(refusals, source=self._source, now=self._clock(), known=_arrived(letters)),
            ledger=self._stamped(self._ledger.add(_outcomes(found, refusals), flush=flush)),
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
        for rollup in self.rollups:
            rollup.settle(flush.number)

    def _priced_once(self, new: pl.DataFrame, replayed: pl.DataFrame) -> pl.DataFrame:
        """New records with their price, and records delivered again with what was worked out when they were stored.

        The build that stored them may have known other prices, and its rollups may be stored already. So what it said
        stays. Only an event whose row is not stored, since the flush was torn, is priced now.
        """
        priced = price(new, self._book)
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
        return pl.concat([priced, as_stored(price(replayed, self._book), stored)])

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
        return self._hourly, self._units, self._user_daily, self._ledger

    def _forwards(self, away: pl.DataFrame, records: Sequence[Record]) -> list[Message]:
        """Each to its home by this worker's partition count, which is the one its ids were read back by; left to the
        producer, a count learned earlier or later would send it to where nobody knows its id. Once all workers know of
        new partitions, what is forwarded has arrived, so nothing travels in circles."""
        mark = (FORWARDED_HEADER, str(self._partition_count).encode())
        homes = home_partitions(away["request_id"], self._partition_count).tolist()
        return [
            Message(request_id.encode(), records[row].value, [*_other_headers(records[row]), mark], home)
            for (row, request_id), home in zip(away.select("row", "request_id").iter_rows(), homes, strict=True)
        ]

    # --- rows as the tables have them ---

    def _hourly_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._stamped(_with_money(rows))

    def _unit_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._stamped(rows.with_columns(pl.col("amount_whole", "amount_pico").cast(pl.Decimal(38, 0))))

    def _user_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._stamped(_with_money(rows))

    def _stamped(self, rows: pl.DataFrame) -> pl.DataFrame:
        """A row's version is the offset applied last: of two copies, ClickHouse keeps the one that has applied more."""
        return rows.with_columns(source=pl.lit(self._source)).rename({"applied": "version"})

    # --- rows read back ---

    def _stored_events(self, request_ids: Sequence[str], hours: Sequence[datetime]) -> pl.DataFrame:
        return state.stored_ids(self._reader, request_ids=request_ids, hours=hours)


class _StoredRows:
    """What is stored of one table of rollups, by the source that is being worked on."""

    def __init__(self, ingest: Ingest, table: str) -> None:
        self._ingest, self._table = ingest, state.ROLLUPS[table]

    def rows(self, partitions: Sequence[int], buckets: Sequence[Any], *, limit: int) -> pl.DataFrame:
        return _applied(
            state.rollup_rows(
                self._reader, self._table, source=self._source, partitions=partitions, buckets=buckets, limit=limit
            )
        )

    def keys(self, partitions: Sequence[int], buckets: Sequence[Any]) -> Iterator[pl.DataFrame]:
        return state.rollup_keys(self._reader, self._table, source=self._source, partitions=partitions, buckets=buckets)

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        return _applied(state.rollup_rows_of(self._reader, self._table, source=self._source, keys=keys))

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


def _with_money(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        cost_usd=to_decimal(pl.col("cost_pico")), revenue_usd=to_decimal(pl.col("revenue_pico"))
    ).drop("cost_pico", "revenue_pico")


def _applied(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.rename({"version": "applied"})


def _effects(counted: pl.DataFrame, duplicates: pl.DataFrame) -> pl.DataFrame:
    """What the rollups add up: counted events with all they carry, duplicates with their place alone."""
    placed = [name for name in duplicates.columns if name in _PLACE]
    repeats = duplicates.select(placed).with_columns(counted=False)
    return pl.concat([counted.with_columns(counted=True), repeats], how="diagonal")


_PLACE: Final = {"occurred_at", "source_partition", "source_offset", *HOURLY.keys} - {"hour"}


def event_rows(counted: pl.DataFrame) -> pl.DataFrame:
    return counted.with_columns(
        *(to_decimal(pl.col(pico)).alias(usd) for pico, usd in _MONEY.items()),
    ).drop("row", *_MONEY)


_MONEY: Final = {"cost_pico": "cost_usd", "reported_cost_pico": "reported_cost_usd", "revenue_pico": "revenue_usd"}


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


def conflict(record: Record, request_id: str) -> Refusal:
    """The refusal of a record whose id is counted with other content."""
    reason = f"request_id: {request_id!r} was counted before with other content; the first one stays counted"
    return Refusal(record, "conflict", reason, request_id)


# --- dead letters ----------------------------------------------------------------------------------------------------


def dead_letter_rows(
    refusals: Sequence[Refusal], *, source: str, now: datetime, known: Mapping[arrival.Place, int] | None = None
) -> pl.DataFrame:
    """Rows of table dead_letters. Bytes are kept as they are: ClickHouse strings hold any.

    A row is kept for a time that counts from when its record came. Where the record's own time can be no such time,
    that is now, or ``known``, if it was stored before; the reason names what the record said.
    """
    records = [refusal.record for refusal in refusals]
    whole = [record.cut or _measured(record) for record in records]
    return pl.DataFrame(
        {
            "source": pl.Series([source] * len(records), dtype=pl.String),
            "source_partition": pl.Series([record.partition for record in records], dtype=pl.Int64),
            "source_offset": pl.Series([record.offset for record in records], dtype=pl.Int64),
            "received_at": _received_at(records, now, known or {}),
            "kind": pl.Series([refusal.kind for refusal in refusals], dtype=pl.String),
            "reason": pl.Series([refusal.reason for refusal in refusals], dtype=pl.String),
            "request_id": pl.Series([refusal.request_id for refusal in refusals], dtype=pl.String),
            "key": pl.Series([record.key or b"" for record in records], dtype=pl.Binary),
            "value": pl.Series([record.value or b"" for record in records], dtype=pl.Binary),
            "headers": pl.Series([_headers_json(record) for record in records], dtype=pl.String),
            "value_bytes": pl.Series([cut.value_bytes for cut in whole], dtype=pl.Int64),
            "value_sha256": pl.Series([cut.value_sha256 for cut in whole], dtype=pl.String),
            "key_bytes": pl.Series([cut.key_bytes for cut in whole], dtype=pl.Int64),
            "key_sha256": pl.Series([cut.key_sha256 for cut in whole], dtype=pl.String),
            "headers_count": pl.Series([cut.headers_count for cut in whole], dtype=pl.Int64),
            "headers_bytes": pl.Series([cut.headers_bytes for cut in whole], dtype=pl.Int64),
            "headers_sha256": pl.Series([cut.headers_sha256 for cut in whole], dtype=pl.String),
        }
    )


def _measured(record: Record) -> Cut:
    """The lengths of a record that is whole."""
    return Cut(
        value_bytes=len(record.value or b""),
        key_bytes=len(record.key or b""),
        headers_count=len(record.headers),
        headers_bytes=len(encoded(record.headers)),
    )


def _received_at(records: Sequence[Record], now: datetime, known: Mapping[arrival.Place, int]) -> pl.Series:
    moment = round(now.timestamp() * 1000)
    times = [
        arrival.arrived(record, now=now, known=known)
        if record.own_time
        else record.timestamp
        if is_credible(record.timestamp)
        else moment
        for record in records
    ]
    return pl.Series(times, dtype=pl.Int64).cast(UTC_MILLISECONDS)


def _arrived(letters: pl.DataFrame) -> dict[arrival.Place, int]:
    rows = letters.select("source_partition", "source_offset", "received_at").iter_rows()
    return {(partition, offset): received_at for partition, offset, received_at in rows}


def dead_letter_message(refusal: Refusal, *, source: str) -> Message:
    """The record as it came, or as much of it as was kept, with what was wrong and where it stood."""
    record = refusal.record
    told = {
        "costream-kind": refusal.kind,
        "costream-reason": refusal.reason,
        "costream-source": source,
        "costream-partition": str(record.partition),
        "costream-offset": str(record.offset),
    }
    if record.cut is not None:
        told |= {
            f"costream-{name.replace('_', '-')}": str(size)
            for name, size in msgspec.structs.asdict(record.cut).items()
            if size != ""
        }
    return Message(
        record.key, record.value, [*sendable(record.headers), *((name, text.encode()) for name, text in told.items())]
    )


def sendable(headers: Iterable[Header]) -> list[tuple[str, str | bytes | None]]:
    """Headers as librdkafka takes them: their names are text without a NUL. A name that is not is written with
    backslashes, and what it was stands in a header of its own, as base64 by the name that took its place."""
    named = [(_told_name(name), name, value) for name, value in headers]
    renamed = {told: base64.b64encode(bytes_of(name)).decode() for told, name, _ in named if told != name}
    sent: list[tuple[str, str | bytes | None]] = [(told, value) for told, _, value in named]
    return [*sent, (NAMES_HEADER, json.dumps(renamed).encode())] if renamed else sent


# A head of the value, of the key and of the headers, whose names may take nine times as much: four to be readable, five
# in the header that says what they were. Then the reason, and the lengths.
LETTER_BYTES_MAX: Final = 327_680


def _told_name(name: str) -> str:
    return bytes_of(name).decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _headers_json(record: Record) -> str:
    return json.dumps(
        [[name, None if value is None else base64.b64encode(value).decode()] for name, value in record.headers]
    )


def _other_headers(record: Record) -> list[tuple[str, str | bytes | None]]:
    return sendable((name, value) for name, value in record.headers if name != FORWARDED_HEADER)
