"""The tables as the migrations make them, read from their SQL."""

from __future__ import annotations

import re

from sinks.clickhouse import migrate


def columns_of(table: str) -> set[str]:
    """The columns of a table of rows: those that it was made with, and those added since."""
    made = re.findall(r"^  (\w+) [A-Z]", _made(table)[0], re.MULTILINE)
    altered = re.findall(rf"ALTER TABLE {table}_rows\n(.*?);", _sql(), re.DOTALL)
    return {*made, *re.findall(r"ADD COLUMN IF NOT EXISTS (\w+)", "".join(altered))}


def key_of(table: str) -> set[str]:
    """What tells one row of it from another."""
    key = re.search(r"ORDER BY \((.*)\)", _made(table)[1])
    assert key is not None
    return set(key[1].split(", "))


def _made(table: str) -> list[str]:
    return re.split(rf"CREATE TABLE IF NOT EXISTS {table}(?:_rows)? \(", _sql())[1].split(") ENGINE")


def _sql() -> str:
    return "".join(path.read_text() for path in sorted(migrate.FOLDER.glob("*.sql")) if ".down" not in path.name)
