"""What can go wrong on the way out. Foreign errors become one of these once, where they enter, with ``from``.

WarehouseError
├── WarehouseUnavailable   nobody answers, or it is busy, starting or full: wait and do the same again
├── WarehouseRefused       the engine said no: a bug, a missing migration, a wrong password: do not retry
├── RowCountMismatch       it took another number of rows than it was given; nothing may be acknowledged on that
├── DataWouldBeLost        a step down drops tables and nobody asked for that
└── EndpointNotStarted     the embedded engine cannot be served there: folder, port or address
"""

from __future__ import annotations

import re
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
        self.where = where
        self.code = code


class RowCountMismatch(WarehouseError):
    """The engine reports another number of rows than it was sent."""

    def __init__(self, *, table: str, sent: int, written: int) -> None:
        super().__init__(f"{table}: {sent} rows sent, {written} written; the batch is not acknowledged: repeat it")
        self.table, self.sent, self.written = table, sent, written


class DataWouldBeLost(WarehouseError):
    """A migration down would drop tables with their rows."""

    def __init__(self, *, database: str, versions: list[int]) -> None:
        numbers = ", ".join(str(version) for version in versions)
        super().__init__(
            f"undoing migration {numbers} drops tables of {database!r} with all their rows; nothing was changed. "
            "Ask for it with --drop-data"
        )
        self.versions = versions


class EndpointNotStarted(WarehouseError):
    """`costream clickhouse` cannot take its folder, port or address."""

    def __init__(self, *, folder: str, host: str, port: int, reason: str) -> None:
        super().__init__(f"the engine in {folder!r} is not served at {host}:{port}: {reason}; no data was touched")


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
