"""What workers add up: each sum that a budget asks for once, and a control total beside them.

The control total counts every call, by day, under a digest of all the sums. A call that was counted under it was
counted under each of them; so where it has as many calls as the days themselves, nothing is missing in any of the sums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.budgets.periods import Period
from stream.budgets.spend import Summed


@dataclass(frozen=True, slots=True)
class Spending:
    """One sum: whose calls, and by which periods. ``spending`` is a digest of that."""

    spending: str
    scope: tuple[str, ...]
    only: Mapping[str, tuple[str, ...]] = field(hash=False)
    period: Period
    zone: str

    @classmethod
    def of(cls, one: Summed) -> Spending:
        return cls(one.spending, one.scope, dict(one.only), one.period, one.zone)


@dataclass(frozen=True, slots=True)
class Counted:
    """``sums`` are those of budgets; empty where there is no budget, and then nothing is counted."""

    sums: tuple[Spending, ...]

    @classmethod
    def by(cls, budgets: Iterable[Summed]) -> Counted:
        found = {one.spending: Spending.of(one) for one in budgets}
        return cls(tuple(found[digest] for digest in sorted(found)))

    @property
    def control(self) -> str:
        """The digest of the control total; empty where nothing is counted."""
        return hashlib.sha256("\n".join(one.spending for one in self.sums).encode()).hexdigest()[:16] if self else ""

    def __bool__(self) -> bool:
        return bool(self.sums)

    @property
    def with_control(self) -> tuple[Spending, ...]:
        """All that is added up."""
        return (*self.sums, Spending(self.control, (), {}, "day", "UTC")) if self else ()
