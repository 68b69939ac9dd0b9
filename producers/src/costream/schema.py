"""The published JSON Schema of the event.

``python -m costream.schema`` prints it; ``--write`` writes its file and ``--check`` says whether that is current. Run
it from the root of the repository, or name the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from costream.events import SCHEMA_VERSION, UsageEvent

FILE: Final = Path("producers", "schema", f"usage-event.v{SCHEMA_VERSION}.schema.json")


def schema_text() -> str:
    return json.dumps(UsageEvent.json_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m costream.schema", description="The JSON Schema of a usage event.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="write the file")
    choice.add_argument("--check", action="store_true", help="exit with 1 if the file is not what --write would write")
    parser.add_argument("file", nargs="?", type=Path, default=FILE, help=f"instead of {FILE}")
    options = parser.parse_args(arguments)
    if options.write:
        options.file.write_text(schema_text(), encoding="utf-8")
    elif options.check:
        return _check(options.file)
    else:
        sys.stdout.write(schema_text())
    return 0


def _check(file: Path) -> int:
    if file.is_file() and file.read_text(encoding="utf-8") == schema_text():
        return 0
    sys.stderr.write(f"{file} is not the schema of costream.UsageEvent: run `python -m costream.schema --write`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
