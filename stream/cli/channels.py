"""costream channels: where alerts reach people, and whether they get through."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from costream.alerts import Alert, Level
    from stream.notify.lane import Due
    from stream.notify.receivers import Receiver, Receivers
    from stream.notify.secrets import Secrets
    from stream.runtime.settings import Settings

app: Final = typer.Typer(no_args_is_help=True, help="Where alerts reach people, and whether they get through.")

Files = Annotated[
    list[Path] | None,
    typer.Option("--rules", help="A file of rules in place of those that are published; may be given several times."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON array.")]


@app.command("list")
def list_channels(files: Files = None, as_json: Json = False) -> None:
    """List the channels that are on, each with the levels that it is told, what is not set of its secrets, and what
    became of its last messages. Asks the warehouse; with --rules nothing is asked.

    Examples: costream channels list · costream channels list --rules our-rules.toml --json
    """
    settings = common.settings()
    secrets = _secrets(settings)
    with _receivers(files, settings) as (receivers, last):
        found = [_told_of(receiver, secrets, last.get(receiver.name)) for receiver in receivers.all]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        _say(one)
    if not found:
        common.say("no channel is on: alerts are on usage.alerts alone. docs/channels.md says how to add one")


@app.command()
def test(
    names: Annotated[list[str] | None, typer.Argument(help="Names of channels; none: all that are on.")] = None,
    files: Files = None,
    as_json: Json = False,
) -> None:
    """Send a sample alert to each channel, now and once, and say which it reached. Exit status 1 if one did not get
    through. Nothing is written to the ledger or to usage.alerts.

    Examples: costream channels test · costream channels test slack --rules our-rules.toml
    """
    from stream.notify.lane import Due

    settings = common.settings()
    secrets = _secrets(settings)
    with _receivers(files, settings) as (receivers, _):
        chosen = [one for one in receivers.all if not names or one.entry.name in names or one.entry.kind in names]
    if unknown := {*(names or ())} - {word for one in receivers.all for word in (one.entry.name, one.entry.kind)}:
        common.fail(f"no channel is named {', '.join(sorted(unknown))}, or it is off", status=common.EXIT_USAGE)
    found = []
    for receiver in chosen:
        due = Due(_sample(max(receiver.entry.from_level, _info())), reminder=0, attempt=1)
        found.append(outcome := _sent(receiver, due, secrets, settings.dashboard_url))
        if not as_json:
            _say_sent(outcome)
    if as_json:
        typer.echo(json.dumps(found))
    if not chosen:
        common.fail("no channel is on: there is nothing to test")
    if not all(one["delivered"] for one in found):
        raise typer.Exit(common.EXIT_FAILED)


# --- what is asked ---------------------------------------------------------------------------------------------------


@contextmanager
def _receivers(
    files: list[Path] | None, settings: Settings
) -> Iterator[tuple[Receivers, Mapping[str, Mapping[str, Any]]]]:
    """Those of the files, or of the rules that are published; and of each what was last tried."""
    from stream.cli.rules import files as rule_files
    from stream.notify.receivers import Receivers

    if files:
        rates = rule_files.rates_of(())
        yield Receivers.of(rule_files.rulebook_of(rule_files.texts_of(files), rates)), {}
        return
    address = common.address(settings)
    from sinks.clickhouse.deliveries import last_of_channels
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.rule_revisions import RULES

    with common.explained(), closing(Reader(address)) as reader:
        newest = RULES.newest(reader)
        last = last_of_channels(reader)
    texts = newest.files if newest else {}
    yield Receivers.of(rule_files.rulebook_of(texts, rule_files.rates_of(()))), last


def _secrets(settings: Settings) -> Secrets:
    from stream.notify.secrets import Secrets

    return Secrets(os.environ, settings.secrets_dir)


def _told_of(receiver: Receiver, secrets: Secrets, last: Mapping[str, Any] | None) -> dict[str, Any]:
    entry = receiver.entry
    return {
        "channel": receiver.name,
        "kind": entry.kind,
        "from_level": entry.from_level.value,
        "by_default": entry.by_default,
        "missing_secrets": [secrets.variable(name) for name in entry.secrets if not secrets.has(name)],
        "last_outcome": last["outcome"] if last else None,
        "last_at": last["last_at"].isoformat() if last else None,
        "last_reason": (last["reason"] or None) if last else None,
    }


def _info() -> Level:
    from costream.alerts import Level

    return Level.INFO


def _sample(level: Level) -> Alert:
    from costream.alerts import Alert

    now = datetime.now(UTC).replace(microsecond=0)
    return Alert(
        alert_id=f"sample-{uuid4().hex[:12]}",
        revision=1,
        status="open",
        level=level,
        rule="sample",
        title="A sample from costream",
        message="This is a sample: nothing has happened. Somebody has run `costream channels test`.",
        metric_name="sample",
        scope="system",
        window_start=now,
        window_end=now,
        current_value=1,
        threshold_value=1,
        expected_value=None,
        ratio=None,
        unpriced_calls=0,
        timestamp=now,
    )


def _sent(receiver: Receiver, due: Due, secrets: Secrets, dashboard: str) -> dict[str, Any]:
    from sinks.channels.notice import NotDelivered, NotDeliveredToAll

    delivered, reason = True, ""
    try:
        receiver.channel(secrets).send(receiver.notice(due, dashboard))
    except NotDeliveredToAll as error:
        reason = str(error)
    except NotDelivered as error:
        delivered, reason = False, str(error)
    return {"channel": receiver.name, "kind": receiver.entry.kind, "delivered": delivered, "reason": reason or None}


# --- what is told ----------------------------------------------------------------------------------------------------


def _say(one: Mapping[str, Any]) -> None:
    levels = f"from {one['from_level']}" if one["by_default"] else "only what rules that name it tell"
    common.console.print(Text(f"{one['channel']}  {one['kind']}, {levels}", style="bold"), soft_wrap=True)
    for missing in one["missing_secrets"]:
        common.say(f"{missing} is not set here, nor its file: nothing gets through", indent=4, style="red")
    if one["last_outcome"]:
        reason = f": {common.visible(one['last_reason'])}" if one["last_reason"] else ""
        common.say(f"{one['last_at']}: {one['last_outcome']}{reason}", indent=4, style="dim")


def _say_sent(one: Mapping[str, Any]) -> None:
    line = Text(f"{one['channel']}  ", style="bold")
    line.append("delivered" if one["delivered"] else "not delivered", style="green" if one["delivered"] else "red")
    line.append(f": {common.visible(one['reason'])}" if one["reason"] else "")
    common.console.print(line, soft_wrap=True)
