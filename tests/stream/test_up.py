"""The local stack that stays: it starts, is watched, ends, and goes on where it was."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from stream.audit.kafka import kafka_facts
from stream.runtime.settings import Settings
from stream.up import children, stack
from stream.up.children import STEADY_SECONDS, WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Child
from stream.up.stack import Stack, UpFailed, Wanted
from tests.support.records import until
from tests.support.serving import Served
from tests.support.up import Up, require_jvm


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data", broker="embedded")
    yield up
    up.close()


@pytest.fixture
def jvm(tmp_path: Path) -> Iterator[Up]:
    require_jvm()
    up = Up(tmp_path / "data", broker="jvm")
    yield up
    up.close()


def test_it_counts_what_is_published_and_ctrl_c_ends_every_part(embedded: Up) -> None:
    embedded.start()
    assert "none of it outlives this command" in embedded.said
    assert embedded.exports == {
        "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": embedded.kafka,
        "COSTREAM_CLICKHOUSE_URL": f"http://127.0.0.1:{embedded.clickhouse_port}",
        "COSTREAM_HEALTH_PORT": str(embedded.health_port),
    }
    embedded.publish("a", "b")
    until(lambda: embedded.stored() == ["a", "b"], "they are stored", seconds=60)
    page = Served(embedded.page_port)
    until(lambda: page.get("/v1/total?span=90d").json["calls"] == 2, "the page tells them", seconds=60)
    parts = embedded.parts()
    assert len(parts) == 3  # the engine, the page and a worker; the broker is its own
    assert embedded.end() == 0
    assert f"what is kept is in {embedded.folder}" in embedded.said
    assert not list(filter(runs, parts))


SIGNALLED = """
import random, signal
from pathlib import Path
from stream.cli import up
from stream.runtime.settings import Settings
from stream.up import stack

stack.LOOK_SECONDS = 1e-6  # so that the signal comes at any step of the loop
one = stack.Stack(stack.Wanted(Path(), "embedded"), settings=Settings(), environment={}, tell=print)
moments = random.Random(1)
for _ in range(1_000):
    wishes = up._Wishes(is_running=True)
    up._note_signals(wishes)
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 3e-4))
    one.watch(until=lambda: wishes.to_end)
