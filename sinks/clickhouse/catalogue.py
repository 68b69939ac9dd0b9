"""docs/data.md, its second half: every view and column, from the comments of the migrations. ``--write`` renews it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "migrations"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "data.md"
MARK: Final = "<!-- From here on written by `make schemas`, from the comments of the views. -->\n"

_TEXT: Final = r"'((?:[^']|'')*)'"
_MADE: Final = re.compile(rf"CREATE OR REPLACE VIEW (\w+) \(\n(.*?)\n\)\n.*?\nCOMMENT {_TEXT};", re.DOTALL)
_GONE: Final = re.compile(r"DROP VIEW IF EXISTS (\w+)")
_COMMENTED: Final = re.compile(rf"ALTER TABLE (\w+) COMMENT COLUMN (\w+)\s+{_TEXT};")
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
    """Every view that the migrations leave, in the order in which they make them."""
    found: dict[str, View] = {}
    for file in sorted(file for file in FOLDER.glob("*.sql") if ".down." not in file.name):
        text = file.read_text(encoding="utf-8")
        for name in _GONE.findall(text):
            found.pop(name, None)
        for name, columns, comment in _MADE.findall(text):
            of = tuple(Column(*(part.replace("''", "'") for part in column)) for column in _COLUMN.findall(columns))
            found[name] = View(name, comment.replace("''", "'"), of)
        for name, column, comment in _COMMENTED.findall(text):
            found[name] = _commented(found[name], column, comment.replace("''", "'"))
    return list(found.values())


def _commented(view: View, name: str, comment: str) -> View:
    columns = (replace(column, comment=comment) if column.name == name else column for column in view.columns)
    return replace(view, columns=tuple(columns))


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
