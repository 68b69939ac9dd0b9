"""A gateway between a client and ClickHouse that answers for it, cuts its answers, or takes the headers off."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX = 30.0


@dataclass
class Answer:
    """What goes back to the client; ``length`` is what the header claims where that is not the body's own."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


# What the gateway makes of one exchange: given the body of the request, and a way to ask the server behind it.
Lie = Callable[[bytes, Callable[[], Answer]], Answer]


def honest(_: bytes, ask: Callable[[], Answer]) -> Answer:
    return ask()


class LyingProxy:
    """Use as a context. ``lie`` may be changed at any time; what it lets through is counted in ``passed``."""

    def __init__(self, target: str, lie: Lie = honest) -> None:
        self.lie = lie
        self.passed = 0
        self._target = urlsplit(target).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nothing: the test says what happened."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = proxy.lie(body, lambda: proxy._ask(self.path, body, self.headers))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = True

        return Handler

    def _ask(self, path: str, body: bytes, headers: Any) -> Answer:
        connection = http.client.HTTPConnection(self._target, timeout=ANSWER_SECONDS_MAX)
        try:
            hop = {"host", "connection", "content-length"}
            connection.request(
                "POST", path, body, {name: value for name, value in headers.items() if name.lower() not in hop}
            )
            response = connection.getresponse()
            self.passed += 1
            kept = {
                name: value for name, value in response.getheaders() if name.lower() not in {*hop, "date", "server"}
            }
            return Answer(response.status, response.read(), kept)
        finally:
            connection.close()
