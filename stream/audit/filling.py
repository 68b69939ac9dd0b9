"""Sums of budgets that are new are filled in from calls, and those that lack some are set right. In the judge's turn.

Workers take rules over within seconds, each by itself, and count by them from then on. What was stored before they did
is added by a correction, which is the whole difference between calls and rows (corrections.py). Whether all of it is
there is told by the control total (stream/budgets/counted.py): as long as it is not, nobody judges by these sums.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final
from uuid import uuid4

import structlog

from sinks.clickhouse.claims import Claim, claimed
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import CorrectionsClaimed, CorrectionsLost, WarehouseError
from stream.audit import budget_sums, queries
from stream.audit.budget_sums import Place, WholeSum
from stream.audit.checks import SPAN_ROWS_MAX, ledger_checks, rest
from stream.audit.corrections import Corrector
from stream.audit.ground import Ground, ground
from stream.budgets.budget import Budget
from stream.budgets.counted import Counted

TAKEN_OVER_AFTER: Final = timedelta(seconds=10)  # workers look for new rules every five, and store what they hold
LOOK: Final = timedelta(seconds=10)
LOOK_ANEW: Final = timedelta(seconds=1)  # while it is not known whether all is there
LOOKS: Final = 3  # a flush is on its way for a moment; what is missing at so many looks will not come
AGAIN: Final = 3  # so often in a turn is no accident: somebody goes on counting otherwise
DOING: Final = "filling in the sums of budgets"

log = structlog.get_logger(__name__)

Right = Callable[[], AbstractContextManager[Claim]]


def right_of_this_process(reader: Reader, writer: Writer) -> AbstractContextManager[Claim]:
    """To write corrections, for this process."""
    return claimed(
        reader,
        writer,
        holder=f"the worker on {socket.gethostname()}, process {os.getpid()}",
        doing=DOING,
        new_id=lambda: str(uuid4()),
        pause=time.sleep,
        monotonic=time.monotonic,
        waiting=lambda _: None,
    )


@dataclass
class _Sums:
    """The sums of one rulebook, how far they are, and what is known to be missing in them for good."""

    counted: Counted
    since: datetime  # when they were first asked for
    stated: Sequence[Budget] | None = None  # the budgets that the warehouse says they are of; None: not said yet
    control: WholeSum | None = None  # None: not stated yet, or nothing is counted
    are_whole: bool = False
    accepted: Mapping[Place, int] = field(default_factory=dict)
    looks: int = 0  # in a row at which the same place differed
    differing: frozenset[Place] = frozenset()
    looked_at: datetime | None = None
    fills: int = 0


class Filler:
    """``tick`` blocks, and one thread calls it; ``are_whole`` may be asked by another."""

    def __init__(
        self,
        *,
        reader: Reader,
        writer: Writer,
        budgets: Callable[[], Sequence[Budget]],
        retention: timedelta | None,
        clock: Callable[[], datetime],
        right: Right | None = None,
        pause: Callable[[], None] = rest,
    ) -> None:
        """``budgets`` are those in force, asked for at each tick: others come as a new list."""
        self._reader, self._writer, self._budgets = reader, writer, budgets
        self._retention, self._clock, self._pause = retention, clock, pause
        self._right = right or partial(right_of_this_process, reader, writer)
        self._turn: int | None = None
        self._sums: _Sums | None = None

    def follow(self, turn: int | None) -> None:
        """Whose turn it is now, by its number; None while it is another worker's."""
        if turn != self._turn:
            self._turn, self._sums = turn, None

    def are_whole(self, control: str, days: Iterable[date] | None = None) -> bool:
        """Whether the sums with this control total have every call that is stored, of these days if they are given, but
        for those that are just being stored; and none twice."""
        sums = self._sums
        if sums is None or sums.control is None or not sums.are_whole or sums.counted.control != control:
            return False
        found = self._missing(sums, self._clock(), days)
        return all(number >= min(0, sums.accepted.get(place, 0)) for place, number in found.items())

    def tick(self) -> None:
        """Look whether anything is missing, if it is time, and fill it in. A failure is logged and tried again."""
        now = self._clock()
        if self._turn is None:
            return
        try:
            self._tick(now)
        except (CorrectionsClaimed, CorrectionsLost) as error:
            log.info("sums of budgets not filled in yet", reason=str(error), next=f"tried again in {LOOK.seconds} s")
        except Exception as error:
            log.error(
                "sums of budgets not filled in",
                reason=str(error),
                next=f"tried again in {LOOK.seconds} s; until then nobody judges by those that are new",
                exc_info=not isinstance(error, WarehouseError),
            )

    def _tick(self, now: datetime) -> None:
        budgets = self._budgets()
        counted = Counted.by(budgets)
        if self._sums is None or self._sums.counted.control != counted.control:
            self._sums = _Sums(counted, since=now)
        sums = self._sums
        every = LOOK if sums.are_whole else LOOK_ANEW
        if sums.looked_at is not None and now - sums.looked_at < every:
            return
        sums.looked_at = now
        if sums.stated is not budgets and not self._state(sums, budgets, now):
            return
        if sums.counted:
            self._look(sums, now)

    def _state(self, sums: _Sums, budgets: Sequence[Budget], now: datetime) -> bool:
        """Say what is summed up, once all workers do. What was stated before is counted by all of them already."""
        stated = {one.sum.spending for one in budget_sums.in_force(self._reader)}
        wanted = {one.spending for one in sums.counted.with_control}
        if stated != wanted and now - sums.since < TAKEN_OVER_AFTER:
            return False
        kept = ground(self._reader, now=now, retention=self._retention).start
        made = budget_sums.state(self._reader, self._writer, budgets, sums.counted, now=now, kept=kept)
        sums.control = next((one for one in made if one.is_control), None)
        sums.stated, sums.are_whole = budgets, sums.are_whole or not made
        return True

    def _look(self, sums: _Sums, now: datetime) -> None:
        found = self._missing(sums, now)
        differing = frozenset(place for place, number in found.items() if number != sums.accepted.get(place, 0))
        again = differing & sums.differing if sums.looks else differing
        sums.looks, sums.differing = (sums.looks + 1, again) if again else (0, differing)
        sums.are_whole = sums.are_whole or not differing
        if sums.looks >= LOOKS:
            self._fill(sums, now)

    def _missing(self, sums: _Sums, now: datetime, days: Iterable[date] | None = None) -> dict[Place, int]:
        """Of the periods that are judged. Those before them were whole when they ended."""
        assert sums.control
        first = min(budget_sums.opened(one.period, one.zone, now) for one in sums.counted.sums)
        return budget_sums.missing(
            self._reader, sums.control.sum.spending, since=max(first, sums.control.whole_from), days=days
        )

    def _fill(self, sums: _Sums, now: datetime) -> None:
        started = self._clock()
        with self._right() as claim:
            on = ground(self._reader, now=now, retention=self._retention)
            short = ledger_checks(self._reader, on, now=now).short
            rows = self._correct(on, short, claim, now)
        found = self._missing(sums, now)
        sums.accepted = {place: number for place, number in found.items() if place[1:] in short}
        sums.looks, sums.differing, sums.are_whole = 0, frozenset(), True
        sums.fills += 1
        seconds = round((self._clock() - started).total_seconds(), 1)
        log.info("sums of budgets filled in", rows=rows, seconds=seconds)
        if sums.fills >= AGAIN:
            log.warning(
                "sums of budgets lack calls again and again",
                times=sums.fills,
                next="a worker counts by other rules: all need the same build and COSTREAM_ZONE; until then alerts of "
                "budgets come half a minute late",
            )
        if sums.accepted:
            log.warning(
                "sums of budgets lack calls",
                partitions=sorted({place[1:] for place in sums.accepted}),
                next="their single calls are missing: `costream audit` says how to bring them back",
            )

    def _correct(self, on: Ground, short: frozenset[tuple[str, int]], claim: Claim, now: datetime) -> int:
        """The control total comes last: where it is whole, the others are."""
        corrector = Corrector(self._reader, self._writer, on, self._clock, self._pause, claim.require)
        made = budget_sums.in_force(self._reader)
        first = max(on.start, min(one.whole_from for one in made))
        runs = queries.spans(self._reader, start=first, rows_max=SPAN_ROWS_MAX)
        parts = ([one for one in made if not one.is_control], [one for one in made if one.is_control])
        specs = [spec for some in parts for spec in budget_sums.tables_of(some, now=now)]
        return sum(corrector.correct(spec, days, short=short).corrected for spec in specs for days in runs)
