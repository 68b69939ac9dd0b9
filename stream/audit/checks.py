"""The audit: proof that every record went to exactly one place and that every rollup equals its raw rows.

``audit`` only reads; what a difference means and what can be repaired is in docs/audit.md.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl

from sinks.clickhouse.claims import Claimed, lately
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.sampled_calls import CallKey
from stream.audit import budget_sums, queries
from stream.audit.adjustments import adjustments_check
from stream.audit.costs import costs_check
from stream.audit.ground import Ground, RowsMissing, ground
from stream.audit.kafka import KafkaFacts, with_kafka
from stream.audit.ledger import Conservation, conservation
from stream.audit.queries import ROLLUPS, RollupTable
from stream.audit.report import FINDINGS_MAX, AuditReport, Check, Finding, Value
from stream.audit.steps import next_steps
from stream.audit.vanished import vanished_check, vanished_records
from stream.runtime.errors import StreamError

SPAN_ROWS_MAX: Final = 5_000_000  # raw rows compared by one statement: about 1 GB and some seconds
SHARD_ROWS_MAX: Final = 5_000_000  # ids compared by one statement, for the same reason
CELLS_MAX: Final = 10_000  # differing cells looked at one by one in a span; beyond it there is one cause, not many
CLAIM_MARGIN: Final = timedelta(seconds=10)  # a claim says every five seconds that it lives
ATTEMPTS_MAX: Final = 6  # a flush that ends between two reads is over a moment later
PAUSE_SECONDS: Final = 0.5

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


def never() -> bool:
    return False


class AuditCancelled(StreamError):
    """Whoever asked no longer wants the answer."""

    def __init__(self) -> None:
        super().__init__("the audit was cancelled between two steps; it changes nothing, and the next one begins anew")


def silent(_doing: str, _done: int, _steps: int) -> None:
    """The default: nobody watches."""


def rest() -> None:
    """Wait for a moment in which a flush that was under way comes to its end."""
    time.sleep(PAUSE_SECONDS)


def audit(
    reader: Reader,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    kafka: KafkaFacts | None = None,
    since: datetime | None = None,
    retention: timedelta | None = None,
    salt: str = "",
    again: Sequence[CallKey] = (),
    pause: Callable[[], None] = rest,
    progress: Progress = silent,
    cancelled: Callable[[], bool] = never,
) -> AuditReport:
    """Prove guarantee 4 on all that is stored, or say where it does not hold.

    ``since`` narrows the comparison of rollups, the search for repeated ids and the sample of costs to whole days; the
    ledger, which knows no time, is always checked whole. Give ``kafka`` as it was before the call. ``salt`` draws the
    sample (if there is none, the day does), and ``again`` are calls beside it. Workers may go on meanwhile.
    Raises ``AuditCancelled`` at the next step once it is ``cancelled``.
    """
    now = clock()
    on = ground(reader, now=now, since=since, retention=retention)

    def step(doing: str, done: int, steps: int) -> None:
        if cancelled():
            raise AuditCancelled
        progress(doing, done, steps)

    step("records and offsets", 0, 1)
    kept = ledger_checks(reader, on, now=now)
    vanished = vanished_records(reader)
    totals, logs = with_kafka(kept.partitions, kafka, vanished) if kafka else (kept.partitions, None)
    compared = [[spec] for spec in ROLLUPS] + [budget_sums.tables(reader, now=now)]
    rollups = [_rollup_check(reader, specs, on, pause, step) for specs in compared if specs]
    step("costs of a sample", 0, 1)
    drawn_by = salt or f"{now:%Y-%m-%d}"
    checks = [
        kept.records,
        kept.raw_rows,
        kept.dead_letters,
        *([logs] if logs else []),
        vanished_check(vanished),
        *rollups,
        costs_check(reader, on, salt=drawn_by, again=again),
        adjustments_check(reader, on),
        _ids_check(reader, on, step),
        _removals_check(reader),
    ]
    return AuditReport(
        at=now,
        since=on.start,
        checks=tuple(checks),
        partitions=totals,
        next_steps=next_steps(
            checks, kept, kafka, drawn=f"costream audit --since {on.start} --salt {shlex.quote(drawn_by)}"
        ),
    )


def ledger_checks(reader: Reader, on: Ground, *, now: datetime) -> Conservation:
    """Where the records of each block of offsets went, and whether the rows are there."""
    return conservation(
        on.ledger,
        queries.blocks(reader, stored=on.stored, horizon=on.horizon),
        queries.expired(reader, horizon=on.horizon),
        now=now,
        horizon=on.horizon,
    )


def writing_since(reader: Reader, begun: datetime, *, now: datetime) -> list[Claimed]:
    """Who has been writing corrections since then: while calls are priced anew, their rollups differ."""
    return lately(reader, now - begun + CLAIM_MARGIN)


def require_rows(reader: Reader, on: Ground, *, now: datetime) -> None:
    """Raises ``RowsMissing`` where a partition lacks raw rows that its ledger has."""
    if short := ledger_checks(reader, on, now=now).short:
        raise RowsMissing(short)


# --- rollups ---------------------------------------------------------------------------------------------------------


def _rollup_check(
    reader: Reader, specs: Sequence[RollupTable], on: Ground, pause: Callable[[], None], progress: Progress
) -> Check:
    """Of one table, compared in one part or in several."""
    spec, compared, differing, findings = specs[0], 0, 0, list[Finding]()
    for part in specs:
        compared += queries.cells(reader, part, start=on.start)
        for cells in differing_cells(reader, part, on, pause=pause, progress=progress):
            differing += _count(cells)
            findings += [_cell_finding(part, cell) for cell in cells.head(FINDINGS_MAX - len(findings)).to_dicts()]
    return Check(
        name=spec.table,
        question=f"sum(usage_events) = sum({spec.table}) by {spec.bucket}, {', '.join(spec.labels)} and partition",
        compared=compared,
        differing=differing,
        findings=tuple(findings),
    )


def differing_cells(
    reader: Reader, spec: RollupTable, on: Ground, *, pause: Callable[[], None], progress: Progress = silent
) -> Iterator[pl.DataFrame]:
    """The cells that differ, and go on differing, a frame a span of days; at most CELLS_MAX of each."""
    spans = queries.spans(reader, start=on.start, rows_max=SPAN_ROWS_MAX)
    for done, (start, end) in enumerate(spans):
        progress(spec.table, done, len(spans))
        yield _persisting(reader, spec, on, days=(start, end), pause=pause)


def _persisting(
    reader: Reader, spec: RollupTable, on: Ground, *, days: tuple[date, date], pause: Callable[[], None]
) -> pl.DataFrame:
    """The cells that differ each time they are asked for; the numbers are the last ones."""
    start, end = days
    cells = queries.differing(reader, spec, stored=on.stored, start=start, end=end, limit=CELLS_MAX)
    for _ in range(ATTEMPTS_MAX - 1):
        if cells.is_empty():
            break
        pause()
        first, after = days_of(spec, cells)
        again = queries.differing(reader, spec, stored=on.stored, start=first, end=min(end, after), limit=CELLS_MAX)
        # Beyond the limit cells cannot be compared one by one; so many differ for no passing reason.
        if _count(cells) <= CELLS_MAX:
            cells = again.join(cells, on=[*spec.keys, "source", "source_partition"], how="semi")
    return cells


def days_of(spec: RollupTable, cells: pl.DataFrame) -> tuple[date, date]:
    """The days from the first to before the second have all these cells."""
    first, last = (_day(value) for value in (cells[spec.bucket].min(), cells[spec.bucket].max()))
    return first, last + timedelta(days=1)


def _count(cells: pl.DataFrame) -> int:
    """How many cells differ: ClickHouse's count where it was cut off, the rows otherwise."""
    if cells.height < CELLS_MAX:
        return cells.height
    return _total(cells, "differing")


