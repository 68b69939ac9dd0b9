"""ClickHouse for the tests: the embedded engine in this process, and the same engine over HTTP in a process of its own.

``Endpoint`` is a process that a test owns: it can be stopped, killed and started again on the same port and folder.
Who only needs *a* warehouse takes ``clickhouse_endpoint`` (HTTP) or ``clickhouse_embedded`` (this process) and asks
it for an address: each has a fresh database, migrated, and a client for it may be opened at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.embedded.engine import open_handle
from sinks.clickhouse.writer import Writer
from tests.support.databases import Databases, drop_database
from tests.support.shared import shareable, shared
from tests.support.warehouse_rows import hourly

ROOT = Path(__file__).resolve().parents[2]
START_MAX_S = 60.0  # a cold engine of 500 MB on two busy cores takes up to ten seconds
STOP_MAX_S = 20.0

# The child ends with its parent, however that ended: its standard input is then at its end.
SERVE = """
import os, sys, threading
from sinks.clickhouse.embedded.endpoint import Tokens, serve
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
tokens = Tokens(write=os.environ.get("WRITE_TOKEN", ""), read=os.environ.get("READ_TOKEN", ""))
serve(sys.argv[1], port=int(sys.argv[2]), tokens=tokens, on_ready=lambda address: print("ready", address, flush=True))
"""


class Server(Databases):
    """A ClickHouse over HTTP that is somebody else's: a test makes databases of its own there."""

    def __init__(self, url: str, *, user: str = "default", password: str = "") -> None:
        super().__init__()
        self.url, self._user, self._password = url, user, password
        self._made: list[ClickHouseAddress] = []

    def address(self, database: str = "costream", *, password: str | None = None) -> ClickHouseAddress:
        return ClickHouseAddress(
            self.url,
            database=database,
            user=self._user,
            password=self._password if password is None else password,
        )

    def unmade(self) -> ClickHouseAddress:
        self._made.append(self.address(f"test_{uuid4().hex[:12]}"))
        return self._made[-1]

    def clean(self) -> None:
        """Remove what the tests have made."""
        for address in self._made:
            drop_database(address)


class Endpoint(Server):
    """`costream clickhouse` as a child process. ``start`` returns once it answers; the port never changes."""

    def __init__(self, folder: Path, *, write_token: str = "", read_token: str = "", errors: int | None = None) -> None:
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}", password=write_token)
        self.folder, self.write_token, self.read_token = folder, write_token, read_token
        self.errors = errors  # where its standard error goes, as subprocess takes it; None is ours
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []  # the lines of its standard output, of all its processes

    @property
    def pid(self) -> int:
        assert self.process is not None, "start the endpoint first"
        return self.process.pid

    def start(self) -> Self:
        environment = os.environ | {"WRITE_TOKEN": self.write_token, "READ_TOKEN": self.read_token}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.folder), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        try:
            self._wait_until_ready(self.process)
        except AssertionError:
            self.process = None
            raise
        return self

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        process = self._taken()
        process.terminate()
        return self._ended(process)

    def kill(self) -> None:
        """SIGKILL: no goodbye, as a crash would be."""
        process = self._taken()
        process.kill()
        self._ended(process)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.kill()

    def _taken(self) -> subprocess.Popen[str]:
        assert self.process is not None, "the endpoint is not running"
        process, self.process = self.process, None
        return process

    @staticmethod
    def _ended(process: subprocess.Popen[str]) -> int:
        status = process.wait(STOP_MAX_S)
        assert process.stdin is not None
        process.stdin.close()
        return status

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        lines: Queue[str] = Queue()

        def drain() -> None:  # goes on reading, so that the child never blocks on a full pipe
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    self.log.append(line)
                    lines.put(line)
            lines.put("")

        threading.Thread(target=drain, daemon=True).start()
        with contextlib.suppress(Empty):
            while line := lines.get(timeout=START_MAX_S):
                if line.startswith("ready"):
                    return
        process.kill()
        raise AssertionError(f"the ClickHouse endpoint did not start: exit status {Endpoint._ended(process)}")


