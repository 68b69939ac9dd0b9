"""The watch's questions on the real engine: exact sums, odd names, re-inserted copies, and its own alerts read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.watch.queries import dear_features, feature_hours, latest_alerts, system_hours, system_minutes
from stream.watch.series import HOUR, MINUTE, NOTHING, Spend
from stream.watch.watcher import Watcher
from tests.support.rules import money_rules_of
from tests.support.warehouse import Embedded, Server, one_way_and_the_other

NOON = datetime(2099, 3, 2, 12, tzinfo=UTC)  # far ahead: what the real clock calls expired, the engine drops
HALF_PAST = NOON + HOUR / 2
NASTY = 'eve\'); DROP TABLE alerts; --\\ {x:String} "東京" %s'


@pytest.fixture(params=one_way_and_the_other)
def address(request: pytest.FixtureRequest) -> ClickHouseAddress:
    """In this process and over HTTP: bound parameters travel differently."""
    warehouse: Embedded | Server = request.getfixturevalue(request.param)
    return warehouse.fresh()


@pytest.fixture
def reader(address: ClickHouseAddress) -> Iterator[Reader]:
    reader = Reader(address)
    yield reader
    reader.close()


@pytest.fixture
def writer(address: ClickHouseAddress) -> Iterator[Writer]:
    writer = Writer(address)
    yield writer
    writer.close()


def hourly(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of usage_hourly; each is a call of its own on partition 0 unless it says otherwise."""
    usual = {
        "provider": "openai",
        "model": "m",
        "operation": "chat",
        "feature": "chat",
        "source": "test",
        "source_partition": 0,
        "calls": 1,
        "unpriced_calls": 0,
        "input_tokens": 8,
        "output_tokens": 2,
        "version": 1,
    }
    types = {"hour": pl.Datetime("ms", "UTC"), "cost_usd": pl.Decimal(38, 12)}
    return pl.DataFrame([usual | row for row in rows], schema_overrides=types)


def events(rows: list[dict[str, Any]]) -> pl.DataFrame:
    usual = {"provider": "openai", "model": "m", "operation": "chat", "feature": "chat", "cost_status": "priced"}
    types = {"occurred_at": pl.Datetime("ms", "UTC"), "cost_usd": pl.Decimal(18, 12)}
    return pl.DataFrame([usual | row for row in rows], schema_overrides=types)


def user_days(days: Sequence[datetime], user_id: str, cost: str) -> pl.DataFrame:
    rows = [
        {"day": day.date(), "user_id": user_id, "source": "test", "calls": 1, "cost_usd": Decimal(cost), "version": 1}
        for day in days
    ]
    return pl.DataFrame(rows, schema_overrides={"cost_usd": pl.Decimal(38, 12)})


def week_at(cost: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"hour": NOON - HOUR * back, "cost_usd": Decimal(cost)} | fields for back in range(1, 169)]


class Topic:
    def __init__(self) -> None:
        self.said: list[Alert] = []

    def publish(self, alerts: Sequence[Alert]) -> None:
        self.said += alerts


def watcher(reader: Reader, writer: Writer, topic: Topic, *, now: datetime = HALF_PAST) -> Watcher:
    rules = money_rules_of(reader)
    started = Watcher(rules=lambda: rules, reader=reader, writer=writer, publish=topic.publish, clock=lambda: now)
    started.restore()
    return started


def test_hours_are_summed_to_the_last_digit_over_partitions_and_versions(reader: Reader, writer: Writer) -> None:
    first = {"hour": NOON, "cost_usd": Decimal("0.000000000001"), "calls": 3, "unpriced_calls": 2}
    writer.insert("usage_hourly", hourly([first]))
    writer.insert("usage_hourly", hourly([first | {"cost_usd": Decimal("12345678.900000000001"), "version": 2}]))
    writer.insert("usage_hourly", hourly([first | {"source_partition": 1, "feature": NASTY}]))
    span = {"since": NOON - HOUR, "until": NOON}
    assert system_hours(reader, **span) == {NOON: Spend(Decimal("12345678.900000000002"), 4)}
    assert system_hours(reader, **span, only=[NOON - HOUR]) == {}
    assert feature_hours(reader, [NASTY, "none"], **span) == {NASTY: {NOON: Spend(first["cost_usd"], 2, 3)}, "none": {}}
    assert dear_features(reader, **span, cost_usd_min=Decimal("12345678.9")) == ["chat"]
    assert dear_features(reader, **span, cost_usd_min=Decimal("12345678.900000000001")) == []


