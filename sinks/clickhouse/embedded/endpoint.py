"""ClickHouse's HTTP protocol over the embedded engine, so that several processes share one folder.

For development and tests, on this machine alone: one process, no replication, results and bodies held in memory, and no
users beyond two passwords. Production takes a ClickHouse server; both are reached by the same client and settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import zlib
from base64 import b64decode
from collections.abc import AsyncIterable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import lz4.frame
import structlog
import zstandard
from aiohttp import BodyPartReader, web
from aiohttp.typedefs import Handler

from sinks.clickhouse.embedded import blocks
from sinks.clickhouse.embedded.guard import Refused, names
from sinks.clickhouse.embedded.parts import LOOK_SECONDS
from sinks.clickhouse.embedded.requests import Answer, Engine, Request
from sinks.errors import EndpointNotStarted, code_of
from sinks.loopback import host_name, is_loopback

log = structlog.get_logger(__name__)

BODY_BYTES_MAX: Final = 512 * 1024 * 1024  # a batch of 60,000 events is about 30 MB; this bounds a mistake or a bomb
QUESTION_BYTES_MAX: Final = 16 * 1024 * 1024  # of who only reads: what the engine takes as one statement
WRITE_THREADS: Final = 4  # statements at once; the engine uses threads of its own in each
READ_THREADS: Final = 3  # questions at once, beside the writers: who only reads never keeps a write waiting
STOP_SECONDS_MAX: Final = 3  # what a running query gets to finish after SIGTERM, and its thread after that
IDLE_SECONDS_MAX: Final = 30  # a connection without a whole request; a server's own bound, which drivers know
BODY_SECONDS_MAX: Final = 60  # from the headers to the end of the body, which comes from this machine

# Parameters of the protocol; every other one, param_* aside, is a setting.
PROTOCOL: Final = names(
    """
    query database default_format user password session_id session_timeout session_check query_id quota_key role
    compress decompress wait_end_of_query buffer_size client_protocol_version send_progress_in_http_headers
    http_headers_progress_interval_ms enable_http_compression add_http_cors_header"""
)
STATUS: Final = {"60": 404, "81": 404, "516": 403, "497": 403, "164": 403, "48": 501, "62": 400}

UNKNOWN_EXCEPTION: Final = 1002


@dataclass(frozen=True)
class Tokens:
    """The passwords. An empty ``write`` lets anyone on this machine write; an empty ``read`` admits no mere reader."""

    write: str = ""
    read: str = ""

    def admits(self, given: str) -> str | None:
        """``"write"``, ``"read"`` or nothing, in time that does not depend on the password."""
        if self.read and secrets.compare_digest(given.encode(), self.read.encode()):
            return "read"
        if not self.write or secrets.compare_digest(given.encode(), self.write.encode()):
            return "write"
        return None


class ProtocolError(Exception):
    """A request we cannot serve, with the code and name ClickHouse has for it."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")


def serve(
    folder: str,
    *,
    port: int,
    host: str = "127.0.0.1",
    tokens: Tokens = Tokens(),
    on_ready: Callable[[str], None],
) -> None:
    """Serve ``folder`` until SIGTERM or SIGINT; ``on_ready`` gets the address once requests are answered.

    A SIGKILL loses no acknowledged insert and leaves no lock; the same folder and port can be taken up again at once.
    """
    if not is_loopback(host):
        reason = f"{host!r} is not a loopback address, and this endpoint has no users, TLS or limits for a network"
        raise EndpointNotStarted(folder=folder, host=host, port=port, reason=reason)
    try:
        asyncio.run(_serve(folder, host, port, tokens, on_ready))
    except (OSError, RuntimeError) as error:  # a port in use; a folder another process holds, in the engine's words
        reason = " ".join(str(error).split())
        raise EndpointNotStarted(folder=folder, host=host, port=port, reason=reason) from error


async def _serve(folder: str, host: str, port: int, tokens: Tokens, on_ready: Callable[[str], None]) -> None:
    engine = Engine(folder)
    pools = Pools()
    runner = _runner(engine, pools, tokens)
    stop = _stop_signal()
    mending = asyncio.ensure_future(_mend(engine, pools))
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        address = f"http://{host}:{runner.addresses[0][1]}"
        log.info("clickhouse_endpoint_ready", address=address, folder=folder)
        on_ready(address)
        await stop.wait()
    finally:
        mending.cancel()
        await runner.cleanup()
        await _close(engine, pools)


