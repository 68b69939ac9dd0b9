"""Hostile producers: record batches of their own making, sent among the plan's traffic.

Whether the broker took a batch is not always known, as it is killed under them. What it took stands in the log under a
key that tells it apart: the recount goes by that, and by what the broker has acknowledged, which must stand there.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from tests.support.wire import CODECS, ZSTD, WireBatch, WireProducer, WireRecord
from tests.support.wire_fuzz import Fuzz

KEY: Final = b"hostile/"  # their records' keys begin with it
PAUSE_S: Final = 0.5
AWAY_S: Final = 0.3  # until the broker is tried again
ROLLUPS_SHARE: Final = 0.02  # of the batches, to the topic that only workers write
BOMB_BYTES: Final = 30 * 1024 * 1024

Place = tuple[int, int]  # partition and offset


@dataclass(frozen=True, slots=True)
class HostileRecord:
    """What stands in the log: a value's length and SHA-256, which is empty where there are no bytes."""

    size: int
    sha256: str


class HostileProducer:
    """A thread that sends as long as the context lasts."""

    def __init__(self, seed: int, *, bootstrap_servers: str, events: str, rollups: str, partitions: int) -> None:
        self.acknowledged: set[Place] = set()  # on the topic of events
        self.refused = 0
        self.unknown = 0  # batches without an answer
        self.rollups_sent = 0
        self._fuzz = Fuzz(events, partitions, random.Random(seed))
        self._bootstrap_servers = bootstrap_servers
        self._rollups = rollups
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hostile", daemon=True)
        self._failed: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None and self._failed is not None:
            raise RuntimeError("the hostile producer failed") from self._failed

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._send_while_the_broker_is_there()
                self._stop.wait(AWAY_S)
        except Exception as error:  # noqa: BLE001 - told at the end of the context
            self._failed = error

    def _send_while_the_broker_is_there(self) -> None:
        try:
            wire = WireProducer(self._bootstrap_servers)
        except OSError:
            return
        with wire:
            try:
                while not self._stop.wait(PAUSE_S):
                    self._send(wire)
            except OSError:
                self.unknown += 1

    def _send(self, wire: WireProducer) -> None:
        dice = self._fuzz.dice
        if dice.random() < ROLLUPS_SHARE:
            wire.produce(self._rollups, 0, WireBatch([record(self._fuzz)], timestamp=_now_ms()).encoded())
            self.rollups_sent += 1
            return
        hostile = batch(self._fuzz)
        partition = dice.randrange(self._fuzz.partitions)
        taken = wire.produce(self._fuzz.topic, partition, hostile.encoded())
        if taken is None:
            self.unknown += 1
        elif taken.error:
            self.refused += 1
        else:
            self.acknowledged |= {(partition, taken.base_offset + at) for at in range(len(hostile.records))}


def batch(fuzz: Fuzz) -> WireBatch:
    """In any codec, with any time; now and then with a count that a broker refuses. A plain consumer can read it, since
    the recount does."""
    dice = fuzz.dice
    if dice.random() < 0.01:
        return WireBatch([WireRecord(bytes(BOMB_BYTES), KEY)], ZSTD, _now_ms())
    records = [record(fuzz) for _ in range(dice.choice((1, 1, 2, 5, 12)))]
    return WireBatch(
        records,
        dice.choice(tuple(CODECS.values())),
        dice.choice((_now_ms(), 0, -1, 2**62)),
        raw_snappy=dice.random() < 0.5,
        count=len(records) + 1 if dice.random() < 0.05 else None,
    )


def record(fuzz: Fuzz) -> WireRecord:
    """No value of it is an event; everything around it may be anything, but for how its key begins."""
    odd = fuzz.odd(fuzz.hostile())
    return replace(odd, key=KEY + (odd.key or b""))


def _now_ms() -> int:
    return round(time.time() * 1000)
