"""What the client can raise, drawn as a tree.

CostreamError
├── InvalidSettings (ValueError)    a producer or a guard was given settings it cannot work with; it names every fault
└── BudgetLimited                   a budget is used up: raised by ``BudgetGuard.require()`` alone, which asks for it

The first is a mistake in the calling code, met when it is written. Nothing else is raised, by ``record()`` and
``BudgetGuard.check()`` nothing at all: what is no event, and what goes wrong with Kafka, the network or the disk, is
counted in ``ProducerStats`` and logged. An event built from bad values by hand, with ``UsageEvent(...)`` or
``UsageEvent.create(...)``, raises pydantic's own ``ValidationError``, which names the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costream.guarding.limited import Limited


class CostreamError(Exception):
    """Every error of this package."""


class InvalidSettings(CostreamError, ValueError):
    """Settings given in code that break a rule; nothing was made."""

    def __init__(self, faults: Sequence[str], *, what: str = "producer") -> None:
        self.faults = tuple(faults)
        super().__init__(f"no {what} was made: " + "; ".join(self.faults))


class BudgetLimited(CostreamError):
    """A call that was to be made is refused: ``limited`` says by which budget, and until when."""

    def __init__(self, limited: Limited) -> None:
        self.limited = limited
        super().__init__(limited)
