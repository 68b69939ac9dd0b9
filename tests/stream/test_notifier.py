"""Alerts reach people once: over restarts, crashes and outages of the warehouse and of a channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert
from costream.pricing.money import DayRates
from sinks.clickhouse.acts import ACTS, Act, act_rows
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from stream.notify.ledger import Ledger
from stream.notify.notifier import Notifier
from stream.notify.receivers import Receivers
from stream.notify.secrets import Secrets
from stream.rulebook.rulebook import load
from stream.runtime.telemetry import Telemetry
from tests.support.ingest import Warehouse
from tests.support.receivers import HttpReceiver
from tests.support.records import until
from tests.support.told import alert
from tests.support.warehouse import Embedded

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Flaky:
    """A warehouse that may be away."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self.away = self.takes_nothing = False
        self.address = reader.address

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        self._require()
        return self._reader.frame(sql, **parameters)

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        if self.takes_nothing:
            raise WarehouseUnavailable(where="here", reason="it takes nothing")
        self._require()
        return self._writer.insert(table, frame)

    def _require(self) -> None:
        if self.away:
            raise WarehouseUnavailable(where="here", reason="it is away")


class Team:
    """A worker's notifier with its rules, its clock, its topic and two receivers on loopback."""

    def __init__(self, place: Warehouse, one: HttpReceiver, two: HttpReceiver, folder: Path) -> None:
        self.place, self.one, self.two = place, one, two
        self.flaky = Flaky(place.reader, place.writer)
        self.now, self.turn = START, 1
        self.topic: list[Alert] = []
        self.environment: dict[str, str] = {}
        self.asked, self.rules_are_known = 0, True
        self.folder = folder
        self.rules(one=one.url, two=two.url)
        self.telemetry = Telemetry()
        self.begin()

    def rules(self, more: str = "", **urls: str) -> None:
        text = "".join(f'[[channel.webhook]]\nname = "{name}"\nurl = "{url}"\n' for name, url in urls.items()) + more
        self.in_force = Receivers.of(load({"f": text} if text else {}, zone="UTC", rates=DayRates(())))

    def begin(self) -> None:
        """Another worker's, with nothing in memory."""
        self.notifier = Notifier(
            turn=lambda: self.turn,
            receivers=self._receivers,
            published=lambda: list(self.topic),
            ledger=Ledger(self.flaky, self.flaky),  # type: ignore[arg-type]
            secrets=Secrets(self.environment, self.folder),
            dashboard="",
            telemetry=self.telemetry,
            clock=lambda: self.now,
        )
        self.notifier.tick()

    def _receivers(self) -> Receivers | None:
        self.asked += 1
        return self.in_force if self.rules_are_known else None

    def publish(self, *alerts: Alert) -> None:
        self.topic += alerts
        self.notifier.hear(alerts)

    def ticks(self, condition: Callable[[], Any] | None = None, *, after: timedelta = timedelta(seconds=6)) -> None:
        """Until it holds, or until nothing is under way any more."""
        self.now += after

        def holds() -> bool:
            self.notifier.tick()
            return bool(condition()) if condition else not self.notifier._under_way

        until(holds, "it is told", seconds=20)
        self.notifier.tick()

    def channels(self) -> list[tuple[str, int]]:
        return self.place.reader.frame("SELECT channel, is_on FROM alert_channels ORDER BY channel").rows()

    def ledger(self) -> list[tuple[Any, ...]]:
        asked = "SELECT channel, alert_id, revision, outcome, toInt64(attempts) FROM alert_deliveries ORDER BY ALL"
        return self.place.reader.frame(asked).rows()


@pytest.fixture
def team(clickhouse_embedded: Embedded, tmp_path: Path) -> Iterator[Team]:
    address = clickhouse_embedded.fresh()
    with (
        closing(Reader(address)) as reader,
        closing(Writer(address)) as writer,
        HttpReceiver() as one,
        HttpReceiver() as two,
    ):
        yield Team(Warehouse(reader, writer), one, two, tmp_path)


def got(receiver: HttpReceiver) -> list[tuple[str, int]]:
    return [(posted.json["alert_id"], posted.json["revision"]) for posted in receiver.got]


def test_each_channel_is_told_once_and_the_ledger_has_it(team: Team) -> None:
    team.publish(alert("a"))
    team.ticks(lambda: team.one.got and team.two.got)
    team.ticks()
    assert got(team.one) == got(team.two) == [("a", 1)]
    assert team.ledger() == [("one", "a", 1, "delivered", 1), ("two", "a", 1, "delivered", 1)]


