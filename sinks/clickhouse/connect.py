"""The way to ClickHouse: a server by HTTP, or the embedded engine in this process, through one client API."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Generic, Protocol, Self, TypeVar, assert_never
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.exceptions import Error as DriverError
from urllib3.exceptions import HTTPError

from sinks.clickhouse.codes import Remedy, remedy_of
from sinks.clickhouse.embedded.engine import OPTIONS
from sinks.errors import WarehouseError, WarehouseRefused, WarehouseTooSmall, WarehouseUnavailable, code_of

# They warn of every failed request, also of those we retry for hours; our errors say the same, once, with the reason.
for _library in ("clickhouse_connect", "urllib3"):
    logging.getLogger(_library).setLevel(logging.ERROR)

CONNECT_SECONDS_MAX: Final = 5  # a host that is down is known at once; the caller waits with backoff, not here
REASON_CHARS_MAX: Final = 600  # ClickHouse says what is wrong first; the rest repeats the statement
ANSWER_SECONDS_MAX: Final = 120  # the longest read-back at start takes seconds; beyond this the server is stuck

# A server's default of async_insert=1 may answer for rows that no part on disk holds yet. A client that only reads
# sends no setting at all: a read-only user may not change one.
WRITE_SETTINGS: Final[Mapping[str, Any]] = {"async_insert": "0"}
READ_SETTINGS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class ClickHouseAddress:
    """Where the warehouse is. ``url`` is ``http(s)://HOST:PORT`` or ``chdb:///FOLDER`` for the embedded engine.

    The database is always one of our own: in the embedded engine an unknown name in ``default`` falls through to files.
    """

    url: str
    database: str = "costream"
    user: str = "default"
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https", "chdb"):
            raise ValueError(f"{self.url!r} is neither http(s)://HOST:PORT nor chdb:///FOLDER")
        if parts.scheme == "chdb" and not self.folder:
            raise ValueError(f"{self.url!r} names no folder: write chdb:///absolute/folder or chdb://relative/folder")
        if parts.scheme != "chdb" and not parts.hostname:
            raise ValueError(f"{self.url!r} names no host: write http://HOST:PORT")
        if self.database == "default":
            raise ValueError("the database must not be 'default': name one of its own, such as 'costream'")

    @property
    def embedded(self) -> bool:
        return self.url.startswith("chdb:")

    @property
    def folder(self) -> str:
        """The folder of the embedded engine; empty for a server."""
        return self.url.removeprefix("chdb://") if self.embedded else ""

    def with_database(self, database: str) -> Self:
        return replace(self, database=database)


def open_client(
    address: ClickHouseAddress, *, database: str | None = None, settings: Mapping[str, Any] = WRITE_SETTINGS
) -> Client:
    """A client for one thread. ``database=""`` connects without one, which is how it gets created."""
    with translated(address):
        try:
            return _open(address, address.database if database is None else database, dict(settings))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # The driver asks for the server's version and settings first. What is none of them is not from a server.
            reason = f"what answers there is not ClickHouse ({type(error).__name__}: {error})"
            raise WarehouseUnavailable(where=address.url, reason=reason) from error


def _open(address: ClickHouseAddress, database: str, settings: dict[str, Any]) -> Client:
    if address.embedded:
        return clickhouse_connect.get_client(
            interface="chdb", path=address.folder, database=database or None, settings=settings, chdb_options=OPTIONS
        )
    parts = urlsplit(address.url)
    return clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname,
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=address.user,
        password=address.password,
        database=database or None,
        settings=settings,
        connect_timeout=CONNECT_SECONDS_MAX,
        send_receive_timeout=ANSWER_SECONDS_MAX,
        autogenerate_session_id=False,  # a session allows one query at a time and binds the client to one server
        form_encode_query_params=True,  # lists of ids outgrow a URL
        client_name="costream",
    )


def may_set(client: Client) -> bool:
    """Whether questions of this client may bring settings: who is read-only by its profile may not."""
    return bool(client.server_settings["readonly"].readonly == 0)


def create_database(address: ClickHouseAddress) -> None:
    """Create the warehouse's own database where it is missing."""
    client = open_client(address, database="")
    try:
        with translated(address):
            client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(address.database)}")
    finally:
        client.close()


def quoted(name: str) -> str:
    """An identifier as ClickHouse reads it, whatever stands in it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Closable(Protocol):
    """What a thread holds of the warehouse."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class PerThread(Generic[C]):
    """One of something per thread: neither a client nor an engine handle may be shared between threads."""

    def __init__(self, address: ClickHouseAddress, open_one: Callable[[], C]) -> None:
        self.address = address
        self._open_one = open_one
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[C] = []

    def get(self) -> C:
        client: C | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._open_one()
            with self._lock:
                self._open.append(client)
        return client

    def drop(self) -> None:
        """Forget this thread's own after a failure; the next ``get`` connects anew."""
        client: C | None = getattr(self._local, "client", None)
        if client is None:
            return
        self._local.client = None
        with self._lock:
            self._open.remove(client)
        client.close()

    @contextmanager
    def use(self) -> Iterator[C]:
        """This thread's own; foreign errors leave as ours, and one that does not answer is dropped."""
        try:
            with translated(self.address):
                yield self.get()
        except WarehouseUnavailable:
            self.drop()
            raise

    def close(self) -> None:
        """Close every thread's own. The embedded engine gives its folder free with the last of them."""
        with self._lock:
            clients, self._open = self._open, []
        for client in clients:
            client.close()
        self._local = threading.local()


class Clients(PerThread[Client]):
    """The driver's clients, one per thread."""

    def __init__(self, address: ClickHouseAddress, *, settings: Mapping[str, Any] = WRITE_SETTINGS) -> None:
        super().__init__(address, partial(open_client, address, settings=settings))


@contextmanager
def translated(address: ClickHouseAddress) -> Iterator[None]:
    """The one place where the driver's errors become ours."""
    try:
        yield
    except WarehouseError:
        raise
    except (ClickHouseError, OSError, HTTPError) as error:
        raise _translate(error, where=address.url) from error


def _translate(error: Exception, *, where: str) -> WarehouseError:
    reason = _one_line(error)
    if "EmbeddedServer" in reason:  # the engine says no more: it is open elsewhere, or the folder is not ours to write
        return WarehouseUnavailable(where=where, reason=f"{_LOCKED} ({reason})")
    told = error.code if isinstance(error, DriverError) else None
    code = told if told is not None else code_of(reason)  # a proxy may have taken the header off
    if code is None:
        return _without_a_code(where, reason)
    match remedy_of(code, reason):
        case Remedy.WAIT:
            return WarehouseUnavailable(where=where, reason=reason)
        case Remedy.SPLIT:
            return WarehouseTooSmall(where=where, reason=reason)
        case Remedy.STOP:
            return WarehouseRefused(where=where, reason=reason, code=code)
        case unreachable:
            assert_never(unreachable)


_LOCKED: Final = "the folder is open elsewhere, or not writable; `costream clickhouse` lets several processes share one"


def _without_a_code(where: str, reason: str) -> WarehouseError:
    """Whatever answered, it was not ClickHouse."""
    if re.search(r"HTTP status 413", reason):
        return WarehouseTooSmall(where=where, reason=reason)
    return WarehouseUnavailable(where=where, reason=reason)


def _one_line(error: Exception) -> str:
    """The error in one line that a log can hold: a proxy answers with whole pages."""
    text = " ".join(str(error).split("Stack trace", maxsplit=1)[0].split()) or repr(error)
    return text if len(text) <= REASON_CHARS_MAX else f"{text[:REASON_CHARS_MAX]}…"
