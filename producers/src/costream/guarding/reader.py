"""The thread that reads ``usage.budgets``: whole, and then what is new. Whatever it cannot read limits nobody.

While Kafka cannot be asked, nothing is known: a limit may have been taken back meanwhile. So the limits are forgotten
with the contact, and read anew from the start of the topic when it is back; that is compacted, and small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from logging import INFO
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from pydantic import ValidationError

from costream.budgets import BudgetState
from costream.delivery import voice
from costream.delivery.complaints import Complaints
from costream.delivery.fork import GATE
from costream.delivery.link import RETRY_S, DebugLog
from costream.delivery.real import Bell, new_lock, start_thread
from costream.guarding.known import LIMITS_MAX, KnownLimits, is_understood
from costream.reasons import first_fault
from costream.settings import GuardSettings

POLL_S: Final = 0.2  # how long the end of the thread, and so that of a process, may take
PROBE_S: Final = 30.0  # so often Kafka is asked whether the topic is still the one that is read
ANSWER_S: Final = 5.0
STATE_BYTES_MAX: Final = 131_072  # above the largest that a worker writes: 100 values of 128 characters, escaped

# What these say is that nothing more will come until somebody mends it.
LASTING: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._ALL_BROKERS_DOWN,
    }
)


class Kafka(Protocol):
    """The part of ``confluent_kafka.Consumer`` that is used."""

    def list_topics(self, topic: str, timeout: float) -> Any: ...
    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def poll(self, timeout: float) -> Any: ...
    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]: ...
    def close(self) -> None: ...


Connect = Callable[[Mapping[str, Any]], Kafka]


class ContactLost(Exception):
    """Nobody can tell now which limits hold."""


class Reader:
    """``known`` is what may be asked; it is replaced where the topic is read anew. One process has one, and a forked
    child gets another."""

    def __init__(
        self,
        settings: GuardSettings,
        *,
        connect: Connect,
        known: KnownLimits,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """``known``: what holds until the topic is read, in a child what its parent knew."""
        self.known = known
        self.is_started = self.has_read = self.has_ended = False
        self.complaints = Complaints(voice.say, monotonic)
        self._settings, self._connect, self._now, self._monotonic = settings, connect, now, monotonic
        self._alive = new_lock()  # held by the living thread
        self._kafka: Kafka | None = None  # kept here, so that a child never destroys it
        self._bell = Bell()
        self._stopping = False
        self._failures = 0
        self._reading = KnownLimits()
        self._unread: set[int] = set()  # partitions whose end was not reached yet
        self._next: dict[int, int] = {}  # of each partition, the offset after what was read
        self._trouble, self._is_lost = "", False  # the last thing librdkafka complained about, and whether that is all
        self._probe_at = 0.0

    def start(self) -> None:
        """If no thread can be started, nothing is known, and the next one who asks tries again."""
        self.is_started = True
        self.is_started = start_thread(self._live)

    def stop(self) -> None:
        self._stopping = True
        self._bell.ring()

    # --- the thread ------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        if not self._alive.acquire(blocking=False):
            return  # two were started at once; one is enough
        while not self._stopping:
            try:
                self._read()
            except BaseException as error:  # noqa: BLE001 - it must neither reach the host nor end the thread
                self._forget(str(error) if isinstance(error, ContactLost) else repr(error))
            self._hang_up()
            self._bell.wait(0.0 if self._stopping else RETRY_S[min(self._failures, len(RETRY_S) - 1)])
            self._failures += 1
        self.known = KnownLimits()
        self.has_ended = True

    def _read(self) -> None:
        """From the start of the topic until the end of the thread. Raises ContactLost, or whatever went wrong."""
        kafka = self._open()
        self._assign(kafka)
        while not self._stopping:
            message = kafka.poll(POLL_S)
            if self._is_lost:
                raise ContactLost(self._trouble)
            if message is not None:
                self._hear(message)
            self._keep_house(kafka)

    def _open(self) -> Kafka:
        config = {**self._settings.kafka_config(), "error_cb": self._note, "logger": DebugLog}
        self._trouble, self._is_lost = "", False
        GATE.settling(id(self))
        with GATE:
            self._kafka = self._connect(config)
            GATE.settling(id(self))  # from now: making the handle took its time
        return self._kafka

    def _assign(self, kafka: Kafka) -> None:
        topic = self._settings.topic_name
        try:
            found = kafka.list_topics(topic, timeout=ANSWER_S).topics[topic]
        except KafkaException as error:
            raise ContactLost(self._trouble or error.args[0].str()) from error
        GATE.answered(id(self))
        if found.error is not None and found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise ContactLost(f"this user may not read topic '{topic}': grant Read on it")
        if found.error is not None or not found.partitions:
            raise ContactLost(f"there is no topic '{topic}': `costream topics create` creates it")
        self._reading, self._unread, self._next = KnownLimits(limits_max=LIMITS_MAX), set(found.partitions), {}
        self._probe_at = self._monotonic() + PROBE_S
        kafka.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in sorted(found.partitions)])

    def _hang_up(self) -> None:
        GATE.settled(id(self))
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            with suppress(Exception):
                kafka.close()

    def _note(self, error: KafkaError) -> None:
        """What librdkafka says beside messages; it reconnects by itself, but then something may have been missed."""
        is_last = error.code() == KafkaError._ALL_BROKERS_DOWN
        if not is_last or not self._trouble:  # it comes after the error that says why
            self._trouble = error.str()
        self._is_lost = self._is_lost or is_last or error.fatal()

    # --- what it hears -----------------------------------------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            self._next[partition] = offset + 1
            self._take(message.key() or b"", message.value())
        elif error.code() == KafkaError._PARTITION_EOF:
            self._next[partition] = offset
            self._unread.discard(partition)
            if not self._unread:
                self._use_what_is_read()
        elif error.fatal() or error.code() in LASTING:
            raise ContactLost(error.str())

    def _use_what_is_read(self) -> None:
        """Not before the end was reached: what a later message takes back must not refuse a call meanwhile."""
        if self.known is not self._reading:
            self.known, self.has_read = self._reading, True
            if self._failures:
                voice.say(INFO, "known", f"which budgets are limited is known again: {len(self.known)} limits hold")
            self._failures = 0

    def _take(self, key: bytes, value: bytes | None) -> None:
        state = None if value is None else _state(key, value)
        if isinstance(state, str):
            text = f"a message on '{self._settings.topic_name}' is not understood and limits nobody: {state}"
            self.complaints.say("message", text)
        if not isinstance(state, BudgetState) or not state.holds(self._now()):
            self._reading.remove(key)
        elif not self._reading.put(state):
            text = (
                f"more than {LIMITS_MAX} limits hold, which is all that a guard keeps; calls under others are allowed"
            )
            self.complaints.say("full", text)

    def _forget(self, reason: str) -> None:
        self.known, self.has_read = KnownLimits(), False
        servers, topic = self._settings.kafka_bootstrap_servers, self._settings.topic_name
        text = f"which budgets are limited is not known, so that calls are allowed: '{topic}' at {servers}: {reason}"
        self.complaints.say("unknown", text)

    # --- beside it ---------------------------------------------------------------------------------------------------

    def _keep_house(self, kafka: Kafka) -> None:
        if self._monotonic() < self._probe_at:
            return
        self._probe_at = self._monotonic() + PROBE_S
        self._probe(kafka)
        self._reading.forget_what_is_over(self._now())
        self.complaints.say_what_is_due()

    def _probe(self, kafka: Kafka) -> None:
        """Whether the topic is there, and has all that was read: one that was made anew is read anew."""
        for partition, offset in self._next.items():
            place = TopicPartition(self._settings.topic_name, partition)
            try:
                _, end = kafka.get_watermark_offsets(place, timeout=ANSWER_S)
            except KafkaException as error:
                raise ContactLost(error.args[0].str()) from error
            if end < offset:
                raise ContactLost("the topic was made anew, and is read from its start")


def _state(key: bytes, value: bytes) -> BudgetState | str:
    """Or why it cannot be understood."""
    if len(value) > STATE_BYTES_MAX:
        return f"it has {len(value)} bytes"
    try:
        with GATE:  # pydantic's core has locks of its own
            state = BudgetState.from_json(value)
    except ValidationError as error:
        return first_fault(error)
    if state.key != key:
        return "its key is not that of its budget and subject"
    return state if is_understood(state) else "this client does not know a field that it goes by"
