"""``UsageProducer``: publish usage events without ever hurting the service that makes them.

What a caller runs through here imports nothing and waits for no lock, so that a signal handler may record while the
thread that it interrupts is in its very first ``record()``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, Unpack, overload

from confluent_kafka import Producer

from costream.delivery import voice
from costream.delivery.courier import Courier
from costream.delivery.fields import Fields
from costream.delivery.fork import leak
from costream.delivery.intake import Given, gather
from costream.delivery.lifetime import dismiss, enroll
from costream.delivery.parcel import ProducerStats
from costream.delivery.real import new_lock
from costream.events import SCHEMA_VERSION, UsageEvent
from costream.settings import KafkaValue, resolve

CLOSE_WAIT_MAX_S: Final = 5.0


class _Courier(Protocol):
    """What a producer hands its events to: ``Courier``, or the memory of ``costream.testing``."""

    def start(self) -> None: ...
    def post(self, event: UsageEvent | Given) -> None: ...
    def now(self) -> datetime: ...
    def come_too_late(self) -> None: ...
    def flush(self, timeout: float) -> int: ...
    def close(self, timeout: float) -> None: ...
    def stats(self) -> ProducerStats: ...


class UsageProducer:
    """Publishes usage events from a background thread.

    Arguments that are not given are taken from the environment (``COSTREAM_*``), then from the defaults. Raises
    ``InvalidSettings`` for arguments that break a rule; Kafka and the disk are not touched by the caller's thread.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str | None = None,
        topic: str | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        spool_bytes_max: int | None = None,
        spool_age_max: timedelta | None = None,
        queue_events_max: int | None = None,
        ack_wait_max: timedelta | None = None,
        enabled: bool | None = None,
        kafka: Mapping[str, KafkaValue] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._prepare(
            {
                "kafka_bootstrap_servers": bootstrap_servers,
                "topic": topic,
                "spool_dir": None if spool_dir is None else Path(spool_dir),
                "spool_bytes_max": spool_bytes_max,
                "spool_age_max": spool_age_max,
                "queue_events_max": queue_events_max,
                "ack_wait_max": ack_wait_max,
                "enabled": enabled,
                "kafka": None if kafka is None else dict(kafka),
            },
            clock,
        )
        self._open()

    def _prepare(self, given: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        self._settings = resolve(given, os.environ)
        self._enabled = self._settings.enabled
        self._clock = clock
        self._closed = False
        self._closing = new_lock()
        self._courier = self._new_courier()

    def _open(self) -> None:
        if self._enabled:
            enroll(self)
            self._courier.start()  # also delivers what an earlier process left in the spool

    def _new_courier(self) -> _Courier:
        headers = [
            ("content-type", b"application/json"),
            ("costream-client", CLIENT.encode()),
            ("schema-version", str(SCHEMA_VERSION).encode()),
        ]
        return Courier(self._settings, connect=_connect, headers=headers, clock=self._clock, monotonic=time.monotonic)

    @overload
    def record(self, event: UsageEvent) -> None: ...
    @overload
    def record(self, **fields: Unpack[Fields]) -> None: ...
    def record(self, *args: Any, **fields: Any) -> None:
        """Publish an event, or the call that these fields describe. Returns at once and raises nothing.

        Fields are taken as hosts have them: an id may be an int or a UUID, an ``error`` an exception, a count numpy's.
        What only describes the call is cut, replaced or left out where it breaks a rule, and the event says so; where
        what it cost would have to be guessed, the event is refused. Whatever goes wrong is counted in ``stats()`` and
        logged; an event that Kafka does not take waits on disk until it does.
        """
        if not self._enabled:
            return
        if len(args) == 1 and type(args[0]) is UsageEvent and not fields:  # the short way of most calls
            event: UsageEvent | Given = args[0]
        else:
            event = self._gather(args, fields)
        if self._closed:
            self._courier.come_too_late()
        else:
            self._courier.post(event)
        if voice.LINES:
            voice.lend_a_thread()

    def _gather(self, args: tuple[Any, ...], fields: dict[str, Any]) -> UsageEvent | Given:
        try:
            return gather(args, fields, now=self._courier.now)
        except Exception as error:  # noqa: BLE001 - a value of the caller's does what it likes when it is looked at
            return Given({}, f"it cannot be read: {type(error).__name__}")

    def flush(self, timeout: float = CLOSE_WAIT_MAX_S) -> int:
        """Wait until every event recorded so far is acknowledged by Kafka or on disk.

        Returns how many are neither when the time is up: 0 means that all are safe. It blocks; from asyncio use
        ``await asyncio.to_thread(producer.flush)``.
        """
        if self._closed or not self._enabled:
            return 0
        left = self._courier.flush(timeout)
        voice.lend_a_thread()
        return left

    def close(self, timeout: float = CLOSE_WAIT_MAX_S) -> None:
        """Deliver for at most ``timeout`` seconds; what Kafka has not acknowledged by then goes to the spool.

        An open producer is closed at the interpreter's exit. A second call does nothing.
        """
        if not self._closing.acquire(blocking=False):  # it is never released
            return
        self._closed = True
        dismiss(self)
        if self._enabled:
            self._courier.close(timeout)

    def stats(self) -> ProducerStats:
        return self._courier.stats()

    def hand_over(self, timeout: float) -> None:
        """Called where the process may end: deliver or spool what there is. The producer stays open."""
        courier, self._courier = self._courier, self._new_courier()
        courier.close(timeout)

    def start_over_in_child(self) -> None:
        """Called in a forked child: the parent delivers what it has recorded, the child starts with nothing."""
        leak(self._courier)
        self._courier = self._new_courier()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"UsageProducer(topic={self._settings.topic_name!r}, {self.stats()})"


def _connect(config: Mapping[str, Any]) -> Producer:
    return Producer(dict(config))


def _client() -> str:
    """How this client names itself in the header of every message."""
    try:
        return f"python/{version('costream')}"
    except PackageNotFoundError:  # used from a source tree
        return "python/unknown"


CLIENT: Final = _client()  # looked up at import: it imports a good deal itself, and record() must not

_KEY: Final = "default"
_default: Final[dict[str, UsageProducer]] = {}  # one at most; a dict, because setdefault() is a single step


def get_default_producer() -> UsageProducer:
    """The producer behind ``costream.record``, made from ``COSTREAM_*`` when it is first asked for."""
    found = _default.get(_KEY)
    if found is not None:
        return found
    candidate = UsageProducer.__new__(UsageProducer)
    candidate._prepare({}, lambda: datetime.now(UTC))
    # Who comes first, of several threads or of a thread and the signal handler that interrupts it, makes the default.
    chosen = _default.setdefault(_KEY, candidate)
    if chosen is candidate:
        candidate._open()
    return chosen


@contextmanager
def use_as_default(producer: UsageProducer) -> Iterator[None]:
    """Put another producer behind ``costream.record`` for a while; for tests."""
    before, _default[_KEY] = _default.get(_KEY), producer
    try:
        yield
    finally:
        if before is None:
            _default.pop(_KEY, None)
        else:
            _default[_KEY] = before


@overload
def record(event: UsageEvent) -> None: ...
@overload
def record(**fields: Unpack[Fields]) -> None: ...
def record(*args: Any, **fields: Any) -> None:
    """Publish an event, or the call that these fields describe, through the default producer.

    Returns at once and raises nothing; see ``UsageProducer.record``.
    """
    try:
        producer = _default.get(_KEY) or get_default_producer()
    except Exception as error:  # noqa: BLE001 - nothing known raises here, and nothing may
        voice.say(logging.ERROR, "bug", f"a usage event is lost, no producer can be made: {error!r}")
        return
    producer.record(*args, **fields)


def flush(timeout: float = CLOSE_WAIT_MAX_S) -> int:
    """``UsageProducer.flush`` of the default producer; 0 where nothing has been recorded yet."""
    producer = _default.get(_KEY)
    return producer.flush(timeout) if producer else 0


def stats() -> ProducerStats:
    """``UsageProducer.stats`` of the default producer; zeros where nothing has been recorded yet."""
    producer = _default.get(_KEY)
    return producer.stats() if producer else ProducerStats()
