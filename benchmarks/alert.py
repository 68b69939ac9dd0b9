"""From the record() of the event that makes an hour too dear to its alert, read from usage.alerts."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from benchmarks.ground import BenchmarkFailed, Ground, WorkerProcess
from benchmarks.sizes import Sizes
from costream import UsageEvent, UsageProducer
from costream.alerts import Alert
from costream.topics import ALERTS, EVENTS
from tests.support.databases import migrated
from tests.support.warehouse import Endpoint

HISTORY_HOURS: Final = 30
USUAL_TOKENS: Final = 200_000  # an hour of a feature costs half a dollar,
SPIKE_TOKENS: Final = 100_000_000  # and then one event costs 250
ALERT_MAX_S: Final = 30.0
PREFIX: Final = "alert."
PAUSE_MAX_S: Final = 1.5  # the judge looks once a second; the dice keep the events from marching in step with it


@dataclass(frozen=True, slots=True)
class AlertDelay:
    """Seconds, one for each repetition; every repetition is the spike of another feature."""

    seconds: tuple[float, ...]
    median: float
    max: float


def run(ground: Ground, sizes: Sizes) -> AlertDelay:
    folder = ground.new_folder("alert")
    with Endpoint(folder / "clickhouse") as endpoint:
        migrated(endpoint.address())
        settings = ground.settings(topic_prefix=PREFIX, consumer_group="alert", clickhouse_url=endpoint.url)
        ground.create_topics(settings)
        feed = AlertFeed(ground.bootstrap_servers, settings.topic(ALERTS))
        with (
            WorkerProcess(settings, folder) as worker,
            UsageProducer(
                bootstrap_servers=ground.bootstrap_servers, topic=settings.topic(EVENTS), spool_dir=folder / "spool"
            ) as producer,
        ):
            worker.wait_until_ready()
            features = [f"feature-{number:02d}" for number in range(sizes.alerts)]
            worker.wait_until_handled(_send_history(producer, features))
            seconds = _measure(producer, feed, features, dice=random.Random(7), pause=time.sleep)
            worker.stop()
        feed.close()
    return AlertDelay(tuple(seconds), statistics.median(seconds), max(seconds))


def _send_history(producer: UsageProducer, features: list[str]) -> int:
    """One event an hour and feature, in the whole hours before this one."""
    now = datetime.now(UTC)
    events = [
        _event(feature, USUAL_TOKENS, at=now - timedelta(hours=back))
        for back in range(1, HISTORY_HOURS + 1)
        for feature in features
    ]
    for event in events:
        producer.record(event)
    return len(events)


def _measure(
    producer: UsageProducer,
    feed: AlertFeed,
    features: list[str],
    *,
    dice: random.Random,
    pause: Callable[[float], None],
) -> list[float]:
    seconds = []
    for feature in features:
        pause(dice.uniform(0, PAUSE_MAX_S))
        event = _event(feature, SPIKE_TOKENS, at=datetime.now(UTC))
        began = time.monotonic()
        producer.record(event)
        feed.wait_for(f"feature={feature}")
        seconds.append(time.monotonic() - began)
    return seconds


def _event(feature: str, tokens: int, *, at: datetime) -> UsageEvent:
    return UsageEvent.create(
        occurred_at=at, provider="openai", model="gpt-4o", feature=feature, input_tokens=tokens, output_tokens=1
    )


class AlertFeed:
    """Reads usage.alerts as any other consumer would."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": f"read-{uuid4()}"})
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def wait_for(self, scope: str) -> None:
        """Return when the alert that opens on this scope has been read."""
        deadline = time.monotonic() + ALERT_MAX_S
        while time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is None or message.error():
                continue
            alert = Alert.from_json(message.value() or b"")
            if alert.scope == scope and alert.status == "open":
                return
        raise BenchmarkFailed(f"no alert opened on {scope!r} within {ALERT_MAX_S:.0f} s")

    def close(self) -> None:
        self._consumer.close()
