"""What time it is, by a clock that the host has given: one that fails must hurt nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime


def time_by(clock: Callable[[], datetime], complain: Callable[[str], None]) -> datetime:
    """By the clock; by the system's where that one raises or tells no time with a zone, which ``complain`` hears."""
    try:
        moment = clock()
        if moment.utcoffset() is not None:
            return moment
        trouble = f"{moment!r} has no zone"
    except Exception as error:  # noqa: BLE001 - the clock is the host's
        trouble = f"{type(error).__name__}: {error}"
    complain(f"cannot be used ({trouble}); the system's is")
    return datetime.now(UTC)
