"""costream rules: budgets, limits and what is unusual, in files and as published revisions."""

from __future__ import annotations

from typing import Final

import typer

from stream.cli.rules.files import check, test
from stream.cli.rules.revisions import diff, list_revisions, publish, show_revision

app: Final = typer.Typer(
    no_args_is_help=True, help="What is worth an alert: check the files, try them on a history, publish them."
)

for command in (check, test, diff, publish):
    app.command()(command)
app.command("list")(list_revisions)
app.command()(show_revision)
