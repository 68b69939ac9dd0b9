"""The watch between warehouse and topic: what is published when, and that no failure or restart says anything twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from costream.alerts import Alert
from sinks.clickhouse.alert_rows import alert_rows, alerts_from_rows
from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from stream.watch.history import DIRTY_HOURS_MAX
from stream.watch.reasons.difference import NAMED_MAX
from stream.watch.rules.hourly import is_due
from stream.watch.rules.rule import Past
from stream.watch.series import HOUR, MINUTE, hour_of
from stream.watch.watcher import Watcher
from tests.support.properties import examples
from tests.support.rules import money_rules_of
from tests.support.warehouse import Embedded, Server
from tests.support.warehouse_rows import events, hourly, user_daily

NOON = datetime(2099, 3, 2, 12, tzinfo=UTC)  # far ahead: what the real clock calls expired, the engine drops
HALF_PAST = NOON + HOUR / 2
TABLES = ("usage_events", "usage_hourly", "usage_user_daily", "alerts")


class Warehouse:
    """The real engine. What is spent is stored before the watch asks; it can be down or read-only."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self._clients = Clients(address)
        self._reader, self._writer = Reader(address), Writer(address)
        self._spent: list[dict[str, Any]] = []
        self._number = itertools.count()
        self.empty()

    def empty(self) -> None:
        self._run(*(f"TRUNCATE TABLE {rows_of(table)}" for table in TABLES))
        self._spent.clear()
        self.asked: list[str] = []
        self.down = self.read_only = False

    def close(self) -> None:
        for part in (self._reader, self._writer, self._clients):
            part.close()

    def spend(self, cost: str, *, at: datetime = NOON, **fields: Any) -> None:
        usual = {
            "feature": "chat",
            "team": "",
            "model": "m",
            "user_id": "u",
            "calls": 1,
            "tokens": 10,
            "unpriced_calls": 0,
        }
        self._spent.append(usual | {"at": at, "cost_usd": Decimal(cost)} | fields)

    @property
    def stored(self) -> list[Alert]:
        """Every revision of every alert, copies included."""
        alerts = self._reader.frame("SELECT * EXCEPT (stored_at) FROM alerts_rows ORDER BY alert_id, revision")
        return list(alerts_from_rows(alerts))

    def keep_only(self, alerts: Sequence[Alert]) -> None:
        """As it was when no other alert had been stored."""
        self._run("TRUNCATE TABLE alerts_rows")
        if alerts:
            self._writer.insert("alerts", alert_rows(alerts))

    def read_calls(self) -> int:
        """How often single calls were read to tell an hour's minutes apart."""
        return sum("toStartOfMinute" in sql for sql in self.asked)

    def read_features(self) -> bool:
        return any("feature IN {values" in sql for sql in self.asked)

    def frame(self, sql: str, **asked: Any) -> pl.DataFrame:
        self.asked.append(sql)
        if self.down:
            raise WarehouseUnavailable(where="test", reason="down")
        self._store_what_was_spent()
        return self._reader.frame(sql, **asked)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        if self.down or self.read_only:
            raise WarehouseUnavailable(where="test", reason="read-only")
        assert table == "alerts"
        return self._writer.insert(table, frame)

    def _store_what_was_spent(self) -> None:
        """Each spending has rows of its own in every table, in the rollups by a source of its own: they add up."""
        spent = [row | {"number": next(self._number)} for row in self._spent]
        self._spent.clear()
        if spent:
            self._writer.insert("usage_events", events([call for row in spent for call in _as_calls(row)]))
            self._writer.insert("usage_hourly", hourly([_as_hour(row) for row in spent]))
            self._writer.insert("usage_user_daily", user_daily([_as_day(row) for row in spent]))

    def _run(self, *statements: str) -> None:
        with self._clients.use() as client:
            for statement in statements:
                client.command(statement)


def _pico(row: Mapping[str, Any]) -> int:
    return int(row["cost_usd"] * 10**12)


