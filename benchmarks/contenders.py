"""The others on the same topic, each in a process of its own: plain Faust, Quix Streams, a raw loop as the limit."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.events import Loaded
from benchmarks.ground import ROOT, BenchmarkFailed, Ground, ask_child, python_module

QUIX_LOCK: Final = ROOT / "benchmarks" / "quix" / "requirements.lock"
QUIX_HOME: Final = ROOT / ".cache" / "bench-quix"
START_AND_STOP_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """From its first event on; starting and stopping are not in it."""

    events: int
    seconds: float
    per_second: float


def plain_faust(ground: Ground, loaded: Loaded, *, group: str, seconds: float) -> Rate:
    return _run(ground, loaded, python_module("plain_faust"), group=group, seconds=seconds)


def raw(ground: Ground, loaded: Loaded, *, client: str, group: str, seconds: float) -> Rate:
    return _run(ground, loaded, python_module("raw", client), group=group, seconds=seconds)


def quix(ground: Ground, loaded: Loaded, *, group: str, seconds: float) -> Rate:
    command = [str(quix_python()), "-m", "benchmarks.quix.app"]
    return _run(ground, loaded, command, group=group, seconds=seconds)


def _run(ground: Ground, loaded: Loaded, command: Sequence[str], *, group: str, seconds: float) -> Rate:
    arguments = [ground.bootstrap_servers, loaded.topic, group, str(seconds), str(loaded.events)]
    answer = ask_child(
        [*command, *arguments], folder=ground.new_folder(group), seconds_max=seconds + START_AND_STOP_MAX_S
    )
    if answer["seconds"] <= 0:
        raise BenchmarkFailed(f"{command} read all {loaded.events} events in one go: too few to measure")
    return Rate(answer["events"], answer["seconds"], answer["events"] / answer["seconds"])


def quix_python() -> Path:
    """Its interpreter. The environment is made again whenever the lock has changed."""
    python, made_from = QUIX_HOME / "bin" / "python", QUIX_HOME / "made-from.lock"
    if made_from.exists() and made_from.read_bytes() == QUIX_LOCK.read_bytes():
        return python
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(QUIX_HOME))
    _uv("pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(QUIX_LOCK))
    made_from.write_bytes(QUIX_LOCK.read_bytes())
    return python


def _uv(*arguments: str) -> None:
    uv = str(Path(sysconfig.get_path("scripts")) / "uv")
    environment = {**os.environ, "UV_CACHE_DIR": str(ROOT / ".cache" / "uv")}
    done = subprocess.run([uv, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkFailed(f"uv {' '.join(arguments[:2])} could not make {QUIX_HOME}:\n{done.stderr}")
