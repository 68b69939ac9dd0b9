"""What is due on a channel: what a person is told, what not, and when again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.alerts import Alert, Level, Status
from sinks.clickhouse.acts import Act
from sinks.clickhouse.deliveries import Attempt
from stream.notify.acts import Acts
from stream.notify.lane import DAY, QUIET, WAIT_MAX, Lane, Limits, Quiet, wait_after
from tests.support.told import alert

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Told:
    """A lane with a clock of its own, and what got through on it."""

    def __init__(self, **limits: Any) -> None:
        self.lane = Lane("slack", Limits(START, **limits))
        self.now = START
        self.through: list[tuple[str, int, int]] = []
        self.attempts: list[Attempt] = []
        self.alerts: list[Alert] = []

    def hear(self, *alerts: Alert) -> None:
        self.alerts += alerts
        for each in alerts:
            self.lane.hear(each)

    def tell(self, *, works: bool = True, reason: str = "") -> list[tuple[str, int, int]]:
        """All that is due now; (alert_id, revision, reminder)."""
        told = []
        while (due := self.lane.due(self.now)) is not None:
            attempt = self.lane.note(due, "delivered" if works else "failed", self.now, reason)
            self.attempts.append(attempt)
            told.append((due.alert.alert_id, due.alert.revision, due.reminder))
        if works:
            self.through += told
        return told

    def at(self, wait: timedelta, **how: Any) -> list[tuple[str, int, int]]:
        self.now = START + wait
        return self.tell(**how)

    def begin_again(self) -> None:
        """Another worker: what it knows is the ledger and the topic."""
        self.lane = Lane("slack", self.lane.limits)
        self.lane.recall(self.attempts, self.alerts)
        for each in self.alerts:
            self.lane.hear(each)


def test_a_revision_is_told_once() -> None:
    told = Told()
    told.hear(alert("a"))
    assert told.tell() == [("a", 1, 0)]
    told.hear(alert("a"))
    assert told.tell() == []
    told.begin_again()
    assert told.tell() == []


def test_what_is_older_than_the_channel_is_not_told() -> None:
    told = Told()
    told.hear(alert("a", timestamp=START - timedelta(milliseconds=1)), alert("b", timestamp=START))
    assert told.tell() == [("b", 1, 0)]


def test_of_a_backlog_the_newest_is_told() -> None:
    told = Told()
    told.hear(alert("a"), alert("a", 2, status="updated"), alert("a", 3, status="updated"))
    assert told.tell() == [("a", 3, 0)]


def test_what_came_and_went_in_one_breath_is_told_in_order() -> None:
    told = Told()
    told.hear(alert("a"), alert("a", 2, status="cleared"))
    assert told.tell() == [("a", 1, 0), ("a", 2, 0)]


def test_it_is_not_told_that_something_is_taken_back_of_which_nobody_heard() -> None:
    told = Told()
    told.hear(alert("a"), alert("a", 2, status="retracted"))
    assert told.tell() == []
    assert told.lane.waiting(told.now) == 0


@pytest.mark.parametrize("status", ["cleared", "retracted"])
def test_it_is_told_that_something_is_over_or_taken_back_that_was_told(status: Status) -> None:
    told = Told()
    told.hear(alert("a"))
    told.tell()
    told.hear(alert("a", 2, status=status))
    assert told.tell() == [("a", 2, 0)]


def test_what_was_cleared_can_be_taken_back_a_day_later_by_another_worker() -> None:
    told = Told(remind=None)
    told.hear(alert("a"), alert("a", 2, status="cleared"))
    told.tell()
    told.begin_again()
    told.hear(alert("a", 3, status="retracted", timestamp=START + DAY))
    assert told.at(DAY) == [("a", 3, 0)]


# --- B-21, B-22: not again within the hour, unless it is worse ---


def test_the_same_again_is_told_when_the_hour_is_over() -> None:
    told = Told(remind=None)
    told.hear(alert("a"), alert("a", 2, status="cleared"))
    told.tell()
    told.hear(alert("b", timestamp=START + 20 * MINUTE))
    assert told.at(20 * MINUTE) == []
    told.begin_again()
    assert told.at(QUIET - MINUTE) == []
    assert told.at(QUIET) == [("b", 1, 0)]


def test_the_same_again_that_is_over_within_the_hour_is_never_told() -> None:
    told = Told(remind=None)
    told.hear(alert("a"), alert("a", 2, status="cleared"))
    told.tell()
    told.hear(alert("b", timestamp=START + 20 * MINUTE))
    told.hear(alert("b", 2, status="cleared", timestamp=START + 40 * MINUTE))
    assert told.at(40 * MINUTE) == []
    assert told.at(3 * HOUR) == []
    assert told.lane.waiting(told.now) == 0


@pytest.mark.parametrize(
    "worse",
    [
        {"level": "critical"},
        {"current_value": "2.0"},
        {"rule": "hourly_anomaly"},
        {"scope": "feature=other"},
        {"metric_name": "another"},
    ],
)
def test_within_the_hour_it_is_told_what_is_worse_or_something_else(worse: dict[str, Any]) -> None:
    told = Told(remind=None)
    told.hear(alert("a", current_value="1.0"), alert("a", 2, status="cleared"))
    told.tell()
    told.hear(alert("b", **({"current_value": "1.9"} | worse)))
    assert told.tell() == [("b", 1, 0)]


def test_every_higher_threshold_of_a_budget_is_told_at_once() -> None:
    told = Told()
    for revision, share in enumerate(["0.80", "0.90", "0.95"], start=1):
        status = "open" if revision == 1 else "updated"
        told.hear(alert("a", revision, status=status, rule="budget", threshold_value=share, current_value=share))
        assert told.at(revision * 5 * MINUTE) == [("a", revision, 0)]


def test_a_budget_that_is_crossed_again_by_its_first_threshold_is_no_news() -> None:
    told = Told(remind=None)
    of_day = {"rule": "budget", "threshold_value": "80", "current_value": "85"}
    told.hear(alert("a", **of_day), alert("a", 2, status="cleared", **of_day))
    told.tell()
    told.hear(alert("a", 3, **of_day))
    assert told.at(20 * MINUTE) == []
    told.hear(alert("a", 4, status="updated", **(of_day | {"threshold_value": "95"})))
    assert told.at(21 * MINUTE) == [("a", 4, 0)]


def test_the_next_period_of_a_budget_is_a_subject_of_its_own() -> None:
    told = Told(remind=None)
    told.hear(alert("a", rule="budget"))
    told.tell()
    told.hear(alert("b", rule="budget", window_start=START + HOUR))
    assert told.tell() == [("b", 1, 0)]


# --- reminders ---


def test_what_still_stands_is_told_again_at_longer_and_longer_rests() -> None:
    told = Told()
    told.hear(alert("a"))
    found = []
    for minute in range(5 * 24 * 60):
        if told.at(minute * MINUTE):
            found.append(minute / 60)
        if minute % 700 == 0:
            told.begin_again()
    assert found == [0, 1, 3, 7, 15, 31, 55, 79, 103]
    assert [reminder for _, _, reminder in told.through] == list(range(9))


def test_a_revision_begins_its_reminders_anew_and_what_is_over_has_none() -> None:
    told = Told()
    told.hear(alert("a"))
    told.at(timedelta())
    told.at(HOUR)
    told.hear(alert("a", 2, status="updated", timestamp=START + 2 * HOUR))
    assert told.at(2 * HOUR) == [("a", 2, 0)]
    assert told.at(3 * HOUR) == [("a", 2, 1)]
    told.hear(alert("a", 3, status="cleared", timestamp=START + 4 * HOUR))
    assert told.at(4 * HOUR) == [("a", 3, 0)]
    assert told.at(100 * HOUR) == []


def test_without_reminders_it_is_told_once() -> None:
    told = Told(remind=None)
    told.hear(alert("a"))
    told.tell()
    assert told.at(30 * DAY) == []


# --- what people do about it ---


def act(kind: Any, at: timedelta, until: timedelta, **of: str) -> Act:
    fields = {"alert_id": "", "rule": "", "scope": "", "acted_by": "ann", "note": ""} | of
    return Act(act_id="1", kind=kind, at=START + at, until=START + until, **fields)


def test_of_what_somebody_sees_to_nobody_is_reminded_until_it_is_news_or_the_time_is_over() -> None:
    told = Told()
    told.hear(alert("a"))
    told.tell()
    told.lane.acts = Acts([act("ack", MINUTE, 10 * HOUR, alert_id="a"), act("ack", MINUTE, 90 * HOUR, alert_id="b")])
    assert told.at(9 * HOUR) == []
    told.hear(alert("a", 2, status="updated", timestamp=START + 9 * HOUR))
    assert told.at(9 * HOUR) == [("a", 2, 0)]
    assert told.at(9 * HOUR + HOUR) == [("a", 2, 1)], "a later revision is not acknowledged"


def test_an_acknowledgement_ends() -> None:
    told = Told()
    told.hear(alert("a"))
    told.tell()
    told.lane.acts = Acts([act("ack", MINUTE, 10 * HOUR, alert_id="a")])
    assert told.at(10 * HOUR - MINUTE) == []
    assert told.at(10 * HOUR) == [("a", 1, 1)]


@pytest.mark.parametrize(
    ("of", "silenced"),
    [
        ({"rule": "hourly_spike"}, True),
        ({"scope": "system"}, True),
        ({"rule": "hourly_spike", "scope": "system"}, True),
        ({"rule": "hourly_spike", "scope": "feature=x"}, False),
        ({"rule": "hourly_anomaly"}, False),
        ({"rule": "day"}, False),
    ],
)
def test_what_is_silenced_is_told_when_the_silence_is_over_if_it_still_stands(of: Any, silenced: bool) -> None:
    told = Told(remind=None)
    told.lane.acts = Acts([act("silence", timedelta(), 2 * HOUR, **of)])
    told.hear(alert("a"))
    assert told.at(timedelta()) == ([] if silenced else [("a", 1, 0)])
    assert told.at(2 * HOUR) == ([("a", 1, 0)] if silenced else [])


def test_a_budget_is_silenced_by_its_name() -> None:
    told = Told(remind=None)
    told.lane.acts = Acts([act("silence", timedelta(), 2 * HOUR, rule="search_team")])
    told.hear(alert("a", rule="budget", metadata={"budget": "search_team"}))
    told.hear(alert("b", rule="budget", scope="budget=other", metadata={"budget": "other"}))
    assert told.tell() == [("b", 1, 0)]


@pytest.mark.parametrize("rule", ["pipeline", "stall"])
def test_alerts_about_the_pipeline_are_silenced_together_or_by_their_rule(rule: str) -> None:
    told = Told(remind=None)
    told.lane.acts = Acts([act("silence", timedelta(), 2 * HOUR, rule=rule)])
    told.hear(alert("a", rule="stall", scope="pipeline"))
    told.hear(alert("b", rule="audit", scope="pipeline"))
    told.hear(alert("c"))
    assert {told_one[0] for told_one in told.tell()} == ({"c"} if rule == "pipeline" else {"b", "c"})


def test_what_came_and_went_in_a_silence_is_never_told_and_an_end_that_was_held_is_told_after_it() -> None:
    told = Told(remind=None)
    told.hear(alert("told"))
    told.tell()
    told.lane.acts = Acts([act("silence", timedelta(), 2 * HOUR, rule="hourly_spike")])
    told.hear(alert("told", 2, status="cleared", timestamp=START + MINUTE))
    told.hear(alert("a", scope="s", timestamp=START + MINUTE))
    told.hear(alert("a", 2, scope="s", status="cleared", timestamp=START + HOUR))
    assert told.at(HOUR) == []
    assert told.at(3 * HOUR) == [("told", 2, 0)]
    assert told.lane.waiting(told.now) == 0


def test_in_quiet_hours_lower_levels_wait_also_over_midnight() -> None:
    quiet = Quiet(time(22), time(7), ZoneInfo("Asia/Seoul"), Level.CRITICAL)  # 13:00 to 22:00 UTC
    told = Told(remind=None, quiet=quiet)
    told.hear(alert("low", timestamp=START + 4 * HOUR))
    told.hear(alert("high", scope="s", level="critical", timestamp=START + 4 * HOUR))
    assert told.at(4 * HOUR) == [("high", 1, 0)]
    assert told.at(12 * HOUR - MINUTE) == []
    assert told.at(12 * HOUR) == [("low", 1, 0)]


@pytest.mark.parametrize(("hour", "held"), [(8, False), (9, True), (16, True), (17, False)])
def test_quiet_hours_of_one_day(hour: int, held: bool) -> None:
    quiet = Quiet(time(9), time(17), UTC, Level.EMERGENCY)
    assert quiet.holds_back(Level.CRITICAL, START.replace(hour=hour)) is held
    assert not quiet.holds_back(Level.EMERGENCY, START.replace(hour=hour))


# --- what does not get through ---


def test_it_is_tried_again_at_longer_rests_for_a_day_and_then_given_up() -> None:
    told = Told(remind=None)
    told.hear(alert("a"))
    tried = []
    for second in range(0, 25 * 3600, 5):
        if told.at(timedelta(seconds=second), works=False):
            tried.append(second)
        if second % 7000 == 0:
            told.begin_again()
            told.lane._failures = 0
    assert tried[:8] == [0, 5, 15, 35, 75, 155, 315, 635]
    assert max(late - early for early, late in pairwise(tried)) <= WAIT_MAX.total_seconds()
    assert DAY.total_seconds() <= tried[-1] <= (DAY + WAIT_MAX).total_seconds()
    assert told.attempts[-1].outcome == "given up"
    assert [attempt.attempt for attempt in told.attempts] == list(range(1, len(tried) + 1))
    told.hear(alert("a", 2, status="updated", timestamp=told.now))
    assert told.at(26 * HOUR) == [("a", 2, 0)]


def test_what_one_alert_is_refused_for_holds_up_no_other() -> None:
    told = Told(remind=None)
    told.hear(alert("bad", level="emergency"), *(alert(f"good-{number}", scope=f"s{number}") for number in range(5)))
    got = set()
    for second in range(600):
        told.now = START + timedelta(seconds=second)
        while (due := told.lane.due(told.now)) is not None:
            name = due.alert.alert_id
            told.lane.note(due, "failed" if name == "bad" else "delivered", told.now)
            got |= {name} - {"bad"}
        if len(got) == 5:
            break
    assert second <= 60


def test_once_something_got_through_the_highest_level_goes_first_again_and_at_once() -> None:
    told = Told(remind=None)
    told.hear(alert("urgent", level="emergency"))
    told.at(timedelta(), works=False)
    told.hear(*(alert(name, scope=name) for name in ("first", "second")))
    told.now = START + timedelta(seconds=5)
    due = told.lane.due(told.now)
    assert due is not None
    assert due.alert.alert_id == "first", "what was tried least, where the last try failed"
    told.lane.note(due, "delivered", told.now)
    assert told.tell() == [("urgent", 1, 0), ("second", 1, 0)]


def test_after_a_long_outage_what_still_stands_is_told_and_what_is_long_over_is_not() -> None:
    told = Told()
    told.hear(alert("over"), alert("over", 2, status="cleared", timestamp=START + MINUTE), alert("stands", scope="s"))
    told.at(timedelta(), works=False)
    assert told.at(2 * DAY) == [("stands", 1, 0)]


def test_the_highest_level_goes_first_and_reminders_last() -> None:
    told = Told(hourly_max=100)
    told.hear(alert("old"))
    told.tell()
    levels = ["warning", "emergency", "info", "critical"]
    told.hear(*(alert(level, level=level, scope=level, timestamp=START + HOUR) for level in levels))
    assert [name for name, _, _ in told.at(HOUR)] == ["emergency", "critical", "warning", "info", "old"]


def test_no_more_than_so_many_in_an_hour() -> None:
    told = Told(hourly_max=10, remind=None)
    told.hear(*(alert(str(number), scope=str(number)) for number in range(25)))
    assert len(told.tell()) == 10
    assert told.lane.waiting(told.now) == 15
    told.begin_again()
    assert told.at(59 * MINUTE) == []
    assert len(told.at(HOUR)) == 10
    assert len(told.at(2 * HOUR)) == 5


def test_ten_looks_above_one_threshold_in_an_hour_are_one_message_and_after_it_one_more() -> None:
    told = Told()
    told.hear(alert("a"))
    assert sum(len(told.at(minute * 6 * MINUTE)) for minute in range(10)) == 1
    assert len(told.at(60 * MINUTE)) == 1


def test_what_is_long_over_is_forgotten_and_what_may_still_change_is_not() -> None:
    told = Told()
    told.hear(alert("gone"), alert("gone", 2, status="cleared"), alert("stands", scope="s"))
    told.tell()
    told.now = START + 9 * DAY
    told.lane.forget(told.now)
    assert set(told.lane._episodes) == {"stands"}


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 5), (2, 10), (3, 20), (9, 900), (1000, 900)])
def test_waits_double_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    assert wait_after(failures) == timedelta(seconds=seconds)


# --- any history ---


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["open", "updated", "cleared", "retracted"]),
        st.sampled_from(["warning", "critical"]),
        st.integers(1, 100),  # minutes until then
        st.booleans(),  # whether the receiver takes what it is sent
        st.booleans(),  # whether a worker begins anew
    ),
    max_size=25,
)


def revisions(steps: list[Any]) -> Iterator[tuple[timedelta, Alert, bool, bool]]:
    numbers, since = dict[str, int](), timedelta()
    for name, status, level, minutes, works, begins in steps:
        since += minutes * MINUTE
        numbers[name] = numbers.get(name, 0) + 1
        made = "open" if numbers[name] == 1 else status
        yield (
            since,
            alert(name, numbers[name], status=made, level=level, scope=name, timestamp=START + since),
            works,
            begins,
        )


@given(STEPS)
def test_nothing_is_told_twice_whatever_breaks_and_what_stands_is_always_told(steps: list[Any]) -> None:
    told = Told(hourly_max=10_000)
    latest = dict[str, Alert]()
    for since, each, works, begins in revisions(steps):
        if begins:
            told.begin_again()
        latest[each.alert_id] = each
        told.hear(each)
        told.at(since, works=works)
    told.at(timedelta(days=1, hours=23) if not steps else told.now - START + 2 * WAIT_MAX)
    told.at(told.now - START + QUIET)
    assert len(set(told.through)) == len(told.through)
    for name, each in latest.items():
        if each.standing:
            assert any(told_id == name and revision == each.revision for told_id, revision, _ in told.through)


@given(STEPS)
def test_an_end_is_told_only_of_what_was_told(steps: list[Any]) -> None:
    told = Told(remind=None, hourly_max=10_000)
    by_place = dict[tuple[str, int], Alert]()
    for since, each, works, begins in revisions(steps):
        if begins:
            told.begin_again()
        by_place[each.alert_id, each.revision] = each
        told.hear(each)
        told.at(since, works=works)
    heard = set[str]()
    for name, revision, _ in told.through:
        each = by_place[name, revision]
        assert each.standing or name in heard
        heard.add(name)


def test_levels_are_those_of_alerts() -> None:
    assert [level.value for level in Level] == ["info", "warning", "critical", "emergency"]
    assert alert("a", current_value="2").current_value == Decimal(2)
