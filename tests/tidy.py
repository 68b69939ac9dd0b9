"""What `make check` looks for that no linter knows: prints each fault with its place, exits 1 if there is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# pattern -> why it must not stand in the repository
FORBIDDEN = {
    r"/(work|root|home)/[a-z]": "an absolute path of somebody's machine",
    r"(files\.pythonhosted|pypi\.org|repo1?\.maven|registry\.npmjs|deb\.debian)": "the address of a package registry",
    r"\b(TODO|FIXME|XXX)\b": "work left undone: do it, or say in an issue what is missing",
    r"# type: ignore($|[^\[])": "an ignore without the rule it ignores",
    r"# noqa($|[^:])": "an ignore without the rule it ignores",
    r"# noqa: [A-Z0-9, ]+$": "an ignore without its reason beside it",
}
SELF = "tests/tidy.py"
BINARY = (".gz", ".png", ".lock")


def faults() -> list[str]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [fault for name in names if name != SELF and not name.endswith(BINARY) for fault in _faults_of(name)]


def _faults_of(name: str) -> list[str]:
    path = ROOT / name
    if not path.exists():  # removed, and not committed yet
        return []
    return [
        f"{name}:{number}: {why}: {line.strip()[:100]}"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        for pattern, why in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


if __name__ == "__main__":
    found = faults()
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    sys.exit(bool(found))
