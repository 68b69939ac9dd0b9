"""What an hour usually costs: cold start, the week, spreads of nothing, and odd hours that must not teach."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.watch.baseline import LASTING, Baseline, Thresholds, anomaly_baseline, spike_baseline
from stream.watch.case import Baselines, Windows
from stream.watch.few_calls import calls_above
from stream.watch.few_calls import scores as few_calls_scores
from stream.watch.series import HOUR, Series, Spend
from stream.watch.usual import HISTORY_HOURS
from tests.support.properties import examples

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
THRESHOLDS = Thresholds()


def series(hours: int, cost: Callable[[datetime], object]) -> Series:
    """``hours`` whole hours before NOON; an hour that costs nothing has no row, as in the warehouse."""
    every = [NOON - HOUR * back for back in range(1, hours + 1)]
    rows = {hour: Spend(Decimal(str(cost(hour)))) for hour in every}
    return Series({hour: each for hour, each in rows.items() if each.cost_usd or hour == every[-1]})


def anomaly(hours: int, cost: Callable[[datetime], object], *, thresholds: Thresholds = THRESHOLDS) -> Baseline:
    """After ``hours`` whole hours, and the one before them in which the events began."""
    baseline = anomaly_baseline(series(hours + 1, cost), NOON, thresholds)
    assert baseline is not None
    return baseline


def busy_by_day(hour: datetime) -> str:
    return "20" if 8 <= hour.hour < 20 and hour.weekday() < 5 else "1"


def test_too_short_a_history_has_no_baseline_and_the_minimum_is_enough() -> None:
    assert anomaly_baseline(series(24, lambda _: "1"), NOON, THRESHOLDS) is None
    assert anomaly_baseline(series(25, lambda _: "1"), NOON, THRESHOLDS) is not None
    assert anomaly_baseline(Series({}), NOON, THRESHOLDS) is None
    assert spike_baseline(Series({}), NOON, THRESHOLDS) is None


@examples(20)
@given(st.integers(0, 2**32))
def test_hours_before_the_history_say_nothing(seed: int) -> None:
    dice = random.Random(seed)
    costs = {NOON - HOUR * back: f"{dice.lognormvariate(2, 0.6):.6f}" for back in range(1, HISTORY_HOURS + 100)}
    known = anomaly(HISTORY_HOURS + 90, lambda hour: costs[hour])
    assert known == anomaly(HISTORY_HOURS + 90, lambda hour: "7" if hour < NOON - HOUR * HISTORY_HOURS else costs[hour])
    assert known != anomaly(
        HISTORY_HOURS + 90, lambda hour: "7" if hour < NOON - HOUR * (HISTORY_HOURS // 2) else costs[hour]
    )


def test_the_hour_in_which_the_events_began_is_not_compared_with() -> None:
    """It is a part of an hour: a week later the whole one would look like many times the usual."""
    began = NOON - HOUR * 168
    baseline = anomaly_baseline(series(168, lambda hour: "0.1" if hour == began else "10"), NOON, THRESHOLDS)
    assert baseline is not None
    assert baseline.expected == 10
    assert began not in baseline.compared_to


def test_before_a_week_has_passed_an_hour_needs_twice_the_dearest_hour_so_far() -> None:
    baseline = anomaly(72, lambda hour: "50" if hour.hour == 2 else "1")
    assert baseline.expected == 1
    assert baseline.open_above == 100
    assert baseline.basis == "the median of the last 72 hours"


def test_before_a_week_has_passed_the_scale_is_wider() -> None:
    cold, warm = anomaly(167, lambda _: "10"), anomaly(168 * 3, lambda _: "10")
    assert float(cold.open_above) == pytest.approx(10.01 * math.exp(0.8 + 3 * 0.175) - 0.01, abs=1e-5)
    assert float(warm.open_above) == pytest.approx(10.01 * math.exp(0.3 + 3 * 0.07) - 0.01, abs=1e-5)


def test_the_levels_are_the_statistics_that_they_say() -> None:
    """Logarithms of e^0 and e^2 in turn: their median is 1, and so is the median of what they stand off it.

    Of normal noise as wide one hour of 20 lies beyond 1.645 deviations, and each step is 0.363 of them.
    """
    costs = ("0.99", f"{math.exp(2) - 0.01:.12f}")
    baseline = anomaly(72, lambda hour: costs[hour.hour % 2])
    assert float(baseline.expected) == pytest.approx(math.e - 0.01, abs=2e-6)
    assert float(baseline.open_above) == pytest.approx(math.exp(1 + (1.645 + 3 * 0.363) * 1.4826) - 0.01, abs=1e-3)
    assert float(baseline.clear_below) == pytest.approx(math.exp(1 + (1.645 + 2 * 0.363) * 1.4826) - 0.01, abs=1e-3)


def test_an_anomaly_stays_between_its_two_levels() -> None:
    """Costs that never vary have the least edge, 0.3, and the least step, 0.07."""
    baseline = anomaly(168 * 4, lambda _: "10")
    assert float(baseline.open_above) == pytest.approx(10.01 * math.exp(0.3 + 3 * 0.07) - 0.01, abs=1e-5)
    assert float(baseline.clear_below) == pytest.approx(10.01 * math.exp(0.3 + 2 * 0.07) - 0.01, abs=1e-5)
    between = Decimal("16")
    assert not baseline.trips(between)
    assert not baseline.quiet(between)
    assert baseline.quiet(Decimal("15.5"))


def test_the_clear_level_of_small_costs_is_half_of_the_least_rise_above_the_usual() -> None:
    baseline = anomaly(168 * 4, lambda _: "0.10")
    assert (baseline.open_above, baseline.clear_below) == (Fraction("1.1"), Fraction("0.6"))


def test_a_week_is_enough_to_know_this_hour_of_the_week() -> None:
    baseline = anomaly(168, busy_by_day)
    assert baseline.expected == 20
    assert baseline.compared_to == (NOON - HOUR * 168,)
    assert baseline.basis == "this hour of the week and of the day, over the last week"


def test_an_hour_is_compared_to_the_same_hour_of_the_last_weeks() -> None:
    baseline = anomaly(168 * 7, busy_by_day)
    assert baseline.compared_to == tuple(NOON - HOUR * 168 * back for back in range(1, 5))
    assert baseline.expected == 20


@pytest.mark.parametrize(("hours", "times"), [(168, 3.76), (335, 3.76), (336, 1.67)])
def test_the_levels_are_wider_until_a_week_was_compared_with_the_one_before(hours: int, times: float) -> None:
    assert float(anomaly(hours, lambda _: "10").open_above) == pytest.approx(10 * times, abs=0.1)


def test_costs_that_never_vary_still_leave_room() -> None:
    baseline = anomaly(168 * 4, lambda _: "10")
    assert not baseline.trips(Decimal("16.6"))
    assert baseline.trips(Decimal("16.7"))


def test_a_history_of_nothing_expects_nothing_and_only_the_minimum_cost_counts() -> None:
    baseline = anomaly(168 * 4, lambda _: "0")
    assert baseline.expected == 0
    assert baseline.open_above == 1
    assert not baseline.trips(Decimal(1))
    assert baseline.trips(Decimal("1.000001"))


def test_a_rise_below_the_minimum_cost_never_trips() -> None:
    thresholds = Thresholds(cost_usd_min=Decimal(25))
    assert anomaly(168 * 4, lambda _: "10", thresholds=thresholds).open_above == 35


def test_one_odd_week_does_not_move_the_expected_cost() -> None:
    odd = NOON - HOUR * 168 * 2
    baseline = anomaly(168 * 5, lambda hour: "5000" if hour == odd else busy_by_day(hour))
    assert baseline.expected == 20


@pytest.mark.parametrize("cost", ["0", "5000"])
@pytest.mark.parametrize(("weeks", "odd"), [(3, 1), (5, 1)])
def test_fewer_than_half_of_the_weeks_do_not_move_the_expected_cost_by_being_odd(
    weeks: int, odd: int, cost: str
) -> None:
    odd_hours = {NOON - HOUR * 168 * back for back in range(1, odd + 1)}
    baseline = anomaly(168 * weeks, lambda hour: cost if hour in odd_hours else busy_by_day(hour))
    assert baseline.expected == 20


def test_an_hour_of_a_few_cents_is_one_of_those_that_tell_of_the_spread() -> None:
    thresholds = Thresholds(cost_usd_min=Decimal("0.01"))
    baseline = anomaly(168 * 4, lambda _: "0.10", thresholds=thresholds)
    assert float(baseline.open_above) == pytest.approx(0.11 * math.exp(0.3 + 3 * 0.07) - 0.01, abs=1e-5)


def test_yesterdays_spike_does_not_teach_today() -> None:
    spiky = {NOON - HOUR * back for back in range(1, 7)}
    baseline = anomaly(168 * 4, lambda hour: "5000" if hour in spiky else busy_by_day(hour))
    assert baseline.expected == 20
    assert baseline.open_above < 60


def test_of_an_hour_that_is_usually_silent_no_less_than_nothing_is_expected_though_all_others_have_fallen() -> None:
    since = NOON - HOUR * 24
    silent = (NOON.weekday(), NOON.hour)
    fallen = anomaly(
        168 * 4, lambda hour: "0" if (hour.weekday(), hour.hour) == silent else "1" if hour >= since else "10"
    )
    assert fallen.expected == 0
    assert fallen.open_above == 1


@pytest.mark.parametrize(("hours", "expected"), [(27, 20), (28, 20 * math.sqrt(3)), (29, 60)])
def test_what_everything_has_grown_by_for_more_than_a_day_is_expected(hours: int, expected: float) -> None:
    since = NOON - HOUR * hours
    baseline = anomaly(168 * 4, lambda hour: int(busy_by_day(hour)) * (3 if hour >= since else 1))
    assert float(baseline.expected) == pytest.approx(expected, rel=0.01)


def test_noise_widens_the_levels() -> None:
    dice = random.Random(7)
    calm = anomaly(168 * 4, lambda _: "10")
    noisy = anomaly(168 * 4, lambda _: f"{10 * dice.lognormvariate(0, 0.6):.6f}")
    assert noisy.open_above > calm.open_above * 2


def test_a_feature_that_works_an_hour_a_day_trips_about_as_rarely_as_one_that_always_does() -> None:
    """How rare is said of all hours, so of 30 busy ones a month some two or three may trip."""
    tripped = 0
    for seed in range(12):
        dice = random.Random(seed)
        usual = anomaly(168 * 8, lambda hour, dice=dice: _busy_at_noon(hour, dice))
        tripped += sum(usual.trips(Decimal(_busy_at_noon(NOON, dice))) for _ in range(100))
    assert 0 < tripped <= 1_200 * 3 / 30


def _busy_at_noon(hour: datetime, dice: random.Random) -> str:
    return f"{10 * dice.lognormvariate(0, 0.6):.6f}" if hour.hour == NOON.hour else "0"


def test_two_runaways_do_not_hide_the_third() -> None:
    """Each lasts for hours and costs 500 times the usual."""
    wild = {NOON - HOUR * (back + hour) for back in (300, 500) for hour in range(8)}
    baseline = anomaly(168 * 8, lambda hour: "5000" if hour in wild else "10")
    assert baseline.expected == 10
    assert baseline.trips(Decimal(400))
    one = {hour for hour in wild if hour > NOON - HOUR * 400}
    baseline = anomaly(168 * 8, lambda hour: "5000" if hour in one else "10")
    assert baseline.trips(Decimal(30))


def test_what_goes_on_for_hours_trips_below_the_level_of_a_single_hour() -> None:
    dice = random.Random(3)
    noise = {NOON - HOUR * back: 10 * dice.lognormvariate(0, 0.3) for back in range(1, 168 * 8 + 2)}
    alone = anomaly(168 * 8, lambda hour: f"{noise[hour]:.6f}")
    rise = {NOON - HOUR * back for back in (1, 2)}
    lasts = anomaly(168 * 8, lambda hour: "20" if hour in rise else f"{noise[hour]:.6f}")
    assert lasts.open_above < alone.open_above * Fraction("0.95")
    assert lasts.basis == "this hour of the week and of the day, over the last 4 weeks" + LASTING
    assert alone.basis == "this hour of the week and of the day, over the last 4 weeks"
    assert lasts.open_above >= lasts.expected + 1


def test_a_single_odd_hour_lowers_no_level_of_the_next() -> None:
    before = anomaly(168 * 8, lambda _: "10")
    assert anomaly(168 * 8, lambda hour: "5000" if hour == NOON - HOUR else "10") == before


def test_while_a_rise_goes_on_for_less_than_a_day_it_is_not_usual_again() -> None:
    for hours in (5, 12, 24):
        since = NOON - HOUR * hours
        baseline = anomaly(168 * 4, lambda hour, since=since: "50" if hour >= since else "10")
        assert baseline.expected == 10
        assert baseline.trips(Decimal(50))
        assert not baseline.quiet(Decimal(40))
        assert baseline.quiet(Decimal(10))


def test_after_a_day_of_little_the_usual_is_what_it_was() -> None:
    quiet = {NOON - HOUR * back for back in range(1, 25)}
    baseline = anomaly(168 * 4, lambda hour: "1" if hour in quiet else "10")
    assert baseline.expected == 10


def test_a_weekend_does_not_make_a_working_hour_of_a_silent_one() -> None:
    """Sunday noon of an office: at this hour of the other days it works, and that says nothing of a Sunday."""
    sunday = NOON - HOUR * 24
    hours = {sunday - HOUR * back: "20" for back in range(1, 168 * 6)}
    working = {hour: Spend(Decimal(cost)) for hour, cost in hours.items() if busy_by_day(hour) == "20"}
    baseline = anomaly_baseline(Series(working), sunday, THRESHOLDS)
    assert baseline is not None
    assert baseline.expected == 0
    assert baseline.trips(Decimal(20))


def few(calls_an_hour: float, *, cost: str = "2") -> Series:
    """A feature of so many calls an hour, in five weeks."""
    dice = np.random.default_rng(5)
    drawn = dice.poisson(calls_an_hour, 168 * 5)
    hours = {NOON - HOUR * back: int(calls) for back, calls in enumerate(drawn, start=1)}
    return Series({hour: Spend(Decimal(cost) * calls, calls=calls) for hour, calls in hours.items() if calls})


def judged(known: Series) -> Baseline:
    baseline = anomaly_baseline(known, NOON, THRESHOLDS)
    assert baseline is not None
    return baseline


def test_where_calls_are_few_many_of_them_trip_and_one_that_is_dearer_does_not() -> None:
    baseline = judged(few(0.5))
    assert baseline.many is not None
    above = baseline.many.calls_above
    assert 4 <= above <= 6
    assert baseline.basis.endswith(f"; more than {above} calls an hour are rare")
    assert baseline.trips(Decimal(12), above + 1)
    assert not baseline.trips(Decimal(12), above)
    assert baseline.level_of(Decimal(12)) == baseline.many.cost_above == baseline.expected + 1


def test_where_calls_are_few_an_hour_above_twice_the_dearest_of_five_weeks_trips_by_itself() -> None:
    known = few(0.5)
    most = max(each.cost_usd for each in known.hours.values())
    baseline = judged(known)
    assert not baseline.trips(2 * most, 1)
    assert baseline.trips(2 * most + 1, 1)
    assert baseline.level_of(2 * most + 1) == baseline.open_above == 2 * most


def test_many_calls_that_cost_too_little_for_an_alert_are_none() -> None:
    baseline = judged(few(0.5, cost="0.001"))
    assert not baseline.trips(Decimal("0.9"), 50)
    assert baseline.trips(Decimal("1.1"), 50)


def test_after_an_hour_of_many_calls_one_of_a_few_is_quiet() -> None:
    baseline = judged(few(0.5))
    assert not baseline.quiet(Decimal(20), 50)
    assert baseline.quiet(Decimal(2), 1)


@pytest.mark.parametrize("calls_an_hour", [0.5, 40])
def test_a_score_beyond_all_bounds_is_a_level_that_nothing_reaches(calls_an_hour: float) -> None:
    thresholds = Thresholds(anomaly_score=Decimal("1e9"), anomaly_score_clear=Decimal("1e9"))
    baseline = anomaly_baseline(few(calls_an_hour), NOON, thresholds)
    assert baseline is not None
    assert not baseline.trips(Decimal(10**12), 40)
    assert baseline.clear_below <= baseline.open_above


@pytest.mark.parametrize(("calls_an_hour", "asked"), [(2.5, True), (3.5, False)])
def test_calls_are_asked_for_below_three_an_hour(calls_an_hour: float, asked: bool) -> None:
    assert (judged(few(calls_an_hour)).many is not None) is asked


def test_where_nobody_knows_the_calls_costs_alone_are_asked() -> None:
    assert anomaly(168 * 4, lambda _: "10").many is None


@examples(40)
@given(st.floats(0.01, 2.9), st.floats(1.1, 6))
def test_one_call_more_than_are_usual_is_rarer_than_the_score_and_that_many_are_not(mean: float, score: float) -> None:
    above = calls_above(score, mean)
    found = few_calls_scores(np.array([above, above + 1.0]), np.array([mean, mean]))
    assert found[0] <= score < found[1]


def test_noise_of_five_weeks_rarely_trips() -> None:
    """1,000 random hours like the 840 before them: an operator who is woken for nothing stops looking."""
    dice = random.Random(11)
    noise = [Decimal(f"{10 * dice.lognormvariate(0, 0.5):.6f}") for _ in range(840)]
    noisy = Series({NOON - HOUR * (i + 1): Spend(c) for i, c in enumerate(noise)})
    baseline = anomaly_baseline(noisy, NOON, THRESHOLDS)
    assert baseline is not None
    drawn = [Decimal(f"{10 * dice.lognormvariate(0, 0.5):.6f}") for _ in range(1_000)]
    assert sum(baseline.trips(cost) for cost in drawn) <= 5
    assert baseline.trips(Decimal(200))


def test_a_correction_below_zero_is_no_logarithm_of_nothing() -> None:
    assert anomaly(168 * 4, lambda hour: "-3" if hour.hour == 5 else "2").expected == 2


def worked_out_by(baseline: Callable[[Series, datetime], None]) -> Windows:
    """A rule, as far as it is asked here."""
    return cast(Windows, SimpleNamespace(baseline=baseline))


def test_what_is_known_of_an_hour_outlives_changes_of_itself_and_of_later_hours_only() -> None:
    hours = {NOON - HOUR * 2: Spend(Decimal(1)), NOON - HOUR: Spend(Decimal(1)), NOON: Spend(Decimal(1))}

    def is_known_after(changed: dict[datetime, Spend], scope: str = "a") -> bool:
        worked_out: list[datetime] = []

        rule, baselines = worked_out_by(lambda series, hour: worked_out.append(hour)), Baselines()
        baselines.of(rule, "a", Series(hours), NOON)
        baselines.changed(scope, hours, changed)
        baselines.of(rule, "a", Series(changed), NOON)
        return worked_out == [NOON]

    assert is_known_after(hours)
    assert is_known_after(hours | {NOON: Spend(Decimal(2)), NOON + HOUR: Spend(Decimal(3))})
    assert not is_known_after(hours | {NOON - HOUR: Spend(Decimal(2))})
    assert is_known_after(hours | {NOON - HOUR: Spend(Decimal(2))}, scope="b")
    assert not is_known_after(hours | {NOON - HOUR * 3: Spend(Decimal(2))})
    assert not is_known_after(hours | {NOON - HOUR: Spend(Decimal(2)), NOON + HOUR: Spend(Decimal(3))})
    assert not is_known_after({hour: each for hour, each in hours.items() if hour >= NOON - HOUR})


def test_baselines_of_scopes_that_nobody_looks_at_are_let_go() -> None:
    worked_out: list[str] = []
    rule, baselines = worked_out_by(lambda series, hour: worked_out.append("again")), Baselines()
    for scope in ("a", "b"):
        baselines.of(rule, scope, Series({}), NOON)
    baselines.keep_only({"b"})
    baselines.of(rule, "b", Series({}), NOON)
    assert len(worked_out) == 2
    baselines.of(rule, "a", Series({}), NOON)
    assert len(worked_out) == 3


def test_costs_beyond_all_bounds_stay_finite() -> None:
    baseline = anomaly(168 * 2, lambda hour: "9" * 25 if hour.day % 2 else "0.000000000001")
    assert baseline.clear_below <= baseline.open_above
    assert anomaly(168 * 2, lambda _: "9" * 25).expected == Fraction(round(math.exp(42) * 1_000_000), 1_000_000)


@pytest.mark.parametrize("judge", [spike_baseline, anomaly_baseline])
@examples(60)
@given(costs=st.lists(st.integers(0, 10**6), min_size=24, max_size=200), more=st.integers(0, 10**7))
def test_the_clear_level_is_never_above_the_open_level_and_the_judged_hour_never_counts(
    judge: Callable[[Series, datetime, Thresholds], Baseline | None], costs: list[int], more: int
) -> None:
    hours = {NOON - HOUR * (back + 1): Spend(Decimal(cost) / 1000) for back, cost in enumerate(costs)}
    baseline = judge(Series(hours), NOON, THRESHOLDS)
    assert baseline == judge(Series(hours | {NOON: Spend(Decimal(more))}), NOON, THRESHOLDS)
    if baseline is not None:
        assert 0 <= baseline.expected <= baseline.open_above
        assert baseline.clear_below <= baseline.open_above
        assert not baseline.trips(Decimal(0))
