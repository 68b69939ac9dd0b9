"""The worker's own audit: guarantee 4 is proven again and again while the system runs, and the verdict is a metric.

The worker whose turn it is to judge audits too. What ``costream audit`` says of everything, this says of all offsets
and of the last whole days; neither changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from sinks.clickhouse.claims import Claimed
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.sampled_calls import CallKey
from sinks.errors import WarehouseError
from stream.audit import AuditCancelled, AuditReport, audit, costs, kafka_facts, writing_since
from stream.audit.costs import looked_at_again
from stream.runtime.errors import StreamError
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry

log = structlog.get_logger(__name__)

FIRST_AFTER: Final = timedelta(minutes=5)  # of a turn: a start has a backlog to work off
AGAIN_AFTER: Final = timedelta(minutes=30)  # while it does not hold: a repair is to be seen soon
REACH: Final = timedelta(days=2)  # how far back rollups are compared; older ones change only by corrections
OFF: Final = timedelta(0)

# Audits from a day on. Raises AuditCancelled once the turn is over, and where what it found means nothing yet.
Prove = Callable[[datetime], AuditReport]


class CorrectionsUnderWay(AuditCancelled):
    """A re-pricing, a rebuild or a repair was writing meanwhile: rollups follow the calls only at its end."""

    def __init__(self, other: Claimed) -> None:
        StreamError.__init__(
            self,
            f"{other.doing} by {other.holder} was writing corrections meanwhile, and what differs may be its work half "
            "done; it is audited again soon",
        )


def audit_in_turn(
    reader: Reader, *, settings: Settings, clock: Callable[[], datetime], turn: Callable[[], int | None]
) -> Prove:
    """An audit that is broken off once the turn in which it was begun is over.

    Calls whose costs were found to be wrong are looked at again, whatever the next sample is: else they would be
    forgotten before anybody has put them right.
    """
    doubted: tuple[CallKey, ...] = ()

    def prove(since: datetime) -> AuditReport:
        nonlocal doubted
        number, begun = turn(), clock()
        report = audit(
            reader,
            clock=clock,
            kafka=kafka_facts(settings),
            since=since,
            retention=settings.retention,
            salt=f"{begun:%Y-%m-%dT%H}",
            again=doubted,
            cancelled=lambda: number is None or turn() != number,
        )
        if not report.holds and (others := writing_since(reader, begun, now=clock())):
            raise CorrectionsUnderWay(others[0])
        doubted = looked_at_again(report.check(costs.NAME))
        return report

    return prove


class Auditor:
    """Due ``FIRST_AFTER`` a turn began, then every ``interval`` (zero: never). ``tick`` blocks; one thread calls it."""

    def __init__(
        self,
        *,
        prove: Prove,
        telemetry: Telemetry,
        interval: timedelta,
        clock: Callable[[], datetime],
        suspect_since: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """``suspect_since``: from when on something was found that may not be mended yet; older than REACH, it would
        otherwise be forgotten."""
        self._prove, self._telemetry, self._interval, self._clock = prove, telemetry, interval, clock
        self._suspect_since = suspect_since
        self._turn: int | None = None
        self._due: datetime | None = None
        self.report: AuditReport | None = None  # the last one of this turn

    def follow(self, turn: int | None) -> None:
        """The turn that it is now, by its number; None while it is another worker's."""
        if turn == self._turn:
            return
        self._turn = turn
        if turn is None:
            self.end()
        else:
            self.begin()

    def begin(self) -> None:
        """A turn begins."""
        self.end()
        if self._interval != OFF:
            self._due = self._clock() + min(FIRST_AFTER, self._interval)

    def end(self) -> None:
        """A turn is over: another worker audits, and what this one found may not be so any more."""
        self._due = self.report = None
        self._telemetry.no_audit()

    def tick(self) -> AuditReport | None:
        """Audit if it is time. A failure is logged and tried again; it never ends the loop."""
        now = self._clock()
        if self._due is None or now < self._due:
            return None
        self._due = now + self._interval
        try:
            report = self._prove(min(now - REACH, self._suspect_since() or now))
        except CorrectionsUnderWay as error:
            self._due = now + min(FIRST_AFTER, self._interval)
            log.info("audit put off", reason=str(error), next=f"tried again at {self._due}")
        except AuditCancelled as error:
            log.info("audit broken off", reason=str(error))
        except Exception as error:
            self._due = now + min(FIRST_AFTER, self._interval)
            outage = isinstance(error, WarehouseError | StreamError)
            log.error("not audited", reason=str(error), next=f"tried again at {self._due}", exc_info=not outage)
        else:
            self.report = report
            if not report.holds:
                self._due = now + min(AGAIN_AFTER, self._interval)
            self._telemetry.audited({check.name: check.differing for check in report.checks}, at=report.at)
            _tell(report)
            return report
        return None


def _tell(report: AuditReport) -> None:
    differing = {check.name: check.differing for check in report.checks if not check.holds}
    if not differing:
        log.info("the audit holds", since=str(report.since))
        return
    log.error(
        "THE AUDIT DOES NOT HOLD",
        differing=differing,
        since=str(report.since),
        steps=[f"{step.check}: {step.text} {step.command}".rstrip() for step in report.next_steps],
        next="nothing was changed; `costream audit` names the places, and these steps again",
    )
