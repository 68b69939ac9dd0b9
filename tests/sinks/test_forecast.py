"""What will have been spent when a period ends, on days and hours that were made up: no warehouse is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.forecast import DAYS_OF_MONTH, SHAPES, measured
from sinks.answers.forecast import Forecast, Hour, forecast
from sinks.answers.forecast.outlook import _towards
from sinks.answers.forecast.rhythm import DAMPING, earlier, rhythm, spread

Costs = Sequence[int | str | Decimal | None]  # of days; None: no call of the day has a price

DAY = timedelta(days=1)
DIGITS = Decimal("1e-12")


def days(*costs: int | str) -> list[Decimal]:
    return [Decimal(str(cost)) for cost in costs]


def near(*amounts: Decimal) -> list[Decimal]:
    return [amount.quantize(DIGITS) for amount in amounts]


# --- whole days ---


def test_without_two_weeks_nothing_is_told() -> None:
    assert rhythm(days(*[5] * 13)) is None
    found = rhythm(days(*[5] * 14))
    assert found is not None
    assert near(*found.next(9)) == near(*days(*[5] * 9))


def test_a_weekday_is_what_it_usually_is_drawn_towards_the_others_by_one_week() -> None:
    found = rhythm(days(*[10, 10, 10, 10, 10, 3, 3] * 3))
    assert found is not None
    mean = Decimal(56) / 7
    drawn = [mean * (3 * Decimal(cost) / mean + 1) / 4 for cost in (10, 10, 10, 10, 10, 3, 3)]
    assert near(*found.next(8)) == near(*drawn, drawn[0])


def test_of_four_weeks_the_highest_and_the_lowest_of_a_weekday_do_not_count() -> None:
    usual = [10] * 7
    found = rhythm(days(*usual, *[10, 10, 10, 10, 10, 10, 3_000], *[10, 10, 10, 10, 10, 10, 0], *usual))
    assert found is not None
    assert max(found.weights) < Decimal("1.1")
    found = rhythm(days(*usual, *[10, 10, 10, 10, 10, 10, 3_000], *usual))
    assert found is not None
    assert found.weights[6] > Decimal("2")


def test_a_trend_without_noise_goes_on_and_fades() -> None:
    weeks = [week * 7 for week in range(1, 7)]
    found = rhythm(days(*(level for level in weeks for _ in range(7))))
    assert found is not None
    assert (found.trend, found.weeks) == (1, 6)
    middle = Decimal(5 * 7 + 6 * 7) / 2  # of two weeks: between their seventh day and the eighth
    steps = [DAMPING ** (day + 1) for day in range(10)]
    expected = [middle + Decimal("6.5") + step for step in accumulate(steps)]
    assert near(*found.next(10)) == near(*expected)


def test_a_trend_that_may_be_chance_is_none() -> None:
    found = rhythm(days(*(level for level in (10, 13, 9, 12, 10, 14) for _ in range(7))))
    assert found is not None
    assert found.trend == 0
    strong = rhythm(days(*(level for level in (10, 13, 15, 18, 20, 24) for _ in range(7))))
    assert strong is not None
    assert Decimal("0.3") < strong.trend < Decimal("2.7") / 7


def test_what_was_before_a_jump_does_not_count() -> None:
    found = rhythm(days(*(level for level in (10, 10, 11, 30, 30, 30) for _ in range(7))))
    assert found is not None
    assert (found.weeks, found.trend, found.level) == (3, 0, 30)
    growing = rhythm(days(*(level for level in (10, 20, 30, 40, 50, 60) for _ in range(7))))
    assert growing is not None
    assert growing.weeks == 6


def test_a_jump_has_two_weeks_on_each_side() -> None:
    late = rhythm(days(*(level for level in (10, 10, 10, 10, 30) for _ in range(7))))
    assert late is not None
    assert late.weeks == 5
    two = rhythm(days(*(level for level in (10, 10, 10, 30, 30) for _ in range(7))))
    assert two is not None
    assert (two.weeks, two.level) == (2, 30)


def test_no_more_than_eight_weeks_count() -> None:
    week = days(*[4, 5, 6, 5, 4, 1, 1])
    assert rhythm([*days(*[900] * 50), *week * 8]) == rhythm(week * 8)


def test_where_nothing_was_spent_nothing_is_expected() -> None:
    found = rhythm(days(*[0] * 30))
    assert found is not None
    assert found.next(9) == [0] * 9


def test_of_one_call_in_a_month_each_day_has_its_part() -> None:
    found = rhythm(days(*[0] * 14, 70, *[0] * 13))
    assert found is not None
    assert found.weights == (4, *[Decimal("0.5")] * 6), "a whole week's on its weekday, and the others by one more week"
    assert (found.level, sum(found.next(7))) == (5, 35)


def test_a_cost_is_never_expected_below_nothing() -> None:
    found = rhythm(days(*(level for level in (60, 50, 40, 30, 20, 10) for _ in range(7))))
    assert found is not None
    assert found.trend < -1
    coming = found.next(40)
    assert min(coming) == coming[-1] == 0


@given(
    costs=st.lists(st.integers(0, 10**9), min_size=14, max_size=80),
    factor=st.integers(1, 10**6),
    ahead=st.integers(1, 40),
)
def test_money_of_another_size_is_forecast_alike(costs: Sequence[int], factor: int, ahead: int) -> None:
    """As where the same spend is told in another currency."""
    one, other = (rhythm([Decimal(cost) * by for cost in costs]) for by in (1, factor))
    assert one is not None
    assert other is not None
    assert one.weeks == other.weeks
    allowed = Decimal(max(costs)) * factor * Decimal("1e-20")
    assert all(
        abs(theirs - ours * factor) <= allowed for ours, theirs in zip(one.next(ahead), other.next(ahead), strict=True)
    )
    assert min(one.next(ahead)) >= 0


def test_a_spread_is_what_earlier_forecasts_were_off() -> None:
    known = days(*[10] * 14, *[12] * 7, *[9] * 7, *[11] * 7)
    told = earlier(known)
    assert [start for start, _ in told] == [28, 21, 14]
    assert spread(known, told[:2], 7) is None
    off = [11 - Decimal("10.5"), 9 - Decimal(11), Decimal(2)]  # the levels of two weeks each: 12 and 9, 10 and 12, 10
    expected = (sum(one * one for one in off) / 3).sqrt()
    assert [level for _, found in told for level in [found.level]] == days("10.5", 11, 10)
    assert near(spread(known, told, 7) or Decimal(0)) == near(expected)


def test_of_the_last_starts_only_the_days_since_are_known() -> None:
    known = days(*[10] * 28, *[17] * 7)
    told = earlier(known)
    # Two weeks ahead: from the 28th on one is known, off by 7 a day; from the 21st on the second of two was off by 7.
    expected = ((Decimal(49) + Decimal("3.5") ** 2 + 0) / 3).sqrt()
    assert near(spread(known, told, 14) or Decimal(0)) == near(expected)


# --- the clocks ---

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)  # a Wednesday
SINCE = datetime(2026, 7, 29, tzinfo=UTC)


def hours(first: date, costs: Costs, *, at: int = 6, zone: ZoneInfo | None = None) -> list[Hour]:
    """One call a day, at this hour of it."""
    found = list[Hour]()
    for number, cost in enumerate(costs):
        start = datetime.combine(first + number * DAY, time(at), zone or UTC).astimezone(UTC)
        found.append(Hour(start, None if cost is None else Decimal(str(cost)), 1, int(cost is None)))
    return found


def told(known: Sequence[Hour], now: datetime = NOW, zone: ZoneInfo | None = None) -> Forecast:
    return forecast(known, now=now, since=SINCE, zone=zone or UTC)


def test_with_less_than_two_weeks_the_share_of_the_period_that_is_over_tells() -> None:
    """Requirement B-19: 600 USD when ten of thirty days are over are 1,800 for all of them."""
    known = hours(date(2026, 11, 1), [60] * 10)
    found = told(known, now=datetime(2026, 11, 11, tzinfo=UTC))
    assert (found.method, found.whole_days, found.weeks) == ("elapsed", 9, 0)
    day, week, month = found.outlooks
    assert (month.period, month.so_far, month.expected) == ("month", 600, 1_800)
    assert (month.start, month.end) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert (week.period, week.so_far, week.expected) == ("week", 120, 420)
    assert (week.start, week.end) == (datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 16, tzinfo=UTC))
    assert (day.period, day.so_far, day.expected) == ("day", 0, None), "nothing of the day is over"
    assert all((one.low, one.high) == (None, None) for one in found.outlooks)


@pytest.mark.parametrize(("minutes", "expected"), [(71, None), (72, Decimal(20))])
def test_the_first_twentieth_of_a_period_tells_nothing_of_the_rest(minutes: int, expected: Decimal | None) -> None:
    found = told(hours(date(2026, 11, 18), [1], at=0), now=datetime(2026, 11, 18, tzinfo=UTC) + minutes * DAY / 1_440)
    assert found.outlooks[0].expected == expected


def test_the_first_day_may_have_begun_in_the_middle_and_does_not_count() -> None:
    assert told(hours(date(2026, 11, 3), [1] * 15)).whole_days == 14
    assert told(hours(date(2026, 11, 3), [1] * 15)).method == "rhythm"
    assert told(hours(date(2026, 11, 4), [1] * 14)).method == "elapsed"
    assert told(hours(SINCE.date(), [1])).whole_days == 112, "what was before it is not asked for"


def test_a_day_without_calls_has_cost_nothing() -> None:
    known = hours(date(2026, 10, 1), [10] * 20)  # the last one on the 20th of October
    found = told(known)
    assert found.whole_days == 47
    assert [one.expected for one in found.outlooks] == [0, 0, 0]


def test_the_rest_of_today_is_what_a_usual_day_has_left() -> None:
    """Each day 4 USD at 6 h, 4 at 12 h, 2 at 20 h. At 12:30 4 are spent, and half of the hour's 4 usually are."""
    first = date(2026, 10, 1)
    usual = [*hours(first, [4] * 48), *hours(first, [4] * 48, at=12), *hours(first, [2] * 48, at=20)]
    now = datetime(2026, 11, 18, 12, 30, tzinfo=UTC)
    today = hours(date(2026, 11, 18), [4])
    found = told(sorted([*usual, *today], key=lambda hour: hour.start), now=now)
    day, week, month = found.outlooks
    assert (day.so_far, day.expected) == (4, 8)
    assert (week.so_far, week.expected) == (24, 24 + 4 + 4 * 10)
    assert (month.so_far, month.expected) == (174, 174 + 4 + 12 * 10)
    assert (month.low, month.high) == (month.expected, month.expected), "no day was ever another"


