"""What a channel is given to send, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from costream.alerts import Alert


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert in the words of one channel. ``key`` is the same whenever the same is sent again."""

    key: str
    alert: Alert
    title: str
    text: str
    reminder: int = 0  # 0: it is told for the first time


class NotDelivered(Exception):
    """It did not get through. The text says why, and has no secret in it."""


class NotDeliveredToAll(NotDelivered):
    """Some of its receivers have it: it is not sent again."""


class Channel(Protocol):
    def send(self, notice: Notice) -> None:
        """Returns once the receiver has taken it. Raises ``NotDelivered``. Every wait in it has a bound."""
