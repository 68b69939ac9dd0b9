"""A budget: whose spending, over which period, and the amounts at which it is worth an alert."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import takewhile
from typing import Final, Literal

from costream.alerts import Level, plain
from sinks.clickhouse.vocabulary import DIMENSIONS
from stream.budgets.periods import Period

# What a scope may be made of, and the column of each. Without any it is everything together.
COLUMNS: Final[Mapping[str, str]] = {"user": "user_id", "session": "session_id", **{name: name for name in DIMENSIONS}}
ESCAPES: Final = {"%": "%25", ",": "%2C", "=": "%3D"}  # of a value in a subject; the sign of escapes comes first

Kind = Literal["budget", "limit"]


@dataclass(frozen=True, slots=True)
class Step:
    """An amount whose crossing is told, in the currency of its budget."""

    amount: Decimal
    level: Level
    share: Decimal | None = None  # of the budget; None of a limit


@dataclass(frozen=True, slots=True)
class Whole:
    """The budget that a limit is a share of, in the currency of both."""

    name: str
    period: Period
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Budget:
    """One definition.

    ``scope`` has words of COLUMNS: what tells one subject from another. ``only``: by such a word the values that count,
    all where it is not named. A step of a budget is crossed where it is reached, that of a limit above it.
    """

    name: str
    kind: Kind
    scope: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]] = field(hash=False)
    period: Period
    zone: str
    amount: Decimal
    currency: str
    steps: tuple[Step, ...]  # the lowest first, no amount twice
    metric_name: str
    refuse_at: Decimal | None = None  # the share of the amount from which on clients that ask refuse calls; None: never
    forecast: Level | None = None  # told when it is expected to be used up before its period ends; None: never
    share_of: Whole | None = None  # the budget that this limit is a share of

    @property
    def limit(self) -> Decimal | None:
        """The amount from which on calls may be refused."""
        return None if self.refuse_at is None else self.amount * self.refuse_at

    @property
    def lowest(self) -> Decimal:
        """What spent less than this needs no look."""
        first = self.steps[0].amount
        return first if self.limit is None else min(first, self.limit)

    def crossed(self, spent: Fraction) -> Step | None:
        """The highest step that so much crosses."""
        over = tuple(takewhile(lambda step: self._is_over(spent, step.amount), self.steps))
        return over[-1] if over else None

    def _is_over(self, spent: Fraction, amount: Decimal) -> bool:
        return spent > amount if self.kind == "limit" else spent >= amount

    @property
    def spending(self) -> str:
        """A digest of what is summed up: whose calls, and by which periods. Two budgets of one sum differ in amounts,
        currency and name."""
        said = [self.scope, sorted(self.only.items()), self.period, self.zone]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def alert_scope(self, subject: str) -> str:
        """``scope`` of its alerts: the budget, and whose it is."""
        return ",".join([f"budget={escaped(self.name)}", *([subject] if subject else [])])


def subject_of(parts: Iterable[tuple[str, str]]) -> str:
    """Whose spending it is, as text: ``user=ann,feature=chat``; empty for everything together."""
    return ",".join(f"{word}={escaped(value)}" for word, value in parts)


def parts_of(subject: str) -> dict[str, str]:
    """The value of each word of a subject."""
    pairs = (part.split("=", 1) for part in subject.split(",") if part)
    return {word: _unescaped(value) for word, value in pairs}


def whose(subject: str) -> str:
    """A subject for a person; values from events are made safe for one line."""
    return ", ".join(f"{word} {plain(value)}" for word, value in parts_of(subject).items())


def escaped(value: str) -> str:
    for sign, escape in ESCAPES.items():
        value = value.replace(sign, escape)
    return value


def _unescaped(value: str) -> str:
    for sign, escape in reversed(ESCAPES.items()):
        value = value.replace(escape, sign)
    return value
