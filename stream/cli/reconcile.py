"""costream reconcile: a provider's own export beside what is stored, and why they differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from sinks.answers.bill import Comparison, Export, Figures, Row, Span, Total

Provider = Literal["openai", "anthropic", "google"]

DAYS: Final = ["%Y-%m-%d"]
DIFFERENCE: Final = "ours - theirs"
ALONE: Final = {"equal", "rounding"}  # what is left out where only differences are asked for


def reconcile(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Exports of the provider: CSV or JSON.")],
    provider: Annotated[Provider, typer.Option(help="Whose exports they are.")],
    start: Annotated[
        datetime | None, typer.Option("--from", formats=DAYS, metavar="DAY", help="Only days from it on (UTC).")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", formats=DAYS, metavar="DAY", help="Only days before it (UTC).")
    ] = None,
    model: Annotated[str, typer.Option(help="Only rows of this model, by any name that it has in them.")] = "",
    only_differences: Annotated[
        bool, typer.Option("--only-differences", help="Only rows that differ by more than the bill's rounding.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Compare a provider's own usage or cost export with what is stored, by day (UTC) and model: theirs, ours, the
    difference (ours less theirs) in tokens and in money, and the likely reason.

    Usage and cost exports may be given together. Nothing is fetched and nothing is changed: the bill is compared with,
    and no figure is taken from it. Where they differ, too, the exit status is 0. docs/reconcile.md has the formats.

    Example: costream reconcile --provider openai usage.json costs.json --from 2026-11-01 --only-differences
    """
    exports = _exports(files, provider)
    settings = common.settings()
    address = common.address(settings)
    from sinks.answers.bill import BillRefused, compared, span_of, stored_of
    from sinks.clickhouse.days_of_models import DAYS_KEPT, days_of_models
    from sinks.clickhouse.reader import Reader
    from stream.cli.prices import books
    from stream.cli.revisions import NEWEST

    today = datetime.now(UTC).date()
    try:
        span = span_of(exports, start=_day(start), end=_day(end), today=today, kept_since=today - DAYS_KEPT)
    except BillRefused as error:
        common.fail(common.visible(str(error)), status=common.EXIT_USAGE)
    book, _ = books.with_texts(books.published(NEWEST))
    with common.explained(), closing(Reader(address)) as reader:
        stored = days_of_models(reader, provider=provider, start=span.start, end=span.end)
    found = compared(
        exports, stored_of(stored.to_dicts()), span, canonical=lambda name: book.canonical(provider, name)[1]
    )
    asked = found.of_model(model) if model else found
    shown = [row for row in asked.rows if not (only_differences and row.reason in ALONE)]
    if as_json:
        typer.echo(json.dumps(_as_json(asked, shown, exports, provider, span), ensure_ascii=False))
    else:
        _tell(asked, shown, provider, span)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _exports(files: Sequence[Path], provider: Provider) -> list[Export]:
    """Exit status 2 where one cannot be read, or is given twice."""
    from sinks.answers.bill import FILE_BYTES_MAX, BillRefused, export_of

    known: dict[bytes, Path] = {}
    exports = []
    for file in files:
        try:
            with file.open("rb") as opened:
                data = opened.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            told = f"{file} cannot be read: {error.strerror}; nothing was compared"
            common.fail(common.visible(told), status=common.EXIT_USAGE)
        digest = hashlib.sha256(data).digest()
        if digest in known:
            told = f"{known[digest]} and {file} are the same: its figures would count twice; nothing was compared"
            common.fail(common.visible(told), status=common.EXIT_USAGE)
        known[digest] = file
        try:
            exports.append(export_of(str(file), data, provider=provider))
        except BillRefused as error:
            common.fail(common.visible(str(error)), status=common.EXIT_USAGE)
    return exports


# --- for people ------------------------------------------------------------------------------------------------------


def _tell(found: Comparison, shown: Sequence[Row], provider: str, span: Span) -> None:
    from sinks.answers.bill import told

    common.say(f"{provider}, {span.start} until before {span.end} (UTC)", style="bold")
    if shown:
        common.console.print(_rows_told(shown))
    else:
        common.say("no row differs by more than the bill's rounding" if found.rows else "no row is asked for")
    common.console.print()
    common.console.print(_sums_told(found))
    if found.total.theirs_alone_usd:
        alone = f"{_usd(found.total.theirs_alone_usd)} USD of theirs has no known cost of ours beside it"
        common.say(f"{alone}: it is in no difference")
    for reason in found.by_reason:
        words = told(reason)
        common.say(f"{reason}: {words.words}")
        if words.next_step:
            common.say(words.next_step, indent=2)
    for note in found.notes:
        common.say(f"note: {note}")


