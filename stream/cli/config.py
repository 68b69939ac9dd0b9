"""costream config: the settings in force."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.text import Text

from stream.cli import common


def config(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Show the settings in force, those that the environment sets first; secrets are masked.

    Example: COSTREAM_BATCH_ROWS_MAX=20000 costream config --json
    """
    settings = common.settings()
    if as_json:
        common.console.print_json(settings.model_dump_json())
        return
    values = json.loads(settings.model_dump_json())
    given = [name for name in values if name in settings.model_fields_set]
    others = [name for name in values if name not in given]
    for title, names in (("set by the environment", given), ("by default", others)):
        if names:
            common.console.print(Text(title, "bold"))
        for name in names:
            common.say(f"COSTREAM_{name.upper()}={values[name]}", indent=2)
            if meaning := type(settings).model_fields[name].description:
                common.say(meaning, indent=6, style="dim")