class Embedded(Databases):
    """The engine in this process. A process opens one folder only, so all tests share it and differ by database."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def unmade(self) -> ClickHouseAddress:
        return ClickHouseAddress(f"chdb://{self.folder}", database=f"test_{uuid4().hex[:12]}")


def fill_and_merge(address: ClickHouseAddress) -> Path:
    """40 rows of usage_hourly in four parts, with mutations among them, and one part of the four; returns the folder of
    that."""
    rows = hourly([{"model": f"model-{number}"} for number in range(40)])
    with closing(Writer(address)) as writer, closing(open_client(address)) as client:
        for quarter in rows.iter_slices(10):
            writer.insert("usage_hourly", quarter)
            client.command(
                "ALTER TABLE usage_hourly_rows DELETE WHERE model = 'none'", settings={"mutations_sync": "1"}
            )
        client.command("OPTIMIZE TABLE usage_hourly_rows FINAL")
        return Path(str(client.command("SELECT path FROM system.parts WHERE active AND table = 'usage_hourly_rows'")))


def lose_what_was_merged(merged: Path) -> None:
    """While no engine runs: ``merged`` cannot be read, and of its sources only the first is left."""
    partition, lowest = merged.name.split("_")[:2]
    for source in merged.parent.glob(f"{partition}_*"):
        if source.name.split("_")[1] != lowest:
            shutil.rmtree(source)
    (merged / "columns.txt").write_bytes(b"")


def settings_of(address: ClickHouseAddress) -> dict[str, str]:
    """The settings, in lower case and without the prefix, that lead a command to this warehouse."""
    return {
        "clickhouse_url": address.url,
        "clickhouse_database": address.database,
        "clickhouse_user": address.user,
        "clickhouse_password": address.password,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The two ways to the same engine, as parameters of a fixture: names of those below. What an answer holds is the same
# on both, so most cases are asked over HTTP in `make test-all` only; the contract is asked of both each time.
#
# COSTREAM_TEST_CLICKHOUSE=http://[user:password@]host:port is a server that stands where the endpoint would. Who names
# one means it: then everything is asked of it each time.
both_ways = ["clickhouse_embedded", "clickhouse_endpoint"]
one_way_and_the_other = [
    "clickhouse_embedded",
    pytest.param("clickhouse_endpoint", marks=[] if os.environ.get("COSTREAM_TEST_CLICKHOUSE") else pytest.mark.slow),
]


def pytest_report_header(config: pytest.Config) -> str:
    wanted = named_server()
    over_http = (
        f"{wanted.url} (COSTREAM_TEST_CLICKHOUSE)" if wanted else "`costream clickhouse` in a process of its own"
    )
    return f"clickhouse: the embedded engine; over HTTP {over_http}"


def named_server() -> Server | None:
    """The server of COSTREAM_TEST_CLICKHOUSE."""
    text = os.environ.get("COSTREAM_TEST_CLICKHOUSE", "")
    if not text:
        return None
    parts = urlsplit(text)
    url = f"{parts.scheme}://{parts.hostname}:{parts.port or 8123}"
    return Server(url, user=unquote(parts.username or "default"), password=unquote(parts.password or ""))


@shareable("clickhouse")
def _start(running: contextlib.ExitStack) -> str:
    folder = Path(tempfile.mkdtemp(prefix="costream-clickhouse-"))
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    return running.enter_context(Endpoint(folder)).url


@pytest.fixture(scope="session")
def clickhouse_endpoint(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The run's warehouse over HTTP; ``clickhouse_endpoint.fresh()`` gives a test an address of its own."""
    if (named := named_server()) is None:
        yield Server(shared(request.config, "clickhouse"))
    else:
        yield named
        named.clean()


@pytest.fixture(scope="session")
def clickhouse_embedded() -> Iterator[Embedded]:
    """The session's warehouse in this process; ``clickhouse_embedded.fresh()`` gives a test an address of its own."""
    folder = Path(tempfile.mkdtemp(prefix="costream-chdb-"))
    with closing(open_handle(str(folder))):  # else the engine would end with each test's last client, and start anew
        yield Embedded(folder)
    shutil.rmtree(folder, ignore_errors=True)
