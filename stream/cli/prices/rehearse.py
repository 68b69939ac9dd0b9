"""costream prices rehearse: what stored calls would have cost by other prices. Nothing is changed."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import common
from stream.cli.prices import books

if TYPE_CHECKING:
    import polars as pl

    from sinks.clickhouse.calls_of_span import Span

MOMENTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
MINUTE: Final = timedelta(minutes=1)


def rehearse(
    start: Annotated[
        datetime,
        typer.Option("--from", formats=MOMENTS, metavar="MOMENT", help="From 2026-11-01 or 2026-11-01T09:00 (UTC) on."),
    ],
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=MOMENTS, metavar="MOMENT", help="Until before it; until now, if it is not given."),
    ] = None,
    provider: Annotated[str, typer.Option(help="Of this provider alone, as it is stored.")] = "",
    model: Annotated[str, typer.Option(help="Of this model alone, as it is stored.")] = "",
    feature: Annotated[str, typer.Option(help="Of this feature alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many rows, the largest difference first.")] = 50,
    prices: books.Files = None,
    revision: books.Published = None,
    as_json: books.Json = False,
) -> None:
    """What stored calls would have cost by the prices of files, or of a revision (the newest, if neither is given),
    beside what they were stored to cost: by day, provider, model and feature. Each call is priced as of its own time.
    Nothing is changed: what is stored keeps its price.

    Examples: costream prices rehearse --from 2026-11-01 --prices our-rates.toml · costream prices rehearse --from
    2026-11-01 --to 2026-12-01 --model gpt-4o --json
    """
    book, _ = books.book_of(prices, revision or (None if prices else books.NEWEST))
    address = common.address(common.settings())
    from sinks.clickhouse.calls_of_span import Span, blocks_of, calls_in
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.retention import raw_since
    from stream.pricing.rehearsal import rehearsed

    now = datetime.now(UTC)
    span = Span(_utc(start), _utc(end) if end else now, provider, model, feature)
    if span.start >= span.end:
        told = f"the span is empty: {_said(span.start)} is not before {_said(span.end)}; nothing was done"
        common.fail(told, status=common.EXIT_USAGE)
    with common.explained(), closing(Reader(address)) as reader, common.progress("rehearse") as progress:
        if span.start < (kept := raw_since(reader, now=now)):
            common.fail(
                f"--from {_said(span.start)} is before {_said(kept)}, and single calls from before that may have "
                "expired: their cost cannot be worked out. Nothing was done; give "
                f"--from {kept + MINUTE:%Y-%m-%dT%H:%M} or later",
                status=common.EXIT_USAGE,
            )
        blocks = blocks_of(reader, span)

        def watched() -> Any:
            for done, calls in enumerate(calls_in(reader, span, blocks)):
                progress("calls of some hours", done, len(blocks))
                yield calls

        rows = rehearsed(watched(), book)
    found = Found.of(rows, limit=limit)
    newest = revision in {None, books.NEWEST}
    by = "by files" if prices else "by the newest revision" if newest else f"by revision {revision}"
    if as_json:
        typer.echo(json.dumps(_as_json(found, span)))
    else:
        _tell(found, span, by)


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


def _as_json(found: Found, span: Span) -> dict[str, Any]:
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


def _tell(found: Found, span: Span, by: str) -> None:
    total = found.total
    calls, changed = total["calls"], total["changed_calls"]
    common.say(f"{_said(span.start)} until before {_said(span.end)}, {by}: {common.counted(calls, 'call')}")
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


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
