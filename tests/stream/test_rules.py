"""Rules are classes with the same four verbs: a new one is one class, and nobody else asks what it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, cast

import polars as pl
import pytest

from costream import alerts
from costream.alerts import Alert, Level, episode_id
from sinks.clickhouse.alert_rows import COLUMNS
from sinks.clickhouse.reader import Reader
from stream import watch
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stall, Stalls
from stream.watch.keeper import Keeper
from stream.watch.rules import pipeline_rules
from stream.watch.rules.rule import Past, Rule
from stream.watch.rules.stall import StallRule, Storing
from stream.watch.watcher import Watcher
from tests.support.played import Played
from tests.support.rules import money_rules_of

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
NOWHERE = cast(Reader, None)  # nothing is read
ALL: Sequence[Rule[Any]] = [
    *money_rules_of(NOWHERE),
    *pipeline_rules(Settings(), reader=NOWHERE, stalls=cast(Stalls, None), report=lambda: None),
]
NAMES = {rule.name for rule in ALL}
CLASSES = {type(rule).__name__ for rule in ALL}
ROOT = Path(watch.__file__).parents[2]
OWN = ROOT / "stream" / "watch" / "rules"
SOURCES = sorted(path for room in ("stream", "sinks", "examples") for path in (ROOT / room).rglob("*.py"))
ELSEWHERE = [path for path in SOURCES if path.parent != OWN]


# --- a new rule is one class -----------------------------------------------------------------------------------------


class BudgetRule:
    """As somebody may add one: a team has spent more than it may. Nothing but this class knows of it."""

    name: ClassVar = "team_budget"

    def __init__(self) -> None:
        self.spent: dict[str, Decimal] | None = {}
        self.reads: list[tuple[datetime, frozenset[datetime]]] = []

    def is_due(self, now: datetime, past: Past) -> bool:
        return past.looked_at is None or bool(past.changed) or now - past.looked_at >= MINUTE

    def read(self, now: datetime, past: Past, standing: Sequence[Alert]) -> dict[str, Decimal] | None:
        self.reads.append((now, past.changed))
        return self.spent

    def judge(self, reading: dict[str, Decimal], known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        standing = {alert.scope: alert for alert in known.values() if alert.standing}
        return [
            self._alert(scope, spent, now)
            for scope, spent in sorted(reading.items())
            if spent > 100 and scope not in standing
        ] + [
            alert.model_copy(update={"revision": alert.revision + 1, "status": "cleared", "timestamp": now})
            for scope, alert in sorted(standing.items())
            if reading.get(scope, Decimal(0)) <= 100
        ]

    def word(self, alert: Alert, reading: dict[str, Decimal]) -> Alert:
        words = "is spent" if alert.standing else "was raised"
        return alert.model_copy(update={"title": f"The budget of {alert.scope} {words}", "message": "100.00 USD"})

    def _alert(self, scope: str, spent: Decimal, now: datetime) -> Alert:
        return Alert(
            alert_id=episode_id(rule=self.name, scope=scope, first_window=START),
            revision=1,
            status="open",
            level=Level.WARNING,
            rule=self.name,
            title="",
            message="",
            metric_name="team_cost",
            scope=scope,
            window_start=START,
            window_end=now,
            current_value=spent,
            threshold_value=Decimal(100),
            expected_value=None,
            ratio=None,
            unpriced_calls=0,
            metadata={"first_window": START.isoformat()},
            timestamp=now,
        )


class Edges:
    """The warehouse, which has no alerts yet, the topic and the clock."""

    def __init__(self) -> None:
        self.now = START
        self.topic: list[Alert] = []
        self.rows = 0

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        return pl.DataFrame(schema=COLUMNS)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        self.rows += frame.height
        return frame.height

    def publish(self, news: Sequence[Alert]) -> None:
        self.topic += news

    def watcher(self, rule: Rule[Any]) -> Watcher:
        rules = [rule]
        return Watcher(rules=lambda: rules, reader=self, writer=self, publish=self.publish, clock=lambda: self.now)

    def keeper(self, rule: Rule[Any]) -> Keeper:
        return Keeper([rule], writer=self, publish=self.publish, clock=lambda: self.now)


@pytest.mark.parametrize("shell", ["watcher", "keeper"])
def test_a_rule_that_is_added_opens_clears_and_outlives_a_restart_by_its_class_alone(shell: str) -> None:
    edges, rule = Edges(), BudgetRule()
    for _ in range(2):
        judge = getattr(edges, shell)(rule)
        judge.restore(edges.topic)
        rule.spent = {"team=search": Decimal(101)}
        judge.tick()
        edges.now += MINUTE
        judge.tick()
    rule.spent = {}
    edges.now += MINUTE
    judge.tick()
    assert [(alert.rule, alert.status, alert.title) for alert in edges.topic] == [
        ("team_budget", "open", "The budget of team=search is spent"),
        ("team_budget", "cleared", "The budget of team=search was raised"),
    ]
    assert edges.rows >= 2


def test_the_watch_tells_a_rule_which_hours_have_changed_since_it_looked_and_each_once() -> None:
    edges, rule = Edges(), BudgetRule()
    watcher = edges.watcher(rule)
    watcher.restore()
    watcher.tick()
    edges.now += SECOND
    watcher.tick()
    watcher.notice([{"table": "usage_hourly", "hour": f"{START:%Y-%m-%dT%H:%M:%SZ}"}])
    watcher.tick()
    edges.now += MINUTE
    watcher.tick()
    assert rule.reads == [
        (START, frozenset()),
        (START + SECOND, frozenset({START})),
        (START + SECOND + MINUTE, frozenset()),
    ]


def test_a_look_that_failed_is_said_to_the_rule_that_looks_again() -> None:
    edges, rule = Edges(), BudgetRule()
    failed: list[bool] = []
    rule.read = lambda now, past, standing: failed.append(past.failed) or 1 / 0  # type: ignore[method-assign, func-returns-value, assignment, return-value]  # a warehouse that breaks
    watcher = edges.watcher(rule)
    watcher.restore()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            watcher.evaluate(edges.now)
    assert failed == [False, True]


# --- a history is played on a supplied clock -------------------------------------------------------------------------


def test_a_rule_is_played_on_a_clock_looks_when_it_is_due_and_goes_on_after_a_restart() -> None:
    storing = Storing(None, got_through=True)
    played = Played(StallRule(lambda _: storing, stall_max=MINUTE), START)
    assert played.after(3 * SECOND) == []
    assert played.looks == [START + SECOND, START + 2 * SECOND, START + 3 * SECOND]
    storing = Storing(Stall("storing a batch", played.now), got_through=True)
    assert played.after(MINUTE) == []
    assert played.after(SECOND) == [("pipeline", "open")]
    played.begin_again()
    assert played.after(30 * SECOND) == []
    storing = Storing(None, got_through=True)
    assert played.after(SECOND) == [("pipeline", "cleared")]
    assert [alert.revision for alert in played.said] == [1, 2]


# --- nobody else asks what a rule is called --------------------------------------------------------------------------


def branches(source: str) -> Iterator[str]:
    """Where something depends on which rule it is: a comparison with a rule's name, a case of it, a rule's class."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare():
                sides = [node.left, *node.comparators]
                if any(map(names_a_rule, sides)) and any(map(asks_for_a_rule, sides)):
                    yield ast.unparse(node)
                if any(is_name_of_a_class(each) for side in sides for each in ast.walk(side)):
                    yield ast.unparse(node)
            case ast.Match() if asks_for_a_rule(node.subject):
                yield ast.unparse(node.subject)
            case ast.Call(func=ast.Name(id="isinstance")) if any(
                isinstance(each, ast.Name) and each.id in CLASSES for each in ast.walk(node.args[1])
            ):
                yield ast.unparse(node)
            case ast.Subscript() | ast.Dict() if any(
                isinstance(each, ast.Constant)
                and each.value in NAMES - {"audit", "budget", "stall", "vanished_records"}
                for each in ast.walk(node)
            ):
                yield ast.unparse(node)


