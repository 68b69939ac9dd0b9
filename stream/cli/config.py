"""costream config: the settings in force."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from stream.cli import common
from stream.runtime.settings import Settings


def config(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show the settings in force, defaults included; secrets are masked.

    Example: COSTREAM_BATCH_ROWS_MAX=20000 costream config --json
    """
    settings = common.settings()
    if as_json:
        common.console.print_json(settings.model_dump_json())
        return
    table = Table("variable", "value", "meaning", box=None)
    for name, value in json.loads(settings.model_dump_json()).items():
        meaning = Settings.model_fields[name].description or ""
        table.add_row(f"COSTREAM_{name.upper()}", str(value), meaning)
    common.console.print(table)
