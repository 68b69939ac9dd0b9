"""How a producer is configured, and what a bad value does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

import costream
from costream import InvalidSettings, UsageEvent, UsageProducer
from costream.delivery import voice
from costream.settings import is_enabled, resolve


def said(caplog: pytest.LogCaptureFixture) -> str:
    """The log, once the thread that speaks has said everything."""
    voice.wait(5)
    return caplog.text


@pytest.mark.parametrize("word", ["false", "0", "off", "no", "FALSE", "Off", " no "])
@pytest.mark.parametrize("name", ["COSTREAM_ENABLED", "LLM_USAGE_ENABLED"])
def test_either_switch_turns_it_off(name: str, word: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not is_enabled({name: word})
    assert not said(caplog)


@pytest.mark.parametrize("word", ["true", "1", "on", "yes", "True", "YES"])
@pytest.mark.parametrize("name", ["COSTREAM_ENABLED", "LLM_USAGE_ENABLED"])
def test_a_word_for_on_leaves_it_on_without_a_warning(name: str, word: str, caplog: pytest.LogCaptureFixture) -> None:
    assert is_enabled({name: word})
    assert not said(caplog)


@pytest.mark.parametrize("word", ["", "disabled", "f", "n", "2", "none", "flase"])
@pytest.mark.parametrize("name", ["COSTREAM_ENABLED", "LLM_USAGE_ENABLED"])
def test_any_other_word_warns_and_leaves_it_on(name: str, word: str, caplog: pytest.LogCaptureFixture) -> None:
    assert is_enabled({name: word})
    assert f"{name}={word!r}" in said(caplog)


def test_with_both_switches_one_off_is_enough() -> None:
    assert not is_enabled({"COSTREAM_ENABLED": "true", "LLM_USAGE_ENABLED": "off"})
    assert is_enabled({"COSTREAM_ENABLED": "true", "LLM_USAGE_ENABLED": "on"})
    assert is_enabled({})


@pytest.mark.parametrize("name", ["COSTREAM_ENABLED", "LLM_USAGE_ENABLED"])
def test_switched_off_it_makes_no_connection_no_thread_and_no_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, usage_event: Callable[..., UsageEvent]
) -> None:
    monkeypatch.setenv(name, "false")
    monkeypatch.setattr("costream.producer._connect", lambda config: pytest.fail("connected"))
    monkeypatch.setattr("costream.delivery.door.start_thread", lambda work: pytest.fail("started a thread"))
    with UsageProducer(bootstrap_servers="127.0.0.1:1") as producer:
        for number in range(100):
            producer.record(usage_event(number))
        producer.record("whatever")  # type: ignore[call-overload] # a pass-through looks at nothing
        producer.record(provider=object(), no_such_field=1)  # type: ignore[call-overload] # a pass-through looks at nothing
    assert producer.stats() == costream.ProducerStats()
    assert not (tmp_path / "spool").exists()


def test_settings_come_from_the_environment_unless_given() -> None:
    environ = {
        "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9093",
        "COSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "COSTREAM_KAFKA_SASL_MECHANISM": "PLAIN",
        "COSTREAM_KAFKA_SASL_USERNAME": "service",
        "COSTREAM_KAFKA_SASL_PASSWORD": "secret",
        "COSTREAM_KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
        "COSTREAM_TOPIC_PREFIX": "eu.",
        "COSTREAM_SPOOL_DIR": "/var/spool/costream",
        "COSTREAM_SPOOL_BYTES_MAX": "2097152",
        "COSTREAM_SPOOL_AGE_MAX": "PT12H",
        "COSTREAM_QUEUE_EVENTS_MAX": "50",
        "COSTREAM_ACK_WAIT_MAX": "1.5",
    }
    settings = resolve({}, environ)
    assert settings.topic_name == "eu.usage.events"
    assert settings.spool_dir == Path("/var/spool/costream")
    assert settings.spool_bytes_max == 2 * 1024**2
    assert settings.spool_age_max == timedelta(hours=12)
    config = settings.kafka_config()
    assert config["bootstrap.servers"] == "kafka-1:9093"
    assert (config["sasl.mechanism"], config["sasl.username"], config["sasl.password"]) == (
        "PLAIN",
        "service",
        "secret",
    )
    assert (config["security.protocol"], config["ssl.ca.location"]) == ("SASL_SSL", "/etc/ca.pem")
    assert (config["message.timeout.ms"], config["queue.buffering.max.messages"]) == (1_500, 50)
    given = resolve({"topic": "other", "spool_age_max": timedelta(days=1)}, environ)
    assert (given.topic_name, given.spool_age_max) == ("other", timedelta(days=1))


@pytest.mark.parametrize(("text", "age"), [("90", 90), ("1.5", 1.5), ("PT2M", 120), ("P1D", 86_400)])
def test_a_duration_is_seconds_or_iso_8601(text: str, age: float) -> None:
    assert resolve({}, {"COSTREAM_SPOOL_AGE_MAX": text}).spool_age_max == timedelta(seconds=age)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COSTREAM_SPOOL_BYTES_MAX", "a lot"),
        ("COSTREAM_SPOOL_BYTES_MAX", "1048575"),
        ("COSTREAM_SPOOL_AGE_MAX", "0"),
        ("COSTREAM_SPOOL_AGE_MAX", "a week"),
        ("COSTREAM_KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("COSTREAM_TOPIC_PREFIX", "a b"),
        ("COSTREAM_ACK_WAIT_MAX", "0.9"),
    ],
)
def test_a_bad_variable_is_named_in_a_warning_and_the_default_holds(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = resolve({}, {name: value, "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kept:9092"})
    assert settings == resolve({}, {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kept:9092"})
    assert f"{name} = {value!r}" in said(caplog)


def test_bad_arguments_are_the_callers_mistake_and_all_named_at_once() -> None:
    with pytest.raises(InvalidSettings) as raised:
        UsageProducer(spool_bytes_max=1, topic="no spaces", ack_wait_max=timedelta(0))
    assert len(raised.value.faults) == 3
    assert all(name in str(raised.value) for name in ("SPOOL_BYTES_MAX = 1", "topic = 'no spaces'", "ACK_WAIT_MAX"))


@pytest.mark.parametrize("fixed", ["enable.idempotence", "acks", "partitioner"])
def test_what_counting_once_rests_on_cannot_be_configured_away(fixed: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{fixed} cannot be changed"):
        UsageProducer(kafka={fixed: "0"})


def test_librdkafka_accepts_the_configuration_and_it_is_the_exact_one() -> None:
    config = resolve({"kafka": {"linger.ms": 5}}, {}).kafka_config()
    Producer(dict(config))
    assert config["partitioner"] == "murmur2_random"
    assert (config["enable.idempotence"], config["acks"], config["linger.ms"]) == (True, "all", 5)


def test_a_secret_is_in_no_repr_and_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    secret = {"COSTREAM_KAFKA_SASL_PASSWORD": "hunter2", "COSTREAM_SPOOL_BYTES_MAX": "x"}
    settings = resolve({"kafka": {"ssl.key.password": "hunter2"}}, secret)
    assert "hunter2" not in repr(settings) + str(settings) + said(caplog)
    with pytest.raises(InvalidSettings) as raised:
        UsageProducer(kafka={"acks": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_the_default_producer_is_made_once_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, embedded_bootstrap: str, topic: str, read_topic: Any, usage_event: Any
) -> None:
    monkeypatch.setattr("costream.producer._default", {})
    monkeypatch.setenv("COSTREAM_KAFKA_BOOTSTRAP_SERVERS", embedded_bootstrap)
    monkeypatch.setenv("COSTREAM_TOPIC_PREFIX", topic + ".")
    costream.record(usage_event())
    producer = costream.get_default_producer()
    assert producer is costream.get_default_producer()
    producer.close(20)
    assert [message.key for message in read_topic(embedded_bootstrap, topic + ".usage.events")] == ["request-0"]
