"""The two alert rules and the life of an alert, on frozen values: no broker, warehouse or clock."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerts import Alert, Driver, Level
from stream.watch.baseline import HOUR, Hour, Rules, Series
from stream.watch.judge import explained, horizon, judge, latest

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
RULES = Rules(anomaly_enabled=False)
Costs = Mapping[datetime, str | Decimal]


def series(costs: Costs, *, unpriced: int = 0) -> Series:
    return Series({hour: Hour(Decimal(cost), unpriced) for hour, cost in costs.items()})


def steady(cost: str, *, hours: int = 168, until: datetime = NOON) -> dict[datetime, str | Decimal]:
    """``hours`` whole hours at ``cost`` before ``until``."""
    return {until - HOUR * back: cost for back in range(1, hours + 1)}


def found(
    costs: Costs,
    *,
    now: datetime = NOON + HOUR / 2,
    alerts: Iterable[Alert] = (),
    rules: Rules = RULES,
    scope: str = "system",
) -> list[Alert]:
    return judge(history={scope: series(costs)}, alerts=alerts, now=now, rules=rules)


def opened(costs: Costs, *, now: datetime = NOON + HOUR / 2, rules: Rules = RULES, scope: str = "system") -> Alert:
    (alert,) = found(costs, now=now, rules=rules, scope=scope)
    assert (alert.status, alert.revision) == ("open", 1)
    return alert


# The spike rule


def test_exactly_three_times_the_average_is_silent() -> None:
    assert found(steady("1.00") | {NOON: "3.00"}) == []


@pytest.mark.parametrize("cost", ["3.000000000001", "3.01"])
def test_above_three_times_the_average_is_a_warning(cost: str) -> None:
    alert = opened(steady("1.00") | {NOON: cost})
    assert (alert.level, alert.metric_name, alert.scope) == (Level.WARNING, "hourly_cost_spike", "system")
    assert alert.current_value == Decimal(cost)
    assert (alert.expected_value, alert.threshold_value) == (Decimal(1), Decimal(3))
    assert (alert.window_start, alert.window_end) == (NOON, NOON + HOUR)


def test_an_average_that_no_decimal_can_hold_still_has_an_exact_threshold() -> None:
    costs = steady("0", hours=168) | {NOON - HOUR: "1.000000000001"}  # average = 1.000000000001 / 168
    third = Decimal("1.000000000001") * 3 / 168
    below = third.quantize(Decimal("1e-12"), rounding="ROUND_DOWN")
    assert found(costs | {NOON: below}) == []
    assert len(found(costs | {NOON: below + Decimal("1e-12")})) == 1


def test_the_first_hour_of_a_new_system_is_silent() -> None:
    assert found({NOON: "1000"}) == []
    assert found({}) == []


def test_twenty_three_hours_of_history_are_silent_and_twenty_four_are_enough() -> None:
    assert found(steady("1", hours=23) | {NOON: "100"}) == []
    assert len(found(steady("1", hours=24) | {NOON: "100"})) == 1


def test_hours_without_calls_since_the_first_data_cost_nothing_in_the_average() -> None:
    costs = {NOON - HOUR * 48: "48"}  # 1.00 an hour over 48 hours
    assert found(costs | {NOON: "3.00"}) == []
    assert opened(costs | {NOON: "3.01"}).expected_value == 1


def test_only_the_last_168_hours_are_averaged_and_never_the_hour_judged() -> None:
    old = {NOON - HOUR * 169: "10000"}
    assert opened(steady("1") | old | {NOON: "50"}).expected_value == 1


def test_a_history_that_cost_nothing_gives_no_multiple_and_no_division_by_zero() -> None:
    assert found(steady("0") | {NOON: "5"}) == []


def test_a_rule_that_is_switched_off_is_silent() -> None:
    assert found(steady("1") | {NOON: "100"}, rules=Rules(spike_enabled=False, anomaly_enabled=False)) == []


def test_the_threshold_and_the_history_are_settings() -> None:
    rules = Rules(anomaly_enabled=False, spike_threshold=Decimal("1.5"), history_hours_max=30, history_hours_min=25)
    assert found(steady("1", hours=24) | {NOON: "100"}, rules=rules) == []
    alert = opened(steady("1", hours=30) | {NOON - HOUR * 31: "999", NOON: "1.51"}, rules=rules)
    assert alert.threshold_value == Decimal("1.5")


def test_the_message_names_cost_average_multiple_and_level_and_the_unpriced_calls() -> None:
    history = {"system": series(steady("1") | {NOON: "4.2"}, unpriced=3)}
    (alert,) = judge(history=history, alerts=[], now=NOON + HOUR / 2, rules=RULES)
    assert alert.title == "Hourly cost is 4.2x the usual"
    assert alert.message == (
        "The hour 12:00-13:00 UTC on 2026-03-02 cost 4.20 USD so far, 4.2x the usual 1.00 USD "
        "(the average of the last 168 hours). Alert level: 3.00 USD. 3 calls unpriced: the true cost is higher."
    )
    assert alert.unpriced_calls == 3


def test_a_message_without_unpriced_calls_does_not_speak_of_them() -> None:
    assert "unpriced" not in opened(steady("1") | {NOON: "4.2"}).message


def test_all_three_causes_are_named_and_those_with_figures_are_marked() -> None:
    calls = Driver(kind="calls", text="420 calls against 100", unit="calls", after=Decimal(420))
    user = Driver(kind="top_user", name="u", text="user u: 3.00 USD", unit="usd", after=Decimal(3))
    alert = explained(opened(steady("1") | {NOON: "4.2"}), (calls, user))
    assert alert.message.endswith(
        "Likely causes: [x] more calls than usual: 420 calls against 100; [ ] dearer model chosen; "
        "[ ] unusually large requests. Top spenders: user u: 3.00 USD."
    )
    assert alert.drivers == (calls, user)


def test_a_feature_name_cannot_forge_the_title() -> None:
    scope = "feature=eve\nAll clear\u202e"
    rules = Rules(spike_enabled=False)
    alert = opened(steady("1") | {NOON: "100"}, rules=rules, scope=scope)
    assert alert.title == "Hourly cost of eve\\u{a}All clear\\u{202e} is 100.0x the usual"
    assert alert.scope == scope


# Which hours are judged


def test_the_hour_before_is_judged_for_one_hour_after_its_end_and_then_no_more() -> None:
    costs = steady("1") | {NOON: "100"}
    end = NOON + HOUR
    assert horizon(end + HOUR - timedelta(milliseconds=1)) == (NOON, end)
    assert len(found(costs, now=end + HOUR - timedelta(milliseconds=1))) == 1
    assert found(costs, now=end + HOUR) == []


def test_the_running_hour_is_held_against_the_whole_usual_hour() -> None:
    assert found(steady("1") | {NOON: "2.9"}, now=NOON + timedelta(minutes=1)) == []
    alert = opened(steady("1") | {NOON: "3.1"}, now=NOON + timedelta(minutes=1))
    assert "so far" in alert.message
    assert "so far" not in opened(steady("1") | {NOON: "3.1"}, now=NOON + HOUR).message


# The life of an alert


def live(costs: dict[datetime, str | Decimal], *steps: tuple[datetime, str | None, datetime]) -> list[Alert]:
    """Judge step by step: (hour, its new cost or None, now); the alerts of each step are known to the next."""
    said: list[Alert] = []
    for hour, cost, now in steps:
        costs = costs | ({hour: cost} if cost is not None else {})
        said += found(costs, now=now, alerts=said)
    return said


def states(alerts: Iterable[Alert]) -> list[tuple[int, str, int]]:
    return [(alert.revision, alert.status, (alert.window_start - NOON) // HOUR) for alert in alerts]


def test_growth_is_said_again_only_when_the_cost_doubles_from_the_level() -> None:
    minutes = [NOON + timedelta(minutes=each) for each in range(1, 8)]
    costs = ["3.1", "3.5", "5.99", "6", "11.99", "12", "100"]
    said = live(steady("1"), *((NOON, cost, now) for cost, now in zip(costs, minutes, strict=True)))
    assert [(alert.revision, alert.status, alert.current_value) for alert in said] == [
        (1, "open", Decimal("3.1")),
        (2, "updated", Decimal(6)),
        (3, "updated", Decimal(12)),
        (4, "updated", Decimal(100)),
    ]
    assert len({alert.alert_id for alert in said}) == 1


def test_an_alert_moves_on_with_the_hour_and_clears_in_a_later_whole_hour_below_the_clear_level() -> None:
    one, two, three = (NOON + HOUR * each for each in (1, 2, 3))
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR / 2),  # opens
        (one, "0.5", one + HOUR / 2),  # a running hour below the level clears nothing
        (one, "5", one + HOUR * 0.9),  # the next hour trips too
        (two, "2.5", three),  # between the levels: stays
        (three, "1.0", three + HOUR - timedelta(milliseconds=1)),  # not whole yet
        (three, "1.1", three + HOUR),  # clears
        (three, "1.1", three + HOUR * 1.5),
    )
    assert states(said) == [(1, "open", 0), (2, "updated", 1), (3, "cleared", 3)]
    assert len({alert.alert_id for alert in said}) == 1
    assert said[-1].threshold_value < said[0].threshold_value
    assert said[-1].title == "Hourly cost is usual again"


@pytest.mark.parametrize(("cost", "statuses"), [("2.24", []), ("2.239999999999", ["cleared"])])
def test_an_hour_exactly_at_the_clear_level_is_not_yet_below_it(cost: str, statuses: list[str]) -> None:
    rules = Rules(anomaly_enabled=False, history_hours_max=25)
    alert = opened(steady("1") | {NOON: "4"}, rules=rules)
    costs = steady("1") | {NOON: "4", NOON + HOUR: cost}  # the average is now (24 + 4) / 25 = 1.12
    said = found(costs, now=NOON + HOUR * 2, alerts=[alert], rules=rules)
    assert [each.status for each in said] == statuses


def test_after_clearing_the_next_spike_is_an_alert_of_its_own() -> None:
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR / 2),
        (NOON + HOUR, "1", NOON + HOUR * 2),
        (NOON + HOUR * 2, "9", NOON + HOUR * 2.5),
    )
    assert states(said) == [(1, "open", 0), (2, "cleared", 1), (1, "open", 2)]
    assert said[0].alert_id != said[2].alert_id


def test_two_hours_that_trip_unseen_are_told_in_order_under_one_id() -> None:
    said = found(steady("1") | {NOON: "9", NOON + HOUR: "9"}, now=NOON + HOUR * 1.5)
    assert states(said) == [(1, "open", 0), (2, "updated", 1)]


def test_an_outage_of_the_watch_is_caught_up_with_what_still_matters() -> None:
    first = opened(steady("1") | {NOON: "4"})
    costs = steady("1") | {NOON: "4", NOON + HOUR: "5", NOON + HOUR * 2: "1", NOON + HOUR * 3: "1"}
    said = found(costs | {NOON + HOUR * 5: "30"}, now=NOON + HOUR * 5.5, alerts=[first])
    assert states(said) == [(2, "cleared", 2), (1, "open", 5)]


def test_a_correction_that_takes_the_window_back_retracts_the_alert() -> None:
    said = live(
        steady("1"),
        (NOON, "3.01", NOON + HOUR / 2),
        (NOON, "3.00", NOON + HOUR * 0.6),
        (NOON, "3.00", NOON + HOUR * 0.7),
    )
    assert states(said) == [(1, "open", 0), (2, "retracted", 0)]
    assert said[1].current_value == 3
    assert said[1].message.startswith("After a correction no alert was due.")


def test_a_correction_after_a_later_hour_tripped_does_not_retract() -> None:
    one = NOON + HOUR
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR / 2),
        (one, "40", one + HOUR / 2),
        (NOON, "1", one + HOUR * 0.6),
    )
    assert states(said) == [(1, "open", 0), (2, "updated", 1)]


def test_a_correction_of_the_later_hour_alone_lets_the_alert_clear() -> None:
    one = NOON + HOUR
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR / 2),
        (one, "40", one + HOUR / 2),
        (one, "0.5", one + HOUR * 0.6),
        (one, "0.5", one + HOUR),
    )
    assert states(said) == [(1, "open", 0), (2, "updated", 1), (3, "cleared", 1)]


def test_an_hour_that_trips_again_after_its_retraction_keeps_its_id_and_counts_on() -> None:
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR * 0.5),
        (NOON, "1", NOON + HOUR * 0.6),
        (NOON, "5", NOON + HOUR * 0.7),
    )
    assert states(said) == [(1, "open", 0), (2, "retracted", 0), (3, "open", 0)]
    assert len({alert.alert_id for alert in said}) == 1


def test_a_late_correction_of_a_closed_hour_raises_nothing() -> None:
    costs = steady("1") | {NOON - HOUR * 3: "1000"}
    assert found(costs, now=NOON + HOUR / 2) == []


def test_a_cleared_alert_is_not_raised_again_when_the_clock_steps_back() -> None:
    said = live(steady("1"), (NOON, "4", NOON + HOUR / 2), (NOON + HOUR, "1", NOON + HOUR * 2))
    assert found(steady("1") | {NOON: "4", NOON + HOUR: "1"}, now=NOON + HOUR * 1.5, alerts=said) == []


def test_a_scope_that_fell_silent_clears() -> None:
    said = live(steady("1"), (NOON, "4", NOON + HOUR / 2), (NOON, None, NOON + HOUR * 2))
    assert states(said) == [(1, "open", 0), (2, "cleared", 1)]


def test_an_alert_whose_history_is_gone_clears_in_the_first_silent_hour() -> None:
    alert = opened(steady("1") | {NOON: "4"})
    (cleared,) = found({}, now=NOON + timedelta(days=60), alerts=[alert])
    assert (cleared.status, cleared.expected_value, cleared.ratio) == ("cleared", None, None)


def test_a_restart_in_the_middle_of_an_episode_repeats_nothing() -> None:
    costs = steady("1") | {NOON: "4"}
    alert = opened(costs)
    again = Alert.from_json(alert.to_json())
    assert found(costs, alerts=[again]) == []
    assert found(costs, alerts=[again, again]) == []


def test_lost_knowledge_of_an_alert_says_the_same_id_and_revision_again() -> None:
    first, second = opened(steady("1") | {NOON: "4"}), opened(steady("1") | {NOON: "4.5"}, now=NOON + HOUR * 0.8)
    assert (first.alert_id, first.revision) == (second.alert_id, second.revision)


def test_of_two_revisions_the_higher_counts_whatever_their_order() -> None:
    low = opened(steady("1") | {NOON: "4"})
    high = low.model_copy(update={"revision": 2})
    assert latest([low, high]) == latest([high, low]) == {low.alert_id: high}


# The anomaly rule

ANOMALY = Rules(spike_enabled=False)


def weekly(weeks: int, *, base: str = "2", peak: str = "60") -> dict[datetime, str | Decimal]:
    """Every Monday at noon a batch that costs ``peak``; all other hours ``base``."""
    hours = (NOON - HOUR * back for back in range(1, 168 * weeks + 1))
    return {hour: peak if (hour.weekday(), hour.hour) == (0, 12) else base for hour in hours}


def test_a_monday_peak_that_is_usual_is_silent() -> None:
    assert found(weekly(4) | {NOON: "61"}, rules=ANOMALY, scope="feature=batch") == []


def test_the_same_cost_an_hour_later_is_an_anomaly() -> None:
    later = NOON + HOUR
    alert = opened(weekly(4) | {NOON: "61", later: "61"}, now=later + HOUR / 2, rules=ANOMALY, scope="feature=batch")
    assert (alert.rule, alert.metric_name, alert.window_start) == ("hourly_anomaly", "hourly_cost_anomaly", later)
    assert alert.expected_value == 2
    assert "this hour of the week, over the last 4 weeks" in alert.message


def test_the_anomaly_rule_judges_features_and_the_spike_rule_the_system() -> None:
    costs = series(weekly(4) | {NOON + HOUR: "500"})
    history = {"system": costs, "feature=a": costs}
    both = judge(history=history, alerts=[], now=NOON + HOUR * 1.5, rules=Rules())
    assert {(alert.rule, alert.scope) for alert in both} == {
        ("hourly_spike", "system"),
        ("hourly_anomaly", "feature=a"),
    }


def test_an_anomaly_below_the_minimum_cost_is_silent() -> None:
    costs = steady("0.01", hours=168 * 4)
    assert found(costs | {NOON: "1.01"}, rules=ANOMALY, scope="feature=a") == []
    assert len(found(costs | {NOON: "1.010001"}, rules=ANOMALY, scope="feature=a")) == 1


def test_an_anomaly_clears_too() -> None:
    scope, costs = "feature=a", weekly(4) | {NOON: "500"}
    alert = opened(costs, rules=ANOMALY, scope=scope)
    (cleared,) = found(costs | {NOON + HOUR: "2"}, now=NOON + HOUR * 2, alerts=[alert], rules=ANOMALY, scope=scope)
    assert (cleared.alert_id, cleared.revision, cleared.status) == (alert.alert_id, 2, "cleared")


# Properties

cents = st.integers(0, 2_000).map(lambda each: Decimal(each) / 100)


@settings(max_examples=60, deadline=None)
@given(st.lists(cents, min_size=1, max_size=60), st.integers(0, 5))
def test_judging_twice_says_nothing_the_second_time(costs: list[Decimal], ahead: int) -> None:
    hours = {NOON - HOUR * back: cost for back, cost in enumerate(costs)}
    now = NOON + HOUR * ahead + HOUR / 3
    history = {"system": series(hours), "feature=a": series(hours)}
    first = judge(history=history, alerts=[], now=now, rules=Rules())
    assert judge(history=history, alerts=first, now=now, rules=Rules()) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(cents, min_size=30, max_size=60), st.integers(0, 30))
def test_no_hour_before_the_horizon_ever_raises_an_alert(costs: list[Decimal], ahead: int) -> None:
    hours = {NOON - HOUR * back: cost for back, cost in enumerate(costs)}
    now = NOON + HOUR * ahead + HOUR / 3
    said = found(hours, now=now) + found(hours, now=now, rules=ANOMALY, scope="feature=a")
    assert all(alert.window_start in horizon(now) for alert in said)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), cents), max_size=40), st.integers(0, 2**32))
def test_a_life_is_told_in_revisions_without_gap_and_only_one_alert_stands(
    changes: list[tuple[int, Decimal]], seed: int
) -> None:
    """Costs change at random, corrections included, while time goes on; some evaluations are lost and repeated."""
    dice, costs, said = random.Random(seed), dict(steady("1", hours=40)), list[Alert]()
    for step, (back, cost) in enumerate(changes):
        now = NOON + HOUR / 3 * step
        costs[NOON + HOUR * (step // 3) - HOUR * min(back, step // 3)] = cost
        if dice.random() < 0.8:
            said += found(costs, now=now, alerts=dice.sample(said, len(said)))
        standing = [alert for alert in latest(said).values() if alert.standing]
        assert len(standing) <= 1
    for alert_id in {alert.alert_id for alert in said}:
        revisions = [alert.revision for alert in said if alert.alert_id == alert_id]
        assert revisions == list(range(1, len(revisions) + 1))
