"""costream reprice: give stored calls the prices that are known now."""

from __future__ import annotations

import getpass
import json
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stream.cli import changes, common
from stream.cli.corrections import INTERRUPTED, correcting

if TYPE_CHECKING:
    from sinks.clickhouse.calls_of_span import Span
    from stream.repricing.run import Repriced

TEXT_CHARS_MAX: Final = 1_000  # of a name, or a reason


def reprice(
    start: changes.Start,
    end: changes.End = None,
    provider: changes.Provider = "",
    model: changes.Model = "",
    feature: changes.Feature = "",
    reason: Annotated[str, typer.Option(help="Why, kept with every difference. Not needed with --dry-run.")] = "",
    by: Annotated[str, typer.Option(help="Who does it; else the name that you are logged in by.")] = "",
    revision: Annotated[str, typer.Option(help="The published prices to go by: a number, or newest.")] = "newest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, and change nothing.")] = False,
    limit: changes.Limit = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for people.")] = False,
) -> None:
    """Price stored calls anew, by your own prices as they are published and the price table of this build. Each call is
    priced as of its own time. The calls get new rows, the rollups correction rows, and the view cost_adjustments says
    for each hour, model and feature what it cost before and after, why, by whom and when.

    Counts never change, and the second time nothing does. It may be stopped anywhere and given again. Workers may go on
    meanwhile. Only calls that are still kept one by one can be priced anew: older ones are refused.

    Examples: costream reprice --from 2026-11-01 --model gpt-4o --dry-run · costream reprice --from 2026-11-01 --to
    2026-12-01 --provider openai --reason "contract 17, signed on the 9th"
    """
    if not (dry_run or reason.strip()):
        common.fail("say why with --reason; nothing was changed", status=common.EXIT_USAGE)
    _require_bounds(reason, by)
    settings = common.settings()
    common.address(settings)
    from stream.cli.prices import books

    published = books.revision_of(revision)
    book, _ = books.with_texts(published.files if published else {})
    from sinks.clickhouse.reader import Reader
    from stream.audit.ground import kept_ground
    from stream.repricing.run import Repricer

    now = datetime.now(UTC)
    span = changes.span_of(start, end, now=now, provider=provider, model=model, feature=feature)
    number = published.number if published else 0
    named = f"by revision {number} of your prices" if number else "by the price table"
    if dry_run:
        with common.explained(), closing(Reader(common.address(settings))) as reader:
            kept_ground(reader, span.start, now=now, retention=settings.retention)
            with common.progress("reprice") as progress:
                found = changes.rehearsal(reader, span, book, limit=limit, progress=progress)
        if as_json:
            typer.echo(json.dumps(changes.as_json(found, span) | {"dry_run": True}))
        else:
            changes.tell(found, span, named)
        return
    with (
        common.explained(interrupted=INTERRUPTED),
        correcting(settings, "a re-pricing") as (reader, writer, claim),
        common.progress("reprice") as progress,
    ):
        repricer = Repricer(reader, writer, claim, book, number, retention=settings.retention, progress=progress)
        done = repricer.run(span, by=by or getpass.getuser(), reason=reason)
    if as_json:
        typer.echo(json.dumps(_as_json(done, span)))
    else:
        _tell(done, span, named)
    if done.restless:
        raise typer.Exit(common.EXIT_FAILED)


def _require_bounds(reason: str, by: str) -> None:
    for option, text in (("--reason", reason), ("--by", by)):
        if len(text) > TEXT_CHARS_MAX:
            told = f"{option} has {len(text):,} characters, {TEXT_CHARS_MAX:,} are allowed; nothing was changed"
            common.fail(told, status=common.EXIT_USAGE)


def _as_json(done: Repriced, span: Span) -> dict[str, Any]:
    return {
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
        "dry_run": False,
        "repricing": done.run.number if done.run else None,
        "price_revision": done.run.price_revision if done.run else None,
        "build": done.run.build if done.run else None,
        "changed_calls": done.calls,
        "cost_usd_before": f"{done.cost_usd_before:f}",
        "cost_usd": f"{done.cost_usd:f}",
        "difference_usd": f"{done.cost_usd - done.cost_usd_before:f}",
        "corrected_rows": done.corrected,
        "uncorrected_rows": done.restless,
        "broken_off": [run.number for run in done.finished],
    }


def _tell(done: Repriced, span: Span, named: str) -> None:
    for run in done.finished:
        told = f"re-pricing {run.number}, begun {changes.said(run.begun_at)} by {run.begun_by}, had broken off: what"
        common.say(f"{told} it had changed by then stands, and the rollups are right")
    where = f"{changes.said(span.start)} until before {changes.said(span.end)}, {named}"
    if done.run is None:
        common.say(f"{where}: every call has its price already, nothing was changed")
    else:
        costs = f"{done.cost_usd_before:f} USD -> {done.cost_usd:f} USD"
        difference = f"{done.cost_usd - done.cost_usd_before:+f}"
        common.say(f"{where}: re-pricing {done.run.number}")
        common.say(f"{common.counted(done.calls, 'call')} changed: {costs} ({difference})")
        common.say(f"{common.counted(done.corrected, 'rollup row')} corrected; by hour, model and feature:")
        sql = f"SELECT * FROM cost_adjustments WHERE repricing = {done.run.number}"  # noqa: S608 - a number
        common.say_command(f'costream query "{sql}"')
    if done.restless:
        rows = common.counted(done.restless, "rollup row")
        common.say(f"{rows} went on changing while they were compared. Correct them with")
        common.say_command("costream audit --repair")
