"""From the record() of the call that takes a user over a budget to its alert: 10,000 users, 500 rules, a steady rate.

Each call costs 0.15 USD and is of another user, one after the other. Those of one team have a budget that their third
call reaches. The 499 other rules are of users too: one of a user and a day, and 498 of one team and feature each.
Nobody comes near them.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.ground import BenchmarkFailed, Ground, WorkerProcess
from benchmarks.sizes import Sizes
from costream import UsageEvent, UsageProducer
from costream.alerts import Alert
from costream.topics import ALERTS, EVENTS
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rule_revisions import RULES
from sinks.clickhouse.writer import Writer
from tests.support.databases import migrated
from tests.support.warehouse import Endpoint

USERS: Final = 10_000
TEAMS: Final = 50
FEATURES: Final = 10
CALL_TO_TELL: Final = 3  # of a user of the watched team: 0.45 of 0.50 USD, which is 90 %
PREFIX: Final = "budgets."
ALERT_MAX_S: Final = 60.0
WHOLE_MAX_S: Final = 120.0

WATCHED: Final = """
[[budget]]
name = "watched"
scope = ["user"]
only = { team = ["team-00"] }
period = "month"
amount = "0.50"
thresholds = [{ at = "0.85", level = "warning" }]
level_at_full = "off"

[[budget]]
name = "user_daily_budget"
scope = ["user"]
period = "day"
amount = "1000"
"""
OTHERS: Final = 498  # beside these two


@dataclass(frozen=True, slots=True)
class BudgetDelay:
    """Seconds from just before record() until a consumer of usage.alerts has the alert, and how many there were."""

    rules: int
    users: int
    per_second: float
    alerts: int
    p50_s: float
    p99_s: float
    max_s: float


def run(ground: Ground, sizes: Sizes) -> BudgetDelay:
    folder = ground.new_folder("budgets")
    with Endpoint(folder / "clickhouse") as endpoint:
        address = migrated(endpoint.address())
        _publish(address)
        settings = ground.settings(topic_prefix=PREFIX, consumer_group="budgets", clickhouse_url=endpoint.url)
        ground.create_topics(settings)
        with (
            WorkerProcess(settings, folder) as worker,
            UsageProducer(
                bootstrap_servers=ground.bootstrap_servers, topic=settings.topic(EVENTS), spool_dir=folder / "spool"
            ) as producer,
        ):
            worker.wait_until_ready()
            _wait_until_stated(address)
            measured = _measure(producer, ground.bootstrap_servers, settings.topic(ALERTS), sizes)
            worker.stop()
    return measured


def _publish(address: ClickHouseAddress) -> None:
    pairs = [(team, feature) for team in range(TEAMS) for feature in range(FEATURES)][:OTHERS]
    others = "".join(
        f'[[budget]]\nname = "b_{team}_{feature}"\nscope = ["user"]\nperiod = "day"\namount = "1000"\n'
        f'only = {{ team = ["team-{team:02d}"], feature = ["feature-{feature}"] }}\n'
        for team, feature in pairs
    )
    by = {"published_by": "benchmark", "note": "", "build": "benchmark"}
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        RULES.publish(
            reader, writer, {"rules.toml": WATCHED + others}, new_id=lambda: str(uuid4()), pause=lambda: None, **by
        )


def _wait_until_stated(address: ClickHouseAddress) -> None:
    """The rules are judged by."""
    deadline = time.monotonic() + WHOLE_MAX_S
    with closing(Reader(address)) as reader:
        while reader.frame("SELECT toInt64(count()) FROM budgets WHERE budget = 'watched'").item() == 0:
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"no rule was judged by within {WHOLE_MAX_S:.0f} s")
            time.sleep(0.5)


def _measure(producer: UsageProducer, bootstrap_servers: str, topic: str, sizes: Sizes) -> BudgetDelay:
    users = min(USERS, int(sizes.latency_per_second * sizes.latency_seconds / (CALL_TO_TELL + 1)))
    sent, told = dict[str, float](), dict[str, float]()
    sending = threading.Thread(
        target=_send, args=(producer, sent, users), kwargs={"per_second": sizes.latency_per_second}, daemon=True
    )
    began = time.monotonic()
    sending.start()
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": f"read-{uuid4()}"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = float("inf")
    while sending.is_alive() or not sent.keys() <= told.keys():
        if not sending.is_alive():
            deadline = min(deadline, time.monotonic() + ALERT_MAX_S)
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"{len(sent.keys() - told.keys())} of {len(sent)} users were not told of")
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            alert = Alert.from_json(message.value() or b"")
            if alert.metadata.get("budget") == "watched":
                told.setdefault(str(alert.user_id), time.monotonic())
    took = time.monotonic() - began
    consumer.close()
    waits = np.array([told[user] - at for user, at in sent.items()])
    p50, p99 = np.percentile(waits, [50, 99])
    calls = users * (CALL_TO_TELL + 1)
    return BudgetDelay(OTHERS + 2, users, calls / took, len(waits), float(p50), float(p99), float(waits.max()))


def _send(producer: UsageProducer, sent: dict[str, float], users: int, *, per_second: int) -> None:
    """Each user in turn, as often as it takes and once more; ``sent`` is when the call was recorded that is told of."""
    started = time.monotonic()
    for number in range(users * (CALL_TO_TELL + 1)):
        time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        user = f"user-{number % users:05d}"
        event = UsageEvent.create(
            provider="openai",
            model="gpt-4o-mini",
            user_id=user,
            team=f"team-{number % users % TEAMS:02d}",
            feature=f"feature-{number % FEATURES}",
            input_tokens=1_000_000,
            output_tokens=0,
        )
        if number % users % TEAMS == 0 and number // users == CALL_TO_TELL - 1:
            sent[user] = time.monotonic()
        producer.record(event)
