"""The views of this build as SQL, in the order in which they are made: one may ask those before it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "sql"

_MADE: Final = re.compile(r"^CREATE OR REPLACE VIEW (\w+) .*?;$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ViewText:
    """The statement that makes a view, or makes it anew."""

    name: str
    statement: str

    @property
    def digest(self) -> str:
        """Of the statement: a view with the same one is the same."""
        return hashlib.sha256(self.statement.encode()).hexdigest()[:16]


def texts() -> list[ViewText]:
    """Of all views, in their order."""
    files = sorted(FOLDER.glob("*.sql"))
    return [
        ViewText(made[1], made[0].removesuffix(";"))
        for file in files
        for made in _MADE.finditer(file.read_text(encoding="utf-8"))
    ]
