"""docs/reference.md, written from the code: commands, settings and metrics. ``--check`` says whether it is current."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer
from prometheus_client import Metric
from typer.main import get_command

from stream.cli import application
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


def reference() -> str:
    """The page."""
    return "\n".join(["# Reference", "", *_commands(), "", *_settings(), "", *_metrics(), ""])


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield ""
    yield "`costream COMMAND --help` has the options and an example."
    yield ""
    yield "| command | what it does |"
    yield "|---|---|"
    yield from _rows_of(get_command(application()), "costream")


def _rows_of(command: object, name: str) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None:
        first_paragraph = " ".join((getattr(command, "help", "") or "").split("\n\n")[0].split())
        yield f"| `{name}` | {first_paragraph} |"
        return
    for child in children:
        yield from _rows_of(children[child], f"{name} {child}")


def _settings() -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield "Environment variables, read once at start; durations are seconds or ISO 8601. A wrong value, or two that"
    yield "contradict each other, ends the command before it does anything. `costream config` shows those in force."
    yield ""
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    defaults = json.loads(_at_default().model_dump_json())
    for name, field in Settings.model_fields.items():
        yield f"| `COSTREAM_{name.upper()}` | `{defaults[name]}` | {field.description or ''} |"


def _at_default() -> Settings:
    return Settings.model_construct(**{name: field.default for name, field in Settings.model_fields.items()})


def _metrics() -> Iterator[str]:
    yield "## Metrics"
    yield ""
    yield "Of a worker, at `/metrics` beside `/healthz` and `/readyz`."
    yield ""
    yield "| metric | kind | meaning |"
    yield "|---|---|---|"
    for metric in sorted(Telemetry().registry.collect(), key=lambda metric: metric.name):
        yield f"| `{_full_name(metric)}` | {metric.type} | {metric.documentation} |"


def _full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        PAGE.write_text(reference())
        return 0
    if arguments != ["--check"]:
        typer.echo("usage: python -m stream.cli.reference --check | --write", err=True)
        return 2
    if PAGE.read_text() == reference():
        return 0
    typer.echo(f"{PAGE.name} is not current: `make schemas` writes it", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
