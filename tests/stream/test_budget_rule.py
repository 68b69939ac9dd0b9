"""Budgets judged by a worker: what it tells is what a play of the same history tells, from sums of the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert, Level
from costream.pricing.money import DayRates, RateOfDays
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.rows import to_integers
from sinks.errors import WarehouseError, WarehouseRefused
from stream.audit.budget_sums import state
from stream.budgets.budget import COLUMNS, Budget, Step
from stream.budgets.counted import Counted
from stream.budgets.judge import LATE_MAX
from stream.budgets.limits import Reading
from stream.budgets.periods import span_at
from stream.budgets.playing import played
from stream.budgets.spend import Account, Spend
from stream.watch.budget_parts import parts_by_feature
from stream.watch.rules import budget as budget_rule
from stream.watch.rules.budget import ENDED_EVERY, REST, BudgetRule
from stream.watch.rules.rule import Past, news_of
from tests.stream.test_budget_spend import DAILY
from tests.stream.test_price_revisions import publish
from tests.support.databases import emptied
from tests.support.ingest import ingest_of
from tests.support.records import STEADY_ZONE, wire
from tests.support.repriced import NOW, PARTITIONS, SOURCE, Place
from tests.support.told import alert
from tests.support.warehouse import Server

DAY = replace(
    DAILY,
    name="day",
    amount=Decimal(3),
    steps=(Step(Decimal("2.4"), Level.WARNING, Decimal("0.8")), Step(Decimal(3), Level.EMERGENCY, Decimal(1))),
)
USER = replace(DAY, name="user", scope=("user",), amount=Decimal(1), steps=(Step(Decimal("0.9"), Level.WARNING),))
LIMIT = replace(USER, name="limit", kind="limit", zone="Asia/Seoul", steps=(Step(Decimal("0.6"), Level.CRITICAL),))
SESSION = replace(USER, name="session", scope=("session",), period="session", steps=(Step(Decimal("0.5"), Level.INFO),))
WON = replace(USER, name="won", currency="KRW", amount=Decimal(1500), steps=(Step(Decimal("1200"), Level.INFO),))
BUDGETS = [DAY, USER, LIMIT, SESSION, WON, replace(DAY, name="team", scope=("team",), only={"team": ("search",)})]
RATES = DayRates([RateOfDays("KRW", date(2020, 1, 1), Decimal(1_500), "a test")])
MILLION = 1_000_000  # tokens of gpt-4o-mini: 0.15 USD


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress) -> Iterator[Place]:
    with closing(Place(emptied(one_database))) as place:
        use(place, BUDGETS)
        yield place


def use(place: Place, budgets: Sequence[Budget]) -> None:
    place.ingest = ingest_of(
        place.warehouse,
        SOURCE,
        range(PARTITIONS),
        count=PARTITIONS,
        since=NOW - timedelta(days=7),
        budgets=Counted.by(budgets),
        clock=lambda: NOW,
    )


def spent(request_id: str, *, tokens: int = MILLION, at: datetime = NOW, **fields: Any) -> bytes:
    usual = {"provider": "openai", "model": "gpt-4o-mini", "user_id": "ann", "session_id": "s-1", "team": "search"}
    usage = {"input_tokens": tokens, "output_tokens": 0, "occurred_at": at.isoformat()}
    return wire(request_id, **usual | usage | fields)


class Noted:
    """Who hears what was spent, and asks for more."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.wanted: set[Account] = set()
        self.wants_reading = False

    def accounts(self, budgets: Sequence[Budget], now: datetime) -> set[Account]:
        return self.wanted

    def note(self, reading: Reading) -> None:
        self.readings.append(reading)


class Judge:
    """The rule as the watch asks it, with the alerts that it has told."""

    def __init__(self, place: Place, budgets: Sequence[Budget] = BUDGETS, *, is_whole: bool = True) -> None:
        self.place, self.is_whole = place, is_whole
        self.days: list[Any] = []
        self.fault: WarehouseError | None = None
        self.limits = Noted()
        self.seconds = 0.0
        self.alerts: dict[str, Alert] = {}
        self.go_by(budgets)

    def go_by(self, budgets: Sequence[Budget]) -> None:
        self.past = Past()
        self.rule = BudgetRule(
            budgets,
            reader=self.place.reader,
            per_usd=RATES,
            are_whole=self._are_whole,
            interval=timedelta(seconds=1),
            limits=self.limits,
            revision=7,
            monotonic=lambda: self.seconds,
        )

    def _are_whole(self, _control: str, days: Iterable[date] | None) -> bool:
        if self.fault:
            raise self.fault
        self.days.append(days)
        return self.is_whole

    def look(self, now: datetime = NOW, *, changed: Iterable[datetime] = ()) -> list[Alert]:
        past = replace(self.past, changed=frozenset(changed))
        found = news_of(self.rule, self.rule.read(now, past, list(self.alerts.values())), self.alerts, now)
        self.alerts |= {alert.alert_id: alert for alert in found}
        self.past = Past(looked_at=now)
        return found


