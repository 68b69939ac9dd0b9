"""The watch's questions on the real engine: exact sums, odd names, re-inserted copies, and its own alerts read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert, Level
from costream.pricing.rates import PICO, Bracket, Linear
from costream.pricing.texts import price_text
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.stored_alerts import latest_alerts
from sinks.clickhouse.writer import Writer
from stream.watch.queries import dear_values, hours_of, shared, system_hours, system_minutes
from stream.watch.reasons.asking import evidence
from stream.watch.reasons.evidence import Change, Evidence, Part, Rates
from stream.watch.scopes import Value
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
    assert hours_of(reader, "feature", [NASTY, "none"], **span) == {
        NASTY: {NOON: Spend(first["cost_usd"], 2, 3)},
        "none": {},
    }
    assert dear_values(reader, "feature", **span, cost_usd_min=Decimal("12345678.9")) == ["chat"]
    assert dear_values(reader, "feature", **span, cost_usd_min=Decimal("12345678.900000000001")) == []


def test_what_two_scopes_share_is_asked_once_for_the_hour_and_for_its_usual_hours(
    reader: Reader, writer: Writer
) -> None:
    def row(hour: datetime, cost: str, **named: object) -> dict[str, Any]:
        return {"hour": hour, "cost_usd": Decimal(cost), "calls": 2, "source": cost, "team": "t"} | named

    rows = [
        row(NOON, "1", feature=NASTY),
        row(NOON, "2", feature="b", model="large"),  # of two of the others, and counted once
        row(NOON, "4", feature="none of them"),
        row(NOON, "8", feature=NASTY, team="another"),
        row(NOON - HOUR, "16", feature=NASTY),
        row(NOON - HOUR * 2, "32", feature="b"),
        row(NOON - HOUR * 3, "64", feature="b"),  # no usual hour
    ]
    writer.insert("usage_hourly", hourly(rows))
    others = {Value("feature", NASTY), Value("feature", "b"), Value("model", "large")}
    usual = [NOON - HOUR, NOON - HOUR * 2]
    found = shared(reader, Value("team", "t"), others, NOON, usual)
    assert found == (Spend(Decimal(3), calls=4), Spend(Decimal(48), calls=4))
    nobody = shared(reader, Value("team", NASTY), others, NOON, usual)
    assert nobody == (NOTHING, NOTHING)
    unpriced = [row(NOON, "0", team="free", feature="b", unpriced_calls=2) | {"cost_usd": None}]
    writer.insert(
        "usage_hourly", hourly(unpriced).with_columns(pl.lit(Decimal(0), pl.Decimal(38, 12)).alias("cost_usd"))
    )
    assert shared(reader, Value("team", "free"), others, NOON, usual) == (Spend(Decimal(0), calls=2), NOTHING)


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


def alert_of(scope: str) -> Alert:
    """Of the hour from NOON."""
    return Alert(
        alert_id="1",
        revision=1,
        status="open",
        level=Level.WARNING,
        rule="hourly_anomaly",
        title="",
        message="",
        metric_name="hourly_cost_anomaly",
        scope=scope,
        window_start=NOON,
        window_end=NOON + HOUR,
        current_value=1,
        threshold_value=1,
        expected_value=None,
        ratio=None,
        unpriced_calls=0,
        timestamp=NOON,
    )


def test_evidence_has_each_kind_of_tokens_and_the_rates_of_the_price_that_most_went_by(
    reader: Reader, writer: Writer
) -> None:
    price = Linear(
        version="v",
        brackets=(
            Bracket.of(-1, {"input_tokens": 9, "output_tokens": 9}),
            Bracket.of(999, {"input_tokens": 3 * PICO, "cache_read_tokens": PICO, "output_tokens": 5 * PICO}),
        ),
    )
    other = Linear(version="w", brackets=(Bracket.of(-1, {"input_tokens": 7, "output_tokens": 7}),))
    texts = {"p-1": price_text(price), "p-2": "nonsense", "p-3": price_text(other)}
    writer.insert(
        "prices",
        pl.DataFrame(
            {"price_id": [*texts], "price_version": ["v"] * 3, "price": [*texts.values()], "stored_at": [NOON] * 3}
        ).with_columns(pl.col("stored_at").cast(pl.Datetime("ms", "UTC"))),
    )
    tokens = {"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 400}
    call = {"occurred_at": NOON, "team": NASTY, "cost_usd": Decimal(1), "price_id": "p-1", "user_id": "", **tokens}
    calls = [
        call | {"request_id": "1", "cost_usd": Decimal(2)},
        call | {"request_id": "2", "price_id": "p-3"},
        call | {"request_id": "3", "model": "unread", "price_id": "p-2"},
        call | {"request_id": "4", "model": "of callers", "price_id": "", "cost_usd": Decimal(5)},
        call | {"request_id": "5", "model": "of no team", "team": ""},
    ]
    writer.insert("usage_events", events(calls))
    usual = {"cost_usd": Decimal(7), "calls": 3, "team": NASTY, **tokens}
    rows = [usual | {"hour": NOON - HOUR * back} for back in (1, 2, 3)]
    writer.insert("usage_hourly", hourly([*rows, rows[0] | {"team": "", "feature": "other"}]))
    found = evidence(reader, alert_of(f"team={NASTY}"), usual=[NOON - HOUR, NOON - HOUR * 3])
    now, before = Part(2, 2400, Decimal(3), 400, 800), Part(6, 2400, Decimal(14), 400, 800)
    one = Part(1, 1200, Decimal(1), 200, 400)
    assert found.models == {
        "of callers": Change(replace(one, cost_usd=Decimal(5)), Part()),
        "m": Change(now, before),
        "unread": Change(one, Part()),
    }
    assert found.features == {"chat": Change(now + one + replace(one, cost_usd=Decimal(5)), before)}
    assert found.rates == {"m": Rates(Fraction(3), Fraction(1), Fraction(5))}
    assert found.other_models == Change()
    assert evidence(reader, alert_of("feature=chat"), usual=[NOON - HOUR]).features == {}
    assert evidence(reader, alert_of(f"team={NASTY}"), usual=[]) == Evidence(usual_hours=0)


def test_models_beyond_those_that_are_read_are_one_sum(
    reader: Reader, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.watch.reasons.asking.NAMES_MAX", 1)
    call = {"occurred_at": NOON, "input_tokens": 10, "cost_usd": Decimal(1)}
    dear = call | {"request_id": "1", "model": "dear", "cost_usd": Decimal(5)}
    writer.insert("usage_events", events([dear, *(call | {"request_id": f"a{n}", "model": f"m{n}"} for n in range(3))]))
    writer.insert("usage_hourly", hourly([{"hour": NOON - HOUR, "cost_usd": Decimal(2), "model": "gone"}]))
    found = evidence(reader, alert_of("system"), usual=[NOON - HOUR])
    assert found.models == {"dear": Change(now=Part(1, 10, Decimal(5)))}
    assert found.other_models == Change(Part(3, 30, Decimal(3)), Part(1, 10, Decimal(2), 2))
    assert (found.now.cost_usd, found.usual.cost_usd) == (8, 2)


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