def test_a_weekday_that_spends_later_than_others_is_held_against_itself() -> None:
    """Wednesdays spend their 10 USD at 18 h, all other days at 6 h. It is noon of a Wednesday."""
    first = date(2026, 9, 24)
    known = [
        hour
        for number in range(55)
        for day in [first + number * DAY]
        for hour in hours(day, [10], at=18 if day.weekday() == NOW.weekday() else 6)
    ]
    assert [one.expected for one in told(known).outlooks[:2]] == [10, 20 + 10 + 4 * 10]
    two = [hour for hour in known if hour.start.weekday() != NOW.weekday() or hour.start.date() >= date(2026, 11, 4)]
    (day, *_), without = told(two).outlooks, [hour for hour in two if hour.start.weekday() != NOW.weekday()]
    assert day.expected is not None
    assert day.expected < 5, "of two Wednesdays nothing is learned"
    assert told(without).outlooks[0].expected == 0


def test_a_share_moves_towards_the_weekdays_as_far_as_they_stand_out_from_chance() -> None:
    shares = [Decimal("0.2"), Decimal("0.4"), Decimal("0.6")]  # 0.4, with a standard error whose square is 0.04 / 3
    assert _towards(Decimal("0.3"), shares) == Decimal("0.3"), "0.1 away is chance"
    assert _towards(Decimal("0.1"), shares).quantize(DIGITS) == Decimal("0.355555555556"), "23 parts of 27 of the way"
    assert _towards(Decimal("0.7"), shares).quantize(DIGITS) == Decimal("0.444444444444")
    assert _towards(Decimal("0.1"), shares[:2]) == Decimal("0.1")
    assert _towards(Decimal("0.1"), [Decimal("0.4")] * 3) == Decimal("0.4")
    assert _towards(Decimal("0.4"), [Decimal("0.4")] * 3) == Decimal("0.4")


