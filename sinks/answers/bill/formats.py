"""What a format is: the columns by which it is known, and what a record of it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from sinks.answers.bill.lines import Kind, Line
from sinks.answers.bill.records import Record

USAGE: frozenset[Kind] = frozenset({"usage"})
COSTS: frozenset[Kind] = frozenset({"cost"})


@dataclass(frozen=True, slots=True)
class Format:
    """``mark`` is the column that no other format of the provider has, and ``needed`` are those without which it says
    nothing. ``line`` gives what a record says of its day, or None where it is nothing of this provider's models."""

    name: str
    kinds: frozenset[Kind]
    mark: str
    needed: Sequence[str]
    day: Callable[[Record], date]
    line: Callable[[Record, date], Line | None]

    def lacks(self, columns: Sequence[str]) -> list[str]:
        return [name for name in (self.mark, *self.needed) if name not in columns]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A format that is known, and why no day and model can be told by it."""

    name: str
    marks: Sequence[str]
    why: str
