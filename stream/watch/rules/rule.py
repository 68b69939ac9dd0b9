"""What every rule can do, in the order in which a turn asks for it: is it due, what does it read, judge it, word it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol, TypeVar

from costream.alerts import Alert

ReadingT = TypeVar("ReadingT")


@dataclass(frozen=True, slots=True)
class Past:
    """What has been since a rule last looked."""

    looked_at: datetime | None = None  # None: never in this turn, and hours may have gone by
    failed: bool = False  # it could not read then, or what it found was not told or not stored
    changed: frozenset[datetime] = frozenset()  # the hours that usage.rollups has named since


class Rule(Protocol[ReadingT]):
    """One thing that is worth an alert. It has its own alerts, those with its name, and knows no other rule's."""

    name: ClassVar[str]  # ``rule`` of its alerts, forever: subscribers and stored alerts know it

    def is_due(self, now: datetime, past: Past) -> bool:
        """Whether it is time to look again. Asked several times a second: it reads nothing."""

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> ReadingT | None:
        """What it judges by; ``known`` are its alerts, each in its latest revision. None where that cannot be known
        now: what stands stays, and nothing is opened. May raise WarehouseError."""

    def judge(self, reading: ReadingT, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        """The new revisions of its alerts, in the order in which they happened and without words. Pure: the same
        reading judged twice says nothing the second time. ``known``: its alerts by id, each in its latest revision."""

    def word(self, alert: Alert, reading: ReadingT) -> Alert:
        """The same with its title and its message, for a person."""


def news_of(rule: Rule[ReadingT], reading: ReadingT | None, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
    """What a rule has to say, in words."""
    if reading is None:
        return []
    return [rule.word(alert, reading) for alert in rule.judge(reading, known, now)]
