"""What the next days will cost, told from the whole days before them.

A day is expected to cost the level of the last two weeks, moved on by the trend of up to eight weeks, times what its
weekday usually is of an average day. A trend counts only as far as it stands out from chance. Where the level has
jumped, what was before the jump says nothing of the level or the trend. How far off such a forecast may be is told
from how far off it would have been at the starts of the weeks before.

Weeks here are runs of seven days; the last one ends with the last whole day. Linear regression with seasonal factors
is the method of the textbooks (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, chapter 7). The
damped trend is Gardner and McKenzie's (1985), and the trend is shrunk by the positive part of James and Stein (1961).
The numbers below were chosen on made series: docs/forecast.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

WEEK: Final = 7
WEEKS_MIN: Final = 2  # without two of them a weekday says nothing of itself
WEEKS_MAX: Final = 8
LEVEL_WEEKS: Final = 2
TRIMMED_FROM: Final = 4  # weeks from which on the highest and the lowest of a weekday are left out
JUMP_GAIN: Final = Decimal("0.7")  # a jump is believed where it leaves less than this of what the trend leaves
JUMP_WEEKS_MIN: Final = 2  # on each side
NOISE: Final = 8  # a trend of fewer than the root of it standard errors is none
DAMPING: Final = Decimal("0.98")  # of the trend, a day
STARTS_MIN: Final = 3  # earlier forecasts that a spread is told from
PRECISION: Final = 76  # digits: months of sums with 26 of them before the point, in a currency of any size

ZERO, ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """``weights`` are those of the next seven days, in their order, and average 1. ``level`` is that of a day in the
    middle of ``level_days``, the last of those that are known, and ``trend`` what a day adds to it. ``weeks`` is how
    many weeks these two are from."""

    weights: tuple[Decimal, ...]
    level: Decimal
    level_days: int
    trend: Decimal
    weeks: int

    def next(self, days: int) -> list[Decimal]:
        """What each of the next days is expected to cost; never less than 0."""
        with localcontext(prec=PRECISION):
            step = self.trend
            level = self.level + self.trend * (self.level_days - 1) / 2
            found = list[Decimal]()
            for day in range(days):
                step *= DAMPING
                level += step
                found.append(max(ZERO, level) * self.weights[day % WEEK])
            return found


def rhythm(days: Sequence[Decimal]) -> Rhythm | None:
    """Of the costs of whole days, oldest first; None where there are less than two weeks of them."""
    count = min(len(days) // WEEK, WEEKS_MAX)
    if count < WEEKS_MIN:
        return None
    with localcontext(prec=PRECISION):
        first = len(days) - count * WEEK
        weeks = [days[first + WEEK * week : first + WEEK * (week + 1)] for week in range(count)]
        levels = [_mean(week) for week in weeks]
        levels = levels[_jump(levels) :]
        last = levels[-LEVEL_WEEKS:]
        return Rhythm(_weights(weeks), _mean(last), WEEK * len(last), _trend(levels), len(levels))


def earlier(days: Sequence[Decimal]) -> list[tuple[int, Rhythm]]:
    """What would have been told at the starts of the weeks before: after how many days, and what."""
    starts = range(len(days) - WEEK, WEEKS_MIN * WEEK - 1, -WEEK)
    return [(start, found) for start in starts if (found := rhythm(days[:start]))]


def spread(days: Sequence[Decimal], told: Sequence[tuple[int, Rhythm]], ahead: int) -> Decimal | None:
    """How far off the forecasts of ``earlier`` were for the ``ahead`` days after them: the root of the mean square, of
    an average day. Of a later one only as many of these days are known as have gone by since, a week at least. None
    where there are less than three of them."""
    if len(told) < STARTS_MIN:
        return None
    with localcontext(prec=PRECISION):
        squares = list[Decimal]()
        for start, found in told:
            known = days[start : start + ahead]
            off = (sum(known, ZERO) - sum(found.next(len(known)), ZERO)) / len(known)
            squares.append(off * off)
        return _mean(squares).sqrt()


def _weights(weeks: Sequence[Sequence[Decimal]]) -> tuple[Decimal, ...]:
    """What each weekday is of the mean of its own week, drawn towards 1 as by one more week without a rhythm."""
    shares = [[day / mean for day in week] for week in weeks if (mean := _mean(week))]
    if not shares:
        return (ONE,) * WEEK
    by_day = [[week[day] for week in shares] for day in range(WEEK)]
    found = [_mean(sorted(day)[1:-1] if len(day) >= TRIMMED_FROM else day) for day in by_day]
    if not any(found):  # on most days nothing is spent
        found = [_mean(day) for day in by_day]
    mean, count = _mean(found), len(shares)
    return tuple((weight / mean * count + 1) / (count + 1) for weight in found)


def _jump(levels: Sequence[Decimal]) -> int:
    """Where the level jumped: the first week after it; 0 where it did not, or where a trend explains it as well."""
    left = _line(levels)[1] * JUMP_GAIN
    found = 0
    for week in range(JUMP_WEEKS_MIN, len(levels) - JUMP_WEEKS_MIN + 1):
        parts = _squares(levels[:week]) + _squares(levels[week:])
        if parts < left:
            left, found = parts, week
    return found


def _trend(levels: Sequence[Decimal]) -> Decimal:
    """A day, less what may be chance."""
    count = len(levels)
    slope, left = _line(levels)
    if count <= 2 or not slope:
        return ZERO
    error = left / (count - 2) / _width(count)  # the square of the standard error
    return slope * max(ZERO, 1 - NOISE * error / slope**2) / WEEK


def _line(levels: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """The slope by least squares, a week, and what it leaves of the squares."""
    middle, mean = Decimal(len(levels) - 1) / 2, _mean(levels)
    slope = sum(((week - middle) * (level - mean) for week, level in enumerate(levels)), ZERO) / _width(len(levels))
    return slope, sum(((level - mean - slope * (week - middle)) ** 2 for week, level in enumerate(levels)), ZERO)


def _width(count: int) -> Decimal:
    """The sum of the squares of ``count`` weeks around their middle."""
    return Decimal(count * (count * count - 1)) / 12


def _squares(levels: Sequence[Decimal]) -> Decimal:
    mean = _mean(levels)
    return sum(((level - mean) ** 2 for level in levels), ZERO)


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, ZERO) / len(values)
