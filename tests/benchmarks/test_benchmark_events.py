"""The events of the benchmarks are what they say they are; nothing here is timed."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from benchmarks.events import SPAN, usage_events
from benchmarks.machine import Machine
from benchmarks.memory import IdMemory
from benchmarks.report import Report
from benchmarks.sizes import QUICK
from costream import UsageEvent

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
COUNT = 12_000  # more than the distance between an event and its repeat
MACHINE = Machine("", "", 2, 24.0, 0.0, "", "", "", "", "", "")


def test_every_event_keeps_the_contract_and_its_key_is_its_id() -> None:
    for _, key, value in usage_events(500, now=NOW, dice=random.Random(1)):
        event = UsageEvent.model_validate_json(value)
        assert event.request_id == key.decode()
        assert NOW - SPAN <= event.occurred_at < NOW


def test_a_repeat_is_the_same_bytes_and_the_new_ones_are_all_different() -> None:
    events = list(usage_events(COUNT, now=NOW, dice=random.Random(1)))
    new = {key: value for is_new, key, value in events if is_new}
    repeats = [(key, value) for is_new, key, value in events if not is_new]
    assert len(new) + len(repeats) == COUNT
    assert len(repeats) == 35
    assert len({key for key, _ in repeats}) == len(repeats)
    assert all(new[key] == value for key, value in repeats)


def test_a_report_without_a_contest_has_no_ratio_and_says_the_rest() -> None:
    memory = IdMemory(ids=10, table_mb_per_million=50, process_mb_per_million=80, fill_us_per_id=1)
    report = Report(MACHINE, QUICK, {"memory": [memory]}, {}, seconds=1)
    assert [figure.value for figure in report.figures()] == [50, 80]
    assert report.ratios("quix") == []
