"""costream rebuild: rollups recomputed from the calls that they are made of."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from stream.cli import common
from stream.cli.corrections import INTERRUPTED, correcting

if TYPE_CHECKING:
    from stream.audit.rebuild import Rebuilt

DAY = ["%Y-%m-%d"]


def rebuild(
    start: Annotated[
        datetime, typer.Option("--from", formats=DAY, metavar="DAY", help="From this day (UTC) on, such as 2026-11-01.")
    ],
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=DAY, metavar="DAY", help="Until before this day; all later days, if not given."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell how many rows differ, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for people.")] = False,
) -> None:
    """Recompute the hours and days (usage_hourly, its units, usage_daily and usage_user_daily) and the sums of budgets
    (budget_spend) from the single calls. A row that differs from its calls gets a correction row; one that is lost
    comes back. Each figure then has the digits that it had, but for duplicates, which no call tells: they stay as they
    are.

    Only days whose single calls are all kept can be worked out again: others are refused. Workers may go on meanwhile.
    The second time nothing changes.

    Examples: costream rebuild --from 2026-11-01 --dry-run · costream rebuild --from 2026-11-01 --to 2026-11-08
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from stream.audit import rebuild as rebuilding

    now = datetime.now(UTC)
    first = start.date()
    after = end.date() if end else now.date() + timedelta(days=2)  # events may be of some minutes from now
    if first >= after:
        common.fail(f"the span is empty: {first} is not before {after}; nothing was done", status=common.EXIT_USAGE)
    if dry_run:
        with common.explained(), closing(Reader(address)) as reader, common.progress("rebuild") as progress:
            found = rebuilding.differing(
                reader, start=first, end=after, now=now, retention=settings.retention, progress=progress
            )
    else:
        with (
            common.explained(interrupted=INTERRUPTED),
            correcting(settings, "a rebuild") as (reader, writer, claim),
            common.progress("rebuild") as progress,
        ):
            found = rebuilding.rebuild(
                reader,
                writer,
                start=first,
                end=after,
                retention=settings.retention,
                progress=progress,
                before_each=claim.require,
            )
    if as_json:
        typer.echo(json.dumps(_as_json(found, first, after, dry_run=dry_run)))
    else:
        _tell(found, first, after, dry_run=dry_run)
    if found.restless:
        raise typer.Exit(common.EXIT_FAILED)


def _as_json(found: Rebuilt, start: date, end: date, *, dry_run: bool) -> dict[str, object]:
    return {
        "from": start.isoformat(),
        "to": end.isoformat(),
        "dry_run": dry_run,
        "differing_rows": dict(found.rows),
        "uncorrected_rows": sum(found.rows.values()) if dry_run else found.restless,
    }


def _tell(found: Rebuilt, start: date, end: date, *, dry_run: bool) -> None:
    table = Table("table", Column("rows that differed", justify="right"), box=None, pad_edge=False)
    for name, rows in found.rows.items():
        table.add_row(name, f"{rows:,}")
    common.say(f"{start} until before {end} (UTC), compared with the single calls")
    common.console.print(table)
    total = sum(found.rows.values())
    if dry_run:
        common.say("nothing was changed")
    elif total or not found.restless:
        common.say(f"{common.counted(total, 'row')} corrected" if total else "every row is the sum of its calls")
    if found.restless:
        restless = common.counted(found.restless, "row")
        common.say(f"{restless} went on changing while they were compared: give the same command again")
