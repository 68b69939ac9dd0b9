"""costream prices: what models cost, what calls would cost, and own prices, in files and as published revisions."""

from __future__ import annotations

from typing import Final

import typer

from stream.cli.prices.questions import check, coverage, diff, quote, show
from stream.cli.prices.rehearse import rehearse
from stream.cli.prices.revisions import list_revisions, publish, show_revision

app: Final = typer.Typer(no_args_is_help=True, help="What models cost, what calls would cost, and prices of your own.")

for command in (show, quote, check, diff, coverage, rehearse, publish):
    app.command()(command)
app.command("list")(list_revisions)
app.command()(show_revision)
