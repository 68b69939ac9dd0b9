"""Trying a mutant: the tests that are to notice it run on a copy of the tree that has it.

The work tree is never changed. Each job has a copy of its own, a process group of its own for every run of tests, and
a time limit; all of it is gone at the end, whether that is the last mutant, Ctrl-C or an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Literal

from tests.mutants.places import Mutant

Tests = tuple[str, ...]  # files of tests
Outcome = Literal["caught", "caught: no end", "lost"]

# Of the first list, and of the wide one. They take a tenth of it on a quiet machine, and cores are shared.
SECONDS_MAX: Final = (300.0, 1_200.0)
NOTHING_COLLECTED: Final = "what all tests import"
LOOK_S: Final = 0.2
LEFT_BEHIND: Final = (".git", ".venv", ".cache", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info")
NOTHING_FAILED: Final = 0
PYTEST: Final = (
    *("pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not kafka"),
    "--hypothesis-seed=0",  # a mutant is caught today and tomorrow, or on neither day
)
TYPES: Final = "the types"  # what `make check` asks beside tests


class NoBaseline(Exception):
    """A test that fails without any mutant catches none."""


class Stopped(Exception):
    """The run was ended from outside while a mutant was tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    mutant: Mutant
    outcome: Outcome
    noticed_by: str = ""  # the test that failed first


@dataclass(frozen=True, slots=True)
class Ended:
    """One run of pytest or of mypy: its exit status, None where it took too long, and what it printed."""

    status: int | None
    output: str

    @property
    def noticed_by(self) -> str:
        """A log that pytest shows may begin with the same word, and has more blanks behind it."""
        failed = re.search(r"^(?:FAILED|ERROR) (\S.*)$", self.output, re.MULTILINE)
        return failed[1].partition(" - ")[0] if failed else ""


class Copy:
    """A copy of the tree in ``folder``, in which one mutant at a time is tried. All copies share ``sound``: what holds
    without a mutant, files of tests and the types of modules."""

    def __init__(self, root: Path, folder: Path, *, sound: set[str], stop: threading.Event) -> None:
        self._tree, self._temporary = folder / "tree", folder / "tmp"
        self._sound, self._stop = sound, stop
        shutil.copytree(root, self._tree, ignore=shutil.ignore_patterns(*LEFT_BEHIND))

    def tried(self, mutant: Mutant, lists: Sequence[Tests]) -> Tried:
        """A list of tests is run where those before it have noticed nothing."""
        for tests, seconds_max in zip(lists, SECONDS_MAX, strict=True):
            with self._mutated(mutant):
                ended = self._run(tests, seconds_max=seconds_max)
            if ended.status is None:
                return Tried(mutant, "caught: no end")
            if ended.status != NOTHING_FAILED:
                self._hold_without_it(ended.noticed_by.partition("::")[0] or tests[0])
                return Tried(mutant, "caught", ended.noticed_by or NOTHING_COLLECTED)
        with self._mutated(mutant):
            ended = self._look_at_types(mutant.path)
        if ended.status != NOTHING_FAILED:
            self._hold_without_it(TYPES, of=mutant.path)
            return Tried(mutant, "caught", TYPES)
        return Tried(mutant, "lost")

    def _hold_without_it(self, judge: str, *, of: str = "") -> None:
        """``judge``: a file of tests; or TYPES, of one module."""
        if judge + of not in self._sound:
            ended = self._look_at_types(of) if judge == TYPES else self._run((judge,), seconds_max=SECONDS_MAX[-1])
            if ended.status != NOTHING_FAILED:
                raise NoBaseline(
                    f"{judge} {of} fails without any mutant, and would seem to catch all of them:\n{ended.output}"
                )
            self._sound.add(judge + of)

    @contextlib.contextmanager
    def _mutated(self, mutant: Mutant) -> Iterator[None]:
        path = self._tree / mutant.path
        source = path.read_bytes()
        self._write(path, mutant.applied(source))
        try:
            yield
        finally:
            self._write(path, source)

    @staticmethod
    def _write(path: Path, source: bytes) -> None:
        """Python takes compiled code for current if the source has the same size and is of the same second."""
        path.write_bytes(source)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def _run(self, tests: Tests, *, seconds_max: float) -> Ended:
        return self._ended((*PYTEST, *tests), seconds_max=seconds_max)

    def _look_at_types(self, path: str) -> Ended:
        return self._ended(("mypy", path), seconds_max=SECONDS_MAX[-1])

    def _ended(self, command: Sequence[str], *, seconds_max: float) -> Ended:
        shutil.rmtree(self._temporary, ignore_errors=True)
        shutil.rmtree(self._tree / ".hypothesis", ignore_errors=True)  # an example that failed for another mutant
        self._temporary.mkdir()
        printed = self._temporary / "printed"
        with printed.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self._tree,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = self._status_of(process, until=time.monotonic() + seconds_max)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # it, and whatever its tests have left running
                process.wait()
        return Ended(status, printed.read_text(errors="replace"))

    def _status_of(self, process: subprocess.Popen[bytes], *, until: float) -> int | None:
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK_S)
            if self._stop.is_set():
                raise Stopped
        return None

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("COSTREAM_")}
        path = os.pathsep.join([str(self._tree), str(self._tree / "producers" / "src")])
        return kept | {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "TMPDIR": str(self._temporary)}


def trials(
    root: Path, mutants: Sequence[Mutant], lists_for: Callable[[Mutant], Sequence[Tests]], *, jobs: int
) -> Generator[Tried]:
    """What becomes of each, in the order in which they are given. Raises ``NoBaseline``."""
    stop, sound = threading.Event(), set[str]()
    with tempfile.TemporaryDirectory(prefix="costream-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies = SimpleQueue[Copy]()

        def tried(mutant: Mutant) -> Tried:
            copy = copies.get()
            try:
                return copy.tried(mutant, lists_for(mutant))
            finally:
                copies.put(copy)

        try:
            for number in range(jobs):
                copies.put(Copy(root, Path(folder, str(number)), sound=sound, stop=stop))
            for future in [pool.submit(tried, mutant) for mutant in mutants]:
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
