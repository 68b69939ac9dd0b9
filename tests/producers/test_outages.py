"""Kafka away, full, broken or back: what the client does with the events meanwhile."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from costream import UsageEvent, UsageProducer
from costream.delivery.copies import Copies
from costream.delivery.courier import Courier
from costream.delivery.parcel import Parcel
from costream.delivery.spool import Message
from costream.events import DROPPED_MODEL, DROPPED_PROVIDER, DROPPED_UNIT
from costream.settings import Settings
from tests.support.forwarder import Forwarder
from tests.support.kafka import KafkaBroker, KafkaMissing, create_topics

WAIT_MAX_S = 20.0
NOW = datetime(2025, 1, 1, tzinfo=UTC)
HEADERS = [("costream-client", b"python/test")]
MakeEvent = Callable[..., UsageEvent]
ReadTopic = Callable[[str, str], list[Any]]


class ScriptedKafka:
    """The edge, faked: it answers each message at the next poll as the script says; ``None`` is an acknowledgement."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.acknowledged: list[UsageEvent] = []
        self.room = 10**9
        self.answer: Callable[[UsageEvent], KafkaError | None] = lambda event: None
        self.answering = True
        self.purging = True
        self.raising: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._waiting: list[tuple[UsageEvent, Any]] = []

    def produce(self, topic: str, *, key: bytes, value: bytes, headers: Any, on_delivery: Any) -> None:
        self.gate.wait(WAIT_MAX_S)
        if self.raising:
            raise self.raising
        if len(self._waiting) >= self.room:
            raise BufferError("Local: Queue full")
        self._waiting.append((UsageEvent.model_validate_json(value), on_delivery))

    def poll(self, timeout: float) -> int:
        waiting, self._waiting = (self._waiting, []) if self.answering else ([], self._waiting)
        for event, on_delivery in waiting:
            error = self.answer(event)
            if error is None:
                self.acknowledged.append(event)
            on_delivery(error, None)
        return len(waiting)

    def purge(self, *, in_queue: bool, in_flight: bool, blocking: bool) -> None:
        waiting, self._waiting = (self._waiting, []) if self.purging else ([], self._waiting)
        for _, on_delivery in waiting:
            on_delivery(KafkaError(KafkaError._PURGE_QUEUE), None)


