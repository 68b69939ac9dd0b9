"""costream demo: the main job on real input, with nothing to set up."""

from __future__ import annotations

import json
import signal
import tempfile
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    import polars as pl

    from stream.demo.run import Outcome, Sight
    from stream.up.stack import Stack

WAIT_MAX: Final = timedelta(minutes=3)  # it takes seconds; beyond this the machine is stuck
HOURS_SHOWN: Final = 12
BAR_WIDTH: Final = 40


def demo(
    span: Annotated[str, typer.Option(help="Over how long the trace is stretched: 26h at least, such as 7d.")] = "7d",
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep DIR/clickhouse and DIR/published.jsonl, to check the totals without us.")
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="Leave the page open at the end, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, nothing else.")] = False,
) -> None:
    """Run the whole path on 28,185 real requests: embedded broker and engine, the real client, the real worker.

    It is `costream up` with a script, on free ports: publishes them with repeats, conflicts, malformed records, an
    unknown model, late events and a spike, and ends with the totals, the alert and the audit. Exit status 1 if the
    audit does not hold. With --page you can look at it in a browser. `costream up --demo` leaves all of it running.

    Example: costream demo --span 7d --data-dir ./demo-data
    """
    common.configure_logs("WARNING")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its parts are ended, whoever ends it
    if page and as_json:
        common.fail("--page and --json exclude each other; nothing was started", status=common.EXIT_USAGE)
    span_length = common.duration(span, option="--span")
    folder = nullcontext(str(data_dir)) if data_dir else tempfile.TemporaryDirectory(prefix="costream-demo-")
    with folder as path, common.explained():
        outcome = _run(Path(path), span_length, live=not as_json and common.on_terminal(), page=page, data_dir=data_dir)
    if as_json:
        common.console.print_json(json.dumps(_as_json(outcome)))
    elif not page:
        _print(outcome, data_dir)
    if not outcome.holds:
        raise typer.Exit(common.EXIT_FAILED)


def _run(folder: Path, span: timedelta, *, live: bool, page: bool, data_dir: Path | None) -> Outcome:
    from stream.demo import run

    with Live(console=common.console, refresh_per_second=8, transient=True) if live else nullcontext() as screen:

        def show(sight: Sight) -> None:
            if screen is not None:
                screen.update(_screen(sight))

        def at_end(outcome: Outcome, stack: Stack) -> None:
            if not page:
                return
            if screen is not None:
                screen.stop()
            _print(outcome, data_dir)
            common.say(f"look at it: {stack.page_url} (Ctrl-C ends it)", style="bold")
            with suppress(KeyboardInterrupt):
                stack.watch(until=lambda: False)

        return run.run(
            folder=folder,
            span=span,
            now=datetime.now(UTC),
            show=show,
            wait_max=WAIT_MAX,
            page=page,
            at_end=at_end,
        )


# --- while it runs ---------------------------------------------------------------------------------------------------


def _screen(sight: Sight) -> RenderableType:
    progress = Table.grid(padding=(0, 1))
    progress.add_row(
        "records", ProgressBar(total=sight.records, completed=sight.handled, width=BAR_WIDTH), f"{sight.handled:,}"
    )
    return Group(progress, _hours(sight.hours), *_alerts(sight.alerts))


def _hours(hours: pl.DataFrame) -> Table:
    """The last hours as bars of cost."""
    table = Table.grid(padding=(0, 1))
    dearest = hours["cost_usd"].max() if hours.height else None
    for hour, cost in hours.tail(HOURS_SHOWN).iter_rows():
        length = int(BAR_WIDTH * cost / dearest) if dearest else 0
        table.add_row(f"{hour:%Y-%m-%d %H:%M} UTC", f"{cost:>12,.6f} USD", Text("█" * length, style="green"))
    return table


def _alerts(alerts: pl.DataFrame) -> list[Text]:
    return [
        Text(f"{alert['status'].upper()} {alert['level']}: {alert['message']}", style="bold red")
        for alert in alerts.iter_rows(named=True)
    ]


# --- at the end ------------------------------------------------------------------------------------------------------


def _print(outcome: Outcome, data_dir: Path | None) -> None:
    totals, say = outcome.totals, common.console.print
    published = len(outcome.plan.events) + len(outcome.plan.malformed)
    say(f"{published:,} records published, worked off in {outcome.seconds} s")
    say(
        f"{totals['calls']:,} calls counted, {totals['cost_usd']:,.12f} USD known + "
        f"{totals['unpriced_calls']:,} unpriced calls, {totals['duplicates']:,} repeats recognised"
    )
    for title, frame in (("cost by model", outcome.by_model), ("cost by feature", outcome.by_feature)):
        say(_table(title, frame))
    say(_table("unpriced calls", outcome.unpriced))
    say(_table("dead letters", outcome.dead_letters))
    for alert in _alerts(outcome.alerts):
        say(alert)
    say(Text("audit holds" if outcome.holds else "AUDIT FAILS", style="bold green" if outcome.holds else "bold red"))
    if data_dir:
        say(f"{data_dir}/clickhouse and {data_dir}/published.jsonl are kept", soft_wrap=True)


def _table(title: str, frame: pl.DataFrame) -> Table:
    table = Table(*frame.columns, title=title, title_justify="left", box=None)
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    match value:
        case Decimal():
            return f"{value:,.6f}"
        case int():
            return f"{value:,}"
        case None:
            return "unknown"
        case _:
            return str(value)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    """Money as decimal text, times in RFC 3339."""
    return {
        "holds": outcome.holds,
        "seconds": outcome.seconds,
        "published": {
            "records": outcome.plan.records,
            "distinct_ids": outcome.plan.counted,
            "duplicates": outcome.plan.duplicates,
            "conflicts": outcome.plan.conflicts,
            "malformed": len(outcome.plan.malformed),
        },
        "totals": {name: _plain(value) for name, value in outcome.totals.items()},
        "by_model": _rows(outcome.by_model),
        "by_feature": _rows(outcome.by_feature),
        "unpriced": _rows(outcome.unpriced),
        "dead_letters": _rows(outcome.dead_letters),
        "alerts": _rows(outcome.alerts),
        "audit": outcome.audit.to_dict(),
    }


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat()
        case _:
            return value
