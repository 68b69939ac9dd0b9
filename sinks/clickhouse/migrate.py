"""The warehouse's schema: tables in numbered steps up and down, and over them the views of this build.

Run by ``costream migrate``; safe to run again at any time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from clickhouse_migrations.clickhouse_cluster import ClickhouseCluster
from clickhouse_migrations.exceptions import MigrationException
from clickhouse_migrations.migration import MigrationStorage

from sinks.clickhouse.connect import ClickHouseAddress, open_client, translated
from sinks.clickhouse.views import state as views
from sinks.errors import DataWouldBeLost, SchemaAhead, SchemaBehind, WarehouseRefused

FOLDER: Final = Path(__file__).parent / "migrations"
VIEWS_SINCE: Final = 19  # before it, views were made by numbered steps alone
DROPS_DATA: Final = re.compile(r"\bDROP\s+TABLE\b(?!\s+IF\s+EXISTS\s+schema_views\b)|\bTRUNCATE\b", re.IGNORECASE)


@dataclass(frozen=True)
class MigrationStatus:
    """One numbered step and whether this warehouse has it."""

    version: int
    name: str
    state: str  # applied | pending | md5-mismatch (the file was changed after it ran) | unknown (no such file here)
    applied_at: datetime | None


@dataclass(frozen=True)
class Applied:
    """What a run has done: the numbered steps, and the views that it made anew, by their names."""

    versions: list[int]
    views: list[str]


class _Warehouse(ClickhouseCluster):  # type: ignore[misc]  # the library ships no types
    """Lets the migration library speak through our own client, so that it reaches the embedded engine as well."""

    def __init__(self, address: ClickHouseAddress) -> None:
        super().__init__(driver="clickhouse-connect", db_name=address.database)
        self._address = address

    def _connect_client(self, db_name: str | None) -> Any:
        return open_client(self._address, database=db_name or "")


def up(address: ClickHouseAddress, target: int | None = None) -> Applied:
    """Create the database if need be, and apply what is pending: numbered steps (up to ``target``), and after the last
    one the views of this build.

    Each statement is harmless to repeat, so a run that broke off is completed by the next one.
    """
    with _checked(address):
        applied = _Warehouse(address).migrate(
            address.database, FOLDER, to_version=target, migration_log_format="compact"
        )
    versions = [migration.version for migration in applied]
    if target is not None and target < max(_names()):
        return Applied(versions, [])
    made = views.apply(address)
    # Imported here: what only looks where the schema is needs none of it.
    from sinks.clickhouse import price_revisions
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer

    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        price_revisions.tell_money(reader, writer)
    return Applied(versions, made)


def down(address: ClickHouseAddress, steps: int = 1, *, drop_data: bool = False) -> list[int]:
    """Undo the last ``steps`` migrations and return their versions. Tables go only where ``drop_data`` says so.

    Views are not undone, but for those of a numbered step: `costream migrate up` of the release that had the step
    before makes its own.
    """
    scripts = MigrationStorage(FOLDER).down_scripts()
    applied = [row.version for row in status(address) if row.applied_at is not None]
    doomed = [version for version in applied[-steps:] if DROPS_DATA.search(scripts.get(version, ""))]
    if doomed and not drop_data:
        raise DataWouldBeLost(database=address.database, versions=doomed)
    with _checked(address):
        undone = list(_Warehouse(address).rollback(address.database, FOLDER, steps=steps))
    if undone and VIEWS_SINCE in {*applied} - {*undone}:
        views.forget(address)
    return undone


def status(address: ClickHouseAddress) -> list[MigrationStatus]:
    """Every migration, in order; reads only."""
    names = _names()
    with _checked(address):
        rows = _Warehouse(address).status(address.database, FOLDER)
    return [
        MigrationStatus(
            version=row.version,
            name=names.get(row.version, ""),
            state=row.state,
            applied_at=row.applied_at.replace(tzinfo=UTC) if row.applied_at else None,
        )
        for row in rows
    ]


def is_upgrade(steps: Sequence[MigrationStatus], target: int | None = None) -> bool:
    """Whether ``up`` would change a warehouse that an earlier release has made, so that its workers may be at work."""
    pending = [step for step in steps if step.state == "pending" and (target is None or step.version <= target)]
    return bool(pending) and any(step.applied_at is not None for step in steps)


def require_current(address: ClickHouseAddress) -> None:
    """Return if the warehouse has exactly the migrations and the views of this build; reads only.

    Raises ``SchemaBehind`` where some or all are missing, which `costream migrate up` mends while the caller waits,
    ``SchemaAhead`` where it has others, and what any question raises.
    """
    found = status(address)
    unknown = [step for step in found if step.state not in ("applied", "pending")]
    if unknown:
        raise SchemaAhead(where=address.url, database=address.database, unknown=[_named(step) for step in unknown])
    missing = [_named(step) for step in found if step.state == "pending"]
    missing = missing or views.named([view.name for view in views.differing(address)])
    if missing:
        raise SchemaBehind(where=address.url, database=address.database, missing=missing)


def _named(step: MigrationStatus) -> str:
    changed = " (with another text)" if step.state == "md5-mismatch" else ""
    return f"migration {step.version} {step.name}".rstrip() + changed


def _names() -> dict[int, str]:
    names = MigrationStorage(FOLDER).migration_filenames()
    return {version: name.removesuffix(".sql") for version, name in names.items()}


@contextmanager
def _checked(address: ClickHouseAddress) -> Iterator[None]:
    """Errors as ours. The library logs through the root logger, which would install a handler for the whole process."""
    quiet = logging.NullHandler()
    logging.getLogger().addHandler(quiet)
    try:
        with translated(address):
            yield
    except MigrationException as error:
        raise WarehouseRefused(where=address.url, reason=str(error)) from error
    finally:
        logging.getLogger().removeHandler(quiet)
