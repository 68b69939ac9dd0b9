"""The states on usage.budgets: read whole by whoever takes over, on both kinds of broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from costream.budgets import BudgetState
from costream.topics import BUDGETS
from stream.budgets.limits import News
from stream.runtime import topics
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings
from stream.store.outbox import Outbox
from stream.up.broker import EmbeddedBroker
from stream.watch.budget_topic import publish_states, published_states
from tests.producers.test_budget_state import state


class Topic:
    def __init__(self, settings: Settings) -> None:
        self.settings, self.outbox = settings, Outbox(kafka_config(settings), compression="none")

    def publish(self, *states: BudgetState, gone: BudgetState | None = None) -> None:
        news = [News(each.key, each) for each in states] + ([News(gone.key, None)] if gone else [])
        publish_states(self.outbox, self.settings.topic(BUDGETS), news)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def topic(request: pytest.FixtureRequest) -> Iterator[Topic]:
    if request.param == "embedded":
        with EmbeddedBroker({BUDGETS: 1}) as broker:
            yield Topic(Settings(kafka_bootstrap_servers=broker.bootstrap_servers))
    else:
        prefix = request.getfixturevalue("kafka_prefix")
        bootstrap_servers = request.getfixturevalue("kafka_bootstrap")
        settings = Settings(kafka_bootstrap_servers=bootstrap_servers, topic_prefix=prefix)
        topics.create(settings)
        yield Topic(settings)


def test_the_last_state_of_each_key_is_known_and_what_is_over_is_not(topic: Topic) -> None:
    ann, bob, carol = (state(subject={"user_id": name}) for name in ("ann", "bob", "carol"))
    topic.publish(ann, bob, carol)
    topic.publish(ann.model_copy(update={"limited": False}), gone=bob)
    found = published_states(topic.settings)
    assert {key: each.limited for key, each in found.states.items()} == {ann.key: False, carol.key: True}
    assert found.states[carol.key] == carol
    assert found.strange == 0


def test_records_of_others_are_passed_over_and_counted(topic: Topic) -> None:
    producer = Producer(kafka_config(topic.settings) | {"log_level": 0})
    name, ours = topic.settings.topic(BUDGETS), state()
    later = ours.to_json().replace(b'"schema_version":1', b'"schema_version":2')
    for key, value in ((b"k", b"{"), (ours.key, later), (b"another key", ours.to_json())):
        producer.produce(name, value, key)
    producer.produce(name, ours.to_json(), ours.key)
    assert producer.flush(10) == 0
    found = published_states(topic.settings)
    assert list(found.states.values()) == [ours]
    assert found.strange == 3
    assert "it is not JSON" in found.reason


@pytest.mark.slow
@pytest.mark.kafka
def test_compaction_leaves_what_a_reader_needs(kafka_bootstrap: str, kafka_prefix: str) -> None:
    settings = Settings(kafka_bootstrap_servers=kafka_bootstrap, topic_prefix=kafka_prefix)
    topics.create(settings)
    topic, moving = Topic(settings), state()
    for number in range(200):
        topic.publish(moving.model_copy(update={"rules_revision": number}))
    last = moving.model_copy(update={"rules_revision": 199})
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert published_states(settings).states == {last.key: last}
        time.sleep(0.5)
