"""costream migrate: the warehouse's schema, up and down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from stream.cli import common

app = typer.Typer(no_args_is_help=True, help="Bring the warehouse's tables and views up, down, or show where they are.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value instead of text.")]


@app.command()
def up(
    target: Annotated[int | None, typer.Option(min=1, help="The last version to apply; default all.")] = None,
    drop_data: Annotated[
        bool, typer.Option("--drop-data", help="Also if a COSTREAM_RETENTION below the tables' drops rows.")
    ] = False,
    workers_stopped: Annotated[
        bool, typer.Option("--workers-stopped", help="Do not ask Kafka whether workers are alive: all are stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the database, apply what is pending, and keep raw rows for COSTREAM_RETENTION. Safe to run again.

    Where a warehouse is brought up from an earlier release, Kafka is asked whether a worker is alive, and nothing is
    changed while one is. Stop all workers first.

    Example: COSTREAM_CLICKHOUSE_URL=http://127.0.0.1:8123 costream migrate up
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse import migrate, retention

    with common.explained():
        if not workers_stopped and migrate.is_upgrade(migrate.status(address), target):
            from stream.runtime.members import require_no_worker

            require_no_worker(settings)
        applied = migrate.up(address, target)
        _report("applied", applied.versions, as_json=as_json, views=applied.views)
        if target is None:  # a part of the schema has no table yet to remember the change
            changed = retention.apply(address, settings.retention, now=datetime.now(UTC), drop_data=drop_data)
            if changed and not as_json:
                typer.echo(f"raw rows and dead letters are now kept for {settings.retention.days} days")


@app.command()
def down(
    steps: Annotated[int, typer.Option(min=1, help="How many migrations to undo, the latest first.")] = 1,
    drop_data: Annotated[
        bool, typer.Option("--drop-data", help="Also undo one that drops tables, with all their rows.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Undo the latest migration. Tables and their rows stay unless --drop-data asks for their end.

    Example: costream migrate down --steps 1
    """
    address = common.address(common.settings())
    from sinks.clickhouse import migrate

    with common.explained():
        _report("undone", migrate.down(address, steps, drop_data=drop_data), as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show every migration and whether the warehouse has it, and the views that are not those of this release. Changes
    nothing.

    Example: costream migrate status --json
    """
    address = common.address(common.settings())
    from sinks.clickhouse import migrate
    from sinks.clickhouse.views import state as views

    with common.explained():
        rows = migrate.status(address)
        differing = [view.name for view in views.differing(address)] if rows[-1].applied_at else []
    if as_json:
        others = [
            {"version": None, "name": f"view {name}", "state": "pending", "applied_at": None} for name in differing
        ]
        typer.echo(json.dumps([asdict(row) for row in rows] + others, default=str))
        return
    table = Table("version", "name", "state", "applied at (UTC)", box=None)
    for row in rows:
        table.add_row(str(row.version), row.name, row.state, f"{row.applied_at:%F %T}" if row.applied_at else "")
    for name in differing:
        table.add_row("", f"view {name}", "pending", "")
    common.console.print(table)


def _report(verb: str, versions: list[int], *, as_json: bool, views: Sequence[str] | None = None) -> None:
    if as_json:
        typer.echo(json.dumps({verb: versions} | ({} if views is None else {"views": views})))
        return
    if versions or not views:
        typer.echo(f"{verb}: {', '.join(map(str, versions)) or 'nothing to do'}")
    if views:
        typer.echo(f"views made anew: {len(views)}")
