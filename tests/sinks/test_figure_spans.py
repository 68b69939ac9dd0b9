"""Which moments a span is about, by name and by two texts, where clocks change too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sinks.figures.spans import NAMED, BadQuestion, Named, Span, span_of
from stream.budgets.zones import zone

NOW = datetime(2026, 11, 19, 9, 30, tzinfo=UTC)  # a Thursday
NOW_TEXT = "2026-11-19T09:30"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(now: datetime = NOW, *, clocks: str = "UTC", **asked: object) -> Span:
    return span_of(now=now, zone=clocks, zone_of=zone, **asked)  # type: ignore[arg-type]  # as a person gives them


@pytest.mark.parametrize(
    ("named", "since", "until"),
    [
        ("hour", "2026-11-19T08:30", NOW_TEXT),
        ("24h", "2026-11-18T09:30", NOW_TEXT),
        ("7d", "2026-11-13T00:00", NOW_TEXT),
        ("30d", "2026-10-21T00:00", NOW_TEXT),
        ("90d", "2026-08-22T00:00", NOW_TEXT),
        ("today", "2026-11-19T00:00", NOW_TEXT),
        ("yesterday", "2026-11-18T00:00", "2026-11-19T00:00"),
        ("week", "2026-11-16T00:00", NOW_TEXT),
        ("month", "2026-11-01T00:00", NOW_TEXT),
        ("last-month", "2026-10-01T00:00", "2026-11-01T00:00"),
    ],
)
def test_a_span_by_name(named: Named, since: str, until: str) -> None:
    told = spans(named=named)
    assert (told.since, told.until) == (utc(since), utc(until))


def test_every_name_is_tried() -> None:
    assert len(NAMED) == 10
    assert all(spans(named=named).since < NOW for named in NAMED)


def test_days_begin_by_the_clocks_of_the_zone() -> None:
    """It is 18:30 in Seoul, nine hours ahead, so its month began at 15:00 UTC of the last day before."""
    told = spans(named="month", clocks="Asia/Seoul")
    assert told.since == datetime(2026, 10, 31, 15, tzinfo=UTC)
    assert spans(named="yesterday", clocks="Asia/Seoul").until == datetime(2026, 11, 18, 15, tzinfo=UTC)


def test_a_day_on_which_clocks_are_set_back_has_25_hours() -> None:
    told = spans(datetime(2026, 11, 2, 12, tzinfo=UTC), named="yesterday", clocks="America/New_York")
    assert told.until - told.since == timedelta(hours=25)


@pytest.mark.parametrize(
    ("since", "until", "first", "last"),
    [
        ("2026-11-01", "2026-11-02", "2026-10-31T15:00", "2026-11-01T15:00"),
        ("2026-11-01T08:00", "", "2026-10-31T23:00", "2026-11-19T09:30"),
        ("2026-11-01T08:00:00Z", "2026-11-01T10:00:00+01:00", "2026-11-01T08:00", "2026-11-01T09:00"),
    ],
)
def test_two_texts_are_by_the_clocks_of_the_zone_unless_they_say_an_offset(
    since: str, until: str, first: str, last: str
) -> None:
    told = spans(clocks="Asia/Seoul", since=since, until=until)
    assert (told.since, told.until) == (utc(first), utc(last))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"since": "yesterday"}, "from: 'yesterday' is neither a day such as 2026-11-01 nor a moment"),
        ({"since": "2026-11-02", "until": "2026-11-01"}, "is not before to"),
        ({"since": "2026-11-02", "until": "2026-11-02"}, "is not before to"),
        ({"since": "0001-01-01"}, "from: the year 1 is outside 2000 to 2099"),
        ({"until": "2026-11-01"}, "to has no from"),
        ({"named": "month", "since": "2026-11-01"}, "exclude each other: give one of them"),
        ({"named": "month", "clocks": "Mars/Olympus"}, "zone: 'Mars/Olympus' is no time zone"),
        ({"named": "month", "clocks": "../etc/passwd"}, "is no time zone"),
        ({"named": "month", "currency": "usd"}, "currency: 'usd' is no currency"),
        ({"named": "month", "currency": "USD'"}, "is no currency"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(asked: dict[str, str], says: str) -> None:
    with pytest.raises(BadQuestion) as refused:
        spans(**asked)
    assert says in str(refused.value)
