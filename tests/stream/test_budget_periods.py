"""Periods of budgets: hours, days and months by the clocks of any zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.budgets import zones
from stream.budgets.periods import NO_END, WHOLE_SESSION, Period, Span, bounds, span_at
from tests.support.properties import examples

ZONES = st.sampled_from(sorted(zones.names()))
MINUTES = 60 * 24 * 365 * 30
MOMENTS = st.builds(
    lambda minutes, micros: datetime(2001, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes, microseconds=micros),
    st.integers(0, MINUTES),
    st.integers(0, 60 * 10**6 - 1),
)
PERIODS: list[Period] = ["hour", "day", "month"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "period", "start", "end"),
    [
        ("UTC", "2026-11-30T23:59:59.999", "day", "2026-11-30", "2026-12-01"),
        ("UTC", "2026-12-01", "day", "2026-12-01", "2026-12-02"),
        ("Asia/Seoul", "2026-11-30T14:59:59", "day", "2026-11-29T15:00", "2026-11-30T15:00"),
        ("Asia/Seoul", "2026-11-30T15:00", "day", "2026-11-30T15:00", "2026-12-01T15:00"),
        ("Asia/Seoul", "2026-11-30T15:00", "month", "2026-11-30T15:00", "2026-12-31T15:00"),
        ("Asia/Kolkata", "2026-03-02T05:10", "hour", "2026-03-02T04:30", "2026-03-02T05:30"),
        ("UTC", "2028-02-29T12:00", "month", "2028-02-01", "2028-03-01"),
        # 23 and 25 hours
        ("Europe/Berlin", "2026-03-29T12:00", "day", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-25T12:00", "day", "2026-10-24T22:00", "2026-10-25T23:00"),
        # the hour from two to three that comes twice
        ("Europe/Berlin", "2026-10-25T00:40", "hour", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("Europe/Berlin", "2026-10-25T01:40", "hour", "2026-10-25T01:00", "2026-10-25T02:00"),
        # midnight is skipped; midnight comes twice; a whole day is left out; clocks change by half an hour
        ("America/Sao_Paulo", "2018-11-04T05:00", "day", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("America/Havana", "2025-11-02T05:30", "day", "2025-11-02T04:00", "2025-11-03T05:00"),
        ("Pacific/Apia", "2011-12-30T09:00", "day", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-30T10:00", "day", "2011-12-30T10:00", "2011-12-31T10:00"),
        ("Australia/Lord_Howe", "2026-04-05T13:10", "hour", "2026-04-05T13:00", "2026-04-05T13:30"),
    ],
)
def test_a_period_begins_and_ends_by_the_clocks_of_its_zone(
    zone: str, moment: str, period: Period, start: str, end: str
) -> None:
    assert span_at(utc(moment), period, zone) == Span(utc(start), utc(end))


@examples(500)
@given(MOMENTS, ZONES, st.sampled_from(PERIODS))
def test_periods_follow_one_another_without_a_gap_and_without_a_moment_in_two(
    moment: datetime, zone: str, period: Period
) -> None:
    span = span_at(moment, period, zone)
    assert span.end
    assert span.start <= moment < span.end
    assert span.start.utcoffset() == span.end.utcoffset() == timedelta()
    assert span_at(span.start, period, zone) == span_at(span.end - timedelta(microseconds=1), period, zone) == span
    assert span_at(span.end, period, zone).start == span.end


@examples(500)
@given(MOMENTS, ZONES)
def test_a_day_and_a_month_are_those_of_the_calendar_there(moment: datetime, zone: str) -> None:
    there = moment.astimezone(zones.zone(zone))
    day, month = span_at(moment, "day", zone), span_at(moment, "month", zone)
    assert day.start.astimezone(zones.zone(zone)).date() == there.date()
    assert month.start <= day.start
    assert (month.start.astimezone(zones.zone(zone)).year, month.start.astimezone(zones.zone(zone)).month) == (
        there.year,
        there.month,
    )


def test_clocks_are_those_of_the_pinned_package_whatever_the_machine_has() -> None:
    for name in sorted(zones.names()):
        with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as data:
            pinned = ZoneInfo.from_file(data, key=name)
        found = zones.zone(name)
        assert found.key == name
        for month in range(12 * 10):
            moment = datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=UTC)
            assert moment.astimezone(found).utcoffset() == moment.astimezone(pinned).utcoffset()


@pytest.mark.parametrize(
    "name", ["", "Seoul", "Asia", "asia/seoul", "../zones", "Asia/Seoul/", "/etc/passwd", "localtime", "a\0b"]
)
def test_what_is_no_zone_is_refused_in_words(name: str) -> None:
    with pytest.raises(zones.NoZone, match="is no time zone such as Asia/Seoul"):
        zones.zone(name)


def test_a_session_is_one_period_without_an_end() -> None:
    assert span_at(utc("2026-11-30"), "session", "UTC") == Span(WHOLE_SESSION, None)


@examples(100)
@given(st.lists(MOMENTS, max_size=20), ZONES, st.sampled_from([*PERIODS, "session"]))
def test_of_many_moments_each_has_the_bounds_of_its_period(moments: list[datetime], zone: str, period: Period) -> None:
    whole = [moment.replace(microsecond=moment.microsecond // 1_000 * 1_000) for moment in moments]
    found = bounds(pl.Series(whole, dtype=pl.Datetime("ms", "UTC")), period, zone)
    spans = [span_at(moment, period, zone) for moment in whole]
    assert found["period_start"].to_list() == [span.start for span in spans]
    assert found["period_end"].to_list() == [span.end or NO_END for span in spans]