def said(alerts: Iterable[Alert]) -> list[tuple[str, str, str, str]]:
    return sorted((a.scope, a.status, a.level.value, f"{a.current_value.normalize():f}") for a in alerts)


def history(place: Place, arrived: dict[str, datetime]) -> pl.DataFrame:
    columns = ", ".join(COLUMNS.values())
    rows = place.frame(f"SELECT request_id, occurred_at, {columns}, cost_usd AS cost_pico FROM usage_events")
    arrivals = pl.col("request_id").replace_strict(arrived, return_dtype=pl.Datetime("ms", "UTC"))
    return to_integers(rows, pl.Int64).with_columns(arrived_at=arrivals)


def test_a_worker_tells_what_a_play_of_the_same_history_tells(place: Place) -> None:
    """Ten batches, ten seconds apart, with calls of yesterday and last month among them, and one without a price."""
    judge, arrived, told = Judge(place), dict[str, datetime](), list[Alert]()
    start = NOW.replace(minute=0, second=0, microsecond=0)
    for step in range(10):
        batch = {
            f"{step}-a": spent(f"{step}-a", at=start),
            f"{step}-b": spent(f"{step}-b", at=start, user_id="bob", session_id="", team=""),
            f"{step}-old": spent(f"{step}-old", at=start - timedelta(days=1 + 30 * (step % 2)), tokens=7 * MILLION),
            f"{step}-x": spent(f"{step}-x", at=start, model="nobody-knows"),
        }
        place.store(list(batch.values()))
        arrived |= dict.fromkeys(batch, start + timedelta(seconds=10 * step))
        told += judge.look(start + timedelta(seconds=10 * step + 1))
    expected = list(played(history(place, arrived), BUDGETS, per_usd=RATES))
    assert said(told) == said(expected)
    by_id = {(alert.alert_id, alert.revision): alert for alert in expected}
    assert {(alert.alert_id, alert.revision): without_parts(alert) for alert in told} == by_id
    assert len(by_id) >= 9


def without_parts(alert: Alert) -> Alert:
    """A play of a history has no warehouse to ask for features."""
    metadata = {name: value for name, value in alert.metadata.items() if name != "features"}
    return alert.model_copy(update={"message": alert.message.partition(" By feature")[0], "metadata": metadata})


def test_an_alert_says_which_features_the_money_went_to(place: Place) -> None:
    limit = replace(DAY, name="won", kind="limit", currency="KRW", steps=(Step(Decimal(50), Level.CRITICAL),))
    budgets = [
        limit,
        replace(limit, name="search", only={"feature": ("search",)}),
        replace(LIMIT, steps=(Step(Decimal("0.01"), Level.INFO),)),
    ]
    use(place, budgets)
    rate = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1500"\nsource = "a test"\n'
    publish(place.warehouse, {"rates.toml": rate})
    tokens = {"search": 320_000, "chat": 150_000, "": 53_450}  # 0.000225 KRW each
    place.store([spent(f"r-{feature}", feature=feature, tokens=count) for feature, count in tokens.items()])
    place.store([spent("r-of-yesterday", feature="old", tokens=MILLION, at=NOW - timedelta(days=1))])
    place.store([spent("r-of-bob", feature="chat", user_id="bob", tokens=5 * MILLION, at=NOW - timedelta(days=1))])
    told = {alert.scope: alert for alert in Judge(place, budgets).look()}
    won = told["budget=won"]
    assert won.message.endswith(
        " By feature: search 72.00 KRW (61 %), chat 33.75 KRW (29 %), (no feature) 12.03 KRW (10 %)."
    )
    assert won.metadata["features"] == [
        {"feature": "search", "amount": "72", "share": "0.6113"},
        {"feature": "chat", "amount": "33.75", "share": "0.2866"},
        {"feature": "", "amount": "12.02625", "share": "0.1021"},
    ]
    assert told["budget=search"].message.endswith(" By feature: search 72.00 KRW (100 %).")
    assert "By feature" not in told["budget=limit,user=ann"].message


