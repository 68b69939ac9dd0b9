"""docs/data.md, its second half: every view and column, from the comments of the views. ``--write`` renews it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sinks.clickhouse.views.texts import ViewText, texts

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "data.md"
MARK: Final = "<!-- From here on written by `make schemas`, from the comments of the views. -->\n"

_TEXT: Final = r"'((?:[^']|'')*)'"
_MADE: Final = re.compile(rf"^CREATE OR REPLACE VIEW \w+ \(\n(.*?)\n\)\n.*?\nCOMMENT {_TEXT}$", re.DOTALL)
_COLUMN: Final = re.compile(rf"^  (\w+) (.+) COMMENT {_TEXT}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a view, with its type as ClickHouse writes it."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True, slots=True)
class View:
    """What readers may ask."""

    name: str
    comment: str
    columns: tuple[Column, ...]


def views() -> list[View]:
    """Every view, in the order in which they are made."""
    return [_view(text) for text in texts()]


def _view(text: ViewText) -> View:
    made = _MADE.match(text.statement)
    assert made, f"{text.name} says its columns and what it is"
    columns = tuple(Column(*(part.replace("''", "'") for part in column)) for column in _COLUMN.findall(made[1]))
    return View(text.name, made[2].replace("''", "'"), columns)


def page(handwritten: str) -> str:
    """The whole page, of which the part before the mark is written by hand."""
    return handwritten.partition(MARK)[0] + MARK + "\n".join(["", *_catalogue(), ""])


def _catalogue() -> Iterator[str]:
    yield "## Every view"
    for view in views():
        yield ""
        yield f"### {view.name}"
        yield ""
        yield view.comment
        yield ""
        yield "| column | type | what it is |"
        yield "|---|---|---|"
        yield from (f"| `{column.name}` | `{column.type}` | {column.comment} |" for column in view.columns)


def main() -> int:
    current = PAGE.read_text(encoding="utf-8")
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(current), encoding="utf-8")
        return 0
    return int(page(current) != current)


if __name__ == "__main__":
    sys.exit(main())
