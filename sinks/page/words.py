"""How figures are written for people. The exact ones stand beside them, in the title of the same element."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from costream.alerts import rounded
from sinks.figures.plain import decimal_text

SIGNS: Final[Mapping[str, str]] = {"USD": "$", "EUR": "€", "GBP": "£", "KRW": "₩", "JPY": "¥", "INR": "₹"}
WHOLE: Final = frozenset({"KRW", "JPY"})  # nobody writes parts of one
SMALL: Final = Decimal(1)
DIGITS: Final = 2
DIGITS_OF_SMALL: Final = 3
UNKNOWN: Final = "unknown"
NONE: Final = "(none)"


def money(amount: Decimal | None, currency: str = "USD") -> str:
    """Two digits after the point; three that tell something where it is less than one."""
    if amount is None:
        return UNKNOWN
    sign, minus = SIGNS.get(currency, f"{currency} "), "-" if amount < 0 else ""
    size, least = abs(amount), 0 if currency in WHOLE else DIGITS
    if size and size < SMALL:
        size = size.quantize(Decimal(1).scaleb(size.adjusted() - DIGITS_OF_SMALL + 1), rounding=ROUND_HALF_EVEN)
        least = max(least, -size.normalize().as_tuple().exponent)  # type: ignore[operator]  # it is a number
    return f"{minus}{sign}{rounded(size, digits=least):,f}"


def exact(amount: Decimal | None, currency: str = "USD") -> str:
    """With all its digits."""
    return "no call of it has a known price" if amount is None else f"{decimal_text(amount)} {currency}"


def percent(share: Decimal | None, *, digits: int = 1) -> str:
    return UNKNOWN if share is None else f"{rounded(share * 100, digits=digits):,f} %"


def used(ratio: Decimal | None) -> Decimal:
    """The length of a bar, 0 to 100."""
    return Decimal(0) if ratio is None else max(Decimal(0), min(Decimal(100), ratio * 100))


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(at: datetime, clocks: tzinfo) -> str:
    """What has no zone is UTC, as some columns of the warehouse are read."""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return f"{at.astimezone(clocks):%Y-%m-%d %H:%M}"


def name(value: str) -> str:
    return value or NONE


def change(now: Decimal | None, before: Decimal | None) -> str:
    """In percent of what was before; nothing where that is not known or 0."""
    if now is None or not before:
        return ""
    return f"{rounded((now - before) * 100 / before, digits=1):+,f} %"
