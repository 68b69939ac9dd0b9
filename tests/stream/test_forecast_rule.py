"""Forecasts judged by a worker: which hours it reads, in which currency, how often, and what ends with the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert
from costream.pricing.money import DayRates, RateOfDays
from sinks.clickhouse.hours_of_subjects import hours_of_subjects
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError, WarehouseRefused
from stream.budgets.budget import Budget
from stream.budgets.spend import PerUSD
from stream.watch.rules import forecast as forecast_rule
from stream.watch.rules.forecast import EVERY, REST, ForecastRule
from stream.watch.rules.hourly import RETRY_WAIT
from stream.watch.rules.rule import Past, news_of
from tests.stream.test_foreseen import MONTH
from tests.support.databases import emptied
from tests.support.records import wire
from tests.support.repriced import NOW, Place
from tests.support.warehouse import Server

MIDNIGHT = NOW.replace(hour=0, minute=0)
NOON = MIDNIGHT + timedelta(hours=12)
DAY = replace(MONTH, name="day", period="day", amount=Decimal("2.5"))
DAYS = 20
NO_RATES = DayRates(())
USD_1 = {"provider": "openai", "model": "gpt-4o", "input_tokens": 400_000, "output_tokens": 0}


def call(request_id: str, at: datetime, **fields: Any) -> bytes:
    return wire(request_id, **{"occurred_at": at.isoformat(), "feature": "chat", "team": "a", **USD_1, **fields})


@pytest.fixture(scope="module")
def place(clickhouse_endpoint: Server) -> Iterator[Place]:
    """Each day 1 USD of chat at midnight, and 1 of chat and 1 of search at 23 h; today that of midnight alone."""
    with closing(Place(emptied(clickhouse_endpoint.fresh()))) as place:
        past = [MIDNIGHT - timedelta(days=day) for day in range(1, DAYS + 2)]
        calls = [call(f"m-{at:%j}", at) for at in (*past, MIDNIGHT)]
        for at in past:
            calls += [call(f"{name}-{at:%j}", at + timedelta(hours=23), feature=name) for name in ("chat", "search")]
        place.store([*calls, call("other", MIDNIGHT, model="nobody-knows", team="b")])
        yield place


class Counting:
    """The warehouse, how often it was asked, and what the clock says after it."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.asked = reader, 0
        self.seconds, self.clock = 0.0, 1_000.0  # of a question; the clock
        self.fault: WarehouseError | None = None

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        self.asked += 1
        self.clock += self.seconds
        if self.fault:
            raise self.fault
        return self.reader.frame(sql, **parameters)


class Judge:
    """The rule as the watch asks it."""

    def __init__(self, place: Place, budgets: Sequence[Budget], per_usd: PerUSD = NO_RATES) -> None:
        self.reader = Counting(place.reader)
        self.alerts: dict[str, Alert] = {}
        self.per_usd = per_usd
        self.kept: list[pl.DataFrame] = []
        self.cannot_keep: WarehouseError | None = None
        self.use(budgets)

    def use(self, budgets: Sequence[Budget]) -> None:
        self.rule = ForecastRule(
            budgets,
            hours_of=partial(hours_of_subjects, self.reader),
            per_usd=self.per_usd,
            zone="Asia/Seoul",
            keep=self.keep,
            monotonic=lambda: self.reader.clock,
        )

    def keep(self, rows: pl.DataFrame) -> None:
        if self.cannot_keep:
            raise self.cannot_keep
        self.kept.append(rows)

    def waits(self, **past: Any) -> timedelta:
        """How long it rests after a look at noon."""
        steps = (timedelta(seconds=second) for second in range(0, 7_200, 10))
        return next(wait for wait in steps if self.rule.is_due(NOON + wait, Past(looked_at=NOON, **past)))

    def look(self, now: datetime = NOON, past: Past = Past()) -> list[Alert]:  # noqa: B008 - it is frozen
        news = news_of(self.rule, self.rule.read(now, past, list(self.alerts.values())), self.alerts, now)
        self.alerts |= {alert.alert_id: alert for alert in news}
        return news


def test_a_budget_that_will_be_used_up_is_told_once(place: Place) -> None:
    judge = Judge(place, [DAY])
    (alert,) = judge.look()
    assert (alert.status, alert.current_value, alert.threshold_value) == ("open", 3, Decimal("2.5"))
    assert (alert.metadata["spent"], alert.metadata["method"], alert.metadata["whole_days"]) == ("1", "rhythm", DAYS)
    assert alert.unpriced_calls == 1
    assert alert.title == "day: 3.00 USD expected by the end of the day, of 2.50 USD"
    assert judge.look() == []
    assert judge.reader.asked == 4, "in a look one question of each budget, and one of everything"


