"""costream reread: bring back raw rows and dead letters that the warehouse has lost, from Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from stream.cli import common

if TYPE_CHECKING:
    from stream.audit import AuditReport, Repairs
    from stream.reread import EventLog, Offsets, Outcome
    from stream.runtime.settings import Settings

TOLD: Final = {
    "records": "records that Kafka has",
    "stored": "raw rows are there",
    "restored": "raw rows are missing",
    "counted_again": "missing, and counted once more by a later record",
    "removed": "taken out by `audit --repair`: they stay out",
    "duplicates": "duplicates of a counted id",
    "forwarded": "forwarded to the partition of their id",
    "beyond_retention": "older than the retention",
    "dead_letters": "dead letters are there",
    "dead_letters_restored": "dead letters are missing",
    "unclear": "not clear: left alone",
    "missing_in_kafka": "offsets that Kafka has no more",
}


def reread(
    places: Annotated[
        list[str] | None,
        typer.Option("--topic-partition", metavar="TOPIC:PARTITION", help="Such as usage.events:3; several allowed."),
    ] = None,
    first: Annotated[int | None, typer.Option("--from", min=0, help="The first offset.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=0, help="The last offset, included.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only what arrived since then (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only what arrived before then (UTC).")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="The blocks of offsets of which the audit misses rows.")
    ] = False,
    rewind: Annotated[
        bool, typer.Option("--rewind", help="Set the group back to the ledger's end, where it is ahead of it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Write. Without it, say what would be written.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Afterwards `audit --repair`, which rebuilds rollups from raw rows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Read offsets again from Kafka and write the raw rows and dead letters that are missing; workers may go on.

    A rehearsal unless --yes is given. Only offsets that a worker has applied: rollups and ledger have counted them and
    are not touched, so nothing counts twice. What was taken out on purpose stays out.

    Examples: costream reread --missing · costream reread --topic-partition usage.events:3 --from 1200 --to 5400 --yes
    """
    from costream.topics import EVENTS

    settings = common.settings()
    address = common.address(settings)
    if rewind:
        _rewind(settings, yes=yes)
    if not missing and not places and not since and not until:
        common.fail("say what to read again: --missing, --topic-partition or --since", status=common.EXIT_USAGE)
    if repair and not yes:
        common.fail("--repair writes: it needs --yes; nothing was written", status=common.EXIT_USAGE)
    from contextlib import closing

    from sinks.clickhouse.reader import Reader
    from stream.reread import EventLog

    topic = settings.topic(EVENTS)
    partitions = [_partition(place, topic) for place in places or ()]
    with common.explained(), closing(Reader(address)) as reader, closing(EventLog(settings, topic)) as log:
        asked = _missing(settings, reader, partitions) if missing else _asked(settings, log, partitions, first, last)
        asked = [each for each in (_in_time(log, each, since, until) for each in asked) if each.first <= each.last]
        outcomes = _reread(settings, reader, log, asked, write=yes)
        repairs, report = _afterwards(settings, reader, outcomes, repair=repair) if yes else (None, None)
    if as_json:
        typer.echo(_json(outcomes, repairs, report, written=yes))
    else:
        _print(topic, outcomes, repairs, report, written=yes)
    left = any(outcome.notes for outcome in outcomes) or (report is not None and not report.holds)
    raise typer.Exit(common.EXIT_FAILED if left else 0)


# --- setting the group back ---


def _rewind(settings: Settings, *, yes: bool) -> NoReturn:
    from contextlib import closing

    from costream.topics import EVENTS
    from sinks.clickhouse.reader import Reader
    from stream import reread as way_back
    from stream.audit import kafka_facts
    from stream.audit.checks import ledger_checks
    from stream.audit.ground import ground

    now = datetime.now(UTC)
    with common.explained(), closing(Reader(common.address(settings))) as reader:
        facts = kafka_facts(settings)  # before the ledger is read, which must not be the older one
        on = ground(reader, now=now, retention=settings.retention)
        asked = way_back.rewinds(ledger_checks(reader, on, now=now).partitions, facts)
        if asked and yes:
            way_back.rewind(settings, settings.topic(EVENTS), asked)
    for each in asked:
        gone = f"; {each.gone:,} offsets before that are gone from Kafka" if each.gone else ""
        common.say(f"partition {each.partition}: committed {each.committed:,}, back to {each.back_to:,}{gone}")
    if not asked:
        common.say("nothing to set back: all that the group has committed is in the ledger")
    elif yes:
        common.say("set back; start the workers: they read it again, and what is stored is not counted twice")
    else:
        common.say("a rehearsal: nothing was changed. Stop all workers, then say it again with --yes")
    raise typer.Exit(0)


# --- what is asked for -----------------------------------------------------------------------------------------------


def _partition(place: str, topic: str) -> int:
    from costream.topics import EVENTS

    name, colon, number = place.rpartition(":")
    if not colon or not number.isdigit() or name not in (topic, EVENTS):
        common.fail(f"--topic-partition {place!r} is not {topic}:NUMBER; nothing was written", status=common.EXIT_USAGE)
    return int(number)