def _rows_told(rows: Iterable[Row]) -> Table:
    first = [Column("day", overflow="fold"), Column("model, reason", overflow="fold"), Column("", overflow="fold")]
    table = Table(*first, *_right("theirs", "ours", DIFFERENCE, "%"), box=None, pad_edge=False)
    for row in rows:
        if not row.is_model:
            table.add_row(str(row.day), _plain(row.name), "USD", _usd(row.theirs.cost_usd))
            table.add_row("", Text(row.reason, "dim"))
            continue
        money = (_usd(row.theirs.cost_usd), _usd(row.ours.cost_usd), _usd(row.difference.cost_usd, sign=True))
        tokens = (_count(row.theirs.tokens), _count(row.ours.tokens), _count(row.difference.tokens, sign=True))
        table.add_row(str(row.day), _plain(_named(row)), "USD", *money, _percent(row.percent))
        table.add_row("", Text(_reason(row), "dim"), "tokens", *tokens, _percent(row.tokens_percent))
    return table


def _sums_told(found: Comparison) -> Table:
    table = Table(
        Column("reason", overflow="fold"),
        *_right("rows", "theirs USD", "ours USD", DIFFERENCE, "%"),
        box=None,
        pad_edge=False,
    )
    for name, total in [*found.by_reason.items(), ("all", found.total)]:
        money = (_usd(total.theirs_usd), _usd(total.ours_usd), _usd(total.difference_usd, sign=True))
        style = "bold" if name == "all" else ""
        table.add_row(str(name), f"{total.rows:,}", *money, _percent(total.percent), style=style)
    return table


def _right(*names: str) -> list[Column]:
    """A number that does not fit is wrapped: none is cut."""
    return [Column(name, justify="right", overflow="fold") for name in names]


def _named(row: Row) -> str:
    return f"{row.name} ({', '.join(row.also)})" if row.also else row.name


def _plain(text: str) -> Text:
    return Text(common.visible(text))


def _reason(row: Row) -> str:
    return str(row.reason) if row.ratio is None else f"{row.reason}, {row.ratio:f} of ours"


def _usd(amount: Decimal | None, *, sign: bool = False) -> str:
    return "unknown" if amount is None else f"{amount:{'+' if sign else ''},.6f}"


def _count(number: int | None, *, sign: bool = False) -> str:
    return "unknown" if number is None else f"{number:{'+' if sign else ''},}"


def _percent(share: Decimal | None) -> str:
    return "" if share is None else f"{share:+,.2f}%"


# --- for programs ----------------------------------------------------------------------------------------------------


def _as_json(
    found: Comparison, shown: Sequence[Row], exports: Sequence[Export], provider: str, span: Span
) -> dict[str, Any]:
    from sinks.answers.bill import told

    return {
        "provider": provider,
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
        "files": [
            {
                "file": one.file,
                "format": one.format,
                "has": sorted(one.kinds),
                "first": one.first.isoformat(),
                "last": one.last.isoformat(),
                "lines": len(one.lines),
            }
            for one in exports
        ],
        "notes": list(found.notes),
        "rows": [_row_json(row) for row in shown],
        "total": _total_json(found.total),
        "reasons": [
            {"reason": reason, **_total_json(total), "words": told(reason).words, "next_step": told(reason).next_step}
            for reason, total in found.by_reason.items()
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "day": row.day.isoformat(),
        "model": row.name if row.is_model else None,
        "line_item": None if row.is_model else row.name,
        "also": list(row.also),
        "theirs": _figures_json(row.theirs),
        "ours": _figures_json(row.ours) if row.is_model else None,
        "difference": _figures_json(row.difference) if row.is_model else None,
        "difference_percent": _text(row.percent),
        "reason": row.reason,
        "ratio": _text(row.ratio),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    from sinks.answers.bill import FIGURES

    values = {name: getattr(figures, name) for name in FIGURES}
    return values | {"cost_usd": _text(figures.cost_usd)}


def _total_json(total: Total) -> dict[str, Any]:
    return {
        "rows": total.rows,
        "theirs_usd": _text(total.theirs_usd),
        "ours_usd": _text(total.ours_usd),
        "difference_usd": _text(total.difference_usd),
        "difference_percent": _text(total.percent),
        "theirs_alone_usd": _text(total.theirs_alone_usd),
    }


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"
