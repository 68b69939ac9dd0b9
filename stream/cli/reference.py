"""docs/reference.md, written from the code: commands, settings and metrics; in docs/event.md the units that can be
priced, in docs/prices.md the reasons of a cost, in docs/reconcile.md those of a difference; the JSON Schema of files of
rules. ``--check`` says whether they are current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer
from prometheus_client import Metric
from typer.main import get_command

from costream.pricing.reasons import REASONS
from costream.pricing.units import DIMENSIONS, PER_CALL, UNIT_ALIASES, is_part
from sinks.answers.bill import Reason, told
from stream.cli import application
from stream.rulebook.entries import json_schema
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = DOCS / "reference.md"
RULES: Final = DOCS / "rules.v1.schema.json"
START, END = "<!-- from the code: `make schemas` -->", "<!-- end -->"


def reference() -> str:
    """The page."""
    return "\n".join(["# Reference", "", *_commands(), "", *_settings(), "", *_metrics(), ""])


def pages() -> dict[Path, str]:
    """Every page with a part from the code, and every file that is from it, as it should be."""
    written = {DOCS / "event.md": _units(), DOCS / "prices.md": _reasons()}
    written |= {DOCS / "reconcile.md": _differences()}
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {PAGE: reference(), RULES: schema} | {
        page: _with(page.read_text(), lines) for page, lines in written.items()
    }


def _with(text: str, lines: Iterator[str]) -> str:
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    assert start and end, "a page has one part from the code, between its two marks"
    return "\n".join([before + start, "", *lines, "", end + after])


def _units() -> Iterator[str]:
    names = {unit: [alias for alias, name in UNIT_ALIASES.items() if name == unit] for unit in (PER_CALL, *DIMENSIONS)}
    yield "| unit | counted in | other names |"
    yield "|---|---|---|"
    for unit in sorted(names):
        totals = [total for total in DIMENSIONS if unit in DIMENSIONS and is_part(unit, total)]
        nearest = [total for total in totals if not any(is_part(other, total) for other in totals)]
        yield f"| `{unit}` | {_listed(nearest)} | {_listed(names[unit])} |"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _reasons() -> Iterator[str]:
    yield "| `cost_reason` | the cost is | when |"
    yield "|---|---|---|"
    for reason, (status, when) in REASONS.items():
        yield f"| `{reason}` | {status} | {when} |"


def _differences() -> Iterator[str]:
    yield "| reason | when | what next |"
    yield "|---|---|---|"
    for reason in Reason:
        words = told(reason)
        yield f"| `{reason}` | {words.words} | {words.next_step} |"


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
        for page, text in pages().items():
            page.write_text(text)
        return 0
    if arguments != ["--check"]:
        typer.echo("usage: python -m stream.cli.reference --check | --write", err=True)
        return 2
    old = [page.name for page, text in pages().items() if page.read_text() != text]
    if old:
        typer.echo(f"{', '.join(old)} not current: `make schemas` writes them", err=True)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