def _asked(
    settings: Settings, log: EventLog, partitions: Sequence[int], first: int | None, last: int | None
) -> list[Offsets]:
    from costream.topics import EVENTS
    from stream.reread import Offsets
    from stream.runtime import topics

    count = topics.partition_count(settings, settings.topic(EVENTS))
    strange = [partition for partition in partitions if partition >= count]
    if strange:
        common.fail(f"there is no partition {strange[0]}: the topic has {count}", status=common.EXIT_USAGE)
    asked = []
    for partition in partitions or range(count):
        end = log.ends(partition).end - 1 if last is None else last
        asked.append(Offsets(partition, first or 0, end))
    return asked


def _in_time(log: EventLog, asked: Offsets, since: datetime | None, until: datetime | None) -> Offsets:
    from stream.reread import Offsets

    first, last = asked.first, asked.last
    if since:
        first = max(first, log.offset_at(asked.partition, _utc(since)))
    if until:
        last = min(last, log.offset_at(asked.partition, _utc(until)) - 1)
    return Offsets(asked.partition, first, last)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _missing(settings: Settings, reader: Any, partitions: Sequence[int]) -> list[Offsets]:
    """The blocks that the audit finds short of rows."""
    from costream.topics import EVENTS
    from stream.audit.checks import ledger_checks
    from stream.audit.ground import ground
    from stream.audit.steps import short_of
    from stream.reread import Offsets
    from stream.runtime.topics import source_of

    now = datetime.now(UTC)
    on = ground(reader, now=now, retention=settings.retention)
    short = short_of(ledger_checks(reader, on, now=now))
    source = source_of(settings, settings.topic(EVENTS))
    return [
        Offsets(each.partition, each.first, each.last)
        for each in short
        if each.source == source and (not partitions or each.partition in partitions)
    ]


# --- doing it --------------------------------------------------------------------------------------------------------


def _reread(settings: Settings, reader: Any, log: EventLog, asked: Sequence[Offsets], *, write: bool) -> list[Outcome]:
    from contextlib import closing

    from costream.topics import EVENTS
    from sinks.clickhouse.writer import Writer
    from stream.decode.frame import AgeLimits
    from stream.price_revisions import book_in_force
    from stream.reread import Derive, reread
    from stream.runtime import topics
    from stream.runtime.topics import source_of

    derive = Derive(
        source=source_of(settings, settings.topic(EVENTS)),
        partition_count=topics.partition_count(settings, settings.topic(EVENTS)),
        book=book_in_force(reader),
        limits=AgeLimits(future_max=settings.event_future_max, past_max=settings.retention),
        dedup_window=settings.dedup_window,
    )
    with closing(Writer(common.address(settings))) as writer, common.progress("reread") as progress:
        now = datetime.now(UTC)
        return reread(log, reader, writer if write else None, asked, derive=derive, now=now, progress=progress)


def _afterwards(
    settings: Settings, reader: Any, outcomes: Sequence[Outcome], *, repair: bool
) -> tuple[Repairs | None, AuditReport]:
    """Whether it all adds up now, as far back as something was restored."""
    from stream import audit as auditing
    from stream.cli.audit import repaired

    oldest = min((outcome.oldest for outcome in outcomes if outcome.oldest), default=None)
    with common.progress("audit") as progress:
        repairs = repaired(settings, None, progress) if repair else None
        since = None if repair else oldest or datetime.now(UTC)
        report = auditing.audit(reader, since=since, retention=settings.retention, progress=progress)
    return repairs, report


# --- on the screen ---------------------------------------------------------------------------------------------------


def _json(outcomes: Sequence[Outcome], repairs: Repairs | None, report: AuditReport | None, *, written: bool) -> str:
    import json

    from stream.cli.audit import repairs_told

    return json.dumps(
        {
            "written": written,
            "read": [outcome.to_dict() for outcome in outcomes],
            "repairs": repairs_told(repairs),
            "audit": report.to_dict() if report else None,
        }
    )


def _print(
    topic: str, outcomes: Sequence[Outcome], repairs: Repairs | None, report: AuditReport | None, *, written: bool
) -> None:
    from stream.cli.audit import say_repairs, say_steps

    for outcome in outcomes:
        at = outcome.offsets
        common.say(f"{topic}:{at.partition}, offsets {at.first:,}-{at.last:,}", style="bold")
        for name, meaning in TOLD.items():
            if number := getattr(outcome, name):
                common.say(f"{number:>13,}  {meaning}{_done(name, written)}")
        for note in outcome.notes:
            common.say(note, indent=2)
    if not outcomes:
        common.say("nothing to read again: the audit misses no raw row and no dead letter of this topic")
        return
    rows = sum(outcome.restored for outcome in outcomes)
    letters = sum(outcome.dead_letters_restored for outcome in outcomes)
    done = "written" if written else "would be written; this was a rehearsal, --yes writes"
    common.say(f"{common.counted(rows, 'raw row')} and {common.counted(letters, 'dead letter')} {done}", style="bold")
    if repairs is not None:
        say_repairs(repairs)
    if report is not None:
        say_steps(report)


def _done(name: str, written: bool) -> str:
    done = {
        "restored": ("would be added", "added"),
        "dead_letters_restored": ("would be added", "added"),
        "counted_again": ("would be noted as removed", "noted as removed"),
    }
    return f": {done[name][written]}" if name in done else ""
