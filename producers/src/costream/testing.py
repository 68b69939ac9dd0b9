"""For the tests of services that record usage: a producer that keeps everything in memory.

from costream.testing import capture

def test_a_chat_is_recorded():
    with capture() as usage:
        answer("How long is the Nile?")  # calls costream.record(...)
    assert usage.events[0].feature == "chatbot"
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from costream import producer
from costream.delivery.intake import Given, to_message
from costream.delivery.parcel import ProducerStats
from costream.delivery.spool import Message
from costream.events import UsageEvent

EVENTS_MAX: Final = 100_000  # a test that records more is a loop gone wrong; what is beyond counts as dropped


class MemoryProducer(producer.UsageProducer):
    """A ``UsageProducer`` whose Kafka is a list: same checks, same counts, no thread, no disk, no network.

    It is on even where ``COSTREAM_ENABLED=false``: a test wants to see what its service records.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__(enabled=enabled)

    def _new_courier(self) -> _MemoryCourier:
        self._memory = _MemoryCourier()
        return self._memory

    @property
    def events(self) -> list[UsageEvent]:
        """What was recorded, read back from the bytes that Kafka would have got."""
        return [UsageEvent.model_validate_json(message.value) for message in self._memory.messages]

    @property
    def messages(self) -> list[tuple[bytes, bytes]]:
        """Key and value of each message."""
        return [(message.key, message.value) for message in self._memory.messages]

    @property
    def refusals(self) -> list[str]:
        """Why what was refused is no event: field, value and rule."""
        return list(self._memory.refusals)

    def clear(self) -> None:
        """Forget the events, not the counts."""
        self._memory.messages.clear()


@contextmanager
def capture() -> Iterator[MemoryProducer]:
    """``costream.record`` goes to the memory producer that this yields, until the block ends."""
    with MemoryProducer() as memory, producer.use_as_default(memory):
        yield memory


class _MemoryCourier:
    """Takes what it is given, at once."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.refusals: list[str] = []
        self._delivered = self._dropped = self._refused = self._changed = 0
        self._lock = threading.RLock()

    def start(self) -> None:
        """Nothing has to be started."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def post(self, event: UsageEvent | Given) -> None:
        with self._lock:
            if len(self.messages) >= EVENTS_MAX:
                self._dropped += 1
                return
            try:
                message, changes = to_message(event, new_id=lambda: str(uuid4()))
            except Exception as error:  # noqa: BLE001 - a Refused, or whatever a value does when it is looked at
                self._refused += 1
                self.refusals.append(str(error))
                return
            self.messages.append(message)
            self._delivered += 1
            self._changed += bool(changes)

    def come_too_late(self) -> None:
        with self._lock:
            self._dropped += 1

    def flush(self, timeout: float) -> int:
        return 0

    def close(self, timeout: float) -> None:
        """Nothing is under way."""

    def stats(self) -> ProducerStats:
        recorded = self._delivered + self._dropped + self._refused
        return ProducerStats(
            recorded=recorded,
            delivered=self._delivered,
            dropped=self._dropped,
            refused=self._refused,
            changed=self._changed,
        )
