"""``python -m sinks.dashboards --write`` writes the boards' files; ``--check`` says whether they are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sinks.dashboards import cost, health, models
from sinks.dashboards.panels import Board, text_of

FOLDER: Final = Path("deploy", "grafana", "dashboards")
BOARDS: Final[Mapping[str, Callable[[], Board]]] = {
    f"{cost.UID}.json": cost.board,
    f"{health.UID}.json": health.board,
    f"{models.UID}.json": models.board,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sinks.dashboards", description="The boards that Grafana loads.")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true", help="write the files")
    choice.add_argument("--check", action="store_true", help="exit with 1 if a file is not what --write would write")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the files are, instead of {FOLDER}")
    options = parser.parse_args(arguments)
    texts = {options.folder / name: text_of(board()) for name, board in BOARDS.items()}
    if options.write:
        for file, text in texts.items():
            file.write_text(text, encoding="utf-8")
        return 0
    stale = [file for file, text in texts.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        sys.stderr.write(f"{file} is not what its code says: run `python -m sinks.dashboards --write`\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
