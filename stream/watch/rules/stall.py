"""Nothing gets stored. It is told while the warehouse is away; a stall of Kafka itself cannot be told on its topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from costream.alerts import Alert, Level
from stream.runtime.stalls import Stall
from stream.watch.rules.trouble import Fine, Trouble, TroubleRule, Unknown, Verdict, Words, minute


@dataclass(frozen=True, slots=True)
class Storing:
    """What fails now, if anything, and whether anything ever got through."""

    stall: Stall | None
    got_through: bool


class StallRule(TroubleRule[Storing]):
    """Nothing gets stored for longer than ``stall_max``."""

    name: ClassVar = "stall"
    metric_name: ClassVar = "stalled_seconds"
    unit: ClassVar = "seconds"
    level: ClassVar = Level.CRITICAL
    every: ClassVar = timedelta(seconds=1)

    def __init__(self, look: Callable[[datetime], Storing | None], *, stall_max: timedelta) -> None:
        super().__init__(look)
        self._stall_max = stall_max

    def find(self, storing: Storing, now: datetime) -> Verdict:
        stall = storing.stall
        if stall is None:
            return Fine() if storing.got_through else Unknown()
        waited = now - stall.since
        if waited <= self._stall_max:
            return Unknown()
        return Trouble(
            since=stall.since,
            value=_seconds(waited),
            threshold=_seconds(self._stall_max),
            names=(),
            command="costream migrate status",
        )

    def told(self, alert: Alert, storing: Storing) -> Words:
        stall = storing.stall
        assert stall is not None, "it was found"
        return Words(
            title=f"Nothing is stored since {minute(stall.since)}",
            message=(
                f"A worker is stalled since {minute(stall.since)}: {stall.doing} fails and is tried again. Nothing is"
                " lost: what is not stored stays in Kafka, for as long as the topic keeps it. Figures in the warehouse"
                " stand still. What to do: see the worker's log for the reason and mend the warehouse; the worker goes"
                " on by itself. `costream migrate status` shows whether the warehouse answers."
            ),
        )

    def over(self, alert: Alert) -> Words:
        waited = f"What had waited since {minute(alert.window_start)} is being stored; no data is lost."
        return Words("Storing goes on", waited)


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1))