def names_a_rule(side: ast.expr) -> bool:
    return any(isinstance(each, ast.Constant) and each.value in NAMES for each in ast.walk(side))


def asks_for_a_rule(side: ast.expr) -> bool:
    """``alert.rule``, ``row["rule"]``, ``rule.name``, or a variable that is called so."""
    return any(
        (isinstance(each, ast.Attribute) and each.attr == "rule")
        or (isinstance(each, ast.Name) and each.id == "rule")
        or (isinstance(each, ast.Constant) and each.value == "rule")
        for each in ast.walk(side)
    )


def is_name_of_a_class(each: ast.AST) -> bool:
    return (
        isinstance(each, ast.Attribute)
        and each.attr == "name"
        and isinstance(each.value, ast.Name)
        and each.value.id in CLASSES
    )


@pytest.mark.parametrize("path", ELSEWHERE, ids=[str(path.relative_to(ROOT)) for path in ELSEWHERE])
def test_nothing_outside_its_class_depends_on_which_rule_it_is(path: Path) -> None:
    assert list(branches(path.read_text())) == []


def test_among_the_rules_each_knows_its_own_name_alone() -> None:
    for path in sorted(OWN.glob("*.py")):
        tree = ast.parse(path.read_text())
        said = {each.value for each in ast.walk(tree) if isinstance(each, ast.Constant) and each.value in NAMES}
        assert len(said) <= 1, path.name


def test_a_branch_is_seen_however_it_is_written() -> None:
    source = """
if alert.rule == "audit": pass
x = alert["rule"] in ("stall", "audit")
y = alert.rule == AuditRule.name
match alert.rule:
    case "stall": pass
z = isinstance(rule, SpikeRule)
names = {"hourly_spike": 1}
fine = alert.rule == rule.name and command == "audit"
"""
    assert len(list(branches(source))) == 6


def test_every_rule_has_a_name_of_its_own_that_the_contract_of_alerts_tells() -> None:
    assert len(NAMES) == len(ALL) == 9
    told = alerts.Alert.model_fields["rule"].description or ""
    assert all(name in told for name in NAMES)