class Stand:
    """A courier on a scripted Kafka. Clocks stand still unless the test moves them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(spool_dir=folder, **settings)
        self.kafka = ScriptedKafka({})
        self.connections = 0
        self.now_s = 1_000.0
        self.courier = Courier(
            self.settings, connect=self.connect, headers=HEADERS, clock=lambda: NOW, monotonic=lambda: self.now_s
        )

    def connect(self, config: Mapping[str, Any]) -> ScriptedKafka:
        self.connections += 1
        self.kafka.config = config
        return self.kafka

    def post(self, *events: UsageEvent) -> None:
        for event in events:
            self.courier.post(event)

    def close(self) -> None:
        self.courier.close(WAIT_MAX_S)

    def reports(self) -> list[int]:
        reports = [event for event in self.kafka.acknowledged if event.model == DROPPED_MODEL]
        return [int(report.quantities[DROPPED_UNIT]) for report in reports]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def make(**settings: Any) -> Stand:
        stands.append(Stand(tmp_path / "spool", **settings))
        return stands[-1]

    yield make
    for one in stands:
        one.kafka.gate.set()
        one.now_s += 3_600  # whatever it still waits for is over
        one.close()


def test_what_librdkafka_has_no_room_for_goes_to_the_spool_and_from_there_to_kafka(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    full = stand()
    full.kafka.answering, full.kafka.room = False, 3
    full.post(*(usage_event(number) for number in range(10)))
    full.courier.flush(0.5)
    assert full.courier.stats().spooled == 7
    full.kafka.answering, full.kafka.room = True, 1_000
    full.close()
    assert {event.request_id for event in full.kafka.acknowledged} == {f"request-{number}" for number in range(10)}
    assert full.courier.stats().spool_rows == 0


@pytest.mark.parametrize(
    "failure", [KafkaError._MSG_TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._UNKNOWN_TOPIC]
)
def test_a_message_that_failed_waits_on_disk_until_kafka_takes_it(
    stand: Callable[..., Stand], usage_event: MakeEvent, failure: int
) -> None:
    failing = stand()
    failing.kafka.answer = lambda event: KafkaError(failure)
    failing.post(usage_event())
    assert failing.courier.flush(WAIT_MAX_S) == 0
    assert failing.courier.stats().spool_rows == 1
    failing.kafka.answer = lambda event: None
    failing.now_s += 60
    until(lambda: failing.courier.stats().delivered == 1)
    assert failing.courier.stats().dropped == 0


def test_a_message_that_kafka_will_never_take_is_counted_as_refused_and_reported(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    picky = stand()
    too_large = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    picky.kafka.answer = lambda event: too_large if event.request_id == "request-1" else None
    picky.post(usage_event(0), usage_event(1), usage_event(2))
    picky.close()
    stats = picky.courier.stats()
    assert (stats.delivered, stats.refused, stats.dropped, stats.spool_rows) == (2, 1, 0, 0)
    assert picky.reports() == [1]


def test_a_fatal_error_makes_a_new_kafka_handle_and_loses_nothing(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    broken = stand()
    broken.kafka.raising = KafkaException(KafkaError(KafkaError._FATAL, "sequence lost", fatal=True))
    broken.post(usage_event())
    assert broken.courier.flush(WAIT_MAX_S) == 0
    broken.kafka.raising = None
    broken.now_s += 60
    until(lambda: broken.courier.stats().delivered == 1)
    assert [event.request_id for event in broken.kafka.acknowledged] == ["request-0"]
    assert broken.connections >= 2


def test_a_message_that_a_purge_passes_over_goes_to_the_spool_with_the_others_and_counts_once(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    broken = stand()
    broken.kafka.answering = broken.kafka.purging = False
    broken.post(usage_event(0))
    until(lambda: broken.courier.stats().queued == 1)
    broken.kafka.raising = KafkaException(KafkaError(KafkaError._FATAL, "sequence lost", fatal=True))
    broken.post(usage_event(1))
    assert broken.courier.flush(WAIT_MAX_S) == 0
    assert broken.courier.stats().spool_rows == 2
    broken.kafka.raising, broken.kafka.answering = None, True  # it even answers what was given up
    broken.now_s += 60
    until(lambda: broken.courier.stats().spool_rows == 0)
    stats = broken.courier.stats()
    assert (stats.delivered, stats.queued, stats.dropped) == (2, 0, 0)


def test_settings_that_librdkafka_does_not_accept_leave_the_events_on_disk(
    usage_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    with UsageProducer(kafka={"no.such.setting": "1"}) as producer:
        producer.record(usage_event())
        assert producer.flush(WAIT_MAX_S) == 0
    assert producer.stats().spool_rows == 1
    assert "no.such.setting" in caplog.text


def test_more_than_fits_in_memory_is_dropped_counted_and_reported_as_an_event(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    stalled = stand(queue_events_max=100)
    stalled.kafka.gate.clear()  # the background thread is stuck; record() must neither wait nor grow
    stalled.post(*(usage_event(number) for number in range(1_000)))
    dropped = stalled.courier.stats().dropped
    assert dropped >= 1_000 - 100 - 500  # what the queue holds, and at most a batch in the thread's hands
    stalled.kafka.gate.set()
    stalled.close()
    stats = stalled.courier.stats()
    assert (stats.recorded, stats.dropped, stats.delivered) == (1_000, dropped, 1_000 - dropped)
    assert sum(stalled.reports()) == dropped


def test_events_behind_one_that_cannot_be_written_are_not_lost_at_the_end(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    ending = stand()
    ending.kafka.answering = False
    for number in range(1_200):
        ending.courier.post(UsageEvent.model_construct() if number < 1_100 else usage_event(number))
    ending.now_s += 3_600
    ending.courier.close(0)  # the time is up before it begins
    until(lambda: ending.courier.stats().queued == 0)
    stats = ending.courier.stats()
    assert (stats.recorded, stats.refused, stats.spooled, stats.dropped) == (1_200, 1_100, 100, 0)


def test_the_report_of_dropped_events_is_a_usage_event_that_says_when(
    stand: Callable[..., Stand], usage_event: MakeEvent
) -> None:
    lossy = stand(queue_events_max=1)
    lossy.kafka.gate.clear()
    lossy.post(*(usage_event(number) for number in range(1_000)))
    lossy.kafka.gate.set()
    lossy.close()
    report = next(event for event in lossy.kafka.acknowledged if event.provider == DROPPED_PROVIDER)
    assert (report.model, report.operation, report.usage_status) == (DROPPED_MODEL, "api", "estimated")
    assert report.metadata["first_dropped_at"] == report.metadata["last_dropped_at"] == "2025-01-01T00:00:00.000+00:00"
    assert report.occurred_at == NOW


def test_ten_thousand_losses_are_a_few_log_lines_with_their_count(
    stand: Callable[..., Stand], usage_event: MakeEvent, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    nowhere = stand()
    nowhere.kafka.room = 0
    with caplog.at_level(logging.WARNING, logger="costream"):
        for _ in range(20):
            nowhere.post(*(usage_event(number) for number in range(500)))
            nowhere.courier.flush(WAIT_MAX_S)
        nowhere.close()
    stats = nowhere.courier.stats()
    assert (stats.recorded, stats.dropped, stats.queued) == (10_000, 10_000, 0)
    assert len(caplog.records) <= 6
    assert any("usage events are lost" in line and " x since" in line for line in caplog.messages)


def test_without_a_usable_disk_events_wait_in_memory_for_kafka(
    stand: Callable[..., Stand], usage_event: MakeEvent, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    diskless = stand()
    failures = iter([KafkaError(KafkaError._MSG_TIMED_OUT)] * 3)
    diskless.kafka.answer = lambda event: next(failures, None)
    diskless.post(usage_event(0), usage_event(1))
    assert diskless.courier.flush(WAIT_MAX_S) == 0
    assert {event.request_id for event in diskless.kafka.acknowledged} == {"request-0", "request-1"}
    assert diskless.courier.stats().dropped == 0


def test_what_kafka_does_not_answer_for_within_a_second_is_on_disk_as_well_and_counts_once(
    stand: Callable[..., Stand], usage_event: MakeEvent, tmp_path: Path
) -> None:
    silent = stand()
    silent.post(usage_event(0))
    until(lambda: silent.courier.stats().delivered == 1)  # from now on the link is proved
    silent.kafka.answering = False
    silent.post(usage_event(1))
    silent.courier.flush(0.2)
    assert silent.courier.stats().queued == 1
    assert on_disk(tmp_path) == 0
    silent.now_s += 1
    until(lambda: on_disk(tmp_path) == 1)
    until(lambda: silent.courier.stats().queued == 0)
    stats = silent.courier.stats()
    assert stats.recorded == stats.delivered + stats.spool_rows, "an event is in none of the numbers"
    assert silent.courier.flush(0.05) == 0  # it is safe, though not delivered
    silent.kafka.answering = True
    until(lambda: on_disk(tmp_path) == 0)
    stats = silent.courier.stats()
    assert (stats.delivered, stats.spooled, stats.spool_rows, stats.queued) == (2, 0, 0, 0)


def test_the_first_events_of_a_process_are_on_disk_before_kafka_has_answered(
    stand: Callable[..., Stand], usage_event: MakeEvent, tmp_path: Path
) -> None:
    first = stand()
    first.kafka.answering = False
    first.post(usage_event(0), usage_event(1))
    until(lambda: on_disk(tmp_path) == 2)
    until(lambda: first.courier.stats().spool_rows == 2)
    first.kafka.answer = lambda event: KafkaError(KafkaError._MSG_TIMED_OUT) if event.request_id[-1] == "1" else None
    first.kafka.answering = True
    until(lambda: first.courier.stats().delivered == 1 and first.courier.stats().spool_rows == 1)
    first.kafka.answer = lambda event: None
    until(lambda: first.courier.stats().delivered == 2)
    until(lambda: first.courier.stats().spool_rows == 0)  # the answer is counted when it comes, the row goes after it
    stats = first.courier.stats()
    assert (stats.spooled, stats.spool_rows, stats.queued, stats.dropped) == (1, 0, 0, 0)


def test_a_copy_that_became_the_message_is_counted_until_the_spool_counts_it(stand: Callable[..., Stand]) -> None:
    disk = stand().courier._disk
    copies = Copies(disk, now=lambda: NOW, monotonic=lambda: 0.0)
    kept, delivered, silent = parcels = [Parcel(Message(b"k", b"v")) for _ in range(3)]
    copies.watch(parcels)
    copies.write(0.0)
    copies.answered(delivered)
    copies.keep(kept)
    copies.end()
    assert (copies.rows, disk.rows) == (2, 0), "one is kept, and of one Kafka has said nothing"
    copies.answered(silent)
    copies.end()
    assert (copies.rows, disk.rows) == (0, 1)


def on_disk(tmp_path: Path) -> int:
    """The messages in the spool, seen as the next process would if this one were killed now."""
    rows = 0
    for file in (tmp_path / "spool").glob("*.sqlite"):
        with tempfile.TemporaryDirectory() as copied:
            for part in file.parent.glob(file.name + "*"):
                with suppress(FileNotFoundError):
                    shutil.copy(part, copied)
            with closing(sqlite3.connect(Path(copied) / file.name)) as copy, suppress(sqlite3.Error):
                rows += copy.execute("SELECT count(*) FROM messages").fetchone()[0]
    return rows


def test_a_thread_that_has_ended_for_any_reason_is_started_again_by_the_next_event(
    stand: Callable[..., Stand], usage_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = stand()
    deaths: list[int] = []

    def dies(courier: Courier) -> bool:
        if len(deaths) < 3:
            deaths.append(1)
            raise MemoryError
        return finished(courier)

    finished = Courier._finished
    monkeypatch.setattr(Courier, "_finished", dies)  # the one step that no other guards
    for number in range(20):
        dying.post(usage_event(number))
        time.sleep(0.01)
    assert dying.courier.flush(WAIT_MAX_S) == 0
    assert len(deaths) == 3
    assert dying.courier.stats().delivered == 20


def test_an_error_that_nobody_expected_costs_no_event(
    stand: Callable[..., Stand], usage_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    odd = stand()
    odd.post(usage_event(0))
    until(lambda: odd.courier.stats().delivered == 1)
    odd.kafka.raising = RuntimeError("nobody expected this")
    odd.post(*(usage_event(number) for number in range(1, 50)))
    assert odd.courier.flush(WAIT_MAX_S) == 0
    odd.kafka.raising = None
    odd.post(usage_event(50))
    odd.close()
    stats = odd.courier.stats()
    assert (stats.recorded, stats.dropped, stats.refused, stats.queued) == (51, 0, 0, 0)
    assert stats.delivered + stats.spool_rows == 51
    assert "nobody expected this" in caplog.text


@pytest.mark.parametrize("wrong", ["raises", "has no zone", "is no time"])
def test_a_clock_that_cannot_be_used_costs_no_event(
    wrong: str, usage_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    def clock() -> Any:
        if wrong == "raises":
            raise OSError("no clock")
        return NOW.replace(tzinfo=None) if wrong == "has no zone" else "noon"

    with UsageProducer(bootstrap_servers="127.0.0.1:1", clock=clock) as producer:
        producer.record(usage_event())
        producer.record(provider="openai", model="gpt-5")
        producer.record(provider="openai", model="gpt-5", input_tokens=-1)
        assert producer.flush(WAIT_MAX_S) == 0
    stats = producer.stats()
    assert (stats.recorded, stats.refused, stats.dropped, stats.spool_rows) == (3, 1, 0, 3)  # with the report
    assert "the clock of a producer cannot be used" in caplog.text


def test_the_report_says_how_many_for_each_reason(stand: Callable[..., Stand], usage_event: MakeEvent) -> None:
    lossy = stand()
    lossy.kafka.gate.clear()
    with_fields = UsageProducer(enabled=False)
    with_fields._enabled, with_fields._courier = True, lossy.courier
    for tokens in (-1, 1.5, "12"):
        with_fields.record(provider="p", model="m", input_tokens=tokens)  # type: ignore[call-overload] # what is tested
    with_fields.record(provider="p", model="m", occurred_at=datetime(2025, 1, 1))  # noqa: DTZ001 - what is tested
    lossy.kafka.gate.set()
    lossy.close()
    assert sum(lossy.reports()) == 4
    reasons = [event.metadata["reasons"] for event in lossy.kafka.acknowledged if event.model == DROPPED_MODEL]
    assert {key: value for one in reasons for key, value in one.items()} == {  # type: ignore[union-attr, misc] # JSON
        "refused: input_tokens": 3,
        "refused: occurred_at": 1,
    }


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread; the bound is for a test that fails."""
    tick = threading.Event()
    for _ in range(int(WAIT_MAX_S / 0.01)):
        if holds():
            return
        tick.wait(0.01)
    pytest.fail(f"not so within {WAIT_MAX_S} s")


