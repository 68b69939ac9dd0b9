"""Exact fractions as decimals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from costream.alerts import rounded


def to_decimal(value: Fraction) -> Decimal:
    """The fraction to 28 digits: for texts and rounded figures, never for a decision."""
    return Decimal(value.numerator) / Decimal(value.denominator)


def six_digits(value: Fraction) -> Decimal:
    return rounded(to_decimal(value), digits=6)


def adding_up(parts: Sequence[Fraction], *, digits: int) -> list[Decimal]:
    """The parts to so many digits after the point, so that they add up to their rounded sum: each is rounded down, and
    what is missing then goes to those that lost most, the first of equals (the method of the largest remainder)."""
    units = 10**digits
    scaled = [part * units for part in parts]
    whole = [math.floor(part) for part in scaled]
    missing = round(sum(scaled)) - sum(whole)
    lost_most = sorted(range(len(parts)), key=lambda at: whole[at] - scaled[at])[:missing]
    return [Decimal(number + (at in lost_most)).scaleb(-digits) for at, number in enumerate(whole)]
