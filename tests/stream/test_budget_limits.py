"""Which calls may be refused, and what of that is told: both sides of each limit, whatever comes between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.budgets import BudgetState
from costream.pricing import PICO
from stream.budgets.budget import Budget, subject_of
from stream.budgets.limits import News, Reading, accounts_of, news_of
from stream.budgets.periods import WHOLE_SESSION, span_at
from stream.budgets.spend import Account, Spend
from tests.stream.test_budget_judge import NOON, budget, no_rate
from tests.support.properties import examples

MIDNIGHT = NOON.replace(hour=0) + timedelta(days=1)
USER = budget("10", name="user_daily", scope=("user",), refuse_at=Decimal("0.95"))
SESSION = replace(USER, name="session", scope=("session",), period="session")
ANN = b'["user_daily",{"user_id":"ann"}]'


class Topic:
    """What was told, and what is known of it."""

    def __init__(self, *budgets: Budget, revision: int = 1) -> None:
        self.budgets, self.revision = list(budgets), revision
        self.states: dict[bytes, BudgetState] = {}

    def look(
        self, spends: Mapping[Account, Spend], now: datetime = NOON, *, per_usd: Any = no_rate
    ) -> list[tuple[str, bool | None]]:
        """The budget of each message and whether it limits; None is a tombstone."""
        reading = Reading(self.budgets, self.revision, spends, now)
        news = news_of(reading, self.states, per_usd=per_usd)
        for key, state in news:
            assert state is None or (state.key == key and BudgetState.from_json(state.to_json()) == state)
        apply(news, self.states)
        assert news_of(reading, self.states, per_usd=per_usd) == self.later(news)
        return [(key.decode().split('"')[1], None if state is None else state.limited) for key, state in news]

    def later(self, news: list[News]) -> list[News]:
        """What the same reading says again: nothing, but that a session that was taken back is forgotten."""
        return [News(key, None) for key, state in news if state and not state.limited and state.period_end is None]


def apply(news: Iterable[News], states: dict[bytes, BudgetState]) -> None:
    for key, state in news:
        if state is None:
            del states[key]
        else:
            states[key] = state


def account(rule: Budget, *, now: datetime = NOON, **subject: str) -> Account:
    words = {"user_id": "user", "session_id": "session"}
    named = subject_of((words.get(name, name), value) for name, value in subject.items())
    return Account(rule.spending, named, span_at(now, rule.period, rule.zone).start)


def of(rule: Budget, usd: str, *, now: datetime = NOON, **subject: str) -> dict[Account, Spend]:
    return {account(rule, now=now, **subject): spend_of(usd, now)}


def spend_of(usd: str, now: datetime = NOON) -> Spend:
    return Spend(calls=1, pico_usd={now.date(): int(Decimal(usd) * PICO)})


@pytest.mark.parametrize(("spent", "told"), [("9.499999999999", []), ("9.5", [("user_daily", True)])])
def test_a_limit_begins_where_its_share_is_reached(spent: str, told: list[tuple[str, bool]]) -> None:
    assert Topic(USER).look(of(USER, spent, user_id="ann")) == told


def test_a_state_says_whose_limit_it_is_of_what_and_until_when() -> None:
    topic = Topic(replace(USER, only={"team": ("search", "ads")}, zone="Asia/Seoul"), revision=4)
    topic.look(of(topic.budgets[0], "9.6", user_id="ann"))
    (state,) = topic.states.values()
    assert state.model_dump() == {
        "schema_version": 1,
        "budget": "user_daily",
        "subject": {"user_id": "ann"},
        "only": {"team": ("search", "ads")},
        "period": "day",
        "zone": "Asia/Seoul",
        "period_start": NOON.replace(hour=15) - timedelta(days=1),
        "period_end": NOON.replace(hour=15),
        "limited": True,
        "spent": Decimal("9.6"),
        "amount": Decimal(10),
        "limit": Decimal("9.5"),
        "currency": "USD",
        "ratio": Decimal("0.96"),
        "rules_revision": 4,
        "timestamp": NOON,
    }


def test_a_budget_without_a_share_refuses_nothing() -> None:
    assert Topic(replace(USER, refuse_at=None)).look(of(USER, "1000", user_id="ann")) == []


def test_what_more_is_spent_under_a_limit_is_no_news() -> None:
    topic = Topic(USER)
    topic.look(of(USER, "9.5", user_id="ann"))
    assert topic.look(of(USER, "95", user_id="ann")) == []
    assert topic.look(of(USER, "95", user_id="ann") | of(USER, "9.4", user_id="bob")) == []


def test_a_correction_takes_a_limit_back_and_it_may_begin_again() -> None:
    topic = Topic(USER)
    topic.look(of(USER, "9.5", user_id="ann"))
    assert topic.look(of(USER, "9.49", user_id="ann")) == [("user_daily", False)]
    assert topic.look(of(USER, "9.4", user_id="ann")) == []
    assert topic.look(of(USER, "9.5", user_id="ann")) == [("user_daily", True)]


def test_what_was_not_looked_at_and_what_is_not_known_changes_nothing() -> None:
    won = replace(USER, currency="KRW", amount=Decimal(10_000))
    topic = Topic(won)

    def rate(_currency: str, _day: date) -> Decimal:
        return Decimal(1_000)

    assert topic.look(of(won, "10", user_id="ann")) == [], "no rate is known: nobody is limited"
    assert topic.look(of(won, "9.5", user_id="ann"), per_usd=rate) == [("user_daily", True)]
    assert topic.look(of(won, "1", user_id="ann")) == [], "no rate is known: nobody is let off"
    assert topic.look({}, per_usd=rate) == []
    assert topic.look(of(won, "1", user_id="ann"), per_usd=rate) == [("user_daily", False)]


def test_a_limit_ends_with_its_period_and_its_key_is_forgotten() -> None:
    topic = Topic(USER)
    topic.look(of(USER, "9.5", user_id="ann") | of(USER, "9.5", user_id="bob"))
    topic.look(of(USER, "1", user_id="bob"))
    assert topic.look({}, MIDNIGHT - timedelta(seconds=1)) == []
    assert topic.look({}, MIDNIGHT) == [("user_daily", None), ("user_daily", None)]
    assert topic.states == {}


def test_a_limit_of_the_next_period_takes_the_place_of_the_last_one() -> None:
    topic = Topic(USER)
    topic.look(of(USER, "9.5", user_id="ann"))
    both = of(USER, "9.5", user_id="ann") | of(USER, "9.7", now=MIDNIGHT, user_id="ann")
    assert topic.look(both, MIDNIGHT) == [("user_daily", True)]
    assert topic.states[ANN].period_start == MIDNIGHT


def test_what_was_spent_in_a_period_that_is_over_limits_nobody() -> None:
    assert Topic(USER).look(of(USER, "9.5", user_id="ann"), MIDNIGHT) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"refuse_at": None},
        {"refuse_at": Decimal("0.96")},
        {"amount": Decimal("10.01")},
        {"period": "month"},
        {"zone": "Asia/Seoul"},
        {"only": {"team": ("search",)}},
        {"scope": ("user", "team")},
        {"name": "another"},
    ],
)
def test_rules_that_say_otherwise_take_a_limit_back(changed: dict[str, Any]) -> None:
    topic = Topic(USER)
    spends = of(USER, "9.5", user_id="ann")
    topic.look(spends)
    rule = replace(USER, **changed)
    topic.budgets, topic.revision = [rule], 2
    looked_at = {replace(each, spending=rule.spending): spend for each, spend in spends.items()}
    told = topic.look(looked_at if rule.spending == USER.spending else {})
    assert ("user_daily", False) in told
    assert topic.states[ANN].rules_revision == 2
    topic.budgets = []
    topic.look({})
    assert not any(state.limited for state in topic.states.values())


def test_other_terms_of_a_limit_that_goes_on_are_told_and_another_revision_alone_is_not() -> None:
    topic = Topic(USER)
    topic.look(of(USER, "9.9", user_id="ann"))
    topic.revision = 2
    assert topic.look(of(USER, "9.9", user_id="ann")) == []
    topic.budgets = [replace(USER, refuse_at=Decimal("0.99"))]
    assert topic.look(of(USER, "9.9", user_id="ann")) == [("user_daily", True)]
    assert (topic.states[ANN].limit, topic.states[ANN].rules_revision) == (Decimal("9.9"), 2)


def test_a_session_has_no_end_until_a_whole_day_has_gone_by_without_a_call() -> None:
    topic = Topic(SESSION)
    spends = of(SESSION, "9.5", session_id="s")
    assert topic.look(spends) == [("session", True)]
    (state,) = topic.states.values()
    assert (state.period_start, state.period_end) == (None, None)
    assert topic.look(spends, MIDNIGHT + timedelta(days=1, seconds=-1)) == []
    assert topic.look(spends, MIDNIGHT + timedelta(days=1)) == [("session", None)]
    assert topic.look(spends, MIDNIGHT + timedelta(days=1)) == []


def test_what_was_taken_back_of_a_session_is_forgotten_at_the_next_look() -> None:
    topic = Topic(SESSION)
    topic.look(of(SESSION, "9.5", session_id="s"))
    assert topic.look(of(SESSION, "9", session_id="s")) == [("session", False)]
    assert topic.look({}) == [("session", None)]


def test_the_sums_of_limits_that_stand_are_to_be_looked_at_and_no_others() -> None:
    topic = Topic(USER, SESSION)
    spends = of(USER, "9.5", user_id="a,b=%") | of(USER, "9.5", user_id="bob") | of(SESSION, "20", session_id="s")
    topic.look(spends)
    assert accounts_of(topic.states.values(), topic.budgets, NOON) == spends.keys()
    topic.look(of(USER, "0", user_id="bob"))
    assert account(USER, user_id="bob") not in accounts_of(topic.states.values(), topic.budgets, NOON)
    assert accounts_of(topic.states.values(), topic.budgets, MIDNIGHT) == {account(SESSION, session_id="s")}
    assert accounts_of(topic.states.values(), [replace(USER, refuse_at=None)], NOON) == set()
    assert accounts_of(topic.states.values(), [replace(USER, zone="Asia/Seoul")], NOON) == set()
    assert account(SESSION, session_id="s").period_start == WHOLE_SESSION


LOOKS = st.lists(
    st.tuples(
        st.integers(0, 90).map(lambda minutes: timedelta(minutes=minutes)),
        st.dictionaries(st.sampled_from(["ann", "bob", "carol"]), st.integers(0, 12)),
        st.sampled_from([None, Decimal("0.5"), Decimal(1)]),
        st.booleans(),
    ),
    max_size=12,
)


@given(looks=LOOKS)
@examples(200)
def test_whoever_reads_the_topic_knows_what_a_plain_look_says_and_nothing_is_said_twice(looks: Any) -> None:
    """Hours that go by, spending that grows and is corrected, rules that change, and judges that take over."""
    now, topic, spent = NOON, Topic(), dict[str, int]()
    for step, users, share, takes_over in looks:
        before, now = span_at(now, "hour", "UTC"), now + step
        rule = replace(USER, period="hour", refuse_at=share)
        if span_at(now, "hour", "UTC") != before:
            spent = {}
        spent |= users
        topic.budgets = [rule]
        if takes_over:
            topic.states = {key: BudgetState.from_json(state.to_json()) for key, state in topic.states.items()}
        asked = accounts_of(topic.states.values(), topic.budgets, now)
        sums = {
            key: spend
            for user, usd in spent.items()
            for key, spend in of(rule, str(usd), now=now, user_id=user).items()
        }
        near = {key: spend for key, spend in sums.items() if spend.amount("USD", no_rate) >= Fraction(rule.lowest)}
        topic.look({key: Spend() for key in asked} | {key: sums[key] for key in asked & sums.keys()} | near, now)
        limited = {state.subject["user_id"] for state in topic.states.values() if state.holds(now)}
        assert limited == {user for user, usd in spent.items() if share is not None and usd >= 10 * share}
        assert not any(state.is_over(now) for state in topic.states.values()), "the topic has nothing that is over"
