"""The page and the API on a port of loopback, in a thread, over a warehouse of a test."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import uvicorn

from sinks.api.access import Token
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from stream.runtime.settings import Settings
from stream.serving import BOUNDS, application

START_SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """What answers at ``url``."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.port, self.url, self._prefix = port, f"http://127.0.0.1:{port}{prefix}", prefix

    def get(self, path: str, query: Sequence[tuple[str, str]] | None = None, **headers: str) -> Answer:
        asked = f"{path}?{urlencode(query)}" if query else path
        return self.send("GET", asked, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told["content-type"] = "application/x-www-form-urlencoded"
        return self.send("POST", path, body=urlencode(form).encode(), headers=told)

    def send(self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str]) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, self._prefix + path, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())


@contextmanager
def served(
    address: ClickHouseAddress, *, tokens: Sequence[Token] = (), settings: Settings | None = None
) -> Iterator[Served]:
    with closing(Reader(address, bounds=BOUNDS)) as reader:
        app = application(reader, settings=settings or Settings(), tokens=tokens)
        with running(app) as answering:
            yield answering


@contextmanager
def running(app: Any, prefix: str = "") -> Iterator[Served]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        began = time.monotonic()
        while not server.started:
            assert time.monotonic() - began < START_SECONDS_MAX, "it did not start"
            time.sleep(0.01)
        try:
            yield Served(listener.getsockname()[1], prefix)
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "it did not end"
