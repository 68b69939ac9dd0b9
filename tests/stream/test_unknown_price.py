"""A model without a price is an alert once, with its calls, the reason and the next step; restarts and floods too."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from costream.alerts import Alert, Level, episode_id, fault_of, json_schema
from costream.events import NAME_CHARS_MAX
from costream.pricing.reasons import REASONS, Reason
from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseRefused
from stream.watch.rules.rule import Past
from stream.watch.rules.unknown_price import OTHERS, Looked, UnknownPriceRule
from stream.watch.series import HOUR, MINUTE, hour_of
from stream.watch.unpriced import (
    DROPPED,
    NAMED_MAX,
    Mended,
    SoldModel,
    Unpriced,
    Volume,
    Why,
    lacking_in,
    reach_of,
    unpriced_hours,
    volumes,
)
from stream.watch.watcher import Watcher
from tests.support.properties import examples
from tests.support.rules import money_rules_of
from tests.support.warehouse import Embedded, Server, one_way_and_the_other
from tests.support.warehouse_rows import events, hourly

NOON = datetime(2099, 3, 2, 12, tzinfo=UTC)  # far ahead: what the real clock calls expired, the engine drops
HALF_PAST = NOON + HOUR / 2
DAY = timedelta(days=1)
DETAIL = "no price known for model 'aurora' of provider 'openai'; the nearest known is 'aurora-1'"
PRICED: Final[dict[str, Any]] = {"cost_pico": 10**12, "cost_status": "priced", "cost_reason": "", "cost_detail": ""}
UNKNOWN: Final[dict[str, Any]] = {
    "cost_pico": None,
    "cost_status": "unpriced",
    "cost_reason": "unknown_model",
    "cost_detail": DETAIL,
}
WITHOUT_USAGE: Final = UNKNOWN | {"cost_reason": "usage_missing", "cost_detail": "usage not reported"}


class Store:
    """The real engine. Each storing has a source of its own, so that what is stored adds up."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self._clients, self._reader, self._writer = Clients(address), Reader(address), Writer(address)
        self._number = itertools.count()
        self.empty()

    def empty(self) -> None:
        with self._clients.use() as client:
            for table in ("usage_events", "usage_hourly", "alerts"):
                client.command(f"TRUNCATE TABLE {rows_of(table)}")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuses = ""

    def close(self) -> None:
        for part in (self._reader, self._writer, self._clients):
            part.close()

    def frame(self, sql: str, **asked: Any) -> pl.DataFrame:
        self.asked.append((sql, asked))
        if self.refuses and self.refuses in sql:
            raise WarehouseRefused(where="test", reason="memory limit")
        return self._reader.frame(sql, **asked)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        return self._writer.insert(table, frame)

    def calls(self, calls: Sequence[dict[str, Any]]) -> None:
        source = f"stored-{next(self._number)}"
        self._writer.insert(
            "usage_events",
            events([{"request_id": f"{source}-{at}", "source": source} | call for at, call in enumerate(calls)]),
        )
        self._writer.insert("usage_hourly", hourly(_added_up(calls, source)))

    def read_hours(self) -> list[datetime]:
        """The hours that were read call by call."""
        return [datetime.fromtimestamp(asked["since"], UTC) for sql, asked in self.asked if "lacking_a_unit" in sql]


