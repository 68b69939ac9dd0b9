"""The two alert rules and the life of an alert, on frozen values: no broker, warehouse or clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.alerts import Alert, Driver, Level, rounded
from stream.watch.baseline import Thresholds
from stream.watch.case import Baselines, horizon
from stream.watch.judge import _doublings, latest
from stream.watch.reasons.difference import difference
from stream.watch.reasons.evidence import Change, Evidence, Part
from stream.watch.rounding import to_decimal
from stream.watch.rules.anomaly import AnomalyRule
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.rules.rule import Past
from stream.watch.rules.spike import SpikeRule
from stream.watch.scopes import Value
from stream.watch.series import HOUR, MINUTE, NOTHING, Minutes, Series, Spend, hour_of
from stream.watch.wording import explained, worded
from tests.support.properties import examples

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
LAST_MINUTE = NOON + MINUTE * 59.5  # the last 60 minutes are the clock hour from NOON
THRESHOLDS = Thresholds(anomaly_enabled=False)
Costs = Mapping[datetime, str | Decimal]


def series(costs: Costs, *, unpriced: int = 0, now: datetime = LAST_MINUTE, split: bool = True) -> Series:
    """What was spent at each moment, by the hour, and for the hours in reach by the minute (unless not ``split``)."""
    hours: dict[datetime, Spend] = {}
    minutes: dict[datetime, dict[int, Spend]] = {hour_of(now) - HOUR * back: {} for back in range(27)}
    for moment, cost in costs.items():
        spend, hour = Spend(Decimal(cost), unpriced), hour_of(moment)
        hours[hour] = hours.get(hour, NOTHING) + spend
        by_minute = minutes.setdefault(hour, {})
        by_minute[moment.minute] = by_minute.get(moment.minute, NOTHING) + spend
    over = {hour: max(0, min(60, (now - hour) // MINUTE)) for hour in minutes}
    known = {hour: Minutes.of(spent, over=over[hour]) for hour, spent in minutes.items()}
    return Series(hours, known if split else {})


def steady(cost: str, *, hours: int = 168, until: datetime = NOON) -> dict[datetime, str | Decimal]:
    """``hours`` whole hours at ``cost`` before ``until``, each spent in its first minute."""
    return {until - HOUR * back: cost for back in range(1, hours + 1)}


class NoWarehouse:
    """What is judged here is given: nothing is read."""

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        raise AssertionError(f"nobody is to ask {sql}")


def spike(thresholds: Thresholds) -> SpikeRule:
    return SpikeRule(thresholds, reader=NoWarehouse(), interval=timedelta(seconds=1))


def anomaly(thresholds: Thresholds) -> AnomalyRule:
    return AnomalyRule(thresholds, reader=NoWarehouse(), interval=timedelta(seconds=1))


def judge(
    *, history: Mapping[str, Series], alerts: Iterable[Alert], now: datetime, thresholds: Thresholds
) -> list[Alert]:
    """What the two rules say, each of its own scopes, in words but without reasons."""
    known = latest(alerts)
    own: list[tuple[HourlyRule, str]] = [(spike(thresholds), "system"), (anomaly(thresholds), "feature=")]
    return [
        worded(alert)
        for rule, scopes in own
        if rule.is_on
        for alert in rule.judge(Spending({at: it for at, it in history.items() if at.startswith(scopes)}), known, now)
    ]


def hours_to_split(series: Series, *, first_windows: list[datetime], now: datetime) -> set[datetime]:
    return spike(THRESHOLDS).hours_to_split(series, first_windows, now=now, baselines=Baselines())


def found(
    costs: Costs,
    *,
    now: datetime = LAST_MINUTE,
    alerts: Iterable[Alert] = (),
    thresholds: Thresholds = THRESHOLDS,
    scope: str = "system",
) -> list[Alert]:
    return judge(history={scope: series(costs, now=now)}, alerts=alerts, now=now, thresholds=thresholds)


def opened(
    costs: Costs, *, now: datetime = LAST_MINUTE, thresholds: Thresholds = THRESHOLDS, scope: str = "system"
) -> Alert:
    (alert,) = found(costs, now=now, thresholds=thresholds, scope=scope)
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
    assert alert.metadata == {
        "first_window": "2026-03-02T11:01:00+00:00",
        "basis": "the average of the last 168 hours",
        "currency": "USD",
    }


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
    assert found(steady("1") | {NOON: "100"}, thresholds=Thresholds(spike_enabled=False, anomaly_enabled=False)) == []


@pytest.mark.parametrize("rule", [spike, anomaly])
def test_a_rule_that_is_switched_off_reads_nothing(rule: Callable[[Thresholds], HourlyRule]) -> None:
    off = rule(Thresholds(spike_enabled=False, anomaly_enabled=False))
    assert off.read(NOON, Past(), []) is None
    with pytest.raises(AssertionError, match="nobody is to ask"):
        rule(Thresholds()).read(NOON, Past(), [])


class Asked:
    """A warehouse in which nothing was spent; it keeps what it is asked: whether all hours, else which."""

    def __init__(self) -> None:
        self.hours: list[str | set[datetime]] = []

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        if "every" in parameters:
            hours = {datetime.fromtimestamp(each, UTC) for each in parameters["hours"]}
            self.hours.append("all" if parameters["every"] else hours)
        return pl.DataFrame(schema={"at": pl.Int64, "cost": pl.Decimal(38, 12), "unpriced": pl.Int64})


def test_a_rule_reads_the_hours_that_changed_and_all_of_them_in_a_new_turn_and_after_a_failure() -> None:
    warehouse = Asked()
    rule = SpikeRule(THRESHOLDS, reader=warehouse, interval=timedelta(seconds=1))
    late = NOON - HOUR * 9
    for past in (Past(), Past(NOON), Past(NOON, changed=frozenset({late})), Past(NOON, failed=True), Past()):
        rule.read(LAST_MINUTE, past, [])
    assert warehouse.hours == ["all", {NOON, NOON - HOUR}, {NOON, NOON - HOUR, late}, "all", "all"]


def test_the_threshold_and_the_history_are_settings() -> None:
    thresholds = Thresholds(
        anomaly_enabled=False, spike_threshold=Decimal("1.5"), history_hours_max=30, history_hours_min=25
    )
    assert found(steady("1", hours=24) | {NOON: "100"}, thresholds=thresholds) == []
    alert = opened(steady("1", hours=30) | {NOON - HOUR * 31: "999", NOON: "1.51"}, thresholds=thresholds)
    assert alert.threshold_value == Decimal("1.5")


def test_the_message_names_cost_average_multiple_and_level_and_the_unpriced_calls() -> None:
    history = {"system": series(steady("1") | {NOON: "4.2"}, unpriced=3)}
    (alert,) = judge(history=history, alerts=[], now=LAST_MINUTE, thresholds=THRESHOLDS)
    assert alert.title == "Hourly cost is 4.2x the usual"
    assert alert.message == (
        "The hour 12:00-13:00 UTC on 2026-03-02 cost 4.20 USD so far, 4.2x the usual 1.00 USD "
        "(the average of the last 168 hours). Alert level: 3.00 USD. 3 calls unpriced: the true cost is higher."
    )
    assert alert.unpriced_calls == 3


def test_a_ratio_has_four_digits_after_the_point() -> None:
    assert opened(steady("3") | {NOON: "10"}).ratio == Decimal("3.3333")
    assert opened(steady("3") | {NOON: "20"}).ratio == Decimal("6.6667")


def test_a_message_without_unpriced_calls_does_not_speak_of_them() -> None:
    assert "unpriced" not in opened(steady("1") | {NOON: "4.2"}).message


def test_all_three_causes_are_named_and_those_with_figures_are_marked() -> None:
    calls = Driver(kind="calls", text="420 calls against 100", unit="calls", after=Decimal(420))
    user = Driver(kind="top_user", name="u", text="user u: 3.00 USD", unit="usd", after=Decimal(3))
    facts = opened(steady("1") | {NOON: "4.2"})
    alert = explained(facts, (calls, user), None)
    assert alert.message == (
        f"{facts.message} Likely causes: [x] more calls than usual: 420 calls against 100; [ ] dearer model chosen; "
        "[ ] unusually large requests. Top spenders: user u: 3.00 USD."
    )
    assert alert.drivers == (calls, user)
    assert alert.metadata == facts.metadata


def test_what_the_rise_is_made_of_is_told_in_words_and_as_decimal_text() -> None:
    facts = opened(steady("1") | {NOON: "4.2"})
    evidence = Evidence(2, models={"m": Change(Part(4, 0, Decimal("4.2")), Part(2, 0, Decimal(2)))})
    alert = explained(facts, (), difference(evidence))
    assert alert.message.endswith(
        " +3.20 USD against a usual hour. By what changed: number of calls +3.00, price of a token +0.20. "
        "By model: m +3.20."
    )
    nothing = dict.fromkeys(("tokens_per_call", "model_mix", "output_share", "cached_share"), "0.000000")
    assert alert.metadata == facts.metadata | {
        "difference": {
            "usd": "3.200000",
            "effects": {"calls": "3.000000", **nothing, "price": "0.200000"},
            "model": [{"name": "m", "usd": "3.200000"}],
        }
    }


def test_a_feature_name_cannot_forge_the_title() -> None:
    scope = "feature=eve\nAll clear\u202e"
    thresholds = Thresholds(spike_enabled=False)
    alert = opened(steady("1") | {NOON: "100"}, thresholds=thresholds, scope=scope)
    assert alert.title == "Hourly cost of eve\\u{a}All clear\\u{202e} is 100.0x the usual"
    assert alert.scope == scope


# Which hours are judged


def test_a_window_is_judged_for_one_hour_after_its_end_and_then_no_more() -> None:
    costs, end = steady("1") | {NOON: "100"}, NOON + HOUR
    assert states(found(costs, now=end + HOUR - timedelta(milliseconds=1))) == [(1, "open", 0), (2, "cleared", 1)]
    assert found(costs, now=end + HOUR) == []


@pytest.mark.parametrize(
    "late", [timedelta(0), timedelta(milliseconds=1), MINUTE / 2, HOUR - timedelta(milliseconds=1)]
)
def test_the_windows_in_reach_are_those_that_ended_less_than_an_hour_ago_and_the_one_that_runs(late: timedelta) -> None:
    now = NOON + late
    slides, steps = horizon(now, spike(THRESHOLDS)), horizon(now, anomaly(THRESHOLDS))
    assert steps == (NOON - HOUR, NOON)
    assert [later - earlier for earlier, later in pairwise(slides)] == [MINUTE] * (len(slides) - 1)
    assert slides[-1] <= now < slides[-1] + HOUR <= now + MINUTE
    assert slides[0] - MINUTE + HOUR * 2 <= now < slides[0] + HOUR * 2


def test_the_running_window_is_held_against_the_whole_usual_hour() -> None:
    assert found(steady("1") | {NOON: "2.9"}, now=NOON + MINUTE) == []
    alert = opened(steady("1") | {NOON: "3.1"}, now=NOON + MINUTE)
    assert "so far" in alert.message
    ended, _ = found(steady("1") | {NOON + MINUTE: "3.1"}, now=NOON + HOUR + MINUTE * 3)
    assert "so far" not in ended.message
    just_ended = opened(weekly(4) | {NOON: "500"}, now=NOON + HOUR, thresholds=ANOMALY, scope="feature=a")
    assert (just_ended.window_end, "so far" in just_ended.message) == (NOON + HOUR, False)


# Sixty minutes that slide


def test_a_burst_that_straddles_the_full_hour_is_one_spike() -> None:
    """No clock hour is above twice the usual; sixty minutes are four times."""
    before, after = ({NOON + HOUR + MINUTE * minute: "0.2" for minute in span} for span in (range(-10, 0), range(10)))
    costs = steady("1") | before | after
    quarter_past = NOON + HOUR + MINUTE * 15
    assert found(steady("1") | before, now=LAST_MINUTE) == []
    assert found(steady("1") | after, now=quarter_past) == []
    alert = opened(costs, now=quarter_past)
    assert (alert.current_value, alert.ratio) == (4, 4)
    assert (alert.window_start, alert.window_end) == (quarter_past + MINUTE - HOUR, quarter_past + MINUTE)
    assert alert.message.startswith("The 60 minutes 12:16-13:16 UTC on 2026-03-02 cost 4.00 USD so far, 4.0x the usual")


def test_a_minute_is_in_the_window_until_sixty_minutes_after_it() -> None:
    """A minute of nothing but the spike's: on its last moment in reach of the window, and gone right after."""
    costs = steady("1") | {NOON + MINUTE * 7: "3.01"}
    assert [alert.status for alert in found(costs, now=NOON + HOUR + MINUTE * 6.9)] == ["open"]
    assert [alert.status for alert in found(costs, now=NOON + HOUR + MINUTE * 7)] == ["open"]
    assert [alert.status for alert in found(costs, now=NOON + HOUR + MINUTE * 8)] == ["open", "cleared"]


