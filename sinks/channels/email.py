"""Mail by SMTP: one message to all recipients."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final, Literal

from sinks.channels.notice import NotDelivered, NotDeliveredToAll, Notice

SECONDS_MAX: Final = 10.0  # of each step: connect, log in, send
DOMAIN: Final = "costream"  # of message ids, which name no machine


@dataclass(frozen=True)
class Email:
    """``password`` is given where ``username`` is."""

    server: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    recipients: Sequence[str]
    username: str | None = None
    password: str = field(default="", repr=False)
    subject_prefix: str = ""

    def send(self, notice: Notice) -> None:
        message = self._message(notice)
        try:
            with self._connected() as server:
                if self.username is not None:
                    server.login(self.username, self.password)
                refused = server.send_message(message, self.sender, list(self.recipients))
        except smtplib.SMTPRecipientsRefused as error:
            raise NotDelivered(f"{self._where} refused every recipient: {_answers(error.recipients)}") from None
        except smtplib.SMTPAuthenticationError as error:
            raise NotDelivered(f"{self._where} did not let user {self.username} in ({error.smtp_code})") from None
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"{self._where} answered {error.smtp_code} {_text(error.smtp_error)}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotDelivered(f"{self._where} did not take the mail: {error or type(error).__name__}") from None
        if refused:  # the others have it: sending it again would tell them twice
            raise NotDeliveredToAll(f"{self._where} refused some: {_answers(refused)}")

    @property
    def _where(self) -> str:
        return f"the mail server {self.server}:{self.port}"

    def _connected(self) -> smtplib.SMTP:
        """Its certificate is checked."""
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.server, self.port, timeout=SECONDS_MAX, context=ssl.create_default_context())
        server = smtplib.SMTP(self.server, self.port, timeout=SECONDS_MAX)
        if self.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server

    def _message(self, notice: Notice) -> EmailMessage:
        """The same id whenever the same is sent again, so that a mailbox can tell; one thread for an alert."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = f"{self.subject_prefix} {notice.title}" if self.subject_prefix else notice.title
        message["Date"] = format_datetime(notice.alert.timestamp)
        message["Message-ID"] = f"<{notice.key}@{DOMAIN}>"
        message["References"] = f"<{notice.alert.alert_id}@{DOMAIN}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(notice.text)
        return message


def _answers(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{address}: {code} {_text(text)}" for address, (code, text) in refused.items())


def _text(answer: bytes | str) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
