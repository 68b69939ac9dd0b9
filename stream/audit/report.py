"""What an audit finds, as values: nothing here asks or prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

FINDINGS_MAX: Final = 100  # listed of each check; more say no more about the cause, and `differing` counts them all

Value = str | int | Decimal | datetime | date | Mapping[str, Decimal] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule does not hold: where, which rule, and the numbers that disagree."""

    where: Mapping[str, Value]
    rule: str
    numbers: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the audit. It holds if nothing differs; ``findings`` are the first that do. Of a sample
    ``drawn`` are its calls, and ``left_out`` those that could not be compared, or only in part: why, and how many."""

    name: str
    question: str
    compared: int
    differing: int = 0
    findings: tuple[Finding, ...] = ()
    drawn: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.differing == 0


@dataclass(frozen=True, slots=True)
class PartitionTotals:
    """Where the records of one partition went. What is None was not asked: Kafka was not reachable or not wanted."""

    source: str
    partition: int
    offset_first: int
    offset_last: int  # the last one in the ledger
    received: int
    stored: int
    duplicates: int
    dead_lettered: int
    forwarded: int
    offsets_without_record: int  # markers of transactions, compaction, or expired in the log: not a loss by itself
    in_flight: int  # rows above the ledger: a worker is storing them, or will when it starts
    beyond_retention: int  # rows that have expired and cannot be counted any more
    committed: int | None = None
    log_begin: int | None = None
    log_end: int | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do about a check that does not hold; ``command`` is empty where no command helps."""

    check: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The answer. Raw rows and rollups were compared for whole days from ``since`` on."""

    at: datetime
    since: date
    checks: tuple[Check, ...]
    partitions: tuple[PartitionTotals, ...]
    next_steps: tuple[NextStep, ...] = ()

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def check(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: money and quantities as decimal text, times in RFC 3339."""
        return {
            "holds": self.holds,
            "at": plain(self.at),
            "since": plain(self.since),
            "checks": [
                {
                    "name": check.name,
                    "question": check.question,
                    "holds": check.holds,
                    "compared": check.compared,
                    "differing": check.differing,
                    "findings": [_finding(finding) for finding in check.findings],
                    "drawn": check.drawn,
                    "left_out": dict(check.left_out),
                }
                for check in self.checks
            ],
            "partitions": [_fields(totals) for totals in self.partitions],
            "next_steps": [
                {"check": step.check, "text": step.text, "command": step.command or None} for step in self.next_steps
            ],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Mapping():
            return {name: plain(member) for name, member in value.items()}
        case _:
            return value


def _finding(finding: Finding) -> dict[str, Any]:
    return {"where": plain(finding.where), "rule": finding.rule, "numbers": plain(finding.numbers)}


def _fields(totals: PartitionTotals) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in PartitionTotals.__slots__}
