"""What holds for every producer: in memory, on the embedded broker and on a real Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

import pytest

from costream import UsageEvent, UsageProducer
from costream.testing import MemoryProducer

CLOSE_MAX_S = 20.0


class Setup(Protocol):
    """How a kind of producer is made, and what has arrived where it delivers: (key, event) in any order."""

    def make(self, **settings: Any) -> UsageProducer: ...
    def arrived(self) -> list[tuple[str, UsageEvent]]: ...


class InMemory:
    def make(self, **settings: Any) -> UsageProducer:
        self.producer = MemoryProducer(**settings)
        return self.producer

    def arrived(self) -> list[tuple[str, UsageEvent]]:
        keys = (key.decode() for key, _ in self.producer.messages)
        return list(zip(keys, self.producer.events, strict=True))


class OnBroker:
    def __init__(self, bootstrap: str, topic: str, read_topic: Callable[[str, str], list[Any]]) -> None:
        self._bootstrap, self._topic, self._read_topic = bootstrap, topic, read_topic

    def make(self, **settings: Any) -> UsageProducer:
        return UsageProducer(bootstrap_servers=self._bootstrap, topic=self._topic, **settings)

    def arrived(self) -> list[tuple[str, UsageEvent]]:
        return [(message.key, message.event) for message in self._read_topic(self._bootstrap, self._topic)]


@pytest.fixture(params=["memory", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def setup(request: pytest.FixtureRequest) -> Setup:
    if request.param == "memory":
        return InMemory()
    bootstrap = request.getfixturevalue(f"{request.param}_bootstrap")
    return OnBroker(bootstrap, request.getfixturevalue("topic"), request.getfixturevalue("read_topic"))


def test_a_hundred_calls_are_a_hundred_messages_keyed_by_their_request_id(
    setup: Setup, usage_event: Callable[..., UsageEvent]
) -> None:
    events = [usage_event(number, input_tokens=number) for number in range(100)]
    with setup.make() as producer:
        for event in events:
            producer.record(event)
    arrived = dict(setup.arrived())
    assert len(setup.arrived()) == 100
    assert arrived == {event.request_id: event for event in events}


def test_every_field_comes_back_as_it_was_recorded(setup: Setup, usage_event: Callable[..., UsageEvent]) -> None:
    event = usage_event(
        operation="image",
        feature="strategy_generation",
        task_type="draw",
        user_id="使用者-7",
        team="growth",
        environment="prod",
        session_id="s-1",
        metadata={"parent_id": "http-9", "requested_model": "gpt-5-mini", "nested": {"list": [1, 2.5, None, True]}},
        status="error",
        error='quota "exceeded"\nretry later',
        duration_ms=812,
        time_to_first_token_ms=90,
        input_tokens=1_200,
        output_tokens=300,
        cache_read_tokens=1_000,
        cache_write_tokens=0,
        reasoning_tokens=200,
        quantities={"images": Decimal(2), "audio_seconds": Decimal("90.5")},
        usage_status="estimated",
        reported_cost_usd=Decimal("0.000000000001"),
        unit_prices={"images": Decimal("0.04")},
        revenue_usd=Decimal("999999.999999999999"),
        utilization=Decimal("0.853211"),
    )
    with setup.make() as producer:
        producer.record(event)
    assert setup.arrived() == [(event.request_id, event)]


def test_events_recorded_from_many_threads_all_arrive(setup: Setup, usage_event: Callable[..., UsageEvent]) -> None:
    with setup.make() as producer:

        def record(thread: int) -> None:
            for number in range(200):
                producer.record(usage_event(thread * 1_000 + number))

        threads = [threading.Thread(target=record, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({key for key, _ in setup.arrived()}) == 1_600
    assert producer.stats().recorded == 1_600


def test_a_flush_that_returns_zero_means_that_all_is_delivered(
    setup: Setup, usage_event: Callable[..., UsageEvent]
) -> None:
    with setup.make() as producer:
        for number in range(50):
            producer.record(usage_event(number))
        assert producer.flush(CLOSE_MAX_S) == 0
        assert len(setup.arrived()) == 50
        assert producer.stats().delivered == 50


def test_the_counts_add_up(setup: Setup, usage_event: Callable[..., UsageEvent]) -> None:
    producer = setup.make()
    for number in range(10):
        producer.record(usage_event(number))
    producer.close(CLOSE_MAX_S)
    producer.record(usage_event(11))
    stats = producer.stats()
    assert (stats.recorded, stats.delivered, stats.dropped, stats.refused) == (11, 10, 1, 0)
    assert (stats.queued, stats.spool_rows) == (0, 0)


@pytest.mark.parametrize("wrong", [(None,), ({},), ("event",), (b"{}",), (1,), (UsageEvent,), (1, 2), ()])
def test_anything_but_a_usage_event_raises_nothing_and_is_counted_as_refused(setup: Setup, wrong: Any) -> None:
    with setup.make() as producer:
        producer.record(*wrong)
        assert producer.flush(CLOSE_MAX_S) == 0
        stats = producer.stats()
    assert (stats.recorded, stats.refused, stats.delivered) == (1, 1, 0)


@pytest.mark.parametrize(
    "broken",
    [
        UsageEvent.model_construct(),
        UsageEvent.model_construct(request_id="r", provider=object()),  # type: ignore[arg-type] # what is tested
        UsageEvent.model_construct(request_id=None),  # type: ignore[arg-type] # what is tested
    ],
)
def test_an_event_that_cannot_be_written_is_counted_and_raises_nothing(setup: Setup, broken: UsageEvent) -> None:
    producer = setup.make()
    producer.record(broken)
    assert producer.flush(CLOSE_MAX_S) == 0
    assert producer.stats().refused == 1
    assert producer.stats().recorded == 1
    producer.close(CLOSE_MAX_S)
    assert producer.stats().refused == 1


def test_recording_after_the_close_raises_nothing_and_is_counted(
    setup: Setup, usage_event: Callable[..., UsageEvent]
) -> None:
    producer = setup.make()
    producer.close()
    producer.record(usage_event())
    assert producer.stats().dropped == 1
    assert producer.flush() == 0


def test_closing_twice_is_closing_once(setup: Setup, usage_event: Callable[..., UsageEvent]) -> None:
    producer = setup.make()
    producer.record(usage_event())
    producer.close(CLOSE_MAX_S)
    producer.close(CLOSE_MAX_S)
    assert len(setup.arrived()) == 1


def test_a_producer_that_is_switched_off_lets_everything_pass(
    setup: Setup, usage_event: Callable[..., UsageEvent]
) -> None:
    with setup.make(enabled=False) as producer:
        producer.record(usage_event())
        assert producer.flush() == 0
    assert producer.stats().recorded == 0
