"""The public state of a budget: its bytes, its key, its schema, and when it holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from costream.budgets import BudgetState, json_schema, key_of

DAY = datetime(2026, 11, 30, tzinfo=UTC)
END = DAY + timedelta(days=1)


def state(**changes: Any) -> BudgetState:
    fields: dict[str, Any] = {
        "budget": "user_daily_budget",
        "subject": {"user_id": "ann"},
        "only": {},
        "period": "day",
        "zone": "UTC",
        "period_start": DAY,
        "period_end": END,
        "limited": True,
        "spent": "9.512",
        "amount": "10",
        "limit": "9.5",
        "currency": "USD",
        "ratio": "0.9512",
        "rules_revision": 3,
        "timestamp": DAY + timedelta(hours=12, milliseconds=7),
    }
    return BudgetState.model_validate(fields | changes)


def test_every_state_is_valid_under_the_published_schema_and_survives_its_bytes() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    session = state(
        period="session", period_start=None, period_end=None, subject={"session_id": "zoë ✓"}, limited=False
    )
    for each in (state(), session, state(only={"team": ["search", "ads"]}, spent="-1")):
        Draft202012Validator(schema).validate(json.loads(each.to_json()))
        assert BudgetState.from_json(each.to_json()) == each
        assert BudgetState.from_json(each.to_json()).to_json() == each.to_json()


def test_money_and_times_on_the_topic_are_exact_text() -> None:
    wire = json.loads(state().to_json())
    assert (wire["spent"], wire["limit"], wire["period_end"]) == ("9.512", "9.5", "2026-12-01T00:00:00.000Z")
    assert state().spent == Decimal("9.512")


@pytest.mark.parametrize(
    "changes", [{"schema_version": 2}, {"spent": 9.5}, {"period_end": "2026-12-01T00:00:00"}, {"limited": None}]
)
def test_what_is_no_state_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BudgetState.from_json(json.dumps(json.loads(state().to_json()) | changes))


def test_a_state_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        state().limited = False  # type: ignore[misc]


def test_a_field_that_is_added_later_is_passed_over() -> None:
    assert BudgetState.from_json(json.dumps(json.loads(state().to_json()) | {"added": 1})) == state()


def test_a_limit_holds_until_its_period_ends_and_a_session_has_no_end() -> None:
    assert state().holds(END - timedelta(milliseconds=1))
    assert not state().holds(END)
    assert not state(limited=False).holds(DAY)
    assert state(period="session", period_start=None, period_end=None).holds(END + timedelta(days=400))


def test_a_key_is_of_one_budget_and_subject_whatever_signs_are_in_them() -> None:
    assert state().key == b'["user_daily_budget",{"user_id":"ann"}]'
    assert key_of("b", {"user_id": "a", "team": "t"}) == key_of("b", {"team": "t", "user_id": "a"})
    subjects = [{}, {"user_id": ""}, {"user_id": '","team":"t'}, {"user_id": "", "team": "t"}, {"team": "zoë,="}]
    assert len({key_of("b", subject) for subject in subjects}) == len(subjects)