def test_a_month_is_foreseen_with_its_own_start_and_once(place: Place) -> None:
    spent = 3 * min(NOW.day - 1, DAYS + 1) + 1
    judge = Judge(place, [replace(MONTH, amount=Decimal(spent + 1))])
    (alert,) = judge.look()
    assert (alert.window_start, alert.metadata["spent"]) == (MIDNIGHT.replace(day=1), f"{spent}")
    assert alert.current_value >= spent + 2
    assert judge.look() == []


def test_only_budgets_that_say_so_are_foreseen(place: Place) -> None:
    judge = Judge(place, [replace(DAY, forecast=None)])
    assert judge.look() == []
    assert judge.reader.asked == 1, "of everything together"


def test_of_a_budget_only_its_own_calls_count(place: Place) -> None:
    search = replace(DAY, name="search", only={"feature": ("search", "none")}, amount=Decimal("0.9"))
    (alert,) = Judge(place, [search]).look()
    assert alert.current_value == 1
    assert Judge(place, [replace(search, only={"feature": ("none",)})]).look() == []


def test_each_subject_is_foreseen_by_itself(place: Place) -> None:
    each = replace(DAY, name="each", scope=("feature", "team"), amount=Decimal("0.9"))
    dear, cheap = Judge(place, [replace(each, amount=Decimal(1))]).look(), Judge(place, [each]).look()
    assert [alert.scope for alert in dear] == ["budget=each,feature=search,team=a"], "of chat 1 USD is spent already"
    assert [alert.scope for alert in cheap] == ["budget=each,feature=search,team=a"]
    two = Judge(place, [replace(each, amount=Decimal("1.9"))]).look()
    assert [(alert.scope, alert.current_value) for alert in two] == [("budget=each,feature=chat,team=a", 2)]


def test_of_many_subjects_the_dearest_are_foreseen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    each = replace(DAY, name="each", scope=("feature",), amount=Decimal("0.9"))
    monkeypatch.setattr(forecast_rule, "SUBJECTS_MAX", 1)
    assert Judge(place, [each]).look() == []
    assert len(Judge(place, [replace(each, amount=Decimal("1.9"))]).look()) == 1


def test_another_currency_goes_by_the_rate_of_each_day(place: Place) -> None:
    won = replace(DAY, name="won", currency="KRW", amount=Decimal(2_500))
    rates = DayRates([RateOfDays("KRW", date(2020, 1, 1), Decimal(1_000), "a test")])
    (alert,) = Judge(place, [won], rates).look()
    assert (alert.current_value, alert.metadata["spent"], alert.metadata["unit"]) == (3_000, "1000", "KRW")


def test_days_before_the_first_rate_are_not_learned_from(place: Place) -> None:
    won = replace(DAY, name="won", currency="KRW", amount=Decimal(2_500))

    def since(days: int) -> DayRates:
        return DayRates([RateOfDays("KRW", (MIDNIGHT - timedelta(days=days)).date(), Decimal(1_000), "a test")])

    (alert,) = Judge(place, [won], since(14)).look()
    assert (alert.metadata["whole_days"], alert.metadata["method"]) == (14, "rhythm")
    (alert,) = Judge(place, [replace(won, amount=Decimal(1_900))], since(13)).look()
    assert (alert.metadata["whole_days"], alert.metadata["method"]) == (13, "elapsed")
    (alert,) = Judge(place, [replace(won, amount=Decimal(1_900))], since(0)).look()
    assert (alert.metadata["whole_days"], alert.current_value) == (0, 2_000)
    tomorrow = DayRates([RateOfDays("KRW", NOW.date() + timedelta(days=1), Decimal(1_000), "a test")])
    assert Judge(place, [won], tomorrow).look() == [], "what was spent today is not known"


def test_what_no_rule_foresees_any_more_is_withdrawn(place: Place) -> None:
    for changed in (
        [],
        [replace(DAY, forecast=None)],
        [replace(DAY, zone="Asia/Seoul")],
        [replace(DAY, scope=("team",))],
    ):
        judge = Judge(place, [DAY])
        judge.look()
        judge.use(changed)
        ended = [alert for alert in judge.look() if alert.status == "cleared"]
        assert [(alert.revision, alert.metadata["withdrawn"]) for alert in ended] == [(2, True)]
        assert ended[0].title == "day: foreseen by no rule any more"


def test_when_the_day_is_over_its_alert_is(place: Place) -> None:
    judge = Judge(place, [DAY])
    judge.look()
    ended, *_ = judge.look(MIDNIGHT + timedelta(days=1))
    assert (ended.status, ended.metadata["because"]) == ("cleared", "over")
    assert "the day is over; 3.00 USD of 2.50 USD was expected last" in ended.title
    assert judge.look(MIDNIGHT + timedelta(days=1)) == []


