"""What stands in the topic, read while the storm blows: records that expire later are known all the same."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.chaos.hostile import KEY, HostileRecord, Place
from tests.chaos.topic_dump import Record

POLL_S: Final = 0.2


class Tail:
    """Reads every committed record of a topic into a file. Use as a context: it ends with it."""

    def __init__(self, bootstrap_servers: str, topic: str, *, partitions: int, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._lock = threading.Lock()
        self._ends = dict.fromkeys(range(partitions), 0)  # behind the last record
        self._positions = dict.fromkeys(range(partitions), 0)  # behind markers and aborted records as well
        self._hostile: dict[Place, HostileRecord] = {}
        self._failed: Exception | None = None
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "chaos-tail",  # never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",  # what expires unread would make the recount wrong
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def ends(self) -> dict[int, int]:
        """Partition -> the offset behind its last record so far."""
        with self._lock:
            self._raise_failure()
            return dict(self._ends)

    def positions(self) -> dict[int, int]:
        """Partition -> the offset up to which everything was read."""
        with self._lock:
            self._raise_failure()
            return dict(self._positions)

    def hostile(self) -> dict[Place, HostileRecord]:
        """What hostile producers have brought into the topic."""
        with self._lock:
            self._raise_failure()
            return dict(self._hostile)

    def records(self) -> Iterator[Record]:
        """All else that was read, in the order of each partition."""
        with self._path.open(encoding="ascii") as lines:
            for line in lines:
                partition, offset, key, value = json.loads(line)
                yield Record(partition, offset, _bytes(key), _bytes(value), {})

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise RuntimeError("the topic could not be read along") from self._failed

    def _run(self) -> None:
        try:
            with self._path.open("w", encoding="ascii") as written:
                while not self._stop.is_set():
                    for message in self._consumer.consume(5_000, timeout=POLL_S):
                        self._note(message, written)
                    written.flush()
        except Exception as error:  # noqa: BLE001 - told to whoever asks next
            self._failed = error

    def _note(self, message: Any, written: Any) -> None:
        error = message.error()
        partition, offset = cast("int", message.partition()), cast("int", message.offset())
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                with self._lock:
                    self._positions[partition] = max(offset, self._positions[partition])
                return
            if error.retriable() or error.code() in _AWAY:
                return
            raise KafkaException(error)
        key, value = message.key(), message.value()
        hostile = (key or b"").startswith(KEY)
        if not hostile:
            written.write(json.dumps([partition, offset, _text(key), _text(value)]) + "\n")
        with self._lock:
            if hostile:
                self._hostile[partition, offset] = _hostile(value)
            self._ends[partition] = self._positions[partition] = offset + 1


_AWAY: Final = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT)


def _hostile(value: bytes | None) -> HostileRecord:
    return HostileRecord(0, "") if not value else HostileRecord(len(value), hashlib.sha256(value).hexdigest())


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
