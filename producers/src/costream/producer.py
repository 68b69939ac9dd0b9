"""``UsageProducer``: publish usage events without ever hurting the service that makes them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from confluent_kafka import Producer

from costream._courier import Courier
from costream._fork import leak
from costream._lifetime import dismiss, enroll
from costream._parcel import ProducerStats
from costream._settings import KafkaValue, resolve
from costream.errors import NotAUsageEvent
from costream.events import SCHEMA_VERSION, UsageEvent

CLOSE_WAIT_MAX_S: Final = 5.0


class _Courier(Protocol):
    """What a producer hands its events to: ``Courier``, or the memory of ``costream.testing``."""

    def start(self) -> None: ...
    def post(self, event: UsageEvent) -> None: ...
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
        self._settings = resolve(
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
            os.environ,
        )
        self._clock = clock
        self._closed = False
        self._closing = threading.Lock()
        self._courier = self._new_courier()
        if self._settings.enabled:
            enroll(self)
            self._courier.start()  # also delivers what an earlier process left in the spool

    def _new_courier(self) -> _Courier:
        headers = [
            ("content-type", b"application/json"),
            ("costream-client", _client().encode()),
            ("schema-version", str(SCHEMA_VERSION).encode()),
        ]
        return Courier(self._settings, connect=_connect, headers=headers, clock=self._clock, monotonic=time.monotonic)

    def record(self, event: UsageEvent) -> None:
        """Publish the event. Returns at once and raises nothing but ``NotAUsageEvent``.

        Whatever goes wrong afterwards is counted in ``stats()`` and logged; an event that Kafka does not take waits on
        disk until it does.
        """
        if not self._settings.enabled:
            return
        if not isinstance(event, UsageEvent):
            raise NotAUsageEvent(event)
        if self._closed:
            self._courier.come_too_late()
        else:
            self._courier.post(event)

    def flush(self, timeout: float = CLOSE_WAIT_MAX_S) -> int:
        """Wait until every event recorded so far is acknowledged by Kafka or on disk.

        Returns how many are neither when the time is up: 0 means that all are safe. It blocks; from asyncio use
        ``await asyncio.to_thread(producer.flush)``.
        """
        if self._closed or not self._settings.enabled:
            return 0
        return self._courier.flush(timeout)

    def close(self, timeout: float = CLOSE_WAIT_MAX_S) -> None:
        """Deliver for at most ``timeout`` seconds; what Kafka has not acknowledged by then goes to the spool.

        An open producer is closed at the interpreter's exit. A second call does nothing.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        dismiss(self)
        if self._settings.enabled:
            self._courier.close(timeout)

    def stats(self) -> ProducerStats:
        return self._courier.stats()

    def start_over_in_child(self) -> None:
        """Called in a forked child: the parent delivers what it has recorded, the child starts with nothing."""
        leak(self._courier)
        self._closing = threading.Lock()
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


@cache
def _client() -> str:
    """How this client names itself in the header of every message."""
    try:
        return f"python/{version('costream')}"
    except PackageNotFoundError:  # used from a source tree
        return "python/unknown"


_default: UsageProducer | None = None
_default_lock = threading.RLock()


def _renew_default_lock() -> None:
    """In a forked child: the thread that may have held it does not exist here."""
    global _default_lock  # noqa: PLW0603 - one per process is what a default is
    _default_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_default_lock)


def get_default_producer() -> UsageProducer:
    """The producer behind ``costream.record``, made from ``COSTREAM_*`` when it is first asked for."""
    global _default  # noqa: PLW0603 - one per process is what a default is
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = UsageProducer()
    return _default


@contextmanager
def use_as_default(producer: UsageProducer) -> Iterator[None]:
    """Put another producer behind ``costream.record`` for a while; for tests."""
    global _default  # noqa: PLW0603 - one per process is what a default is
    before, _default = _default, producer
    try:
        yield
    finally:
        _default = before


def record(event: UsageEvent) -> None:
    """Publish the event through the default producer; see ``UsageProducer.record``."""
    get_default_producer().record(event)
