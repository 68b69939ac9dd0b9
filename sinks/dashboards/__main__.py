"""``python -m sinks.dashboards --write`` writes the files that Grafana loads; ``--check`` says if they are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sinks.dashboards import explore, health, models, overview, resources, rules
from sinks.dashboards.panels import UIDS, Board, text_of, text_to_import

FOLDER: Final = Path("deploy", "grafana")
BOARDS: Final[Mapping[str, Callable[[], Board]]] = {
    "Overview": overview.board,
    "Explore": explore.board,
    "Models": models.board,
    "Resources": resources.board,
    "Pipeline": health.board,
}


def texts() -> dict[Path, str]:
    """What each file holds, by its place in the folder."""
    made = {Path("dashboards", f"{UIDS[title]}.json"): text_of(board()) for title, board in BOARDS.items()}
    return {
        **made,
        Path("cost-dashboard.json"): text_to_import(overview.board()),
        Path("provisioning", "alerting", "rules.yaml"): rules.text(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sinks.dashboards", description="The files that Grafana loads.")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true", help="write the files")
    choice.add_argument("--check", action="store_true", help="exit with 1 if a file is not what --write would write")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the files are, instead of {FOLDER}")
    options = parser.parse_args(arguments)
    files = {options.folder / place: text for place, text in texts().items()}
    if options.write:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return 0
    stale = [file for file, text in files.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        sys.stderr.write(f"{file} is not what its code says: run `python -m sinks.dashboards --write`\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
