"""What can go wrong on the way out. Foreign errors become one of these once, where they enter, with ``from``.

WarehouseError
├── WarehouseUnavailable   nobody answers, or it is busy, starting or full: wait and do the same again
│   ├── WarehouseTooSmall  the insert is too large for it as it is now: its halves may pass
│   ├── RowCountMismatch   the rows it says it took are not the rows it was given: nothing is acknowledged on that
│   ├── SchemaBehind       migrations are missing: `costream migrate up`, then it goes on
│   ├── RowsSetAside       its start found a part that cannot be read: rows are missing, and a person is needed
│   └── PricesNotUnderstood   this build cannot read the newest revision of prices: a person is needed
├── WarehouseRefused       the engine said no: a bug, a wrong password: do not retry
│   └── RowRefused         one row does not fit its table, and here is which
├── SchemaAhead            the schema is of a newer build, or not ours: nothing may be written
├── VersionNotUnderstood   a stored row was written by another rule than ours: nothing may be added to it
├── DataWouldBeLost        a step down drops tables and nobody asked for that
├── RetentionDiffers       the tables keep their rows for another time than we were told
├── RowsWouldExpire        a shorter retention drops rows and nobody asked for that
├── CorrectionsClaimed     another process writes corrections: wait until it has ended
├── CorrectionsLost        this one could not say that it lives, so another may write them by now
└── EndpointNotStarted     the embedded engine cannot be served there: folder, port or address
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final


class WarehouseError(Exception):
    """Anything between us and ClickHouse. The rows in hand are not stored, and stay with the caller."""


class WarehouseUnavailable(WarehouseError):
    """ClickHouse cannot answer now. Every write is idempotent, so the caller repeats it unchanged."""

    def __init__(self, *, where: str, reason: str) -> None:
        super().__init__(f"the warehouse at {where} does not answer: {reason}; nothing was acknowledged, try again")
        self.where = where


class WarehouseRefused(WarehouseError):
    """ClickHouse refused the statement. The same statement will be refused again."""

    def __init__(self, *, where: str, reason: str, code: int | None = None) -> None:
        super().__init__(f"the warehouse at {where} refused: {reason}{_remedy(code)}")
        self.where, self.reason, self.code = where, reason, code


class RowRefused(WarehouseRefused):
    """One row of a batch is refused; those before it may be stored, which the batch's repeat does not mind."""

    def __init__(self, *, where: str, reason: str, code: int | None, table: str, row: Mapping[str, object]) -> None:
        place = ", ".join(f"{name}={value!r}" for name, value in row.items())
        super().__init__(where=where, reason=f"the row of {table} with {place}: {reason}", code=code)
        self.table, self.row = table, dict(row)


class WarehouseTooSmall(WarehouseUnavailable):
    """The statement needs more memory, or another limit, than the warehouse has for it now."""


class RowCountMismatch(WarehouseUnavailable):
    """The answer does not say that every row was stored. A proxy may have given it, so it is no proof of anything."""

    def __init__(self, *, where: str, table: str, sent: int, written: int) -> None:
        reason = f"of {sent} rows sent to {table} it reports {written} as written"
        super().__init__(where=where, reason=reason)
        self.table, self.sent, self.written = table, sent, written


class SchemaBehind(WarehouseUnavailable):
    """The warehouse lacks migrations that this build needs. Somebody runs them, and the caller goes on."""

    def __init__(self, *, where: str, database: str, missing: Sequence[str]) -> None:
        WarehouseError.__init__(
            self,
            f"the schema of database {database!r} at {where} lacks {', '.join(missing)}: run `costream migrate up`. "
            "Nothing was read or written",
        )
        self.where, self.missing = where, tuple(missing)


class RowsSetAside(WarehouseUnavailable):
    """The warehouse has set broken parts aside, and nothing else holds their rows."""

    def __init__(self, *, where: str, parts: Sequence[str], drop: str) -> None:
        WarehouseError.__init__(
            self,
            f"the warehouse at {where} misses rows: when it started it set aside {', '.join(parts)}, which it cannot "
            "read, and no other part holds their blocks. Nothing was read or written, since whoever goes on from fewer "
            "rows counts wrongly. `costream audit` names what differs, `costream reread` brings raw rows back from "
            "Kafka, `costream audit --repair` makes rollups anew from raw rows. Then delete each part that was set "
            f"aside, and workers go on: `{drop}`",
        )
        self.where, self.parts = where, tuple(parts)


