"""costream audit: does everything add up?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Column, Table
from rich.text import Text

from stream.cli import common
from stream.cli.corrections import INTERRUPTED, correcting, holder

if TYPE_CHECKING:
    from stream.audit import AuditReport, Check, KafkaFacts, PartitionTotals, Repairs
    from stream.runtime.settings import Settings

SHOWN_MAX: Final = 5  # differing places of a check on the screen; --json has a hundred


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with everything; money is text.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove repeats of counted ids, correct rollups, and audit again.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(help="Compare rollups, ids and costs from this day (UTC) on; offsets always in full."),
    ] = None,
    salt: Annotated[
        str, typer.Option(help="Draws the calls whose costs are worked out again; if it is not given, the day does.")
    ] = "",
    accept_vanished: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help="Note that you know of all records that have vanished so far: they stay named, and no longer fail it.",
        ),
    ] = "",
    with_kafka: Annotated[
        bool, typer.Option("--kafka/--no-kafka", help="Compare with committed offsets and the log's ends.")
    ] = True,
) -> None:
    """Prove that every record went to exactly one place, every rollup is the sum of its events, and a sample of the
    costs is what the stored texts of prices come to.

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
    with (
        common.explained(interrupted=INTERRUPTED if repair else "interrupted"),
        common.progress("audit") as progress,
    ):
        if repair:
            repairs = repaired(settings, start, progress)
        if accept_vanished:
            _accept_vanished(settings, accept_vanished)
        facts, begun = _facts(settings) if with_kafka else None, datetime.now(UTC)
        report = auditing.audit(
            reader, kafka=facts, since=start, retention=settings.retention, salt=salt, progress=progress
        )
        writing = [] if report.holds else auditing.writing_since(reader, begun, now=datetime.now(UTC))
        others = [each for each in writing if each.holder != holder()]
    reader.close()
    if as_json:
        typer.echo(_json(report, repairs))
    else:
        _print(report, repairs)
    if others:
        common.errors.print(
            Text(
                f"costream: {others[-1].doing} by {others[-1].holder} has been writing corrections: what differs may "
                "be its work half done. Audit again once it has ended"
            )
        )
    raise typer.Exit(0 if report.holds else common.EXIT_FAILED)


def repaired(settings: Settings, since: datetime | None, progress: Callable[[str, int, int], None]) -> Repairs:
    from contextlib import closing

    from sinks.clickhouse.remover import Remover
    from stream import audit as auditing

    with (
        correcting(settings, "a repair") as (reader, writer, claim),
        closing(Remover(common.address(settings))) as remover,
    ):
        return auditing.repair(
            reader,
            writer,
            remover,
            since=since,
            retention=settings.retention,
            progress=progress,
            before_each=claim.require,
        )


def _accept_vanished(settings: Settings, reason: str) -> None:
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer
    from stream import audit as auditing

    address = common.address(settings)
    reader, writer = Reader(address), Writer(address)
    try:
        auditing.accept_vanished(reader, writer, reason=reason, now=datetime.now(UTC))
    finally:
        writer.close()
        reader.close()


def _facts(settings: Settings) -> KafkaFacts | None:
    """What Kafka says; without it the audit goes on, and says so."""
    from stream.audit import kafka_facts
    from stream.runtime.errors import StreamError

    try:
        return kafka_facts(settings)
    except StreamError as error:
        common.errors.print(Text(f"costream: audited without Kafka: {error}"))
        return None


def repairs_told(repairs: Repairs | None) -> dict[str, object] | None:
    """As JSON has it."""
    if repairs is None:
        return None
    return {
        "removed": repairs.removed,
        "corrected": repairs.corrected,
        "left": repairs.left,
        "left_in": [
            {"table": each.table, "source": each.source, "partition": each.partition, "rows": each.rows}
            for each in repairs.left_in
        ],
    }


def _json(report: AuditReport, repairs: Repairs | None) -> str:
    import json

    return json.dumps(report.to_dict() | {"repairs": repairs_told(repairs)})


# --- on the screen ---------------------------------------------------------------------------------------------------


def _print(report: AuditReport, repairs: Repairs | None) -> None:
    if repairs:
        say_repairs(repairs)
    common.console.print(_checks(report), width=min(common.console.width, common.COLUMNS_MAX))
    for check in report.checks:
        for why, calls in check.left_out.items():
            common.say(f"{check.name}: {calls:,} of {check.drawn:,} calls {why}", style="dim")
        _print_findings(check)
    for totals in report.partitions:
        _print_partition(totals)
    say_steps(report)
    common.say(f"rollups, ids and costs compared from {report.since} on", style="dim")


def say_repairs(repairs: Repairs) -> None:
    """What was done, and why the rest was not."""
    removed, corrected = (
        common.counted(repairs.removed, "repeated event"),
        common.counted(repairs.corrected, "rollup row"),
    )
    common.say(f"repaired: {removed} removed, {corrected} corrected")
    if not repairs.left:
        return
    common.say(
        f"left: {common.counted(repairs.left, 'rollup row')}. Raw rows of their partitions are missing, so they know"
        " more than could be rebuilt; bring the raw rows back first"
    )
    for each in repairs.left_in:
        common.say(f"{each.rows:,} of {each.table}, partition {each.partition} of {each.source}", indent=2)


def say_steps(report: AuditReport) -> None:
    """What to do, and then the verdict: the last lines are what is read."""
    if report.next_steps:
        common.say("next steps", style="bold")
    for number, step in enumerate(report.next_steps, start=1):
        common.say(f"{number}. {step.check}: {step.text}")
        if step.command:
            common.say_command(step.command, indent=3)
    if report.holds:
        common.say("the audit holds", style="bold green")
    else:
        common.say("THE AUDIT DOES NOT HOLD", style="bold red")


def _checks(report: AuditReport) -> Table:
    table = Table("check", Column("compared", justify="right"), Column("differing", justify="right"), box=None)
    for check in report.checks:
        differing = Text("0", "green") if check.holds else Text(f"{check.differing:,}", "bold red")
        table.add_row(check.name, f"{check.compared:,}", differing)
    return table


def _print_findings(check: Check) -> None:
    from stream.audit.report import plain

    if not check.holds:
        common.say(f"{check.name}: what must hold: {check.question}")
    for finding in check.findings[:SHOWN_MAX]:
        where = ", ".join(f"{name}={plain(value)}" for name, value in finding.where.items() if value != "")
        numbers = ", ".join(f"{name}={plain(value)}" for name, value in finding.numbers.items())
        common.say(where, indent=2)
        common.say(f"{finding.rule}: {numbers}", indent=4)
    if check.differing > SHOWN_MAX:
        common.say(f"and {check.differing - SHOWN_MAX:,} more; --json lists 100", indent=2, style="dim")


def _print_partition(each: PartitionTotals) -> None:
    """Conservation as a sum, and what stands beside it."""
    lag = "" if each.lag is None else f", lag {each.lag:,}"
    common.say(f"partition {each.partition} of {each.source}: offsets {each.offset_first:,}-{each.offset_last:,}{lag}")
    common.say(
        f"received {each.received:,} = stored {each.stored:,} + duplicates {each.duplicates:,} + dead letters "
        f"{each.dead_lettered:,} + forwarded {each.forwarded:,}",
        indent=2,
    )
    beside = {
        "offsets without a record": each.offsets_without_record,
        "rows in flight": each.in_flight,
        "rows expired": each.beyond_retention,
    }
    if told := ", ".join(f"{name} {number:,}" for name, number in beside.items() if number):
        common.say(told, indent=2)
