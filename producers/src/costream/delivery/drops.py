"""Usage events that had to be given up: counted, and reported as an event so that totals can say "at least"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from costream.events import DROPPED_MODEL, DROPPED_PROVIDER, DROPPED_UNIT, UsageEvent

REASONS_MAX: Final = 16  # in one report, with 100 characters each they fit into metadata
REASON_CHARS_MAX: Final = 100
NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Drops:
    """What was dropped since the last report."""

    events: int = 0
    first_at: datetime = NEVER
    last_at: datetime = NEVER
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, events: int, at: datetime, reason: str) -> None:
        if not self.events:
            self.first_at = at
        self.events += events
        reason = reason.encode("ascii", "backslashreplace").decode()[:REASON_CHARS_MAX]
        self.reasons[reason if reason in self.reasons or len(self.reasons) < REASONS_MAX else "others"] += events
        self.last_at = at

    def take_report(self, *, new_id: Callable[[], str], client: str) -> UsageEvent:
        """The report of all so far; from here on it stands for them, and counting starts anew."""
        assert self.events > 0, "there is nothing to report"
        report = UsageEvent(
            request_id=new_id(),
            occurred_at=self.last_at,
            provider=DROPPED_PROVIDER,
            model=DROPPED_MODEL,
            operation="api",
            usage_status="estimated",
            quantities={DROPPED_UNIT: Decimal(self.events)},
            metadata={
                "first_dropped_at": self.first_at.isoformat(timespec="milliseconds"),
                "last_dropped_at": self.last_at.isoformat(timespec="milliseconds"),
                "client": client,
                "reasons": dict(self.reasons),
            },
        )
        self.events = 0
        self.reasons.clear()
        return report