def test_another_worker_repeats_nothing_and_sends_what_was_left(team: Team) -> None:
    team.publish(alert("a"))
    team.ticks(lambda: team.one.got and team.two.got)
    team.ticks()
    team.topic.append(alert("b", scope="s"))  # published right before the crash
    team.turn = 2
    team.begin()
    team.ticks(lambda: len(team.one.got) == 2 and len(team.two.got) == 2)
    team.ticks()
    assert got(team.one) == got(team.two) == [("a", 1), ("b", 1)]


def test_a_crash_between_a_message_and_the_ledger_repeats_one_message_of_each_channel(team: Team) -> None:
    team.publish(*(alert(f"a{number}", scope=str(number)) for number in range(3)))
    team.notifier.tick()  # the first of each is being sent
    until(lambda: team.one.got and team.two.got, "they are sent", seconds=10)
    team.turn = 2
    team.begin()  # and nobody has noted it
    team.ticks(lambda: len(team.one.got) == 4 and len(team.two.got) == 4)
    team.ticks()
    for receiver in (team.one, team.two):
        assert sorted(got(receiver)) == [("a0", 1), ("a0", 1), ("a1", 1), ("a2", 1)]
        keys = [posted.headers["Idempotency-Key"] for posted in receiver.got]
        assert len(set(keys)) == 3, "what is repeated says so"


def test_while_the_warehouse_is_away_alerts_are_told_and_noted_later(team: Team) -> None:
    team.flaky.away = True
    team.publish(alert("stall", rule="stall"))
    team.ticks(lambda: team.one.got)
    team.publish(alert("stall", 2, status="cleared", rule="stall"))
    team.ticks(lambda: len(team.one.got) == 2)
    team.flaky.away = False
    team.ticks(after=timedelta(seconds=20))
    assert ("one", "stall", 2, "delivered", 1) in team.ledger()
    team.turn = 2
    team.begin()
    team.ticks()
    assert len(team.one.got) == 2


def test_a_worker_that_begins_in_an_outage_sends_what_it_publishes_and_the_rest_afterwards(team: Team) -> None:
    team.publish(alert("a"))
    team.ticks(lambda: team.one.got and team.two.got)
    team.ticks()
    team.topic.append(alert("b", scope="left"))
    team.flaky.away, team.turn = True, 2
    team.begin()
    team.publish(alert("c", scope="new", timestamp=team.now))
    team.ticks(lambda: len(team.one.got) == 2)
    assert got(team.one) == [("a", 1), ("c", 1)]
    team.flaky.away = False
    team.ticks(lambda: len(team.one.got) == 3 and len(team.two.got) == 3, after=timedelta(seconds=20))
    team.ticks()
    assert got(team.one) == got(team.two) == [("a", 1), ("c", 1), ("b", 1)]


def test_who_may_take_over_in_an_outage_looks_at_the_channels_before(team: Team) -> None:
    team.turn = None  # type: ignore[assignment]
    team.ticks()
    asked = team.asked
    team.ticks()
    assert team.asked > asked


def test_while_the_rules_are_not_known_no_channel_is_off(team: Team) -> None:
    team.ticks()
    team.topic.append(alert("left"))
    team.turn, team.rules_are_known = 2, False
    team.begin()
    team.ticks()
    assert team.place.reader.frame("SELECT is_on FROM alert_channels").rows() == [(1,), (1,)]
    team.rules_are_known = True
    team.ticks(lambda: team.one.got and team.two.got)


def test_a_failure_that_nobody_has_thought_of_ends_nothing_and_repeats_nothing(team: Team) -> None:
    team.publish(alert("a"))
    team.ticks(lambda: team.one.got and team.two.got)
    team.ticks()
    team.turn = 2
    team.topic.append(None)  # type: ignore[arg-type]
    team.ticks()
    team.publish(alert("b", scope="s", timestamp=team.now))
    team.topic.remove(None)  # type: ignore[arg-type]
    team.ticks()
    assert len(team.one.got) == 1
    team.ticks(lambda: len(team.one.got) == 2 and len(team.two.got) == 2, after=timedelta(minutes=1))
    team.ticks()
    assert got(team.one) == got(team.two) == [("a", 1), ("b", 1)]


