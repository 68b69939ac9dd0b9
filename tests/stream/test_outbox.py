"""What Kafka refuses for good is not sent for ever."""

from __future__ import annotations

import random

import pytest
from confluent_kafka import KafkaError

from stream.runtime.errors import PublishFailed, PublishRefused
from stream.store.flush import Outgoing
from stream.store.outbox import LASTING, MESSAGE_BYTES_MAX, Outbox, _failure
from tests.support.kafka import create_topics


@pytest.mark.kafka
def test_what_a_topic_will_not_take_is_refused_with_what_to_do_and_the_next_goes_out(
    kafka_bootstrap: str, kafka_prefix: str
) -> None:
    topic = f"{kafka_prefix}usage.rollups"
    create_topics(kafka_bootstrap, {topic: 1}, config={"max.message.bytes": "5000", "cleanup.policy": "compact"})
    outbox = Outbox({"bootstrap.servers": kafka_bootstrap})
    large = random.Random(1).randbytes(20_000)  # lz4 makes nothing smaller of it
    with pytest.raises(PublishRefused, match=rf"1 records were refused by '{topic}' for good.*its max.message.bytes"):
        outbox.publish(topic, [Outgoing(b"k", large, [])])
    with pytest.raises(PublishRefused, match=r"raise its max\.message\.bytes"):
        outbox.publish(topic, [Outgoing(b"k", bytes(MESSAGE_BYTES_MAX + 1), [])])
    with pytest.raises(PublishRefused, match="configuration of the topic"):
        outbox.publish(topic, [Outgoing(None, b"a compacted topic wants keys", [])])
    assert outbox.publish(topic, [Outgoing(b"k", b"small", [])]) == 1
    telling = Outbox({"bootstrap.servers": kafka_bootstrap}, tells_places=True)
    with pytest.raises(PublishRefused, match=r"its max\.message\.bytes"):
        telling.placed(topic, [Outgoing(b"k", b"small", []), Outgoing(b"k", large, [])])


@pytest.mark.parametrize("code", LASTING)
def test_one_record_that_is_refused_for_good_among_others_is_said_as_such(code: int) -> None:
    errors = [KafkaError(KafkaError._MSG_TIMED_OUT), KafkaError(code)]
    failure = _failure("usage.deadletter", errors)
    assert isinstance(failure, PublishRefused)
    assert str(failure).startswith("1 records were refused by 'usage.deadletter' for good")


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._MSG_TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._TRANSPORT,
    ],
)
def test_what_waiting_mends_is_waited_out(code: int) -> None:
    assert isinstance(_failure("usage.events", [KafkaError(code)]), PublishFailed)