def _as_calls(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each call: the first has all the tokens and the whole cost, the last ones are those without a price."""
    named = {name: row[name] for name in ("feature", "team", "model", "user_id")} | {"occurred_at": row["at"]}
    calls = [
        {"request_id": f"r-{row['number']}-{call}", "input_tokens": 0, "output_tokens": 0, "cost_pico": 0}
        for call in range(row["calls"])
    ]
    calls[0] |= {"input_tokens": row["tokens"], "cost_pico": _pico(row)}
    for call in calls[len(calls) - row["unpriced_calls"] :]:
        call |= {"cost_pico": None, "cost_status": "unpriced"}
    return [named | call for call in calls]


def _as_hour(row: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: row[name] for name in ("feature", "team", "model", "calls", "unpriced_calls")}
    usage = {"input_tokens": row["tokens"], "output_tokens": 0, "cost_pico": _pico(row)}
    return named | usage | {"hour": hour_of(row["at"]), "source": f"spent-{row['number']}"}


def _as_day(row: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: row[name] for name in ("user_id", "calls", "unpriced_calls")}
    return named | {"cost_pico": _pico(row), "day": row["at"].date(), "source": f"spent-{row['number']}"}


@pytest.fixture(scope="module")
def rows(engine: Embedded | Server) -> Iterator[Warehouse]:
    address = engine.fresh()
    rows = Warehouse(address)
    yield rows
    rows.close()


Start = Callable[..., "Stage"]


@pytest.fixture
def staged(rows: Warehouse) -> Start:
    """A stage of its own for a test: its options switch rules on or off."""
    return lambda **on: Stage(rows, **on)


class Stage:
    """A warehouse, a topic, a clock, and a watcher that can be started anew."""

    def __init__(self, warehouse: Warehouse, **on: bool) -> None:
        self.warehouse = warehouse
        warehouse.empty()
        self.topic: list[Alert] = []
        self.now = HALF_PAST
        self.kafka_down = False
        self.on = {"hourly_anomaly": False} | on
        for back in range(1, 170):
            self.warehouse.spend("1", at=NOON - HOUR * back)
        self.watcher = self.start()

    def start(self, *, tail: bool = False) -> Watcher:
        self.rules = money_rules_of(self.warehouse, **self.on)
        self.watcher = Watcher(
            rules=lambda: self.rules,
            reader=self.warehouse,
            writer=self.warehouse,
            publish=self._publish,
            clock=lambda: self.now,
        )
        self.watcher.restore(self.topic if tail else [])
        return self.watcher

    def _publish(self, alerts: Sequence[Alert]) -> None:
        if self.kafka_down:
            raise ConnectionError("no broker")
        self.topic += alerts

    def spend(self, cost: str, *, at: datetime = NOON, **fields: Any) -> None:
        """An event is stored, and usage.rollups says so."""
        self.warehouse.spend(cost, at=at, **fields)
        self.watcher.notice([rollup(hour_of(at))])

    def at(self, now: datetime) -> list[Alert]:
        self.now = now
        return self.watcher.evaluate(now)

    def said(self) -> list[tuple[int, str]]:
        return [(alert.revision, alert.status) for alert in self.topic]


def rollup(hour: datetime, table: str = "usage_hourly") -> dict[str, Any]:
    return {"table": table, "hour": hour.strftime("%Y-%m-%dT%H:%M:%SZ"), "feature": "chat", "cost_usd": "1"}


def test_a_spike_is_published_and_then_stored(staged: Start) -> None:
    stage = staged()
    stage.spend("3.01")
    assert stage.at(HALF_PAST) == stage.topic == stage.warehouse.stored
    assert stage.said() == [(1, "open")]


def test_exactly_at_the_threshold_nothing_is_published(staged: Start) -> None:
    stage = staged()
    stage.spend("3.00")
    assert stage.at(HALF_PAST) == []


def test_evaluating_twice_publishes_once(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.at(HALF_PAST)
    assert stage.at(HALF_PAST) == stage.at(HALF_PAST + timedelta(minutes=5)) == []
    assert stage.said() == [(1, "open")]


def test_an_alert_says_why(staged: Start) -> None:
    stage = staged()
    stage.spend("9", calls=9, tokens=90, user_id="eve", unpriced_calls=2)
    (alert,) = stage.at(HALF_PAST)
    assert [(driver.kind, driver.name) for driver in alert.drivers] == [
        ("calls", ""),
        ("top_feature", "chat"),
        ("top_user", "eve"),
    ]
    assert "[x] more calls than usual: 9 calls against 1 in a usual hour (9.0x)" in alert.message
    assert "[ ] dearer model chosen" in alert.message
    assert "2 calls unpriced" in alert.message
    assert stage.warehouse.stored[0].drivers == alert.drivers


def test_an_anomaly_of_a_feature_is_compared_to_that_feature_alone(staged: Start) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    for back in range(1, 169):
        stage.warehouse.spend("2", at=NOON - HOUR * back, feature="search")
    stage.spend("1")
    stage.spend("60", feature="search", user_id="eve", calls=30)
    (alert,) = stage.at(HALF_PAST)
    assert (alert.scope, alert.expected_value, alert.current_value) == ("feature=search", 2, 60)
    assert [(driver.kind, driver.before) for driver in alert.drivers] == [("calls", 1), ("top_user", None)]


def test_a_rise_that_features_of_a_team_share_is_told_once_of_the_team(staged: Start) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    features = [f"f{number}" for number in range(10)]
    for back, (number, feature) in itertools.product(range(1, 169), enumerate(features)):
        odd = (back * 7 + number * 31) % 97 == 0  # each of them is dear now and then, together they are not
        stage.warehouse.spend("4" if odd else "1", at=NOON - HOUR * back, feature=feature, team="t")
    for feature in features:
        stage.spend("4.5", feature=feature, team="t", calls=3)
    (alert,) = stage.at(HALF_PAST)
    assert (alert.scope, alert.title.split(" is ")[0]) == ("team=t", "Hourly cost of team t")
    made: Any = alert.metadata["difference"]
    assert len(made["feature"]) == NAMED_MAX + 1
    assert sum(Decimal(one["usd"]) for one in made["feature"]) == Decimal(made["usd"])
    stage.spend("90", feature="f3", team="t", calls=30)
    later = [(alert.scope, alert.status) for alert in stage.at(HALF_PAST + MINUTE)]
    assert later == [("feature=f3", "open"), ("team=t", "updated")], "a cause of its own; the team's cost has doubled"


def test_calls_without_a_team_are_no_team(staged: Start) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    features = [f"f{number}" for number in range(10)]
    for back, feature in itertools.product(range(1, 169), features):
        stage.warehouse.spend(
            "4" if (back + int(feature[1:])) % 10 == 0 else "1", at=NOON - HOUR * back, feature=feature
        )
    for feature in features:
        stage.spend("7", feature=feature, calls=3)  # below twice the dearest hour of each; together 5 times the usual
    assert stage.at(HALF_PAST) == []


def test_calls_without_a_feature_are_looked_at_together(staged: Start) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    for back in range(1, 169):
        stage.warehouse.spend("1", at=NOON - HOUR * back, feature="")
    stage.spend("90", feature="", calls=30)
    assert [alert.title.split(" is ")[0] for alert in stage.at(HALF_PAST)] == ["Hourly cost of calls without a feature"]


def test_a_feature_that_rises_is_not_told_of_its_team_as_well(staged: Start) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    for back in range(1, 169):
        stage.warehouse.spend("2", at=NOON - HOUR * back, feature="search", team="t")
    stage.spend("60", feature="search", team="t", calls=30)
    (alert,) = stage.at(HALF_PAST)
    assert alert.scope == "feature=search"
    assert stage.at(HALF_PAST + MINUTE) == []
    stage.spend("80", feature="new", team="t", calls=30)  # nobody knows yet what is usual for it
    assert [alert.scope for alert in stage.at(HALF_PAST + MINUTE * 2)] == ["team=t"]


@pytest.mark.parametrize(("calls", "told"), [(9, 1), (1, 0)])
def test_of_a_feature_with_few_calls_many_of_them_are_told_and_a_dear_one_is_not(
    staged: Start, calls: int, told: int
) -> None:
    stage = staged(hourly_spike=False, hourly_anomaly=True)
    for back in range(4, 400, 4):
        stage.warehouse.spend("40" if back == 200 else "1", at=NOON - HOUR * back, feature="rare")
    stage.spend("9", feature="rare", calls=calls)
    alerts = stage.at(HALF_PAST)
    assert [(alert.scope, alert.current_value) for alert in alerts] == [("feature=rare", 9)] * told
    assert all(alert.threshold_value < 9 and "calls an hour are rare" in alert.message for alert in alerts)


def test_features_below_the_minimum_cost_are_not_even_read(staged: Start) -> None:
    stage = staged(hourly_anomaly=True)
    stage.spend("0.5")
    stage.at(HALF_PAST)
    assert not stage.warehouse.read_features()
    stage.spend("5.5")
    stage.at(HALF_PAST + MINUTE)
    assert stage.warehouse.read_features()


def test_an_episode_is_followed_across_restarts_without_repeating_anything(staged: Start) -> None:
    stage = staged()
    one, two = NOON + HOUR, NOON + HOUR * 2
    stage.spend("4")
    for moment in (HALF_PAST, NOON + HOUR * 0.9):
        stage.start().evaluate(moment)
    stage.now = one + HOUR / 2
    stage.start()
    stage.spend("5", at=one)
    for _ in range(2):
        stage.at(stage.now)
        stage.start()
    stage.spend("1", at=two)
    stage.at(two + HOUR)
    stage.start().evaluate(two + HOUR)
    assert stage.said() == [(1, "open"), (2, "updated"), (3, "cleared")]
    assert len({alert.alert_id for alert in stage.topic}) == 1
    assert stage.warehouse.stored == stage.topic


def test_a_crash_between_publishing_and_storing_repeats_nothing_once_the_topic_is_read(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.warehouse.read_only = True
    with pytest.raises(WarehouseUnavailable):
        stage.at(HALF_PAST)
    assert stage.said() == [(1, "open")]
    stage.warehouse.read_only = False
    stage.start(tail=True)
    assert stage.at(HALF_PAST) == []
    assert stage.said() == [(1, "open")]
    assert stage.warehouse.stored == stage.topic


def test_without_the_topic_a_crash_repeats_the_very_same_revision(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.warehouse.read_only = True
    with pytest.raises(WarehouseUnavailable):
        stage.at(HALF_PAST)
    stage.warehouse.read_only = False
    stage.start()
    stage.at(HALF_PAST)
    assert stage.topic[0] == stage.topic[1]


def test_what_was_published_but_could_not_be_stored_is_stored_next_time_and_not_published_again(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.warehouse.read_only = True
    with pytest.raises(WarehouseUnavailable):
        stage.at(HALF_PAST)
    stage.warehouse.read_only = False
    assert stage.at(HALF_PAST + timedelta(minutes=1)) == []
    assert stage.said() == [(1, "open")]
    assert stage.warehouse.stored == stage.topic


def test_what_could_not_be_published_is_neither_stored_nor_forgotten(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.kafka_down = True
    with pytest.raises(ConnectionError):
        stage.at(HALF_PAST)
    assert stage.warehouse.stored == []
    stage.kafka_down = False
    stage.spend("3")
    assert stage.at(NOON + HOUR * 0.9) == stage.topic == stage.warehouse.stored
    assert [(alert.revision, alert.current_value) for alert in stage.topic] == [(1, 4), (2, 7)]


def test_what_another_worker_took_over_is_not_published_by_the_one_that_could_not(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.kafka_down = True
    with pytest.raises(ConnectionError):
        stage.at(HALF_PAST)
    first, stage.kafka_down = stage.watcher, False
    stage.start().evaluate(HALF_PAST)
    first.restore(stage.topic)
    assert first.evaluate(HALF_PAST) == []
    assert stage.said() == [(1, "open")]


def test_restoring_stores_only_what_the_warehouse_lacks(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.at(HALF_PAST)
    stage.start(tail=True)
    stage.at(HALF_PAST)
    assert len(stage.warehouse.stored) == 1


def test_a_late_row_of_a_closed_hour_moves_the_average_and_raises_nothing(staged: Start) -> None:
    stage = staged()
    stage.spend("3.5")
    assert len(stage.at(HALF_PAST)) == 1
    stage.spend("168", at=NOON - HOUR * 100)
    (retracted,) = stage.at(HALF_PAST + timedelta(seconds=2))
    assert (retracted.status, retracted.expected_value, retracted.revision) == ("retracted", 2, 2)


def test_a_correction_retracts(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.at(HALF_PAST)
    stage.spend("-1.5")
    stage.at(HALF_PAST + MINUTE)
    assert stage.said() == [(1, "open"), (2, "retracted")]


def test_a_burst_that_straddles_the_full_hour_is_seen_and_explained_by_its_own_sixty_minutes(staged: Start) -> None:
    stage = staged()
    stage.spend("2", at=NOON - MINUTE * 5, calls=2, user_id="eve")
    assert stage.at(NOON - MINUTE) == []
    stage.spend("2", at=NOON + MINUTE * 5, calls=2, user_id="eve")
    (alert,) = stage.at(NOON + MINUTE * 10)
    assert (alert.window_start, alert.current_value) == (NOON - MINUTE * 49, 4)
    assert [(driver.kind, driver.after) for driver in alert.drivers if driver.kind != "top_feature"] == [
        ("calls", 4),
        ("top_user", 4),
    ]


def test_on_a_usual_day_no_single_call_is_read(staged: Start) -> None:
    stage = staged()
    stage.spend("1.9")
    stage.at(HALF_PAST)
    assert stage.warehouse.read_calls() == 0


@pytest.mark.slow
def test_hours_by_the_minute_are_read_once_a_minute_and_the_window_that_runs_is_up_to_the_second(staged: Start) -> None:
    stage = staged()
    stage.spend("2.5")
    assert stage.at(HALF_PAST) == []
    for second in range(1, 60):
        stage.spend("0.01", at=HALF_PAST)
        stage.at(HALF_PAST + timedelta(seconds=second))
    (alert,) = stage.topic
    assert alert.current_value == Decimal("3.01")
    assert alert.timestamp == HALF_PAST + timedelta(seconds=51)
    assert stage.warehouse.read_calls() == 1
    stage.at(HALF_PAST + MINUTE)
    assert stage.warehouse.read_calls() == 2


def test_a_late_call_of_the_hour_before_is_in_its_minute_within_a_minute(staged: Start) -> None:
    stage = staged()
    stage.spend("1.9", at=NOON - MINUTE * 10)
    stage.spend("0.5")
    assert stage.at(HALF_PAST) == []
    stage.spend("-1", at=NOON - HOUR)  # the hour costs what it did, its minutes do not
    stage.spend("1", at=NOON - MINUTE * 9)
    assert stage.at(HALF_PAST + timedelta(seconds=1)) == []
    (alert,) = stage.at(HALF_PAST + MINUTE)
    assert alert.current_value == Decimal("3.4")


def test_a_late_call_whose_notice_was_lost_is_in_its_minute_too(staged: Start) -> None:
    stage = staged()
    stage.spend("1.5", at=NOON - MINUTE * 10)
    stage.spend("1.4")
    assert stage.at(HALF_PAST) == []
    stage.warehouse.spend("0.4", at=NOON - MINUTE * 9)  # nobody was told
    (alert,) = stage.at(HALF_PAST + MINUTE)
    assert alert.current_value == Decimal("3.3")


def test_who_takes_over_reads_the_minutes_anew(staged: Start) -> None:
    stage = staged()
    stage.spend("2.5")
    stage.at(HALF_PAST)
    stage.watcher.restore([])
    stage.at(HALF_PAST)
    assert stage.warehouse.read_calls() == 2


def test_closed_hours_are_not_read_again_until_a_late_row_touches_them_or_the_hour_ends(staged: Start) -> None:
    stage = staged()
    stage.spend("1")
    stage.at(HALF_PAST)
    stage.warehouse.spend("500", at=NOON - HOUR * 50)  # nobody was told
    stage.spend("2.5")
    assert stage.at(HALF_PAST + timedelta(seconds=2)) != [], "3.50 against the average as it was read"
    (retracted,) = stage.at(NOON + HOUR)
    assert retracted.status == "retracted", "the next hour reads all of them again"


def test_more_late_hours_than_are_worth_naming_are_read_back_whole(staged: Start) -> None:
    stage = staged()
    stage.at(HALF_PAST)
    for back in range(1, DIRTY_HOURS_MAX + 2):
        stage.spend("9", at=NOON - HOUR * back)
    stage.spend("3.5")
    assert stage.at(HALF_PAST) == []


def test_notices_that_mean_nothing_here_are_passed_over(staged: Start) -> None:
    stage = staged()
    stage.at(HALF_PAST)
    stage.watcher.notice([None, {}, rollup(NOON, table="usage_user_daily"), {"table": "usage_hourly", "hour": 7}])
    stage.watcher.notice([{"table": "usage_hourly"}, {"table": "usage_hourly", "hour": "noon"}])
    assert not stage.watcher.due(HALF_PAST + timedelta(seconds=5))
    stage.watcher.notice([rollup(NOON)])
    assert stage.watcher.due(HALF_PAST + timedelta(seconds=5))


@pytest.mark.parametrize(
    ("after", "failed", "dirty", "due"),
    [
        (timedelta(milliseconds=999), False, True, False),
        (timedelta(seconds=1), False, True, True),
        (timedelta(milliseconds=59_999), False, False, False),
        (timedelta(seconds=60), False, False, True),
        (timedelta(milliseconds=59_999), True, True, False),
        (timedelta(seconds=60), True, True, True),
    ],
)
def test_it_is_time_soon_after_a_change_and_once_a_minute_and_a_minute_after_a_failure(
    after: timedelta, failed: bool, dirty: bool, due: bool
) -> None:
    interval = timedelta(seconds=1)
    past = Past(NOON, failed, frozenset({NOON} if dirty else ()))
    assert is_due(NOON + after, past, interval=interval) is due
    assert is_due(NOON, replace(past, looked_at=None), interval=interval)


def test_a_failed_evaluation_is_followed_by_a_good_one_after_a_minute(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    stage.warehouse.down = True
    assert stage.watcher.tick() == []
    stage.warehouse.down = False
    stage.now += timedelta(seconds=59)
    assert stage.watcher.tick() == []
    stage.now += timedelta(seconds=1)
    assert [alert.status for alert in stage.watcher.tick()] == ["open"]


def test_an_hour_that_ends_in_silence_clears_its_alert(staged: Start) -> None:
    stage = staged()
    stage.spend("4")
    assert len(stage.watcher.tick()) == 1
    stage.now = NOON + HOUR * 2
    assert [alert.status for alert in stage.watcher.tick()] == ["cleared"]


def test_switched_off_it_is_silent(staged: Start) -> None:
    stage = staged(hourly_spike=False)
    stage.spend("400")
    assert stage.at(HALF_PAST) == []


changes = st.lists(
    st.tuples(
        st.integers(-60 * 60, 3 * 60) | st.integers(-120, 30),
        st.integers(-300, 2_000),
        st.sampled_from(["chat", "search", ""]),
    ),
    max_size=12,
)


@pytest.mark.slow
@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes, min_size=1, max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_a_warm_watch_says_what_a_new_one_would_whatever_the_order_of_its_notices(
    staged: Start, rounds: list[list[tuple[int, int, str]]], dice: Any, repeat: bool
) -> None:
    """Between evaluations rows change at random, and their notices come shuffled, doubled and in pieces."""
    stage = staged(hourly_anomaly=True)
    for number, change in enumerate(rounds):
        now = HALF_PAST + HOUR / 2 * number
        notices = []
        for minute, cents, feature in change:
            at = NOON + MINUTE * minute
            stage.warehouse.spend(str(Decimal(cents) / 100), at=at, feature=feature)
            notices += [rollup(hour_of(at))] * (1 + repeat)
        dice.shuffle(notices)
        for notice in notices:
            stage.watcher.notice([notice])
        warm, known = stage.watcher, list(stage.topic)
        stage.now = now
        said = stage.at(now)
        stored = list(stage.topic)
        stage.topic = list(known)
        stage.warehouse.keep_only(known)
        assert stage.start().evaluate(now) == said
        stage.watcher, stage.topic = warm, stored
