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
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from stream.runtime.settings import Settings
from stream.up import children
from stream.up.children import STEADY_SECONDS, WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Child
from stream.up.kafka import KafkaMissing, fetch_jars, find_java
from stream.up.stack import Stack, UpFailed, Wanted
from tests.support.kafka import CACHE, ROOT, free_ports
from tests.support.records import rfc3339, until, wire

START_MAX_S = 120.0
STOP_MAX_S = 90.0


class Up:
    """`costream up` on free ports, with its data in one folder."""

    def __init__(self, folder: Path, *, broker: str) -> None:
        self.folder, self._broker = folder, broker
        self.kafka_port, self.clickhouse_port, self.health_port = free_ports(3)
        self.log = folder.parent / f"{folder.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
        caches = self.folder.parent / "caches"
        (caches / "costream").mkdir(parents=True, exist_ok=True)
        if not (caches / "costream" / "kafka").exists():
            (caches / "costream" / "kafka").symlink_to(CACHE)
        command = [sys.executable, "-c", "from stream.cli import main; main()", "up", *more]
        command += ["--data-dir", str(self.folder), "--kafka", self._broker, "--kafka-port", str(self.kafka_port)]
        command += ["--clickhouse-port", str(self.clickhouse_port), "--health-port", str(self.health_port)]
        self.log.write_bytes(b"")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, env=environment | {"XDG_CACHE_HOME": str(caches)}, cwd=ROOT, stdout=out, stderr=out
            )
        until(self._is_ready_or_gone, "it is ready", seconds=START_MAX_S)
        assert self.process.poll() is None, self.said

    def _is_ready_or_gone(self) -> bool:
        assert self.process is not None
        return "ready in" in self.said or self.process.poll() is not None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def kafka(self) -> str:
        found = re.search(r"^kafka +(\S+)", self.said, re.MULTILINE)
        assert found is not None, self.said
        return found[1]

    def publish(self, *request_ids: str) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, "log_level": 0})
        for request_id in request_ids:
            producer.produce("usage.events", wire(request_id, occurred_at=rfc3339(datetime.now(UTC))), key=request_id)
        assert producer.flush(20) == 0

    def stored(self) -> list[str]:
        return sorted(self.asked("SELECT request_id FROM usage_events FINAL"))

    def asked(self, sql: str) -> list[Any]:
        """The first column of an answer."""
        with closing(Reader(ClickHouseAddress(f"http://127.0.0.1:{self.clickhouse_port}"))) as reader:
            return reader.frame(sql).to_series().to_list()

    def parts(self) -> list[int]:
        """The processes that it has started."""
        assert self.process is not None
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def end(self, number: int = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_MAX_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()  # its parts are told by the kernel
            self.process.wait()


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
    try:
        find_java()
        fetch_jars(CACHE)
    except KafkaMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))  # a machine without Java and Maven may still run the other tests; in CI it fails
    up = Up(tmp_path / "data", broker="jvm")
    yield up
    up.close()


def test_it_counts_what_is_published_and_ctrl_c_ends_every_part(embedded: Up) -> None:
    embedded.start()
    assert "none of it outlives this command" in embedded.said
    assert f"export COSTREAM_KAFKA_BOOTSTRAP_SERVERS={embedded.kafka}" in embedded.said
    embedded.publish("a", "b")
    until(lambda: embedded.stored() == ["a", "b"], "they are stored", seconds=60)
    parts = embedded.parts()
    assert len(parts) == 2  # the engine and a worker; the broker is its own
    assert embedded.end() == 0
    assert f"what is kept is in {embedded.folder}" in embedded.said
    assert not list(filter(runs, parts))


@pytest.mark.slow
def test_a_real_kafka_keeps_all_from_one_start_to_the_next_and_no_part_outlives_a_kill(jvm: Up) -> None:
    jvm.start()
    jvm.publish("a")
    until(lambda: jvm.stored() == ["a"], "they are stored", seconds=60)
    assert jvm.end(signal.SIGTERM) == 0
    jvm.start()
    assert jvm.stored() == ["a"]
    engine, worker = jvm.parts()[-2:]
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
    calls, received = "SELECT toInt64(sum(calls)) FROM hourly", "SELECT toInt64(sum(received)) FROM ingest_ledger FINAL"
    embedded.start("--demo")
    until(lambda: embedded.asked(calls) != [0], "some of it is stored", seconds=120)
    assert embedded.process is not None
    embedded.process.kill()
    embedded.process.wait()
    embedded.start("--demo")
    until(lambda: "all of its 29,535 requests are stored" in embedded.said, "it is whole", seconds=120)
    assert embedded.asked(calls) == [29_535]
    (records,) = embedded.asked(received)
    assert embedded.end() == 0
    embedded.start("--demo")
    until(lambda: "stored already; nothing was published again" in embedded.said, "it says so", seconds=60)
    embedded.publish("a")
    until(lambda: embedded.asked(calls) == [29_536], "the stack goes on", seconds=60)
    assert embedded.asked(received) == [records + 1]
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
    child = Child("worker-1", [], environment=os.environ, log=tmp_path / "worker-1.log")
    for size, aside in ((children.LOG_BYTES_MAX, False), (children.LOG_BYTES_MAX + 1, True)):
        child.log.write_bytes(b"x" * size)
        child.start()
        until(lambda: child.ended is not None, "it has ended", seconds=60)
        assert (tmp_path / "worker-1.before.log").exists() is aside
    assert child.log.read_text() == "new\n"
