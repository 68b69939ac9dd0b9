"""costream audit: does everything add up?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from stream.audit import AuditReport, Check, KafkaFacts, Repairs
    from stream.settings import Settings

SHOWN_MAX: Final = 5  # differing places of a check on the screen; --json has a hundred


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with everything; money is text.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove repeats of counted ids, correct rollups, and audit again.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(help="Compare rollups and look for repeated ids from this day (UTC) on; offsets always in full."),
    ] = None,
    with_kafka: Annotated[
        bool, typer.Option("--kafka/--no-kafka", help="Compare with committed offsets and the log's ends.")
    ] = True,
) -> None:
    """Prove that every record went to exactly one place and every rollup is the sum of its events.

    Workers may go on meanwhile. Exit status 0 if everything holds, 1 if not.

    Examples: costream audit · costream audit --since 2026-11-01 --json · costream audit --repair
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from stream import audit as auditing

    start = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
    reader = Reader(address)
    repairs = None
    with common.explained(), _progress() as progress:
        if repair:
            repairs = _repair(settings, start, progress)
        facts = _facts(settings) if with_kafka else None
        report = auditing.audit(reader, kafka=facts, since=start, retention=settings.retention, progress=progress)
    reader.close()
    if as_json:
        typer.echo(_json(report, repairs))
    else:
        _print(report, repairs)
    raise typer.Exit(0 if report.holds else common.EXIT_FAILED)


def _repair(settings: Settings, since: datetime | None, progress: Callable[[str, int, int], None]) -> Repairs:
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.remover import Remover
    from sinks.clickhouse.writer import Writer
    from stream import audit as auditing

    address = common.address(settings)
    reader, writer, remover = Reader(address), Writer(address), Remover(address)
    try:
        return auditing.repair(reader, writer, remover, since=since, retention=settings.retention, progress=progress)
    finally:
        for part in (remover, writer, reader):
            part.close()


def _facts(settings: Settings) -> KafkaFacts | None:
    """What Kafka says; without it the audit goes on, and says so."""
    from stream.audit import kafka_facts
    from stream.errors import StreamError

    try:
        return kafka_facts(settings)
    except StreamError as error:
        common.errors.print(Text(f"costream: audited without Kafka: {error}"))
        return None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """On standard error, and only where somebody watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=common.errors, transient=True, disable=not common.errors.is_terminal) as bar:
        task = bar.add_task("audit", total=None)

        def show(doing: str, done: int, steps: int) -> None:
            bar.update(task, description=doing, completed=done, total=steps)

        yield show


def _json(report: AuditReport, repairs: Repairs | None) -> str:
    import json

    done = {"removed": repairs.removed, "corrected": repairs.corrected, "left": repairs.left} if repairs else None
    return json.dumps(report.to_dict() | {"repairs": done})


# --- on the screen ---------------------------------------------------------------------------------------------------


def _print(report: AuditReport, repairs: Repairs | None) -> None:
    if repairs:
        common.console.print(
            f"repaired: {repairs.removed} repeated events removed, {repairs.corrected} rollup rows corrected, "
            f"{repairs.left} left (their raw rows are missing)"
        )
    common.console.print(_checks(report))
    for check in report.checks:
        _print_findings(check)
    common.console.print(_partitions(report))
    verdict = Text("the audit holds", "bold green") if report.holds else Text("THE AUDIT DOES NOT HOLD", "bold red")
    common.console.print(verdict, Text(f"rollups and ids compared from {report.since} on", "dim"))


def _checks(report: AuditReport) -> Table:
    table = Table("check", "what must hold", "compared", "differing", box=None)
    for check in report.checks:
        differing = Text("0", "green") if check.holds else Text(f"{check.differing:,}", "bold red")
        table.add_row(check.name, check.question, f"{check.compared:,}", differing)
    return table


def _print_findings(check: Check) -> None:
    """Names in the cells are anybody's text: they are printed, never read as markup."""
    from stream.alerts import plain as harmless
    from stream.audit.report import plain

    for finding in check.findings[:SHOWN_MAX]:
        where = ", ".join(f"{name}={plain(value)}" for name, value in finding.where.items() if value != "")
        numbers = ", ".join(f"{name}={plain(value)}" for name, value in finding.numbers.items())
        common.console.print(Text(f"  {check.name}: {harmless(where)}\n    {finding.rule}: {harmless(numbers)}"))
    if check.differing > SHOWN_MAX:
        common.console.print(Text(f"  {check.name}: and {check.differing - SHOWN_MAX:,} more; --json lists 100", "dim"))


PARTITION_COLUMNS: Final = {
    "received": "received",
    "stored": "stored",
    "duplicates": "duplicates",
    "dead_lettered": "dead letters",
    "forwarded": "forwarded",
    "offsets_without_record": "gaps",
    "in_flight": "in flight",
    "beyond_retention": "expired",
    "lag": "lag",
}


def _partitions(report: AuditReport) -> Table:
    table = Table("source", "partition", "offsets", *PARTITION_COLUMNS.values(), box=None)
    for each in report.partitions:
        numbers = (getattr(each, name) for name in PARTITION_COLUMNS)
        table.add_row(
            Text(each.source),
            str(each.partition),
            f"{each.offset_first:,}-{each.offset_last:,}",
            *("?" if number is None else f"{number:,}" for number in numbers),
        )
    return table