def test_where_no_hour_tells_the_clock_does() -> None:
    found = told(hours(date(2026, 10, 1), [10, *[0] * 48]))
    assert found.outlooks[0].expected == 0
    spent = told(hours(date(2026, 8, 1), [100] * 81), now=NOW)  # nothing for four weeks
    assert spent.outlooks[0].expected == 0


def test_days_begin_by_the_clocks_of_the_zone() -> None:
    seoul = ZoneInfo("Asia/Seoul")
    now = datetime(2026, 11, 30, 16, tzinfo=UTC)  # in Seoul the 1st of December, 1 h
    known = hours(date(2026, 11, 30), ["0.5", 7], at=0, zone=seoul)
    month = told(known, now=now, zone=seoul).outlooks[2]
    assert (month.start, month.end) == (datetime(2026, 11, 30, 15, tzinfo=UTC), datetime(2026, 12, 31, 15, tzinfo=UTC))
    assert month.so_far == 7


def test_where_it_is_tomorrow_already_so_many_days_are_left() -> None:
    """At 20:00 UTC on the 15th it is the 16th in Seoul: 15 days of the month are over there, and five hours."""
    now, seoul = datetime(2026, 11, 15, 20, tzinfo=UTC), ZoneInfo("Asia/Seoul")
    start = datetime(2026, 9, 1, tzinfo=UTC)
    known = [Hour(start + number * timedelta(hours=1), Decimal(1), 1, 0) for number in range(24 * 76 - 4)]
    found = forecast(known, now=now, since=start, zone=seoul)
    day, _, month = found.outlooks
    assert (day.start, day.end) == (datetime(2026, 11, 15, 15, tzinfo=UTC), datetime(2026, 11, 16, 15, tzinfo=UTC))
    assert (day.so_far, month.so_far) == (5, 15 * 24 + 5)
    assert near(*(one.expected or Decimal(0) for one in (day, month))) == near(Decimal(24), Decimal(30 * 24))