def test_minutes_are_summed_from_calls_that_count_once_and_the_unpriced_are_counted(
    reader: Reader, writer: Writer
) -> None:
    last = NOON + HOUR - timedelta(milliseconds=1)
    call = {"occurred_at": last, "request_id": "a", "cost_usd": Decimal("0.000000000001"), "price_rev": 0}
    unpriced = {"request_id": "b", "cost_usd": None, "cost_status": "unpriced"}
    for copy in range(2):
        rows = [call, call | unpriced, call | {"request_id": "c", "occurred_at": NOON + HOUR}]
        rows += [call | {"request_id": "not asked for", "occurred_at": NOON - HOUR}]
        writer.insert("usage_events", events([row | {"source_offset": copy} for row in rows]))
    quiet = NOON - HOUR * 2
    read = system_minutes(reader, [quiet, NOON, NOON + HOUR], now=NOON + HOUR + MINUTE * 1.5)
    assert {hour: minutes.over for hour, minutes in read.items()} == {quiet: 60, NOON: 60, NOON + HOUR: 1}
    assert read[quiet].since(0) == read[NOON].before(59) == NOTHING
    assert read[NOON].since(59) == Spend(Decimal("0.000000000001"), 1)
    assert read[NOON + HOUR].before(1) == Spend(Decimal("0.000000000001"))


def test_a_spike_is_raised_explained_stored_and_known_after_a_restart(reader: Reader, writer: Writer) -> None:
    topic = Topic()
    writer.insert("usage_hourly", hourly(week_at("1")))
    writer.insert("usage_hourly", hourly([{"hour": NOON, "cost_usd": Decimal("42"), "model": "large", "calls": 4}]))
    event = {"occurred_at": HALF_PAST, "user_id": NASTY, "model": "large", "cost_usd": Decimal("10.5")}
    for copy in range(2):
        calls = [event | {"request_id": f"r{call}", "price_rev": 0, "source_offset": copy} for call in range(4)]
        writer.insert("usage_events", events(calls))
    writer.insert("usage_user_daily", user_days([NOON - timedelta(days=day) for day in range(1, 7)], NASTY, "24"))

    alerts = watcher(reader, writer, topic).evaluate(HALF_PAST)

    spike, anomaly = alerts
    assert (spike.rule, anomaly.rule) == ("hourly_spike", "hourly_anomaly")
    assert (spike.current_value, spike.expected_value, spike.ratio) == (42, 1, 42)
    assert {driver.kind: (driver.name, driver.before, driver.after) for driver in spike.drivers} == {
        "calls": ("", 1, 4),
        "model_mix": ("large", 0, 1),
        "top_feature": ("chat", 1, 42),
        "top_user": (NASTY, 1, 42),
    }
    assert topic.said == alerts
    again = watcher(reader, writer, topic)
    assert again.evaluate(HALF_PAST) == []
    assert list(latest_alerts(reader, standing_only=True, limit=10)) == sorted(alerts, key=lambda each: each.alert_id)
    assert [each.status for each in again.evaluate(NOON + HOUR * 2)] == ["cleared", "cleared"]
    assert list(latest_alerts(reader, standing_only=True, limit=10)) == []
    assert len(latest_alerts(reader, standing_only=False, limit=10)) == 2


def test_the_same_revision_stored_twice_is_one_alert(reader: Reader, writer: Writer) -> None:
    topic = Topic()
    writer.insert("usage_hourly", hourly([*week_at("1"), {"hour": NOON, "cost_usd": Decimal("4")}]))
    watcher(reader, writer, topic).evaluate(HALF_PAST)
    revised = watcher(reader, writer, topic)
    revised.restore([alert.model_copy(update={"revision": 2}) for alert in topic.said])
    revised.evaluate(HALF_PAST)
    revised.restore([alert.model_copy(update={"revision": 2}) for alert in topic.said])
    assert [alert.revision for alert in latest_alerts(reader, standing_only=True, limit=10)] == [2] * len(topic.said)


def test_an_anomaly_of_a_feature_names_the_user_of_that_feature(reader: Reader, writer: Writer) -> None:
    topic = Topic()
    writer.insert("usage_hourly", hourly(week_at("20") + week_at("2", feature=NASTY)))
    writer.insert("usage_hourly", hourly([{"hour": NOON, "cost_usd": Decimal("30"), "feature": NASTY, "calls": 3}]))
    event = {"occurred_at": NOON, "feature": NASTY, "user_id": "u", "cost_usd": Decimal("30"), "request_id": "1"}
    other = event | {"feature": "chat", "user_id": "other", "cost_usd": Decimal("90"), "request_id": "2"}
    unknown = event | {"request_id": "3", "cost_usd": None, "user_id": "free"}
    writer.insert("usage_events", events([event, other, unknown]))
    (alert,) = watcher(reader, writer, topic).evaluate(HALF_PAST)
    assert alert.scope == f"feature={NASTY}"
    assert [(driver.kind, driver.name) for driver in alert.drivers] == [("calls", ""), ("top_user", "u")]