def test_of_many_alerts_of_one_look_the_first_say_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_rule, "EXPLAINED_MAX", 2)
    teams = replace(DAY, name="teams", scope=("team",), amount=Decimal(1), steps=(Step(Decimal(1), Level.INFO),))
    judge = Judge(place, [teams])
    use(place, [teams])
    place.store([spent(f"{team}-{number}", team=team, feature="f") for team in "abc" for number in range(7)])
    assert sum("features" in alert.metadata for alert in judge.look()) == 2
    place.store([spent(f"d-{number}", team="d", feature="f") for number in range(7)])
    assert sum("features" in alert.metadata for alert in judge.look()) == 1, "each look has as many"


def test_features_are_told_only_where_all_that_was_spent_is_known_in_the_currency(place: Place) -> None:
    """A rate from today on makes today's part of two days look like all."""
    limit = replace(DAY, kind="limit", currency="KRW")
    told = alert(
        "a",
        window_start=NOW - timedelta(days=2),
        window_end=NOW + timedelta(minutes=1),
        metadata={"subject": {}, "unit": "KRW"},
    )
    rate = f'[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1500"\nvalid_from = {NOW:%Y-%m-%d}\nsource = "a test"\n'
    publish(place.warehouse, {"rates.toml": rate})
    place.store([spent("r-today", feature="search")])
    assert [part.feature for part in parts_by_feature(place.reader, limit, told)] == ["search"]
    assert parts_by_feature(place.reader, replace(limit, scope=("feature",)), told) == ()
    place.store([spent("r-before", feature="chat", at=NOW - timedelta(days=1))])
    assert parts_by_feature(place.reader, limit, told) == ()


def test_an_alert_is_told_once_and_again_where_a_higher_step_is_crossed(place: Place) -> None:
    judge = Judge(place, [DAY])
    place.store([spent(f"r-{number}") for number in range(15)])  # 2.25
    assert judge.look() == []
    place.store([spent("r-16")])  # 2.40
    assert said(judge.look()) == [("budget=day", "open", "warning", "2.4")]
    assert judge.look() == []
    place.store([spent(f"s-{number}") for number in range(4)])
    assert said(judge.look()) == [("budget=day", "updated", "emergency", "3")]


def test_nobody_judges_by_sums_that_are_not_whole_and_nothing_is_forgotten(place: Place) -> None:
    judge = Judge(place, [DAY], is_whole=False)
    place.store([spent(f"r-{number}") for number in range(20)])
    assert judge.look(changed=[NOW]) == []
    assert not judge.rule.is_due(NOW, judge.past)
    assert judge.rule.is_due(NOW + timedelta(seconds=1), judge.past)
    judge.is_whole = True
    assert len(judge.look()) == 1
    assert not judge.rule.is_due(NOW + timedelta(seconds=59), judge.past)
    assert judge.rule.is_due(NOW + timedelta(seconds=60), judge.past)


def test_of_which_days_the_sums_must_be_whole_is_what_has_changed_since_they_were_read(place: Place) -> None:
    judge = Judge(place, [DAY])
    judge.look()
    judge.look(changed=[NOW, NOW - timedelta(days=2)])
    judge.is_whole = False
    judge.look(changed=[NOW - timedelta(days=1)])
    judge.look(changed=[NOW])
    today = NOW.date()
    assert judge.days == [
        None,
        {today, today - timedelta(days=2)},
        {today - timedelta(days=1)},
        {today - timedelta(days=1), today},
    ]


def test_a_look_that_takes_long_is_followed_by_a_rest_of_four_times_that(place: Place) -> None:
    judge = Judge(place, [DAY])
    original = judge._are_whole

    def slowly(control: str, days: Iterable[date] | None) -> bool:
        judge.seconds += 3
        return original(control, days)

    judge.rule._are_whole = slowly
    judge.look()
    past = replace(judge.past, changed=frozenset([NOW]))
    assert not judge.rule.is_due(NOW + timedelta(seconds=REST * 3 - 1), past)
    assert judge.rule.is_due(NOW + timedelta(seconds=REST * 3), past)


def test_a_warehouse_that_cannot_answer_it_stops_no_other_rule_and_is_asked_again_in_a_minute(place: Place) -> None:
    judge = Judge(place, [DAY])
    place.store([spent(f"r-{number}") for number in range(20)])
    judge.fault = WarehouseRefused(where="nowhere", reason="too much")
    assert judge.look(changed=[NOW]) == []
    changed = replace(judge.past, changed=frozenset([NOW]))
    assert not judge.rule.is_due(NOW + timedelta(seconds=59), changed)
    assert judge.rule.is_due(NOW + timedelta(seconds=60), changed)
    judge.fault = None
    assert len(judge.look()) == 1