def test_a_day_with_another_number_of_hours_is_one_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 10, 25, 12, tzinfo=UTC)  # 25 hours long
    found = told(hours(date(2026, 9, 20), [10] * 36, at=0, zone=berlin), now=now, zone=berlin)
    day = found.outlooks[0]
    assert day.end - day.start == timedelta(hours=25)
    assert found.whole_days == 34
    assert (day.so_far, day.expected) == (10, 10)


def test_a_band_holds_what_is_spent_already_and_what_is_expected() -> None:
    costs = [10, 14, 9, 12, 8, 15, 11] * 7
    found = told(hours(date(2026, 9, 30), costs))
    for one in found.outlooks:
        assert one.expected is not None
        assert one.low is not None
        assert one.high is not None
        assert one.so_far <= one.low <= one.expected <= one.high
    assert found.outlooks[2].high > found.outlooks[2].expected  # type: ignore[operator]


def test_a_band_is_told_from_35_days_on() -> None:
    def band(whole_days: int) -> Decimal | None:
        return told(hours(NOW.date() - (whole_days + 1) * DAY, [10] * (whole_days + 1))).outlooks[2].low

    assert band(34) is None
    assert band(35) is not None


def test_calls_without_a_price_are_counted_and_cost_nothing_here() -> None:
    found = told(hours(date(2026, 11, 1), [1, None, 1]))
    assert (found.calls, found.unpriced_calls) == (3, 1)
    assert found.outlooks[2].so_far == 2