class PricesNotUnderstood(WarehouseUnavailable):
    """The newest revision of prices is of a form that this build does not know. Another build can read it."""

    def __init__(self, *, where: str, revision: int, faults: Sequence[str]) -> None:
        WarehouseError.__init__(
            self,
            f"revision {revision} of prices in the warehouse at {where} cannot be used by this build: "
            f"{'; '.join(faults)}. No call is priced by an older one, and nothing was acknowledged: run the build that "
            "published it or a later one, or publish prices that this build knows (`costream prices publish`), and "
            "workers go on",
        )
        self.where, self.revision = where, revision


class SchemaAhead(WarehouseError):
    """The warehouse has migrations that this build does not know, or knows with another text."""

    def __init__(self, *, where: str, database: str, unknown: Sequence[str]) -> None:
        super().__init__(
            f"the schema of database {database!r} at {where} has {', '.join(unknown)}, which this build does not have: "
            "run the build that made it, or a later one. Nothing was read or written"
        )
        self.where, self.unknown = where, tuple(unknown)


class DataWouldBeLost(WarehouseError):
    """A migration down would drop tables with their rows."""

    def __init__(self, *, database: str, versions: list[int]) -> None:
        numbers = ", ".join(str(version) for version in versions)
        super().__init__(
            f"undoing migration {numbers} drops tables of {database!r} with all their rows; nothing was changed. "
            "Ask for it with --drop-data"
        )
        self.versions = versions


class RetentionDiffers(WarehouseError):
    """The tables' TTL is not the retention that this process was given."""

    def __init__(self, *, where: str, database: str, wanted: timedelta, found: Mapping[str, timedelta | None]) -> None:
        tables = " and ".join(
            f"{table} for {span.days} days" if span is not None else f"{table} for a time that is not ours"
            for table, span in found.items()
        )
        super().__init__(
            f"COSTREAM_RETENTION is {wanted.days} days, but database {database!r} at {where} keeps {tables}; nothing "
            f"was read or written. Run `costream migrate up` with COSTREAM_RETENTION=P{wanted.days}D, or start with "
            "theirs"
        )
        self.wanted, self.found = wanted, dict(found)


class RowsWouldExpire(WarehouseError):
    """A shorter retention would drop rows that are kept today."""

    def __init__(self, *, retention: timedelta, rows: Mapping[str, int]) -> None:
        doomed = " and ".join(f"{count:,} row{'s' * (count != 1)} of {table}" for table, count in rows.items())
        super().__init__(
            f"a COSTREAM_RETENTION of {retention.days} days drops {doomed} kept today; the retention was not changed. "
            "Ask for it with --drop-data"
        )
        self.rows = dict(rows)


class EndpointNotStarted(WarehouseError):
    """`costream clickhouse` cannot take its folder, port or address."""

    def __init__(self, *, folder: str, host: str, port: int, reason: str) -> None:
        super().__init__(f"the engine in {folder!r} is not served at {host}:{port}: {reason}; no data was touched")


class VersionNotUnderstood(WarehouseError):
    """A stored row has a version that is no offset: another build, or a hand, wrote it."""

    def __init__(self, *, table: str, source: str, partition: int, version: int) -> None:
        super().__init__(
            f"{table} has a row of source {source!r}, partition {partition}, with version {version}; a version is the "
            "offset applied last and below 2^48. Nothing was added to it or acknowledged: run the build that wrote it, "
            "or delete the row and let `costream audit --repair` say what it held"
        )
        self.table, self.partition, self.version = table, partition, version


class CorrectionsClaimed(WarehouseError):
    """Another process writes corrections, and lives."""

    def __init__(self, *, holder: str, doing: str, since: datetime, seen: datetime) -> None:
        super().__init__(
            f"{doing} by {holder} is under way since {since:%Y-%m-%d %H:%M:%S} UTC, last heard of at "
            f"{seen:%H:%M:%S}: only one at a time writes corrections. Nothing was changed; wait until it has ended"
        )


class CorrectionsLost(WarehouseError):
    """Corrections are written by one process at a time, and this one was not heard of for too long."""

    def __init__(self, *, where: str) -> None:
        super().__init__(
            f"the warehouse at {where} was not reached for too long, so another process may write corrections by now: "
            "this one has stopped. What it had changed by then stands; give the same command again to do the rest"
        )


def code_of(message: str) -> int | None:
    """ClickHouse's number of an error, as its own text tells it."""
    found = _CODE.search(message)
    return int(found[1]) if found else None


_CODE: Final = re.compile(r"Code: (\d+)")

UNKNOWN_TABLE: Final = 60
UNKNOWN_DATABASE: Final = 81
AUTHENTICATION_FAILED: Final = 516


def _remedy(code: int | None) -> str:
    if code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
        return "; `costream migrate up` creates the database, its tables and views"
    if code == AUTHENTICATION_FAILED:
        return "; check COSTREAM_CLICKHOUSE_USER and COSTREAM_CLICKHOUSE_PASSWORD"
    return ""
