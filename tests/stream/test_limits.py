"""Who tells limits: once, in its turn, from where the last one was; and whatever fails is told later, not twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from costream.budgets import BudgetState
from stream.budgets.budget import Budget
from stream.budgets.limits import News, Reading
from stream.runtime.errors import PublishFailed
from stream.watch.limits import Limits
from stream.watch.rules.hourly import RETRY_WAIT
from stream.watch.turn import OutOfTurn
from tests.stream.test_budget_judge import NOON, no_rate
from tests.stream.test_budget_limits import ANN, USER, account, of


class Place:
    """Limits on a clock, and the topic that they are told on."""

    def __init__(self, published: Sequence[BudgetState] = ()) -> None:
        self.now, self.told = NOON, list[News]()
        self.fault: Exception | None = None
        self.limits = Limits(publish=self._publish, per_usd=no_rate, clock=lambda: self.now)
        self.limits.restore(published)

    def _publish(self, news: Sequence[News]) -> None:
        if self.fault:
            raise self.fault
        self.told += news

    def note(self, usd: str, *, budgets: Sequence[Budget] = (USER,), now: datetime = NOON) -> None:
        self.limits.note(Reading(budgets, 1, of(USER, usd, user_id="ann"), now))

    def tick(self, *, later: timedelta = timedelta()) -> list[tuple[bytes, bool | None]]:
        self.now += later
        return [(key, state.limited if state else None) for key, state in self.limits.tick()]


AWAY = PublishFailed(topic="usage.budgets", unacknowledged=1, reason="away")


def test_what_is_news_is_told_once_and_what_was_not_noted_is_not_looked_at_again() -> None:
    place = Place()
    assert place.tick() == []
    place.note("9.5")
    assert place.tick() == [(ANN, True)]
    assert place.tick() == []
    place.note("9.6")
    assert place.tick() == []
    assert len(place.told) == 1


def test_what_was_told_says_what_must_be_looked_at() -> None:
    place = Place()
    place.note("9.5")
    assert place.limits.accounts([USER], NOON) == set()
    place.tick()
    assert place.limits.accounts([USER], NOON) == {account(USER, user_id="ann")}


def test_what_could_not_be_told_is_told_in_a_minute_by_the_newest_reading() -> None:
    place = Place()
    place.fault = AWAY
    place.note("9.5")
    with capture_logs() as lines:
        assert place.tick() == []
    assert [(line["event"], line["log_level"], line["exc_info"]) for line in lines] == [
        ("limits not told", "error", False)
    ]
    place.fault = None
    place.note("9.7")
    assert place.tick(later=RETRY_WAIT - timedelta(seconds=1)) == []
    assert place.tick(later=timedelta(seconds=1)) == [(ANN, True)]
    (told,) = place.told
    assert told.state is not None
    assert f"{told.state.spent:f}" == "9.7"


def test_what_was_read_in_a_turn_that_is_over_is_dropped() -> None:
    place = Place()
    place.fault = OutOfTurn()
    place.note("9.5")
    assert place.tick() == []
    place.fault = None
    assert place.tick() == []


def test_a_bug_ends_nothing_and_is_told_with_its_place() -> None:
    structlog.reset_defaults()
    place = Place()
    place.fault = ZeroDivisionError("a bug")
    place.note("9.5")
    with capture_logs() as lines:
        assert place.tick() == []
    assert lines[0]["exc_info"] is True


def test_who_takes_over_wants_a_reading_and_says_nothing_twice() -> None:
    place = Place()
    place.note("9.5")
    place.tick()
    (told,) = place.told
    assert told.state is not None
    later = Place([told.state])
    assert later.limits.wants_reading
    later.note("9.5")
    assert not later.limits.wants_reading
    assert later.tick() == []
    later.note("9")
    assert later.tick() == [(ANN, False)]


def test_a_turn_that_begins_drops_what_was_read_before_it() -> None:
    place = Place()
    place.note("9.5")
    place.limits.restore([])
    assert place.tick() == []
    assert place.limits.wants_reading


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_crash_around_the_publication_repeats_the_same_state_at_most(acknowledged: bool) -> None:
    place = Place()
    place.note("9.5")
    place.tick()
    on_the_topic = [state for _, state in place.told if state] if acknowledged else []
    next_one = Place(on_the_topic)
    next_one.note("9.5")
    next_one.tick()
    assert next_one.told == ([] if acknowledged else place.told)


def test_a_rule_that_is_switched_off_lets_everybody_go() -> None:
    place = Place()
    place.note("9.5")
    place.tick()
    place.note("9.5", budgets=[replace(USER, refuse_at=None)])
    assert place.tick() == [(ANN, False)]
    assert place.limits.accounts([USER], NOON) == set()
