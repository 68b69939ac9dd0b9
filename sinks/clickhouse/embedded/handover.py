"""The way for rows into the embedded engine that hides nothing: a file in memory, read by an ordinary INSERT.

chDB's streaming insert says that all rows are written even when its sink has failed: a full disk, a violated
constraint, too many parts or partitions (docs/decisions/0009). A statement raises what went wrong, so every insert is
a statement.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO


@dataclass(frozen=True)
class HandedOver:
    """A file to be filled, and the name under which the engine finds it."""

    file: BinaryIO
    path: str


@dataclass(frozen=True)
class Written:
    """What the engine counted, after everything that was given is in its parts."""

    rows: int
    size_bytes: int


@contextmanager
def handover() -> Iterator[HandedOver]:
    """An empty file that only this process can open; its memory is free again when the block is left."""
    if not hasattr(os, "memfd_create"):  # macOS: a file on the disk does the same, only slower
        with tempfile.NamedTemporaryFile(prefix="costream-insert-") as file:
            yield HandedOver(file, file.name)  # type: ignore[arg-type]  # a wrapper that forwards everything to the file
        return
    with os.fdopen(os.memfd_create("costream-insert"), "wb") as file:
        yield HandedOver(file, f"/proc/self/fd/{file.fileno()}")


def insert(handle: Any, into: str, given: HandedOver, *, data_format: str, settings: Mapping[str, str]) -> Written:
    """Run ``INSERT INTO ... (...)`` with what was handed over; raises RuntimeError with the engine's own message.

    Returns only after the sink has closed its parts, with ``fsync_after_insert`` on the disk. Never go back to
    ``send_insert``: it acknowledges what is not stored.
    """
    given.file.flush()
    chosen = ", ".join(f"{name} = {value}" for name, value in settings.items())
    clause = f" SETTINGS {chosen}" if chosen else ""
    result = handle.query(f"{into} FROM INFILE '{given.path}' COMPRESSION 'none'{clause} FORMAT {data_format}")
    return Written(int(result.rows_written()), int(result.bytes_written()))