def _total(rows: pl.DataFrame, name: str) -> int:
    """How many there are in all, which each row says; those beyond the limit are not among the rows."""
    return int(rows[name].unique().item()) if rows.height else 0


def _cell_finding(spec: RollupTable, cell: dict[str, Any]) -> Finding:
    differing = [name for name in spec.columns if cell[f"{name}_raw"] != cell[f"{name}_rolled"]]
    lacking = {name: set(cell[f"{name}_raw"]) - set(cell[f"{name}_rolled"]) for name in spec.sets}
    return Finding(
        where={name: cell[name] for name in (*spec.keys, "source", "source_partition")},
        rule=f"{spec.table} is the sum of its raw rows",
        numbers={f"{name}_{side}": cell[f"{name}_{side}"] for name in differing for side in ("raw", "rolled")}
        | {f"{name}_lacking": " ".join(sorted(some)) for name, some in lacking.items() if some},
    )


# --- ids -------------------------------------------------------------------------------------------------------------

REPEATED_COLUMNS: Final = ("source", "source_partition", "source_offset", "kept_occurred_at", "received_at", "cost_usd")


def _ids_check(reader: Reader, on: Ground, progress: Progress) -> Check:
    repeats, findings = 0, list[Finding]()
    shards = queries.shards(reader, rows_max=SHARD_ROWS_MAX)
    for shard in range(shards):
        progress("repeated ids", shard, shards)
        rows = queries.repeated(
            reader, stored=on.stored, start=on.start, shard=shard, shards=shards, limit=FINDINGS_MAX
        )
        repeats += _total(rows, "repeats")
        findings += [_repeat_finding(row) for row in rows.head(FINDINGS_MAX - len(findings)).to_dicts()]
    question = "each request_id is counted once"
    return Check("ids", question, queries.rows(reader), repeats, tuple(findings))


def _repeat_finding(row: dict[str, Value]) -> Finding:
    return Finding(
        where={"request_id": row["request_id"], "occurred_at": row["occurred_at"]},
        rule="an id counts once; the later one to arrive is the repeat",
        numbers={name: row[name] for name in REPEATED_COLUMNS},
    )


def _removals_check(reader: Reader) -> Check:
    rows = queries.pending(reader, limit=FINDINGS_MAX)
    findings = tuple(
        Finding(
            where={name: row[name] for name in ("request_id", "occurred_at", "source", "source_partition")},
            rule="what was removed is gone; `--repair` finishes what broke off",
            numbers={"source_offset": row["source_offset"]},
        )
        for row in rows.to_dicts()
    )
    pending = _total(rows, "pending")
    return Check("removals", "no removed event is in usage_events", queries.removals(reader), pending, findings)


def _day(value: object) -> date:
    assert isinstance(value, date), "a bucket is an hour or a day"
    return value.date() if isinstance(value, datetime) else value
