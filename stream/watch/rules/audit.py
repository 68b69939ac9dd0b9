"""The worker's own audit does not hold. What vanished has a rule of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from costream.alerts import Alert, Level
from stream.audit import AuditReport
from stream.audit.schedule import REACH
from stream.watch.rules.trouble import Fine, Trouble, TroubleRule, Verdict, Words, minute


class AuditRule(TroubleRule[AuditReport]):
    """It reads the report of the last audit, None before the first one."""

    name: ClassVar = "audit"
    metric_name: ClassVar = "audit_differences"
    unit: ClassVar = "differences"
    level: ClassVar = Level.CRITICAL
    every: ClassVar = timedelta(seconds=1)  # it only looks whether there is a new report

    def find(self, report: AuditReport, now: datetime) -> Verdict:
        broken = _broken(report)
        if not broken:
            return Fine()
        return Trouble(
            since=report.at,
            value=Decimal(sum(broken.values())),
            threshold=Decimal(0),
            names=tuple(sorted(broken)),
            command=next(iter(_commands(report)), "costream audit"),
        )

    def told(self, alert: Alert, report: AuditReport) -> Words:
        broken, commands = _broken(report), _commands(report)
        places = ", ".join(f"{name} ({differing:,})" for name, differing in broken.items())
        return Words(
            title=f"The audit does not hold: {', '.join(broken)}",
            message=(
                f"The audit of {minute(report.at)} found {sum(broken.values()):,} differences: {places}. Figures read"
                " from there may be wrong until they are mended; nothing was changed, and counting goes on. What to do:"
                f" {', then '.join(f'`{each}`' for each in commands) or 'see the places'}; `costream audit` names every"
                " place and the next step."
            ),
        )

    def over(self, alert: Alert) -> Words:
        return Words("The audit holds again", f"The audit of {minute(alert.timestamp)} found no difference.")

    @classmethod
    def tells(cls, rule: str) -> bool:
        """Whether an alert with this ``rule`` is of the audit."""
        return rule == cls.name

    @classmethod
    def suspect_since(cls, standing: Callable[[str], Alert | None]) -> datetime | None:
        """From where on the audit last found something that is not known to be mended."""
        alert = standing(cls.name)
        return alert.window_start - REACH if alert else None


def _broken(report: AuditReport) -> dict[str, int]:
    broken = {check.name: check.differing for check in report.checks if not check.holds}
    broken.pop("vanished", None)
    return broken


def _commands(report: AuditReport) -> list[str]:
    return list(dict.fromkeys(step.command for step in report.next_steps if step.command))
