"""Text messages and whatever else Apprise can send by."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any, Final

from costream.alerts import Level
from sinks.channels.notice import NotDelivered, Notice

SECONDS_MAX: Final = 20.0
TYPES: Final = {Level.INFO: "info", Level.WARNING: "warning", Level.CRITICAL: "failure", Level.EMERGENCY: "failure"}
SECRET_CHARS_MIN: Final = 5  # of a part of an address: what is shorter may stand in any sentence
HIDDEN: Final = "…"


@dataclass(frozen=True)
class Service:
    """An Apprise URL, which is a secret."""

    url: str = field(repr=False)

    def send(self, notice: Notice) -> None:
        _notify(self.url, notice, title=notice.title)


@dataclass(frozen=True)
class Sms:
    """A gateway's Apprise URL without a number to send to, and the number."""

    gateway: str = field(repr=False)
    phone_number: str

    def send(self, notice: Notice) -> None:
        address, mark, options = self.gateway.partition("?")
        _notify(f"{address.rstrip('/')}/{self.phone_number}{mark}{options}", notice, title="")


def _notify(url: str, notice: Notice, *, title: str) -> None:
    from apprise import Apprise

    apprise, reasons = Apprise(), list[str]()

    def note(entry: Any, _service: Any) -> None:
        reasons.append(str(entry.message))

    if not apprise.add(url):
        raise NotDelivered("the secret is no Apprise URL")
    delivered = apprise.notify(
        title=title,
        body=notice.text,
        notify_type=TYPES[notice.alert.level],
        body_format="text",
        timeout=SECONDS_MAX,
        log_callback=note,
        log_level=logging.WARNING,
    )
    if not delivered:
        raise NotDelivered(without_secrets("; ".join(reasons) or "the service did not take it", url))


def without_secrets(text: str, url: str) -> str:
    """What a service has answered, which nobody knows beforehand, without any part of its address."""
    for part in sorted(re.split(r"[/:@?&=]+", url), key=len, reverse=True):
        if len(part) >= SECRET_CHARS_MIN:
            text = text.replace(part, HIDDEN)
    return text
