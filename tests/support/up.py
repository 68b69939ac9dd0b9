"""`costream up` as a process of its own, as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from stream.up.kafka import KafkaMissing, fetch_jars, find_java
from tests.support.kafka import CACHE, ROOT, free_ports
from tests.support.records import rfc3339, until, wire
from tests.support.worker import MAIN

START_MAX_S = 120.0
STOP_MAX_S = 90.0


def require_jvm() -> None:
    """A machine without Java and Maven may still run the other tests; in CI it fails."""
    try:
        find_java()
        fetch_jars(CACHE)
    except KafkaMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))  # a machine without Java or Maven may still run the other tests; in CI it fails


class Up:
    """`costream up` on free ports, with its data in one folder."""

    def __init__(self, folder: Path, *, broker: str) -> None:
        self.folder, self._broker = folder, broker
        self.kafka_port, self.clickhouse_port, self.health_port, self.page_port = free_ports(4)
        self.log = folder.parent / f"{folder.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
        caches = self.folder.parent / "caches"
        (caches / "costream").mkdir(parents=True, exist_ok=True)
        jars = caches / "costream" / "kafka"
        if not jars.is_symlink():  # CACHE itself is there once a test has wanted a real Kafka
            jars.symlink_to(CACHE)
        command = [sys.executable, "-X", "faulthandler", "-c", MAIN, "up", *more]
        command += ["--data-dir", str(self.folder), "--kafka", self._broker, "--kafka-port", str(self.kafka_port)]
        command += ["--clickhouse-port", str(self.clickhouse_port), "--health-port", str(self.health_port)]
        command += ["--page-port", str(self.page_port)]
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
    def exports(self) -> dict[str, str]:
        """What it tells to set where other commands run."""
        return dict(re.findall(r"^  export (\w+)=(\S+)$", self.said, re.MULTILINE))

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
        return sorted(self.asked("SELECT request_id FROM usage_events"))

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
        try:
            return self.process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            left = subprocess.run(["ps", "-ef", "--forest"], capture_output=True, text=True, check=True).stdout
            self.process.send_signal(signal.SIGABRT)  # it tells what each thread is doing
            self.process.wait()
            raise AssertionError(f"it did not end within {STOP_MAX_S:.0f} s of a signal\n{left}\n{self.said}") from None

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()  # its parts are told by the kernel
            self.process.wait()
