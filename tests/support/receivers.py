"""Who is told, on loopback: a server of webhooks that can misbehave, and a mail server with TLS and a login."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = "alerts", "pass-word-of-mail"


@dataclass
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpReceiver:
    """Answers as ``does`` says, or as it answers each time: a status, ``hang`` or ``cut``; and keeps what it took."""

    def __init__(self, does: int | str | Callable[[], int | str] = 200) -> None:
        self.got: list[Posted] = []
        self.does = does
        self.asked = 0
        self.says = b"ok"
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted = Posted(self.path, dict(self.headers), body)
                does = receiver.does
                match does() if callable(does) else does:
                    case int(status):
                        if status < 300:
                            receiver.got.append(posted)
                        self.send_response(status)
                        if 300 <= status < 400:
                            self.send_header("Location", "/elsewhere")
                        self.send_header("Content-Length", str(len(receiver.says)))
                        self.end_headers()
                        self.wfile.write(receiver.says)
                    case "hang":
                        receiver._over.wait(30)
                    case "cut":
                        self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def let_go(self) -> None:
        """Whoever hangs is hung up on."""
        self._over.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Mail:
    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class MailServer:
    """``refuses`` names recipients that it does not take."""

    port: int = 0
    ca_file: str = ""
    got: list[Mail] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    answer: str = "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - of the library
        if address in self.refuses:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - of the library
        if self.answer.startswith("250"):
            message = message_from_bytes(envelope.content, policy=policy.default)
            self.got.append(Mail(envelope.mail_from, envelope.rcpt_tos, message))
        return self.answer


def lets_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)


@contextmanager
def mail_server(folder: Path, *, encrypted: bool = True) -> Iterator[MailServer]:
    """STARTTLS and a login are required, if it is encrypted; ``ca_file`` is whose certificates are to be trusted."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = MailServer(ca_file=str(ca_file))

    class Loopback(Controller):
        def factory(self) -> SMTP:
            if not encrypted:
                return SMTP(server, hostname="mail.test")
            return SMTP(
                server,
                hostname="mail.test",
                tls_context=context,
                require_starttls=True,
                auth_required=True,
                authenticator=lets_in,
            )

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Loopback(server, hostname="127.0.0.1", port=port)
    controller.start()
    server.port = port
    try:
        yield server
    finally:
        controller.stop()
