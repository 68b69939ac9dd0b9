"""What is published from the code is what the code says: schemas, examples, the reference."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperCommand
from typer.main import get_command

from costream.pricing.reasons import REASONS, Reason
from stream.cli import application, reference

ROOT = Path(__file__).resolve().parents[1]


def test_the_schemas_of_the_event_and_of_the_alert_are_current() -> None:
    subprocess.run([sys.executable, "-m", "costream.schema", "--check"], cwd=ROOT, check=True)


def test_the_openapi_document_is_that_of_the_code() -> None:
    subprocess.run([sys.executable, "-m", "sinks.api", "--check"], cwd=ROOT, check=True)


def test_what_stands_in_the_documentation_from_the_code_is_current() -> None:
    for page, text in reference.pages().items():
        assert page.read_text() == text, f"{page}: `make schemas` writes it"


def test_every_reason_of_a_cost_is_explained() -> None:
    assert [*REASONS] == [*Reason]


def test_every_command_shows_an_example_in_its_help() -> None:
    without = [name for name, command in _leaves(get_command(application()), "costream") if "Example" not in command]
    assert not without


@functools.cache
def whole_application() -> Any:
    return get_command(application())


def commands_of(text: str) -> list[str]:
    """What a page tells to type: in blocks of code, and between backticks."""
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    typed = re.findall(r"^(?:\$ )?(costream [^#\n]+)", blocks, re.MULTILINE) + re.findall(r"`(costream [^`\n]+)`", text)
    return [line.strip() for line in typed if "..." not in line and "--help" not in line]


COMMANDS_OF_PAGES = [
    (page.name, line) for page in sorted((ROOT / "docs").glob("*.md")) for line in commands_of(page.read_text())
]


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS_OF_PAGES, ids=[f"{page}-{line}" for page, line in COMMANDS_OF_PAGES]
)
def test_every_command_of_a_page_is_one_with_options_that_it_has(page: str, line: str) -> None:
    command: Any = whole_application()
    words = shlex.split(line.split(" | ", maxsplit=1)[0].split(" > ", maxsplit=1)[0])[1:]
    while words and (known := getattr(command, "commands", {}).get(words[0])):
        command, words = known, words[1:]
    assert isinstance(command, TyperCommand) or not words, f"{page}: there is no `{line}`"
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert set(given) <= options, f"{page}: {line}"


def test_every_page_is_found_from_the_first_one() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page}" not in index} == set()


def _leaves(command: object, name: str) -> list[tuple[str, str]]:
    children: dict[str, object] = getattr(command, "commands", {})
    if not children:
        return [(name, getattr(command, "help", "") or "")]
    return [leaf for child, inner in children.items() for leaf in _leaves(inner, f"{name} {child}")]


@pytest.mark.parametrize(
    "page", [*sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")), "README.md"]
)
def test_every_link_and_path_of_a_page_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:tests|stream|sinks|producers|docs|benchmarks)/[\w/.*-]+?)`", text)
    missing = [link for link in links if link and not ((ROOT / page).parent / link).exists()]
    missing += [path for path in paths if not list(ROOT.glob(path.rstrip("/").replace("NNN_what", "001_tables")))]
    assert not missing
