"""The Kafka handle: whether it is up, and what it says about the messages it was offered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from itertools import count
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException

from costream.delivery import voice
from costream.delivery.fork import GATE
from costream.delivery.real import is_patched
from costream.delivery.spool import Message
from costream.settings import Settings

# After failures that come at once, such as a refused login; a message that timed out has waited already.
RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)

# Kafka will say the same of these messages for ever.
HOPELESS: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD})
# These say nothing about Kafka: we took the message back ourselves.
TAKEN_BACK: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})

Answer = Callable[[KafkaError | None, Any], None]


class Kafka(Protocol):
    """The part of ``confluent_kafka.Producer`` that is used."""

    def produce(self, topic: str, *, key: bytes, value: bytes, headers: Any, on_delivery: Any) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def purge(self, *, in_queue: bool, in_flight: bool, blocking: bool) -> None: ...


Connect = Callable[[Mapping[str, Any]], Kafka]


class Offer(Enum):
    TAKEN = auto()  # Kafka answers later, within listen()
    NO_ROOM = auto()  # or no handle
    HOPELESS = auto()


_kafka_log: Final = logging.getLogger("costream.kafka")


class DebugLog:
    """librdkafka's own lines: kept from stderr, there for who looks. What matters of them is in our warnings."""

    @staticmethod
    def log(_level: int, text: str, *args: Any, **_: Any) -> None:
        if is_patched() or _kafka_log.isEnabledFor(logging.DEBUG):  # where patched, even the question takes a lock
            voice.say(logging.DEBUG, "kafka", text % args, log=_kafka_log)


class Link:
    """Used by the background thread alone. ``on_down`` is told why Kafka takes no events, ``on_up`` that it does."""

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Connect,
        headers: Sequence[tuple[str, bytes]],
        monotonic: Callable[[], float],
        on_down: Callable[[str], None],
        on_up: Callable[[], None],
    ) -> None:
        self.up = True
        self.proved = False  # whether this handle has had an acknowledgement
        self._settings = settings
        self._connect = connect
        self._headers = list(headers)
        self._monotonic = monotonic
        self._on_down = on_down
        self._on_up = on_up
        self._kafka: Kafka | None = None
        self._numbers = count()
        self._unanswered: dict[int, Answer] = {}
        self._trouble = ""  # the last thing librdkafka complained about
        self._unreachable = False
        self._broken = False
        self._retry_at = 0.0
        self._failures = 0

    def offer(self, message: Message, answer: Answer) -> Offer:
        kafka = self._kafka or self._open()
        if kafka is None:
            return Offer.NO_ROOM
        number = next(self._numbers)
        try:
            kafka.produce(
                self._settings.topic_name,
                key=message.key,
                value=message.value,
                headers=self._headers,
                on_delivery=partial(self._on_answer, number),
            )
        except BufferError:
            return Offer.NO_ROOM
        except KafkaException as error:
            self._note(error.args[0])
            return Offer.HOPELESS if error.args[0].code() in HOPELESS else Offer.NO_ROOM
        self._unanswered[number] = answer  # it is given within listen() or take_back(), never within produce()
        return Offer.TAKEN

    def _on_answer(self, number: int, error: KafkaError | None, message: Any) -> None:
        answer = self._unanswered.pop(number, None)
        if answer is not None:
            answer(error, message)

    def _open(self) -> Kafka | None:
        if not self.may_try():
            return None
        config = {**self._settings.kafka_config(), "error_cb": self._note, "logger": DebugLog}
        try:
            GATE.settling(id(self))
            with GATE:
                self._kafka = self._connect(config)
                GATE.settling(id(self))  # from now: making the handle took its time
        except (KafkaException, ValueError, TypeError) as error:  # settings that librdkafka does not accept
            GATE.settled(id(self))
            self.go_down(f"its client cannot be made: {error}")
            self._postpone()
        return self._kafka

    def listen(self) -> None:
        """Let librdkafka give the answers it has."""
        if self._kafka is not None:
            self._kafka.poll(0)

    def _note(self, error: KafkaError) -> None:
        last_broker_gone = error.code() == KafkaError._ALL_BROKERS_DOWN
        if not last_broker_gone or not self._trouble:  # it comes after the error that says why
            self._trouble = error.str()
        self._unreachable = self._unreachable or last_broker_gone
        self._broken = self._broken or error.fatal()

    def lost_contact(self) -> bool:
        """Whether, since the last question, the last broker went away."""
        unreachable, self._unreachable = self._unreachable, False
        return unreachable

    @property
    def broken(self) -> bool:
        """Whether the handle met an error that it cannot recover from."""
        return self._broken

    def take_back(self) -> None:
        """Have every unanswered message answered as taken back, and give the handle up.

        The next one starts with a producer id of its own: a message taken out of the middle of an idempotent sequence
        would leave a gap in this one's.
        """
        GATE.settled(id(self))
        kafka, self._kafka, self._broken, self.proved = self._kafka, None, False, False
        if kafka is not None:
            kafka.purge(in_queue=True, in_flight=True, blocking=True)
            kafka.poll(0)
        # A purge passes over messages that a broker's thread holds just then, and who gives the handle up would never
        # hear of them again. If one of them was written after all, it comes twice, and counts once.
        for number in list(self._unanswered):
            self._on_answer(number, KafkaError(KafkaError._PURGE_INFLIGHT), None)

    def acknowledged(self) -> None:
        if not self.proved:
            GATE.answered(id(self))
        self._failures, self._retry_at, self.proved = 0, 0.0, True
        if not self.up:
            self.up, self._trouble = True, ""
            self._on_up()

    def blame(self, error: KafkaError) -> None:
        """A message failed with this."""
        if error.code() not in TAKEN_BACK:
            self.go_down(error.str())
            if error.code() != KafkaError._MSG_TIMED_OUT:
                self._postpone()

    def go_down(self, reason: str = "") -> None:
        if self.up:
            self.up = False
            self._on_down(reason or self._trouble)

    def assume_up(self) -> None:
        """Nothing is left to try Kafka with, so the next event does."""
        if self.may_try():
            self.up = True

    def may_try(self) -> bool:
        return self._monotonic() >= self._retry_at

    def _postpone(self) -> None:
        """Leave Kafka alone for a while, longer each time."""
        if self.may_try():
            self._retry_at = self._monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
