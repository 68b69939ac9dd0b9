"""costream alerts tail, list and show: what was raised, as it comes and as it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from costream.alerts import Alert

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line: the bytes on the topic.")]


def tail(
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest alert the topic still has.")
    ] = False,
    as_json: AsJson = False,
    follow: Annotated[bool, typer.Option(help="Wait for more; without it, print what the topic has and end.")] = True,
) -> None:
    """Print every alert on usage.alerts as it comes. Reads as an outsider: no consumer group, nothing committed.

    Examples: costream alerts tail · costream alerts tail --no-follow --json | jq .title
    """
    settings = common.settings()
    from stream.watch.alert_topic import Unreadable, alert_feed

    with common.explained():
        for each in alert_feed(settings, from_beginning=from_beginning or not follow, follow=follow):
            if isinstance(each, Unreadable):
                place = f"{settings.topic('usage.alerts')}[{each.partition}]@{each.offset}"
                common.errors.print(Text(f"costream: {place} is not an alert, passed over: {each.reason}"))
            else:
                tell(each, as_json=as_json)


def list_alerts(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are cleared or retracted.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The latest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the alerts in the warehouse that stand now, the latest first, each in its latest revision.

    Examples: costream alerts list · costream alerts list --all --limit 10
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.stored_alerts import latest_alerts

    with common.explained():
        alerts = latest_alerts(Reader(address), standing_only=not everything, limit=limit)
    for alert in alerts:
        tell(alert, as_json=as_json)
    if not alerts and not as_json:
        common.console.print("no alerts" if everything else "no alert stands; --all shows those that ended")


def show(
    alert_id: Annotated[str, typer.Argument(help="As `costream alerts list` prints it.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show one alert: every revision, who was told of it and when, and what people have done. Exit status 1 if there is
    no such alert. Asks the warehouse.

    Example: costream alerts show 5e1f09c2ab34d1207788aa10
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.acts import acts_of
    from sinks.clickhouse.deliveries import deliveries_of
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.stored_alerts import revisions_of

    with common.explained(), closing(Reader(address)) as reader:
        revisions = revisions_of(reader, alert_id)
        told, acts = deliveries_of(reader, alert_id), acts_of(reader, alert_id)
    if not revisions:
        common.fail(f"no alert {alert_id!r} is stored; `costream alerts list --all` has the ids")
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "revisions": [json.loads(alert.to_json()) for alert in revisions],
                    "deliveries": [plain_values(row) for row in told],
                    "acts": [plain_values(asdict(act)) for act in acts],
                }
            )
        )
        return
    for alert in revisions:
        tell(alert, as_json=False)
    for row in told:
        _say_told(row)
    for act in acts:
        note = f": {common.visible(act.note)}" if act.note else ""
        until = f"seen to by {common.visible(act.acted_by)}, until {moment(act.until)}"
        common.say(f"{moment(act.at)}  {until}{note}", indent=4)


def _say_told(row: Mapping[str, Any]) -> None:
    what = f"revision {row['revision']}" + (f", reminder {row['reminder']}" if row["reminder"] else "")
    tries = common.counted(row["attempts"], "attempt")
    reason = f": {common.visible(row['reason'])}" if row["reason"] else ""
    common.say(f"{moment(row['last_at'])}  {row['channel']}: {what} {row['outcome']}, {tries}{reason}", indent=4)


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def plain_values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def tell(alert: Alert, *, as_json: bool) -> None:
    """Titles and messages on the topic may be anybody's: nothing in them may steer the terminal."""
    from costream.alerts import plain

    if as_json:
        typer.echo(alert.to_json())
        return
    line = Text(f"{alert.timestamp:%Y-%m-%d %H:%M:%S} UTC  ")
    line.append(f"{alert.level.value.upper():9}", style=common.LEVELS[alert.level.value] if alert.standing else "dim")
    line.append(f"  {alert.status:9}  {plain(alert.title)}", style="bold" if alert.standing else "")
    line.append(f"\n    {plain(alert.message)}\n    {plain(alert.alert_id)} revision {alert.revision}", style="dim")
    common.console.print(line, soft_wrap=True)
