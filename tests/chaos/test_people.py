"""Proof that the count of what people were told would notice each kind of harm."""

from __future__ import annotations

import random
from typing import Any

import pytest

from costream.alerts import Alert
from tests.chaos.people import Heard, Shaky, compare_told
from tests.chaos.topic_dump import Record
from tests.chaos.verdict import Verdict
from tests.support.told import alert

TOPIC = [
    alert("a"),
    alert("a", 2, status="updated"),
    alert("b", scope="feature=x"),
    alert("b", 2, scope="feature=x", status="cleared"),
]


def faults(told: list[tuple[str, int]], *, repeats_max: int = 0, topic: list[Alert] = TOPIC) -> dict[str, int]:
    heard = Heard(told, [f"{alert_id}-{revision}" for alert_id, revision in told])
    verdict = Verdict()
    log = [Record(0, at, b"", one.to_json(), {}) for at, one in enumerate(topic)]
    compare_told(verdict, {"one": heard}, log, repeats_max=repeats_max)
    return {name: count for name, count in verdict.must_be_0.items() if count}


def test_what_is_told_right_has_no_fault() -> None:
    assert faults([("a", 1), ("b", 1), ("a", 2), ("b", 2)]) == {}
    assert faults([("a", 2)]) == {}, "of a backlog the newest; and what came and went may go unsaid"
    assert faults([("a", 1), ("a", 1), ("a", 2)], repeats_max=1) == {}


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([("a", 2), ("c", 1)], "told_one_of_nothing"),
        ([("a", 2), ("a", 1)], "told_one_out_of_order"),
        ([("a", 2), ("b", 2)], "told_one_ends_alone"),
        ([("b", 1)], "told_one_never"),
        ([("a", 2), ("a", 2)], "told_one_too_often"),
    ],
)
def test_every_kind_of_harm_is_noticed(told: list[Any], fault: str) -> None:
    assert faults(told) == {fault: 1}


def test_a_receiver_that_fails_takes_every_third_message_at_the_least() -> None:
    does = Shaky(random.Random(7))
    took = "".join("+" if does() == 200 else "-" for _ in range(10_000))
    assert "---" not in took
    assert "--" in took
    assert 0.5 < took.count("+") / len(took) < 0.65


def test_another_alert_of_a_subject_that_was_told_may_wait_for_its_hour() -> None:
    assert faults([("a", 2)], topic=[*TOPIC, alert("later")]) == {}
