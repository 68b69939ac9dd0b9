"""For the tests of services that record usage: a producer that keeps everything in memory, and a guard likewise.

from costream.testing import capture

def test_a_chat_is_recorded():
    with capture() as usage:
        answer("How long is the Nile?")  # calls costream.record(...)
    assert usage.events[0].feature == "chatbot"

def test_who_has_used_up_a_budget_is_told_so():
    guard = MemoryGuard()
    guard.limit("user_daily_budget", user_id="ann")
    assert "used up" in answer("How long is the Nile?", user_id="ann", guard=guard)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Unpack, cast
from uuid import uuid4

from costream import guard, producer
from costream.budgets import BudgetState
from costream.delivery import voice
from costream.delivery.complaints import Complaints
from costream.delivery.intake import Given, to_message
from costream.delivery.parcel import ProducerStats
from costream.delivery.spool import Message
from costream.events import UsageEvent
from costream.guarding.asked import Call, Canonical, Values
from costream.guarding.known import KnownLimits

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


class MemoryGuard(guard.BudgetGuard):
    """A ``BudgetGuard`` that knows the limits that a test gives it: no thread, no network. It is on."""

    def __init__(
        self, *, canonical: Canonical | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(enabled=True, canonical=canonical, clock=clock)

    def _new_reader(self, known: KnownLimits) -> _MemoryReader:
        return _MemoryReader(known)

    def limit(self, budget: str, *, lasts: timedelta = timedelta(days=1), **subject: Unpack[Call]) -> None:
        """From now on calls with these values are limited, all calls if none are given; it lifts by the clock."""
        values = Values(cast(dict[str, object], subject), self._canonical)
        now = self._now()
        state = BudgetState(
            budget=budget,
            subject={field: values[field] for field in subject},
            period="day",
            zone="UTC",
            period_start=now,
            period_end=now + lasts,
            limited=True,
            spent=Decimal("9.5"),
            amount=Decimal(10),
            limit=Decimal("9.5"),
            currency="USD",
            ratio=Decimal("0.95"),
            rules_revision=0,
            timestamp=now,
        )
        self._reader.known.put(state)


class _MemoryReader:
    """Has read all there is."""

    is_started = has_read = has_ended = True

    def __init__(self, known: KnownLimits) -> None:
        self.known, self.complaints = known, Complaints(voice.say, time.monotonic)

    def start(self) -> None:
        """Nothing has to be started."""

    def stop(self) -> None:
        """Nothing is under way."""
