"""The server of page and API: what it stands on, and how it starts and ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from costream.pricing import PriceBook
from sinks.api.access import Token
from sinks.clickhouse.acts import store_act
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk
from sinks.page.app import make_app
from stream.budgets.zones import zone
from stream.runtime.errors import ConfigurationError
from stream.runtime.settings import Settings

# What one question may take; where the user may not set them, its profile has bounds of its own.
BOUNDS: Final = {"max_execution_time": "20", "max_memory_usage": "2000000000", "max_threads": "2"}
STOP_SECONDS: Final = 3
BACKLOG: Final = 1_024
REQUESTS_AT_ONCE: Final = 1_000  # beyond it the answer is 503, and nothing piles up


def desk_of(reader: Reader, settings: Settings) -> Desk:
    """Where every figure is asked for, by the clocks of the settings."""
    return Desk(Answers(reader), zone=settings.zone, zone_of=zone, book=PriceBook.bundled())


def application(reader: Reader, *, settings: Settings, tokens: Sequence[Token]) -> ASGIApp:
    """The page and the API over ``reader``."""
    return make_app(
        desk_of(reader, settings),
        tokens=tokens,
        requests_a_minute=settings.serve_requests_a_minute,
        acknowledge=partial(store_act, reader.address),
    )


def run_server(
    address: ClickHouseAddress,
    *,
    bind: str,
    port: int,
    tokens: Sequence[Token],
    settings: Settings,
    tell: Callable[[str], None],
) -> None:
    """Until it is told to stop. The warehouse need not answer yet."""
    listener = _listening(bind, port)
    with closing(Reader(address, bounds=BOUNDS)) as reader:
        app = application(reader, settings=settings, tokens=tokens)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=REQUESTS_AT_ONCE,
        )
        host, real_port = listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        tell(f"http://{name}:{real_port}  the page, and the HTTP API under /v1")
        server = uvicorn.Server(config)
        _end_in_order(server)
        server.run(sockets=[listener])


def _end_in_order(server: uvicorn.Server) -> None:
    """It raises the signal that ended it once more when it has ended: that is to be no fault."""

    def on_signal(_number: int, _frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _listening(bind: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bind, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"port {port} of {bind} cannot be listened on: {error.strerror or error}; nothing was started. Name "
            "another one: --port"
        ) from error
    return listener
