"""What is secret: from the environment, or from a file that an orchestrator puts there. Nothing here prints one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sinks.channels.notice import NotDelivered

VARIABLE: Final = "COSTREAM_SECRET_"


class Secrets:
    """Asked for at each use: a secret that is replaced is the new one from then on."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder

    def get(self, name: str) -> str:
        """Raises ``NotDelivered``, naming where it was looked for."""
        if value := self._environment.get(self.variable(name)):
            return value
        try:
            value = (self._folder / name).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            value = ""
        if not value:
            raise NotDelivered(
                f"the secret '{name}' is not set: give it as {self.variable(name)} or in the file {self._folder / name}"
            )
        return value

    def has(self, name: str) -> bool:
        try:
            return bool(self.get(name))
        except NotDelivered:
            return False

    @staticmethod
    def variable(name: str) -> str:
        return f"{VARIABLE}{name.upper()}"
