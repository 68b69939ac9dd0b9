"""The command ``costream``: one module a command, assembled here."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import typer
from typer.core import TyperCommand, TyperGroup

# command -> module:function; the modules import heavy libraries only inside their functions
COMMANDS: Final = {
    "demo": "demo:demo",
    "up": "up:up",
    "status": "status:status",
    "worker": "worker:worker",
    "replay": "replay:replay",
    "serve": "serve:serve",
    "mcp": "mcp:mcp",
    "query": "query:query",
    "explain": "explain:explain",
    "clickhouse": "clickhouse:clickhouse",
    "audit": "audit:audit",
    "reprice": "reprice:reprice",
    "reconcile": "reconcile:reconcile",
    "forecast": "forecast:forecast",
    "rebuild": "rebuild:rebuild",
    "reread": "reread:reread",
    "config": "config:config",
}
GROUPS: Final = {
    "topics": "topics",
    "migrate": "migrate",
    "alerts": "alerts",
    "budgets": "budgets",
    "channels": "channels",
    "deadletter": "deadletter",
    "prices": "prices",
    "rules": "rules",
}


class Whole:
    """In a list of commands it stands with its whole first paragraph; typer would cut it to one line."""

    help: str | None

    def get_short_help_str(self, limit: int = 45) -> str:
        return " ".join((self.help or "").split("\n\n")[0].split())


class Command(Whole, TyperCommand): ...


class Group(Whole, TyperGroup): ...


def application(only: str = "") -> typer.Typer:
    """All commands; or ``only`` one of them, so that the libraries and options of the others are not loaded."""
    app = typer.Typer(
        name="costream",
        help="What every paid API call costs, exactly and now.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # help is plain text: what draws boxes takes longer to load than a command takes
        pretty_exceptions_enable=False,  # its tracebacks show local variables, and those hold secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_nothing)  # without it, typer takes a lone command for the whole application
    for name, place in COMMANDS.items():
        module, function = place.split(":")
        if only in {"", name}:
            app.command(name, cls=Command)(getattr(importlib.import_module(f"stream.cli.{module}"), function))
    for name, module in GROUPS.items():
        if only in {"", name}:
            group: typer.Typer = importlib.import_module(f"stream.cli.{module}").app
            for info in group.registered_commands:
                info.cls = Command
            app.add_typer(group, name=name, cls=Group)
    return app


def _nothing() -> None:
    pass


def main() -> None:
    asked = "".join(sys.argv[1:2])
    application(only=asked if asked in {*COMMANDS, *GROUPS} else "")()
