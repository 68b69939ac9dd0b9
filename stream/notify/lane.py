"""What is due on one channel: the memory of what it has told, and what it has to tell next. Pure.

A channel is told each revision of an alert once, and of a backlog only the newest. It is not told:

- what is older than itself: a channel that is new is not flooded with what was before;
- that something is over of which it was never told;
- while it is silenced, or in its quiet hours, which wait until these are over; of what is over by then nothing;
- within an hour again what it was told of the same subject, unless the level is higher, a higher threshold is crossed,
  or the figure has doubled. What still stands when the hour is over is told then.

What still stands is told again as a reminder, at longer and longer rests, unless somebody sees to it. What does not
get through is tried again for a day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from costream.alerts import Alert, Level
from sinks.clickhouse.deliveries import Attempt
from stream.budgets.judge import RULE as RULE_OF_BUDGETS
from stream.notify.acts import Acts

QUIET: Final = timedelta(hours=1)  # B-21
NEVER: Final = datetime.min.replace(tzinfo=UTC)
DAY: Final = timedelta(hours=24)
GIVE_UP: Final = DAY
WAIT_FIRST: Final = timedelta(seconds=5)
WAIT_MAX: Final = timedelta(minutes=15)
LEVELS: Final = list(Level)
DOUBLINGS_MAX: Final = 20
REMEMBERED: Final = timedelta(days=8)  # as long as the topic is gone through for what has ended

Outcome = Literal["delivered", "failed", "given up"]


class Due(NamedTuple):
    """What to send now. ``reminder`` 0: it is told for the first time."""

    alert: Alert
    reminder: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of a day in which lower levels wait. They may go over midnight."""

    start: time
    end: time
    zone: tzinfo
    below: Level

    def holds_back(self, level: Level, now: datetime) -> bool:
        if level >= self.below:
            return False
        local = now.astimezone(self.zone).time()
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel is told at all."""

    since: datetime  # nothing from before
    remind: timedelta | None = QUIET  # after which rest it is reminded first; None: never
    hourly_max: int = 60
    quiet: Quiet | None = None


class _Subject(NamedTuple):
    rule: str
    metric_name: str
    scope: str
    period_start: datetime | None  # of a budget: each period is a subject of its own


@dataclass(slots=True)
class _Said:
    """What was told last of a subject."""

    at: datetime
    level: Level
    threshold: Decimal
    value: Decimal


@dataclass(slots=True)
class _Episode:
    """One alert on this channel."""

    revisions: dict[int, Alert] = field(default_factory=dict)  # from the last one told on
    reached: int = 0  # the revision told last
    reached_at: datetime = NEVER
    given_up: int = 0
    reminders: int = 0  # of the revision told last
    tries: dict[tuple[int, int], list[datetime]] = field(default_factory=dict)  # that failed, by revision and reminder

    @property
    def latest(self) -> Alert | None:
        return self.revisions[max(self.revisions)] if self.revisions else None

    @property
    def pending(self) -> list[Alert]:
        after = max(self.reached, self.given_up)
        return [self.revisions[number] for number in sorted(self.revisions) if number > after]

    @property
    def to_tell(self) -> list[Alert]:
        """Of what is pending what a person needs, in this order."""
        pending = self.pending
        if not pending or pending[-1].standing:
            return pending[-1:]
        latest, stood = pending[-1], [alert for alert in pending if alert.standing]
        if latest.status == "retracted":
            return [latest] if self.reached else []
        return [*stood[-1:], latest] if stood or self.reached else []

    def keep_what_counts(self) -> None:
        """An alert that waits may go through many revisions."""
        kept = {self.reached, max(self.revisions, default=0), *(alert.revision for alert in self.to_tell)}
        self.revisions = {number: alert for number, alert in self.revisions.items() if number in kept}


class Lane:
    """One thread uses it."""

    def __init__(self, channel: str, limits: Limits) -> None:
        self.channel, self.limits, self.acts = channel, limits, Acts()
        self._episodes: dict[str, _Episode] = {}
        self._said: dict[_Subject, _Said] = {}
        self._delivered: deque[datetime] = deque()  # within the last hour
        self._failures = 0  # one after the other, of whatever
        self._failed_at = NEVER

    # --- what it hears ---

    def hear(self, alert: Alert) -> None:
        """A revision that this channel is told if it is due. Hearing one again changes nothing."""
        if alert.timestamp >= self.limits.since:
            episode = self._episodes.setdefault(alert.alert_id, _Episode())
            episode.revisions[alert.revision] = alert
            episode.keep_what_counts()

    def recall(self, attempts: Iterable[Attempt], alerts: Iterable[Alert]) -> None:
        """What was tried before this worker's turn, and the alerts that it was about."""
        known = {(alert.alert_id, alert.revision): alert for alert in alerts}
        for attempt in sorted(attempts, key=lambda attempt: attempt.at):
            self._note(attempt, known.get((attempt.alert_id, attempt.revision)))
        self._failures = 0  # the first try after a start is made at once

    def forget(self, now: datetime) -> None:
        """What has ended long ago, and nobody can bring up again."""
        for alert_id, episode in list(self._episodes.items()):
            latest = episode.latest
            if latest is not None and not latest.standing and latest.timestamp < now - REMEMBERED:
                del self._episodes[alert_id]
        self._said = {subject: said for subject, said in self._said.items() if said.at > now - QUIET}

    # --- what it has to tell ---

    def waiting(self, now: datetime) -> int:
        """How many alerts have a revision that has not got through."""
        found = (self._due_of(episode, now) for episode in self._episodes.values())
        return sum(due is not None and not due.reminder for due in found)

    def due(self, now: datetime) -> Due | None:
        """The next message: the highest level first, and what was told before last. Where the last try failed, what was
        tried least: it may be the message that the receiver does not take. None: not now."""
        if now < self._failed_at + wait_after(self._failures) or self._is_full(now):
            return None
        rank = _rank_after_failure if self._failures else _rank
        return min(self._all_due(now), key=rank, default=None)

    def note(self, due: Due, outcome: Outcome, at: datetime, reason: str = "") -> Attempt:
        """What became of it, as a line of the ledger."""
        alert = due.alert
        if outcome == "failed" and self._first_try(due, at) <= at - GIVE_UP:
            outcome = "given up"
        attempt = attempt_at(self.channel, due, outcome, at, reason)
        self._note(attempt, alert)
        return attempt

    # --- how it decides ---

    def _all_due(self, now: datetime) -> Iterator[Due]:
        for episode in self._episodes.values():
            due = self._due_of(episode, now)
            if due is not None:
                tries = episode.tries.get((due.alert.revision, due.reminder), ())
                if not tries or now >= tries[-1] + wait_after(len(tries)):
                    yield due

    def _due_of(self, episode: _Episode, now: datetime) -> Due | None:
        to_tell = episode.to_tell
        if not to_tell:
            return self._reminder(episode, now)
        first, latest = to_tell[0], to_tell[-1]
        if self._is_held_back(first, now):
            return None
        if not latest.standing and latest.timestamp < now - GIVE_UP:
            return None  # long over
        # What was over before it was news is never told.
        moment = now if latest.standing else min(now, latest.timestamp)
        if first.standing and not self._is_news(first, episode, moment):
            return None
        return _due(episode, first, 0)

    def _reminder(self, episode: _Episode, now: datetime) -> Due | None:
        latest, rest = episode.latest, self.limits.remind
        if rest is None or latest is None or not latest.standing or latest.revision != episode.reached:
            return None
        if self.acts.is_acknowledged(latest, now) or self._is_held_back(latest, now):
            return None
        waits = min(rest * 2 ** min(episode.reminders, DOUBLINGS_MAX), max(DAY, rest))
        if now < episode.reached_at + waits:
            return None
        return _due(episode, latest, episode.reminders + 1)

    def _is_held_back(self, alert: Alert, now: datetime) -> bool:
        quiet = self.limits.quiet
        return self.acts.is_silenced(alert, now) or (quiet is not None and quiet.holds_back(alert.level, now))

    def _is_news(self, alert: Alert, episode: _Episode, now: datetime) -> bool:
        if self._is_held_back(alert, now):
            return False
        said = self._said.get(_subject(alert))
        if said is None or now >= said.at + QUIET or (episode.reached and alert.status == "updated"):
            return True
        higher = alert.rule == RULE_OF_BUDGETS and alert.threshold_value > said.threshold
        return alert.level > said.level or higher or alert.current_value >= 2 * said.value > 0

    def _is_full(self, now: datetime) -> bool:
        while self._delivered and self._delivered[0] <= now - QUIET:
            self._delivered.popleft()
        return len(self._delivered) >= self.limits.hourly_max

    def _first_try(self, due: Due, at: datetime) -> datetime:
        episode = self._episodes.get(due.alert.alert_id)
        tries = episode.tries.get((due.alert.revision, due.reminder)) if episode else None
        return tries[0] if tries else at

    def _note(self, attempt: Attempt, alert: Alert | None) -> None:
        episode = self._episodes.setdefault(attempt.alert_id, _Episode())
        if alert is not None:
            episode.revisions.setdefault(alert.revision, alert)
        if attempt.outcome == "delivered":
            self._failures = 0
            self._delivered.append(attempt.at)
            episode.reached, episode.reached_at = max(episode.reached, attempt.revision), attempt.at
            episode.reminders = attempt.reminder
            episode.tries.clear()
            if alert is not None and alert.standing:
                self._said[_subject(alert)] = _Said(attempt.at, alert.level, alert.threshold_value, alert.current_value)
        else:
            self._failures, self._failed_at = self._failures + 1, attempt.at
            episode.tries.setdefault((attempt.revision, attempt.reminder), []).append(attempt.at)
            if attempt.outcome == "given up":
                self._give_up(episode, attempt)
        episode.keep_what_counts()

    def _give_up(self, episode: _Episode, attempt: Attempt) -> None:
        """A reminder that was given up counts as one: the next one comes after its rest."""
        if attempt.reminder:
            episode.reminders, episode.reached_at = attempt.reminder, attempt.at
        else:
            episode.given_up = max(episode.given_up, attempt.revision)


def attempt_at(channel: str, due: Due, outcome: Outcome, at: datetime, reason: str) -> Attempt:
    alert = due.alert
    return Attempt(channel, alert.alert_id, alert.revision, due.reminder, due.attempt, at, outcome, reason)


def _due(episode: _Episode, alert: Alert, reminder: int) -> Due:
    return Due(alert, reminder, len(episode.tries.get((alert.revision, reminder), ())) + 1)


def _rank(due: Due) -> tuple[Any, ...]:
    return due.reminder > 0, -LEVELS.index(due.alert.level), due.attempt, due.alert.timestamp, due.alert.alert_id


def _rank_after_failure(due: Due) -> tuple[Any, ...]:
    return due.attempt, *_rank(due)


def _subject(alert: Alert) -> _Subject:
    start = alert.window_start if alert.rule == RULE_OF_BUDGETS else None
    return _Subject(alert.rule, alert.metric_name, alert.scope, start)


def wait_after(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 5 s, 10 s, 20 s, … up to 15 minutes."""
    return min(WAIT_FIRST * 2 ** min(failures - 1, DOUBLINGS_MAX), WAIT_MAX) if failures else timedelta()
