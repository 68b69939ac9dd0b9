"""What a million recent ids cost a worker.

python -m benchmarks.memory IDS      in a process of its own, so that nothing else is in its memory
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import polars as pl
import psutil

from benchmarks.ground import Ground, ask_child, python_module
from benchmarks.sizes import Sizes
from stream.dedup.ids import IdTable, Keys, Sightings

BATCH: Final = 60_000  # as many as a flush has at most


@dataclass(frozen=True, slots=True)
class IdMemory:
    """Megabytes (1e6 bytes) for each million of ids: the table's own count, and what the process grew by."""

    ids: int
    table_mb_per_million: float
    process_mb_per_million: float
    fill_us_per_id: float


def run(ground: Ground, sizes: Sizes) -> IdMemory:
    return IdMemory(
        **ask_child(python_module("memory", sizes.ids), folder=ground.new_folder("memory"), seconds_max=180)
    )


def measure(ids: int, dice: random.Random) -> IdMemory:
    process = psutil.Process()
    _fill(IdTable(), BATCH, dice)  # what numpy and polars take once
    before = _resident(process)
    table = IdTable()
    seconds = _fill(table, ids, dice)
    grown = _resident(process) - before
    return IdMemory(
        ids=len(table),
        table_mb_per_million=table.memory_bytes / len(table),
        process_mb_per_million=grown / len(table),
        fill_us_per_id=seconds / len(table) * 1e6,
    )


def _fill(table: IdTable, ids: int, dice: random.Random) -> float:
    """Look up and insert batch by batch, as a worker does; the seconds that took, without making the ids."""
    seconds = 0.0
    for first in range(0, ids, BATCH):
        size = min(BATCH, ids - first)
        request_ids = pl.Series([f"{dice.getrandbits(128):032x}" for _ in range(size)])
        began = time.perf_counter()
        keys = Keys.of(request_ids)
        assert (table.find(keys) < 0).all(), "random ids do not repeat"
        hours = np.full(size, 480_000 + first // 500_000, dtype=np.uint32)
        table.insert(keys, Sightings(np.arange(first, first + size), hours, hours))
        seconds += time.perf_counter() - began
    return seconds


def _resident(process: psutil.Process) -> int:
    gc.collect()
    return int(process.memory_info().rss)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(int(sys.argv[1]), random.Random(7)))))
