"""Any sixty minutes: exact to the last digit, wherever they begin, and None where nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from stream.watch.series import HOUR, MINUTE, NOTHING, Minutes, Series, Spend

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ONE = Spend(Decimal("0.000000000001"), 1)

spends = st.builds(Spend, st.decimals(0, 1_000, places=12), st.integers(0, 5))


def whole(spent: dict[int, Spend]) -> Series:
    """Two hours from NOON, from what each of their 120 minutes spent."""
    hours = {NOON + HOUR * hour: {at % 60: each for at, each in spent.items() if at // 60 == hour} for hour in (0, 1)}
    sums = {hour: sum(each.values(), start=NOTHING) for hour, each in hours.items()}
    return Series(sums, {hour: Minutes.of(each) for hour, each in hours.items()})


@given(st.dictionaries(st.integers(0, 119), spends, max_size=30), st.integers(0, 60))
def test_sixty_minutes_are_the_sum_of_their_minutes(spent: dict[int, Spend], start: int) -> None:
    expected = sum((each for at, each in spent.items() if start <= at < start + 60), start=NOTHING)
    assert whole(spent).spent(NOON + MINUTE * start, running=False) == expected


def test_the_window_that_runs_has_all_of_its_last_hour() -> None:
    """That hour's minutes were read a while ago; what the whole hour has spent is known to the second."""
    series = Series(
        {NOON: ONE, NOON + HOUR: ONE + ONE}, {NOON: Minutes.of({59: ONE}), NOON + HOUR: Minutes.of({}, over=0)}
    )
    start = NOON + MINUTE * 30
    assert series.spent(start, running=True) == ONE + ONE + ONE
    assert series.spent(start, running=False) is None


def test_what_was_not_read_by_the_minute_is_unknown_and_not_zero() -> None:
    start = NOON + MINUTE
    assert Series({NOON: ONE}).spent(start, running=True) is None
    assert Series({NOON: ONE}, {NOON: Minutes.of({}, over=59)}).spent(start, running=True) is None
    assert Series({NOON: ONE}, {NOON: Minutes.of({})}).spent(start, running=False) is None
    assert Series({NOON: ONE}).spent(NOON, running=False) == ONE


def test_an_hour_that_is_not_over_knows_the_minutes_that_are() -> None:
    minutes = Minutes.of({0: ONE, 1: ONE, 2: ONE}, over=2)
    assert [minutes.before(minute) for minute in (0, 1, 2, 3)] == [NOTHING, ONE, ONE + ONE, None]
    assert minutes.since(0) is None
    assert Minutes.of({0: ONE, 59: ONE}).since(1) == ONE
