"""The events of the benchmarks are what they say they are; nothing here is timed."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from benchmarks.events import MIXED, PLAIN, SPAN, Recipe, usage_events
from benchmarks.machine import Machine
from benchmarks.memory import IdMemory
from benchmarks.report import Report
from benchmarks.sizes import QUICK
from costream import UsageEvent

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
COUNT = 12_000  # more than the distance between an event and its repeat
MACHINE = Machine("", "", 2, 24.0, 0.0, "", "", "", "", "", "")


@pytest.mark.parametrize("recipe", [PLAIN, MIXED])
def test_every_event_keeps_the_contract_and_its_key_is_its_id(recipe: Recipe) -> None:
    for kind, key, value in usage_events(4_000, now=NOW, dice=random.Random(1), recipe=recipe):
        if kind == "bad":
            with pytest.raises(ValidationError):
                UsageEvent.model_validate_json(value)
            continue
        event = UsageEvent.model_validate_json(value)
        assert event.request_id == key.decode()
        assert NOW - SPAN <= event.occurred_at < NOW


@pytest.mark.parametrize(("recipe", "repeats_expected", "bad"), [(PLAIN, 35, 0), (MIXED, 70, 12)])
def test_a_repeat_is_the_same_bytes_and_the_new_ones_are_all_different(
    recipe: Recipe, repeats_expected: int, bad: int
) -> None:
    events = list(usage_events(COUNT, now=NOW, dice=random.Random(1), recipe=recipe))
    new = {key: value for kind, key, value in events if kind == "new"}
    repeats = [(key, value) for kind, key, value in events if kind == "again"]
    assert len(new) + len(repeats) + bad == COUNT
    assert len(repeats) == repeats_expected
    assert len({key for key, _ in repeats}) == len(repeats)
    assert all(new[key] == value for key, value in repeats)


def test_mixed_events_have_what_they_are_said_to_have() -> None:
    sent = [
        value for kind, _, value in usage_events(10_000, now=NOW, dice=random.Random(1), recipe=MIXED) if kind == "new"
    ]
    events = [UsageEvent.model_validate_json(value) for value in sent]
    metered = [event for event in events if event.quantities and event.unit_prices and event.metadata]
    assert len(metered) == 1_000
    assert sum(event.status == "error" for event in events) == 200
    assert sum(event.model.startswith("unheard-of-") for event in events) == 200
    spelled = [value for value, event in zip(sent, events, strict=True) if event.to_json() != value]
    assert len(spelled) >= 200 - 50  # the fourth spelling is a time in microseconds, which an event may have


def test_a_report_without_a_contest_has_no_ratio_and_says_the_rest() -> None:
    memory = IdMemory(ids=10, table_mb_per_million=50, process_mb_per_million=80, fill_us_per_id=1)
    report = Report(MACHINE, QUICK, {"memory": [memory]}, {}, seconds=1)
    assert [figure.value for figure in report.figures()] == [50, 80]
    assert report.ratios("quix") == []
