"""When the period of a budget begins and ends: hours, days and months by the clocks of its zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, cast

import polars as pl

from stream.budgets.zones import zone as zone_of

Period = Literal["hour", "day", "month", "session"]
# A session is one period, however long it takes. This is the name of it, and no call is as old.
WHOLE_SESSION: Final = datetime(2000, 1, 1, tzinfo=UTC)
NO_END: Final = datetime(2100, 1, 1, tzinfo=UTC)  # the end of a session where a moment must stand; no event is as late
HOUR: Final = timedelta(hours=1)
QUARTER: Final = "15m"


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to before ``end``; None is without an end."""

    start: datetime
    end: datetime | None

    def elapsed(self, now: datetime) -> timedelta | None:
        """How much of it is over; None where it has no end."""
        return None if self.end is None else min(max(now - self.start, timedelta()), self.end - self.start)

    @property
    def length(self) -> timedelta | None:
        return None if self.end is None else self.end - self.start


@lru_cache(maxsize=100_000)
def span_at(moment: datetime, period: Period, zone: str) -> Span:
    """The period that a moment lies in. A day on which the clocks change has 23 or 25 hours, or another number, and a
    day that a zone has left out is none. Hours are counted from the start of the day; the last one may be shorter."""
    if period == "session":
        return Span(WHOLE_SESSION, None)
    there = moment.astimezone(zone_of(zone))
    first = there.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "month":
        first = first.replace(day=1)
        return Span(_begins(first), _begins((first + timedelta(days=32)).replace(day=1)))
    day = Span(_begins(first), after := _begins(first + timedelta(days=1)))
    if period == "day":
        return day
    start = day.start + (moment - day.start) // HOUR * HOUR
    return Span(start, min(start + HOUR, after))


def _begins(midnight: datetime) -> datetime:
    """Of a midnight that comes twice the first one; of one that the clocks skip the moment at which they do."""
    return midnight.replace(fold=0).astimezone(UTC)


def bounds(moments: pl.Series, period: Period, zone: str) -> pl.DataFrame:
    """For each moment (Datetime ms, UTC) where its period starts and ends: ``period_start`` and ``period_end``. A
    quarter of an hour is worked out once: since 2000 every zone has been off UTC by whole ones."""
    quarters = moments.dt.truncate(QUARTER)
    known = quarters.unique()
    spans = [span_at(cast(datetime, quarter), period, zone) for quarter in known]
    found = {"period_start": [span.start for span in spans], "period_end": [span.end or NO_END for span in spans]}
    return pl.DataFrame(
        [
            quarters.replace_strict(known, pl.Series(each, dtype=moments.dtype), return_dtype=moments.dtype).alias(name)
            for name, each in found.items()
        ]
    )
