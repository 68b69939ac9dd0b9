"""Many records are refused: more than a number in the window, or more than a share of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Final

from costream.alerts import Alert, Level
from stream.watch.queries import Reader
from stream.watch.rules.trouble import Fine, Trouble, TroubleRule, Unknown, Verdict, Words, minute

TALLY_SLACK: Final = timedelta(minutes=2)  # how far before the window the last look may lie
SHARE_RECORDS_MIN: Final = 50  # dead letters below which a share says nothing: one of ten is no flood


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger counted in all, at one moment."""

    at: datetime
    received: int
    dead_lettered: int


class FloodRule(TroubleRule[Sequence[Tally]]):
    """More records were refused in the window than ``records_max``, or more than ``share_max`` of all. It reads the
    tallies of the window and the last one before it, oldest first."""

    name: ClassVar = "dead_letter_flood"
    metric_name: ClassVar = "dead_letter_records"
    unit: ClassVar = "records"
    level: ClassVar = Level.WARNING
    every: ClassVar = timedelta(seconds=15)

    def __init__(
        self,
        look: Callable[[datetime], Sequence[Tally] | None],
        *,
        records_max: int,
        share_max: Decimal,
        window: timedelta,
    ) -> None:
        super().__init__(look)
        self._records_max, self._share_max, self._window = records_max, share_max, window

    def find(self, tallies: Sequence[Tally], now: datetime) -> Verdict:
        if len(tallies) < 2:
            return Unknown()
        first, last = tallies[0], tallies[-1]
        refused, received = _counted(tallies)
        if not self._above(refused, received, part=1):
            # Below half of both it is over; a window that is not full yet may only look so.
            whole = last.at - first.at >= self._window
            return Fine() if whole and not self._above(refused, received, part=2) else Unknown()
        return Trouble(
            since=first.at,
            value=Decimal(refused),
            threshold=Decimal(min(self._records_max, max(SHARE_RECORDS_MIN, int(self._share_max * received)))),
            names=(),
            command="costream deadletter list",
        )

    def _above(self, refused: int, received: int, *, part: int) -> bool:
        many = refused * part > self._records_max
        return many or (refused * part > SHARE_RECORDS_MIN and refused * part > self._share_max * received)

    def told(self, alert: Alert, tallies: Sequence[Tally]) -> Words:
        first, last = tallies[0], tallies[-1]
        refused, received = _counted(tallies)
        percent = Decimal(100 * refused) / received
        return Words(
            title=f"{refused:,} records were refused in {_span(last.at - first.at)}",
            message=(
                f"Since {minute(first.at)} {refused:,} of {received:,} records ({percent:.1f} %) did not pass the"
                " contract. They are kept as dead letters with their reasons and are in no total; good records are"
                " counted as usual. What to do: `costream deadletter list` tells the reasons; mend the sender, then"
                " correct and send them again with `costream deadletter replay`."
            ),
        )

    def over(self, alert: Alert) -> Words:
        since = minute(alert.window_start)
        message = f"Fewer records are refused again. Those since {since} stay as dead letters until they expire."
        return Words("The flood of dead letters is over", f"{message} `costream deadletter list` has them.")


def _counted(tallies: Sequence[Tally]) -> tuple[int, int]:
    """How many records were refused from the first tally to the last, and of how many."""
    first, last = tallies[0], tallies[-1]
    return last.dead_lettered - first.dead_lettered, last.received - first.received


def within(tallies: Iterable[Tally], now: datetime, window: timedelta) -> list[Tally]:
    """The tallies of the window and the last one before it; after a step back (rows were deleted) only what follows."""
    kept: list[Tally] = []
    for tally in tallies:
        if kept and (tally.received < kept[-1].received or tally.dead_lettered < kept[-1].dead_lettered):
            kept = []
        kept.append(tally)
    while len(kept) > 2 and kept[1].at <= now - window:
        kept.pop(0)
    if len(kept) > 1 and kept[0].at < now - window - TALLY_SLACK:
        kept.pop(0)  # nobody looked for a while, and what came then is not of this window
    return kept


class Tallies:
    """What the ledger has counted, looked at again and again: exact, whatever becomes of the letters themselves."""

    def __init__(self, reader: Reader, window: timedelta) -> None:
        self._reader, self._window = reader, window
        self._kept: list[Tally] = []

    def __call__(self, now: datetime) -> Sequence[Tally]:
        received, dead_lettered = self._reader.frame(TALLY).row(0)
        self._kept = within([*self._kept, Tally(now, received, dead_lettered)], now, self._window)
        return self._kept


TALLY: Final = """
SELECT toInt64(sum(l.received)) AS received, toInt64(sum(l.dead_lettered)) AS dead_lettered
FROM ingest_ledger_rows AS l FINAL"""


def _span(span: timedelta) -> str:
    minutes = max(1, round(span / timedelta(minutes=1)))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
