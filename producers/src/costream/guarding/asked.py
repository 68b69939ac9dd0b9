"""The values of a call by which a budget may be limited, as its event would have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict

from costream.delivery.fields import Text
from costream.events import NAME_CHARS_MAX, UsageEvent
from costream.lenient import CHOICES, LABELS, NAMES, as_recorded

# Gives provider and model the names under which calls are stored.
Canonical = Callable[[str, str], tuple[str, str]]

FIELDS: Final = frozenset(UsageEvent.model_fields)
# Those that a budget may go by.
COMPARED: Final = frozenset((*NAMES, *LABELS, *CHOICES))
# What an event has that does not name them.
_UNNAMED: Final[Mapping[str, str]] = {name: UsageEvent.model_fields[name].default for name in CHOICES}


class Call(TypedDict, total=False):
    """The arguments of ``check()``, for the type checker. The other fields of ``record()`` may be given too."""

    provider: Text
    model: Text
    operation: Text
    feature: Text
    task_type: Text
    user_id: Text
    team: Text
    environment: Text
    session_id: Text


class Values(dict[str, str]):
    """By field; each is made when it is first asked for. Empty: the call has none."""

    __slots__ = ("_call", "_canonical")

    def __init__(self, call: Mapping[str, Any], canonical: Canonical | None) -> None:
        super().__init__()
        self._call, self._canonical = call, canonical

    def __missing__(self, field: str) -> str:
        if field in ("provider", "model"):
            self.update(zip(("provider", "model"), self._names(), strict=True))
        else:
            self[field] = self._text(field)
        return self[field]

    def _names(self) -> tuple[str, str]:
        provider, model = self._text("provider"), self._text("model")
        if self._canonical and provider and model:
            return self._canonical(provider, model)
        return provider.strip().lower(), model.strip()

    def _text(self, field: str) -> str:
        value = self._call.get(field)
        if value is None:
            return _UNNAMED.get(field, "")
        if type(value) is str and len(value) <= NAME_CHARS_MAX and value.isascii() and value.isprintable():
            return value.strip().lower() if field in CHOICES else value  # nearly always
        try:
            return as_recorded(field, value)
        except Exception:  # noqa: BLE001 - no text, or the caller's code: an event would not have it either
            return ""