def test_a_period_that_is_over_is_cleared_and_the_next_begins_at_nothing(place: Place) -> None:
    judge = Judge(place, [USER])
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    place.store([spent(f"r-{number}", at=NOW) for number in range(7)])
    assert said(judge.look()) == [("budget=user,user=ann", "open", "warning", "1.05")]
    assert judge.look(midnight) == []
    assert judge.look(midnight + LATE_MAX - timedelta(seconds=1)) == []
    assert said(judge.look(midnight + LATE_MAX)) == [("budget=user,user=ann", "cleared", "warning", "1.05")]
    assert judge.look(midnight + LATE_MAX + timedelta(seconds=1)) == []


def test_calls_of_a_closed_period_move_its_sum_and_raise_no_alert(place: Place) -> None:
    judge = Judge(place, [USER])
    yesterday = NOW - timedelta(days=1)
    place.store([spent(f"r-{number}", at=yesterday) for number in range(20)])
    assert judge.look(changed=[yesterday]) == []


def test_what_a_repricing_takes_back_is_retracted(place: Place) -> None:
    judge = Judge(place, [USER])
    place.store([spent(f"r-{number}", tokens=MILLION) for number in range(7)])
    judge.look()
    place.command(
        "INSERT INTO budget_spend_rows SELECT * REPLACE ('correction:topic-1' AS source, toInt64(0) AS calls, "
        "toInt64(0) AS unpriced_calls, -cost_usd / 2 AS cost_usd) FROM budget_spend_rows FINAL"
    )
    assert said(judge.look()) == [("budget=user,user=ann", "retracted", "warning", "0.525")]


# --- periods that are over ---

YESTERDAY = NOW.replace(hour=12) - timedelta(days=1)
AGAIN = NOW + ENDED_EVERY


def stated(place: Place, at: datetime, budgets: Sequence[Budget] = BUDGETS) -> None:
    """The warehouse says from when on sums are whole: from the start of the period of this moment."""
    state(place.reader, place.warehouse.writer, budgets, Counted.by(budgets), now=at, kept=at.date())


def corrected(place: Place, usd: str) -> None:
    """By so much for ann, yesterday, as a re-pricing does it."""
    place.command(
        "INSERT INTO budget_spend_rows SELECT * REPLACE ('correction:topic-1' AS source, toInt64(0) AS calls, "
        f"toInt64(0) AS unpriced_calls, toDecimal64('{usd}', 12) AS cost_usd) FROM budget_spend_rows FINAL LIMIT 1 BY "
        "spending, subject, day"
    )


def told_and_cleared(place: Place, budget: Budget = USER, calls: int = 7) -> Judge:
    judge = Judge(place, [budget])
    place.store([spent(f"r-{number}", at=YESTERDAY) for number in range(calls)])
    (alert,) = judge.look(YESTERDAY)
    assert alert.status == "open"
    (alert,) = judge.look(NOW)
    assert alert.status == "cleared"
    return judge


def test_what_is_corrected_after_its_period_is_over_is_taken_back(place: Place) -> None:
    stated(place, YESTERDAY)
    judge = told_and_cleared(place)  # 1.05 USD of 1
    corrected(place, "-0.3")
    assert judge.look(AGAIN - timedelta(seconds=1)) == [], "it is looked at every ten minutes"
    (alert,) = judge.look(AGAIN)
    assert (alert.status, alert.revision, alert.current_value) == ("retracted", 3, Decimal("0.75"))
    assert alert.title == "user of user ann: corrected to 0.75 USD, no alert was due"
    assert judge.days[-1] is None, "all days are to be whole"
    assert judge.look(AGAIN + ENDED_EVERY) == []


def test_a_lower_step_of_a_period_that_is_over_is_told(place: Place) -> None:
    steps = (Step(Decimal("0.5"), Level.INFO), Step(Decimal("0.9"), Level.WARNING))
    stated(place, YESTERDAY)
    judge = told_and_cleared(place, replace(USER, steps=steps))
    corrected(place, "-0.3")
    (alert,) = judge.look(AGAIN)
    assert (alert.status, alert.level, alert.threshold_value) == ("cleared", Level.INFO, Decimal("0.5"))
    assert judge.look(AGAIN + ENDED_EVERY) == []
    corrected(place, "-0.9")
    (alert,) = judge.look(AGAIN + 2 * ENDED_EVERY)
    assert alert.status == "retracted"


