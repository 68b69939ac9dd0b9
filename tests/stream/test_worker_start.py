"""A worker says at once what it waits for, can be told to stop meanwhile, and goes on when the cause is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sinks.clickhouse import migrate
from stream.runtime import topics
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from tests.support.kafka import create_topics
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, WorkerProcess

EXIT_OK = 0
GOOD = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "retention.ms": "-1"}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def unfit(accepted: str = "", **config: str) -> list[str]:
    given = GOOD | {name.replace("_", "."): value for name, value in config.items()}
    return topics.unfit("usage.events", given, accepted={accepted}, bootstrap_servers="here:9092")


def test_settings_that_break_a_guarantee_are_named_with_value_consequence_and_remedy() -> None:
    assert unfit() == []
    (clock,) = unfit(message_timestamp_type="CreateTime")
    for word in (
        "'usage.events'",
        "message.timestamp.type=CreateTime",
        "clocks of producers",
        "kafka-configs.sh",
        "--bootstrap-server here:9092",
        "--add-config message.timestamp.type=LogAppendTime",
        "COSTREAM_TOPIC_SETTINGS_ACCEPTED=message.timestamp.type",
    ):
        assert word in clock
    assert len(unfit(message_timestamp_type="CreateTime", cleanup_policy="compact")) == 2
    assert len(unfit(cleanup_policy="compact,delete")) == 1


def test_a_topic_must_keep_its_records_for_a_day() -> None:
    assert unfit(retention_ms="86400000") == []
    assert len(unfit(retention_ms="86399999")) == 1


def test_a_topic_must_take_a_batch_of_what_a_worker_publishes_there() -> None:
    for spec in topics.TOPICS:
        small, enough = ({"max.message.bytes": str(size)} for size in (999_999, 1_000_000))
        given = {"accepted": (), "bootstrap_servers": "here:9092", "spec": spec}
        (fault,) = topics.unfit(spec.name, small, **given)  # type: ignore[arg-type]  # of several kinds
        assert f"topic '{spec.name}' has max.message.bytes=999999" in fault
        assert f"--add-config max.message.bytes={spec.config['max.message.bytes']}" in fault
        assert topics.unfit(spec.name, enough, **given) == []  # type: ignore[arg-type]
        assert unfit("max.message.bytes", max_message_bytes="1") == []


def test_dead_letters_and_alerts_are_not_compacted() -> None:
    for spec in (topics.USAGE_DEADLETTER, topics.USAGE_ALERTS):
        config = {"cleanup.policy": "compact,delete"}
        (fault,) = topics.unfit(spec.name, config, accepted=(), bootstrap_servers="here:9092", spec=spec)
        assert "compaction deletes" in fault


def test_the_states_of_budgets_are_compacted() -> None:
    given = {"accepted": (), "bootstrap_servers": "here:9092", "spec": topics.USAGE_BUDGETS}
    (fault,) = topics.unfit("usage.budgets", {"cleanup.policy": "delete"}, **given)  # type: ignore[arg-type]
    assert "clients that start then allow what is limited" in fault
    assert topics.unfit("usage.budgets", {"cleanup.policy": "compact"}, **given) == []  # type: ignore[arg-type]


def test_what_is_accepted_by_name_is_not_refused_and_nothing_else_is() -> None:
    assert unfit("message.timestamp.type", message_timestamp_type="CreateTime") == []
    assert len(unfit("cleanup.policy", message_timestamp_type="CreateTime")) == 1


def test_where_the_broker_does_not_tell_settings_it_is_said_and_the_worker_may_start(broker: EmbeddedBroker) -> None:
    admin = topics.Admin(Settings(kafka_bootstrap_servers=broker.bootstrap_servers))
    with capture_logs() as lines:
        admin.require_settings()
    assert [line["event"] for line in lines] == ["settings of topics are unchecked"]
    admin.require_group()


def test_rollups_in_several_partitions_are_refused() -> None:
    with EmbeddedBroker(TOPICS | {"usage.rollups": 2}) as broker:
        admin = topics.Admin(Settings(kafka_bootstrap_servers=broker.bootstrap_servers))
        with pytest.raises(topics.TopicUnfit, match="has 2 partitions: several workers would judge"):
            admin.require_topics()


def test_a_topic_that_nobody_has_created_is_waited_for_and_the_worker_can_be_stopped(
    clickhouse_endpoint: Server,
) -> None:
    with EmbeddedBroker({}) as empty, WorkerProcess(empty.bootstrap_servers, clickhouse_endpoint.fresh()) as worker:
        worker.until(lambda: worker.log("stalled"), "it says so")
        (line,) = worker.log("stalled")
        assert line["level"] == "error"
        assert "there is no topic 'usage.events'" in line["error"]
        assert "`costream topics create` creates it" in line["error"]
        first = worker.log("starting")[0]
        assert (first["kafka"], first["group"], first["topics"][0]) == (
            empty.bootstrap_servers,
            "costream",
            "usage.events",
        )
        assert worker.page("/healthz")[0] == 200
        told_at = time.monotonic()
        assert worker.stop() == EXIT_OK
        assert time.monotonic() - told_at < 5
        assert worker.log("stopped while starting")


@pytest.mark.slow
def test_a_warehouse_without_its_schema_is_waited_for_until_it_is_migrated(
    broker: EmbeddedBroker, clickhouse_endpoint: Server
) -> None:
    address = clickhouse_endpoint.unmade()
    with WorkerProcess(broker.bootstrap_servers, address) as worker:
        worker.until(lambda: worker.log("stalled"), "it says so")
        assert "costream migrate up" in worker.log("stalled")[0]["error"]
        migrate.up(address)
        worker.until(lambda: worker.page("/readyz")[0] == 200, "it goes on by itself")
        assert worker.stop() == EXIT_OK


# The preconditions hold; then the test does something, and then the worker goes on to join the group.
HELD_BACK = """
import time, pathlib, stream.worker
from stream.runtime.preconditions import Precondition, preconditions
folder = pathlib.Path({folder!r})
def held_back(*given):
    yield from preconditions(*given)
    def check():
        (folder / "met").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    yield Precondition("held back", "the test", check)
