"""A run has one broker and one engine, however many processes its tests run in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.support.shared import Shared, shareable, shared


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
