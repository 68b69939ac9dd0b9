"""Rollups as full-state rows, each its own watermark.

A row of ``usage_hourly``, ``usage_hourly_units``, ``usage_daily``, ``usage_user_daily``, ``budget_spend`` or
``ingest_ledger`` holds everything its partition has contributed to one key, and the offset applied last. **An event
changes a row only if its offset is above the row's.** So whatever part of the log is replayed, in whatever batches,
after whatever torn write, the rows come out the same; and the row with the greater offset wins in ClickHouse, so a
worker that lost its partition cannot do harm.
**That offset is the row's version and nothing else is.** A worker never writes one below the one it has read, whatever
prices it knows: workers of an old and a new build run side by side, and neither row goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import polars as pl

from sinks.clickhouse.vocabulary import DIMENSIONS, TOKENS_WITHOUT_A_PRICE
from stream.budgets.spend import KEY, SUMS
from stream.rollup.rows import HALVES, HashSet, RowStore, hashed

# Packed, a row of usual numbers takes 27 to 60 bytes (stream/rollup/packed.py): three tables at their bound are 0.25 to
# 0.5 GB, and two million series in an hour are all in memory. Where every number is wide, a row of usage_hourly takes
# 175.
ROWS_MAX: Final = 3_000_000
HASHES_MAX: Final = 16_000_000  # of rows that were let go, 8 bytes each; beyond it the rows of a bucket are asked for
READ_ROWS_MAX: Final = 100_000  # read back at once when a bucket is taken over; of more only the hashes are kept

TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


MOMENT: Final = pl.Datetime("ms", "UTC")
WIDE: Final = ("_pico", "_whole")  # how the names of sums end that 64 bits cannot hold


@dataclass(frozen=True, slots=True)
class RollupSpec:
    """One table of rollups. ``keys`` are its columns beside source and partition, ``bucket`` the one by which
    rows are read back; ``sums`` say what an event adds: Int64 or, where that could wrap, Int128 (money, amounts)."""

    table: str
    bucket: str
    bucket_type: pl.DataType
    keys: Mapping[str, pl.Expr]
    sums: Mapping[str, pl.Expr]
    mins: Mapping[str, pl.Expr] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)  # the column whose different texts are collected
    times: frozenset[str] = frozenset()  # keys beside the bucket that are moments; the others are text

    @property
    def by(self) -> list[str]:
        return ["source_partition", *self.keys]

    @property
    def schema(self) -> pl.Schema:
        """The columns of a row in memory; ``applied`` is the offset applied last."""
        return pl.Schema(
            {
                "source_partition": pl.Int64(),
                **{name: self._kind_of(name) for name in self.keys},
                **{name: pl.Int128() if name.endswith(WIDE) else pl.Int64() for name in self.sums},
                **dict.fromkeys(self.mins, pl.Int64()),
                **dict.fromkeys(self.sets, pl.List(pl.String())),
                "applied": pl.Int64(),
            }
        )

    def _kind_of(self, key: str) -> pl.DataType:
        if key == self.bucket:
            return self.bucket_type
        return MOMENT if key in self.times else pl.String()


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _wide(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int128).sum()  # Int64 would wrap, silently, at nine million dollars


def _tokens_of(cost_status: str) -> pl.Expr:
    tokens = pl.col("input_tokens").fill_null(0) + pl.col("output_tokens").fill_null(0)
    return tokens.filter(_COUNTED & (pl.col("cost_status") == cost_status)).sum()


def _hour() -> pl.Expr:
    return pl.col("occurred_at").dt.truncate("1h")


_COUNTED: Final = pl.col("counted")
_SHARED: Final[dict[str, pl.Expr]] = {
    "calls": _count(_COUNTED),
    "errors": _count(_COUNTED & (pl.col("status") == "error")),
    "unpriced_calls": _count(_COUNTED & (pl.col("cost_status") == "unpriced")),
    "partial_calls": _count(_COUNTED & (pl.col("cost_status") == "partial")),
    "unpriced_tokens": _tokens_of("unpriced"),
    "partial_tokens": _tokens_of("partial"),
}

HOURLY: Final = RollupSpec(
    table="usage_hourly",
    bucket="hour",
    bucket_type=MOMENT,
    keys={"hour": _hour()} | {name: pl.col(name) for name in DIMENSIONS},
    sums=_SHARED
    | {"duplicates": _count(~_COUNTED)}
    | {name: pl.col(name).sum() for name in TOKENS}
    | {
        "cost_pico": _wide("cost_pico"),
        "revenue_pico": _wide("revenue_pico"),
        "duration_ms": pl.col("duration_ms").sum(),
        "duration_calls": pl.col("duration_ms").count().cast(pl.Int64),
    },
    sets={"price_versions": "price_version"},
)

# Units have rows of their own: a producer may invent as many as it likes, and no row may grow with them. An amount is
# two sums, its whole units and the 1e-12ths beside them: an event adds less than 10^18 and 10^12, and a partition has
# fewer than 2^48 events (that is what a version holds), so neither comes near the 10^38 of a Decimal(38, 0).
UNITS: Final = RollupSpec(
    table="usage_hourly_units",
    bucket="hour",
    bucket_type=MOMENT,
    keys={"hour": _hour()} | {name: pl.col(name) for name in (*DIMENSIONS, "unit")},
    sums={"amount_whole": _wide("amount_whole"), "amount_pico": _wide("amount_pico")},
)

DAILY: Final = RollupSpec(
    table="usage_daily",
    bucket="day",
    bucket_type=pl.Date(),
    keys={"day": pl.col("occurred_at").dt.date()} | {name: pl.col(name) for name in DIMENSIONS},
    sums={name: sums for name, sums in HOURLY.sums.items() if name != "duplicates"},
    sets=HOURLY.sets,
)

USER_DAILY: Final = RollupSpec(
    table="usage_user_daily",
    bucket="day",
    bucket_type=pl.Date(),
    keys={"day": pl.col("occurred_at").dt.date(), "user_id": pl.col("user_id")},
    sums=_SHARED
    | {name: pl.col(name).sum() for name in ("input_tokens", "output_tokens")}
    | {"cost_pico": _wide("cost_pico"), "revenue_pico": _wide("revenue_pico")},
)

# What budgets are judged by: a call stands in every sum that it is a part of (stream/budgets/spend.py), and in the
# control total beside them.
BUDGET_SPEND: Final = RollupSpec(
    table="budget_spend",
    bucket="day",
    bucket_type=pl.Date(),
    keys={name: pl.col(name) for name in ("day", *KEY, "period_end")},
    sums=SUMS,
    times=frozenset({"period_start", "period_end"}),
)

LEDGER_BLOCK_BITS: Final = 16
LEDGER: Final = RollupSpec(
    table="ingest_ledger",
    bucket="offset_block",
    bucket_type=pl.Int64(),
    keys={"offset_block": pl.col("source_offset") // 2**LEDGER_BLOCK_BITS},
    sums={"received": pl.len().cast(pl.Int64)}
    | {
        outcome: _count(pl.col("outcome") == outcome)
        for outcome in ("stored", "duplicates", "dead_lettered", "forwarded")
    },
    mins={"offset_first": pl.col("source_offset").min()},
)

Bucket = tuple[Any, ...]  # a partition and an hour, a day, or a block of offsets


class StoredRows(Protocol):
    """What is stored of a table. Frames have the columns of RollupSpec.schema, or those of its key and ``applied``."""

    def rows(self, partitions: Sequence[int], buckets: Sequence[Any], *, limit: int) -> pl.DataFrame:
        """The rows of these partitions and buckets, at most so many."""

    def keys(self, partitions: Sequence[int], buckets: Sequence[Any]) -> Iterator[pl.DataFrame]:
        """The keys of all rows of these partitions and buckets, in blocks; their columns in any order."""

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The rows of these keys."""


