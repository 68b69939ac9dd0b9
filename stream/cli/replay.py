"""costream replay: publish the calls of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from stream.cli import common

if TYPE_CHECKING:
    from costream import UsageEvent
    from stream.replay.columns import Cached, Columns
    from stream.replay.events import Outcome, Reading
    from stream.replay.source import Fault, Source
    from stream.runtime.settings import Settings

FLUSH_SECONDS_MAX: Final = 60.0
FLUSH_EVENTS: Final = 5_000  # in the producer's memory at once
FAULTS_SHOWN_MAX: Final = 20  # on a terminal; the rest is counted
FAULTS_KEPT_MAX: Final = 1_000  # in --json
NAMES_SHOWN_MAX: Final = 10  # of providers and models that are stored under other names
NAMES_KEPT_MAX: Final = 1_000  # looked at, and in --json


def replay(
    file: Annotated[Path, typer.Argument(help="A table (CSV with , ; tab or |), or JSON Lines of events; .gz too.")],
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN for a name of your own; FIELD= for no column; repeatable."),
    ] = None,
    zone: Annotated[str, typer.Option(help="The zone of times without one, such as UTC or Europe/Berlin.")] = "",
    provider: Annotated[str, typer.Option(help="Who answered, for all rows of a table.")] = "",
    model: Annotated[str, typer.Option(help="What answered, for all rows of a table.")] = "",
    feature: Annotated[str, typer.Option(help="The product feature that asked, for all rows of a table.")] = "",
    cached: Annotated[
        str, typer.Option(help="Whether cached tokens stand inside the input tokens, or beside them.")
    ] = "",
    run: Annotated[str, typer.Option(help="Derive ids from this name and the line, not from the file's bytes.")] = "",
    span: Annotated[str, typer.Option(help="Stretch the times over this long, up to now: 24h, 7d.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the events as JSON Lines, publish none.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what became of the rows as JSON, and no events.")
    ] = False,
) -> None:
    """Publish every call of FILE to usage.events. Publishing a file twice counts nothing twice.

    Columns are known by their usual names; --map says the others. Empty cells are absent. A line that would have to be
    guessed is named with its column, and the rest goes on. A row without a request_id gets one from the file's bytes
    and its line, so that the same file has the same ids. A file that grew is another file: give --run a name then.
    Exit status 1 if a line was refused.

    Example: costream replay calls.csv --provider openai --map occurred_at=When --zone UTC --dry-run
    """
    settings = common.settings()
    with common.explained():
        from stream.replay.source import look_at

        reading = _reading(mapped or [], zone, {"provider": provider, "model": model, "feature": feature}, cached, run)
        source = look_at(file)
        columns, outcomes = _read(source, reading)
        report = Report(str(file), dry_run, _told(columns))
        events = _stretched(report.sort_out(outcomes, shown=not as_json), span)
        if dry_run:
            _print(report.aged(events, settings), shown=not as_json)
        else:
            _publish(report, report.aged(events, settings), settings)
    _say(report, columns, reading, settings, as_json=as_json)
    if report.refused or report.unacknowledged:
        raise typer.Exit(common.EXIT_FAILED)


@dataclass
class Report:
    """What became of the rows."""

    file: str
    dry_run: bool
    columns: dict[str, str]
    events: int = 0
    refused: int = 0
    no_calls: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    too_old: int = 0
    too_early: int = 0
    first: datetime | None = None
    last: datetime | None = None
    faults: list[Fault] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # provider and model as sent: as this build stores them

    def sort_out(self, outcomes: Iterable[Outcome], *, shown: bool) -> Iterator[UsageEvent]:
        from costream import UsageEvent
        from stream.replay.source import Fault

        for outcome in outcomes:
            if isinstance(outcome, UsageEvent):
                self.events += 1
                yield outcome
            elif isinstance(outcome, Fault):
                self._note(outcome, shown=shown)
            else:
                self.no_calls += 1

    def _note(self, fault: Fault, *, shown: bool) -> None:
        self.refused += 1
        if len(self.faults) < FAULTS_KEPT_MAX:
            self.faults.append(fault)
        if shown and self.refused <= FAULTS_SHOWN_MAX:
            _complain(f"{self.file}, {fault}")

    def aged(self, events: Iterable[UsageEvent], settings: Settings) -> Iterator[UsageEvent]:
        """Counts those whose time a worker will refuse, and notes the names that are stored otherwise."""
        sent: dict[tuple[str, str], None] = {}
        now = datetime.now(UTC)
        oldest, youngest = now - settings.retention, now + settings.event_future_max
        for event in events:
            moment = event.occurred_at
            self.first, self.last = min(self.first or moment, moment), max(self.last or moment, moment)
            self.too_old += moment < oldest
            self.too_early += moment > youngest
            if len(sent) < NAMES_KEPT_MAX:
                sent[event.provider, event.model] = None
            yield event
        self.names = dict(_renamed(sent))


def _renamed(sent: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Of those that this build stores under other names: what was sent, and what is stored."""
    from costream.pricing import PriceBook

    book = PriceBook.bundled()
    for names in sent:
        if (stored := book.canonical(*names)) != names:
            yield " ".join(names), " ".join(stored)


