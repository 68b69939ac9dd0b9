"""What the client can raise, drawn as a tree.

CostreamError
├── InvalidSettings (ValueError)    a producer was given settings it cannot work with; every fault is named at once
└── NotAUsageEvent (TypeError)      ``record()`` was given something other than a ``UsageEvent``

Both are mistakes in the calling code, met when it is written. Nothing else is raised: what goes wrong with Kafka, the
network or the disk is counted in ``ProducerStats`` and logged. An event built from bad values raises pydantic's own
``ValidationError``, which names the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CostreamError(Exception):
    """Every error of this package."""


class InvalidSettings(CostreamError, ValueError):
    """Settings given in code that break a rule; no producer was made."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("no producer was made: " + "; ".join(self.faults))


class NotAUsageEvent(CostreamError, TypeError):
    """Something else was handed to ``record()``; nothing was recorded."""

    def __init__(self, value: Any) -> None:
        super().__init__(
            f"record() takes a costream.UsageEvent, not {type(value).__name__}; nothing was recorded: "
            "build one with UsageEvent.create(...)"
        )
