"""The rules about the pipeline itself: the audit, a stall, records that vanished, a flood of dead letters. Pure.

Each rule says how often it looks (``every``), judges what it was given (``judge``) and words it (``word``); what it
reads is in ``keeper.py``. A rule has at most one alert that stands. It opens once, is updated when it has grown
(twice the figure last said, or something new is named), and is cleared when it is over. What cannot be known now
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Final, Protocol, TypeVar

from costream.alerts import Alert, Level, Status, episode_id
from stream.audit import AuditReport
from stream.runtime.stalls import Stall

SCOPE: Final = "pipeline"
GROWN: Final = 2  # times the figure last said: an alert that grows slowly is not said every minute
TALLY_SLACK: Final = timedelta(minutes=2)  # how far before the window the last look may lie
SHARE_RECORDS_MIN: Final = 50  # dead letters below which a share says nothing: one of ten is no flood

R_contra = TypeVar("R_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a rule has found: since when, how much, what it names, and the words."""

    since: datetime
    value: Decimal
    threshold: Decimal
    names: tuple[str, ...]
    title: str
    message: str
    command: str  # the next step


class Fine:
    """Looked at, and nothing is wrong."""


class Unknown:
    """It cannot be told now: what stands stays, and nothing is opened."""


Verdict = Trouble | Fine | Unknown


class Kind(Protocol):
    """What an alert of a rule is called, and how its end is worded."""

    name: ClassVar[str]
    metric_name: ClassVar[str]
    unit: ClassVar[str]
    level: ClassVar[Level]

    def over(self, standing: Alert, now: datetime) -> tuple[str, str]:
        """Title and message for when it is over."""


class Rule(Kind, Protocol[R_contra]):
    """One kind of trouble."""

    every: timedelta  # between two looks

    def judge(self, reading: R_contra, now: datetime) -> Verdict: ...


# --- the audit -------------------------------------------------------------------------------------------------------


class AuditRule:
    """The worker's own audit does not hold. What vanished has a rule of its own."""

    name: ClassVar = "audit"
    metric_name: ClassVar = "audit_differences"
    unit: ClassVar = "differences"
    level: ClassVar = Level.CRITICAL
    every = timedelta(seconds=1)  # it only looks whether there is a new report

    def judge(self, report: AuditReport, now: datetime) -> Verdict:
        broken = {check.name: check.differing for check in report.checks if not check.holds}
        broken.pop("vanished", None)
        if not broken:
            return Fine()
        places = ", ".join(f"{name} ({differing:,})" for name, differing in broken.items())
        commands = list(dict.fromkeys(step.command for step in report.next_steps if step.command))
        command = commands[0] if commands else "costream audit"
        return Trouble(
            since=report.at,
            value=Decimal(sum(broken.values())),
            threshold=Decimal(0),
            names=tuple(sorted(broken)),
            title=f"The audit does not hold: {', '.join(broken)}",
            message=(
                f"The audit of {_minute(report.at)} found {sum(broken.values()):,} differences: {places}. Figures read"
                " from there may be wrong until they are mended; nothing was changed, and counting goes on. What to do:"
                f" {', then '.join(f'`{each}`' for each in commands) or 'see the places'}; `costream audit` names every"
                " place and the next step."
            ),
            command=command,
        )

    def over(self, standing: Alert, now: datetime) -> tuple[str, str]:
        return "The audit holds again", f"The audit of {_minute(now)} found no difference."


# --- a stall ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Storing:
    """What fails now, if anything, and whether anything ever got through."""

    stall: Stall | None
    got_through: bool


class StallRule:
    """Nothing gets stored for longer than ``stall_max``. It is told while the warehouse is away; a stall of Kafka
    itself cannot be."""

    name: ClassVar = "stall"
    metric_name: ClassVar = "stalled_seconds"
    unit: ClassVar = "seconds"
    level: ClassVar = Level.CRITICAL
    every = timedelta(seconds=1)

    def __init__(self, stall_max: timedelta) -> None:
        self._stall_max = stall_max

    def judge(self, storing: Storing, now: datetime) -> Verdict:
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
            title=f"Nothing is stored since {_minute(stall.since)}",
            message=(
                f"A worker is stalled since {_minute(stall.since)}: {stall.doing} fails and is tried again. Nothing is"
                " lost: what is not stored stays in Kafka, for as long as the topic keeps it. Figures in the warehouse"
                " stand still. What to do: see the worker's log for the reason and mend the warehouse; the worker goes"
                " on by itself. `costream migrate status` shows whether the warehouse answers."
            ),
            command="costream migrate status",
        )

    def over(self, standing: Alert, now: datetime) -> tuple[str, str]:
        waited = f"What had waited since {_minute(standing.window_start)} is being stored; no data is lost."
        return "Storing goes on", waited


# --- records that vanished -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gone:
    """A stretch of offsets that was gone from Kafka before it was read, and that nobody has accepted yet."""

    partition: int
    offset_first: int
    offset_last: int
    noticed_at: datetime