def _as_it_is(events: pl.DataFrame) -> pl.DataFrame:
    return events


class Rollup:
    """The rows in use of one table, for the partitions that this worker holds. One batch at a time.

    At most ``rows_max`` are in memory, and those of batches that are not stored yet. Beyond it, the rows that nothing
    has touched for longest go; of each a hash stays, by which it is read back when an event needs it.
    """

    def __init__(
        self,
        spec: RollupSpec,
        stored: StoredRows,
        *,
        codes: ListCodes | None = None,
        rows_max: int = ROWS_MAX,
        hashes_max: int = HASHES_MAX,
        read_rows_max: int = READ_ROWS_MAX,
    ) -> None:
        self.spec = spec
        self.codes = codes or ListCodes()  # given: those of the table whose sums this one adds up
        self._owns_codes = codes is None
        self.summed = pl.DataFrame()  # of the last batch: a row a key, whatever had been applied already
        self.evicted = self.read_back = 0  # rows, since the start
        self._stored = stored
        self._rows_max, self._hashes_max, self._read_rows_max = rows_max, hashes_max, read_rows_max
        self._sums = [*spec.sums, *spec.mins, *spec.sets, "applied"]
        self.revoke()

    def __len__(self) -> int:
        return len(self._memory)

    def assign(self, partitions: Iterable[int]) -> None:
        """Take over partitions of which rows are stored."""
        self._has_stored.update(partitions)

    def revoke(self) -> None:
        """Forget everything: another worker may go on with these rows."""
        if self._owns_codes:
            self.codes.clear()
        self._memory = RowStore(self._memory_schema())
        self._has_stored: set[int] = set()  # partitions of which rows may stand in ClickHouse and not in memory
        self._away: dict[Bucket, HashSet] = {}  # of each bucket in use the rows that are stored and not in memory
        self._touched: dict[Bucket, int] = {}
        self._flush = self._settled = 0

    def add(
        self,
        events: pl.DataFrame,
        *,
        flush: int | None = None,
        summed: pl.DataFrame | None = None,
        each: Callable[[pl.DataFrame], pl.DataFrame] = _as_it_is,
    ) -> pl.DataFrame:
        """Apply events; returns the rows they belong to, whole, those included that a replay left as they were.

        ``flush`` numbers what they will be stored with. ``each`` makes of events the rows that are added up, where one
        event adds to several. ``summed`` are finer sums of these events, as such rows: to add those up costs less. All
        questions come first: where one fails, nothing has changed.
        """
        if events.is_empty() or (summed is not None and summed.is_empty()):
            return pl.DataFrame(schema=self.spec.schema)
        self._flush = self._flush + 1 if flush is None else flush
        self.summed = self._summed(self._keyed(each(events))) if summed is None else self._summed_further(summed)
        # In the order of their hashes, as rows are kept: a look-up then goes through each piece once, from end to end.
        deltas = self.summed.sort("high").with_columns(at=pl.int_range(pl.len(), dtype=pl.Int64))
        touched = deltas.select("at", *self.spec.by, *HALVES)
        self._learn_of(touched)
        found = self._memory.find(touched)
        before = pl.concat([found.rows, self._read_away(touched, found.rows["at"])]).select("at", *self._sums)
        added = self._unapplied(lambda: each(events), touched, deltas, before)
        after = self._merged(before, added, count=touched.height)
        rows = pl.concat([touched, after.drop("at")], how="horizontal")
        found.forget()
        self._memory.put(rows, self._flush)
        self._make_room()
        return self._handed_out(rows)

    def settle(self, flush: int) -> None:
        """All that was handed out up to this flush is stored: those rows may go. From any thread."""
        self._settled = max(self._settled, flush)

    def trim(self) -> None:
        """Let go of what is beyond the bound. Only when all rows handed out are stored: they are read back."""
        self.settle(self._flush)
        self._make_room()

    # --- what is stored and not in memory ---

    def _learn_of(self, touched: pl.DataFrame) -> None:
        """Of every bucket that the events fall into, have the rows in memory, or know which there are."""
        buckets: list[Bucket] = touched.select("source_partition", self.spec.bucket).unique().rows()
        unread = [key for key in buckets if key not in self._away and key[0] in self._has_stored]
        if unread:
            self._read(unread)
        for key in buckets:
            self._away.setdefault(key, HashSet())
            self._touched[key] = self._flush

    def _read(self, unread: Sequence[Bucket]) -> None:
        asked = sorted({partition for partition, _ in unread}), sorted({bucket for _, bucket in unread})
        found = self._stored.rows(*asked, limit=self._read_rows_max + 1)
        # A question is a rectangle of partitions and buckets; what was in memory before is newer there.
        wanted = pl.DataFrame(unread, schema=self._bucket_schema(), orient="row")
        if found.height <= self._read_rows_max:
            rows = self._as_kept(found.join(wanted, on=wanted.columns, how="semi"))
            self._memory.put(rows, 0, oldest=True)
            return
        away = {key: HashSet() for key in unread}
        for block in self._stored.keys(*asked):
            names = block.join(wanted, on=wanted.columns, how="semi").select(self.spec.by)
            self._note(pl.concat([names, hashed(names)], how="horizontal"), away)
        self._away.update(away)

    def _note(self, rows: pl.DataFrame, away: Mapping[Bucket, HashSet]) -> None:
        for key, some in rows.group_by("source_partition", self.spec.bucket):
            away[key].add(some["high"].to_numpy())

    def _read_away(self, touched: pl.DataFrame, in_memory: pl.Series) -> pl.DataFrame:
        """Of the rows that are touched, those that are stored and not in memory."""
        missing = np.ones(touched.height, dtype=np.bool_)
        missing[in_memory.to_numpy()] = False
        asked = touched.filter(pl.Series(missing))
        asked = asked.filter(self._may_be_away(asked))
        if asked.is_empty():
            return self._memory.find(asked).rows
        rows = self._as_kept(self._stored.find(asked.select(self.spec.by)))
        self.read_back += rows.height
        return rows.join(asked.select(*HALVES, "at"), on=HALVES)

    def _may_be_away(self, touched: pl.DataFrame) -> pl.Series:
        found = np.zeros(touched.height, dtype=np.bool_)
        if any(self._away.values()):
            places = touched.with_row_index("place")
            for key, some in places.group_by("source_partition", self.spec.bucket):
                found[some["place"].to_numpy()] = self._away[key].has(some["high"].to_numpy())
        return pl.Series(found)

    def _make_room(self) -> None:
        while (beyond := len(self) - self._rows_max) > 0:
            rows = self._memory.take_oldest(beyond, stored=self._settled)
            if rows is None:
                break
            self._note(rows, self._away)
            self.evicted += rows.height
        if sum(map(len, self._away.values())) > self._hashes_max:
            self._away[min(filter(self._away.__getitem__, self._touched), key=self._touched.__getitem__)].forget()

    # --- rows ---

    def _keyed(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events with the key of their row, its hashes, and a code for each text that is collected."""
        keyed = events.with_columns(**self.spec.keys)
        codes = [self.codes.of_texts(keyed[text]).alias(name) for name, text in self.spec.sets.items()]
        return pl.concat([keyed.with_columns(codes), hashed(keyed.select(self.spec.by))], how="horizontal")

    def _summed(self, keyed: pl.DataFrame) -> pl.DataFrame:
        sums = keyed.group_by(HALVES).agg(
            *(pl.col(name).first() for name in self.spec.by),
            *(pl.col(name).unique() for name in self.spec.sets),
            **self.spec.sums,
            **self.spec.mins,
            applied=pl.col("source_offset").max(),
            first=pl.col("source_offset").min(),
        )
        return sums.with_columns(self.codes.union(sums[name]) for name in self.spec.sets)

    def _summed_further(self, finer: pl.DataFrame) -> pl.DataFrame:
        keyed = finer.with_columns(**self.spec.keys)
        sums = (
            pl.concat([keyed, hashed(keyed.select(self.spec.by))], how="horizontal")
            .group_by(HALVES)
            .agg(
                *(pl.col(name).first() for name in self.spec.by),
                *(pl.col(name).unique() for name in self.spec.sets),
                *(pl.col(name).sum() for name in self.spec.sums),
                pl.col("applied").max(),
                pl.col("first").min(),
            )
        )
        return sums.with_columns(self.codes.union(sums[name]) for name in self.spec.sets)

    def _unapplied(
        self, events: Callable[[], pl.DataFrame], touched: pl.DataFrame, deltas: pl.DataFrame, before: pl.DataFrame
    ) -> pl.DataFrame:
        """What to add: of a row that has applied some of its events already, only the others count."""
        old = (
            deltas.select("at", "first")
            .join(before.select("at", "applied"), on="at")
            .filter(pl.col("first") <= pl.col("applied"))
        )
        if old.is_empty():
            return deltas
        partly = touched.select("at", *HALVES).join(old.select("at", "applied"), on="at")
        rest = self._keyed(events()).join(partly, on=HALVES).filter(pl.col("source_offset") > pl.col("applied"))
        again = self._summed(rest.drop("at", "applied")).join(partly.drop("applied"), on=HALVES)
        others = deltas.join(old, on="at", how="anti")
        return pl.concat([others, again.select(others.columns)])

    def _merged(self, before: pl.DataFrame, deltas: pl.DataFrame, *, count: int) -> pl.DataFrame:
        """One row for each of ``count`` keys, in their order, from the row before and what was added to it."""
        old, new = _in_order(before, count), _in_order(deltas.select(before.columns).cast(before.schema), count)
        both = pl.concat([new, old.select(pl.all().name.prefix("old_"))], how="horizontal")
        merged = both.select(
            pl.col("at").fill_null(pl.col("old_at")),
            *(pl.col(name).fill_null(0) + self._sum_before(name) for name in self.spec.sums),
            *(pl.min_horizontal(name, f"old_{name}") for name in self.spec.mins),
            *(self.codes.united(new[name], old[name]) for name in self.spec.sets),
            pl.max_horizontal("applied", "old_applied").alias("applied"),
        )
        return merged.cast(before.schema)

    def _sum_before(self, name: str) -> pl.Expr:
        """What a row had, and 0 where there was none. What a row does not know stays unknown, whatever is added."""
        old = pl.col(f"old_{name}")
        if name in TOKENS_WITHOUT_A_PRICE:
            return pl.when(pl.col("old_at").is_null()).then(0).otherwise(old)
        return old.fill_null(0)

    def _as_kept(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Stored rows as they are in memory."""
        rows = rows.select(self.spec.schema.names()).cast(self.spec.schema)
        sets = [self.codes.of(rows[name]) for name in self.spec.sets]
        return pl.concat([rows.with_columns(sets), hashed(rows.select(self.spec.by))], how="horizontal").select(
            self._memory_schema().names()
        )

    def _handed_out(self, rows: pl.DataFrame) -> pl.DataFrame:
        sets = [self.codes.lists(rows[name]) for name in self.spec.sets]
        return rows.with_columns(sets).select(self.spec.schema.names()).cast(self.spec.schema)

    def _bucket_schema(self) -> dict[str, pl.DataType]:
        return {"source_partition": pl.Int64(), self.spec.bucket: self.spec.bucket_type}

    def _memory_schema(self) -> pl.Schema:
        halves = {"high": pl.UInt64(), "low": pl.UInt64()}
        sums = {name: CODE if name in self.spec.sets else self.spec.schema[name] for name in self._sums}
        return pl.Schema({**self._bucket_schema(), **sums, **halves})


def _in_order(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """As many rows, each at the place that its column ``at`` says; of nulls where there is none."""
    places = np.full(count, -1, dtype=np.int64)
    places[rows["at"].to_numpy()] = np.arange(rows.height)
    found = pl.Series(places)
    return rows.select(pl.all().gather(found.set(found < 0, None)))


CODE: Final = pl.UInt32()


class ListCodes:
    """Numbers for lists of texts of which few differ, such as the prices that an hour was priced by."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all numbers: nobody holds one any more."""
        self._lists: list[tuple[str, ...]] = []
        self._codes: dict[tuple[str, ...], int] = {}

    def of(self, lists: pl.Series) -> pl.Series:
        """The code of each list; their order does not matter. Texts have no line breaks."""
        texts = lists.list.eval("=" + pl.element()).list.join("\n")
        return self._coded(texts, lambda text: (part[1:] for part in text.split("\n") if part))

    def of_texts(self, texts: pl.Series) -> pl.Series:
        """The code of the list of each text alone; where there is none or an empty one, that of the empty list."""
        return self._coded(texts, lambda text: (text,) if text else ())

    def union(self, groups: pl.Series) -> pl.Series:
        """For each group of codes the code of all their texts together."""
        if (groups.list.len() == 1).all():
            return groups.list.first()
        texts = groups.cast(pl.List(pl.String)).list.join(",")
        return self._coded(texts, lambda text: chain(*(self._lists[int(code)] for code in text.split(","))))

    def united(self, some: pl.Series, others: pl.Series) -> pl.Series:
        """Place by place the code of the texts of both; null is none."""
        either, differ = some.fill_null(others), (some != others).fill_null(value=False)
        if not differ.any():
            return either
        pairs = pl.select(pl.concat_list(some.filter(differ), others.filter(differ).alias("others"))).to_series()
        return either.scatter(differ.arg_true(), self.union(pairs))

    def _coded(self, texts: pl.Series, read: Callable[[Any], Iterable[str]]) -> pl.Series:
        """Each different text is read once."""
        if texts.is_empty():
            return pl.Series(texts.name, [], dtype=CODE)
        different = texts.unique()
        codes = pl.Series([self._code(read(text)) for text in different.to_list()], dtype=CODE)
        return texts.replace_strict(different, codes, return_dtype=CODE)

    def lists(self, codes: pl.Series) -> pl.Series:
        return pl.Series(codes.name, [list(texts) for texts in self._lists], dtype=pl.List(pl.String)).gather(codes)

    def _code(self, texts: Iterable[str]) -> int:
        sorted_texts = tuple(sorted(set(texts)))
        if sorted_texts not in self._codes:
            self._codes[sorted_texts] = len(self._lists)
            self._lists.append(sorted_texts)
        return self._codes[sorted_texts]


def by_hour(summed: pl.DataFrame) -> pl.DataFrame:
    """What a batch adds to the hours, as rows that days are added up from: an hour stands for every moment in it."""
    return summed.drop(HALVES).rename({"hour": "occurred_at"}) if summed.width else summed


METERED: Final = ("source_partition", "source_offset", "occurred_at", *DIMENSIONS)
_amounts_by_unit: Final = msgspec.json.Decoder(dict[str, str]).decode


def metered(events: pl.DataFrame) -> pl.DataFrame:
    """What ``UNITS`` adds up: a row for each unit of each event that reports any, with its amount exact."""
    reporting = events.filter(pl.col("quantities") != "")
    maps = [_amounts_by_unit(text) for text in reporting["quantities"]]
    owners = np.repeat(np.arange(len(maps)), [len(units) for units in maps])
    amounts = pl.Series(list(chain.from_iterable(units.values() for units in maps)), dtype=pl.String)
    parts = amounts.str.split_exact(".", 1).struct
    return reporting.select(METERED)[owners].with_columns(
        unit=pl.Series(list(chain.from_iterable(maps)), dtype=pl.String),
        amount_whole=parts.field("field_0").cast(pl.Int64),
        amount_pico=parts.field("field_1").fill_null("").str.pad_end(12, "0").cast(pl.Int64),
    )
