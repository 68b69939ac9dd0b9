"""The six topics on a real Kafka: created as specified, never changed behind anyone's back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # re-exported without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from typer.testing import CliRunner, Result

from costream.topics import DEADLETTER_BYTES_MAX, RECORD_BYTES_MAX
from stream.cli.topics import app
from stream.runtime import topics
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings
from stream.up.broker import EmbeddedBroker
from tests.support.kafka import create_topics


@pytest.fixture
def settings(kafka_bootstrap: str, kafka_prefix: str) -> Settings:
    return Settings(kafka_bootstrap_servers=kafka_bootstrap, topic_prefix=kafka_prefix)


@pytest.fixture
def costream(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``costream topics ...`` as a person types it."""
    monkeypatch.setenv("COSTREAM_KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("COSTREAM_TOPIC_PREFIX", settings.topic_prefix)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def named(states: list[topics.TopicState], name: str) -> topics.TopicState:
    (state,) = [state for state in states if state.name.endswith(name)]
    return state


def set_config(settings: Settings, topic: str, name: str, value: str) -> None:
    admin = AdminClient(kafka_config(settings))
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)
    deadline = time.monotonic() + 30
    while _config(admin, topic)[name] != value:
        assert time.monotonic() < deadline, f"{name} is still not {value}"
        time.sleep(0.05)


def _config(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return {name: entry.value for name, entry in admin.describe_configs([resource])[resource].result(30).items()}


def test_created_topics_are_as_specified(settings: Settings) -> None:
    states = topics.create(settings)

    assert [(state.name, state.partitions, state.action) for state in states] == [
        (settings.topic("usage.events"), 12, "created"),
        (settings.topic("usage.rollups"), 1, "created"),
        (settings.topic("usage.rollups.user_daily"), 1, "created"),
        (settings.topic("usage.alerts"), 1, "created"),
        (settings.topic("usage.budgets"), 1, "created"),
        (settings.topic("usage.deadletter"), 1, "created"),
    ]
    assert [state.differences for state in states] == [()] * 6
    assert len({state.topic_id for state in states} - {None}) == 6
    admin = AdminClient(kafka_config(settings))
    for spec in topics.TOPICS:
        assert _config(admin, settings.topic(spec.name)).items() >= {"message.timestamp.type": "LogAppendTime"}.items()


def test_creating_again_changes_nothing(settings: Settings) -> None:
    first = topics.create(settings, partitions=5)
    again = topics.create(settings)

    assert [state.action for state in again] == ["none"] * 6
    assert [(state.partitions, state.topic_id) for state in again] == [
        (state.partitions, state.topic_id) for state in first
    ]


def test_partitions_are_added_only_when_asked_for_by_number(settings: Settings) -> None:
    topics.create(settings, partitions=2)
    before = topics.topic_id(settings, settings.topic("usage.events"))

    grown = topics.create(settings, partitions=5)

    assert named(grown, "usage.events").action == "grown"
    assert topics.partition_count(settings, settings.topic("usage.events")) == 5
    assert topics.partition_count(settings, settings.topic("usage.rollups")) == 1
    assert topics.topic_id(settings, settings.topic("usage.events")) == before


def test_fewer_partitions_are_refused_with_both_numbers(settings: Settings) -> None:
    topics.create(settings, partitions=5)
    with pytest.raises(topics.TopicRefused, match=r"it has 5, asked for: 4"):
        topics.create(settings, partitions=4)
    assert topics.partition_count(settings, settings.topic("usage.events")) == 5


def test_what_differs_is_reported_and_left_alone(settings: Settings) -> None:
    create_topics(settings.kafka_bootstrap_servers, {settings.topic("usage.rollups"): 3})
    topics.create(settings)
    set_config(settings, settings.topic("usage.deadletter"), "retention.ms", "60000")

    states = topics.create(settings)

    deadletter, rollups = named(states, "usage.deadletter"), named(states, "usage.rollups")
    assert deadletter.differences == ("retention.ms is 60000; 7776000000 is specified",)
    assert "3 partitions; 1 is specified, its readers rely on one order" in rollups.differences
    assert "cleanup.policy is delete; compact,delete is specified" in rollups.differences
    assert named(topics.describe(settings), "usage.deadletter").differences == deadletter.differences


def test_a_record_that_usage_events_just_takes_fits_the_deadletter_topic_with_its_headers(settings: Settings) -> None:
    topics.create(settings)
    size = RECORD_BYTES_MAX - 100
    reason = [("reason", b"x" * 10_000)]

    assert _accepted(settings, "usage.events", size)
    assert not _accepted(settings, "usage.events", size, headers=reason)
    assert _accepted(settings, "usage.deadletter", size, headers=reason)
    assert _accepted(settings, "usage.deadletter", DEADLETTER_BYTES_MAX - 20_000, headers=reason)


def _accepted(settings: Settings, topic: str, size: int, **fields: Any) -> bool:
    errors: list[Any] = []
    config = kafka_config(settings) | {"message.max.bytes": 2 * DEADLETTER_BYTES_MAX}
    producer = Producer(config)
    producer.produce(settings.topic(topic), b"x" * size, on_delivery=lambda error, _: errors.append(error), **fields)
    assert producer.flush(30) == 0
    (error,) = errors
    return error is None  # comparing a KafkaError with None by == breaks the interpreter


def test_a_missing_topic_is_an_error_that_names_the_command(settings: Settings) -> None:
    with pytest.raises(topics.TopicMissing, match="`costream topics create` creates it"):
        topics.topic_id(settings, settings.topic("usage.events"))
    with pytest.raises(topics.TopicMissing, match="there is no topic"):
        topics.partition_count(settings, settings.topic("usage.events"))


def test_no_broker_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "ANSWER_MAX_S", 0.3)
    with pytest.raises(topics.KafkaUnavailable, match="COSTREAM_KAFKA_BOOTSTRAP_SERVERS"):
        topics.create(Settings(kafka_bootstrap_servers="127.0.0.1:9"))
    with pytest.raises(topics.KafkaUnavailable, match=r"127\.0\.0\.1:9 does not answer"):
        topics.describe(Settings(kafka_bootstrap_servers="127.0.0.1:9"))