def test_a_spike_that_lasts_is_said_again_every_sixty_minutes_and_ends_sixty_minutes_after_it() -> None:
    costs = steady("1") | {NOON + MINUTE * minute: "0.1" for minute in range(100)}  # 6 USD an hour until 13:40
    costs |= {NOON + MINUTE * minute: "0.01" for minute in range(100, 160)}
    said: list[Alert] = []
    for minute in range(160):
        now = NOON + MINUTE * (minute + 0.5)
        said += found({at: cost for at, cost in costs.items() if at <= now}, now=now, alerts=said)
    minutes = [(alert.revision, alert.status, (alert.window_end - NOON) // MINUTE) for alert in said]
    assert minutes == [
        (1, "open", 31),
        (2, "updated", 60),  # twice the level
        (3, "updated", 120),
        (4, "cleared", 144),
    ]
    assert said[2].window_start == said[1].window_end


def test_windows_of_which_no_minutes_are_known_raise_retract_and_clear_nothing() -> None:
    costs = steady("1") | {NOON + MINUTE: "100"}
    half_past = NOON + HOUR / 2
    alert = opened(costs, now=half_past)
    later = half_past + HOUR * 2
    for now, known in ((half_past, []), (half_past, [alert]), (later, [alert])):
        history = {"system": series(costs if now == half_past else steady("1"), now=now, split=False)}
        said = judge(history=history, alerts=known, now=now, thresholds=THRESHOLDS)
        assert [each for each in said if each.window_start.minute] == []
        assert "retracted" not in {each.status for each in said}


def test_on_a_usual_day_no_hour_is_read_by_the_minute() -> None:
    day = series(steady("1", until=NOON + HOUR), split=False)
    assert hours_to_split(day, first_windows=[], now=LAST_MINUTE) == set()


def test_two_hours_that_together_are_above_the_level_are_read_by_the_minute() -> None:
    hours = steady("1") | {NOON: "1.5", NOON - HOUR: "1.51"}
    asked = hours_to_split(series(hours, split=False), first_windows=[], now=LAST_MINUTE)
    assert asked == {NOON - HOUR, NOON}


def test_the_hours_of_a_standing_alert_are_read_by_the_minute_for_a_day() -> None:
    first, now = NOON - HOUR * 2 + MINUTE, LAST_MINUTE
    asked = hours_to_split(series(steady("1"), split=False), first_windows=[first], now=now)
    assert asked == {NOON - HOUR * 2, NOON - HOUR, NOON}
    long_ago = hours_to_split(series({}), first_windows=[NOON - HOUR * 900], now=now)
    assert min(long_ago) == NOON - HOUR * 24


# The life of an alert


def live(costs: dict[datetime, str | Decimal], *steps: tuple[datetime, str | None, datetime]) -> list[Alert]:
    """Judge step by step: (hour, its new cost or None, now); the alerts of each step are known to the next."""
    said: list[Alert] = []
    for hour, cost, now in steps:
        costs = costs | ({hour: cost} if cost is not None else {})
        said += found(costs, now=now, alerts=said)
    return said


def states(alerts: Iterable[Alert]) -> list[tuple[int, str, int]]:
    """Revision, status, and how many hours after NOON the last minute of the window lies."""
    return [(alert.revision, alert.status, (alert.window_end - MINUTE - NOON) // HOUR) for alert in alerts]


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


def test_an_alert_moves_on_and_clears_once_sixty_minutes_that_have_ended_are_below_the_clear_level() -> None:
    one, two, three = (NOON + HOUR * each for each in (1, 2, 3))
    said = live(
        steady("1"),
        (NOON, "4", NOON + HOUR / 2),  # opens
        (one, "0.5", one),  # the running window below the level clears nothing
        (one, "5", one + HOUR / 2),  # it trips too
        (two, "2.5", three),  # between the levels: stays
        (three, "1.0", three + MINUTE - timedelta(milliseconds=1)),  # not ended yet
        (three, "1.1", three + MINUTE),  # clears
        (three, "1.1", three + HOUR * 0.9),
    )
    assert states(said) == [(1, "open", 0), (2, "updated", 1), (3, "cleared", 3)]
    assert len({alert.alert_id for alert in said}) == 1
    assert said[-1].threshold_value < said[0].threshold_value
    assert said[-1].title == "Hourly cost is usual again"


@pytest.mark.parametrize(("cost", "statuses"), [("2.24", []), ("2.239999999999", ["cleared"])])
def test_an_hour_exactly_at_the_clear_level_is_not_yet_below_it(cost: str, statuses: list[str]) -> None:
    thresholds = Thresholds(anomaly_enabled=False, history_hours_max=25)
    alert = opened(steady("1") | {NOON: "4"}, thresholds=thresholds)
    costs = steady("1") | {NOON: "4", NOON + HOUR: cost}  # the average is now (24 + 4) / 25 = 1.12
    said = found(costs, now=NOON + HOUR * 2, alerts=[alert], thresholds=thresholds)
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


def test_what_trips_unseen_is_told_in_order_under_one_id() -> None:
    said = found(steady("1") | {NOON: "9", NOON + MINUTE * 80: "9"}, now=NOON + MINUTE * 85)
    assert states(said) == [(1, "open", 1)], "the dearest sixty minutes, and of equals the latest"
    (dearest,) = found(steady("1") | {NOON: "9", NOON + MINUTE * 20: "5"}, now=NOON + MINUTE * 70)
    assert (dearest.current_value, dearest.window_start) == (Decimal(14), NOON), "the later ones hold 5 USD alone"
    features = judge(
        history={"feature=a": series(steady("1") | {NOON: "9", NOON + HOUR: "9"})},
        alerts=[],
        now=NOON + HOUR * 1.5,
        thresholds=ANOMALY,
    )
    assert states(features) == [(1, "open", 0), (2, "updated", 1)]


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
    assert cleared.threshold_value == 0


def test_hours_that_cost_something_clear_nothing_while_nobody_knows_what_is_usual() -> None:
    scope, later = "feature=a", NOON + timedelta(days=60)
    alert = opened(weekly(4) | {NOON: "500"}, thresholds=ANOMALY, scope=scope)
    anew = {later - HOUR * back: "0.5" for back in range(25)}
    assert found(anew, now=later, alerts=[alert], thresholds=ANOMALY, scope=scope) == []
    (cleared,) = found(anew | {later - HOUR: "0"}, now=later, alerts=[alert], thresholds=ANOMALY, scope=scope)
    assert (cleared.status, cleared.window_start) == ("cleared", later - HOUR)


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

ANOMALY = Thresholds(spike_enabled=False)


def weekly(weeks: int, *, base: str = "2", peak: str = "60") -> dict[datetime, str | Decimal]:
    """Every Monday at noon a batch that costs ``peak``; all other hours ``base``."""
    hours = (NOON - HOUR * back for back in range(1, 168 * weeks + 1))
    return {hour: peak if (hour.weekday(), hour.hour) == (0, 12) else base for hour in hours}


def test_a_monday_peak_that_is_usual_is_silent() -> None:
    assert found(weekly(4) | {NOON: "61"}, thresholds=ANOMALY, scope="feature=batch") == []


def test_the_same_cost_an_hour_later_is_an_anomaly() -> None:
    later = NOON + HOUR
    alert = opened(
        weekly(4) | {NOON: "61", later: "61"}, now=later + HOUR / 2, thresholds=ANOMALY, scope="feature=batch"
    )
    assert (alert.rule, alert.metric_name, alert.window_start) == ("hourly_anomaly", "hourly_cost_anomaly", later)
    assert alert.expected_value == 2
    assert "this hour of the week and of the day, over the last 4 weeks" in alert.message


def test_the_anomaly_rule_judges_features_and_the_spike_rule_the_system_each_by_its_own_baseline() -> None:
    costs = series(weekly(4) | {NOON: "500"})
    history = {"system": costs, "feature=a": costs}
    both = judge(history=history, alerts=[], now=LAST_MINUTE, thresholds=Thresholds())
    assert {(alert.rule, alert.scope, alert.metadata["basis"]) for alert in both} == {
        ("hourly_spike", "system", "the average of the last 168 hours"),
        ("hourly_anomaly", "feature=a", "this hour of the week and of the day, over the last 3 weeks"),
    }


def test_an_anomaly_below_the_minimum_cost_is_silent() -> None:
    costs = steady("0.01", hours=168 * 4)
    assert found(costs | {NOON: "1.01"}, thresholds=ANOMALY, scope="feature=a") == []
    assert len(found(costs | {NOON: "1.010001"}, thresholds=ANOMALY, scope="feature=a")) == 1


def test_an_alert_of_one_feature_says_nothing_of_another() -> None:
    costs = weekly(4) | {NOON: "500"}
    one = opened(costs, thresholds=ANOMALY, scope="feature=a")
    (other,) = found(costs, alerts=[one], thresholds=ANOMALY, scope="feature=b")
    assert (other.scope, other.status, other.revision) == ("feature=b", "open", 1)
    assert found(weekly(4), alerts=[one], thresholds=ANOMALY, scope="feature=b") == []


# One cause is one alert


BY = replace(ANOMALY, anomaly_by=("feature", "team", "model"))


class Crossed:
    """What calls of one value and of others too cost, in the hour and in all its usual ones together."""

    def __init__(self, now: str, usual: str = "0", *, calls: int = 0, calls_usual: int = 0) -> None:
        self.now, self.usual = Spend(Decimal(now), calls=calls), Spend(Decimal(usual), calls=calls_usual)
        self.asked: list[tuple[Value, set[Value], datetime, int]] = []

    def __call__(
        self, own: Value, others: Collection[Value], hour: datetime, usual: Sequence[datetime]
    ) -> tuple[Spend, Spend]:
        self.asked.append((own, set(others), hour, len(usual)))
        return self.now, self.usual


def told(
    history: Mapping[str, Series],
    crossed: Crossed,
    *,
    now: datetime = LAST_MINUTE,
    alerts: Iterable[Alert] = (),
    thresholds: Thresholds = BY,
) -> list[tuple[str, str]]:
    found = anomaly(thresholds).judge(Spending(history, shared=crossed), latest(alerts), now)
    return [(alert.scope, alert.status) for alert in found]


RISEN, USUAL = series(weekly(4) | {NOON: "500"}), series(weekly(4))


def test_what_a_feature_tells_is_no_alert_of_its_team_and_of_its_model_as_well() -> None:
    crossed = Crossed("500", "3")
    history = {"team=t": RISEN, "feature=f": RISEN, "model=m": RISEN}
    assert told(history, crossed) == [("feature=f", "open")]
    feature = Value("feature", "f")
    assert crossed.asked == [(Value("team", "t"), {feature}, NOON, 3), (Value("model", "m"), {feature}, NOON, 3)]


def test_a_rise_that_no_feature_tells_is_told_of_the_team_and_then_not_of_the_model() -> None:
    crossed = Crossed("500", "3")
    assert told({"team=t": RISEN, "feature=f": USUAL, "model=m": RISEN}, crossed) == [("team=t", "open")]
    assert crossed.asked == [(Value("model", "m"), {Value("team", "t")}, NOON, 3)]


def level_of(one: Series) -> Decimal:
    usual = anomaly(BY).baseline(one, NOON)
    assert usual is not None
    return rounded(to_decimal(usual.open_above), digits=6)


def test_a_team_is_told_if_what_the_feature_leaves_of_it_is_above_its_level() -> None:
    """The usual part of the feature stays with the team: only what it rose by is taken off."""
    history = {"team=t": RISEN, "feature=f": RISEN}
    rest = 500 - level_of(RISEN)
    assert told(history, Crossed(f"{rest + 1}", "3")) == [("feature=f", "open")]
    above = f"{rest + 1 - Decimal('0.000001')}"
    assert told(history, Crossed(above, "3")) == [("feature=f", "open"), ("team=t", "open")]
    assert told(history, Crossed("0", "3")) == [("feature=f", "open"), ("team=t", "open")], "it fell there"


def test_a_dimension_alone_and_the_first_of_several_ask_for_nothing() -> None:
    crossed = Crossed("500")
    assert told({"feature=f": RISEN, "feature=g": RISEN}, crossed) == [("feature=f", "open"), ("feature=g", "open")]
    assert told({"team=t": RISEN, "model=m": USUAL}, crossed) == [("team=t", "open")]
    assert crossed.asked == []


def test_an_alert_that_stands_or_has_ended_since_tells_of_its_own_hours_alone() -> None:
    crossed, later = Crossed("500", "3"), NOON + HOUR
    alert = anomaly(BY).judge(Spending({"feature=f": RISEN}), {}, LAST_MINUTE)[0]
    both = series(weekly(4) | {NOON: "500", later: "500"}, now=later + HOUR / 2)
    history = {"team=t": both, "feature=f": series(weekly(4) | {NOON: "500"})}
    said = told(history, crossed, now=later + HOUR / 2, alerts=[alert])
    assert said == [], "it stands, so it may still rise"
    cleared = alert.model_copy(update={"status": "cleared", "revision": 2, "window_start": later})
    assert told(history, crossed, now=later + HOUR / 2, alerts=[cleared]) == [("team=t", "open")]
    retracted = alert.model_copy(update={"status": "retracted", "revision": 2})
    only_team = {"team=t": RISEN}
    assert told(only_team, crossed, alerts=[retracted]) == [("team=t", "open")]
    assert told(only_team, crossed, alerts=[cleared]) == []
    ahead = alert.model_copy(update={"metadata": alert.metadata | {"first_window": f"{later:%Y-%m-%dT%H:%M:%S+00:00}"}})
    assert told(only_team, crossed, alerts=[ahead]) == [("team=t", "open")]


def test_an_alert_that_stands_is_not_taken_back_because_another_tells_the_same() -> None:
    alert = anomaly(BY).judge(Spending({"team=t": RISEN}), {}, LAST_MINUTE)[0]
    assert told({"team=t": RISEN, "feature=f": RISEN}, Crossed("500", "3"), alerts=[alert]) == [("feature=f", "open")]


def test_alerts_of_a_dimension_that_is_looked_at_no_more_end_and_tell_nothing() -> None:
    model = anomaly(BY).judge(Spending({"model=m": RISEN}), {}, LAST_MINUTE)[0]
    crossed, only = Crossed("500", "3"), replace(BY, anomaly_by=("team",))
    quiet = series(weekly(4) | {NOON: "500", NOON + HOUR: "1"}, now=NOON + HOUR * 2)
    history = {"model=m": quiet, "team=t": series(weekly(4) | {NOON: "1", NOON + HOUR: "500"}, now=NOON + HOUR * 2)}
    said = told(history, crossed, now=NOON + HOUR * 2, alerts=[model], thresholds=only)
    assert said == [("team=t", "open"), ("model=m", "cleared")]
    assert crossed.asked == []


def test_calls_that_are_told_elsewhere_are_taken_off_where_calls_are_few() -> None:
    rare = {NOON - HOUR * back: Spend(Decimal(40 if back == 200 else 1), calls=1) for back in range(4, 400, 4)}
    many = Series(rare | {NOON: Spend(Decimal(9), calls=9)})
    one = Series(rare | {NOON: Spend(Decimal(1), calls=1)})
    assert told({"feature=f": many, "team=t": many}, Crossed("0", calls=8)) == [("feature=f", "open")]
    assert told({"feature=f": many, "team=t": many}, Crossed("0", calls=1))[-1] == ("team=t", "open")
    assert told({"feature=f": many, "team=t": many}, Crossed("0", calls=8, calls_usual=24))[-1] == ("team=t", "open")
    assert told({"feature=f": one, "team=t": many}, Crossed("9", calls=9)) == [("team=t", "open")]


def test_an_hour_that_has_ended_and_doubles_by_late_events_is_updated() -> None:
    scope, costs = "feature=a", weekly(4) | {NOON: "500"}
    alert = opened(costs, thresholds=ANOMALY, scope=scope)
    late = found(costs | {NOON: "5000"}, now=NOON + HOUR * 1.2, alerts=[alert], thresholds=ANOMALY, scope=scope)
    assert [(each.revision, each.status, each.current_value) for each in late] == [(2, "updated", 5000)]


def test_an_earlier_hour_that_grows_beside_the_one_shown_is_not_told_as_growth() -> None:
    scope, one = "feature=a", NOON + HOUR
    costs = weekly(4) | {NOON: "500", one: "600"}
    said = found(costs, now=one + HOUR / 2, thresholds=ANOMALY, scope=scope)
    assert states(said) == [(1, "open", 0), (2, "updated", 1)]
    assert found(costs | {NOON: "50000"}, now=one + HOUR * 0.6, alerts=said, thresholds=ANOMALY, scope=scope) == []


def test_the_hour_in_which_an_alert_cleared_may_open_the_next_one() -> None:
    scope, one = "feature=a", NOON + HOUR
    costs = weekly(4) | {NOON: "500"}
    said = [opened(costs, thresholds=ANOMALY, scope=scope)]
    said += found(costs | {one: "2"}, now=one + HOUR, alerts=said, thresholds=ANOMALY, scope=scope)
    assert states(said) == [(1, "open", 0), (2, "cleared", 1)]
    (again,) = found(costs | {one: "700"}, now=one + HOUR * 1.2, alerts=said, thresholds=ANOMALY, scope=scope)
    assert (again.status, again.window_start, again.revision) == ("open", one, 1)
    assert again.alert_id != said[0].alert_id


def test_an_anomaly_clears_too() -> None:
    scope, costs = "feature=a", weekly(4) | {NOON: "500"}
    alert = opened(costs, thresholds=ANOMALY, scope=scope)
    (cleared,) = found(costs | {NOON + HOUR: "2"}, now=NOON + HOUR * 2, alerts=[alert], thresholds=ANOMALY, scope=scope)
    assert (cleared.alert_id, cleared.revision, cleared.status) == (alert.alert_id, 2, "cleared")


# Properties

cents = st.integers(0, 2_000).map(lambda each: Decimal(each) / 100)


@examples(60)
@given(st.lists(cents, min_size=1, max_size=60), st.integers(0, 5))
def test_judging_twice_says_nothing_the_second_time(costs: list[Decimal], ahead: int) -> None:
    hours = {NOON - HOUR * back: cost for back, cost in enumerate(costs)}
    now = NOON + HOUR * ahead + HOUR / 3
    history = {"system": series(hours, now=now), "feature=a": series(hours, now=now)}
    first = judge(history=history, alerts=[], now=now, thresholds=Thresholds())
    assert judge(history=history, alerts=first, now=now, thresholds=Thresholds()) == []


@examples(60)
@given(st.lists(cents, min_size=30, max_size=60), st.integers(0, 30))
def test_no_hour_before_the_horizon_ever_raises_an_alert(costs: list[Decimal], ahead: int) -> None:
    hours = {NOON - HOUR * back: cost for back, cost in enumerate(costs)}
    now = NOON + HOUR * ahead + HOUR / 3
    said = found(hours, now=now) + found(hours, now=now, thresholds=ANOMALY, scope="feature=a")
    reach = {rule.name: horizon(now, rule) for rule in (spike(THRESHOLDS), anomaly(THRESHOLDS))}
    assert all(alert.window_start in reach[alert.rule] for alert in said)


@examples(60)
@given(st.dictionaries(st.integers(-180, 59), cents, max_size=12), st.integers(0, 59))
def test_hours_that_are_not_read_by_the_minute_hold_no_spike(spent: dict[int, Decimal], minute: int) -> None:
    """Judged with all minutes or with those alone that are asked for, the same is said."""
    now = NOON + MINUTE * (minute + 0.5)
    costs = dict(steady("1", until=NOON - HOUR * 3))
    costs |= {NOON + MINUTE * at: cost / 4 for at, cost in spent.items() if NOON + MINUTE * at <= now}
    whole = series(costs, now=now)
    asked = hours_to_split(series(costs, split=False), first_windows=[], now=now)
    some = Series(whole.hours, {hour: whole.minutes[hour] for hour in asked if hour in whole.minutes})
    assert judge(history={"system": some}, alerts=[], now=now, thresholds=THRESHOLDS) == found(costs, now=now)


@examples(40)
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


@pytest.mark.parametrize(
    ("cost", "level", "doublings"),
    [
        *(("1.99", "1", 0), ("2", "1", 1), ("3.99", "1", 1), ("4", "1", 2), ("7.99", "1", 2), ("8", "1", 3)),
        *(("8", "2", 2), ("1", "2", 0), ("5", "0", 0)),
    ],
)
def test_a_cost_has_doubled_its_level_as_often_as_the_level_fits_into_it_doubled(
    cost: str, level: str, doublings: int
) -> None:
    assert _doublings(Decimal(cost), Decimal(level)) == doublings
