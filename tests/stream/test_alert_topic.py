"""What a worker knows of the alerts that are published: all that may still change, read whole once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from costream.alerts import Alert, episode_id
from costream.topics import ALERTS
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from stream.watch.alert_topic import PublishedAlerts
from tests.producers.test_alert import HOUR, alert

NOW = HOUR + timedelta(hours=2)


class Topic:
    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers)

    def publish(self, *values: Alert | bytes) -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap_servers, "log_level": 0})
        for value in values:
            producer.produce(ALERTS, value if isinstance(value, bytes) else value.to_json(), partition=0)
        assert producer.flush(10) == 0


@pytest.fixture
def topic() -> Iterator[Topic]:
    with EmbeddedBroker({ALERTS: 1}) as broker:
        yield Topic(broker)


def revision(number: int, *, scope: str = "system", **changes: Any) -> Alert:
    name = episode_id(rule="hourly_spike", scope=scope, first_window=HOUR)
    return alert(alert_id=name, scope=scope, revision=number, **changes)


def test_what_was_read_is_known_and_only_what_is_new_is_read(topic: Topic) -> None:
    known = PublishedAlerts(topic.settings)
    topic.publish(revision(1), b"somebody else's", revision(2, status="updated"))
    first = known.read(NOW)
    assert [each.revision for each in first.alerts] == [1, 2]
    assert (first.strange, bool(first.reason)) == (1, True)
    assert known.read(NOW) == first
    topic.publish(revision(3, status="cleared"), b"{}")
    again = known.read(NOW)
    assert ([each.revision for each in again.alerts], again.strange) == ([1, 2, 3], 2)
    assert again.reason == first.reason


def test_what_ended_long_ago_is_let_go_whole_and_what_stands_is_kept_whole(topic: Topic) -> None:
    known = PublishedAlerts(topic.settings)
    topic.publish(
        revision(1, scope="feature=a"),
        revision(2, scope="feature=a", status="cleared"),
        revision(1, scope="feature=b"),
        revision(2, scope="feature=b", status="updated"),
    )
    assert len(known.read(NOW).alerts) == 4
    kept = known.read(NOW + timedelta(days=9)).alerts
    assert [(each.scope, each.revision) for each in kept] == [("feature=b", 1), ("feature=b", 2)]


def test_a_topic_that_was_made_anew_is_read_from_its_start(topic: Topic) -> None:
    known = PublishedAlerts(topic.settings)
    topic.publish(revision(1), revision(2), revision(3))
    known.read(NOW)
    topic.broker.delete_topic(ALERTS)
    topic.broker.create_topic(ALERTS, 1)
    topic.publish(revision(1, scope="feature=new"))
    assert "feature=new" in {each.scope for each in known.read(NOW).alerts}