def _added_up(calls: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    sums = ("calls", "unpriced_calls", "input_tokens", "output_tokens", "cost_pico")
    for call in calls:
        key = {"hour": hour_of(call["occurred_at"]), "provider": call["provider"], "model": call["model"]}
        row = rows.setdefault(tuple(key.values()), key | {"source": source} | dict.fromkeys(sums, 0))
        row["calls"] += 1
        row["unpriced_calls"] += call["cost_status"] == "unpriced"
        row["input_tokens"] += call["input_tokens"]
        row["output_tokens"] += call["output_tokens"]
        row["cost_pico"] += call["cost_pico"] or 0
    return list(rows.values())


@pytest.fixture(scope="module")
def store(engine: Embedded | Server) -> Iterator[Store]:
    address = engine.fresh()
    store = Store(address)
    yield store
    store.close()


Start = Callable[..., "Stage"]


@pytest.fixture
def staged(store: Store) -> Start:
    """A stage of its own for a test: its options switch rules on or off."""
    return lambda **on: Stage(store, **on)


class Stage:
    """A warehouse, a topic, a clock, and a watch that can be started anew."""

    def __init__(self, store: Store, **on: bool) -> None:
        store.empty()
        self.store, self.topic, self.now = store, list[Alert](), HALF_PAST
        self.on = {"hourly_spike": False, "hourly_anomaly": False} | on
        self.start()

    def start(self, *, tail: Sequence[Alert] = ()) -> None:
        """A worker's turn begins. It reads the warehouse, and the ``tail`` of the topic."""
        rules = money_rules_of(self.store, **self.on)
        self.watcher = Watcher(
            rules=lambda: rules,
            reader=self.store,
            writer=self.store,
            publish=self.topic.extend,
            clock=lambda: self.now,
        )
        self.watcher.restore(tail)

    def call(self, at: datetime, *, model: str = "aurora", count: int = 1, tell: bool = True, **fields: Any) -> None:
        """Calls of 100 and 10 tokens are stored; a model that nobody knows unless the fields say otherwise."""
        usual = {"provider": "openai", "model": model, "occurred_at": at, "input_tokens": 100, "output_tokens": 10}
        self.store.calls([usual | UNKNOWN | fields] * count)
        if tell:
            self.watcher.notice([{"table": "usage_hourly", "hour": hour_of(at).isoformat()}])

    def at(self, now: datetime) -> list[tuple[str, str]]:
        """What is told when it is looked now."""
        self.now = now
        return [(alert.scope, alert.status) for alert in self.watcher.evaluate(now)]

    def looks(self, count: int) -> list[tuple[str, str]]:
        """What is told by so many looks, a minute apart."""
        return [each for _ in range(count) for each in self.at(self.now + MINUTE)]


OPEN, CLEARED = ("model=openai/aurora", "open"), ("model=openai/aurora", "cleared")


# --- one model -------------------------------------------------------------------------------------------------------


def test_a_model_without_a_price_is_told_with_its_calls_its_tokens_the_reason_and_what_to_do(staged: Start) -> None:
    stage = staged()
    stage.call(NOON - 3 * HOUR, count=2)
    stage.call(NOON + MINUTE)
    stage.call(NOON, model="known", **PRICED)
    assert stage.at(HALF_PAST) == [OPEN]
    (alert,) = stage.topic
    assert (alert.rule, alert.level, alert.metric_name) == ("unknown_price", Level.WARNING, "calls_without_price")
    assert (alert.current_value, alert.threshold_value, alert.unpriced_calls) == (Decimal(3), Decimal(0), 3)
    assert (alert.window_start, alert.window_end) == (NOON - 3 * HOUR, HALF_PAST)
    assert alert.metadata == {
        "first_window": "2099-03-02T09:00:00+00:00",
        "unit": "calls",
        "next": "costream prices coverage",
        "provider": "openai",
        "model": "aurora",
        "tokens": 330,
        "tokens_are_least": False,
        "cost_reason": "unknown_model",
        "cost_detail": DETAIL,
    }
    assert alert.title == "No price is known for openai aurora"
    assert alert.message.startswith(
        "Since 09:00 UTC on 2099-03-02 3 calls of openai aurora, with 330 tokens, came without a price: no price known "
        "for model 'aurora' of provider 'openai'; the nearest known is 'aurora-1'. What they cost is not known"
    )
    assert alert.message.endswith("`costream prices coverage` shows all that has no price.")
    Draft202012Validator(json_schema()).validate(json.loads(alert.to_json()))
    assert fault_of(alert) == ""


def test_it_is_told_once_however_often_it_is_called_and_looked_at(staged: Start) -> None:
    stage = staged()
    stage.call(NOON)
    assert stage.at(HALF_PAST) == [OPEN]
    for hours in range(1, 30, 4):
        stage.call(HALF_PAST + hours * HOUR, count=hours)
        assert stage.at(HALF_PAST + hours * HOUR + MINUTE) == []


@pytest.mark.parametrize("known_by", ["the warehouse", "the topic"])
def test_a_worker_that_takes_over_does_not_tell_it_again(staged: Start, known_by: str) -> None:
    stage = staged()
    stage.call(NOON)
    stage.at(HALF_PAST)
    if known_by == "the topic":  # the worker ended between publishing and storing
        topic = stage.topic
        stage = Stage(stage.store)
        stage.call(NOON)
        stage.start(tail=topic)
    else:
        stage.start()
    stage.call(HALF_PAST, count=9)
    assert stage.looks(3) == []
    assert stage.at(NOON + 30 * HOUR) == []


def test_a_model_called_by_another_provider_is_another(staged: Start) -> None:
    stage = staged()
    stage.call(NOON)
    stage.at(HALF_PAST)
    stage.call(NOON, provider="azure")
    assert stage.at(HALF_PAST + MINUTE) == [("model=azure/aurora", "open")]


# --- which reasons count ---------------------------------------------------------------------------------------------

LACK_A_PRICE: Final = {
    *("unknown_provider", "unknown_model", "no_price_at_that_time", "no_rate", "quantity_unpriced"),
    "no_exchange_rate",
}


@pytest.mark.parametrize("reason", [reason for reason in Reason if REASONS[reason][0].startswith("unpriced")] + ["?"])
def test_only_what_a_price_would_mend_is_told(staged: Start, reason: str) -> None:
    stage = staged()
    stage.call(NOON, cost_reason=str(reason))
    assert stage.at(HALF_PAST) == ([OPEN] if reason in LACK_A_PRICE else [])


def test_of_the_reasons_that_leave_a_call_unpriced_each_is_one_or_the_other() -> None:
    unpriced = {str(reason) for reason, (status, _) in REASONS.items() if "unpriced" in status}
    assert unpriced - LACK_A_PRICE == {"usage_missing", "usage_contradictory", "cost_too_large"}


def test_a_unit_without_a_price_is_no_matter_while_other_calls_of_the_model_have_one(staged: Start) -> None:
    stage = staged()
    stage.call(NOON, model="both", cost_reason="quantity_unpriced")
    stage.call(NOON, model="both", **PRICED)
    stage.call(NOON, model="unit alone", cost_reason="quantity_unpriced")
    stage.call(NOON, model="unit alone", **WITHOUT_USAGE)
    assert stage.at(HALF_PAST) == [("model=openai/unit alone", "open")]


def test_a_call_that_was_priced_anew_does_not_lack_a_price(staged: Start) -> None:
    stage = staged()
    stage.call(NOON, **WITHOUT_USAGE)
    usual = {"provider": "openai", "model": "aurora", "occurred_at": NOON, "request_id": "again", "source": "s"}
    for number, cost in enumerate((UNKNOWN, PRICED)):
        stage.store.insert("usage_events", events([usual | cost | {"price_rev": number}]))
    stage.store.insert("usage_hourly", hourly([usual | {"hour": NOON, "unpriced_calls": 0}]))
    assert stage.at(HALF_PAST) == []


def test_what_clients_report_to_have_dropped_is_no_model(staged: Start) -> None:
    stage = staged()
    stage.call(NOON, provider="costream", model="dropped-events", cost_reason="unknown_provider")
    assert stage.at(HALF_PAST) == []
    assert stage.store.read_hours() == [], "for their sake no single call is read"
    stage.call(NOON, **WITHOUT_USAGE)
    assert stage.looks(1) == []
    assert stage.store.read_hours() == [NOON]


def test_where_some_calls_have_a_price_of_their_own_the_tokens_of_the_others_are_told_as_the_least(
    staged: Start,
) -> None:
    stage = staged()
    stage.call(NOON - HOUR, count=2)
    mixed = [{"cost_pico": None}, PRICED]
    usual = {"provider": "openai", "model": "aurora", "occurred_at": NOON, "input_tokens": 100, "output_tokens": 10}
    stage.store.calls([usual | UNKNOWN | each for each in mixed])
    assert stage.at(HALF_PAST) == [OPEN]
    assert "3 calls of openai aurora, with at least 220 tokens, came without a price" in stage.topic[0].message
    assert stage.topic[0].metadata["tokens_are_least"] is True


# --- when it is over -------------------------------------------------------------------------------------------------


def told_at_noon(staged: Start) -> Stage:
    stage = staged()
    stage.call(NOON, count=2)
    assert stage.at(HALF_PAST) == [OPEN]
    return stage


def test_it_is_over_after_a_clock_hour_in_which_its_calls_had_a_price(staged: Start) -> None:
    stage = told_at_noon(staged)
    stage.call(HALF_PAST, **PRICED)
    stage.call(NOON + HOUR, **PRICED)
    assert stage.at(NOON + HOUR * 1.5) == [], "of the hour at noon some had none, and the next is not over"
    stage.store.asked.clear()
    assert stage.at(NOON + HOUR * 2) == [CLEARED]
    assert stage.store.read_hours() == [], "the rollups say it: no single call is read"
    alert = stage.topic[-1]
    assert (alert.revision, alert.current_value, alert.unpriced_calls) == (2, Decimal(2), 2)
    assert alert.title == "A price is known for openai aurora"
    assert alert.message == (
        "None of its calls has lacked one since 13:00 UTC on 2099-03-02. 2 calls of the last 7 days stay without a"
        " cost: what is stored keeps what it got."
    )
    assert stage.at(NOON + HOUR * 3) == []
    stage.start()
    assert stage.at(NOON + HOUR * 3) == []


def test_it_is_not_over_while_calls_without_a_price_come_beside_those_with_one(staged: Start) -> None:
    stage = told_at_noon(staged)
    for hours in (1, 2):
        stage.call(NOON + HOUR * hours, **PRICED)
        stage.call(NOON + HOUR * hours)
    assert stage.at(NOON + HOUR * 3) == []


def test_it_is_not_over_where_the_hour_that_runs_has_a_call_without_a_price(staged: Start) -> None:
    stage = told_at_noon(staged)
    stage.call(NOON + HOUR, **PRICED)
    stage.call(NOON + HOUR * 2)
    assert stage.at(NOON + HOUR * 2 + MINUTE) == []


def test_calls_whose_usage_is_missing_do_not_keep_it_open(staged: Start) -> None:
    stage = told_at_noon(staged)
    for hours in (1, 2):
        stage.call(NOON + HOUR * hours, **PRICED)
        stage.call(NOON + HOUR * hours, **WITHOUT_USAGE)
    assert stage.at(NOON + HOUR * 2 + MINUTE) == [CLEARED]


def test_it_is_over_when_it_was_not_called_without_a_price_for_a_week(staged: Start) -> None:
    stage = told_at_noon(staged)
    last = datetime(2099, 3, 8, 23, 59, tzinfo=UTC)  # the day of the call is the first of the seven
    assert stage.at(last) == []
    assert stage.at(last + MINUTE) == [CLEARED]
    assert stage.topic[-1].title == "No call of openai aurora lacks a price any more"
    assert stage.topic[-1].current_value == stage.topic[-1].unpriced_calls == 0


def test_one_that_flaps_is_told_again_after_a_week_and_not_before(staged: Start) -> None:
    stage = told_at_noon(staged)
    stage.call(NOON + HOUR, **PRICED)
    assert stage.at(NOON + HOUR * 2) == [CLEARED]
    for hours in range(2, 7 * 24, 15):
        stage.call(NOON + HOUR * hours)
        stage.call(NOON + HOUR * (hours + 1), **PRICED)
        assert stage.at(NOON + HOUR * (hours + 1)) == []
    week = NOON + HOUR * 2 + 7 * DAY
    stage.call(week - MINUTE)
    assert stage.at(week) == []
    stage.call(week)
    assert stage.at(week + MINUTE) == [OPEN]
    first, _, again = stage.topic
    assert (again.revision, again.alert_id == first.alert_id) == (1, False)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_of_many_names_so_many_are_told_and_how_many_more_there_are(staged: Start) -> None:
    stage = staged()
    count = NAMED_MAX + 40
    usual = {"provider": "openai", "occurred_at": NOON, "input_tokens": 1, "output_tokens": 0}
    names = [f"invented-{number:06}" for number in range(count)]
    stage.store.calls([usual | UNKNOWN | {"model": name} for name in names])
    stage.call(NOON, model="often", count=3)
    told = stage.at(HALF_PAST)
    assert told[0] == ("model=openai/often", "open"), "those with the most calls first"
    assert told == [
        ("model=openai/often", "open"),
        *((f"model=openai/{name}", "open") for name in names[: NAMED_MAX - 1]),
        (OTHERS, "open"),
    ]
    others = stage.topic[-1]
    assert (others.current_value, others.metric_name, others.metadata["unit"]) == (
        Decimal(41),
        "models_without_price",
        "models",
    )
    assert others.title == "No price is known for 41 more models"
    at = f"{others.timestamp:%H:%M} UTC on {others.timestamp:%Y-%m-%d}"
    assert others.message.startswith(f"At {at} 41 more models had calls without a price. At most 100 are told of by")
    Draft202012Validator(json_schema()).validate(json.loads(others.to_json()))
    assert fault_of(others) == ""

    stage.call(NOON, model="one more")
    assert stage.looks(2) == [], "42 are not twice as many"
    stage.start()
    assert stage.looks(2) == []
    stage.store.calls([usual | UNKNOWN | {"model": f"later-{number}"} for number in range(count)])
    stage.watcher.notice([{"table": "usage_hourly", "hour": NOON.isoformat()}])
    assert stage.looks(2) == [(OTHERS, "updated")]
    assert (stage.topic[-1].revision, stage.topic[-1].current_value) == (2, Decimal(182))


@pytest.mark.slow
def test_a_hundred_thousand_names_are_a_hundred_alerts_and_one(staged: Start) -> None:
    stage = staged()
    usual = {"provider": "openai", "occurred_at": NOON, "input_tokens": 1, "output_tokens": 0}
    stage.store.calls([usual | UNKNOWN | {"model": f"invented-{number}"} for number in range(100_000)])
    assert len(stage.at(HALF_PAST)) == NAMED_MAX + 1
    assert stage.topic[-1].current_value == 100_000 - NAMED_MAX
    assert stage.looks(3) == []
    assert max(len(asked["models"]) for _, asked in stage.store.asked if "models" in asked) <= NAMED_MAX + 1


def unpriced(name: str, calls: int = 1) -> Unpriced:
    return Unpriced(SoldModel("p", name), Volume(calls, 9, False, NOON), Why("unknown_model", "none"))


def looked(names: Sequence[str], *, count: int | None = None) -> Looked:
    return Looked([unpriced(name) for name in names], count or len(names), NOON, {})


def test_what_has_ended_lately_takes_a_place_and_the_others_are_named_when_places_are_free() -> None:
    rule = UnknownPriceRule(reader=Store.__new__(Store), is_on=True)
    opened = rule.judge(looked([f"m{number}" for number in range(NAMED_MAX)], count=NAMED_MAX + 5), {}, HALF_PAST)
    known = {alert.alert_id: alert for alert in opened}
    assert [alert.scope for alert in opened[-2:]] == ["model=p/m99", OTHERS]
    ended = {"status": "cleared", "window_end": HALF_PAST, "revision": 2}
    known |= {alert.alert_id: alert.model_copy(update=ended) for alert in opened[:-1]}
    week = HALF_PAST + 7 * DAY
    assert rule.judge(looked(["new"]), known, week) == [], "it is one of the others that were told of"
    later = rule.judge(looked(["new"]), known, week + MINUTE)
    assert [(alert.scope, alert.status) for alert in later] == [("model=p/new", "open"), (OTHERS, "cleared")]
    worded = rule.word(later[-1], looked(["new"]))
    assert worded.title == "Every model without a price is named again"


def test_the_alert_about_the_others_takes_no_place() -> None:
    rule = UnknownPriceRule(reader=Store.__new__(Store), is_on=True)
    opened = rule.judge(looked([f"m{number}" for number in range(NAMED_MAX)], count=NAMED_MAX + 5), {}, HALF_PAST)
    known = {alert.alert_id: alert for alert in opened[1:]}
    news = rule.judge(looked(["new"]), known, HALF_PAST)
    assert [(alert.scope, alert.status) for alert in news] == [("model=p/new", "open")]


class Calm:
    """A warehouse in which nothing was called."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()  # providers and models

    def frame(self, _sql: str, **asked: Any) -> pl.DataFrame:
        self.asked |= set(zip(asked["providers"], asked["models"], strict=True))
        return pl.DataFrame()


def test_the_alert_about_the_others_is_no_model_that_is_asked_for() -> None:
    calm = Calm()
    rule = UnknownPriceRule(reader=calm, is_on=True)
    opened = rule.judge(looked([f"m{number}" for number in range(NAMED_MAX)], count=NAMED_MAX + 5), {}, HALF_PAST)
    assert [alert.scope for alert in opened[-2:]] == ["model=p/m99", OTHERS]
    found = rule.read(HALF_PAST, Past(), opened[-2:])
    assert found is not None
    assert found.mended == {"model=p/m99": Mended(None, 0)}
    assert calm.asked == {("p", "m99"), DROPPED}


def test_judging_the_same_twice_says_nothing_the_second_time() -> None:
    rule = UnknownPriceRule(reader=Store.__new__(Store), is_on=True)
    reading = looked([f"m{number}" for number in range(NAMED_MAX + 20)])
    first = rule.judge(reading, {}, HALF_PAST)
    assert len(first) == NAMED_MAX + 1
    assert rule.judge(reading, {alert.alert_id: alert for alert in first}, HALF_PAST) == []
    assert first[0].alert_id == episode_id(rule="unknown_price", scope="model=p/m0", first_window=NOON)


def test_a_look_reads_two_hours_call_by_call_and_comes_to_all_of_them(staged: Start) -> None:
    stage = staged()
    for back in range(6):
        stage.call(NOON - HOUR * back, model=f"m{back}", tell=False)
        stage.call(NOON - HOUR * back, model="quiet", tell=False, **WITHOUT_USAGE)
    told: list[str] = []
    for _ in range(3):
        stage.store.asked.clear()
        told += [scope for scope, _ in stage.looks(1)]
        assert len(stage.store.read_hours()) == 2
        stage.call(NOON, model="quiet", **WITHOUT_USAGE)
    told += [scope for scope, _ in stage.looks(3)]
    assert told == [f"model=openai/m{back}" for back in range(6)]
    stage.store.asked.clear()
    assert stage.looks(2) == []
    assert stage.store.read_hours() == [], "nothing has changed"


def test_an_hour_that_was_never_looked_at_does_not_wait_for_those_that_go_on_changing(staged: Start) -> None:
    stage = staged()
    running = (NOON, NOON - HOUR)
    for hour in running:
        stage.call(hour, model="quiet", **WITHOUT_USAGE)
    assert stage.at(HALF_PAST) == []
    for hour in running:
        stage.call(hour, model="quiet", **WITHOUT_USAGE)
    stage.call(NOON - 5 * HOUR)
    assert stage.looks(1) == [OPEN]


def test_those_that_stand_are_looked_at_once_in_a_clock_hour(staged: Start) -> None:
    stage = told_at_noon(staged)
    stage.start()
    stage.store.asked.clear()
    for now in (HALF_PAST, HALF_PAST + MINUTE, NOON + HOUR - MINUTE, NOON + HOUR):
        stage.at(now)
    assert sum("called_at" in sql for sql, _ in stage.store.asked) == 2


def test_an_hour_in_which_only_models_that_were_told_of_lack_a_price_is_not_read_call_by_call(staged: Start) -> None:
    stage = told_at_noon(staged)
    stage.store.asked.clear()
    stage.call(HALF_PAST)
    assert stage.looks(2) == []
    assert stage.store.read_hours() == []


def test_what_comes_late_for_an_hour_in_reach_is_told_and_what_is_older_is_not(staged: Start) -> None:
    stage = staged()
    assert stage.at(HALF_PAST) == []
    first = reach_of(HALF_PAST)
    stage.call(first - MINUTE, model="too old")
    stage.call(first, model="late")
    assert stage.looks(1) == [("model=openai/late", "open")]


def test_what_the_rollups_do_not_have_yet_is_told_when_they_do(staged: Start) -> None:
    stage = staged()
    stage.call(NOON, model="other", **WITHOUT_USAGE)
    usual = {"provider": "openai", "model": "aurora", "occurred_at": NOON, "input_tokens": 1, "output_tokens": 0}
    stage.store.insert("usage_events", events([usual | UNKNOWN | {"request_id": "early"}]))
    assert stage.at(HALF_PAST) == []
    stage.store.insert("usage_hourly", hourly(_added_up([usual | UNKNOWN], "early")))
    assert stage.looks(1) == [OPEN]


# --- beside the other rules ------------------------------------------------------------------------------------------


def test_a_warehouse_that_refuses_its_questions_still_answers_the_other_rules(staged: Start) -> None:
    stage = staged(hourly_spike=True)
    stage.store.refuses = "lacking_a_unit"
    for back in range(1, 30):
        stage.call(NOON - HOUR * back, model="known", tell=False, **PRICED)
    stage.call(NOON, model="known", count=5, **PRICED)
    stage.call(NOON)
    assert stage.at(HALF_PAST) == [("system", "open")]
    stage.store.refuses = ""
    assert stage.looks(1) == [OPEN], "what it could not read it reads at the next look"


def test_switched_off_it_asks_nothing_and_says_nothing(staged: Start) -> None:
    stage = staged(unknown_price=False)
    stage.call(NOON)
    stage.store.asked.clear()
    assert stage.at(HALF_PAST) == []
    of_budgets = ("budget_spend_rows", "FROM usage_hourly AS u")  # what was spent of them, and what will be
    assert all(any(table in sql for table in of_budgets) for sql, _ in stage.store.asked)


def test_it_looks_at_once_in_a_new_turn_and_then_once_a_minute() -> None:
    rule = UnknownPriceRule(reader=Store.__new__(Store), is_on=True)
    assert rule.is_due(NOON, Past())
    changed = frozenset({NOON})
    assert not rule.is_due(NOON + MINUTE - timedelta(milliseconds=1), Past(NOON, changed=changed))
    assert rule.is_due(NOON + MINUTE, Past(NOON))
    assert not rule.is_due(NOON + MINUTE / 2, Past(NOON, failed=True))


# --- names -----------------------------------------------------------------------------------------------------------


@examples(200)
@given(st.tuples(st.text(alphabet="ab/%2F5", max_size=9), st.text(alphabet="ab/%2F5", max_size=9)))
def test_a_scope_is_of_one_provider_and_one_model(names: tuple[str, str]) -> None:
    assert SoldModel.of(SoldModel(*names).scope) == SoldModel(*names)


@pytest.mark.parametrize("way", one_way_and_the_other)
def test_the_longest_and_oddest_names_travel_to_the_warehouse_and_back(
    request: pytest.FixtureRequest, way: Any
) -> None:
    """As many as can be told of, each as long as a name can be, so that the questions are as long as they can be."""
    warehouse: Embedded | Server = request.getfixturevalue(way)
    address = warehouse.fresh()
    store = Store(address)
    try:
        marks = ["'", "\\", "%", "𝄞", "東", '"', "{x:String}", "') OR 1=1 --"]
        names = [SoldModel(_filled(marks[at % 8], at), _filled(marks[at // 8 % 8], at)) for at in range(NAMED_MAX)]
        usual = {"occurred_at": NOON, "input_tokens": 1, "output_tokens": 0} | UNKNOWN
        store.calls([usual | name._asdict() for name in names])
        store.calls([usual | {"provider": "p", "model": "m"}])
        assert set(volumes(store, names, since=NOON)) == set(names)
        assert unpriced_hours(store, since=NOON, only=None, told=names) == {NOON: NAMED_MAX + 1}
        assert unpriced_hours(store, since=NOON, only=None, told=[*names, SoldModel("p", "m")]) == {}
        assert set(lacking_in(store, NOON, told=names).models) == {SoldModel("p", "m")}
        assert set(lacking_in(store, NOON, only=names).models) == set(names)
    finally:
        store.close()


def _filled(mark: str, number: int) -> str:
    return (mark * NAME_CHARS_MAX)[: NAME_CHARS_MAX - 3] + f"{number:03}"


def test_what_steers_a_terminal_is_spelled_out_in_its_words() -> None:
    rule = UnknownPriceRule(reader=Store.__new__(Store), is_on=True)
    name = "m\u202e\x1b[2J"
    reading = Looked(
        [Unpriced(SoldModel("p", name), Volume(1, 0, False, NOON), Why("unknown_model", f"none for {name}"))],
        1,
        NOON,
        {},
    )
    (alert,) = rule.judge(reading, {}, HALF_PAST)
    said = rule.word(alert, reading)
    assert said.title == r"No price is known for p m\u{202e}\u{1b}[2J"
    assert "\x1b" not in said.message and "\u202e" not in said.message