async def _mend(engine: Engine, pools: Pools) -> None:
    """Again and again. A look that fails is said and repeated: nothing else here may end over it."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.get_running_loop().run_in_executor(pools.mending, engine.mend)
        except (RuntimeError, OSError) as error:
            log.error("parts were not looked at", reason=str(error), next=f"again in {LOOK_SECONDS:.0f} s")


def _runner(engine: Engine, pools: Pools, tokens: Tokens) -> web.AppRunner:
    return web.AppRunner(
        _app(engine, pools, tokens),
        auto_decompress=False,  # bodies are bounded and decoded here; aiohttp knows no lz4
        access_log=None,  # queries carry data and passwords
        shutdown_timeout=STOP_SECONDS_MAX,
        keepalive_timeout=IDLE_SECONDS_MAX,  # also of a connection whose first request never gets whole
    )


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _close(engine: Engine, pools: Pools) -> None:
    """Close the engine, unless a query still holds a thread: it cannot be interrupted, so the process ends over it."""
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.run_in_executor(None, pools.shutdown), STOP_SECONDS_MAX)
    except TimeoutError:
        log.warning("clickhouse_endpoint_query_cut_off", waited_seconds=STOP_SECONDS_MAX)
        sys.stdout.flush()
        os._exit(0)
    engine.close()


class Pools:
    """The threads that statements run on. Those of readers are apart, and so is the one that looks after the parts."""

    def __init__(self) -> None:
        self._write = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="write")
        self._read = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
        self.mending = ThreadPoolExecutor(1, thread_name_prefix="mend")

    def of(self, request: Request) -> ThreadPoolExecutor:
        return self._read if request.read_only else self._write

    def shutdown(self) -> None:
        pools = (self._read, self._write, self.mending)
        for pool in pools:
            pool.shutdown(cancel_futures=True, wait=False)
        for pool in pools:
            pool.shutdown()


def _app(engine: Engine, pools: Pools, tokens: Tokens) -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_only_from_here])
    app.router.add_get("/ping", _ping)
    app.router.add_get("/", partial(_handle, engine, pools, tokens))
    app.router.add_post("/", partial(_handle, engine, pools, tokens))
    return app


@web.middleware
async def _only_from_here(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a browser sends for somebody else's page, whatever password it has.

    A page may send a GET anywhere, and by a name that resolves to this machine (DNS rebinding) it may read the answer.
    It cannot choose the headers ``Host``, ``Origin`` and ``Sec-Fetch-Site``.
    """
    host = host_name(request.headers.get("Host", ""))
    if not is_loopback(host):
        return _failure(str(ProtocolError(497, "ACCESS_DENIED", f"The host {host!r} is not this machine's own")), {})
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
        return _failure(str(ProtocolError(497, "ACCESS_DENIED", "Requests from a web page are refused")), {})
    return await handler(request)


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _handle(engine: Engine, pools: Pools, tokens: Tokens, http: web.Request) -> web.Response:
    headers = {
        "X-ClickHouse-Query-Id": http.query.get("query_id") or str(uuid4()),
        "X-ClickHouse-Timezone": engine.timezone,
        "X-ClickHouse-Server-Display-Name": "costream embedded",
    }
    try:
        role = _role(http, tokens)
        request = await _whole(http, read_only=role == "read")
        if not request.statement.strip():
            return web.Response(text="Ok.\n", headers=headers)
        answer = await asyncio.get_running_loop().run_in_executor(pools.of(request), engine.run, request)
    except ConnectionError:  # whoever asked went away before the request was whole: nothing ran, nobody is listening
        return web.Response()
    except (ProtocolError, Refused, RuntimeError) as error:  # the engine raises RuntimeError with ClickHouse's message
        return _failure(str(error), headers)
    return _success(http, answer, headers)


def _role(http: web.Request, tokens: Tokens) -> str:
    """Who asks."""
    role = tokens.admits(_password(http))
    if role is None:
        raise ProtocolError(516, "AUTHENTICATION_FAILED", "Authentication failed: password is incorrect")
    return role


def _password(http: web.Request) -> str:
    given = http.headers.get("X-ClickHouse-Key") or http.query.get("password")
    if given is not None:
        return given
    scheme, _, value = http.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError as error:
        raise ProtocolError(516, "AUTHENTICATION_FAILED", "The Authorization header is not Basic base64") from error


async def _whole(http: web.Request, *, read_only: bool) -> Request:
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _request(http, read_only=read_only)
    except TimeoutError as error:
        raise ProtocolError(209, "SOCKET_TIMEOUT", f"The body was not whole in {BODY_SECONDS_MAX} s") from error


