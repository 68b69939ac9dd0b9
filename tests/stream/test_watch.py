"""The watch between warehouse and topic: what is published when, and that no failure or restart says anything twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.errors import WarehouseUnavailable
from stream.alerts import COLUMNS, Alert, alerts_from_rows
from stream.settings import Settings
from stream.watch import queries as watch_queries
from stream.watch.history import DIRTY_HOURS_MAX
from stream.watch.series import HOUR, MINUTE, hour_of, minute_of
from stream.watch.watcher import Watcher, is_due
from tests.support.properties import examples

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HALF_PAST = NOON + HOUR / 2
MONEY = pl.Decimal(38, 12)


@dataclass
class Row:
    at: datetime
    cost_usd: Decimal
    feature: str = "chat"
    model: str = "m"
    user_id: str = "u"
    calls: int = 1
    tokens: int = 10
    unpriced_calls: int = 0

    @property
    def hour(self) -> datetime:
        return hour_of(self.at)


@dataclass
class FakeWarehouse:
    """Answers the watch's own questions from rows in memory, and keeps what it stores."""

    rows: list[Row] = field(default_factory=list)
    stored: list[Alert] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    read_only: bool = False

    def spend(self, cost: str, *, at: datetime = NOON, **fields: Any) -> None:
        self.rows.append(Row(at, Decimal(cost), **fields))

    def frame(self, sql: str, **asked: Any) -> pl.DataFrame:
        self.asked.append(sql)
        if self.down:
            raise WarehouseUnavailable(where="test", reason="down")
        answers = {
            watch_queries._SYSTEM: self._hours,
            watch_queries._SYSTEM_MINUTES: self._minutes,
            watch_queries._FEATURES: self._hours,
            watch_queries._DEAR_FEATURES: self._dear_features,
            watch_queries._BY_MODEL: partial(self._parts, by="model"),
            watch_queries._BY_FEATURE: partial(self._parts, by="feature"),
            watch_queries._SPENDERS: self._spenders,
            watch_queries._USER_DAYS: self._user_days,
            watch_queries._ALERTS: self._alerts,
        }
        return answers[sql](**asked)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        if self.down or self.read_only:
            raise WarehouseUnavailable(where="test", reason="read-only")
        assert table == "alerts"
        self.stored += alerts_from_rows(frame)
        return frame.height

    def _hours(
        self, *, since: int, until: int, every: int, hours: list[int], features: Sequence[str] | None = None
    ) -> pl.DataFrame:
        sums: dict[tuple[str, int], tuple[Decimal, int]] = {}
        for row in self.rows:
            at = int(row.hour.timestamp())
            if since <= at <= until and (every or at in hours) and (features is None or row.feature in features):
                key = (row.feature if features is not None else "", at)
                cost, unpriced = sums.get(key, (Decimal(0), 0))
                sums[key] = (cost + row.cost_usd, unpriced + row.unpriced_calls)
        schema = {"feature": pl.String, "at": pl.Int64, "cost": MONEY, "unpriced": pl.Int64}
        return pl.DataFrame([[*key, *value] for key, value in sums.items()], schema=schema, orient="row")

    def _minutes(self, *, since: int, until: int, hours: list[int]) -> pl.DataFrame:
        rows = [row for row in self.rows if since <= row.at.timestamp() < until and row.hour.timestamp() in hours]
        values = [(int(minute_of(row.at).timestamp()), row.cost_usd, row.unpriced_calls) for row in rows]
        schema = {"at": pl.Int64, "cost": MONEY, "unpriced": pl.Int64}
        return pl.DataFrame(values, schema=schema, orient="row").group_by("at").sum()

    def _dear_features(self, *, since: int, until: int, least: str, features_max: int) -> pl.DataFrame:
        sums: dict[tuple[str, datetime], Decimal] = {}
        for row in self.rows:
            if since <= row.hour.timestamp() <= until:
                sums[row.feature, row.hour] = sums.get((row.feature, row.hour), Decimal(0)) + row.cost_usd
        dear = {feature for (feature, _), cost in sums.items() if cost > Decimal(least)}
        return pl.DataFrame({"feature": sorted(dear)[:features_max]}, schema={"feature": pl.String})

    def _parts(
        self,
        *,
        by: str,
        start: int,
        end: int,
        since: int,
        usual: list[int],
        names_max: int,
        all_features: int,
        feature: str,
    ) -> pl.DataFrame:
        sums: dict[str, list[Any]] = {}
        for row in (row for row in self.rows if all_features or row.feature == feature):
            now, before = start <= row.at.timestamp() < end, since <= row.hour.timestamp() in usual
            for when in [0] * now + [1] * before:
                values = sums.setdefault(getattr(row, by), [0, 0, 0, 0, Decimal(0), Decimal(0)])
                for place, value in enumerate((row.calls, row.tokens, row.cost_usd)):
                    values[place * 2 + when] += value
        names = [f"{what}_{when}" for what in ("calls", "tokens", "cost") for when in ("now", "usual")]
        schema = {"name": pl.String} | {name: MONEY if name.startswith("cost") else pl.Int64 for name in names}
        return pl.DataFrame([[name, *values] for name, values in sums.items()], schema=schema, orient="row")

    def _spenders(self, *, since: int, until: int, users_max: int, all_features: int, feature: str) -> pl.DataFrame:
        return self._users(
            (row for row in self.rows if since <= row.at.timestamp() < until),
            (all_features, feature),
        )

    def _user_days(self, *, since: str, until: str, users: list[str]) -> pl.DataFrame:
        days = (row for row in self.rows if since <= f"{row.hour:%Y-%m-%d}" < until and row.user_id in users)
        return self._users(days, (1, ""))

    def _users(self, rows: Iterable[Row], scope: tuple[int, str]) -> pl.DataFrame:
        sums: dict[str, Decimal] = {}
        for row in rows:
            if scope[0] or row.feature == scope[1]:
                sums[row.user_id] = sums.get(row.user_id, Decimal(0)) + row.cost_usd
        return pl.DataFrame(list(sums.items()), schema={"user_id": pl.String, "cost": MONEY}, orient="row")

    def _alerts(self, *, since: int) -> pl.DataFrame:
        from stream.alerts import alert_rows
        from stream.watch.judge import latest

        kept = [
            alert for alert in latest(self.stored).values() if alert.standing or alert.window_end.timestamp() >= since
        ]
        assert list(COLUMNS) == alert_rows(kept).columns
        return alert_rows(kept)


