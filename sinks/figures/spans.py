"""Which span a question is about: one by name, or from one moment until before another, by the clocks of a zone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, Literal, get_args

ZoneOf = Callable[[str], tzinfo]  # of a zone's name; raises ValueError
Named = Literal["hour", "24h", "7d", "30d", "90d", "today", "yesterday", "week", "month", "last-month"]
NAMED: Final[tuple[Named, ...]] = get_args(Named)

_LENGTHS: Final[Mapping[str, timedelta]] = {"hour": timedelta(hours=1), "24h": timedelta(hours=24)}
_DAYS: Final[Mapping[str, int]] = {"7d": 7, "30d": 30, "90d": 90}  # today and those before it, as in the plain views
_DAY: Final = timedelta(days=1)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
YEARS: Final = range(2000, 2100)


class BadQuestion(ValueError):
    """What is asked cannot be meant; the message says which part, and what may stand there. Nothing was asked."""


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since`` on and until before ``until``, both aware; days by the clocks of ``zone``, ``cost`` in
    ``currency``."""

    since: datetime
    until: datetime
    zone: str = "UTC"
    currency: str = "USD"

    @property
    def told(self) -> dict[str, Any]:
        """What stands beside an answer about it."""
        return {"from": self.since, "to": self.until, "zone": self.zone, "currency": self.currency}

    @property
    def parameters(self) -> dict[str, str]:
        """As a ``*_between`` view takes them."""
        return {
            "since": _instant(self.since),
            "until": _instant(self.until),
            "zone": self.zone,
            "currency": self.currency,
        }


# What stands behind the name of a view that takes ``Span.parameters``.
BETWEEN: Final = (
    "_between(from = {since:String}, to = {until:String}, zone = {zone:String}, currency = {currency:String})"
)


def span_of(
    *,
    now: datetime,
    zone: str,
    zone_of: ZoneOf,
    named: Named | None = None,
    since: str = "",
    until: str = "",
    currency: str = "USD",
) -> Span:
    """Of a name, or of two texts: a day such as 2026-11-01 (its first moment), or a moment in ISO 8601. Without an
    offset both are by the clocks of ``zone``. Without ``until`` it ends now. Raises ``BadQuestion``."""
    clocks = clocks_of(zone, zone_of)
    if not _CURRENCY.fullmatch(currency):
        raise BadQuestion(f"currency: '{currency[:20]}' is no currency such as USD or KRW")
    if named is not None:
        if since or until:
            raise BadQuestion("a span by name and one from a moment on exclude each other: give one of them")
        start, end = _named(named, now, clocks)
    else:
        if not since:
            raise BadQuestion("to has no from: give both, or from alone, or a span such as month")
        start, end = _moment("from", since, clocks), _moment("to", until, clocks) if until else now
    if start >= end:
        raise BadQuestion(f"from ({start.isoformat()}) is not before to ({end.isoformat()})")
    return Span(start, end, zone, currency)


def clocks_of(zone: str, zone_of: ZoneOf) -> tzinfo:
    try:
        return zone_of(zone)
    except ValueError as error:
        raise BadQuestion(f"zone: '{zone[:60]}' is no time zone such as Asia/Seoul") from error


def _named(named: Named, now: datetime, clocks: tzinfo) -> tuple[datetime, datetime]:
    if named in _LENGTHS:
        return now - _LENGTHS[named], now
    today = now.astimezone(clocks).date()
    first = today.replace(day=1)
    if named == "last-month":
        return _midnight((first - _DAY).replace(day=1), clocks), _midnight(first, clocks)
    if named == "yesterday":
        return _midnight(today - _DAY, clocks), _midnight(today, clocks)
    starts = {"today": today, "week": today - today.weekday() * _DAY, "month": first}
    start = starts[named] if named in starts else today - (_DAYS[named] - 1) * _DAY
    return _midnight(start, clocks), now


def _midnight(day: date, clocks: tzinfo) -> datetime:
    return datetime.combine(day, time(), clocks).astimezone(UTC)


def _moment(name: str, text: str, clocks: tzinfo) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadQuestion(
            f"{name}: '{text[:60]}' is neither a day such as 2026-11-01 nor a moment such as 2026-11-01T08:00:00Z"
        ) from error
    if found.year not in YEARS:
        raise BadQuestion(f"{name}: the year {found.year} is outside {YEARS.start} to {YEARS.stop - 1}")
    return (found if found.tzinfo else found.replace(tzinfo=clocks)).astimezone(UTC)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
