"""costream replay: publish a trace."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from stream.cli import common

if TYPE_CHECKING:
    from costream import UsageEvent

FLUSH_SECONDS_MAX = 60.0


def replay(
    file: Annotated[Path, typer.Argument(help="A trace CSV (TIMESTAMP,ContextTokens,GeneratedTokens) or JSON Lines.")],
    span: Annotated[str, typer.Option(help="For a CSV: stretch the arrivals over this time up to now.")] = "1h",
    provider: Annotated[str, typer.Option(help="For a CSV: who answered.")] = "openai",
    model: Annotated[str, typer.Option(help="For a CSV: what answered.")] = "gpt-4o-mini",
    feature: Annotated[str, typer.Option(help="For a CSV: the product feature that asked.")] = "",
    run: Annotated[str, typer.Option(help="For a CSV: the ids are derived from this name; empty is the file's.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the events as JSON Lines, publish none.")] = False,
) -> None:
    """Publish every request of FILE to usage.events. A second replay under the same name counts nothing twice.

    The whole file is read first: if a line is bad, nothing is published.

    Example: costream replay trace.csv --feature chatbot --span 24h --dry-run | head
    """
    from costream.topics import EVENTS

    settings = common.settings()
    with common.explained():
        events = _read(file, span, run=run or file.name, provider=provider, model=model, feature=feature)
        if dry_run:
            for event in events:
                typer.echo(event.to_json())
            return
        _publish(events, settings.kafka_bootstrap_servers, settings.topic(EVENTS))


def _read(file: Path, span: str, *, run: str, provider: str, model: str, feature: str) -> list[UsageEvent]:
    from stream.demo.trace import as_events, read_events, read_requests, stretched

    if ".csv" not in file.suffixes:
        return read_events(file)
    requests = stretched(read_requests(file), span=common.duration(span, option="--span"), until=datetime.now(UTC))
    return list(as_events(requests, run=run, models=[(provider, model)], feature=feature))


def _publish(events: list[UsageEvent], bootstrap_servers: str, topic: str) -> None:
    from costream import UsageProducer

    with UsageProducer(bootstrap_servers=bootstrap_servers, topic=topic, queue_events_max=len(events) + 1) as client:
        for event in track(events, "publishing", console=common.errors, disable=not common.errors.is_terminal):
            client.record(event)
        unsafe = client.flush(FLUSH_SECONDS_MAX)
        stats = client.stats()
    common.console.print(f"{len(events):,} events: {stats.delivered:,} acknowledged by {topic}")
    if unsafe or stats.spooled:
        common.fail(
            f"{unsafe + stats.spooled:,} were not acknowledged; they are in the spool and go out once Kafka is back"
        )
