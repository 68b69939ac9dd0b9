"""What one scope spent, by the clock hour and, where somebody asked, by the minute; and any 60 minutes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Final, Self

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
MINUTES: Final = 60


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def minute_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Spend:
    """What one scope spent in some span of time."""

    cost_usd: Decimal
    unpriced_calls: int = 0
    calls: int = 0  # of one value of a dimension; of all calls together nobody asks

    def __add__(self, other: Spend) -> Spend:
        unpriced_calls = self.unpriced_calls + other.unpriced_calls
        return Spend(self.cost_usd + other.cost_usd, unpriced_calls, self.calls + other.calls)

    def __sub__(self, other: Spend) -> Spend:
        unpriced_calls = self.unpriced_calls - other.unpriced_calls
        return Spend(self.cost_usd - other.cost_usd, unpriced_calls, self.calls - other.calls)


NOTHING: Final = Spend(Decimal(0))


@dataclass(frozen=True, slots=True)
class Minutes:
    """One clock hour by the minute, as far as its minutes were over when it was read.

    ``totals``: what had been spent before each minute. A whole hour has 61 of them, the last is its sum.
    """

    totals: tuple[Spend, ...]

    @classmethod
    def of(cls, spent: Mapping[int, Spend], *, over: int = MINUTES) -> Self:
        """From what each minute (0 to 59) spent, the first ``over`` of which were over."""
        return cls(tuple(accumulate((spent.get(minute, NOTHING) for minute in range(over)), initial=NOTHING)))

    @property
    def over(self) -> int:
        return len(self.totals) - 1

    def before(self, minute: int) -> Spend | None:
        return self.totals[minute] if minute <= self.over else None

    def since(self, minute: int) -> Spend | None:
        return self.totals[MINUTES] - self.totals[minute] if self.over == MINUTES else None


@dataclass(frozen=True, slots=True)
class Series:
    """The hours of one scope that had calls. From the first of them on, an hour without calls cost nothing."""

    hours: Mapping[datetime, Spend]
    minutes: Mapping[datetime, Minutes] = field(default_factory=dict)  # of the clock hours that were asked for

    def at(self, hour: datetime) -> Spend:
        return self.hours.get(hour, NOTHING)

    def spent(self, start: datetime, *, running: bool) -> Spend | None:
        """What the 60 minutes from ``start``, a whole minute, cost; None where their minutes were not read.

        Of a window that is ``running`` the last hour has nothing yet that comes after it: that hour counts whole.
        """
        hour, minute = hour_of(start), start.minute
        if minute == 0:
            return self.at(hour)
        head, tail = self.minutes.get(hour), self.minutes.get(hour + HOUR)
        first = head.since(minute) if head else None
        last = self.at(hour + HOUR) if running else tail.before(minute) if tail else None
        return first + last if first is not None and last is not None else None

    def whole_hours_before(self, hour: datetime, *, at_most: int) -> list[datetime]:
        """The hours before ``hour`` since the first data, oldest first, the latest ``at_most`` of them."""
        if not self.hours:
            return []
        count = (hour - min(self.hours)) // HOUR
        return [hour - HOUR * back for back in range(max(0, min(count, at_most)), 0, -1)]
