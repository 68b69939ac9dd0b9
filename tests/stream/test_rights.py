"""Which right is missing, how it is granted, and that whoever waits for one says so where people and machines look."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from stream.runtime import topics
from stream.runtime.errors import PublishFailed, PublishRefused
from stream.runtime.patience import Patience
from stream.runtime.rights import NEEDED, READ, WRITE, Right, RightMissing, missing, right_on_group, right_on_topic
from stream.store.outbox import FORBIDDEN, LASTING, Outbox


def test_what_a_broker_does_not_tell_is_not_called_missing() -> None:
    assert missing("t", (READ, WRITE), None) is None
    assert missing("t", (READ, WRITE), []) is None
    assert missing("t", (READ, WRITE), [AclOperation.ALL]) is None


def test_the_operations_that_lack_are_named_and_no_others() -> None:
    assert missing("t", (READ, WRITE), [READ, WRITE, AclOperation.DESCRIBE]) is None
    assert missing("t", (READ, WRITE), [READ, AclOperation.DESCRIBE]) == Right("topic", "t", ("Write",))
    assert missing("t", (READ, WRITE), [AclOperation.DESCRIBE]) == Right("topic", "t", ("Read", "Write"))


def test_every_topic_has_its_rights() -> None:
    assert NEEDED.keys() == {spec.name for spec in topics.TOPICS}


def test_a_missing_right_says_who_what_where_and_how() -> None:
    rights = [right_on_topic("p.usage.events", [READ, WRITE]), right_on_group("g")]
    text = str(RightMissing(rights=rights, user="u", bootstrap_servers="here:9093", data="Nothing was consumed"))
    assert text == (
        "Kafka at here:9093 refuses 'u': grant `Read and Write on topic p.usage.events`, `Read on group g`, as by "
        "`kafka-acls.sh --bootstrap-server here:9093 --add --allow-principal User:u --operation Read --operation Write "
        "--topic p.usage.events`, `kafka-acls.sh --bootstrap-server here:9093 --add --allow-principal User:u "
        "--operation Read --group g`, and see that no ACL denies it. Nothing was consumed"
    )


@pytest.mark.parametrize("code", FORBIDDEN)
def test_a_publication_that_is_forbidden_waits_for_the_right_and_one_that_can_never_be_does_not(code: int) -> None:
    outbox = Outbox({"bootstrap.servers": "127.0.0.1:1", "sasl.username": "u"})
    errors = [KafkaError(KafkaError._MSG_TIMED_OUT), KafkaError(code)]
    failure = outbox._failed("usage.alerts", errors)
    assert isinstance(failure, RightMissing)
    assert "refuses 'u': grant `Write on topic usage.alerts`" in str(failure)
    assert isinstance(outbox._failed("t", [*errors, KafkaError(next(iter(LASTING)))]), PublishRefused)
    assert isinstance(outbox._failed("t", [], waiting=3), PublishFailed)


def test_a_refusal_is_an_error_and_told_of_for_as_long_as_it_lasts() -> None:
    patience = Patience(Gauge("stalled", "", registry=CollectorRegistry()))
    outage = patience.outage("reading")
    refused = RightMissing(rights=[right_on_group("g")], user="", bootstrap_servers="here:9092", data="")
    with capture_logs() as lines:
        outage.because(refused, refused=True)
        outage.because(refused, refused=True)
        assert patience.refusals == [f"reading: {refused}"]
        outage.because(TimeoutError("away"))
        assert patience.refusals == []
        outage.because(refused, refused=True)
        outage.over()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("stalled", "error"),
        ("still stalled", "warning"),
        ("still stalled", "error"),
        ("going on", "warning"),
    ]
    assert patience.refusals == []


def test_whoever_insists_on_something_forbidden_says_it_as_an_error() -> None:
    patience = Patience(Gauge("stalled", "", registry=CollectorRegistry()), dice=lambda: 0.0)
    outcomes = [RightMissing(rights=[right_on_group("g")], user="", bootstrap_servers="here:9092", data=""), None]

    def publish() -> None:
        if (refused := outcomes.pop(0)) is not None:
            raise refused

    with capture_logs() as lines:
        patience.insist(publish, doing="storing a batch")
    assert [(line["event"], line["log_level"]) for line in lines] == [("stalled", "error"), ("going on", "warning")]
