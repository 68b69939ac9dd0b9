"""Which names of a day are one model: a snapshot by its date, and the alias that callers send for it.

Names that are equal stay as they are. The others are put together only where nothing else can be meant: of the names of
one model, on that day, at most one has a date.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Final

_DATE: Final = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$")
_PREVIEW: Final = re.compile(r"-preview(?:-\d\d-\d{2,4})?$")
_ALIAS: Final = re.compile(r"(?:-latest|-0)$")
# Anthropic's console writes "Claude Sonnet 3.7" for claude-3-7-sonnet.
_CLAUDE: Final = re.compile(r"claude-(?P<version>\d+(?:-\d+)?)-(?P<size>opus|sonnet|haiku)$")


def family(model: str) -> str:
    """What snapshots and aliases of a model have in common."""
    bare = _ALIAS.sub("", _PREVIEW.sub("", _DATE.sub("", model.lower())))
    return _CLAUDE.sub(r"claude-\g<size>-\g<version>", bare)


def is_dated(model: str) -> bool:
    return _DATE.search(model) is not None


def rows_of(theirs: Set[str], ours: Set[str]) -> Mapping[str, str]:
    """The name of the row for each name of a day: ours where we have one, as the commands know it."""
    families = defaultdict[str, set[str]](set)
    for name in theirs | ours:
        families[family(name)].add(name)
    rows: dict[str, str] = {}
    for names in families.values():
        one = _surely_one(names & theirs, names & ours)
        rows |= {name: _chosen(names & ours or names) if one else name for name in names}
    return rows


def _surely_one(theirs: Set[str], ours: Set[str]) -> bool:
    if not theirs or theirs == ours:
        return False
    names = theirs | ours
    if any(_PREVIEW.search(name) for name in names) and max(len(theirs), len(ours)) > 1:
        return False  # a preview is a model of its own where the model is there too
    return sum(map(is_dated, names)) <= 1


def _chosen(names: Iterable[str]) -> str:
    """The dated one says most."""
    return min(names, key=lambda name: (not is_dated(name), name))
