"""A worker judges by the newest revision of rules: taken over at its next look, and never by one it cannot read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest
import structlog

from costream.alerts import Alert
from costream.pricing import PICO
from costream.pricing.money import DayRates
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from stream.rule_revisions import LOOK, RuleRevisions
from stream.rulebook.entries import HourlySpike, UnknownPrice
from stream.rulebook.rulebook import Rulebook
from stream.up.broker import EmbeddedBroker
from stream.watch.series import HOUR
from stream.watch.watcher import Watcher
from tests.stream.test_unknown_price_worker import LOOKS_OFTEN, told
from tests.stream.test_unknown_price_worker import publish as send
from tests.support.ingest import Warehouse
from tests.support.rules import publish_rules, rules_of
from tests.support.warehouse import Embedded, Server
from tests.support.warehouse_rows import hourly
from tests.support.worker import TOPICS, WorkerProcess

NOON = datetime(2099, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def place(clickhouse_embedded: Embedded) -> Iterator[Warehouse]:
    address = clickhouse_embedded.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Asked:
    """How often the warehouse was asked; it may be away."""

    def __init__(self, reader: Reader, *, seconds: float = 0) -> None:
        """It takes so long to answer."""
        self._reader, self.address, self._seconds = reader, reader.address, seconds
        self.count, self.away = 0, False

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        self.count += 1
        time.sleep(self._seconds)
        if self.away:
            raise WarehouseUnavailable(where="nowhere", reason="away")
        return self._reader.frame(sql, **parameters)


def thresholds(rulebook: Rulebook) -> Sequence[Any]:
    return [rulebook.of(HourlySpike).threshold, rulebook.of(UnknownPrice).on]


def said(found: Callable[[], Sequence[Any]]) -> list[str]:
    return [str(one) for one in found()]


def revisions(reader: Any, clock: Clock) -> RuleRevisions:
    return RuleRevisions(reader, zone="UTC", rates=lambda: DayRates(()), clock=clock)


def of_thresholds(reader: Any, clock: Clock) -> Callable[[], Sequence[Any]]:
    return revisions(reader, clock).made(thresholds)


def test_a_revision_is_taken_over_at_the_next_look_and_rules_stay_the_same_list_until_then(place: Warehouse) -> None:
    clock = Clock()
    found = of_thresholds(place.reader, clock)
    shipped = found()
    assert said(found) == ["3.0", "True"]
    publish_rules(place, '[hourly_spike]\nthreshold = "5"')
    clock.now += LOOK - timedelta(microseconds=1)
    assert found() is shipped
    clock.now += timedelta(microseconds=1)
    taken = found()
    assert said(found) == ["5", "True"]
    clock.now += LOOK
    assert found() is taken
    publish_rules(place, "")
    clock.now += LOOK
    assert said(found)[0] == "3.0"


def test_rules_know_of_which_revision_they_are(place: Warehouse) -> None:
    clock = Clock()
    found = revisions(place.reader, clock)
    assert found.in_force().revision == 0
    publish_rules(place, '[hourly_spike]\nthreshold = "5"')
    publish_rules(place, "[hourly_spike]\nno_such_field = 1")
    clock.now += LOOK
    assert found.in_force().revision == 1, "the second cannot be read"


def test_whoever_asks_the_warehouse_is_asked_once_and_each_has_its_own_of_the_same_rules(place: Warehouse) -> None:
    publish_rules(place, '[hourly_spike]\nthreshold = "5"')
    clock, asked = Clock(), Asked(place.reader, seconds=0.3)
    found = revisions(asked, clock)
    askers = [found.made(thresholds), found.made(thresholds)]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            assert list(threads.map(said, askers)) == [["5", "True"]] * 2
    assert asked.count == 1
    assert askers[0]() is not askers[1]()


def test_until_the_warehouse_has_answered_rules_are_not_known(place: Warehouse) -> None:
    clock, asked = Clock(), Asked(place.reader)
    asked.away = True
    found = revisions(asked, clock)
    once_known = found.made_once_known(lambda rulebook: rulebook.revision)
    assert (found.in_force().revision, once_known()) == (0, None)
    asked.away = False
    clock.now += LOOK
    assert once_known() == 0
    asked.away = True
    clock.now += LOOK
    assert once_known() == 0, "what was known stays"


def test_a_worker_that_starts_knows_the_newest_at_its_first_look(place: Warehouse) -> None:
    publish_rules(place, "[unknown_price]\non = false")
    assert said(of_thresholds(place.reader, Clock())) == ["3.0", "False"]


def test_the_warehouse_is_asked_once_in_five_seconds_and_may_be_away(place: Warehouse) -> None:
    clock, asked = Clock(), Asked(place.reader)
    found = of_thresholds(asked, clock)
    for _ in range(41):
        found()
        clock.now += timedelta(seconds=0.25)
    assert asked.count == 3
    asked.away = True
    publish_rules(place, '[hourly_spike]\nthreshold = "5"')
    clock.now += LOOK
    assert said(found)[0] == "3.0"
    asked.away = False
    clock.now += LOOK
    assert said(found)[0] == "5"


def test_a_revision_that_this_build_cannot_read_changes_nothing_and_is_said_once(
    place: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    clock = Clock()
    found = of_thresholds(place.reader, clock)
    publish_rules(place, '[hourly_spike]\nthreshold = "5"')
    before = found()
    publish_rules(place, "[of_a_later_build]")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += LOOK
            assert found() is before
    (line,) = [record.getMessage() for record in caplog.records]
    assert "rules not understood" in line
    assert "own.toml: of_a_later_build: there is no such field" in line
    publish_rules(place, '[hourly_spike]\nthreshold = "7"')
    clock.now += LOOK
    assert said(found)[0] == "7"


def test_it_goes_by_the_newest_that_this_build_can_read_when_it_starts_too(
    place: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    for threshold in ("5", "6"):
        publish_rules(place, f'[hourly_spike]\nthreshold = "{threshold}"')
    for _ in range(2):
        publish_rules(place, "[of_a_later_build]")
    clock = Clock()
    found = of_thresholds(place.reader, clock)
    assert said(found)[0] == "6"
    publish_rules(place, '[hourly_spike]\nthreshold = "7"')
    publish_rules(place, "[of_a_later_build]")
    clock.now += LOOK
    assert said(found)[0] == "7"
    for _ in range(2):
        clock.now += LOOK
        assert said(found)[0] == "7"
    assert sum("rules not understood" in record.getMessage() for record in caplog.records) == 3, "each once"


# --- the watch -------------------------------------------------------------------------------------------------------


def test_what_another_threshold_makes_a_spike_is_told_at_the_next_look_and_taken_back_likewise(
    place: Warehouse,
) -> None:
    hours = [{"hour": NOON - HOUR * back, "cost_pico": PICO, "source": f"s-{back}"} for back in range(1, 30)]
    place.writer.insert("usage_hourly", hourly([*hours, {"hour": NOON, "cost_pico": 5 * PICO // 2, "source": "now"}]))
    clock, topic = Clock(), list[Alert]()
    clock.now = NOON + timedelta(minutes=59)
    revised = revisions(place.reader, clock).made(partial(rules_of, reader=place.reader))
    watcher = Watcher(rules=revised, reader=place.reader, writer=place.writer, publish=topic.extend, clock=clock)
    watcher.restore()

    def look() -> list[tuple[str, str]]:
        clock.now += LOOK
        return [(alert.rule, alert.status) for alert in watcher.tick()]

    assert look() == []
    publish_rules(place, '[hourly_spike]\nthreshold = "2"\nclear = "1.5"\n[hourly_anomaly]\non = false')
    assert look() == [("hourly_spike", "open")]
    publish_rules(place, "[hourly_spike]\non = false")
    assert look() == []
    publish_rules(place, "")
    assert look() == [("hourly_spike", "retracted")]


@pytest.mark.slow
def test_a_running_worker_judges_by_what_is_published(clickhouse_endpoint: Server) -> None:
    address = clickhouse_endpoint.fresh()
    with (
        EmbeddedBroker(TOPICS) as broker,
        closing(Reader(address)) as reader,
        closing(Writer(address)) as writer,
    ):
        place = Warehouse(reader, writer)
        publish_rules(place, "[unknown_price]\non = false")
        with WorkerProcess(broker.bootstrap_servers, address, prelude=LOOKS_OFTEN) as worker:
            worker.until(lambda: worker.log("rules taken over"), "the first revision is taken over", seconds=60)
            send(broker, 3, model="gpt-4o-mimi")
            stored = "SELECT count() AS calls FROM usage_events"
            worker.until(lambda: reader.frame(stored).item() == 3, "they are stored", seconds=60)
            assert told(broker) == []
            publish_rules(place, "")
            worker.until(lambda: told(broker), "the rule is on again, and it is told", seconds=60)
            assert worker.stop() == 0
