"""Rollups as full-state rows, each its own watermark.

A row of ``usage_hourly``, ``usage_hourly_units``, ``usage_user_daily`` or ``ingest_ledger`` holds everything its
partition has contributed to one key, and the offset applied last. **An event changes a row only if its offset is above
the row's.** So whatever part of the log is replayed, in whatever batches, after whatever torn write, the rows come out
the same; and the row with the greater offset wins in ClickHouse, so a worker that lost its partition cannot do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

PRICE_REV_SHIFT: Final = 48  # version = price_rev << 48 | offset: a re-pricing beats every offset
ROWS_MAX: Final = 400_000  # about 100 MB; buckets that nothing has touched for longest are read back when needed
NONE_APPLIED: Final = -1  # the applied offset of a row that does not exist

DIMENSIONS: Final = ("provider", "model", "operation", "feature", "task_type", "team", "environment")
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


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
    sets: Mapping[str, pl.Expr] = field(default_factory=dict)

    @property
    def by(self) -> list[str]:
        return ["source_partition", *self.keys]

    @property
    def schema(self) -> pl.Schema:
        """The columns of a row in memory; ``applied`` is the offset applied last."""
        return pl.Schema(
            {
                "source_partition": pl.Int64(),
                **{name: self.bucket_type if name == self.bucket else pl.String() for name in self.keys},
                **{name: pl.Int128() if name.endswith(WIDE) else pl.Int64() for name in self.sums},
                **dict.fromkeys(self.mins, pl.Int64()),
                **dict.fromkeys(self.sets, pl.List(pl.String())),
                "applied": pl.Int64(),
            }
        )


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _wide(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Int128).sum()  # Int64 would wrap, silently, at nine million dollars


def _hour() -> pl.Expr:
    return pl.col("occurred_at").dt.truncate("1h")


_COUNTED: Final = pl.col("counted")
_SHARED: Final[dict[str, pl.Expr]] = {
    "calls": _count(_COUNTED),
    "errors": _count(_COUNTED & (pl.col("status") == "error")),
    "unpriced_calls": _count(_COUNTED & (pl.col("cost_status") == "unpriced")),
    "partial_calls": _count(_COUNTED & (pl.col("cost_status") == "partial")),
}

HOURLY: Final = RollupSpec(
    table="usage_hourly",
    bucket="hour",
    bucket_type=pl.Datetime("ms", "UTC"),
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
    sets={"price_versions": pl.col("price_version").drop_nulls().unique()},
)

# Units have rows of their own: a producer may invent as many as it likes, and no row may grow with them. An amount is
# two sums, its whole units and the 1e-12ths beside them: an event adds less than 10^18 and 10^12, and a partition has
# fewer than 2^48 events (that is what a version holds), so neither comes near the 10^38 of a Decimal(38, 0).
UNITS: Final = RollupSpec(
    table="usage_hourly_units",
    bucket="hour",
    bucket_type=pl.Datetime("ms", "UTC"),
    keys={"hour": _hour()} | {name: pl.col(name) for name in (*DIMENSIONS, "unit")},
    sums={"amount_whole": _wide("amount_whole"), "amount_pico": _wide("amount_pico")},
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

# Reads stored rows back, for some partitions and buckets: the columns of RollupSpec.schema.
Load = Callable[[Sequence[int], Sequence[Any]], pl.DataFrame]


class Rollup:
    """The rows in use of one table, for the partitions that this worker holds. One batch at a time."""

    def __init__(self, spec: RollupSpec, load: Load, *, rows_max: int = ROWS_MAX) -> None:
        self.spec = spec
        self._load = load
        self._rows_max = rows_max
        self.revoke()

    def __len__(self) -> int:
        return self._rows.height

    def assign(self, applied: Mapping[int, int]) -> None:
        """Take over partitions; ``applied`` has the greatest offset that any stored row of each has applied."""
        self._applied.update(applied)
        self._stored.update(applied)

    def revoke(self) -> None:
        """Forget everything: another worker may go on with these rows."""
        self._rows = pl.DataFrame(schema=self.spec.schema)
        self._applied: dict[int, int] = {}  # partition -> an offset above which no row in memory has applied any
        self._stored: set[int] = set()  # partitions of which rows may stand in ClickHouse and not in memory
        self._touched: dict[tuple[int, object], int] = {}
        self._turn = 0

    def add(self, events: pl.DataFrame) -> pl.DataFrame:
        """Apply events; returns the rows they belong to, whole, those included that a replay left as they were."""
        if events.is_empty():
            return self._rows.clear()
        keyed = events.with_columns(**self.spec.keys)
        self._read_back(keyed)
        deltas = self._summed(self._unapplied(keyed))
        before = self._rows.join(keyed.select(self.spec.by), on=self.spec.by, how="semi")
        after = self._merged(pl.concat([before, deltas]))
        self._rows = pl.concat([self._rows.join(after, on=self.spec.by, how="anti"), after])
        self._raise_applied(after)
        return after

    def trim(self) -> None:
        """Let go of the buckets idle for longest. Only when all rows handed out are stored: they are read back."""
        while len(self) > self._rows_max and len(set(self._touched.values())) > 1:
            oldest = min(self._touched.values())
            idle = [key for key, turn in self._touched.items() if turn == oldest]
            self._rows = self._rows.join(self._buckets(idle), on=["source_partition", self.spec.bucket], how="anti")
            self._stored.update(partition for partition, _ in idle)
            for key in idle:
                del self._touched[key]

    def _read_back(self, keyed: pl.DataFrame) -> None:
        """Have in memory the rows of every bucket that the events fall into."""
        self._turn += 1
        touched = keyed.select("source_partition", self.spec.bucket).unique().rows()
        unread = [key for key in touched if key not in self._touched and key[0] in self._stored]
        if unread:
            found = self._load(sorted({partition for partition, _ in unread}), sorted({key[1] for key in unread}))
            # The load is a rectangle of partitions and buckets; what was in memory before is newer there.
            wanted = found.join(self._buckets(unread), on=["source_partition", self.spec.bucket], how="semi")
            self._rows = pl.concat([self._rows, wanted.select(self._rows.columns).cast(self.spec.schema)])
            self._raise_applied(wanted)
        self._touched.update(dict.fromkeys(touched, self._turn))

    def _raise_applied(self, rows: pl.DataFrame) -> None:
        """By what was just added, in case it comes again; and by rows read back, which a worker that has lost the
        partition may have stored ahead of this one."""
        for partition, applied in rows.group_by("source_partition").agg(pl.col("applied").max()).iter_rows():
            self._applied[partition] = max(applied, self._applied.get(partition, NONE_APPLIED))

    def _buckets(self, keys: Iterable[tuple[int, object]]) -> pl.DataFrame:
        schema = {"source_partition": pl.Int64(), self.spec.bucket: self.spec.bucket_type}
        return pl.DataFrame(list(keys), schema=schema, orient="row")

    def _unapplied(self, keyed: pl.DataFrame) -> pl.DataFrame:
        """The events above the offset their row has applied; beyond the replayed stretch, as a rule, that is all."""
        applied = keyed["source_partition"].replace_strict(self._applied, default=NONE_APPLIED, return_dtype=pl.Int64)
        if (keyed["source_offset"] > applied).all():
            return keyed
        known = keyed.join(self._rows.select(*self.spec.by, "applied"), on=self.spec.by, how="left")
        return known.filter(pl.col("source_offset") > pl.col("applied").fill_null(NONE_APPLIED)).drop("applied")

    def _summed(self, events: pl.DataFrame) -> pl.DataFrame:
        sums = events.group_by(self.spec.by).agg(
            **self.spec.sums,
            **self.spec.mins,
            **self.spec.sets,
            applied=pl.col("source_offset").max(),
        )
        return self._shaped(sums)

    def _merged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row a key from the row before and what was added to it."""
        merged = rows.group_by(self.spec.by).agg(
            *(pl.col(name).sum() for name in self.spec.sums),
            *(pl.col(name).min() for name in self.spec.mins),
            *(pl.col(name).explode().drop_nulls().unique().sort() for name in self.spec.sets),
            pl.col("applied").max(),
        )
        return self._shaped(merged)

    def _shaped(self, groups: pl.DataFrame) -> pl.DataFrame:
        return groups.select(self._rows.columns).cast(self.spec.schema)


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
