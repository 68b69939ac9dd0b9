"""What the client can raise, drawn as a tree.

CostreamError
└── InvalidSettings (ValueError)    a producer was given settings it cannot work with; every fault is named at once

A mistake in the calling code, met when it is written. Nothing else is raised, by ``record()`` nothing at all: what is
no event, and what goes wrong with Kafka, the network or the disk, is counted in ``ProducerStats`` and logged. An event
built from bad values by hand, with ``UsageEvent(...)`` or ``UsageEvent.create(...)``, raises pydantic's own
``ValidationError``, which names the field.
"""

from __future__ import annotations

from collections.abc import Sequence


class CostreamError(Exception):
    """Every error of this package."""


class InvalidSettings(CostreamError, ValueError):
    """Settings given in code that break a rule; no producer was made."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("no producer was made: " + "; ".join(self.faults))
