"""costream alerts: what was raised, and what people do about it."""

from __future__ import annotations

from typing import Final

import typer

from stream.cli.alerts.acting import ack, silence, silences
from stream.cli.alerts.reading import list_alerts, show, tail

app: Final = typer.Typer(no_args_is_help=True, help="Follow, list and show the alerts; see to one, or silence some.")

for command in (tail, show, ack, silence, silences):
    app.command()(command)
app.command("list")(list_alerts)
