"""The rules that a worker counts and judges by: those of the newest revision, and under them what this build ships.

Whoever counts or judges takes a new revision over at its next look. What has been told stays told: an alert that
another threshold would not have raised is followed by the new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import structlog

from costream.pricing.money import DayRates
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revision
from sinks.clickhouse.rule_revisions import RULES
from sinks.errors import WarehouseUnavailable
from stream.budgets.counted import Counted
from stream.rulebook.entries import RulesRefused
from stream.rulebook.rulebook import Rulebook, load

LOOK: Final = timedelta(seconds=5)  # how long it may be judged by a revision that is not the newest any more

NEXT: Final = "judged by those before: run the build that published them or a later one, or publish others"

T = TypeVar("T")

log = structlog.get_logger(__name__)


def counted_by(rulebook: Rulebook) -> Counted:
    """What workers add up by these rules."""
    return Counted.by(rulebook.budgets)


class RuleRevisions:
    """One for a worker: whoever asks, the warehouse is asked once in ``LOOK``. Safe to use from many threads."""

    def __init__(
        self,
        reader: Reader,
        *,
        zone: str,
        rates: Callable[[], DayRates],
        clock: Callable[[], datetime],
    ) -> None:
        """``rates`` say which rules are on: one in a currency without any rate is not."""
        self._reader, self._zone, self._clock, self._rates = reader, zone, clock, rates
        self._number = 0
        self._files: Mapping[str, str] = {}
        self._currencies = frozenset(rates().currencies)
        self._rulebook = self._loaded({}, 0)
        self._look_at = datetime.min.replace(tzinfo=UTC)
        self._looking = threading.Lock()
        self.are_known = False  # whether the warehouse has ever answered; until then it is what this build ships

    def in_force(self) -> Rulebook:
        """The same object until another revision is taken over, or a currency gets its first rate. Without the
        warehouse nobody judges anyhow, and nothing is stored."""
        # Before the first answer everybody waits for it; later whoever comes meanwhile goes by what is known.
        is_due = not self.are_known or self._clock() >= self._look_at
        if is_due and self._looking.acquire(blocking=not self.are_known):
            try:
                self._look_if_due(self._clock())
            finally:
                self._looking.release()
        return self._rulebook

    def made(self, make: Callable[[Rulebook], T]) -> Callable[[], T]:
        """What ``make`` gives of the rulebook in force: the same object for as long as that is the same. One thread
        calls it."""
        return Made(self, make).in_force

    def made_once_known(self, make: Callable[[Rulebook], T]) -> Callable[[], T | None]:
        """The same; None until the warehouse has answered, for whom what is shipped would be wrong."""
        in_force = self.made(make)

        def once_known() -> T | None:
            found = in_force()
            return found if self.are_known else None

        return once_known

    def _look_if_due(self, now: datetime) -> None:
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        with suppress(WarehouseUnavailable):
            self._look()
            self.are_known = True
        currencies = frozenset(self._rates().currencies)
        if currencies != self._currencies:
            self._currencies, self._rulebook = currencies, self._loaded(self._files, self._rulebook.revision)

    def _look(self) -> None:
        """Take over the newest revision that this build can read. Of one that it cannot it is said once."""
        for found in self._newer():
            self._number = max(self._number, found.number)
            told = {"revision": found.number, "files": list(found.files), "digest": found.digest}
            try:
                rulebook = self._loaded(found.files, found.number)
            except RulesRefused as error:
                log.error("rules not understood", **told, faults=list(error.faults), next=NEXT)
            else:
                self._files, self._rulebook = found.files, rulebook
                self._currencies = frozenset(self._rates().currencies)
                log.info(
                    "rules taken over", **told, off={rule.budget.name: rule.off for rule in rulebook.rules if rule.off}
                )
                return

    def _newer(self) -> Iterator[Revision]:
        """Those above the one that was looked at last, the newest first; the others are asked for where that is not
        enough."""
        known, newest = self._number, RULES.newest(self._reader, above=self._number)
        if newest is not None:
            yield newest
            yield from (one for one in RULES.all(self._reader) if known < one.number < newest.number)

    def _loaded(self, files: Mapping[str, str], revision: int) -> Rulebook:
        return load(files, zone=self._zone, rates=self._rates(), revision=revision)


class Made(Generic[T]):
    """What somebody needs of the rulebook in force, made once for each."""

    def __init__(self, revisions: RuleRevisions, make: Callable[[Rulebook], T]) -> None:
        self._revisions, self._make = revisions, make
        self._of: Rulebook | None = None
        self._made: T | None = None

    def in_force(self) -> T:
        rulebook = self._revisions.in_force()
        if self._made is None or rulebook is not self._of:
            self._made, self._of = self._make(rulebook), rulebook
        return self._made