def test_what_is_under_way_when_the_ledger_comes_back_is_not_sent_twice(team: Team) -> None:
    team.ticks()
    team.flaky.away, team.turn = True, 2
    team.begin()
    team.one.does = "hang"
    team.publish(alert("a", timestamp=team.now))
    team.notifier.tick()
    until(lambda: team.one.asked and team.two.got, "it is being sent", seconds=10)
    team.flaky.away = False
    team.now += timedelta(seconds=20)
    for _ in range(5):
        team.notifier.tick()
    assert team.one.asked == 1
    team.one.does = 200
    team.one.let_go()
    team.ticks()
    team.ticks(lambda: team.one.got, after=timedelta(seconds=20))
    team.ticks()
    assert (got(team.one), got(team.two)) == ([("a", 1)], [("a", 1)])


def test_a_channel_begins_when_it_was_seen_first_though_that_could_not_be_written_down_yet(team: Team) -> None:
    team.flaky.takes_nothing = True
    team.rules(one=team.one.url, late=team.two.url)
    team.ticks()
    team.topic.append(alert("left", timestamp=team.now))
    team.now, team.turn = team.now + MINUTE, 2
    team.ticks(lambda: team.two.got)
    assert got(team.two) == [("left", 1)]


def test_the_end_writes_down_at_once_what_the_warehouse_did_not_take_before(team: Team) -> None:
    team.ticks()
    team.flaky.away = True
    team.publish(alert("a"))
    team.ticks(lambda: team.one.got and team.two.got)
    team.flaky.away = False
    team.notifier.finish(seconds=5)
    assert len(team.ledger()) == 2


def test_a_channel_that_hangs_or_fails_delays_no_other(team: Team) -> None:
    team.two.does = "hang"
    team.publish(*(alert(f"a{number}", scope=str(number)) for number in range(5)))
    team.ticks(lambda: len(team.one.got) == 5)
    assert team.two.asked == 1
    assert not team.two.got


def test_a_receiver_that_never_comes_to_an_end_does_not_keep_its_channel(team: Team) -> None:
    threads = threading.active_count()
    team.one.does = "hang"
    team.publish(alert("a"))
    team.notifier.tick()
    until(lambda: team.one.asked and team.two.got, "it is being sent", seconds=10)
    team.one.does = 200
    team.ticks(after=timedelta(minutes=1))
    team.ticks(lambda: team.one.got)
    team.ticks()
    asked = "SELECT outcome, reason FROM alert_deliveries_rows WHERE channel = 'one' ORDER BY attempt"
    rows = [("failed", "it was not over after 60 s"), ("delivered", "")]
    assert team.place.reader.frame(asked).rows() == rows
    team.one.let_go()
    until(lambda: threading.active_count() <= threads, "the thread that was given up ends", seconds=20)
    team.ticks()
    assert team.place.reader.frame(asked).rows() == rows, "and what it says is no news any more"
    team.publish(alert("next", scope="s", timestamp=team.now))
    team.ticks(lambda: len(team.one.got) == 2, after=timedelta(seconds=1))


def test_what_fails_is_tried_again_and_counted(team: Team) -> None:
    team.one.does = 500
    team.publish(alert("a"))
    team.ticks(lambda: team.one.asked == 1 and team.two.got)
    team.one.does = 200
    team.ticks(lambda: team.one.got)
    team.ticks()
    assert ("one", "a", 1, "delivered", 2) in team.ledger()
    counted = team.telemetry.registry.get_sample_value
    assert counted("costream_alert_deliveries_total", {"channel": "one", "outcome": "failed"}) == 1
    assert counted("costream_alert_deliveries_total", {"channel": "one", "outcome": "delivered"}) == 1
    assert counted("costream_alert_deliveries_waiting", {"channel": "one"}) == 0


def test_nothing_is_sent_out_of_turn(team: Team) -> None:
    team.turn = None  # type: ignore[assignment]
    team.publish(alert("a"))
    team.ticks()
    assert not team.one.asked
    team.turn = 2
    team.ticks(lambda: team.one.got)


def test_a_new_channel_is_told_what_comes_from_now_on_and_one_that_is_off_nothing(team: Team) -> None:
    team.publish(alert("before"))
    team.rules(one=team.one.url)
    team.ticks(lambda: team.one.got)
    team.publish(alert("off", scope="off", timestamp=team.now))
    team.ticks(lambda: len(team.one.got) == 2)
    assert team.channels() == [("one", 1), ("two", 0)]
    team.rules(one=team.one.url, two=team.two.url)
    team.ticks()
    team.publish(alert("on", scope="on", timestamp=team.now))
    team.ticks(lambda: len(team.one.got) == 3 and team.two.got)
    assert got(team.two) == [("on", 1)]
    assert team.channels() == [("one", 1), ("two", 1)]