async def _request(http: web.Request, *, read_only: bool) -> Request:
    fields = dict(http.query)
    body, limit = b"", QUESTION_BYTES_MAX if read_only else BODY_BYTES_MAX
    if http.content_type.startswith("multipart/"):
        fields |= await _form(http, limit)
    elif http.method == "POST":
        sent = await _read(http.content.iter_any(), limit)
        body = _decoded(sent, http.headers.get("Content-Encoding", ""), limit)
        if fields.get("decompress") == "1":
            body = _unpacked(body, limit)
    query = fields.get("query", "").encode()
    settings = {name: value for name, value in fields.items() if name not in PROTOCOL and not name.startswith("param_")}
    asked_to_read = settings.pop("readonly", "")  # it can only take rights away; 0 gives none back
    return Request(
        statement=query or body,
        data=body if query else b"",
        format=fields.get("default_format") or http.headers.get("X-ClickHouse-Format") or "TabSeparated",
        database=_database(fields.get("database") or http.headers.get("X-ClickHouse-Database") or ""),
        settings=settings,
        parameters={name[6:]: value for name, value in fields.items() if name.startswith("param_")},
        session_id=fields.get("session_id", ""),
        read_only=read_only or http.method == "GET" or asked_to_read in ("1", "2"),
    )


def _database(name: str) -> str:
    if name == "default":
        raise ProtocolError(81, "UNKNOWN_DATABASE", "Database default is not served here: name one of your own")
    return name


async def _form(http: web.Request, limit: int) -> dict[str, str]:
    """Parameters sent as a form, which is how long lists arrive."""
    fields: dict[str, str] = {}
    async for part in await http.multipart():
        if not isinstance(part, BodyPartReader) or part.filename:
            raise ProtocolError(48, "NOT_IMPLEMENTED", "External tables are not supported here")
        sent = await _read(part, limit)
        limit -= len(sent)
        fields[part.name or ""] = sent.decode(errors="surrogateescape")
    return fields


async def _read(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    whole = bytearray()
    async for piece in pieces:
        whole += piece
        if len(whole) > limit:
            raise _too_large(limit)
    return bytes(whole)


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """The body in the clear, at most ``limit`` bytes of it whatever it claims to be compressed from."""
    try:
        clear = _inflate(body, encoding.lower(), limit + 1)
    except (zlib.error, RuntimeError, zstandard.ZstdError) as error:
        raise ProtocolError(271, "CANNOT_DECOMPRESS", f"The body is not {encoding}: {error}") from error
    if len(clear) > limit:
        raise _too_large(limit)
    return clear


def _unpacked(body: bytes, limit: int) -> bytes:
    """A body in blocks, which drivers send beside, or in, any Content-Encoding."""
    try:
        clear = blocks.unpack(body, limit)
    except blocks.BlocksBroken as error:
        message = f"The body is not what decompress=1 says: {error}. Nothing of it was run"
        raise ProtocolError(271, "CANNOT_DECOMPRESS", message) from error
    if len(clear) > limit:
        raise _too_large(limit)
    return clear


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(396, "TOO_LARGE_BODY", f"The body is larger than {limit} bytes")


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    match encoding:
        case "" | "identity":
            return body
        case "gzip" | "deflate":
            return zlib.decompressobj(wbits=47).decompress(body, limit)  # 47 takes either header
        case "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(body, max_length=limit))
        case "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                return reader.read(limit)
        case _:
            raise ProtocolError(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding!r}: send gzip, lz4, zstd or none")


def _success(http: web.Request, answer: Answer, headers: Mapping[str, str]) -> web.Response:
    headers = {**headers, "X-ClickHouse-Summary": json.dumps(answer.summary)}
    if answer.format:
        headers["X-ClickHouse-Format"] = answer.format
    body = blocks.pack(answer.body) if http.query.get("compress") == "1" else answer.body
    if http.query.get("enable_http_compression") == "1":  # however small: Java's client takes the server at its word
        body, encoding = _deflate(body, http.headers.get("Accept-Encoding", ""))
        if encoding:
            headers["Content-Encoding"] = encoding
    kind = "application/json" if "JSON" in answer.format else "text/plain"
    return web.Response(body=body, headers=headers, content_type=kind)


def _deflate(body: bytes, accepted: str) -> tuple[bytes, str]:
    if "zstd" in accepted:
        return zstandard.compress(body), "zstd"
    if "lz4" in accepted:
        return bytes(lz4.frame.compress(body)), "lz4"
    if "gzip" in accepted:
        packer = zlib.compressobj(level=1, wbits=31)
        return packer.compress(body) + packer.flush(), "gzip"
    return body, ""


def _failure(message: str, headers: Mapping[str, str]) -> web.Response:
    text = message[max(message.find("Code: "), 0) :]
    code = str(code_of(text) or UNKNOWN_EXCEPTION)
    return web.Response(
        status=STATUS.get(code, 500), text=text, headers={**headers, "X-ClickHouse-Exception-Code": code}
    )
