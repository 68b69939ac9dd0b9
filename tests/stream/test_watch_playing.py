"""A history played against the rules about 60 minutes is what looking at everything at every minute says."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert, Level
from costream.pricing import PICO
from costream.pricing.money import DayRates, RateOfDays
from sinks.clickhouse.hours_of_subjects import hours_of_subjects
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.budgets.budget import Budget, Step
from stream.budgets.trace import SCHEMA
from stream.watch.baseline import Thresholds
from stream.watch.judge import latest
from stream.watch.playing.forecasts import _History
from stream.watch.playing.forecasts import played as played_forecasts
from stream.watch.playing.hours import TOLD_EVERY, played
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.scopes import SYSTEM, Value
from stream.watch.series import HOUR, MINUTE, NOTHING, Minutes, Series, Spend, hour_of
from tests.stream.test_watch_judge import anomaly, spike
from tests.support.warehouse import Embedded
from tests.support.warehouse_rows import hourly, this_hour

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
THRESHOLDS = Thresholds()
Call = dict[str, Any]


def call(at: datetime, usd: str | None, *, arrived_at: datetime | None = None, **named: Any) -> Call:
    cost = None if usd is None else int(Decimal(usd) * PICO)
    return {"occurred_at": at, "arrived_at": arrived_at or at, "cost_pico": cost} | named


def history(calls: Iterable[Call]) -> pl.DataFrame:
    usual = {name: "" for name, kind in SCHEMA.items() if kind == pl.String()}
    return pl.DataFrame([usual | one for one in calls], schema=SCHEMA).sort("arrived_at", maintain_order=True)


def steady(hours: int, usd: str = "1", **named: Any) -> list[Call]:
    return [call(MONDAY + HOUR * hour + MINUTE * 7, usd, **named) for hour in range(hours)]


def told(alerts: Iterable[Alert]) -> list[tuple[str, str, str, int]]:
    return [(f"{one.timestamp:%d %H:%M}", one.scope, one.status, one.revision) for one in alerts]


def test_a_spike_opens_and_clears_at_its_minute_and_is_said_in_words() -> None:
    after = MONDAY + HOUR * 30
    calls = [*steady(30), call(after + MINUTE * 20, "2"), call(after + MINUTE * 40, "1.5"), call(after + HOUR * 3, "1")]
    found = list(played(history(calls), replace(THRESHOLDS, anomaly_enabled=False)))
    assert told(found) == [("03 06:41", SYSTEM, "open", 1), ("03 07:21", SYSTEM, "cleared", 2)]
    assert found[0].title == "Hourly cost is 3.5x the usual"
    assert found[0].message == (
        "The 60 minutes 05:42-06:42 UTC on 2026-03-03 cost 3.50 USD so far, 3.5x the usual 1.00 USD "
        "(the average of the last 29 hours). Alert level: 3.00 USD."
    )
    assert (found[0].rule, found[0].drivers, found[0].unpriced_calls) == ("hourly_spike", (), 0)


def test_a_rule_that_is_off_is_not_played() -> None:
    calls = [*steady(30, feature="a"), call(MONDAY + HOUR * 30, "90", feature="a")]
    assert {one.rule for one in played(history(calls), THRESHOLDS)} == {"hourly_spike", "hourly_anomaly"}
    only = replace(THRESHOLDS, spike_enabled=False)
    assert {one.rule for one in played(history(calls), only)} == {"hourly_anomaly"}
    assert list(played(history(calls), replace(only, anomaly_enabled=False))) == []
    assert list(played(history([]), THRESHOLDS)) == []


def test_long_work_says_how_far_it_is() -> None:
    calls = [call(MONDAY + MINUTE * minute, "1") for minute in range(TOLD_EVERY + 1)]
    said: list[tuple[int, int]] = []
    list(played(history(calls), THRESHOLDS, progress=lambda done, of: said.append((done, of))))
    assert said == [(TOLD_EVERY, TOLD_EVERY + 1)]


# --- looking at everything at every minute ---


class Everything:
    """All that has arrived before a moment, added up anew."""

    def __init__(self, calls: Sequence[Call], now: datetime, by: Sequence[str]) -> None:
        self.calls = [one for one in calls if one["arrived_at"] < now]
        self.now, self.by = now, by

    def series(self, value: Value | None = None) -> Series:
        hours: dict[datetime, list[Call]] = {}
        for one in self.calls:
            if value is None or one[value.dimension] == value.value:
                hours.setdefault(hour_of(one["occurred_at"]), []).append(one)
        return Series({hour: _sum(calls) for hour, calls in hours.items()})

    def system(self) -> Spending:
        this, minutes = hour_of(self.now), {}
        for hour in (this - HOUR * back for back in range(6)):
            calls = [one for one in self.calls if hour_of(one["occurred_at"]) == hour]
            spent = {minute: _sum(one for one in calls if one["occurred_at"].minute == minute) for minute in range(60)}
            minutes[hour] = Minutes.of(spent, over=max(0, min(60, (self.now - hour) // MINUTE)))
        return Spending({SYSTEM: replace(self.series(), minutes=minutes)})

    def values(self) -> Spending:
        found = {Value(name, one[name]) for one in self.calls for name in self.by}
        return Spending(
            {value.scope: self.series(value) for value in found if value.value or value.dimension == self.by[0]},
            shared=self.shared,
        )

    def shared(
        self, own: Value, others: Collection[Value], hour: datetime, usual: Sequence[datetime]
    ) -> tuple[Spend, Spend]:
        mine = [
            one
            for one in self.calls
            if one[own.dimension] == own.value and any(one[name] == value for name, value in others)
        ]
        of_hour = [one for one in mine if hour_of(one["occurred_at"]) == hour]
        return _sum(of_hour), _sum(one for one in mine if hour_of(one["occurred_at"]) in usual)


def _sum(calls: Iterable[Call]) -> Spend:
    return sum(
        (Spend(Decimal(one["cost_pico"] or 0) / PICO, int(one["cost_pico"] is None), 1) for one in calls),
        start=NOTHING,
    )


def looked_at(calls: Sequence[Call], thresholds: Thresholds, *, since: datetime) -> list[Alert]:
    calls = history(calls).to_dicts()
    rules: list[tuple[HourlyRule, str]] = [(spike(thresholds), "system"), (anomaly(thresholds), "values")]
    known: dict[str, dict[str, Alert]] = {rule.name: {} for rule, _ in rules}
    found: list[Alert] = []
    now, last = since, max(one["arrived_at"] for one in calls)
    while now <= last + MINUTE:
        everything = Everything(calls, now, thresholds.anomaly_by)
        for rule, read in rules:
            news = rule.judge(getattr(everything, read)(), known[rule.name], now)
            known[rule.name] = latest([*known[rule.name].values(), *news])
            found += news
        now += MINUTE
    return found


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_it_is_what_looking_at_everything_at_every_minute_says(seed: int) -> None:
    dice = random.Random(seed)
    calls = [
        call(MONDAY + HOUR * hour + MINUTE * dice.randrange(60), "1", feature=feature, team="t", model="m")
        for hour in range(26)
        for feature in ("a", "b")
    ]
    first = MONDAY + HOUR * 26
    for _ in range(30):
        at = first + MINUTE * dice.randrange(100)
        named = {"feature": dice.choice(["a", "b", "new", ""]), "team": dice.choice(["t", "t", ""]), "model": "m"}
        late = MINUTE * dice.choice([0, 0, 0, 3, 40, 70])
        calls.append(call(at, dice.choice(["0.5", "2", "9", None]), arrived_at=at + late, **named))
    calls.append(call(first + HOUR * 4, "0.1", feature="a", team="t", model="m"))
    thresholds = replace(THRESHOLDS, anomaly_by=("feature", "team", "model"))
    expected = told(looked_at(calls, thresholds, since=first))
    found = told(played(history(calls), thresholds))
    assert len(expected) > 4
    assert sorted(found) == sorted(expected)


# --- forecasts ---


def month(**changed: Any) -> Budget:
    usual = {
        "name": "m",
        "kind": "budget",
        "scope": (),
        "only": {},
        "period": "month",
        "zone": "UTC",
        "currency": "USD",
    }
    steps = (Step(Decimal(40), Level.WARNING, Decimal(1)),)
    told: dict[str, Any] = {"amount": Decimal(40), "steps": steps, "metric_name": "m", "forecast": Level.WARNING}
    return Budget(**{**usual, **told, **changed})


NO_RATES = DayRates(())
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def daily(days: int, usd: str | None = "2", **named: Any) -> list[Call]:
    return [call(FIRST + timedelta(days=day, hours=6), usd, **named) for day in range(days)]


def test_a_budget_that_will_be_used_up_is_told_at_its_hour_and_cleared_when_it_is() -> None:
    """2 USD a day are 62 in March. It is told from 5 % of it on, the 2nd at 13:12, and looked at every hour."""
    found = list(played_forecasts(history(daily(22)), [month(), month(name="off", forecast=None)], per_usd=NO_RATES))
    assert told(found) == [("02 14:00", "budget=m", "open", 1), ("20 07:00", "budget=m", "cleared", 2)]
    assert found[0].title == "m: 78.32 USD expected by the end of the month, of 40.00 USD"
    assert found[1].metadata["because"] == "reached"


def test_late_calls_are_known_when_they_arrive() -> None:
    late = [one | {"arrived_at": one["occurred_at"] + timedelta(days=1)} for one in daily(5)]
    (found, *_) = played_forecasts(history(late), [month()], per_usd=NO_RATES)
    assert f"{found.timestamp:%d %H:%M}" == "03 07:00", "2 USD by the 2nd would not have been worth it"
    assert found.metadata["spent"] == "4"


def test_subjects_currencies_and_how_far_it_is() -> None:
    calls = [*daily(4, "3", feature="a"), *daily(4, "1", feature="b"), *daily(4, None, feature="c")]
    rates = DayRates([RateOfDays("KRW", FIRST.date(), Decimal(1000), "of the test")])
    each = month(scope=("feature",), only={"feature": ("a", "b")}, currency="KRW", amount=Decimal(60_000))
    said: list[tuple[int, int]] = []
    found = list(
        played_forecasts(history(calls), [each], per_usd=rates, progress=lambda done, of: said.append((done, of)))
    )
    assert [alert.scope for alert in found] == ["budget=m,feature=a"]
    assert said[-1] == (73, 73)
    assert list(played_forecasts(history([]), [each], per_usd=rates)) == []


def test_the_hours_of_a_history_are_those_that_the_warehouse_would_tell(clickhouse_embedded: Embedded) -> None:
    dice = random.Random(7)
    now = this_hour()
    calls = [
        call(
            now - HOUR * dice.randrange(1, 40) + MINUTE * dice.randrange(60),
            dice.choice(["0.000000000001", "2.5", None]),
            feature=dice.choice(["a", "b", "c"]),
            team=dice.choice(["t", ""]),
            model="m",
            provider="p",
            operation="chat",
        )
        for _ in range(80)
    ]
    kept = [
        {name: one[name] for name in ("feature", "team", "model", "provider", "operation")}
        | {"hour": hour_of(one["occurred_at"]), "source": f"s{number}", "cost_pico": one["cost_pico"] or 0}
        | {"unpriced_calls": int(one["cost_pico"] is None)}
        for number, one in enumerate(calls)
    ]
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        writer.insert("usage_hourly", hourly(kept))
        held = _History(history(calls))
        held.now = now + HOUR
        span: dict[str, Any] = {"since": now - HOUR * 30, "until": now - HOUR * 3}
        questions: tuple[dict[str, Any], ...] = (
            {"only": {}},
            {"only": {"feature": ["a", "c"]}},
            {"only": {"feature": ["nobody"]}},
            {"only": {}, "by": ("feature", "team"), "lately": now - HOUR * 10, "subjects_max": 3},
            {"only": {"team": ["t"]}, "by": ("feature",), "lately": now - HOUR * 20, "subjects_max": 2},
        )
        for asked in questions:
            theirs = hours_of_subjects(reader, **span | asked)
            ours = held.hours_of(**span | asked)
            order = [name for name in ours.columns if name not in ("cost_usd", "calls", "unpriced_calls")]
            assert ours.rows() == theirs.sort("hour", *order).select(ours.columns).rows()
            assert ours.columns == theirs.columns
