"""costream deadletter: what was refused and why, and sending it again once it is right."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from stream.runtime.settings import Settings
    from stream.store.deadletter import Place, Refused, Replay
    from stream.store.stored_letters import DeadLetter, Which

app: Final = typer.Typer(no_args_is_help=True, help="List the refused records, and publish corrected ones again.")

KINDS: Final = ("malformed", "invalid", "conflict", "too_early", "too_old")

Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="malformed, invalid, conflict, too_early or too_old; may be given several times."),
]
RequestIds = Annotated[list[str] | None, typer.Option("--request-id", help="Of this call; may be given several times.")]
Since = Annotated[datetime | None, typer.Option(help="Only what arrived since then (UTC).")]


@app.command("list")
def list_letters(
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The latest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as `export` writes them.")] = False,
) -> None:
    """List refused records, the latest first, with the reason of each.

    Examples: costream deadletter list · costream deadletter list --request-id 7d0f3c5e --json
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from stream.store.stored_letters import latest

    with common.explained(), closing(Reader(address)) as reader:
        found = latest(reader, _which(kind, request_id, since), limit=limit)
    for letter in found:
        _show(letter, as_json=as_json)
    if not found and not as_json:
        common.console.print("no dead letters")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; it must not exist.")],
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
) -> None:
    """Write refused records to a file as JSON Lines, to correct them there: edit `event`, leave the rest.
    Of a letter that was too large only the head is there (`cut` says of what): put the whole in its place.

    Example: costream deadletter export bad.jsonl --kind invalid, edit it, costream deadletter replay --edit bad.jsonl
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from stream.store.stored_letters import letters

    count = 0
    with common.explained(), closing(Reader(address)) as reader:
        try:
            with file.open("x", encoding="utf-8") as lines:
                for letter in letters(reader, _which(kind, request_id, since)):
                    lines.write(letter.to_json() + "\n")
                    count += 1
        except OSError as error:
            common.fail(f"{file} cannot be written: {error.strerror}", status=common.EXIT_USAGE)
    common.console.print(Text(f"{count} dead letters in {file}"))


@app.command()
def replay(
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    edit: Annotated[
        Path | None, typer.Option(help="Corrected lines of an exported file: only the letters in it are sent.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE in every letter sent; may be given several times.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
) -> None:
    """Publish refused records again to usage.events: as they came, or corrected. Each must pass the contract first;
    those that do not are named with the reason and stay. Sending one twice counts it once.

    Exit status 1 if any was refused.

    Examples: costream deadletter replay --kind too_early ·
    costream deadletter replay --kind invalid --set provider=openai --dry-run
    """
    settings = common.settings()
    from stream.store.deadletter import BadCorrection, Refused, assignments, corrections

    try:
        fields = assignments(assign or [])
        edited = corrections(iter(edit.read_text(encoding="utf-8").splitlines())) if edit else None
    except (BadCorrection, OSError, UnicodeDecodeError) as error:
        common.fail(str(error), status=common.EXIT_USAGE)
    if not (kind or request_id or since or edit):
        common.fail("say which: --kind, --request-id, --since or --edit; nothing was sent", status=common.EXIT_USAGE)
    sent = refused = 0
    unknown = set(edited or ())
    outcomes = _outcomes(settings, _which(kind, request_id, since), edited, fields, dry_run=dry_run)
    with common.explained(), closing(outcomes):
        for outcome in outcomes:
            letter = outcome.letter
            unknown.discard((letter.source, letter.partition, letter.offset))
            if isinstance(outcome, Refused):
                refused += 1
                common.errors.print(Text(f"refused {outcome.letter.place}: {_harmless(outcome.reason)}"))
            else:
                sent += 1
                _tell(outcome, dry_run=dry_run)
    for place in sorted(unknown):
        refused += 1
        common.errors.print(Text(f"refused {'/'.join(map(str, place))}: there is no such dead letter (any more)"))
    common.console.print(f"{sent} {'would be sent' if dry_run else 'sent'}, {refused} refused")
    raise typer.Exit(common.EXIT_FAILED if refused else 0)


def _outcomes(
    settings: Settings,
    which: Which,
    edited: Mapping[Place, bytes] | None,
    fields: Mapping[str, Any],
    *,
    dry_run: bool,
) -> Generator[Replay | Refused, None, None]:
    """What became of each letter, or would."""
    from costream.topics import EVENTS
    from sinks.clickhouse.reader import Reader
    from stream.decode.frame import AgeLimits
    from stream.runtime.kafka import kafka_config
    from stream.store.deadletter import publish, replays
    from stream.store.outbox import Outbox
    from stream.store.stored_letters import letters

    limits = AgeLimits(future_max=settings.event_future_max, past_max=settings.retention)
    with closing(Reader(common.address(settings))) as reader:
        found = letters(reader, which)
        planned = replays(found, edited=edited, fields=fields, now=datetime.now(UTC), limits=limits)
        if dry_run:
            yield from planned
        else:
            yield from publish(Outbox(kafka_config(settings)), settings.topic(EVENTS), planned)


def _which(kinds: list[str] | None, request_ids: list[str] | None, since: datetime | None) -> Which:
    from stream.store.stored_letters import Which

    if unknown := sorted(set(kinds or ()) - set(KINDS)):
        common.fail(f"--kind {unknown[0]!r} is none of {', '.join(KINDS)}", status=common.EXIT_USAGE)
    return Which(kinds or (), request_ids or (), _utc(since))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _show(letter: DeadLetter, *, as_json: bool) -> None:
    if as_json:
        typer.echo(letter.to_json())
        return
    line = Text(f"{letter.received_at:%Y-%m-%d %H:%M:%S} UTC  {letter.kind:9}  {_harmless(letter.reason)}")
    line.append(f"\n    {letter.place}  request_id {_harmless(letter.request_id) or 'not readable'}", style="dim")
    if kept := letter.kept_told():
        line.append(f"\n    not all of it is kept: {kept}", style="dim")
    common.console.print(line, soft_wrap=True)


def _tell(outcome: Replay, *, dry_run: bool) -> None:
    done = "would send" if dry_run else "sent"
    how = "corrected" if outcome.corrected else "as it came"
    key = (outcome.message.key or b"").decode()
    common.console.print(Text(f"{done} {outcome.letter.place} {how}, request_id {_harmless(key)}"), soft_wrap=True)


def _harmless(text: str) -> str:
    """Reasons quote what somebody sent: nothing in them may steer the terminal."""
    from costream.alerts import plain

    return plain(text)
