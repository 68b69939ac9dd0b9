"""costream status: the whole system in one look."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from stream.status import Status, Stored

LOOK_SECONDS: Final = 2.0
LAGGING_SHOWN: Final = 6
ALERTS_SHOWN: Final = 5


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a look.")] = False,
) -> None:
    """Show what waits, what is stored and what is wrong: Kafka, the warehouse, alerts, the audit, a worker.

    Exit status 1 if Kafka or the warehouse does not answer, a worker says what is wrong, records vanished, or the
    audit does not hold.

    Example: costream status --watch
    """
    settings = common.settings()
    common.address(settings)
    from stream.status import status as look

    live = watch and not as_json and common.on_terminal()
    try:
        with Live(console=common.console, auto_refresh=False) if live else nullcontext() as screen:
            while True:
                found = look(settings, now=datetime.now(UTC))
                if as_json:
                    typer.echo(json.dumps(found.to_dict()))
                elif screen is not None:
                    screen.update(_shown(found), refresh=True)
                else:
                    common.console.print(_shown(found))
                if not watch:
                    break
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    if _is_wrong(found):
        raise typer.Exit(common.EXIT_FAILED)


def _is_wrong(found: Status) -> bool:
    vanished = found.stored is not None and found.stored.vanished_records > 0
    return bool(found.faults) or vanished or found.audit == "differs"


def _shown(found: Status) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("at", f"{found.at:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("kafka", f"{found.kafka}, {found.topic}, group {found.group}")
    table.add_row("waiting", _waiting(found))
    table.add_row("warehouse", found.warehouse)
    if found.stored is not None:
        _add_stored(table, found.stored, at=found.at)
    table.add_row("alerts", _alerts(found))
    table.add_row("audit", _audit(found))
    table.add_row("worker", _worker(found))
    return Group(table, *(Text(f"! {_printable(fault)}", "red") for fault in found.faults))


def _waiting(found: Status) -> Text:
    if found.waiting is None:
        return Text("unknown", "red")
    behind = sorted((each for each in found.waiting if each.lag), key=lambda each: -each.lag)
    unread = sum(each.committed is None and each.end > each.begin for each in found.waiting)
    text = f"{common.counted(found.lag or 0, 'record')} in {common.counted(len(found.waiting), 'partition')}"
    if behind:
        text += ", most in " + ", ".join(f"{each.partition} ({each.lag:,})" for each in behind[:LAGGING_SHOWN])
    if unread:
        text += f"; {common.counted(unread, 'partition')} nobody has read yet"
    return Text(text, "yellow" if behind else "green")


def _add_stored(table: Table, stored: Stored, *, at: datetime) -> None:
    last = stored.last_stored
    ago = f", {_span((at - last).total_seconds())} ago" if last else ""
    table.add_row("last stored", f"{last:%Y-%m-%d %H:%M:%S} UTC{ago}" if last else "nothing yet")
    table.add_row("stored", f"{common.counted(stored.events, 'event')}, {stored.per_second:,} a second lately")
    table.add_row("dead letters", _letters(stored))
    if stored.vanished_records:
        vanished = common.counted(stored.vanished_records, "record")
        table.add_row("vanished", Text(f"{vanished} at most; `costream audit` names them", "red"))
    table.add_row("own prices", _revision(stored.price_revision, stored.price_revision_published_at))
    table.add_row("own rules", _revision(stored.rule_revision, stored.rule_revision_published_at))
    free = "" if stored.bytes_free is None else f", {_bytes(stored.bytes_free)} free"
    table.add_row("disk", f"{_bytes(sum(stored.bytes_by_table.values()))} of tables{free}")


def _revision(number: int | None, published_at: datetime | None) -> str:
    return "none published" if number is None else f"revision {number}, published {published_at:%Y-%m-%d %H:%M:%S} UTC"


def _letters(stored: Stored) -> Text:
    standing, lately = stored.dead_letters_open, sum(stored.dead_letters.values())
    by_kind = ": " + ", ".join(f"{kind} {number:,}" for kind, number in standing.items()) if standing else ""
    told = f"{sum(standing.values()):,} open{by_kind}" if standing else "none open"
    return Text(f"{told}; {lately:,} new in 24 hours" if lately else f"{told}, none new in 24 hours")


def _alerts(found: Status) -> Text:
    if found.alerts is None:
        return Text("unknown", "red")
    if not found.alerts:
        return Text("none stands", "green")
    lines = [f"{each.level.upper()} {each.rule} {each.scope}: {each.title}" for each in found.alerts[:ALERTS_SHOWN]]
    more = len(found.alerts) - len(lines)
    return Text("\n".join(map(_printable, lines)) + (f"\nand {more} more" if more else ""), "yellow")


def _audit(found: Status) -> Text:
    worker = found.worker
    match found.audit:
        case "holds" if worker and worker.audited_at:
            return Text(f"holds, as of {worker.audited_at:%Y-%m-%d %H:%M:%S} UTC", "green")
        case "differs":
            return Text("DOES NOT HOLD: `costream audit` names the places and the next step", "bold red")
        case _:
            return Text("no worker asked here has audited yet, and no alert of an audit stands; `costream audit`")


def _worker(found: Status) -> Text:
    worker = found.worker
    if worker is None:
        return Text("none answers at COSTREAM_HEALTH_BIND and COSTREAM_HEALTH_PORT", "dim")
    holds = common.counted(len(worker.partitions), "partition")
    ready = "ready" if worker.ready else "not ready"
    return Text(f"{worker.url} is {ready}, holds {holds}", "green" if worker.ready else "red")


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def _bytes(size: int) -> str:
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} bytes"


def _printable(text: str) -> str:
    from costream.alerts import plain

    return plain(text)
