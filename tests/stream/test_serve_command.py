"""`costream serve` as a person starts it: where it listens, what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from sinks.clickhouse.connect import ClickHouseAddress
from stream.cli import application
from tests.support.records import until
from tests.support.serving import Served
from tests.support.warehouse import Server, settings_of
from tests.support.worker import MAIN

SECRET = "a-token-of-some-length"


@contextmanager
def serving(address: ClickHouseAddress, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], Served]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    environment |= {f"COSTREAM_{name.upper()}": value for name, value in settings_of(address).items()} | more
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", "--port", "0", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)  the page, and the HTTP API under /v1", line)
        assert found, line + process.stdout.read()
        yield process, Served(int(found[1]))
    finally:
        process.kill()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_in_order_though_a_page_listens(clickhouse_endpoint: Server, sent: signal.Signals) -> None:
    with serving(clickhouse_endpoint.fresh()) as (process, page):
        until(lambda: page.get("/healthz").status == 200, "it answers", seconds=30)
        assert page.get("/v1/total").json["calls"] == 0
        with socket.create_connection(("127.0.0.1", page.port)) as listening:
            listening.sendall(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200 OK" in listening.recv(1_000)
            process.send_signal(sent)
            assert process.wait(20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_with_tokens_from_the_environment_it_asks_for_one(clickhouse_endpoint: Server) -> None:
    with serving(clickhouse_endpoint.fresh(), COSTREAM_SERVE_TOKENS=f"ann:{SECRET}") as (_, page):
        assert page.get("/v1/total").status == 401
        assert page.get("/v1/total", authorization=f"Bearer {SECRET}").status == 200


def said(*arguments: str, **environment: str) -> tuple[int, str]:
    known: Mapping[str, str | None] = {name: None for name in os.environ if name.startswith("COSTREAM_")}
    result = CliRunner().invoke(application(), ["serve", *arguments], env={**known, **environment})
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.1.2.3"])
def test_beyond_this_machine_it_does_not_start_without_a_token(bind: str) -> None:
    code, told = said("--bind", bind)
    assert code == 2
    assert f"COSTREAM_SERVE_BIND is {bind}, which others can reach, and there is no token" in told
    assert told.endswith("nothing was started")


def test_a_token_that_is_too_short_is_named_and_not_told() -> None:
    code, told = said(COSTREAM_SERVE_TOKENS="ann:hunter2")
    assert code == 2
    assert "the token of 'ann' has 7 characters and needs 16" in told
    assert "hunter2" not in told


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, told = said("--port", str(port))
    assert code == 1
    assert f"port {port} of 127.0.0.1 cannot be listened on: Address already in use; nothing was started" in told
    assert "--port" in told
