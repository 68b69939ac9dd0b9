"""A run has one broker and one engine, however many processes its tests run in."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.support.records import until
from tests.support.shared import Shared, shareable, shared

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run() -> Iterator[Shared]:
    run = Shared()
    yield run
    run.close()


def process_of(run: Shared) -> Any:
    """The configuration of a process that pytest-xdist started."""
    return SimpleNamespace(workerinput={"costream_shared": run.way()})


def test_whoever_asks_at_the_same_time_gets_the_same_thing_and_it_ends_with_the_run(run: Shared) -> None:
    told: list[str] = []
    name = str(uuid4())

    @shareable(name)
    def start(running: contextlib.ExitStack) -> str:
        told.append("started")
        running.callback(told.append, "ended")
        return "127.0.0.1:1"

    with ThreadPoolExecutor(4) as askers:
        found = list(askers.map(lambda _: shared(process_of(run), name), range(4)))

    assert (found, told) == (["127.0.0.1:1"] * 4, ["started"])
    run.close()
    assert told == ["started", "ended"]


def test_what_cannot_be_started_is_tried_once_and_told_to_everyone_who_asks(run: Shared) -> None:
    tried: list[str] = []
    name = str(uuid4())

    @shareable(name)
    def start(_: contextlib.ExitStack) -> None:
        tried.append("once")
        raise RuntimeError("no broker on this machine")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no broker on this machine"):
            shared(process_of(run), name)
    assert tried == ["once"]


PLUGIN = """
from pathlib import Path
from tests.support.shared import shareable

@shareable("broker")
def start(running):
    running.callback(Path("ended").touch)
    Path("started").touch()
"""
LONG_TEST = """
import time
from tests.support.shared import shared

def test_that_takes_its_time(request):
    shared(request.config, "broker")
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["-n0", "-n1"])
def test_a_run_that_is_told_to_end_ends_what_it_has_started(tmp_path: Path, processes: str) -> None:
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "test_run.py").write_text(LONG_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function")
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.shared", processes, "test_run.py"]
    run = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    until((tmp_path / "started").exists, "the test has asked for the broker")
    run.terminate()
    assert run.wait(20) == pytest.ExitCode.INTERRUPTED
    assert (tmp_path / "ended").exists()
