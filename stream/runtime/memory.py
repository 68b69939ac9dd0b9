"""How a worker keeps its memory: what one batch has used is there for the next.

A batch takes some hundred megabytes and gives them back half a second later. Left alone, allocators hand them to the
system and fetch them again, a page fault each 4 KB: a seventh of a worker's CPU time (docs/benchmarks.md); and the
collector walks all of it in vain. What is kept is what the largest batches needed, and no more.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from typing import Final

# Of jemalloc, polars' allocator (https://jemalloc.net/jemalloc.3.html): large pages where the system offers them to who
# asks, and idle memory given back after half a minute instead of half a second.
POLARS_VARIABLE: Final = "_RJEM_MALLOC_CONF"
POLARS_ALLOCATOR: Final = "thp:always,dirty_decay_ms:30000,muzzy_decay_ms:30000"

# Of glibc's malloc, numpy's and Python's allocator (mallopt(3)): parameter -> bytes.
GLIBC_ALLOCATOR: Final = {
    -1: 1 << 30,  # M_TRIM_THRESHOLD: what must be free at the top before it is given back
    -2: 64 << 20,  # M_TOP_PAD: asked for ahead
    -3: 1 << 30,  # M_MMAP_THRESHOLD: above it a block would be a mapping of its own, new each time
}

GC_YOUNG_MAX: Final = 1_000_000  # about ten batches of records
GC_GENERATIONS: Final = 10  # young collections before an older one, as in Python's defaults


def keep_memory() -> None:
    """Set up both allocators. Before polars is imported: it reads its variable once. What the operator set stays."""
    os.environ.setdefault(POLARS_VARIABLE, POLARS_ALLOCATOR)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        for parameter, size in GLIBC_ALLOCATOR.items():
            libc.mallopt(parameter, size)


def calm_the_collector() -> None:
    """Records are hundreds of thousands of objects that live for a second and hold no cycle. At Python's defaults the
    collector walks all of them again and again; what has a cycle here (tasks, errors) can wait for a million more.
    Once everything is imported: what there is by then stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_MAX, GC_GENERATIONS, GC_GENERATIONS)