def _reading(mapped: list[str], zone: str, given: dict[str, str], cached: str, run: str) -> Reading:
    from stream.replay.columns import field_named
    from stream.replay.events import Reading

    places: dict[str, str] = {}
    for pair in mapped:
        name, equals, column = pair.partition("=")
        if not (equals and field_named(name)):
            _misused(f"--map {pair!r} is not FIELD=COLUMN with a field of an event (docs/event.md)")
        places[name] = column
    if cached not in {"", "inside", "beside"}:
        _misused(f"--cached {cached!r} is neither inside nor beside")
    chosen: Cached = cached  # type: ignore[assignment]  # one of the three, as was just looked
    all_rows = {name: value for name, value in given.items() if value}
    return Reading(mapped=places, given=all_rows, zone=_zone(zone), run=run, cached=chosen)


def _zone(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo

    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # an odd spelling; a folder of zones; no such zone
        _misused(f"--zone {name!r} is no zone of the time zone database, such as UTC or Europe/Berlin")


def _misused(message: str) -> NoReturn:
    common.fail(f"{message}; nothing was published", status=common.EXIT_USAGE)


def _read(source: Source, reading: Reading) -> tuple[Columns | None, Iterator[Outcome]]:
    from stream.replay.events import of_lines, table

    return table(source, reading) if source.is_table else (None, of_lines(source))


def _told(columns: Columns | None) -> dict[str, str]:
    return columns.told() if columns else {}


def _stretched(events: Iterator[UsageEvent], span: str) -> Iterable[UsageEvent]:
    from stream.replay.events import stretched

    if not span:
        return events
    length = common.duration(span, option="--span")
    return stretched(list(events), span=length, until=datetime.now(UTC))


def _print(events: Iterable[UsageEvent], *, shown: bool) -> None:
    for event in events:
        if shown:
            typer.echo(event.to_json())


def _publish(report: Report, events: Iterable[UsageEvent], settings: Settings) -> None:
    from costream import UsageProducer
    from costream.topics import EVENTS

    topic = settings.topic(EVENTS)
    with UsageProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, topic=topic, queue_events_max=2 * FLUSH_EVENTS
    ) as client:
        for number, event in enumerate(events, start=1):
            client.record(event)
            if number % FLUSH_EVENTS == 0:
                client.flush(FLUSH_SECONDS_MAX)
        report.unacknowledged = client.flush(FLUSH_SECONDS_MAX)
        stats = client.stats()
    report.acknowledged = stats.delivered
    report.unacknowledged += stats.spooled + stats.dropped + stats.refused


def _say(
    report: Report,
    columns: Columns | None,
    reading: Reading,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report), default=datetime.isoformat))
        return
    hidden = report.refused - FAULTS_SHOWN_MAX
    if hidden > 0:
        _complain(f"{common.counted(hidden, 'more line')} refused: --json tells the first {FAULTS_KEPT_MAX:,}")
    for line in _summary(report, columns, reading, settings):
        _complain(line) if report.dry_run else common.say(line)


def _summary(report: Report, columns: Columns | None, reading: Reading, settings: Settings) -> Iterator[str]:
    yield _what_became(report)
    if report.first and report.last:
        yield f"from {report.first:%Y-%m-%d %H:%M:%S} to {report.last:%Y-%m-%d %H:%M:%S} UTC"
    if columns:
        yield "fields: " + ", ".join(f"{name} from {column}" for name, column in report.columns.items())
        if unused := columns.unused():
            yield f"columns not used: {', '.join(unused)}"
        if "request_id" not in report.columns:
            base = f"the name {reading.run!r}" if reading.run else "the file's bytes"
            yield f"request_id is derived from {base} and the line: publishing it again counts nothing twice"
    for sent in list(report.names)[:NAMES_SHOWN_MAX]:
        yield f"{sent} is stored as {report.names[sent]}"
    if len(report.names) > NAMES_SHOWN_MAX:
        yield f"{len(report.names) - NAMES_SHOWN_MAX:,} more names are stored as others: --json tells them"
    if report.too_old:
        older, days = common.counted(report.too_old, "event"), settings.retention.days
        yield f"{older} happened before COSTREAM_RETENTION ({days} days): a worker refuses them as too_old"
    if report.too_early:
        later = common.counted(report.too_early, "event")
        yield f"{later} happened in the future: a worker refuses them as too_early. Is the --zone right?"
    if report.unacknowledged:
        missing = common.counted(report.unacknowledged, "event")
        again = "publishing the file again counts nothing twice"
        yield f"{missing} not acknowledged by Kafka; what is in the spool goes out once Kafka is back, and {again}"


def _what_became(report: Report) -> str:
    parts = [common.counted(report.events, "event")]
    parts.append("none published: a rehearsal" if report.dry_run else f"{report.acknowledged:,} acknowledged by Kafka")
    if report.refused:
        parts.append(f"{common.counted(report.refused, 'line')} refused")
    if report.no_calls:
        parts.append(f"{common.counted(report.no_calls, 'row')} without a model or a count passed over")
    return "; ".join(parts)


def _complain(text: str) -> None:
    common.errors.print(common.visible(text), markup=False, highlight=False, soft_wrap=True)
