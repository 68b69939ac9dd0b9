"""costream alerts tail, against the embedded broker: what a person and what a program gets to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from costream.alerts import Alert
from stream.cli.alerts import app
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from stream.watch.alert_topic import Unreadable, alert_feed

HOUR = datetime(2026, 3, 2, 14, tzinfo=UTC)


def alert(revision: int, **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_id": "5e1f",
        "revision": revision,
        "status": "open" if revision == 1 else "updated",
        "level": "warning",
        "rule": "hourly_spike",
        "title": "Hourly cost is 4.2x the usual",
        "message": "The hour 14:00-15:00 UTC on 2026-03-02 cost 4.20 USD",
        "metric_name": "hourly_cost_spike",
        "scope": "system",
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "current_value": "4.2",
        "threshold_value": "3",
        "expected_value": "1",
        "ratio": "4.2",
        "unpriced_calls": 0,
        "timestamp": HOUR + timedelta(minutes=30),
    }
    return Alert.model_validate(fields | changes)


class Topic:
    def __init__(self, broker: EmbeddedBroker) -> None:
        self.settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers, topic_prefix="t.")
        # It outlives the broker by a moment, and would say so.
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})

    def publish(self, *values: bytes) -> None:
        for value in values:
            self._producer.produce("t.usage.alerts", value, key=b"k")
        assert self._producer.flush(10) == 0

    def run(self, *arguments: str) -> Any:
        variables = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka_bootstrap_servers,
            "COSTREAM_TOPIC_PREFIX": "t.",
        }
        return CliRunner().invoke(app, list(arguments), env=variables)


@pytest.fixture
def topic() -> Iterator[Topic]:
    with EmbeddedBroker({"t.usage.alerts": 1}) as broker:
        yield Topic(broker)


def test_without_following_it_prints_what_the_topic_has_and_ends(topic: Topic) -> None:
    topic.publish(alert(1).to_json(), alert(2).to_json())
    result = topic.run("tail", "--no-follow")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "2026-03-02 14:30:00 UTC  WARNING    open       Hourly cost is 4.2x the usual"
    assert lines[1:3] == ["    The hour 14:00-15:00 UTC on 2026-03-02 cost 4.20 USD", "    5e1f revision 1"]
    assert len(lines) == 6


def test_as_json_every_line_is_the_alert_as_published(topic: Topic) -> None:
    topic.publish(alert(1).to_json(), alert(2).to_json())
    result = topic.run("tail", "--no-follow", "--json")
    assert [Alert.from_json(line) for line in result.stdout.splitlines()] == [alert(1), alert(2)]


def test_an_empty_topic_ends_at_once_with_nothing(topic: Topic) -> None:
    result = topic.run("tail", "--no-follow", "--json")
    assert (result.exit_code, result.stdout) == (0, "")


def test_off_a_terminal_there_is_no_colour_and_no_title_steers_the_terminal(topic: Topic) -> None:
    topic.publish(alert(1, title="a\x1b[2J\nFORGED", message="[red]b[/red]").to_json())
    result = topic.run("tail", "--no-follow")
    assert "\x1b" not in result.stdout
    assert "a\\u{1b}[2J\\u{a}FORGED" in result.stdout
    assert "[red]b[/red]" in result.stdout


def test_what_is_no_alert_is_passed_over_with_its_place_and_reason(topic: Topic) -> None:
    topic.publish(b"{", json.dumps({"schema_version": 2}).encode(), alert(1).to_json())
    result = topic.run("tail", "--no-follow", "--json")
    assert result.exit_code == 0
    assert Alert.from_json(result.stdout) == alert(1)
    assert "t.usage.alerts[0]@0 is not an alert, passed over: value: it is not" in result.stderr
    assert "t.usage.alerts[0]@1 is not an alert, passed over: schema_version" in result.stderr


def test_following_starts_at_the_end_unless_told_otherwise_and_sees_what_comes(topic: Topic) -> None:
    topic.publish(alert(1).to_json())
    feed = alert_feed(topic.settings, from_beginning=True, follow=True)
    assert next(feed) == alert(1)
    topic.publish(b"", alert(2).to_json())
    assert isinstance(next(feed), Unreadable)
    assert next(feed) == alert(2)
    feed.close()
    assert list(alert_feed(topic.settings, from_beginning=False, follow=False)) == []


def test_a_broker_that_does_not_answer_is_one_line_and_a_failure(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.watch.topic_feed.ANSWER_SECONDS_MAX", 0.2)
    topic.settings = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    result = topic.run("tail", "--no-follow")
    assert result.exit_code == 1
    assert "Kafka at 127.0.0.1:1 does not answer" in result.stderr
    assert "Traceback" not in result.output