def test_a_channel_that_was_switched_off_while_no_worker_ran_begins_anew(team: Team) -> None:
    team.ticks()
    team.rules(one=team.one.url)
    team.turn = 2
    team.begin()
    team.ticks()
    assert ("two", 0) in team.place.reader.frame("SELECT channel, is_on FROM alert_channels").rows()
    team.topic.append(alert("meanwhile", timestamp=team.now))
    team.rules(one=team.one.url, two=team.two.url)
    team.turn, team.now = 3, team.now + MINUTE
    team.begin()
    team.ticks(lambda: team.one.got)
    assert not team.two.asked


def test_levels_and_rules_say_who_is_told(team: Team) -> None:
    team.rules(
        '[[channel.webhook]]\nname = "loud"\nfrom_level = "critical"\nurl = "' + team.two.url + '"\n'
        '[hourly_anomaly]\nchannels = ["loud"]\n[unknown_price]\nchannels = []\n',
        one=team.one.url,
    )
    team.ticks()
    alerts = [
        alert("spike", scope="1", timestamp=team.now),
        alert("spike-2", scope="2", level="critical", timestamp=team.now),
        alert("anomaly", scope="3", level="critical", rule="hourly_anomaly", timestamp=team.now),
        alert("anomaly-2", scope="4", rule="hourly_anomaly", timestamp=team.now),
        alert("unknown", scope="5", rule="unknown_price", level="emergency", timestamp=team.now),
        alert("stall", scope="6", rule="stall", level="critical", timestamp=team.now),
    ]
    team.publish(*alerts)
    team.ticks(lambda: len(team.one.got) == 3 and len(team.two.got) == 3)
    team.ticks()
    assert {name for name, _ in got(team.one)} == {"spike", "spike-2", "stall"}
    assert {name for name, _ in got(team.two)} == {"spike-2", "anomaly", "stall"}


def test_a_secret_that_is_not_set_is_said_and_the_message_goes_once_it_is(team: Team) -> None:
    team.rules('[[channel.webhook]]\nname = "hook"\nurl_secret = "hook_address"\n')
    team.ticks()
    team.publish(alert("a", timestamp=team.now))
    team.ticks()
    team.ticks()
    reason = team.place.reader.frame("SELECT reason FROM alert_deliveries").item()
    assert "the secret 'hook_address' is not set: give it as COSTREAM_SECRET_HOOK_ADDRESS or in the file " in reason
    (team.folder / "hook_address").write_text(f"{team.one.url}\n")
    team.ticks(lambda: team.one.got, after=timedelta(minutes=1))


def test_a_template_that_cannot_be_filled_costs_nobody_an_alert(team: Team) -> None:
    slack = '[[channel.slack]]\ntitle = "{{ alert.metadata.nothing.at_all }}"\n'
    team.environment["COSTREAM_SECRET_SLACK_WEBHOOK"] = team.one.url
    team.rules(slack)
    team.ticks()
    team.publish(alert("a", timestamp=team.now))
    team.ticks(lambda: team.one.got)
    assert team.one.got[0].json["attachments"][0]["title"] == "[WARNING] Hourly cost is 4.2x the usual"


def test_a_silence_is_known_to_a_worker_that_begins(team: Team) -> None:
    silence = Act("1", "silence", "", "hourly_spike", "", START + timedelta(hours=1), "ann", "", START)
    team.place.writer.insert(ACTS, act_rows([silence]))
    team.turn = 2
    team.begin()
    team.publish(alert("a", timestamp=team.now))
    team.ticks()
    assert not team.one.asked
    team.rules(one=team.one.url, two=team.two.url, new=team.one.url)
    team.publish(alert("b", scope="s", timestamp=team.now + timedelta(seconds=1)))
    team.ticks(after=timedelta(seconds=1))
    assert not team.one.asked, "a channel that is new knows it too"
    ended = replace(silence, until=team.now, at=team.now)
    team.place.writer.insert(ACTS, act_rows([ended]))
    team.ticks(lambda: team.one.got and team.two.got)


def test_what_is_being_sent_when_the_turn_ends_is_waited_for_and_noted(team: Team) -> None:
    team.publish(alert("a"))
    team.notifier.tick()
    team.turn = None  # type: ignore[assignment]
    team.notifier.finish(seconds=5)
    assert [row[3] for row in team.ledger()] == ["delivered", "delivered"]


def test_a_receiver_that_hangs_does_not_hold_up_the_end(team: Team) -> None:
    team.one.does = team.two.does = "hang"
    team.publish(alert("a"))
    team.notifier.tick()
    began = time.monotonic()
    team.notifier.finish(seconds=0.2)
    assert time.monotonic() - began < 5  # of the 10 that a receiver may take
