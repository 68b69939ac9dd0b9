"""The worker's own audit: when it is due, what it tells, and that a failure costs nothing but the time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest

from sinks.clickhouse.claims import Claimed
from sinks.errors import WarehouseUnavailable
from stream.audit import AuditCancelled, AuditReport, Check, Finding, schedule
from stream.audit.schedule import AGAIN_AFTER, FIRST_AFTER, REACH, Auditor, CorrectionsUnderWay
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOURS_6 = timedelta(hours=6)


class Stage:
    """A clock to turn and an audit whose outcome the test sets."""

    def __init__(self, *, interval: timedelta = HOURS_6) -> None:
        self.now = START
        self.outcome: list[Check] | Exception = [Check("records", "?", compared=7)]
        self.since: list[datetime] = []
        self.telemetry = Telemetry()
        self.suspect: datetime | None = None
        self.auditor = Auditor(
            prove=self.prove,
            telemetry=self.telemetry,
            interval=interval,
            clock=lambda: self.now,
            suspect_since=lambda: self.suspect,
        )

    def prove(self, since: datetime) -> AuditReport:
        self.since.append(since)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return AuditReport(self.now, date(2026, 11, 21), tuple(self.outcome), ())

    def after(self, wait: timedelta) -> bool:
        """Whether it audits then."""
        self.now += wait
        asked = len(self.since)
        self.auditor.tick()
        return len(self.since) > asked

    def metrics(self) -> dict[str, float]:
        lines = generate_latest(self.telemetry.registry).decode().splitlines()
        return {
            name: float(value)
            for name, value in (line.rsplit(" ", 1) for line in lines if line.startswith("costream_audit"))
        }


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_it_audits_a_while_after_its_turn_began_and_then_at_every_interval(stage: Stage) -> None:
    assert not stage.after(HOURS_6)  # no turn has begun
    stage.auditor.begin()
    assert not stage.after(FIRST_AFTER - timedelta(seconds=1))
    assert stage.after(timedelta(seconds=1))
    assert stage.since == [stage.now - REACH]
    assert not stage.after(HOURS_6 - timedelta(seconds=1))
    assert stage.after(timedelta(seconds=1))


def test_an_interval_of_zero_switches_it_off() -> None:
    stage = Stage(interval=timedelta(0))
    stage.auditor.begin()
    assert not stage.after(timedelta(days=1))


def test_the_verdict_is_a_metric_for_each_check(stage: Stage) -> None:
    stage.outcome = [Check("records", "?", compared=7), Check("usage_hourly", "?", compared=9, differing=3)]
    stage.auditor.begin()
    assert stage.metrics() == {"costream_audit_timestamp_seconds": 0}
    stage.after(FIRST_AFTER)
    assert stage.metrics() == {
        'costream_audit_differences{check="records"}': 0,
        'costream_audit_differences{check="usage_hourly"}': 3,
        "costream_audit_timestamp_seconds": stage.now.timestamp(),
    }


def test_with_its_turn_a_worker_forgets_its_verdict(stage: Stage) -> None:
    stage.auditor.begin()
    stage.after(FIRST_AFTER)
    stage.auditor.end()
    assert stage.metrics() == {"costream_audit_timestamp_seconds": 0}
    assert not stage.after(HOURS_6)
    stage.auditor.begin()
    assert stage.after(FIRST_AFTER)


@pytest.mark.parametrize(
    "failure", [WarehouseUnavailable(where="here", reason="refused"), ZeroDivisionError("a bug")], ids=["outage", "bug"]
)
def test_a_failure_is_told_and_tried_again_soon(
    stage: Stage, failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.outcome = failure
    stage.auditor.begin()
    assert stage.after(FIRST_AFTER)
    assert "not audited" in capsys.readouterr().out
    assert stage.metrics() == {"costream_audit_timestamp_seconds": 0}
    stage.outcome = []
    assert stage.after(FIRST_AFTER)
    assert stage.metrics() == {"costream_audit_timestamp_seconds": stage.now.timestamp()}


def test_an_audit_whose_turn_ends_says_nothing(stage: Stage) -> None:
    stage.outcome = AuditCancelled()
    stage.auditor.begin()
    assert stage.after(FIRST_AFTER)
    assert stage.metrics() == {"costream_audit_timestamp_seconds": 0}


def test_what_differs_while_corrections_are_written_is_no_verdict_and_is_looked_at_again_soon(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Claimed("1", "ada (host, process 7)", "a re-pricing", START, START)
    stage.outcome = CorrectionsUnderWay(other)
    stage.auditor.begin()
    assert stage.after(FIRST_AFTER)
    assert "a re-pricing by ada (host, process 7) was writing corrections meanwhile" in capsys.readouterr().out
    assert stage.metrics() == {"costream_audit_timestamp_seconds": 0}
    assert not stage.after(FIRST_AFTER - timedelta(seconds=1))
    stage.outcome = []
    assert stage.after(timedelta(seconds=1))
    assert stage.metrics() == {"costream_audit_timestamp_seconds": stage.now.timestamp()}


def test_while_it_does_not_hold_it_audits_again_soon_and_as_far_back_as_before(stage: Stage) -> None:
    stage.suspect = stage.now - timedelta(days=9)
    stage.outcome = [Check("usage_hourly", "?", compared=9, differing=3)]
    stage.auditor.begin()
    assert stage.after(FIRST_AFTER)
    assert stage.since == [stage.suspect]
    assert stage.auditor.report is not None
    assert not stage.after(AGAIN_AFTER - timedelta(seconds=1))
    stage.outcome, stage.suspect = [], None
    assert stage.after(timedelta(seconds=1))
    assert stage.since[-1] == stage.now - REACH
    assert not stage.after(AGAIN_AFTER)
    stage.auditor.end()
    assert stage.auditor.report is None


def test_each_audit_draws_other_calls_and_those_that_were_wrong_are_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"request_id": "r-1", "hour": START, "model": "m", "feature": "f"}
    checks = [
        Check("costs", "?", 9, 1, (Finding(wrong, "a rule", {}),)),
        Check("costs", "?", 9),
        Check("costs", "?", 9),
    ]
    asked = list[tuple[object, object]]()

    def audited(_reader: object, **options: object) -> AuditReport:
        asked.append((options["salt"], options["again"]))
        return AuditReport(START, date(2026, 11, 21), (checks.pop(0),), ())

    monkeypatch.setattr(schedule, "audit", audited)
    monkeypatch.setattr(schedule, "kafka_facts", lambda _: None)
    monkeypatch.setattr(schedule, "writing_since", lambda *_, **__: [])
    hours = iter(START + timedelta(hours=hour) for hour in (0, 0, 1, 2))  # it asks twice where something is wrong
    nobody: Any = None
    prove = schedule.audit_in_turn(nobody, settings=Settings(), clock=lambda: next(hours), turn=lambda: 1)
    for _ in range(3):
        prove(START)
    found = ((START, "m", "f", "r-1"),)
    assert asked == [("2026-11-23T12", ()), ("2026-11-23T13", found), ("2026-11-23T14", ())]


def test_it_begins_once_with_each_turn_of_its_worker_and_ends_with_it(stage: Stage) -> None:
    for turn in (1, 1, 1):  # asked every second
        stage.auditor.follow(turn)
        stage.now += FIRST_AFTER / 3
    assert stage.after(timedelta(0))
    assert stage.auditor.report is not None
    stage.auditor.follow(None)
    assert stage.auditor.report is None
    assert not stage.after(HOURS_6)
    stage.auditor.follow(2)
    assert stage.after(FIRST_AFTER)
    stage.auditor.follow(3)
    assert stage.auditor.report is None, "what another worker may have mended meanwhile is not known"