def address(port: socket.socket) -> str:
    return f"127.0.0.1:{port.getsockname()[1]}"


def test_events_recorded_before_kafka_is_there_arrive_when_it_comes(
    embedded_bootstrap: str, closed_port: socket.socket, topic: str, usage_event: MakeEvent, read_topic: ReadTopic
) -> None:
    with UsageProducer(bootstrap_servers=address(closed_port), topic=topic) as producer:
        for number in range(300):
            producer.record(usage_event(number))
        assert producer.flush(WAIT_MAX_S) == 0
        assert producer.stats().spool_rows == 300
        with Forwarder(closed_port, embedded_bootstrap):
            until(lambda: producer.stats().spool_rows == 0)
            producer.record(usage_event(300))
            assert producer.flush(WAIT_MAX_S) == 0
    arrived = {message.key for message in read_topic(embedded_bootstrap, topic)}
    assert arrived == {f"request-{number}" for number in range(301)}
    assert producer.stats().delivered == 301


def test_with_no_broker_the_outage_is_said_once(
    closed_port: socket.socket, usage_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    with UsageProducer(bootstrap_servers=address(closed_port)) as producer:
        for number in range(500):
            producer.record(usage_event(number))
        assert producer.flush(WAIT_MAX_S) == 0
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "does not take usage events" in lines[0].getMessage()
    assert producer.stats().spool_rows == 500


@pytest.fixture
def broker() -> Iterator[KafkaBroker]:
    """A real Kafka that the test may stop."""
    one = KafkaBroker(heap_mb=256)
    try:
        one.start()
    except KafkaMissing as missing:
        one.close()
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))
    try:
        yield one
    finally:
        one.close()


