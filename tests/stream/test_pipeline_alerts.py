"""Alerts about the pipeline: each opened once, not repeated, updated when it grows, cleared; across restarts too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator

from costream.alerts import Alert, json_schema
from sinks.clickhouse.alert_rows import alert_rows, alerts_from_rows
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from stream.audit import AuditReport, Check, accept_vanished
from stream.audit.report import NextStep
from stream.runtime.errors import PublishFailed
from stream.runtime.stalls import Stall, Stalls
from stream.watch.keeper import REMEMBERED, STORE_AGAIN, Keeper
from stream.watch.rules.audit import AuditRule
from stream.watch.rules.flood import FloodRule, Tally, within
from stream.watch.rules.rule import Rule
from stream.watch.rules.stall import StallRule, Storing
from stream.watch.rules.vanished import Gone, VanishedRule, gone_records
from stream.watch.turn import OutOfTurn
from tests.support.warehouse import Embedded

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
AWAY = WarehouseUnavailable(where="here", reason="refused")


class Stage:
    """A clock to turn, what the rules read, the topic and the table; the worker can be started anew."""

    def __init__(self) -> None:
        self.now = START
        self.report: AuditReport | None = None
        self.storing: Storing | None = Storing(None, got_through=True)
        self.gone: list[Gone] | None = []
        self.tallies: list[Tally] | None = []
        self.topic: list[Alert] = []
        self.table: dict[tuple[str, int], Alert] = {}
        self.warehouse_is_up = True
        self.publishing: Exception | None = None
        self.start()

    def start(self) -> None:
        """A worker that begins its turn: it knows what the topic has, and nothing else."""

        def tallies(now: datetime) -> list[Tally] | None:
            found = self.read(self.tallies)
            return found and within(found, now, 10 * MINUTE)

        rules: list[Rule[Any]] = [
            AuditRule(lambda _: self.report),
            StallRule(lambda _: self.storing, stall_max=MINUTE),
            VanishedRule(lambda _: self.read(self.gone)),
            FloodRule(tallies, records_max=1_000, share_max=Decimal("0.05"), window=10 * MINUTE),
        ]
        self.keeper = Keeper(rules, writer=self, publish=self.publish, clock=lambda: self.now)
        self.keeper.restore([Alert.from_json(alert.to_json()) for alert in self.topic])

    def read(self, what: Any) -> Any:
        if not self.warehouse_is_up:
            raise AWAY
        return what

    def publish(self, alerts: Sequence[Alert]) -> None:
        if self.publishing is not None:
            raise self.publishing
        self.topic += alerts

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        assert table == "alerts"
        if not self.warehouse_is_up:
            raise AWAY
        self.table |= {(alert.alert_id, alert.revision): alert for alert in alerts_from_rows(frame)}
        return frame.height

    def after(self, wait: timedelta, *, ticks: int = 5) -> list[tuple[str, str]]:
        """What is told meanwhile: rule and status."""
        told = []
        for _ in range(ticks):
            self.now += wait / ticks
            told += [(alert.rule, alert.status) for alert in self.keeper.tick()]
        return told

    # --- trouble ---

    def audited(self, **differing: int) -> None:
        names = ("raw rows", "usage_hourly", "vanished")
        checks = tuple(Check(name, "?", 9, differing.get(name.replace(" ", "_"), 0)) for name in names)
        steps = (NextStep("raw rows", "Read them again.", "costream reread --missing"),)
        self.report = AuditReport(self.now, date(2026, 11, 21), checks, (), steps)

    def stalled(self) -> None:
        self.storing = Storing(Stall("storing a batch", self.now), got_through=True)

    def vanished(self, first: int, last: int, *, partition: int = 3) -> None:
        assert self.gone is not None
        self.gone = [*self.gone, Gone(partition, first, last, self.now)]

    def counted(self, received: int, dead_lettered: int) -> None:
        assert self.tallies is not None
        before = self.tallies[-1] if self.tallies else Tally(self.now, 0, 0)
        more = Tally(self.now, before.received + received, before.dead_lettered + dead_lettered)
        self.tallies = [*self.tallies, more]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def trouble_of(rule: str, stage: Stage) -> None:
    match rule:
        case "audit":
            stage.audited(raw_rows=3)
        case "stall":
            stage.stalled()
        case "vanished_records":
            stage.vanished(10, 29)
        case "dead_letter_flood":
            stage.counted(0, 0)
            stage.counted(5_000, 1_001)


def mend(rule: str, stage: Stage) -> None:
    match rule:
        case "audit":
            stage.audited()
        case "stall":
            stage.storing = Storing(None, got_through=True)
        case "vanished_records":
            stage.gone = []
        case "dead_letter_flood":
            for _ in range(12):
                stage.now += MINUTE
                stage.counted(5_000, 1)


RULES = ("audit", "stall", "vanished_records", "dead_letter_flood")
LONG = 70 * SECOND


@pytest.mark.parametrize("rule", RULES)
def test_it_is_opened_once_and_cleared_when_it_is_over(stage: Stage, rule: str) -> None:
    assert stage.after(LONG) == []
    trouble_of(rule, stage)
    assert stage.after(LONG) == [(rule, "open")]
    assert stage.after(30 * SECOND, ticks=30) == []
    mend(rule, stage)
    assert stage.after(LONG) == [(rule, "cleared")]
    assert stage.after(LONG) == []
    opened, cleared = stage.topic
    assert (cleared.alert_id, opened.revision, cleared.revision) == (opened.alert_id, 1, 2)
    assert (opened.standing, cleared.standing, cleared.current_value) == (True, False, 0)
    assert set(stage.table) == {(opened.alert_id, 1), (opened.alert_id, 2)}


@pytest.mark.parametrize("rule", RULES)
def test_a_worker_that_starts_again_repeats_nothing_and_clears_what_another_opened(stage: Stage, rule: str) -> None:
    trouble_of(rule, stage)
    assert stage.after(LONG) == [(rule, "open")]
    stage.start()
    assert stage.after(30 * SECOND) == []
    mend(rule, stage)
    stage.start()
    assert stage.after(LONG) == [(rule, "cleared")]
    assert len({alert.alert_id for alert in stage.topic}) == 1
    assert [alert.revision for alert in stage.topic] == [1, 2]


@pytest.mark.parametrize("rule", RULES)
def test_the_next_trouble_is_an_alert_of_its_own(stage: Stage, rule: str) -> None:
    trouble_of(rule, stage)
    stage.after(LONG)
    mend(rule, stage)
    stage.after(LONG)
    stage.now += MINUTE
    trouble_of(rule, stage)
    assert stage.after(LONG) == [(rule, "open")]
    assert stage.topic[-1].alert_id != stage.topic[0].alert_id


@pytest.mark.parametrize("rule", RULES)
def test_what_cannot_be_known_changes_nothing(stage: Stage, rule: str) -> None:
    trouble_of(rule, stage)
    stage.after(LONG)
    stage.report = stage.storing = stage.gone = stage.tallies = None
    assert stage.after(LONG) == []
    stage.warehouse_is_up = False
    assert stage.after(LONG) == []


@pytest.mark.parametrize("rule", RULES)
def test_every_alert_is_in_the_published_contract_and_says_what_to_do(stage: Stage, rule: str) -> None:
    trouble_of(rule, stage)
    stage.after(LONG)
    (alert,) = stage.topic
    Draft202012Validator(json_schema()).validate(json.loads(alert.to_json()))
    assert alert_rows([alert]).height == 1
    assert "What to do: " in alert.message
    assert str(alert.metadata["next"]) in alert.message
    assert alert.metadata["unit"] in ("differences", "seconds", "records")
    assert alert.scope == "pipeline"
    assert alert.expected_value is alert.ratio is None


def test_a_stall_of_the_warehouse_is_told_while_it_is_away_and_stored_when_it_is_back(stage: Stage) -> None:
    stage.warehouse_is_up = False
    stage.stalled()
    assert stage.after(LONG) == [("stall", "open")]
    assert stage.table == {}
    stage.start()  # in the middle of the outage
    assert stage.after(MINUTE) == []
    stage.warehouse_is_up = True
    stage.storing = Storing(None, got_through=True)
    assert stage.after(STORE_AGAIN + SECOND) == [("stall", "cleared")]
    assert [revision for _, revision in sorted(stage.table)] == [1, 2]


def test_a_stall_shorter_than_the_limit_is_none(stage: Stage) -> None:
    stage.stalled()
    assert stage.after(MINUTE) == []
    assert stage.after(SECOND) == [("stall", "open")]


def test_a_stall_that_lasts_is_said_again_when_it_has_doubled(stage: Stage) -> None:
    stage.stalled()
    stage.after(61 * SECOND, ticks=61)
    assert stage.after(60 * SECOND, ticks=60) == []
    assert stage.after(3 * SECOND, ticks=3) == [("stall", "updated")]
    assert stage.after(10 * MINUTE, ticks=600) == [("stall", "updated")] * 2


def test_a_worker_that_has_stored_nothing_yet_does_not_say_that_storing_goes_on(stage: Stage) -> None:
    stage.stalled()
    stage.after(LONG)
    stage.storing = Storing(None, got_through=False)
    stage.start()
    assert stage.after(LONG) == []
    stage.storing = Storing(None, got_through=True)
    assert stage.after(SECOND) == [("stall", "cleared")]


def test_an_audit_that_finds_more_is_said_again_only_if_it_is_twice_as_much_or_something_else(stage: Stage) -> None:
    stage.audited(raw_rows=4)
    stage.after(SECOND)
    stage.audited(raw_rows=7)
    assert stage.after(SECOND) == []
    stage.audited(raw_rows=8)
    assert stage.after(SECOND) == [("audit", "updated")]
    stage.audited(raw_rows=8, usage_hourly=1)
    assert stage.after(SECOND) == [("audit", "updated")]
    assert "usage_hourly (1)" in stage.topic[-1].message
    assert "`costream reread --missing`" in stage.topic[-1].message


def test_what_vanished_raises_one_alert_and_not_the_audits_too(stage: Stage) -> None:
    stage.audited(vanished=1)
    stage.vanished(0, 9)
    assert stage.after(MINUTE) == [("vanished_records", "open")]
    assert stage.topic[0].current_value == 10


def test_more_that_vanished_is_said_again(stage: Stage) -> None:
    stage.vanished(0, 99)
    stage.after(MINUTE)
    stage.vanished(0, 4, partition=1)
    assert stage.after(MINUTE) == [("vanished_records", "updated")]
    assert "partition 1, offsets 0-4" in stage.topic[-1].message


@pytest.mark.parametrize(
    ("received", "refused", "told"),
    [
        (100_000, 1_000, False),
        (100_000, 1_001, True),
        (1_000, 50, False),
        (2_000, 100, False),
        (2_000, 101, True),
        (1_000, 51, True),
        (100, 50, False),
        (51, 51, True),
    ],
)
def test_a_flood_is_many_or_a_large_share_of_not_too_few(
    stage: Stage, received: int, refused: int, *, told: bool
) -> None:
    stage.counted(0, 0)
    stage.counted(received, refused)
    assert stage.after(MINUTE) == [("dead_letter_flood", "open")] * told


def test_dead_letters_from_before_the_window_do_not_count(stage: Stage) -> None:
    stage.counted(5_000, 5_000)
    for _ in range(20):
        stage.now += MINUTE
        stage.counted(1_000, 0)
    assert stage.after(SECOND) == []


def test_a_flood_is_over_only_after_a_whole_window_below_half(stage: Stage) -> None:
    stage.counted(0, 0)
    stage.counted(5_000, 2_000)
    stage.after(SECOND)
    for _ in range(9):
        stage.now += 45 * SECOND
        stage.counted(10, 0)
        assert stage.after(15 * SECOND) == []
    stage.now += 2 * MINUTE
    stage.counted(20_000, 501)  # half of what opens it, and one
    assert stage.after(15 * SECOND) == []
    stage.now += 11 * MINUTE
    stage.counted(20_000, 499)
    assert stage.after(15 * SECOND) == [("dead_letter_flood", "cleared")]


@pytest.mark.parametrize("fewer", [(50, 5), (50, 10), (100, 5)])
def test_a_ledger_that_counts_less_than_before_is_counted_from_anew(fewer: tuple[int, int]) -> None:
    tallies = [Tally(START, 100, 10), Tally(START + MINUTE, *fewer), Tally(START + 2 * MINUTE, 160, 16)]
    assert within(tallies, START + 2 * MINUTE, 10 * MINUTE) == tallies[1:]


def test_what_came_while_nobody_looked_is_not_of_the_window() -> None:
    tallies = [Tally(START, 0, 0), Tally(START + 60 * MINUTE, 9_000, 9_000)]
    assert within(tallies, START + 60 * MINUTE, 10 * MINUTE) == tallies[1:]
    soon = [Tally(START, 0, 0), Tally(START + 12 * MINUTE, 9_000, 9_000)]
    assert within(soon, START + 12 * MINUTE, 10 * MINUTE) == soon


def test_that_a_rule_cannot_look_is_said_once_an_outage(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.warehouse_is_up = False
    stage.after(5 * MINUTE)
    assert capsys.readouterr().out.count("rule cannot look") == 2  # of the two that read the warehouse
    stage.warehouse_is_up = True
    stage.after(MINUTE)
    stage.warehouse_is_up = False
    stage.after(MINUTE)
    assert capsys.readouterr().out.count("rule cannot look") == 2


def test_what_kafka_did_not_take_is_told_later_with_the_same_bytes(stage: Stage) -> None:
    stage.audited(raw_rows=3)
    stage.publishing = PublishFailed(topic="usage.alerts", unacknowledged=1, reason="away")
    assert stage.after(MINUTE) == []
    stage.publishing = None
    assert stage.after(SECOND) == [("audit", "open")]
    assert len(stage.topic) == 1


def test_out_of_turn_nothing_is_told_and_the_next_turn_judges_anew(stage: Stage) -> None:
    stage.audited(raw_rows=3)
    stage.publishing = OutOfTurn()
    assert stage.after(SECOND) == []
    stage.publishing = None
    stage.audited()
    stage.start()
    assert stage.after(MINUTE) == []


def test_what_a_crash_kept_from_the_table_is_stored_by_the_next_worker(stage: Stage) -> None:
    stage.audited(raw_rows=3)
    stage.after(SECOND)
    stage.table.clear()
    stage.start()
    stage.after(SECOND)
    assert len(stage.table) == 1
    stage.table.clear()
    stage.now += REMEMBERED + MINUTE
    stage.start()
    stage.after(SECOND)
    assert stage.table == {}  # long ago: stored or expired


def test_alerts_about_money_are_left_to_the_watch(stage: Stage) -> None:
    stage.audited(raw_rows=3)
    stage.after(SECOND)
    money = stage.topic[0].model_copy(update={"rule": "hourly_spike", "alert_id": "spike"})
    stage.topic = [money]
    stage.table.clear()
    stage.start()
    stage.report = None
    assert stage.after(MINUTE) == []
    assert stage.table == {}


# --- what vanished, on the real engine ---


def test_gone_is_what_nobody_has_accepted_and_of_stretches_that_begin_alike_the_longest(
    clickhouse_embedded: Embedded,
) -> None:
    address = clickhouse_embedded.fresh()
    reader, writer = Reader(address), Writer(address)
    assert gone_records(reader) == []
    rows = [(3, 10, 19, START), (3, 10, 29, START + timedelta(minutes=5)), (4, 0, 0, START)]
    columns = ("source_partition", "offset_first", "offset_last", "noticed_at")
    frame = pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    frame = frame.with_columns(pl.col("noticed_at").cast(pl.Datetime("ms", "UTC")), source=pl.lit("topic-1"))
    writer.insert("vanished_records", frame.with_columns(consumer_group=pl.lit("costream")))
    found = gone_records(reader)
    assert [(each.partition, each.offset_first, each.offset_last) for each in found] == [(3, 10, 29), (4, 0, 0)]
    assert all(isinstance(each, Gone) for each in found)
    accept_vanished(reader, writer, reason="known", now=START)
    assert gone_records(reader) == []
    reader.close()
    writer.close()


# --- what is being waited out ----------------------------------------------------------------------------------------


class Impatient:
    """Tries so often, and looks round in between."""

    def __init__(self, look: Any) -> None:
        self._look = look

    def insist(self, action: Any, *, doing: str) -> Any:
        while True:
            try:
                return action()
            except WarehouseUnavailable:
                self._look()


def test_what_fails_is_a_stall_since_it_was_begun_until_it_gets_through() -> None:
    now = [START]
    seen: list[Stall | None] = []

    def look() -> None:
        seen.append(stalls.longest)
        now[0] += MINUTE

    stalls = Stalls(Impatient(look), clock=lambda: now[0])
    tries = iter([AWAY, AWAY, None])

    def action() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "done"

    assert (stalls.longest, stalls.got_through) == (None, False)
    assert stalls.insist(action, doing="storing a batch") == "done"
    assert seen == [Stall("storing a batch", START)] * 2
    assert (stalls.longest, stalls.got_through) == (None, True)


def test_an_error_that_is_not_waited_out_leaves_no_stall_behind() -> None:
    stalls = Stalls(Impatient(lambda: None), clock=lambda: START)

    def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stalls.insist(action, doing="storing a batch")
    assert (stalls.longest, stalls.got_through) == (None, False)
