"""costream query: a question to the warehouse."""

from __future__ import annotations

import io
import json
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import typer

from stream.cli import common


def query(
    sql: Annotated[str, typer.Argument(help="One statement that reads.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, a row a line; decimals as text.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a line of names.")] = False,
) -> None:
    """Ask the configured warehouse. Read-only: the engine refuses a statement that would change anything.

    Example: costream query "SELECT * FROM feature_cost_summary" --csv
    """
    if as_json and as_csv:
        common.fail("--json and --csv exclude each other; nothing was asked", status=common.EXIT_USAGE)
    address = common.address(common.settings())
    from sinks.clickhouse.reader import ask

    output = "Parquet" if as_json else "CSVWithNames" if as_csv else "PrettyCompactMonoBlock"
    with common.explained():
        answer = ask(address, sql, output=output)
    if as_json:
        typer.echo(_json(answer))
    else:
        typer.echo(answer.decode(errors="backslashreplace") or "no rows\n", nl=False)


def _json(parquet: bytes) -> str:
    import polars as pl

    rows = pl.read_parquet(io.BytesIO(parquet)).iter_rows(named=True)
    return "[" + ",\n ".join(json.dumps(row, default=_plain, ensure_ascii=False) for row in rows) + "]"


def _plain(value: Any) -> str:
    """A Decimal as plain text, so that no reader makes a float of it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)
