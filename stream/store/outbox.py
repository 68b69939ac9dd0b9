"""What the worker publishes: rollups, forwarded events, dead letters, alerts. Sent, and known to have arrived."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stream.runtime.errors import PublishFailed, PublishRefused
from stream.runtime.kafka import BATCH_BYTES_MAX
from stream.runtime.rights import WRITE, RightMissing, right_on_topic
from stream.store.flush import Outgoing

ACKNOWLEDGE_SECONDS_MAX: Final = 30.0  # then the batch is sent again; consumers know a repeat by its key and headers
PARTITION_OF_KEY: Final = -1  # librdkafka's RD_KAFKA_PARTITION_UA
QUEUE_KILOBYTES_MAX: Final = 131_072  # above what a batch of usual events publishes; beyond it the worker waits
MESSAGE_BYTES_MAX: Final = 12_000_000  # a refused record may be as large as its topic allows, and headers come on top


# What no waiting mends, and what does. Everything else is an outage, which is waited out.
SIZE: Final = "raise its max.message.bytes with `kafka-configs.sh --alter` (`costream topics create` says by how much)"
TOPIC: Final = "see the configuration of the topic and the log of the broker"
LASTING: Final[Mapping[int, str]] = {
    KafkaError.MSG_SIZE_TOO_LARGE: SIZE,
    KafkaError.RECORD_LIST_TOO_LARGE: SIZE,
    KafkaError.POLICY_VIOLATION: TOPIC,
    KafkaError.INVALID_RECORD: TOPIC,
    KafkaError.INVALID_MSG: TOPIC,
    KafkaError.INVALID_MSG_SIZE: TOPIC,
    KafkaError.INVALID_TIMESTAMP: TOPIC,
    KafkaError.INVALID_REQUIRED_ACKS: TOPIC,
    KafkaError.TOPIC_EXCEPTION: TOPIC,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: TOPIC,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: TOPIC,
}
# What a person mends by granting a right. An idempotent producer is refused by the cluster if it may write nowhere.
FORBIDDEN: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)

Place = tuple[int | None, int | None]  # partition and offset


class Outbox:
    """A librdkafka producer that is flushed after each batch: ``publish`` returns when Kafka has everything.

    ``tells_places`` makes one whose ``placed`` says where each record stands; it is slower.
    """

    def __init__(self, config: Mapping[str, Any], *, compression: str = "lz4", tells_places: bool = False) -> None:
        self._tells_places = tells_places
        self._config: dict[str, Any] = {
            **config,
            "log_level": 0,  # what fails is raised as PublishFailed and said once, not on standard error
            "logger": _SILENT,  # and the end of a producer is said there at any level
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # the default of the Java clients, so that all agree on an id's home
            "compression.type": compression,
            "linger.ms": 5,
            "batch.size": BATCH_BYTES_MAX,
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "message.timeout.ms": int(ACKNOWLEDGE_SECONDS_MAX * 1000),
            # There are as many records as changed rows; success needs no call.
            "delivery.report.only.error": not tells_places,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": QUEUE_KILOBYTES_MAX,
        }
        self._start()

    def publish(self, topic: str, messages: Iterable[Outgoing]) -> int:
        """Send and wait for every acknowledgement; raises PublishFailed if one is missing, RightMissing if that is for
        want of a right, and PublishRefused if it would be missing again."""
        self._failures.clear()
        sent = 0
        for message in messages:
            self._send(topic, message)
            sent += 1
        if sent:
            self._wait(topic)
        return sent

    def placed(self, topic: str, messages: Sequence[Outgoing]) -> list[Place]:
        """Like ``publish``; returns partition and offset of each record, and an offset of None where Kafka has the
        record and has not told."""
        assert self._tells_places, "the producer was not made for it"
        places: list[Place] = [(None, None)] * len(messages)
        self._failures.clear()
        for number, message in enumerate(messages):
            self._send(topic, message, partial(_note, places, number, self._failures))
        if messages:
            self._wait(topic)
        return places

    def _send(self, topic: str, message: Outgoing, on_delivery: Callable[..., None] | None = None) -> None:
        key, value, headers, partition = message
        while True:
            try:
                if headers or partition is not None or on_delivery is not None:
                    place = PARTITION_OF_KEY if partition is None else partition
                    self._producer.produce(topic, value, key, place, on_delivery=on_delivery, headers=headers or None)
                else:  # nearly all, and it takes half as long
                    self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.1)  # its queue is full: let it send
            except KafkaException as error:
                self._start_anew()  # a producer that has not heard of a new partition refuses it for minutes
                raise self._failed(topic, [error.args[0]]) from error
            else:
                return

    def _wait(self, topic: str) -> None:
        try:
            waiting = self._producer.flush(ACKNOWLEDGE_SECONDS_MAX)
        except (KafkaException, SystemError) as error:  # the producer has ended; the latter, where it says so twice
            fatal = error if isinstance(error, KafkaException) else error.__cause__
            failure = self._failed(topic, [*_errors_in(fatal), *self._failures])
            self._start_anew()
            raise failure from error
        if not (waiting or self._failures):
            return
        failure = self._failed(topic, self._failures, waiting=waiting)
        if waiting or isinstance(failure, RightMissing):
            self._start_anew()  # one that was refused keeps that in mind
        raise failure

    def _start_anew(self) -> None:
        """What is still queued will be sent again from the batch; a purge would leave the idempotent producer a gap."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._start()

    def _start(self) -> None:
        """A producer with a list of its own: what the one before may still report is not about the next batch."""
        failures: list[KafkaError] = []
        troubles: dict[int, KafkaError] = {}

        def on_delivery(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                failures.append(error)

        def on_trouble(error: KafkaError) -> None:
            """The producer's own: it is not let in, or may not start. The latest of each kind."""
            troubles[error.code()] = error

        # One callback for all: handing it over with each message takes longer than to produce the message.
        self._producer = Producer(self._config | {"on_delivery": on_delivery, "error_cb": on_trouble})
        self._failures, self._troubles = failures, troubles

    def _failed(
        self, topic: str, errors: Sequence[KafkaError], *, waiting: int = 0
    ) -> PublishFailed | PublishRefused | RightMissing:
        """``errors`` are those of records; why the brokers cannot be reached at all is a trouble of the producer's."""
        if any(error.code() in LASTING for error in errors):
            return _failure(topic, errors)
        if any(error.code() in FORBIDDEN for error in [*errors, *self._troubles.values()]):
            return RightMissing(
                rights=[right_on_topic(topic, [WRITE])],
                user=str(self._config.get("sasl.username", "")),
                bootstrap_servers=str(self._config["bootstrap.servers"]),
                data="What was to be published is kept, and published once it is granted",
            )
        told = self._troubles.get(KafkaError._AUTHENTICATION) or self._troubles.get(KafkaError._SSL)
        reason = told or (errors[0] if errors else None)
        return PublishFailed(
            topic=topic,
            unacknowledged=waiting + len(errors),
            reason=reason.str() if reason else "no answer from the brokers in time",
        )


def _note(
    places: list[Place], number: int, failures: list[KafkaError], error: KafkaError | None, message: Message
) -> None:
    """What Kafka says of one record."""
    if error is not None:
        failures.append(error)
        return
    partition, offset = message.partition(), message.offset()
    places[number] = (partition, None if offset is None or offset < 0 else offset)


def _failure(topic: str, errors: Sequence[KafkaError]) -> PublishFailed | PublishRefused:
    """One record that is refused for good is enough: the batch goes out whole or not at all."""
    refused = [error for error in errors if error.code() in LASTING]
    if not refused:
        return PublishFailed(topic=topic, unacknowledged=len(errors), reason=errors[0].str())
    first = refused[0]
    return PublishRefused(topic=topic, refused=len(refused), reason=first.str(), remedy=LASTING[first.code()])


def _errors_in(fatal: BaseException | None) -> list[KafkaError]:
    return [fatal.args[0]] if isinstance(fatal, KafkaException) else []


_SILENT: Final = logging.getLogger(f"{__name__}.librdkafka")
_SILENT.disabled = True
