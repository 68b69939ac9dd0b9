"""A rule that finds one trouble at a time, and the life of its alert. Pure.

Such a rule has at most one alert that stands. It opens once, is updated when it has grown (twice the figure last said,
or something new is named), and is cleared when it is over. What cannot be known now changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Final, Generic

from costream.alerts import Alert, Level, Status, episode_id
from stream.watch.rules.rule import Past, ReadingT

SCOPE: Final = "pipeline"
GROWN: Final = 2  # times the figure last said: an alert that grows slowly is not said every minute


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a rule has found: since when, how much, and what it names."""

    since: datetime
    value: Decimal
    threshold: Decimal
    names: tuple[str, ...]
    command: str  # the next step


class Fine:
    """Looked at, and nothing is wrong."""


class Unknown:
    """It cannot be told now: what stands stays, and nothing is opened."""


Verdict = Trouble | Fine | Unknown


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    message: str


class TroubleRule(ABC, Generic[ReadingT]):
    """One kind of trouble in the pipeline itself; ``look`` is what it reads, None where that cannot be told now."""

    name: ClassVar[str]
    metric_name: ClassVar[str]
    unit: ClassVar[str]
    level: ClassVar[Level]
    every: ClassVar[timedelta]  # between two looks

    def __init__(self, look: Callable[[datetime], ReadingT | None]) -> None:
        self._look = look

    # --- the four verbs ---

    def is_due(self, now: datetime, past: Past) -> bool:
        return past.looked_at is None or now - past.looked_at >= self.every

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> ReadingT | None:
        return self._look(now)

    def judge(self, reading: ReadingT, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        revision = revised(self, self.find(reading, now), known, now)
        return [] if revision is None else [revision]

    def word(self, alert: Alert, reading: ReadingT) -> Alert:
        words = self.told(alert, reading) if alert.standing else self.over(alert)
        return alert.model_copy(update={"title": words.title, "message": words.message})

    # --- what is each rule's own ---

    @abstractmethod
    def find(self, reading: ReadingT, now: datetime) -> Verdict: ...

    @abstractmethod
    def told(self, alert: Alert, reading: ReadingT) -> Words:
        """Of trouble that was found in this reading."""

    @abstractmethod
    def over(self, alert: Alert) -> Words:
        """Of an alert that was just cleared."""


# --- the life of an alert --------------------------------------------------------------------------------------------


def revised(rule: TroubleRule[ReadingT], verdict: Verdict, known: Mapping[str, Alert], now: datetime) -> Alert | None:
    """The next revision of this rule's alert, without words, if there is news; ``known`` are all its alerts, each in
    its latest revision."""
    standing = next((alert for alert in known.values() if alert.standing), None)
    match verdict, standing:
        case Trouble(), None:
            first = verdict.since
            alert_id = episode_id(rule=rule.name, scope=SCOPE, first_window=first)
            number = known[alert_id].revision + 1 if alert_id in known else 1
            return _revision(rule, verdict, "open", alert_id=alert_id, number=number, first=first, now=now)
        case Trouble(), Alert() if _has_grown(verdict, standing):
            first = datetime.fromisoformat(str(standing.metadata["first_window"]))
            alert_id, number = standing.alert_id, standing.revision + 1
            return _revision(rule, verdict, "updated", alert_id=alert_id, number=number, first=first, now=now)
        case Fine(), Alert():
            update = {"title": "", "message": "", "window_end": now, "current_value": Decimal(0)}
            changed = {"revision": standing.revision + 1, "status": "cleared", "timestamp": now}
            return standing.model_copy(update=update | changed)
        case _:
            return None


def _has_grown(trouble: Trouble, standing: Alert) -> bool:
    said = standing.metadata.get("names")
    named = set(said) if isinstance(said, list) else set()
    return trouble.value >= standing.current_value * GROWN or not set(trouble.names) <= named


def _revision(
    rule: TroubleRule[ReadingT],
    trouble: Trouble,
    status: Status,
    *,
    alert_id: str,
    number: int,
    first: datetime,
    now: datetime,
) -> Alert:
    return Alert(
        alert_id=alert_id,
        revision=number,
        status=status,
        level=rule.level,
        rule=rule.name,
        title="",
        message="",
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


# --- words that several rules use ------------------------------------------------------------------------------------


def minute(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC on {moment:%Y-%m-%d}"
