"""A history played against the rules about 60 minutes is what looking at everything at every minute says."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert
from costream.pricing import PICO
from stream.budgets.trace import SCHEMA
from stream.watch.baseline import Thresholds
from stream.watch.judge import latest
from stream.watch.playing import TOLD_EVERY, _NoWarehouse, played
from stream.watch.rules.anomaly import AnomalyRule
from stream.watch.rules.hourly import HourlyRule, Spending
from stream.watch.rules.spike import SpikeRule
from stream.watch.scopes import SYSTEM, Value
from stream.watch.series import HOUR, MINUTE, NOTHING, Minutes, Series, Spend, hour_of

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
    often = timedelta(seconds=1)
    rules: list[tuple[HourlyRule, str]] = [
        (SpikeRule(thresholds, reader=_NoWarehouse(), interval=often), "system"),
        (AnomalyRule(thresholds, reader=_NoWarehouse(), interval=often), "values"),
    ]
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