class Stage:
    """A warehouse, a topic, a clock, and a watcher that can be started anew."""

    def __init__(self, **setting: Any) -> None:
        self.warehouse = FakeWarehouse()
        self.topic: list[Alert] = []
        self.now = HALF_PAST
        self.kafka_down = False
        self.settings = Settings(**({"anomaly_enabled": False} | setting))
        for back in range(1, 170):
            self.warehouse.spend("1", at=NOON - HOUR * back)
        self.watcher = self.start()

    def start(self, *, tail: bool = False) -> Watcher:
        self.watcher = Watcher(
            reader=self.warehouse,
            writer=self.warehouse,
            publish=self._publish,
            settings=self.settings,
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


def test_a_spike_is_published_and_then_stored() -> None:
    stage = Stage()
    stage.spend("3.01")
    assert stage.at(HALF_PAST) == stage.topic == stage.warehouse.stored
    assert stage.said() == [(1, "open")]


def test_exactly_at_the_threshold_nothing_is_published() -> None:
    stage = Stage()
    stage.spend("3.00")
    assert stage.at(HALF_PAST) == []


def test_evaluating_twice_publishes_once() -> None:
    stage = Stage()
    stage.spend("4")
    stage.at(HALF_PAST)
    assert stage.at(HALF_PAST) == stage.at(HALF_PAST + timedelta(minutes=5)) == []
    assert stage.said() == [(1, "open")]


def test_an_alert_says_why() -> None:
    stage = Stage()
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


def test_an_anomaly_of_a_feature_is_compared_to_that_feature_alone() -> None:
    stage = Stage(spike_enabled=False, anomaly_enabled=True)
    for back in range(1, 169):
        stage.warehouse.spend("2", at=NOON - HOUR * back, feature="search")
    stage.spend("1")
    stage.spend("60", feature="search", user_id="eve", calls=30)
    (alert,) = stage.at(HALF_PAST)
    assert (alert.scope, alert.expected_value, alert.current_value) == ("feature=search", 2, 60)
    assert [(driver.kind, driver.before) for driver in alert.drivers] == [("calls", 1), ("top_user", None)]


def test_features_below_the_minimum_cost_are_not_even_read() -> None:
    stage = Stage(anomaly_enabled=True)
    stage.spend("0.5")
    stage.at(HALF_PAST)
    assert watch_queries._FEATURES not in stage.warehouse.asked


def test_an_episode_is_followed_across_restarts_without_repeating_anything() -> None:
    stage = Stage()
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


def test_a_crash_between_publishing_and_storing_repeats_nothing_once_the_topic_is_read() -> None:
    stage = Stage()
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


def test_without_the_topic_a_crash_repeats_the_very_same_revision() -> None:
    stage = Stage()
    stage.spend("4")
    stage.warehouse.read_only = True
    with pytest.raises(WarehouseUnavailable):
        stage.at(HALF_PAST)
    stage.warehouse.read_only = False
    stage.start()
    stage.at(HALF_PAST)
    assert stage.topic[0] == stage.topic[1]


def test_what_was_published_but_could_not_be_stored_is_stored_next_time_and_not_published_again() -> None:
    stage = Stage()
    stage.spend("4")
    stage.warehouse.read_only = True
    with pytest.raises(WarehouseUnavailable):
        stage.at(HALF_PAST)
    stage.warehouse.read_only = False
    assert stage.at(HALF_PAST + timedelta(minutes=1)) == []
    assert stage.said() == [(1, "open")]
    assert stage.warehouse.stored == stage.topic


def test_what_could_not_be_published_is_neither_stored_nor_forgotten() -> None:
    stage = Stage()
    stage.spend("4")
    stage.kafka_down = True
    with pytest.raises(ConnectionError):
        stage.at(HALF_PAST)
    assert stage.warehouse.stored == []
    stage.kafka_down = False
    stage.spend("3")
    assert stage.at(NOON + HOUR * 0.9) == stage.topic == stage.warehouse.stored
    assert [(alert.revision, alert.current_value) for alert in stage.topic] == [(1, 4), (2, 7)]


def test_what_another_worker_took_over_is_not_published_by_the_one_that_could_not() -> None:
    stage = Stage()
    stage.spend("4")
    stage.kafka_down = True
    with pytest.raises(ConnectionError):
        stage.at(HALF_PAST)
    first, stage.kafka_down = stage.watcher, False
    stage.start().evaluate(HALF_PAST)
    first.restore(stage.topic)
    assert first.evaluate(HALF_PAST) == []
    assert stage.said() == [(1, "open")]


def test_restoring_stores_only_what_the_warehouse_lacks() -> None:
    stage = Stage()
    stage.spend("4")
    stage.at(HALF_PAST)
    stage.start(tail=True)
    stage.at(HALF_PAST)
    assert len(stage.warehouse.stored) == 1


def test_a_late_row_of_a_closed_hour_moves_the_average_and_raises_nothing() -> None:
    stage = Stage()
    stage.spend("3.5")
    assert len(stage.at(HALF_PAST)) == 1
    stage.spend("168", at=NOON - HOUR * 100)
    (retracted,) = stage.at(HALF_PAST + timedelta(seconds=2))
    assert (retracted.status, retracted.expected_value, retracted.revision) == ("retracted", 2, 2)


def test_a_correction_retracts() -> None:
    stage = Stage()
    stage.spend("4")
    stage.at(HALF_PAST)
    stage.spend("-1.5")
    stage.at(HALF_PAST + MINUTE)
    assert stage.said() == [(1, "open"), (2, "retracted")]


def test_a_burst_that_straddles_the_full_hour_is_seen_and_explained_by_its_own_sixty_minutes() -> None:
    stage = Stage()
    stage.spend("2", at=NOON - MINUTE * 5, calls=2, user_id="eve")
    assert stage.at(NOON - MINUTE) == []
    stage.spend("2", at=NOON + MINUTE * 5, calls=2, user_id="eve")
    (alert,) = stage.at(NOON + MINUTE * 10)
    assert (alert.window_start, alert.current_value) == (NOON - MINUTE * 49, 4)
    assert [(driver.kind, driver.after) for driver in alert.drivers if driver.kind != "top_feature"] == [
        ("calls", 4),
        ("top_user", 4),
    ]


def test_on_a_usual_day_no_single_call_is_read() -> None:
    stage = Stage()
    stage.spend("1.9")
    stage.at(HALF_PAST)
    assert watch_queries._SYSTEM_MINUTES not in stage.warehouse.asked


def test_hours_by_the_minute_are_read_once_a_minute_and_the_window_that_runs_is_up_to_the_second() -> None:
    stage = Stage()
    asked = stage.warehouse.asked
    stage.spend("2.5")
    assert stage.at(HALF_PAST) == []
    for second in range(1, 60):
        stage.spend("0.01", at=HALF_PAST)
        stage.at(HALF_PAST + timedelta(seconds=second))
    (alert,) = stage.topic
    assert alert.current_value == Decimal("3.01")
    assert alert.timestamp == HALF_PAST + timedelta(seconds=51)
    assert asked.count(watch_queries._SYSTEM_MINUTES) == 1
    stage.at(HALF_PAST + MINUTE)
    assert asked.count(watch_queries._SYSTEM_MINUTES) == 2


def test_a_late_call_of_the_hour_before_is_in_its_minute_within_a_minute() -> None:
    stage = Stage()
    stage.spend("1.9", at=NOON - MINUTE * 10)
    stage.spend("0.5")
    assert stage.at(HALF_PAST) == []
    stage.spend("-1", at=NOON - HOUR)  # the hour costs what it did, its minutes do not
    stage.spend("1", at=NOON - MINUTE * 9)
    assert stage.at(HALF_PAST + timedelta(seconds=1)) == []
    (alert,) = stage.at(HALF_PAST + MINUTE)
    assert alert.current_value == Decimal("3.4")


def test_a_late_call_whose_notice_was_lost_is_in_its_minute_too() -> None:
    stage = Stage()
    stage.spend("1.5", at=NOON - MINUTE * 10)
    stage.spend("1.4")
    assert stage.at(HALF_PAST) == []
    stage.warehouse.spend("0.4", at=NOON - MINUTE * 9)  # nobody was told
    (alert,) = stage.at(HALF_PAST + MINUTE)
    assert alert.current_value == Decimal("3.3")


def test_who_takes_over_reads_the_minutes_anew() -> None:
    stage = Stage()
    stage.spend("2.5")
    stage.at(HALF_PAST)
    stage.watcher.restore([])
    stage.at(HALF_PAST)
    assert stage.warehouse.asked.count(watch_queries._SYSTEM_MINUTES) == 2


def test_closed_hours_are_not_read_again_until_a_late_row_touches_them_or_the_hour_ends() -> None:
    stage = Stage()
    stage.spend("1")
    stage.at(HALF_PAST)
    stage.warehouse.spend("500", at=NOON - HOUR * 50)  # nobody was told
    stage.spend("2.5")
    assert stage.at(HALF_PAST + timedelta(seconds=2)) != [], "3.50 against the average as it was read"
    (retracted,) = stage.at(NOON + HOUR)
    assert retracted.status == "retracted", "the next hour reads all of them again"


def test_more_late_hours_than_are_worth_naming_are_read_back_whole() -> None:
    stage = Stage()
    stage.at(HALF_PAST)
    for back in range(1, DIRTY_HOURS_MAX + 2):
        stage.spend("9", at=NOON - HOUR * back)
    stage.spend("3.5")
    assert stage.at(HALF_PAST) == []


def test_notices_that_mean_nothing_here_are_passed_over() -> None:
    stage = Stage()
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
    assert is_due(NOON + after, last=NOON, failed=failed, dirty=dirty, interval=interval) is due
    assert is_due(NOON, last=None, failed=failed, dirty=dirty, interval=interval)


def test_a_failed_evaluation_is_followed_by_a_good_one_after_a_minute() -> None:
    stage = Stage()
    stage.spend("4")
    stage.warehouse.down = True
    assert stage.watcher.tick() == []
    stage.warehouse.down = False
    stage.now += timedelta(seconds=59)
    assert stage.watcher.tick() == []
    stage.now += timedelta(seconds=1)
    assert [alert.status for alert in stage.watcher.tick()] == ["open"]


def test_an_hour_that_ends_in_silence_clears_its_alert() -> None:
    stage = Stage()
    stage.spend("4")
    assert len(stage.watcher.tick()) == 1
    stage.now = NOON + HOUR * 2
    assert [alert.status for alert in stage.watcher.tick()] == ["cleared"]


def test_switched_off_it_is_silent() -> None:
    stage = Stage(spike_enabled=False)
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


@examples(40)
@given(st.lists(changes, min_size=1, max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_a_warm_watch_says_what_a_new_one_would_whatever_the_order_of_its_notices(
    rounds: list[list[tuple[int, int, str]]], dice: Any, repeat: bool
) -> None:
    """Between evaluations rows change at random, and their notices come shuffled, doubled and in pieces."""
    stage = Stage(anomaly_enabled=True)
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
        stage.topic, stored = known, stage.warehouse.stored
        stage.warehouse.stored = list(known)
        assert stage.start().evaluate(now) == said
        stage.watcher, stage.warehouse.stored = warm, stored
