"""From hours to the ends of periods, by the clocks of a zone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, localcontext
from typing import Final, Literal

from sinks.answers.forecast.rhythm import PRECISION, WEEK, Rhythm, earlier, rhythm, spread

Period = Literal["day", "week", "month"]
Method = Literal["rhythm", "elapsed"]
PERIODS: Final[tuple[Period, ...]] = ("day", "week", "month")

DAYS_KNOWN: Final = 112  # a forecast is told from them: 8 weeks, and 8 before the first of its own errors
SHARE_DAYS: Final = 28  # days that tell how much of a day is usually spent by now
SHARE_DAYS_OF_WEEKDAY: Final = 56  # the same of this weekday
WEEKDAYS_MIN: Final = 3  # fewer of them say nothing
PROJECTED_FROM: Final = Decimal("0.05")  # of a period: what less of it says about the rest is chance
BAND_DEVIATIONS: Final = Decimal("1.2816")  # standard deviations on either side, for 80 %
DIGITS: Final = Decimal(1).scaleb(-12)
ZERO, ONE = Decimal(0), Decimal(1)
DAY: Final = timedelta(days=1)
MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """What the calls of an hour cost, in any one currency, and how many have no price; ``cost`` is None where none
    has one."""

    start: datetime
    cost: Decimal | None
    calls: int
    unpriced_calls: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of what is left of a period, and what it is expected to cost: the rest of today, and each day after it."""

    start: datetime
    end: datetime
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of the period that is running: what was spent so far and, when it ends, in all. ``low`` and ``high`` hold the end
    in 80 of 100 cases; None where too little is known to tell."""

    period: Period
    start: datetime
    end: datetime
    so_far: Decimal
    expected: Decimal | None
    low: Decimal | None
    high: Decimal | None
    unpriced_calls: int  # so far: they are in none of these
    coming: tuple[Stretch, ...]  # until the end; none where nothing is expected

    def reached_at(self, amount: Decimal) -> datetime | None:
        """When so much is expected to be spent; None where that is not within the period, or is so already."""
        left = amount - self.so_far
        if left <= 0:
            return None
        for one in self.coming:
            if left <= one.cost:
                return one.start + MICROSECOND * int((one.end - one.start) // MICROSECOND * left / one.cost)
            left -= one.cost
        return None


@dataclass(frozen=True, slots=True)
class Forecast:
    """``whole_days`` are those that it was told from; of ``calls`` in them and today some may have no price, and have
    no part in any figure. ``method`` is ``elapsed`` where there are less than two weeks: what was spent so far,
    divided by the share of the period that is over. ``weeks`` is how many weeks level and trend are from."""

    made_at: datetime
    method: Method
    whole_days: int
    weeks: int
    calls: int
    unpriced_calls: int
    outlooks: tuple[Outlook, ...]


def known_since(now: datetime, zone: tzinfo) -> datetime:
    """From when on hours are to be given: a midnight of the zone."""
    return midnight(now.astimezone(zone).date() - DAY * DAYS_KNOWN, zone)


def forecast(hours: Sequence[Hour], *, now: datetime, since: datetime, zone: tzinfo) -> Forecast:
    """``hours`` are all with calls from ``since`` on, a midnight of the zone. A day without calls has cost nothing,
    from the first day with calls on; that one is left out, unless it is the first that was asked for, since it may have
    begun in the middle of it."""
    with localcontext(prec=PRECISION):  # sums are exact
        return _forecast(hours, now=now, since=since, zone=zone)


def _forecast(hours: Sequence[Hour], *, now: datetime, since: datetime, zone: tzinfo) -> Forecast:
    today = now.astimezone(zone).date()
    hours = [hour for hour in hours if hour.start < now]
    by_day: defaultdict[date, _Day] = defaultdict(_Day)
    for hour in hours:
        day = by_day[hour.start.astimezone(zone).date()]
        day.cost += hour.cost or ZERO
        day.unpriced_calls += hour.unpriced_calls
    first = min(by_day, default=today)
    if first != since.astimezone(zone).date():
        first += DAY
    dates = (first + DAY * number for number in range((today - first).days))
    days = [by_day[day].cost if day in by_day else ZERO for day in dates]
    found = rhythm(days)
    if found:
        known = _Known(by_day, days, found, earlier(days), _share_of_today(hours, now=now, zone=zone))
        outlooks = [_by_rhythm(period, known, now=now, zone=zone) for period in PERIODS]
    else:
        outlooks = [_by_elapsed(period, by_day, now=now, zone=zone) for period in PERIODS]
    return Forecast(
        made_at=now,
        method="rhythm" if found else "elapsed",
        whole_days=len(days),
        weeks=found.weeks if found else 0,
        calls=sum(hour.calls for hour in hours),
        unpriced_calls=sum(hour.unpriced_calls for hour in hours),
        outlooks=tuple(outlooks),
    )


@dataclass(slots=True)
class _Day:
    cost: Decimal = ZERO
    unpriced_calls: int = 0


@dataclass(slots=True)
class _Part:
    """What a day had cost by this time of the day, and in all."""

    past: Decimal = ZERO
    whole: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class _Known:
    """``today`` is the share of a usual day's cost that is spent by now."""

    by_day: dict[date, _Day]
    days: Sequence[Decimal]  # the whole ones
    rhythm: Rhythm
    earlier: Sequence[tuple[int, Rhythm]]
    today: Decimal


