"""costream deadletter: what was refused and why, and sending it again once it is right."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from stream.runtime.settings import Settings
    from stream.store.deadletter import Place, Refused, Replay
    from stream.store.decisions import State
    from stream.store.stored_letters import DeadLetter, Which

app: Final = typer.Typer(
    no_args_is_help=True, help="List the refused records, publish corrected ones again, and say what is done with."
)

KINDS: Final = ("malformed", "invalid", "conflict", "too_early", "too_old")
SHOWN_OF_REHEARSAL: Final = 5

Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="malformed, invalid, conflict, too_early or too_old; may be given several times."),
]
RequestIds = Annotated[list[str] | None, typer.Option("--request-id", help="Of this call; may be given several times.")]
Since = Annotated[datetime | None, typer.Option(help="Only what arrived since then (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only what arrived before then (UTC).")]
Chosen = Literal["open", "replayed", "given_up", "all"]
By = Annotated[str, typer.Option(help="Your name, kept with the decision.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would be done.")]


@app.command("list")
def list_letters(
    state: Annotated[Chosen, typer.Option(help="Those that are open, replayed or given up, or all.")] = "open",
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The latest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as `export` writes them.")] = False,
) -> None:
    """List refused records, the latest first, with the reason of each. Those that were replayed or given up are left
    out, unless --state asks for them; then it says what was decided, and where a replayed one went.

    Examples: costream deadletter list · costream deadletter list --state all --request-id 7d0f3c5e --json
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from stream.store.stored_letters import latest

    with common.explained(), closing(Reader(address)) as reader:
        found = latest(reader, _which(kind, request_id, since, until, state), limit=limit)
    for letter in found:
        _show(letter, as_json=as_json)
    if not found and not as_json:
        common.console.print("no dead letters" if state == "all" else f"no dead letters that are {_state_told(state)}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; it must not exist.")],
    state: Annotated[Chosen, typer.Option(help="Those that are open, replayed or given up, or all.")] = "open",
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    until: Until = None,
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
                for letter in letters(reader, _which(kind, request_id, since, until, state)):
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
    until: Until = None,
    edit: Annotated[
        Path | None, typer.Option(help="Corrected lines of an exported file: only the letters in it are sent.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE in every letter sent; may be given several times.")
    ] = None,
    by: By = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
) -> None:
    """Publish open letters again to usage.events: as they came, or corrected. Each must pass the contract first;
    those that do not are named with the reason and stay open. Sending one twice counts it once.

    A letter is marked as replayed once Kafka has acknowledged it. If this command is killed in between, it may be sent
    twice. One that is refused again is a new letter. Exit status 1 if any was refused.

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
    if not (kind or request_id or since or until or edit):
        common.fail(
            "say which: --kind, --request-id, --since, --until or --edit; nothing was sent", status=common.EXIT_USAGE
        )
    sent = refused = 0
    unknown = set(edited or ())
    which = _which(kind, request_id, since, until, "all" if edit else "open")  # one in a file is told what it is
    outcomes = _outcomes(settings, which, edited, fields, by=by, dry_run=dry_run)
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


@app.command("give-up")
def give_up(
    reason: Annotated[str, typer.Option(help="Why nothing is lost by it, or why it cannot be helped.")],
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    until: Until = None,
    by: By = "",
    yes: Yes = False,
) -> None:
    """Say of open letters that they will not be sent again. They stay stored, with the reason, until they expire, and
    are no longer listed or counted as open.

    Without --yes it is a rehearsal. `costream deadletter reopen` takes it back.

    Example: costream deadletter give-up --kind malformed --until 2026-11-01 --reason "a load test" --yes
    """
    if not reason.strip():
        common.fail("--reason is empty: say why; nothing was changed", status=common.EXIT_USAGE)
    _decide("given_up", _chosen_which(kind, request_id, since, until, ["open"]), reason=reason, by=by, yes=yes)


@app.command()
def reopen(
    kind: Kinds = None,
    request_id: RequestIds = None,
    since: Since = None,
    until: Until = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: By = "",
    yes: Yes = False,
) -> None:
    """Make letters open again that were given up, or were replayed and have not arrived.

    Without --yes it is a rehearsal.

    Example: costream deadletter reopen --request-id 7d0f3c5e --yes
    """
    which = _chosen_which(kind, request_id, since, until, ["replayed", "given_up"])
    _decide("open", which, reason=reason, by=by, yes=yes)


def _chosen_which(
    kind: list[str] | None,
    request_id: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    states: Sequence[State],
) -> Which:
    if not (kind or request_id or since or until):
        common.fail(
            "say which: --kind, --request-id, --since or --until; nothing was changed", status=common.EXIT_USAGE
        )
    return replace(_which(kind, request_id, since, until, "all"), states=states)


def _decide(state: State, which: Which, *, reason: str, by: str, yes: bool) -> None:
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer
    from stream.store.deadletter import decide
    from stream.store.decisions import REASON_CHARS_MAX, Decision
    from stream.store.stored_letters import counts, latest

    if len(reason) > REASON_CHARS_MAX:
        told = f"--reason has {len(reason):,} characters, and {REASON_CHARS_MAX:,} are kept; nothing was changed"
        common.fail(told, status=common.EXIT_USAGE)
    decision = Decision(state, at=datetime.now(UTC), reason=reason.strip(), by=by)
    doing = {"given_up": "given up", "open": "open again"}[state]
    with common.explained(), closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        if yes:
            common.say(f"{common.counted(decide(reader, writer, which, decision), 'dead letter')} {doing}")
            return
        found, shown = counts(reader, which), latest(reader, which, limit=SHOWN_OF_REHEARSAL)
    for letter in shown:
        _show(letter, as_json=False)
    total = sum(found.values())
    if total > len(shown):
        common.console.print(f"and {total - len(shown):,} more")
    by_kind = ", ".join(f"{kind} {number:,}" for kind, number in found.items())
    common.say(f"{common.counted(total, 'dead letter')} would be {doing}" + (f" ({by_kind})" if by_kind else ""))
    common.say("a rehearsal: nothing was changed. Say it again with --yes")


def _outcomes(
    settings: Settings,
    which: Which,
    edited: Mapping[Place, bytes] | None,
    fields: Mapping[str, Any],
    *,
    by: str,
    dry_run: bool,
) -> Generator[Replay | Refused, None, None]:
    """What became of each letter, or would."""
    from costream.topics import EVENTS
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer
    from stream.decode.frame import AgeLimits
    from stream.runtime.kafka import kafka_config
    from stream.store.deadletter import publish, replays
    from stream.store.outbox import Outbox
    from stream.store.stored_letters import letters

    limits = AgeLimits(future_max=settings.event_future_max, past_max=settings.retention)
    address = common.address(settings)
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        found = letters(reader, which)
        planned = replays(found, edited=edited, fields=fields, now=datetime.now(UTC), limits=limits)
        if dry_run:
            yield from planned
        else:
            outbox = Outbox(kafka_config(settings), tells_places=True)
            topic = settings.topic(EVENTS)
            yield from publish(outbox, writer, topic, planned, clock=lambda: datetime.now(UTC), by=by)


def _which(
    kinds: list[str] | None,
    request_ids: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    state: Chosen,
) -> Which:
    from stream.store.stored_letters import Which

    if unknown := sorted(set(kinds or ()) - set(KINDS)):
        common.fail(f"--kind {unknown[0]!r} is none of {', '.join(KINDS)}", status=common.EXIT_USAGE)
    states: Sequence[State] = () if state == "all" else (state,)
    return Which(kinds or (), request_ids or (), _utc(since), _utc(until), states)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _show(letter: DeadLetter, *, as_json: bool) -> None:
    if as_json:
        typer.echo(letter.to_json())
        return
    line = Text(f"{letter.received_at:%Y-%m-%d %H:%M:%S} UTC  {letter.kind:9}  {_harmless(letter.reason)}")
    line.append(f"\n    {letter.place}  request_id {_harmless(letter.request_id) or 'not readable'}", style="dim")
    if letter.decision is not None:
        line.append(f"\n    {_harmless(letter.decision.told())}", style="dim")
    if before := letter.copy_of:
        line.append(f"\n    sent again as a copy of {_harmless(before)}", style="dim")
    if kept := letter.kept_told():
        line.append(f"\n    not all of it is kept: {kept}", style="dim")
    common.console.print(line, soft_wrap=True)


def _tell(outcome: Replay, *, dry_run: bool) -> None:
    done = "would send" if dry_run else "sent"
    how = "corrected" if outcome.corrected else "as it came"
    key = (outcome.message.key or b"").decode()
    where = f", to {outcome.sent}" if outcome.sent else ""
    line = Text(f"{done} {outcome.letter.place} {how}, request_id {_harmless(key)}{where}")
    common.console.print(line, soft_wrap=True)


def _state_told(state: Chosen) -> str:
    return state.replace("_", " ")


def _harmless(text: str) -> str:
    """Reasons quote what somebody sent: nothing in them may steer the terminal."""
    from costream.alerts import plain

    return plain(text)
