"""``costream topics create|list``: the six topics, made as specified and shown as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stream.cli.common import EXIT_FAILED, console, explained, settings

if TYPE_CHECKING:
    from stream.runtime.topics import TopicState

app: Final = typer.Typer(help="The Kafka topics: create what is missing, show what is there.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON array instead of lines for people.")]


@app.command()
def create(
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Partitions of usage.events (default 12 for a new topic): the most workers that can share the load. "
            "A topic with fewer is grown to it; none can be taken away.",
        ),
    ] = None,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, max=9, help="Copies of each partition (default: 3, or one a broker).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing. What exists is left alone; how it differs is said.

    Example: costream topics create --partitions 24 --replication-factor 3
    """
    from stream.runtime.topics import create as create_topics

    with explained():
        states = create_topics(settings(), partitions=partitions, replication_factor=replication_factor)
    _show(states, as_json=as_json)


@app.command("list")
def list_topics(as_json: Json = False) -> None:
    """The six topics as Kafka has them. Exit status 1 if one is missing.

    Example: costream topics list --json
    """
    from stream.runtime.topics import describe

    with explained():
        states = describe(settings())
    _show(states, as_json=as_json)
    if any(state.partitions is None for state in states):
        raise typer.Exit(EXIT_FAILED)


def _show(states: Sequence[TopicState], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    for state in states:
        console.print(_line(state), markup=False, highlight=False, soft_wrap=True)
        for difference in state.differences:
            console.print(f"  differs: {difference}", markup=False, highlight=False, soft_wrap=True)


def _line(state: TopicState) -> str:
    if state.partitions is None:
        return f"{state.name}: missing; `costream topics create` creates it"
    done = {"none": "", "created": "created, ", "grown": "grown, "}[state.action]
    parts = "1 partition" if state.partitions == 1 else f"{state.partitions} partitions"
    copies = "1 copy" if state.replication_factor == 1 else f"{state.replication_factor} copies"
    return f"{state.name}: {done}{parts}, {copies}, id {state.topic_id or 'not told'}"
