"""costream alerts ack, silence and silences: what people do about alerts, and until when."""

from __future__ import annotations

import getpass
import json
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stream.cli import common
from stream.cli.alerts.reading import moment, plain_values

if TYPE_CHECKING:
    from sinks.clickhouse.acts import Act
    from sinks.clickhouse.connect import ClickHouseAddress

Note = Annotated[str, typer.Option(help="Why, for whoever asks.")]
By = Annotated[str, typer.Option(help="Who does it; else the name that you are logged in by.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def ack(
    alert_id: Annotated[str, typer.Argument(help="As `costream alerts list` prints it.")],
    span: Annotated[str, typer.Option("--for", help="For how long, such as 90m, 24h or 7d.")] = "24h",
    note: Note = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Say that you see to an alert: no channel is reminded of it until then. A later revision of it is news, and is
    told. Exit status 1 if there is no such alert. Workers know it within 10 seconds.

    Example: costream alerts ack 5e1f09c2ab34d1207788aa10 --for 4h --note "the batch is being stopped"
    """
    until = datetime.now(UTC) + common.duration(span, option="--for")
    address = common.address(common.settings())
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.stored_alerts import revisions_of

    with common.explained(), closing(Reader(address)) as reader:
        known = revisions_of(reader, alert_id)
    if not known:
        common.fail(f"no alert {alert_id!r} is stored, nothing was done; `costream alerts list --all` has the ids")
    act = _act("ack", alert_id=alert_id, until=until, by=by, note=note)
    _store(act, address)
    if as_json:
        typer.echo(json.dumps(plain_values(asdict(act))))
    else:
        common.say(f"{known[-1].scope} is seen to until {moment(until)}: nobody is reminded of it")


def silence(
    rule: Annotated[str, typer.Option(help="Of this rule, budget or limit; else of any.")] = "",
    scope: Annotated[str, typer.Option(help="Of this scope, such as feature=chatbot; else of any.")] = "",
    span: Annotated[str, typer.Option("--for", help="For how long, such as 90m, 24h or 7d.")] = "1h",
    end: Annotated[str, typer.Option("--end", metavar="ID", help="End the silence of this id instead.")] = "",
    note: Note = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Tell nobody of some alerts for a while. They are raised, published and stored as ever; what still stands when the
    silence ends is told then. Workers know it within 10 seconds.

    Examples: costream alerts silence --rule hourly_spike --for 2h --note "load test" · costream alerts silence --end
    3f9a1c
    """
    if end:
        _end(end, as_json=as_json)
        return
    if not (rule or scope):
        common.fail(
            "a silence needs --rule or --scope, nothing was silenced; to switch all channels off, take them out of "
            "the rules",
            status=common.EXIT_USAGE,
        )
    until = datetime.now(UTC) + common.duration(span, option="--for")
    act = _act("silence", rule=rule, scope=scope, until=until, by=by, note=note)
    _store(act, common.address(common.settings()))
    if as_json:
        typer.echo(json.dumps(plain_values(asdict(act))))
    else:
        common.say(f"silence {act.act_id} holds until {moment(until)}; `costream alerts silence --end {act.act_id}`")


def silences(as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """List the silences that hold now, and the alerts that somebody sees to. Asks the warehouse.

    Example: costream alerts silences
    """
    found = _in_force(common.address(common.settings()))
    if as_json:
        typer.echo(json.dumps([plain_values(asdict(act)) for act in found]))
        return
    for act in found:
        of = ", ".join(f"{name} {value}" for name, value in (("rule", act.rule), ("scope", act.scope)) if value)
        what = f"alert {act.alert_id}" if act.kind == "ack" else of
        note = f": {act.note}" if act.note else ""
        line = f"{act.act_id}  {act.kind} of {what}, until {moment(act.until)}, by {act.acted_by}{note}"
        common.say(common.visible(line))
    if not found:
        common.say("nothing is silenced, and nobody sees to an alert")


def _end(act_id: str, *, as_json: bool) -> None:
    address = common.address(common.settings())
    found = next((act for act in _in_force(address) if act.act_id == act_id), None)
    if found is None:
        common.fail(f"no silence {act_id!r} holds now, nothing was done; `costream alerts silences` lists them")
    now = datetime.now(UTC)
    ended = replace(found, until=now, at=now)
    _store(ended, address)
    if as_json:
        typer.echo(json.dumps(plain_values(asdict(ended))))
    else:
        common.say(f"{found.kind} {found.act_id} is over")


def _in_force(address: ClickHouseAddress) -> list[Act]:
    from sinks.clickhouse.acts import acts_in_force
    from sinks.clickhouse.reader import Reader

    with common.explained(), closing(Reader(address)) as reader:
        return list(acts_in_force(reader, now=datetime.now(UTC)))


def _act(
    kind: Literal["ack", "silence"],
    *,
    until: datetime,
    by: str,
    note: str,
    alert_id: str = "",
    rule: str = "",
    scope: str = "",
) -> Act:
    from sinks.clickhouse.acts import NOTE_CHARS_MAX, new_act

    if len(note) > NOTE_CHARS_MAX:
        common.fail(f"--note has {len(note):,} characters, of {NOTE_CHARS_MAX:,} at most", status=common.EXIT_USAGE)
    told = {"acted_by": by or getpass.getuser(), "note": note, "alert_id": alert_id, "rule": rule, "scope": scope}
    return new_act(kind, until=until, at=datetime.now(UTC), **told)


def _store(act: Act, address: ClickHouseAddress) -> None:
    from sinks.clickhouse.acts import store_act

    with common.explained():
        store_act(address, act)