@pytest.mark.kafka
@pytest.mark.parametrize("end", [pytest.param(KafkaBroker.stop, marks=pytest.mark.slow), KafkaBroker.kill])
@pytest.mark.slow
def test_a_broker_that_goes_away_and_comes_back_gets_every_event(
    broker: KafkaBroker,
    end: Callable[[KafkaBroker], None],
    usage_event: MakeEvent,
    read_topic: ReadTopic,
) -> None:
    create_topics(broker.bootstrap_servers, {"usage.events": 3})
    with UsageProducer(bootstrap_servers=broker.bootstrap_servers, topic="usage.events") as producer:
        for number in range(200):
            producer.record(usage_event(number))
        assert producer.flush(WAIT_MAX_S) == 0
        assert producer.stats().delivered == 200
        end(broker)
        for number in range(200, 400):
            producer.record(usage_event(number))
        assert producer.flush(WAIT_MAX_S) == 0
        assert producer.stats().spool_rows == 200
        broker.start()
        until(lambda: producer.stats().spool_rows == 0)
        for number in range(400, 600):
            producer.record(usage_event(number))
        assert producer.flush(WAIT_MAX_S) == 0
    arrived = {message.key for message in read_topic(broker.bootstrap_servers, "usage.events")}
    assert arrived == {f"request-{number}" for number in range(600)}
    assert (producer.stats().delivered, producer.stats().dropped) == (600, 0)