def test_the_commands_create_list_and_say_what_is_missing(costream: Callable[..., Result], settings: Settings) -> None:
    empty = costream("list")
    created = costream("create", "--partitions", "3")
    listed = costream("list")
    as_json = costream("list", "--json")

    assert (empty.exit_code, created.exit_code, listed.exit_code) == (1, 0, 0)
    assert f"{settings.topic('usage.alerts')}: missing; `costream topics create` creates it" in empty.stdout
    assert f"{settings.topic('usage.events')}: created, 3 partitions, 1 copy, id " in created.stdout
    assert f"{settings.topic('usage.events')}: 3 partitions, 1 copy, id " in listed.stdout
    assert [topic["partitions"] for topic in json.loads(as_json.stdout)] == [3, 1, 1, 1, 1, 1]


def test_the_command_refuses_in_one_line_without_a_traceback(costream: Callable[..., Result]) -> None:
    costream("create", "--partitions", "3")
    refused = costream("create", "--partitions", "2")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("costream: topic ")
    assert refused.stderr.count("\n") == 1


def test_the_embedded_broker_is_described_and_refuses_to_be_administered() -> None:
    with EmbeddedBroker({"usage.events": 6}) as broker:
        settings = Settings(kafka_bootstrap_servers=broker.bootstrap_servers)
        assert named(topics.describe(settings), "usage.events").partitions == 6
        assert topics.topic_id(settings, "usage.events") is not None
        with pytest.raises(topics.TopicRefused, match="Topic Admin API"):
            topics.create(settings)


def test_security_settings_reach_the_client_and_only_those_that_apply() -> None:
    sasl = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="costream",
        kafka_sasl_password="s3cret",
        kafka_ssl_ca_location="/etc/ca.pem",
    )
    assert kafka_config(sasl) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "client.id": "costream",
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "costream",
        "sasl.password": "s3cret",
        "ssl.ca.location": "/etc/ca.pem",
    }
    assert kafka_config(Settings(kafka_sasl_username="unused", kafka_ssl_ca_location="/unused")) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "client.id": "costream",
        "security.protocol": "PLAINTEXT",
    }


def test_a_client_understands_every_security_setting_given() -> None:
    settings = Settings(kafka_security_protocol="SASL_PLAINTEXT", kafka_sasl_username="u", kafka_sasl_password="p")
    for protocol in ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            config = {"kafka_security_protocol": protocol, "kafka_sasl_mechanism": mechanism}
            AdminClient(kafka_config(settings.model_copy(update=config)) | {"log_level": 0})
    with pytest.raises(KafkaException):
        AdminClient(kafka_config(settings) | {"sasl.mechanisms": "SCRAM-SHA-1024"})