stream.worker.preconditions = held_back
"""


@pytest.mark.slow
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_broker_that_goes_before_the_join_is_waited_for_and_the_worker_can_be_stopped(
    broker: EmbeddedBroker, clickhouse_endpoint: Server, tmp_path: Path, comes_back: bool
) -> None:
    prelude = HELD_BACK.format(folder=str(tmp_path))
    with WorkerProcess(broker.bootstrap_servers, clickhouse_endpoint.fresh(), prelude=prelude) as worker:
        worker.until((tmp_path / "met").exists, "the preconditions hold")
        broker.set_reachable(False)
        (tmp_path / "go").touch()
        worker.until(lambda: worker.log("stalled"), "it says so")
        (line,) = worker.log("stalled")
        assert line["doing"] == "connecting to Kafka"
        assert f"Kafka at {broker.bootstrap_servers} does not answer" in line["error"]
        assert worker.page("/readyz")[0] == 503
        if comes_back:
            broker.set_reachable(True)
            worker.until(lambda: worker.page("/readyz")[0] == 200, "it goes on by itself")
            assert worker.log("going on")
        told_at = time.monotonic()
        assert worker.stop() == EXIT_OK
        assert comes_back or time.monotonic() - told_at < 5


@pytest.mark.slow
@pytest.mark.kafka
def test_a_topic_with_the_clocks_of_producers_is_refused_until_it_is_mended(
    kafka_bootstrap: str, kafka_prefix: str, clickhouse_endpoint: Server
) -> None:
    settings = Settings(kafka_bootstrap_servers=kafka_bootstrap, topic_prefix=kafka_prefix)
    create_topics(kafka_bootstrap, {settings.topic("usage.events"): 1})
    topics.create(settings)
    with pytest.raises(topics.TopicUnfit, match=r"message\.timestamp\.type=CreateTime"):
        topics.Admin(settings).require_settings()
    accepted = settings.model_copy(update={"topic_settings_accepted": "message.timestamp.type"})
    topics.Admin(accepted).require_settings()
    topics.Admin(settings).require_group()


@pytest.mark.slow
@pytest.mark.kafka
def test_topics_that_are_too_small_for_what_is_written_to_them_are_all_named_at_once(
    kafka_bootstrap: str, kafka_prefix: str
) -> None:
    settings = Settings(kafka_bootstrap_servers=kafka_bootstrap, topic_prefix=kafka_prefix)
    small = [settings.topic(name) for name in ("usage.rollups", "usage.deadletter", "usage.alerts")]
    create_topics(kafka_bootstrap, dict.fromkeys(small, 1), config={"max.message.bytes": "500000"})
    topics.create(settings)
    with pytest.raises(topics.TopicUnfit) as unfit:
        topics.Admin(settings).require_settings()
    for name in small:
        assert f"topic '{name}' has max.message.bytes=500000" in str(unfit.value)
    topics.Admin(settings.model_copy(update={"topic_settings_accepted": "max.message.bytes"})).require_settings()
