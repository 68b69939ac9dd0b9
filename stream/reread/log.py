"""Reading given offsets of usage.events from outside: no group is joined, nothing is committed, no trace is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

from stream.consume.wire import kept
from stream.decode.cut import Cut, Header
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings
from stream.runtime.topics import KafkaUnavailable

ANSWER_SECONDS_MAX: Final = 15.0  # for one question; then the brokers are away
SILENCE_SECONDS_MAX: Final = 60.0  # without any record while some are due; longer than a broker's restart
POLL_SECONDS: Final = 0.5  # how long Ctrl-C may wait
RECORDS_AT_ONCE: Final = 10_000  # some tens of megabytes of usual events
BYTES_AT_ONCE: Final = 64 * 1024 * 1024  # of values; one record more may come on top


class LogRecord(NamedTuple):
    """A record as the gate wants it (``stream.decode.frame.Record``)."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False


class LogEnds(NamedTuple):
    """Offsets from ``begin`` until before ``end`` can be read."""

    begin: int
    end: int


class EventLog:
    """The topic as committed transactions leave it."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._consumer = Consumer(
            kafka_config(settings)
            | {
                "group.id": f"{settings.consumer_group}-reread",  # asked for by the client; nothing joins it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",  # what expires while it is read is passed over, and told as expired
                "log_level": 0,  # what it cannot mend by itself is raised here
            }
        )

    def ends(self, partition: int) -> LogEnds:
        try:
            place = TopicPartition(self._topic, partition)
            return LogEnds(*self._consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS_MAX))
        except KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error

    def offset_at(self, partition: int, moment: datetime) -> int:
        """The first offset whose record arrived at ``moment`` or later; the log's end if there is none."""
        asked = TopicPartition(self._topic, partition, round(moment.timestamp() * 1000))
        try:
            (found,) = self._consumer.offsets_for_times([asked], timeout=ANSWER_SECONDS_MAX)
        except KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error
        return found.offset if found.offset >= 0 else self.ends(partition).end

    def read(self, partition: int, first: int, last: int) -> Iterator[list[LogRecord]]:
        """The records from ``first`` to ``last`` that Kafka still has, in order, some at a time."""
        self._consumer.assign([TopicPartition(self._topic, partition, first)])
        some: list[LogRecord] = []
        size = 0
        try:
            for message in self._messages(last):
                some.append(_record(message))
                size += len(message)
                if len(some) >= RECORDS_AT_ONCE or size >= BYTES_AT_ONCE:
                    yield some
                    some, size = [], 0
            if some:
                yield some
        finally:
            self._consumer.unassign()

    def _messages(self, last: int) -> Iterator[Message]:
        heard = time.monotonic()
        while True:
            message = self._consumer.poll(POLL_SECONDS)
            if message is None:
                if time.monotonic() - heard > SILENCE_SECONDS_MAX:
                    raise self._unavailable(f"no record came for {SILENCE_SECONDS_MAX:.0f} s")
                continue
            heard = time.monotonic()
            error = message.error()
            if error is None:
                offset = message.offset() or 0
                if offset <= last:
                    yield message
                if offset >= last:
                    return
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.fatal() or error.code() in _LASTING:
                raise self._unavailable(error.str())

    def _unavailable(self, reason: str) -> KafkaUnavailable:
        return KafkaUnavailable(bootstrap_servers=self._settings.kafka_bootstrap_servers, reason=reason)

    def close(self) -> None:
        self._consumer.close()


_LASTING: Final = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART}


def _record(message: Message) -> LogRecord:
    """As much of it as the worker keeps, so that both judge it alike."""
    kind, timestamp = message.timestamp()
    place = (message.partition() or 0, message.offset() or 0, timestamp)
    key, value, headers, cut = kept(message.key(), message.value(), _headers(message))
    return LogRecord(*place, key, value, headers, cut, own_time=kind != TIMESTAMP_LOG_APPEND_TIME)


def _headers(message: Message) -> list[Header]:
    """The client reads names as UTF-8; those of a record with another name cannot be had."""
    try:
        found: Any = message.headers() or ()
    except UnicodeDecodeError:
        return []
    return list(found)