def test_a_warehouse_that_cannot_answer_leaves_what_stands(place: Place) -> None:
    other = replace(DAY, name="other")
    judge = Judge(place, [DAY, other])
    assert len(judge.look()) == 2
    judge.reader.fault = WarehouseRefused(where="nowhere", reason="too much")
    assert judge.look() == []
    assert judge.reader.asked == 4, "where one question fails, the next one waits"
    assert judge.waits() == RETRY_WAIT
    judge.reader.fault = None
    assert judge.look(past=Past(looked_at=NOON)) == []
    assert judge.reader.asked == 6, "the other budget, and everything; the one that failed comes with the next round"
    assert judge.waits() == EVERY


def test_it_looks_every_quarter_of_an_hour(place: Place) -> None:
    judge = Judge(place, [DAY])
    assert timedelta(minutes=15) == EVERY, "as docs/budgets.md says"
    assert judge.rule.is_due(NOON, Past())
    judge.look()
    assert judge.waits() == EVERY
    assert judge.waits(changed=frozenset({NOON})) == EVERY
    assert judge.waits(failed=True) == RETRY_WAIT
    judge.reader.seconds = 60
    judge.look()
    assert judge.waits() == judge.waits(failed=True) == 60 * REST * timedelta(seconds=1)


def test_a_look_ends_after_some_seconds_and_the_next_goes_on(place: Place) -> None:
    judge = Judge(place, [replace(DAY, name=f"day-{number}") for number in range(5)])
    judge.reader.seconds = 1.0
    assert [alert.metadata["budget"] for alert in judge.look()] == ["day-0", "day-1"]
    assert judge.waits() == 2 * REST * timedelta(seconds=1)
    on = Past(looked_at=NOON)
    assert [alert.metadata["budget"] for alert in judge.look(past=on)] == ["day-2", "day-3"]
    assert [alert.metadata["budget"] for alert in judge.look(past=on)] == ["day-4"]
    assert judge.waits() == EVERY
    assert judge.look(past=on) == []
    assert judge.reader.asked == 8, "a new round begins with the first"
    judge.look(past=Past(looked_at=NOON, failed=True))
    assert len(judge.alerts) == 5


# --- what is kept ---


def test_what_is_expected_of_everything_and_of_each_budget_is_kept_by_the_day_of_its_clocks(place: Place) -> None:
    month = replace(MONTH, name="month", zone="UTC", amount=Decimal(10**9))
    each = replace(DAY, name="each", scope=("team",))
    judge = Judge(place, [each, month])
    judge.look(NOON + timedelta(hours=4))  # in Seoul it is the next day
    (rows,) = judge.kept
    told = rows.select("scope", "period", "zone", "currency", "day").rows()
    today, tomorrow = NOW.date(), NOW.date() + timedelta(days=1)
    assert told == [
        ("budget=each,team=a", "day", DAY.zone, "USD", today),
        ("budget=each,team=b", "day", DAY.zone, "USD", today),
        ("budget=month", "month", "UTC", "USD", today),
        *(("system", period, "Asia/Seoul", "USD", tomorrow) for period in ("day", "week", "month")),
    ]
    of_team = rows.row(0, named=True)
    assert (of_team["so_far"], of_team["expected"], of_team["method"], of_team["whole_days"]) == (1, 3, "rhythm", DAYS)
    assert (of_team["period_start"], of_team["period_end"]) == (MIDNIGHT, MIDNIGHT + timedelta(days=1))
    assert (of_team["made_at"], of_team["unpriced_calls"]) == (NOON + timedelta(hours=4), 0)
    assert rows.row(1, named=True)["unpriced_calls"] == 1


def test_forecasts_that_cannot_be_kept_are_told_all_the_same(place: Place) -> None:
    judge = Judge(place, [DAY])
    judge.cannot_keep = WarehouseRefused(where="nowhere", reason="full")
    assert len(judge.look()) == 1
    assert judge.waits() == EVERY


def test_of_what_could_not_be_asked_nothing_is_kept(place: Place) -> None:
    judge = Judge(place, [DAY])
    judge.reader.fault = WarehouseRefused(where="nowhere", reason="too much")
    judge.look()
    assert judge.kept == []


def test_of_a_day_the_last_forecast_stands_in_the_view(place: Place) -> None:
    judge = Judge(place, [])
    for hours in (1, 3, 2, 30):
        judge.look(MIDNIGHT - timedelta(days=1) + timedelta(hours=hours))
    for rows in judge.kept:
        place.warehouse.writer.insert("forecasts", rows)
    asked = "SELECT day, period, made_at, expected, low FROM forecasts WHERE scope = 'system' AND period = 'month'"
    found = place.reader.frame(asked).rows()
    yesterday = MIDNIGHT - timedelta(days=1)
    assert [(day, made_at) for day, _, made_at, *_ in found] == [
        (yesterday.date(), yesterday + timedelta(hours=3)),
        (MIDNIGHT.date(), MIDNIGHT + timedelta(hours=6)),
    ]
    assert {low for *_, low in found} == {None}, "20 days tell no band"