print("ended")
"""


def test_a_signal_ends_it_whatever_it_was_doing() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ended\n"


@pytest.mark.slow
def test_a_real_kafka_keeps_all_from_one_start_to_the_next_and_no_part_outlives_a_kill(jvm: Up) -> None:
    jvm.start()
    jvm.publish("a")
    until(lambda: jvm.stored() == ["a"], "they are stored", seconds=60)
    assert jvm.end(signal.SIGTERM) == 0
    jvm.start()
    assert jvm.stored() == ["a"]
    engine, _, worker = jvm.parts()[-3:]
    os.kill(worker, signal.SIGKILL)
    jvm.publish("b")
    until(lambda: jvm.stored() == ["a", "b"], "they are stored", seconds=90)
    assert "worker-1 ended with status -9; it is started again" in jvm.said
    parts = jvm.parts()
    assert engine in parts
    assert jvm.process is not None
    jvm.process.kill()
    jvm.process.wait()
    until(lambda: not list(filter(runs, parts)), "all have ended", seconds=60)
    jvm.start()
    assert jvm.stored() == ["a", "b"]
    assert jvm.end() == 0


@pytest.mark.slow
def test_the_demo_is_played_into_a_folder_once_even_if_it_was_broken_off(embedded: Up) -> None:
    calls = "SELECT toInt64(sum(calls)) FROM usage_hourly"
    published = "SELECT toInt64(sum(received - forwarded)) FROM ingest_ledger"  # one sent on to its home is read twice
    embedded.start("--demo")
    until(lambda: embedded.asked(calls) != [0], "some of it is stored", seconds=120)
    assert embedded.process is not None
    embedded.process.kill()
    embedded.process.wait()
    embedded.start("--demo")
    until(lambda: "all of its 29,535 requests are stored" in embedded.said, "it is whole", seconds=120)
    assert embedded.asked(calls) == [29_535]

    def all_acknowledged() -> bool:
        settings = Settings(kafka_bootstrap_servers=embedded.kafka)  # each start has a broker of its own
        return all((log.committed or 0) >= log.end for log in kafka_facts(settings).partitions)

    until(all_acknowledged, "the repeats are handled", seconds=60)
    (records,) = embedded.asked(published)
    assert embedded.end() == 0
    embedded.start("--demo")
    until(lambda: "stored already; nothing was published again" in embedded.said, "it says so", seconds=60)
    embedded.publish("a")
    until(lambda: embedded.asked(calls) == [29_536], "the stack goes on", seconds=60)
    until(all_acknowledged, "it is handled", seconds=60)
    assert embedded.asked(published) == [records + 1]
    assert embedded.end() == 0


def test_a_port_that_is_taken_is_a_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        wanted = Wanted(tmp_path / "data", "embedded", clickhouse_port=port)
        with (
            pytest.raises(UpFailed, match=rf"port {port} of 127\.0\.0\.1 is taken.*nothing was started.*--clickhouse"),
            Stack(wanted, settings=Settings(), environment={}, tell=pytest.fail),
        ):
            pass


def test_a_folder_has_one_stack(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(UpFailed, match="is in use by another `costream up`; nothing was started"),
            Stack(Wanted(folder, "embedded"), settings=Settings(), environment={}, tell=pytest.fail),
        ):
            pass


def test_parts_of_an_earlier_stack_are_waited_for_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "STOP_EXTRA_SECONDS", 0.0)
    folder, told = tmp_path / "data", list[str]()
    folder.mkdir()
    settings = Settings(stop_max=timedelta(seconds=1))
    with (folder / "parts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(UpFailed, match=r"earlier `costream up` still run in .*nothing was started.*fuser -k"),
            Stack(Wanted(folder, "embedded"), settings=settings, environment={}, tell=told.append),
        ):
            pass
    assert told == ["waiting      for the parts of an earlier `costream up` in this folder to end"]


def test_a_part_that_keeps_ending_is_started_again_after_longer_and_longer_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "COMMAND", (sys.executable, "-c", "import sys; sys.exit('no use')"))
    now = 1_000.0
    child = Child(
        "worker-1",
        [],
        environment=os.environ,
        log=tmp_path / "worker.log",
        popen={},
        monotonic=lambda: now,
    )
    child.start()
    waits = []
    for _ in range(7):
        until(lambda: child.ended is not None, "it has ended", seconds=60)
        said = child.tend()
        assert "worker-1 ended with status 1" in said
        waits.append(float(re.findall(r"again in (\d+) s", said)[0]))
        now += waits[-1] - 0.1
        assert (child.tend(), child.ended) == ("", 1), "it waits"
        now += 0.1
        assert child.tend() == ""
    assert waits == [WAIT_SECONDS_FIRST, 2, 4, 8, 16, WAIT_SECONDS_MAX, WAIT_SECONDS_MAX]
    now += STEADY_SECONDS
    until(lambda: child.ended is not None, "it has ended", seconds=60)
    assert f"again in {WAIT_SECONDS_FIRST:.0f} s" in child.tend()
    assert "no use" in child.log_tail()


def test_a_log_that_has_grown_large_is_put_aside_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "COMMAND", (sys.executable, "-c", "import sys; sys.exit('new')"))
    child = Child("worker-1", [], environment=os.environ, log=tmp_path / "worker-1.log", popen={})
    for size, aside in ((children.LOG_BYTES_MAX, False), (children.LOG_BYTES_MAX + 1, True)):
        child.log.write_bytes(b"x" * size)
        child.start()
        until(lambda: child.ended is not None, "it has ended", seconds=60)
        assert (tmp_path / "worker-1.before.log").exists() is aside
    assert child.log.read_text() == "new\n"
