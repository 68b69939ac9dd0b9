"""The command ``costream``: one module a command, assembled here."""

from __future__ import annotations

import importlib
from typing import Final

import typer

# command -> module:function; the modules import heavy libraries only inside their functions
COMMANDS: Final = {
    "demo": "demo:demo",
    "up": "up:up",
    "status": "status:status",
    "worker": "worker:worker",
    "replay": "replay:replay",
    "query": "query:query",
    "clickhouse": "clickhouse:clickhouse",
    "audit": "audit:audit",
    "reread": "reread:reread",
    "config": "config:config",
}
GROUPS: Final = {
    "topics": "topics",
    "migrate": "migrate",
    "alerts": "alerts",
    "deadletter": "deadletter",
}


def application() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="costream",
        help="What every paid API call costs, exactly and now.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # its tracebacks show local variables, and those hold secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, place in COMMANDS.items():
        module, function = place.split(":")
        app.command(name)(getattr(importlib.import_module(f"stream.cli.{module}"), function))
    for name, module in GROUPS.items():
        app.add_typer(importlib.import_module(f"stream.cli.{module}").app, name=name)
    return app


def main() -> None:
    application()()
