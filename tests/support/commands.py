"""Commands of one group, asked of a warehouse as a person would type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner, Result

from sinks.clickhouse.reader import Reader
from tests.support.warehouse import settings_of


class Commands:
    """``folder`` takes the files that they are given."""

    def __init__(self, app: typer.Typer, reader: Reader, folder: Path) -> None:
        self.app, self.reader, self.folder = app, reader, folder
        self.variables = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(reader.address).items()}

    def run(self, *arguments: str, status: int = 0, **more: str) -> Result:
        result = CliRunner().invoke(self.app, list(arguments), env=self.variables | {"COLUMNS": "120"} | more)
        assert result.exit_code == status, result.output
        return result

    def told(self, *arguments: str, status: int = 0, **more: str) -> str:
        """What is said, on both outputs, with one space between words."""
        result = self.run(*arguments, status=status, **more)
        return " ".join((result.stdout + result.stderr).split())

    def answer(self, *arguments: str, **more: str) -> Any:
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)