def _by_rhythm(period: Period, known: _Known, *, now: datetime, zone: tzinfo) -> Outlook:
    today = now.astimezone(zone).date()
    first, after = _dates(period, today)
    ahead = (after - today).days
    today_left, *days_left = known.rhythm.next(ahead)
    coming = (
        Stretch(now, midnight(today + DAY, zone), today_left * (1 - known.today)),
        *(
            Stretch(midnight(today + DAY * number, zone), midnight(today + DAY * (number + 1), zone), cost)
            for number, cost in enumerate(days_left, 1)
        ),
    )
    rest = sum((one.cost for one in coming), ZERO)
    so_far, unpriced = _so_far(known.by_day, first)
    deviation = spread(known.days, known.earlier, ahead)
    low = high = None
    if deviation is not None:
        width = BAND_DEVIATIONS * deviation * (ahead - known.today)  # what is spent can be no other
        low, high = _cut(so_far + max(ZERO, rest - width)), _cut(so_far + rest + width)
    expected = _cut(so_far + rest)
    start, end = midnight(first, zone), midnight(after, zone)
    return Outlook(period, start, end, so_far, expected, low, high, unpriced, coming)


def _by_elapsed(period: Period, by_day: dict[date, _Day], *, now: datetime, zone: tzinfo) -> Outlook:
    first, after = _dates(period, now.astimezone(zone).date())
    start, end = midnight(first, zone), midnight(after, zone)
    so_far, unpriced = _so_far(by_day, first)
    share = _ratio(now - start, end - start)
    if share < PROJECTED_FROM:
        return Outlook(period, start, end, so_far, None, None, None, unpriced, ())
    expected = _cut(so_far / share)
    coming = (Stretch(now, end, expected - so_far),)
    return Outlook(period, start, end, so_far, expected, None, None, unpriced, coming)


def _share_of_today(hours: Sequence[Hour], *, now: datetime, zone: tzinfo) -> Decimal:
    """How much of a usual day's cost has been spent by this time of the day.

    What this weekday usually has by now counts as far as it stands out from chance (positive-part James-Stein): where a
    batch runs on Mondays, or a weekend begins late, other days say little.
    """
    there = now.astimezone(zone)
    of_hour = _ratio(timedelta(minutes=there.minute, seconds=there.second), timedelta(hours=1))
    first = there.date() - DAY * SHARE_DAYS_OF_WEEKDAY
    days: defaultdict[date, _Part] = defaultdict(_Part)
    for hour in hours:
        then = hour.start.astimezone(zone)
        if first <= then.date() < there.date() and hour.cost:
            day = days[then.date()]
            day.whole += hour.cost
            if then.hour <= there.hour:
                day.past += hour.cost * (of_hour if then.hour == there.hour else 1)
    lately = [day for at, day in days.items() if at >= there.date() - DAY * SHARE_DAYS]
    whole = sum((day.whole for day in lately), ZERO)
    if not whole:
        return _ratio(now - midnight(there.date(), zone), DAY)
    usual = sum((day.past for day in lately), ZERO) / whole
    same = [day for at, day in days.items() if day.whole and at.weekday() == there.weekday()]
    return _towards(usual, [day.past / day.whole for day in same])


def _towards(usual: Decimal, shares: Sequence[Decimal]) -> Decimal:
    """``usual``, moved towards the mean of these by as much as that lies further from it than chance would have it."""
    if len(shares) < WEEKDAYS_MIN:
        return usual
    mean = sum(shares, ZERO) / len(shares)
    variance = sum(((share - mean) ** 2 for share in shares), ZERO) / (len(shares) - 1)
    distance = mean - usual
    chance = variance / len(shares)  # the square of the standard error
    if chance >= distance**2:
        return usual
    return usual + distance * (1 - chance / distance**2)


def _so_far(by_day: dict[date, _Day], first: date) -> tuple[Decimal, int]:
    """What was spent from a day on, and the calls without a price."""
    days = [day for at, day in by_day.items() if at >= first]
    return sum((day.cost for day in days), ZERO), sum(day.unpriced_calls for day in days)


def _dates(period: Period, today: date) -> tuple[date, date]:
    """The first day of a period, and the first after it. Weeks begin on Mondays (ISO 8601)."""
    if period == "day":
        return today, today + DAY
    if period == "week":
        first = today - DAY * today.weekday()
        return first, first + DAY * WEEK
    first = today.replace(day=1)
    return first, (first + DAY * 32).replace(day=1)


def midnight(day: date, zone: tzinfo) -> datetime:
    """The first moment of a day, UTC. Of a midnight that comes twice the first one; of one that the clocks skip the
    moment at which they do."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _ratio(part: timedelta, whole: timedelta) -> Decimal:
    return min(ONE, Decimal(part // MICROSECOND) / Decimal(whole // MICROSECOND))


def _cut(amount: Decimal) -> Decimal:
    return amount.quantize(DIGITS)
