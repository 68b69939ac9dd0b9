"""A port behind which a broker appears when a test wants it to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

WAIT_SECONDS_MAX = 20.0


class Forwarder:
    """Lets connections to a port through to a broker; the broker's metadata names its own port from there on."""

    def __init__(self, port: socket.socket, target: str) -> None:
        name, _, number = target.rpartition(":")
        self._target = (name, int(number))
        self._port = port
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> None:
        self._port.listen()
        self._threads[0].start()

    def __exit__(self, *_: object) -> None:
        for end in [self._port, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # how the shutdown of a listening socket ends accept()
            while True:
                near, _ = self._port.accept()
                far = socket.create_connection(self._target, timeout=WAIT_SECONDS_MAX)
                self._ends += [near, far]
                for ends in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._pump, args=ends))
                    self._threads[-1].start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
