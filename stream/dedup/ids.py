"""The recent ids of one partition: id -> where it was first seen and what it said, in about 50 bytes an id.

An open-addressing table in numpy, looked up and filled a whole batch at a time (a Python dict takes 200 bytes and more
an id). An id is known by 96 bits of two seeded hashes: among 20 million ids the chance that any two agree is below
1e-14, so no event is taken for another's repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

ELSEWHERE = -1  # the offset of an id that was stored from another partition or another incarnation of the topic
FILL_MAX = 0.65  # above it probing gets long
GROWTH = 1.6  # less memory idle after a growth than by doubling
SLOTS_MIN = 1_024
EMPTY = np.uint32(0)  # in `hours`: no event is from the first hour of 1970
HASH_SEEDS = (0x5851F42D, 0x14057B7E)  # any two different ones


@dataclass(frozen=True, slots=True)
class Keys:
    """96 bits of each id of a batch."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint32]

    @classmethod
    def of(cls, request_ids: pl.Series) -> Keys:
        high, low = (request_ids.hash(seed=seed).to_numpy() for seed in HASH_SEEDS)
        return cls(high, low.astype(np.uint32))

    def __len__(self) -> int:
        return len(self.high)

    def take(self, rows: NDArray[np.int64]) -> Keys:
        return Keys(self.high[rows], self.low[rows])


@dataclass(frozen=True, slots=True)
class Sightings:
    """What is remembered of an id: the offset it came from, a digest of its content, the hour it occurred in."""

    offsets: NDArray[np.int64]
    digests: NDArray[np.uint32]
    hours: NDArray[np.uint32]

    def take(self, rows: NDArray[np.int64]) -> Sightings:
        return Sightings(self.offsets[rows], self.digests[rows], self.hours[rows])


class IdTable:
    """id -> Sighting. Not thread-safe: one batch at a time."""

    def __init__(self, slots: int = SLOTS_MIN) -> None:
        self._count = 0
        self._allocate(slots)

    def __len__(self) -> int:
        return self._count

    @property
    def memory_bytes(self) -> int:
        return sum(column.nbytes for column in (self._high, self._low, *self._columns()))

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The slot of each id, or -1."""
        found = np.full(len(keys), -1, dtype=np.int64)
        slots = self._home_slots(keys)
        rows = np.arange(len(keys))
        while rows.size:
            here = slots[rows]
            used = self._hours[here] != EMPTY
            match = used & (self._high[here] == keys.high[rows]) & (self._low[here] == keys.low[rows])
            found[rows[match]] = here[match]
            rows = rows[used & ~match]
            slots[rows] = (slots[rows] + 1) % len(self._high)
        return found

    def sightings(self, slots: NDArray[np.int64]) -> Sightings:
        return Sightings(self._offsets[slots], self._digests[slots], self._hours[slots])

    def insert(self, keys: Keys, sightings: Sightings) -> None:
        """Remember ids that are all different and not yet known."""
        self._make_room(len(keys))
        slots = self._home_slots(keys)
        rows = np.arange(len(keys))
        while rows.size:
            here = slots[rows]
            free = self._hours[here] == EMPTY
            self._write(here[free], keys.take(rows[free]), sightings.take(rows[free]))
            # Two ids may have met in one free slot; the last write won and the others go on looking.
            placed = free & (self._high[here] == keys.high[rows]) & (self._low[here] == keys.low[rows])
            rows = rows[~placed]
            slots[rows] = (slots[rows] + 1) % len(self._high)
        self._count += len(keys)

    def forget_before(self, hour: int) -> None:
        """Drop the ids that occurred before an hour (hours since 1970)."""
        kept = np.flatnonzero((self._hours != EMPTY) & (self._hours >= np.uint32(max(hour, 1))))
        self._rebuild(kept, slots=max(SLOTS_MIN, int(len(kept) / FILL_MAX * GROWTH)))

    def hours_counted(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """How many ids are remembered of each hour, oldest first."""
        return np.unique(self._hours[self._hours != EMPTY], return_counts=True)

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32]]:
        return self._offsets, self._digests, self._hours

    def _allocate(self, slots: int) -> None:
        self._high = np.zeros(slots, dtype=np.uint64)
        self._low = np.zeros(slots, dtype=np.uint32)
        self._offsets = np.zeros(slots, dtype=np.int64)
        self._digests = np.zeros(slots, dtype=np.uint32)
        self._hours = np.zeros(slots, dtype=np.uint32)

    def _home_slots(self, keys: Keys) -> NDArray[np.int64]:
        """Spreads the hash over any number of slots by its high bits, without a power of two."""
        slots = np.uint64(len(self._high))
        return ((keys.high >> np.uint64(32)) * slots >> np.uint64(32)).astype(np.int64)

    def _write(self, slots: NDArray[np.int64], keys: Keys, sightings: Sightings) -> None:
        self._high[slots] = keys.high
        self._low[slots] = keys.low
        self._offsets[slots] = sightings.offsets
        self._digests[slots] = sightings.digests
        self._hours[slots] = sightings.hours

    def _make_room(self, more: int) -> None:
        needed = self._count + more
        if needed > FILL_MAX * len(self._high):
            self._rebuild(np.flatnonzero(self._hours != EMPTY), slots=int(needed / FILL_MAX * GROWTH) + SLOTS_MIN)

    def _rebuild(self, kept: NDArray[np.int64], *, slots: int) -> None:
        keys = Keys(self._high[kept], self._low[kept])
        sightings = self.sightings(kept)
        self._count = 0
        self._allocate(slots)
        self.insert(keys, sightings)
