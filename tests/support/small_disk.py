"""A disk so small that a test can fill it: a tmpfs of its own. Mounting one takes root, as in CI and in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

MIB: Final = 1 << 20


class SmallDisk:
    """Use as a context; ``fill`` leaves next to nothing free, ``empty`` takes the filling away again."""

    def __init__(self, size_bytes: int, *, path: Path | None = None) -> None:
        """At ``path`` it is mounted already, by another process."""
        self.size_bytes = size_bytes
        self.path = path or Path(tempfile.mkdtemp(prefix="costream-small-disk-"))
        self._filling = self.path / "filling"

    def __enter__(self) -> Self:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size_bytes}", "tmpfs", self.path], check=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)  # lazy: a killed process may still be letting go
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def free_bytes(self) -> int:
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Take all room but ``leave_bytes``; whoever else writes meanwhile may find less."""
        with self._filling.open("ab", buffering=0) as file:
            try:
                while (left := self.free_bytes - leave_bytes) > 0:
                    file.write(bytes(min(left, MIB)))
            except OSError:  # the last piece no longer fits
                return

    def empty(self) -> None:
        self._filling.unlink(missing_ok=True)


def can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    if not can_mount():
        assert "CI" not in os.environ, "in CI the tests run as root, so that none of them is skipped"
        pytest.skip("a small disk is a tmpfs, and mounting one takes root")
    with SmallDisk(96 * MIB) as disk:
        yield disk
