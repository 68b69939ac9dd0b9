"""What a caller is told of a budget that is used up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from costream.alerts import plain


@dataclass(frozen=True, slots=True)
class Limited:
    """A limit that holds for the call that was asked about.

    ``subject`` says whose it is, by fields of the event; it is empty for everything together. ``spent`` is what had
    been spent when the limit began, ``limit`` the part of ``amount`` from which on calls are refused.
    """

    budget: str
    subject: Mapping[str, str] = field(hash=False)
    spent: Decimal
    amount: Decimal
    limit: Decimal
    currency: str
    resets_at: datetime | None  # aware, UTC; None of a session, which has no end

    def __str__(self) -> str:
        whose = ", ".join(f"{name} {plain(value)}" for name, value in self.subject.items())
        until = f"until {self.resets_at:%Y-%m-%d %H:%M:%S} UTC" if self.resets_at else "for the whole session"
        return (
            f"budget {plain(self.budget)}{' of ' + whose if whose else ''} is limited {until}: {self.spent:,f} "
            f"{plain(self.currency)} of {self.amount:,f} were spent, and from {self.limit:,f} on calls are refused"
        )