def test_what_costs_more_after_its_period_is_over_raises_nothing(place: Place) -> None:
    stated(place, YESTERDAY)
    judge = told_and_cleared(place)
    corrected(place, "7")
    assert judge.look(AGAIN) == []


def test_a_sum_that_does_not_reach_so_far_takes_nothing_back(place: Place) -> None:
    judge = told_and_cleared(place)
    corrected(place, "-0.3")
    assert judge.look(AGAIN) == [], "the warehouse names no such sum"
    stated(place, NOW)
    assert judge.look(AGAIN + ENDED_EVERY) == [], "it is whole from today on"


def test_other_steps_say_nothing_of_what_was_told_by_the_ones_before(place: Place) -> None:
    stated(place, YESTERDAY)
    judge = told_and_cleared(place)
    corrected(place, "-0.3")
    higher = (Step(Decimal("0.95"), Level.WARNING),)
    for other in (replace(USER, amount=Decimal(2)), replace(USER, steps=higher), replace(USER, kind="limit")):
        judge.go_by([other])
        assert judge.look(AGAIN) == []
    judge.go_by([replace(USER, name="other"), USER])
    assert [alert.status for alert in judge.look(AGAIN)] == ["retracted"]


def test_of_two_budgets_of_one_sum_the_one_with_other_steps_takes_nothing_back(place: Place) -> None:
    stated(place, YESTERDAY)
    other = replace(USER, name="other")
    judge = Judge(place, [USER, other])
    place.store([spent(f"r-{number}", at=YESTERDAY) for number in range(7)])
    assert len(judge.look(YESTERDAY)) == len(judge.look(NOW)) == 2
    corrected(place, "-0.3")
    judge.go_by([USER, replace(other, amount=Decimal(2))])
    assert [(alert.scope, alert.status) for alert in judge.look(AGAIN)] == [("budget=user,user=ann", "retracted")]


def test_while_sums_are_not_whole_nothing_is_taken_back_and_it_is_looked_at_again(place: Place) -> None:
    stated(place, YESTERDAY)
    judge = told_and_cleared(place)
    corrected(place, "-0.3")
    judge.is_whole = False
    assert judge.look(AGAIN) == []
    judge.is_whole = True
    assert [alert.status for alert in judge.look(AGAIN + timedelta(seconds=2))] == ["retracted"]


def test_limits_hear_nothing_of_periods_that_are_over(place: Place) -> None:
    stated(place, YESTERDAY)
    judge = told_and_cleared(place)
    judge.look(AGAIN)
    assert judge.limits.readings[-1].sums == {}


def test_a_budget_that_is_judged_by_no_more_ends_its_alerts(place: Place) -> None:
    judge = Judge(place, [USER, DAY])
    place.store([spent(f"r-{number}") for number in range(20)])
    assert len(judge.look()) == 2
    judge.go_by([DAY])
    (ended,) = judge.look()
    assert (ended.scope, ended.status, ended.revision) == ("budget=user,user=ann", "cleared", 2)
    assert ended.title == "user of user ann: judged by no rule any more, at 3.00 USD of 1.00 USD"
    judge.go_by([])
    assert [alert.scope for alert in judge.look()] == ["budget=day"]
    assert judge.look() == []


def test_who_takes_over_goes_on_from_the_alerts_that_are_told(place: Place) -> None:
    judge, later = Judge(place), Judge(place)
    place.store([spent(f"r-{number}") for number in range(20)])
    told = judge.look()
    assert told
    later.alerts = dict(judge.alerts)
    assert later.look(NOW + timedelta(seconds=5)) == []


