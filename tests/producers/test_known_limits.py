"""The limits that a guard keeps in memory, against a plain look through all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.budgets import BudgetState
from costream.guarding.asked import Values
from costream.guarding.known import KnownLimits, is_understood
from tests.producers.test_budget_state import DAY, END, state
from tests.support.properties import examples

NOON = DAY + timedelta(hours=12)


def never() -> datetime:
    raise AssertionError("no clock is asked where nothing is limited")


def limited_by(known: KnownLimits, *, now: datetime = NOON, **call: Any) -> str | None:
    found = known.limit_on(Values(call, None), lambda: now)
    return found.budget if found else None


def known(*states: BudgetState, limits_max: int = 100) -> KnownLimits:
    found = KnownLimits(limits_max=limits_max)
    for each in states:
        assert found.put(each)
    return found


def test_a_limit_holds_for_its_subject_alone() -> None:
    limits = known(state())
    assert limited_by(limits, user_id="ann", team="search") == "user_daily_budget"
    for others in ({"user_id": "bob"}, {"user_id": ""}, {}, {"session_id": "ann"}):
        assert limits.limit_on(Values(others, None), never) is None


def test_a_subject_of_several_fields_needs_all_of_them() -> None:
    limits = known(state(subject={"user_id": "ann", "feature": "chat"}))
    assert limited_by(limits, feature="chat", user_id="ann")
    assert not limited_by(limits, feature="chat")
    assert not limited_by(limits, feature="chat", user_id="bob")


def test_a_limit_of_everything_together_holds_for_every_call() -> None:
    assert limited_by(known(state(budget="daily_budget", subject={}))) == "daily_budget"


def test_only_the_values_that_a_budget_counts_are_limited() -> None:
    limits = known(state(subject={}, only={"team": ("search", "ads"), "environment": ("prod",)}))
    assert limited_by(limits, team="ads", environment="prod")
    for call in ({"team": "ads"}, {"team": "hr", "environment": "prod"}, {}):
        assert not limited_by(limits, **call)


def test_what_is_told_is_the_limit_that_lasts_longest() -> None:
    month = state(budget="monthly_budget", subject={}, period_end=END + timedelta(days=1))
    session = state(budget="session", subject={"session_id": "s"}, period="session", period_start=None, period_end=None)
    limits = known(state(), month, session)
    assert limited_by(limits, user_id="ann", session_id="s") == "session"
    assert limited_by(limits, user_id="ann") == "monthly_budget"
    assert limited_by(limits, user_id="ann", now=END) == "monthly_budget"
    limits.remove(month.key)
    assert limited_by(limits, user_id="ann") == "user_daily_budget"


def test_a_limit_lifts_by_the_clock_and_is_forgotten_later() -> None:
    limits = known(state())
    assert limited_by(limits, user_id="ann", now=END - timedelta(milliseconds=1))
    assert not limited_by(limits, user_id="ann", now=END)
    limits.forget_what_is_over(END - timedelta(milliseconds=1))
    assert len(limits) == 1
    limits.forget_what_is_over(END)
    assert len(limits) == 0
    assert limits.limit_on(Values({"user_id": "ann"}, None), never) is None


def test_no_more_limits_are_kept_than_there_is_room_for_and_each_may_change() -> None:
    users = [state(subject={"user_id": f"u-{number}"}) for number in range(4)]
    limits = known(*users[:3], limits_max=3)
    assert not limits.put(users[3])
    assert limits.put(users[0].model_copy(update={"budget": "user_daily_budget", "spent": users[0].amount}))
    assert not limited_by(limits, user_id="u-3")
    limits.remove(users[1].key)
    assert limits.put(users[3])
    assert limited_by(limits, user_id="u-3")
    assert len(limits) == 3


def test_a_limit_by_a_field_that_no_call_has_is_not_understood() -> None:
    assert is_understood(state(subject={"model": "m"}, only={"operation": ("chat",)}))
    assert not is_understood(state(subject={"region": "eu"}))
    assert not is_understood(state(only={"input_tokens": ("1",)}))


VALUES = st.sampled_from(["", "a", "b"])
STATES = st.builds(
    lambda budget, subject, only, hours: state(
        budget=budget,
        subject=subject,
        only=only,
        period_end=None if hours is None else DAY + timedelta(hours=hours),
        period="session" if hours is None else "day",
    ),
    budget=st.sampled_from(["x", "y"]),
    subject=st.dictionaries(st.sampled_from(["user_id", "team"]), st.sampled_from(["a", "b"])),
    only=st.dictionaries(st.sampled_from(["feature", "team"]), st.lists(VALUES, min_size=1, max_size=2).map(tuple)),
    hours=st.none() | st.integers(1, 3),
)


@given(
    steps=st.lists(st.tuples(STATES, st.booleans()), max_size=12),
    call=st.fixed_dictionaries({"user_id": VALUES, "team": VALUES, "feature": VALUES}),
    hour=st.integers(0, 3),
)
@examples(300)
def test_what_is_found_is_what_a_look_through_all_of_them_finds(
    steps: list[tuple[BudgetState, bool]], call: Mapping[str, str], hour: int
) -> None:
    limits, plain, now = KnownLimits(), dict[bytes, BudgetState](), DAY + timedelta(hours=hour)
    for each, is_put in steps:
        if is_put:
            limits.put(each)
            plain[each.key] = each
        else:
            limits.remove(each.key)
            plain.pop(each.key, None)
    found = limits.limit_on(Values(call, None), lambda: now)
    expected = [each for each in plain.values() if each.holds(now) and _is_meant(each, call)]
    assert (found is None) == (not expected)
    if found:
        assert found.budget in {each.budget for each in expected}
        ends = [each.period_end for each in expected]
        assert found.resets_at == (None if None in ends else max(end for end in ends if end))
    assert len(limits) == len(plain)


def _is_meant(each: BudgetState, call: Mapping[str, str]) -> bool:
    subject = all(call[field] == value != "" for field, value in each.subject.items())
    return subject and all(call[field] in values for field, values in each.only.items())


# --- the values of a call --------------------------------------------------------------------------------------------


def test_values_are_those_that_the_event_of_the_call_would_have() -> None:
    values = Values(
        {"user_id": 17, "team": "a\nb", "feature": "x" * 200, "operation": " Chat ", "session_id": None}, None
    )
    assert (values["user_id"], values["team"], values["operation"]) == ("17", "a b", "chat")
    assert len(values["feature"]) == 128
    assert values["session_id"] == values["environment"] == ""
    assert Values({}, None)["operation"] == "chat", "an event that names none has this one"


@pytest.mark.parametrize("value", [object(), b"\xff", ["a"], float("nan"), "\ud800", type("S", (str,), {})("s")])
def test_a_value_that_no_event_would_have_is_none_or_what_it_would_be(value: Any) -> None:
    assert isinstance(Values({"user_id": value}, None)["user_id"], str)


def test_names_are_compared_as_they_are_given_or_as_they_are_stored() -> None:
    call = {"provider": " Google-GLA ", "model": " models/gemini-2.5-flash "}
    plain = Values(call, None)
    assert (plain["provider"], plain["model"]) == ("google-gla", "models/gemini-2.5-flash")
    asked = list[tuple[str, str]]()

    def canonical(provider: str, model: str) -> tuple[str, str]:
        asked.append((provider, model))
        return "google", "gemini-2.5-flash"

    stored = Values(call, canonical)
    assert (stored["model"], stored["provider"]) == ("gemini-2.5-flash", "google")
    assert asked == [(" Google-GLA ", " models/gemini-2.5-flash ")]
    assert Values({"model": "m"}, canonical)["model"] == "m", "of one alone no table knows the other name"
