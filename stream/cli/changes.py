"""What stored calls cost, beside what they would cost: asked of the warehouse, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import common

if TYPE_CHECKING:
    import polars as pl

    from costream.pricing import PriceBook
    from sinks.clickhouse.calls_of_span import Span
    from sinks.clickhouse.reader import Reader

MOMENTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]

Start = Annotated[
    datetime,
    typer.Option("--from", formats=MOMENTS, metavar="MOMENT", help="From 2026-11-01 or 2026-11-01T09:00 (UTC) on."),
]
End = Annotated[
    datetime | None,
    typer.Option("--to", formats=MOMENTS, metavar="MOMENT", help="Until before it; until now, if it is not given."),
]
Provider = Annotated[str, typer.Option(help="Of this provider alone, as it is stored.")]
Model = Annotated[str, typer.Option(help="Of this model alone, as it is stored.")]
Feature = Annotated[str, typer.Option(help="Of this feature alone.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="So many rows, the largest difference first.")]


def span_of(start: datetime, end: datetime | None, *, now: datetime, provider: str, model: str, feature: str) -> Span:
    """Exit status 2 where it is empty."""
    from sinks.clickhouse.calls_of_span import Span

    span = Span(_utc(start), _utc(end) if end else now, provider, model, feature)
    if span.start >= span.end:
        told = f"the span is empty: {said(span.start)} is not before {said(span.end)}; nothing was done"
        common.fail(told, status=common.EXIT_USAGE)
    return span


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Found:
    """All together, and the rows with a call that would change."""

    total: dict[str, Any]
    changing: list[dict[str, Any]]
    more: int

    @classmethod
    def of(cls, rows: pl.DataFrame, *, limit: int) -> Found:
        import polars as pl

        series = ["day", "provider", "model", "feature"]
        total = _in_usd(rows.drop(series).sum()).row(0, named=True)
        changing = _in_usd(rows.filter(pl.col("changed_calls") > 0))
        by_size = changing.sort(pl.col("difference_usd").abs(), *series, descending=[True, *[False] * len(series)])
        return cls(total, by_size.head(limit).to_dicts(), max(0, changing.height - limit))


def rehearsal(
    reader: Reader, span: Span, book: PriceBook, *, limit: int, progress: Callable[[str, int, int], None]
) -> Found:
    """What the calls of the span would cost by the book. Nothing is changed."""
    from sinks.clickhouse.calls_of_span import blocks_of, calls_in
    from stream.pricing.rehearsal import rehearsed

    blocks = blocks_of(reader, span)

    def watched() -> Iterator[pl.DataFrame]:
        for done, calls in enumerate(calls_in(reader, span, blocks)):
            progress("calls of some hours", done, len(blocks))
            yield calls

    return Found.of(rehearsed(watched(), book), limit=limit)


def _in_usd(rows: pl.DataFrame) -> pl.DataFrame:
    """With money as Decimal. ``cost_usd`` is of the calls whose cost is known, and null where it is known of none."""
    import polars as pl

    from sinks.clickhouse.rows import to_decimal

    was, then = pl.col("cost_pico"), pl.col("rehearsed_cost_pico")
    some, some_rehearsed = (pl.col("calls") > pl.col(name) for name in ("unpriced_calls", "rehearsed_unpriced_calls"))
    money = {
        "cost_usd": pl.when(some).then(to_decimal(was)),
        "rehearsed_cost_usd": pl.when(some_rehearsed).then(to_decimal(then)),
        "difference_usd": to_decimal(then - was),
    }
    return rows.with_columns(**money).drop("cost_pico", "rehearsed_cost_pico")


def as_json(found: Found, span: Span) -> dict[str, Any]:
    return {
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
        **_plain(found.total),
        "changes": [_plain(row) for row in found.changing],
        "changes_not_listed": found.more,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:f}" if isinstance(value, Decimal) else value.isoformat() if name == "day" else value
        for name, value in row.items()
    }


def tell(found: Found, span: Span, by: str) -> None:
    total = found.total
    calls, changed = total["calls"], total["changed_calls"]
    common.say(f"{said(span.start)} until before {said(span.end)}, {by}: {common.counted(calls, 'call')}")
    if not changed:
        common.say("no call would change")
        return
    common.say(f"{changed:,} of them would change: {_change(total)}")
    for row in found.changing:
        name = f"{row['day']} {row['provider']} {row['model']} {row['feature'] or '(no feature)'}"
        common.say(name, style="bold")
        common.say(f"{row['changed_calls']:,} of {common.counted(row['calls'], 'call')}: {_change(row)}", indent=2)
    if found.more:
        common.say(f"and {found.more:,} more: --limit shows them")
    common.say("nothing was changed")


def _change(row: dict[str, Any]) -> str:
    was, then = (_usd(row[name]) for name in ("cost_usd", "rehearsed_cost_usd"))
    told = f"{was} -> {then} ({row['difference_usd']:+f})"
    for what in ("unpriced", "partial"):
        before, after = row[f"{what}_calls"], row[f"rehearsed_{what}_calls"]
        if before != after:
            told += f", {what} calls {before:,} -> {after:,}"
    return told


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:f} USD"