def test_the_view_says_where_each_budget_stands_as_its_alert_does(place: Place) -> None:
    budgets = [replace(budget, zone=STEADY_ZONE) for budget in BUDGETS]
    use(place, budgets)
    place.store([spent(f"r-{number}") for number in range(7)] + [spent("x", model="nobody-knows")])
    place.store([spent("other", user_id="bob", session_id="", team="ads", tokens=MILLION // 3)])
    state(place.reader, place.warehouse.writer, budgets, Counted.by(budgets), now=NOW, kept=NOW.date())
    rows = place.frame("SELECT * FROM budget_status").to_dicts()
    by_scope = {(row["budget"], row["subject"]): row for row in rows}
    assert [row["budget"] for row in rows] == sorted(row["budget"] for row in rows)
    assert sorted(by_scope) == [
        *[("day", ""), ("limit", "user=ann"), ("limit", "user=bob"), ("session", "session=s-1")],
        *[("team", "team=search"), ("user", "user=ann"), ("user", "user=bob")],
        *[("won", "user=ann"), ("won", "user=bob")],
    ]
    judge = Judge(place, [budget for budget in budgets if budget.name != "won"])
    alerts = {alert.scope: alert for alert in judge.look()}
    assert len(alerts) == 3
    for (budget, subject), row in by_scope.items():
        alert = alerts.get(f"budget={budget}" + (f",{subject}" if subject else ""))
        assert row["level"] == (alert.level.value if alert else ""), (budget, subject)
        if alert:
            assert (row["spent"], row["ratio"], row["currency"]) == (alert.current_value, alert.ratio, "USD")
            assert (row["calls"], row["unpriced_calls"]) == (8, 1)
    ann = by_scope["user", "user=ann"]
    assert (f"{ann['spent']:f}", f"{ann['amount']:f}", f"{ann['ratio']:f}") == (
        *("1.050000000000", "1.000000000000"),
        "1.0500",
    )
    assert ann["period_end"] - ann["period_start"] == timedelta(days=1)
    assert by_scope["session", "session=s-1"]["period_start"] is None
    assert by_scope["session", "session=s-1"]["projected"] is None
    assert by_scope["won", "user=ann"]["spent"] is None, "no rate of it is published"


def test_who_tells_limits_hears_what_was_spent_from_the_lowest_step_or_limit_on(place: Place) -> None:
    judge = Judge(place, [replace(USER, refuse_at=Decimal("0.3"))])
    place.store([spent("a-1"), spent("a-2"), spent("b-1", user_id="bob")])
    judge.look()
    (reading,) = judge.limits.readings
    assert (reading.revision, reading.now, [budget.name for budget in reading.budgets]) == (7, NOW, ["user"])
    assert {account.subject: found.amount("USD", RATES) for account, found in reading.sums.items()} == {
        "user=ann": Fraction(3, 10)
    }


def test_who_tells_limits_hears_of_the_sums_that_it_asks_for_also_where_little_or_nothing_was_spent(
    place: Place,
) -> None:
    judge = Judge(place, [USER])
    place.store([spent("b-1", user_id="bob")])
    today = span_at(NOW, "day", "UTC").start
    accounts = {Account(USER.spending, f"user={name}", today) for name in ("bob", "carol")}
    judge.limits.wanted = accounts
    judge.look()
    (reading,) = judge.limits.readings
    assert reading.sums.keys() == accounts
    assert reading.sums[Account(USER.spending, "user=carol", today)] == Spend()


def test_who_tells_limits_hears_nothing_of_sums_that_are_not_whole_or_cannot_be_read(place: Place) -> None:
    judge = Judge(place, [USER], is_whole=False)
    judge.look()
    judge.is_whole, judge.fault = True, WarehouseRefused(where="nowhere", reason="too much")
    judge.look()
    assert judge.limits.readings == []
    judge.fault = None
    judge.look()
    assert len(judge.limits.readings) == 1
    judge.go_by([])
    judge.look()
    assert judge.limits.readings[-1].budgets == []


def test_who_tells_limits_may_wait_for_a_look_and_gets_one_in_the_interval(place: Place) -> None:
    judge = Judge(place, [USER])
    judge.look()
    assert not judge.rule.is_due(NOW + timedelta(seconds=1), judge.past)
    judge.limits.wants_reading = True
    assert not judge.rule.is_due(NOW + timedelta(seconds=0.9), judge.past)
    assert judge.rule.is_due(NOW + timedelta(seconds=1), judge.past)


def test_what_is_projected_is_the_spending_by_the_share_of_the_period_that_is_over(place: Place) -> None:
    day = replace(DAY, zone=STEADY_ZONE)
    use(place, [day])
    place.store([spent("r-1")])
    state(place.reader, place.warehouse.writer, [day], Counted.by([day]), now=NOW, kept=NOW.date())
    (row,) = place.frame("SELECT *, now('UTC') AS at FROM budget_status").to_dicts()
    share = (row["at"] - row["period_start"]) / timedelta(days=1)
    if share < 0.05:
        assert row["projected"] is None
    else:
        assert float(row["projected"]) == pytest.approx(0.15 / share, rel=1e-3)