class VanishedRule:
    """Records were gone from Kafka before they were read, and nobody has said yet that they know."""

    name: ClassVar = "vanished_records"
    metric_name: ClassVar = "vanished_records"
    unit: ClassVar = "records"
    level: ClassVar = Level.CRITICAL
    every = timedelta(seconds=15)

    def judge(self, gone: Sequence[Gone], now: datetime) -> Verdict:
        if not gone:
            return Fine()
        records = sum(each.offset_last - each.offset_first + 1 for each in gone)
        told = [f"partition {each.partition}, offsets {each.offset_first}-{each.offset_last}" for each in gone[:5]]
        places = "; ".join(told) + (" and more" if len(gone) > 5 else "")
        since = min(each.noticed_at for each in gone)
        return Trouble(
            since=since,
            value=Decimal(records),
            threshold=Decimal(0),
            names=tuple(f"{each.partition}/{each.offset_first}" for each in gone[:100]),
            title=f"Up to {records:,} usage records vanished before they were read",
            message=(
                f"Noticed at {_minute(since)}: {places}. Kafka had deleted them"
                " (expired, or by hand), so their usage is in no total and no command brings it back. What to do: keep"
                " usage.events longer than workers may be away, ask the senders for what they still have, then note"
                ' that you know of it: `costream audit --accept-vanished "WHY"`.'
            ),
            command='costream audit --accept-vanished "WHY"',
        )

    def over(self, standing: Alert, now: datetime) -> tuple[str, str]:
        return "Vanished records are accepted", "A person knows of them; `costream audit` names them ever after."


# --- dead letters ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger counted in all, at one moment."""

    at: datetime
    received: int
    dead_lettered: int


class FloodRule:
    """More records were refused in the window than ``records_max``, or more than ``share_max`` of all."""

    name: ClassVar = "dead_letter_flood"
    metric_name: ClassVar = "dead_letter_records"
    unit: ClassVar = "records"
    level: ClassVar = Level.WARNING
    every = timedelta(seconds=15)

    def __init__(self, *, records_max: int, share_max: Decimal, window: timedelta) -> None:
        self._records_max, self._share_max, self.window = records_max, share_max, window

    def judge(self, tallies: Sequence[Tally], now: datetime) -> Verdict:
        """``tallies``: those of the window and the last one before it, oldest first."""
        if len(tallies) < 2:
            return Unknown()
        first, last = tallies[0], tallies[-1]
        refused, received = last.dead_lettered - first.dead_lettered, last.received - first.received
        if not self._above(refused, received, part=1):
            # Below half of both it is over; a window that is not full yet may only look so.
            whole = last.at - first.at >= self.window
            return Fine() if whole and not self._above(refused, received, part=2) else Unknown()
        percent = Decimal(100 * refused) / received
        return Trouble(
            since=first.at,
            value=Decimal(refused),
            threshold=Decimal(min(self._records_max, max(SHARE_RECORDS_MIN, int(self._share_max * received)))),
            names=(),
            title=f"{refused:,} records were refused in {_span(last.at - first.at)}",
            message=(
                f"Since {_minute(first.at)} {refused:,} of {received:,} records ({percent:.1f} %) did not pass the"
                " contract. They are kept as dead letters with their reasons and are in no total; good records are"
                " counted as usual. What to do: `costream deadletter list` tells the reasons; mend the sender, then"
                " correct and send them again with `costream deadletter replay`."
            ),
            command="costream deadletter list",
        )

    def _above(self, refused: int, received: int, *, part: int) -> bool:
        many = refused * part > self._records_max
        return many or (refused * part > SHARE_RECORDS_MIN and refused * part > self._share_max * received)

    def over(self, standing: Alert, now: datetime) -> tuple[str, str]:
        since = _minute(standing.window_start)
        message = f"Fewer records are refused again. Those since {since} stay as dead letters until they expire."
        return "The flood of dead letters is over", f"{message} `costream deadletter list` has them."


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


# --- the life of an alert --------------------------------------------------------------------------------------------


def revised(rule: Kind, verdict: Verdict, known: Mapping[str, Alert], now: datetime) -> Alert | None:
    """The next revision of this rule's alert, if there is news; ``known`` are all its alerts in their last revision."""
    standing = next((alert for alert in known.values() if alert.standing), None)
    match verdict:
        case Trouble() if standing is None:
            first = verdict.since
            alert_id = episode_id(rule=rule.name, scope=SCOPE, first_window=first)
            number = known[alert_id].revision + 1 if alert_id in known else 1
            return _revision(rule, verdict, "open", alert_id=alert_id, number=number, first=first, now=now)
        case Trouble() if standing is not None and _has_grown(verdict, standing):
            first = datetime.fromisoformat(str(standing.metadata["first_window"]))
            alert_id, number = standing.alert_id, standing.revision + 1
            return _revision(rule, verdict, "updated", alert_id=alert_id, number=number, first=first, now=now)
        case Fine() if standing is not None:
            title, message = rule.over(standing, now)
            update = {"title": title, "message": message, "window_end": now, "current_value": Decimal(0)}
            changed = {"revision": standing.revision + 1, "status": "cleared", "timestamp": now}
            return standing.model_copy(update=update | changed)
        case _:
            return None


def _has_grown(trouble: Trouble, standing: Alert) -> bool:
    said = standing.metadata.get("names")
    named = set(said) if isinstance(said, list) else set()
    return trouble.value >= standing.current_value * GROWN or not set(trouble.names) <= named


def _revision(
    rule: Kind, trouble: Trouble, status: Status, *, alert_id: str, number: int, first: datetime, now: datetime
) -> Alert:
    return Alert(
        alert_id=alert_id,
        revision=number,
        status=status,
        level=rule.level,
        rule=rule.name,
        title=trouble.title,
        message=trouble.message,
        metric_name=rule.metric_name,
        scope=SCOPE,
        window_start=first,
        window_end=max(now, first),
        current_value=trouble.value,
        threshold_value=trouble.threshold,
        expected_value=None,
        ratio=None,
        unpriced_calls=0,
        metadata={
            "first_window": first.isoformat(timespec="milliseconds"),
            "unit": rule.unit,
            "names": list(trouble.names),
            "next": trouble.command,
        },
        timestamp=now,
    )


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1))


def _minute(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC on {moment:%Y-%m-%d}"


def _span(span: timedelta) -> str:
    minutes = max(1, round(span / timedelta(minutes=1)))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
