"""costream query: a question to the warehouse."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import typer

from stream.cli import common

Format = Literal["table", "csv", "json", "parquet"]

ENGINE_FORMATS: Final[dict[Format, str]] = {
    "table": "PrettyCompactMonoBlock",
    "csv": "CSVWithNames",
    "json": "Parquet",  # the one that keeps Decimal; it is written as JSON here
    "parquet": "Parquet",
}
# How statements begin that change something, so that a person is told before the engine is asked.
CHANGES: Final = {
    *("ALTER", "ATTACH", "BACKUP", "CREATE", "DELETE", "DETACH", "DROP", "EXCHANGE", "GRANT", "INSERT", "KILL", "MOVE"),
    *("OPTIMIZE", "RENAME", "RESTORE", "REVOKE", "SET", "SYSTEM", "TRUNCATE", "UNDROP", "UPDATE", "USE"),
}
COMMENTS: Final = re.compile(r"\s*(?:--[^\n]*(?:\n|$)|/\*.*?\*/)", re.DOTALL)
FORMAT_CLAUSE: Final = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)


def query(
    sql: Annotated[
        str | None, typer.Argument(help="One statement that reads; without it, or as -, standard input is read.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the statement from a file.")] = None,
    output: Annotated[
        Format | None, typer.Option("--format", help="Default table. json and csv write decimals in full.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json: an array, a row a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv: with a line of names.")] = False,
) -> None:
    """Ask the configured warehouse. Read-only: a statement that would change anything is refused.

    A FORMAT clause in the statement is followed, and the answer is written as the engine gives it.

    Example: costream query "SELECT * FROM feature_cost_summary" --csv, or costream query --file a.sql --format json
    """
    chosen = _chosen(output, as_json=as_json, as_csv=as_csv)
    statement, clause = _readable(_statement(sql, file))
    if clause and chosen:
        _usage(f"the statement says FORMAT {clause}, and {chosen} is asked for as well: say one of them")
    chosen = chosen or "table"
    if not clause and chosen == "parquet" and common.on_terminal():
        _usage(
            "parquet is not for a terminal: send it to a file, as in `costream query ... --format parquet > x.parquet`"
        )
    address = common.address(common.settings())
    from sinks.clickhouse.asking import ask

    with common.explained():
        answer = ask(address, statement, output=clause or ENGINE_FORMATS[chosen])
    if clause or chosen == "parquet":
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    elif chosen == "json":
        typer.echo(_json(answer))
    else:
        typer.echo(answer.decode(errors="backslashreplace") or "no rows\n", nl=False)


def _usage(text: str) -> NoReturn:
    common.fail(f"{text}; nothing was asked", status=common.EXIT_USAGE)


def _chosen(output: Format | None, *, as_json: bool, as_csv: bool) -> Format | None:
    named: set[Format] = {each for each, given in (("json", as_json), ("csv", as_csv)) if given}  # type: ignore[misc]
    if output:
        named.add(output)
    if len(named) > 1:
        _usage(f"{' and '.join(sorted(named))} exclude each other")
    return named.pop() if named else None


def _statement(sql: str | None, file: Path | None) -> str:
    if file is not None:
        if sql is not None:
            _usage("a statement and --file exclude each other")
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            _usage(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}")
    if sql not in (None, "-"):
        return str(sql)
    if sql is None and sys.stdin.isatty():
        _usage('there is no statement: write one, as in `costream query "SELECT * FROM daily_cost"`')
    return sys.stdin.read()


def _readable(text: str) -> tuple[str, str]:
    """The statement without what ends it, and the format that it names; a sentence where it cannot be meant."""
    statement = text.strip().rstrip(";").rstrip()
    bare = statement
    while comment := COMMENTS.match(bare):
        bare = bare[comment.end() :]
    found = re.match(r"\s*([A-Za-z]+)", bare)
    if not bare.strip():
        _usage("the statement is empty")
    if found and (word := found[1].upper()) in CHANGES:
        common.fail(
            f"{word} would change the warehouse, and `costream query` only reads; nothing was changed. Rows are mended "
            "by `costream audit --repair` and `costream reread`, the schema by `costream migrate`"
        )
    clause = FORMAT_CLAUSE.search(statement)
    return (statement[: clause.start()].rstrip(), clause[1]) if clause else (statement, "")


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