def test_what_comes_later_is_not_known() -> None:
    known = hours(date(2026, 11, 1), [1] * 20)
    assert told(known) == told([hour for hour in known if hour.start < NOW])
    assert told(hours(NOW.date(), [1], at=NOW.hour)).calls == 0, "an hour that begins now has no calls yet"


def test_what_was_spent_is_exact_however_much_it_is() -> None:
    much = "12345678901234567890123456.123456789012"
    few = told(hours(date(2026, 11, 16), [much, "0.000000000001", much]))
    many = told(hours(date(2026, 10, 1), [much] * 49))
    assert few.outlooks[1].so_far == Decimal("24691357802469135780246912.246913578025")
    assert many.outlooks[1].so_far == Decimal("37037036703703703670370368.370370367036")


def test_an_amount_has_twelve_digits_after_the_point() -> None:
    """As an alert and the warehouse have it."""
    third = told(hours(date(2026, 11, 18), ["0.1"], at=0), now=datetime(2026, 11, 18, 7, tzinfo=UTC))
    assert third.outlooks[0].expected == Decimal("0.342857142857")


# --- when an amount is reached ---


def test_the_moment_at_which_an_amount_is_reached_is_told_day_by_day() -> None:
    found = told(hours(date(2026, 10, 1), [10] * 49))  # each day at 6 h; on the 18th of November at noon 180 are spent
    month = found.outlooks[2]
    assert (month.so_far, month.expected) == (180, 300)
    assert month.reached_at(Decimal(180)) is None, "it is"
    assert month.reached_at(Decimal(185)) == datetime(2026, 11, 19, 12, tzinfo=UTC)
    assert month.reached_at(Decimal(200)) == datetime(2026, 11, 21, tzinfo=UTC)
    assert month.reached_at(Decimal(300)) == datetime(2026, 12, 1, tzinfo=UTC)
    assert month.reached_at(Decimal(301)) is None
    assert [one.cost for one in month.coming] == [0, *[10] * 12]
    assert month.coming[0].start == NOW
    assert [one.end for one in month.coming[:-1]] == [one.start for one in month.coming[1:]]


def test_by_the_simple_projection_it_is_reached_at_an_even_pace() -> None:
    month = told(hours(date(2026, 11, 1), [60] * 10), now=datetime(2026, 11, 11, tzinfo=UTC)).outlooks[2]
    assert month.reached_at(Decimal(900)) == datetime(2026, 11, 16, tzinfo=UTC)
    none = told(hours(date(2026, 11, 18), [1], at=0), now=datetime(2026, 11, 18, 1, tzinfo=UTC)).outlooks[0]
    assert (none.coming, none.reached_at(Decimal(2))) == ((), None)


def test_calls_without_a_price_are_those_of_the_period() -> None:
    found = told(hours(date(2026, 11, 15), [1, None, 1, None]))
    assert [one.unpriced_calls for one in found.outlooks] == [1, 2, 2]


# --- how far off ---


@pytest.mark.parametrize("day", DAYS_OF_MONTH)
def test_it_is_as_near_as_the_page_says(day: int) -> None:
    """docs/forecast.md, with fewer series."""
    rows = [measured(shape, day, range(30)) for shape in SHAPES]
    ratio = sum(row.ours / row.others["run rate"] for row in rows) / len(rows)
    assert ratio < {5: 0.6, 15: 0.9, 25: 0.9}[day]
    assert 70 < sum(row.covered for row in rows) / len(rows) < 90
