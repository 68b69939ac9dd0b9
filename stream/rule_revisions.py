"""The rules that a worker judges by: those of the newest revision, and under them what this build ships.

Whoever judges takes a new revision over at its next look. What has been told stays told: an alert that another
threshold would not have raised is followed by the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from costream.pricing.money import DayRates
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revision
from sinks.clickhouse.rule_revisions import RULES
from sinks.errors import WarehouseUnavailable
from stream.rulebook.entries import RulesRefused
from stream.rulebook.rulebook import Rulebook, load
from stream.watch.rules.rule import Rule

LOOK: Final = timedelta(seconds=5)  # how long it may be judged by a revision that is not the newest any more

NEXT: Final = "judged by those before: run the build that published them or a later one, or publish others"

Rules = Sequence[Rule[Any]]

log = structlog.get_logger(__name__)


class RuleRevisions:
    """One thread asks."""

    def __init__(
        self, reader: Reader, make: Callable[[Rulebook], Rules], *, zone: str, clock: Callable[[], datetime]
    ) -> None:
        """``make`` gives the rules of a rulebook."""
        self._reader, self._make, self._zone, self._clock = reader, make, zone, clock
        self._number = 0
        self._rules = make(self._loaded({}))
        self._look_at = datetime.min.replace(tzinfo=UTC)

    def rules(self) -> Rules:
        """The same list until another revision is taken over. Without the warehouse nobody judges anyhow."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK
            with suppress(WarehouseUnavailable):
                self._look()
        return self._rules

    def _look(self) -> None:
        """Take over the newest revision that this build can read. Of one that it cannot it is said once."""
        for found in self._newer():
            self._number = max(self._number, found.number)
            told = {"revision": found.number, "files": list(found.files), "digest": found.digest}
            try:
                rulebook = self._loaded(found.files)
            except RulesRefused as error:
                log.error("rules not understood", **told, faults=list(error.faults), next=NEXT)
            else:
                self._rules = self._make(rulebook)
                log.info("rules taken over", **told)
                return

    def _newer(self) -> Iterator[Revision]:
        """Those above the one that was looked at last, the newest first; the others are asked for where that is not
        enough."""
        known, newest = self._number, RULES.newest(self._reader, above=self._number)
        if newest is not None:
            yield newest
            yield from (one for one in RULES.all(self._reader) if known < one.number < newest.number)

    def _loaded(self, files: Mapping[str, str]) -> Rulebook:
        return load(files, zone=self._zone, rates=DayRates(()))
