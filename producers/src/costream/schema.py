"""The published JSON Schemas: of the event on ``usage.events``, of the alert on ``usage.alerts``, of the state of a
budget on ``usage.budgets``, of files of prices.

``python -m costream.schema`` prints one; ``--write`` writes their files and ``--check`` says whether those are current.
Run it from the root of the repository, or name the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from costream import alerts, budgets, events


def _prices() -> dict[str, Any]:
    from costream.pricing.entries import json_schema  # needs the extra costream[pricing]

    return json_schema()


FOLDER: Final = Path("producers", "schema")
FILES: Final[Mapping[str, str]] = {
    "event": f"usage-event.v{events.SCHEMA_VERSION}.schema.json",
    "alert": f"usage-alert.v{alerts.SCHEMA_VERSION}.schema.json",
    "budget": f"usage-budget.v{budgets.SCHEMA_VERSION}.schema.json",
    "prices": "prices.v1.schema.json",
}
_SCHEMAS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "event": events.UsageEvent.json_schema,
    "alert": alerts.json_schema,
    "budget": budgets.json_schema,
    "prices": _prices,
}


def schema_text(contract: str) -> str:
    """What the file of a contract (``event``, ``alert``, ``budget`` or ``prices``) holds, to the byte."""
    return json.dumps(_SCHEMAS[contract](), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m costream.schema", description="The published JSON Schemas.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--write", action="store_true", help="write the files")
    choice.add_argument("--check", action="store_true", help="exit with 1 if a file is not what --write would write")
    parser.add_argument("contract", nargs="?", choices=sorted(FILES), help="the one meant; the event is printed else")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the files are, instead of {FOLDER}")
    options = parser.parse_args(arguments)
    files = {name: options.folder / file for name, file in FILES.items() if options.contract in (None, name)}
    if options.write:
        for name, file in files.items():
            file.write_text(schema_text(name), encoding="utf-8")
    elif options.check:
        return max([_check(name, file) for name, file in files.items()])
    else:
        sys.stdout.write(schema_text(options.contract or "event"))
    return 0


def _check(contract: str, file: Path) -> int:
    if file.is_file() and file.read_text(encoding="utf-8") == schema_text(contract):
        return 0
    sys.stderr.write(f"{file} is not the schema of the {contract}: run `python -m costream.schema --write`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
