"""What all processes of one test run share: a broker, an engine. Each is started once and ended with the run.

With `pytest -n 3` tests run in three processes, and none knows when the others are done. So the process that started
them keeps what is shared: a test process asks it by name, the first who asks waits for the start, and the controlling
process ends everything when the run ends. In a run without `-n` both are the same process, and nothing listens.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Final

import pytest

# Starts one shared thing; what it opens goes on the stack, and what it returns travels between processes.
Start = Callable[[contextlib.ExitStack], Any]

_STARTS: dict[str, Start] = {}
_SHARED: Final = pytest.StashKey["Shared"]()
_WAY: Final = "costream_shared"  # the name under which a test process finds the way to the controlling one


def shareable(name: str) -> Callable[[Start], Start]:
    """Register what ``shared`` starts under this name. What it raises is raised in every test that asks."""

    def register(start: Start) -> Start:
        _STARTS[name] = start
        return start

    return register


def shared(config: pytest.Config, name: str) -> Any:
    """What was started under this name for the whole run, by whoever asked first."""
    if (way := getattr(config, "workerinput", {}).get(_WAY)) is None:
        return config.stash[_SHARED].take(name)
    with Client(way["address"], authkey=way["key"]) as controller:
        controller.send(name)
        found, error = controller.recv()
    if error is not None:
        raise error
    return found


def shared_so_far(config: pytest.Config) -> dict[str, Any]:
    """What this controlling process has started, by name; a test process has started nothing."""
    return config.stash[_SHARED].found if _SHARED in config.stash else {}


class Shared:
    """The shared things of a run, in the process that ends them."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}
        self._running = contextlib.ExitStack()
        self._starting = threading.Lock()
        self._key = secrets.token_bytes(16)
        self._listener: Listener | None = None

    def take(self, name: str) -> Any:
        with self._starting:
            if name not in self.found and name not in self._errors:
                try:
                    self.found[name] = _STARTS[name](self._running)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where it was asked for
                    self._errors[name] = error
        if name in self._errors:
            raise self._errors[name]
        return self.found[name]

    def way(self) -> dict[str, Any]:
        """How a test process reaches this one."""
        if self._listener is None:
            self._listener = Listener(family="AF_UNIX", authkey=self._key)
            threading.Thread(target=self._listen, args=[self._listener], daemon=True).start()
        return {"address": self._listener.address, "key": self._key}

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        with self._starting:
            self._running.close()

    def _listen(self, listener: Listener) -> None:
        with contextlib.suppress(OSError):  # closed: the run is over
            while True:
                threading.Thread(target=self._answer, args=[listener.accept()], daemon=True).start()

    def _answer(self, asking: Connection) -> None:
        with asking, contextlib.suppress(EOFError, OSError):  # a test process that died waits for no answer
            try:
                asking.send((self.take(asking.recv()), None))
            except Exception as error:  # noqa: BLE001 - it belongs to the test that asked
                asking.send((None, error))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_SHARED] = Shared()
        # `timeout 600 make test` ends a run with this signal; left alone, it would leave the broker behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # it is pytest-xdist that calls it
def pytest_configure_node(node: Any) -> None:
    node.workerinput[_WAY] = node.config.stash[_SHARED].way()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if _SHARED in config.stash:
        config.stash[_SHARED].close()
