"""A model whose calls have no price, and would have a cost if it had one. Each is told once.

Rollups say where calls without a cost are. Those hours are read call by call for the reason: at every look the newest
that has changed, and one beside it that was not looked at yet. So a look reads two clock hours at most, and once an
hour two more to see what is mended, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Final

import structlog
from pydantic import JsonValue

from costream.alerts import Alert, Level, Status, episode_id
from sinks.errors import WarehouseError
from stream.watch.queries import RESTORED, Reader
from stream.watch.rules.rule import Past
from stream.watch.rules.trouble import GROWN
from stream.watch.series import HOUR, hour_of
from stream.watch.unpriced import (
    NAMED_MAX,
    Lately,
    Mended,
    SoldModel,
    Unpriced,
    Why,
    lacking_in,
    lately,
    reach_of,
    unpriced_hours,
    volumes,
)
from stream.watch.unpriced_words import COVERAGE, of_mended, of_model, of_others

log = structlog.get_logger(__name__)

EVERY: Final = timedelta(minutes=1)
OTHERS: Final = "models"  # the scope of the one alert about all beyond NAMED_MAX


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look has found: models that do not stand in an alert, those with the most calls first, how many models
    there are in all, in which hour, and which of those that stand are mended, by scope."""

    found: Sequence[Unpriced]
    count: int
    hour: datetime
    mended: Mapping[str, Mended]


class UnknownPriceRule:
    """It remembers which hours it has looked at; whom it has told of it reads in its alerts."""

    name: ClassVar = "unknown_price"
    level: ClassVar = Level.WARNING

    def __init__(self, *, reader: Reader, is_on: bool) -> None:
        self._reader, self._is_on = reader, is_on
        self._forget()

    def _forget(self) -> None:
        self._ask: set[datetime] | None = None  # the hours whose rollups are to be read; None: all in reach
        self._unpriced: dict[datetime, int] = {}  # the calls without a cost of each hour
        self._looked: dict[datetime, int] = {}  # the same, when the hour was read call by call
        self._settled_in: datetime | None = None  # the clock hour in which those that stand were looked at

    # --- the four verbs ---

    def is_due(self, now: datetime, past: Past) -> bool:
        return past.looked_at is None or now - past.looked_at >= EVERY

    def read(self, now: datetime, past: Past, known: Sequence[Alert]) -> Looked | None:
        """It keeps an error of the warehouse to itself: what it asks may be too much for one that can still answer the
        rules beside it."""
        if not self._is_on:
            return None
        if past.looked_at is None or past.failed:
            self._forget()
        told = [SoldModel.of(alert.scope) for alert in known if alert.standing and alert.scope != OTHERS]
        try:
            self._read_rollups(now, past, told)
            return self._look(now, told)
        except WarehouseError as error:
            log.warning(
                "rule cannot look",
                rule=self.name,
                reason=str(error),
                next="its alerts stay as they are; it looks again in a minute",
            )
            return None

    def judge(self, looked: Looked, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        """A model that was told of is told again at the earliest when its alert has ended and is forgotten."""
        mine = [alert for alert in known.values() if alert.standing or alert.window_end >= now - RESTORED]
        told = {alert.scope for alert in mine if alert.scope != OTHERS}
        news = [one for one in looked.found if one.name.scope not in told]
        named = news[: max(0, NAMED_MAX - len(told))]
        others = max(0, looked.count - (len(looked.found) - len(news)) - len(named))
        return [
            *(_closed(alert, looked.mended[alert.scope], now) for alert in mine if _is_over(alert, looked)),
            *(_opened(one, known, now) for one in named),
            *_about_others(others, len(told) + len(named) < NAMED_MAX, looked.hour, known, now),
        ]

    def word(self, alert: Alert, looked: Looked) -> Alert:
        if alert.scope == OTHERS:
            title, message = of_others(alert)
        elif alert.standing:
            title, message = of_model(next(one for one in looked.found if one.name.scope == alert.scope))
        else:
            title, message = of_mended(SoldModel.of(alert.scope), looked.mended[alert.scope])
        return alert.model_copy(update={"title": title, "message": message})

    # --- what it reads ---

    def _read_rollups(self, now: datetime, past: Past, told: Sequence[SoldModel]) -> None:
        """Which hours have calls without a cost. What a look could not read is read by the next one."""
        since, running = reach_of(now), hour_of(now)
        if self._ask is not None:
            self._ask |= past.changed | {running, running - HOUR}
        read = unpriced_hours(self._reader, since=since, only=self._ask, told=told)
        asked = self._unpriced.keys() if self._ask is None else self._ask
        kept = {hour: calls for hour, calls in self._unpriced.items() if hour >= since and hour not in asked}
        self._unpriced = kept | read
        self._looked = {hour: calls for hour, calls in self._looked.items() if hour >= since}
        self._ask = set()

    def _look(self, now: datetime, told: Sequence[SoldModel]) -> Looked:
        why: dict[SoldModel, Why] = {}
        count = 0
        for hour in self._hours_to_look_at():
            calls = self._unpriced[hour]
            lacking = lacking_in(self._reader, hour, told=told)
            why |= {name: each for name, each in lacking.models.items() if name not in why}
            count = max(count, lacking.count, len(why))
            self._looked[hour] = calls
        asked = list(why)[:NAMED_MAX]
        sizes = volumes(self._reader, asked, since=reach_of(now))
        found = [Unpriced(name, volume, why[name]) for name, volume in sizes.items()]
        found.sort(key=lambda one: (-one.volume.calls, one.name))
        not_summed_up_yet = len(asked) - len(found)
        return Looked(found, count - not_summed_up_yet, hour_of(now), self._mended(now, told))

    def _hours_to_look_at(self) -> list[datetime]:
        """The newest of those that have changed, and one beside it: first those that were never looked at."""
        changed = sorted(
            (hour for hour, calls in self._unpriced.items() if self._looked.get(hour) != calls), reverse=True
        )
        return changed[:1] + sorted(changed[1:], key=lambda hour: hour in self._looked)[:1]

    def _mended(self, now: datetime, told: Sequence[SoldModel]) -> dict[str, Mended]:
        """Of those that stand, once in a clock hour."""
        running = hour_of(now)
        if self._settled_in == running:
            return {}
        called = lately(self._reader, told, since=reach_of(now), running=running)
        lacked = {name: each for name, each in called.items() if each.unpriced}
        mended = {name: Mended(None, 0) for name in told if name not in lacked}
        for name, hour in self._priced_again(lacked, running).items():
            mended[name] = Mended(hour, lacked[name].unpriced_calls)
        self._settled_in = running
        return {name.scope: each for name, each in mended.items()}

    def _priced_again(self, lacked: Mapping[SoldModel, Lately], running: datetime) -> dict[SoldModel, datetime]:
        """Those that had a price in the last hour of theirs that is over, and lacked none in it or since.

        A call whose usage is missing has no cost either. Where there are such calls, single calls are asked, those of
        the newest hour alone: a model that was called last before it is asked for when it is called again.
        """
        had = {name: each.priced for name, each in lacked.items() if each.priced and each.priced == each.called}
        sure = {name: hour for name, hour in had.items() if (last := lacked[name].unpriced) and last < hour}
        unsure = {name: hour for name, hour in had.items() if name not in sure}
        if not unsure:
            return sure
        newest = max(unsure.values())
        asked = [name for name, hour in unsure.items() if hour == newest]
        lacking = [lacking_in(self._reader, hour, only=asked).models for hour in (newest, running)]
        return sure | {name: newest for name in asked if not any(name in models for models in lacking)}


# --- the life of an alert --------------------------------------------------------------------------------------------


def _is_over(alert: Alert, looked: Looked) -> bool:
    return alert.standing and alert.scope in looked.mended


def _opened(one: Unpriced, known: Mapping[str, Alert], now: datetime) -> Alert:
    more: dict[str, JsonValue] = {
        "provider": one.name.provider,
        "model": one.name.model,
        "tokens": one.volume.tokens,
        "tokens_are_least": one.volume.is_least,
        "cost_reason": one.why.reason,
        "cost_detail": one.why.detail,
    }
    return _revision(one.name.scope, "open", one.volume.calls, since=one.volume.since, more=more, known=known, now=now)


def _closed(alert: Alert, mended: Mended, now: datetime) -> Alert:
    return _ended(alert, now).model_copy(
        update={"current_value": Decimal(mended.calls), "unpriced_calls": mended.calls}
    )


def _about_others(
    count: int, are_named: bool, hour: datetime, known: Mapping[str, Alert], now: datetime
) -> list[Alert]:
    """One alert about all that are not named: told again when they are twice as many, over when each is named again."""
    standing = next((alert for alert in known.values() if alert.standing and alert.scope == OTHERS), None)
    if standing is None:
        return [_revision(OTHERS, "open", count, since=hour, more={}, known=known, now=now)] if count else []
    if count >= standing.current_value * GROWN:
        return [_revision(OTHERS, "updated", count, since=standing.window_start, more={}, known=known, now=now)]
    return [_ended(standing, now)] if are_named and not count else []


def _ended(alert: Alert, now: datetime) -> Alert:
    changed = {"revision": alert.revision + 1, "status": "cleared", "timestamp": now, "window_end": _second(now)}
    return alert.model_copy(update=changed | {"title": "", "message": "", "current_value": Decimal(0)})


def _revision(
    scope: str,
    status: Status,
    count: int,
    *,
    since: datetime,
    more: Mapping[str, JsonValue],
    known: Mapping[str, Alert],
    now: datetime,
) -> Alert:
    alert_id = episode_id(rule=UnknownPriceRule.name, scope=scope, first_window=since)
    of_models = scope == OTHERS
    return Alert(
        alert_id=alert_id,
        revision=known[alert_id].revision + 1 if alert_id in known else 1,
        status=status,
        level=UnknownPriceRule.level,
        rule=UnknownPriceRule.name,
        title="",
        message="",
        metric_name="models_without_price" if of_models else "calls_without_price",
        scope=scope,
        window_start=since,
        window_end=max(_second(now), since),
        current_value=Decimal(count),
        threshold_value=Decimal(0),
        expected_value=None,
        ratio=None,
        unpriced_calls=0 if of_models else count,
        metadata={
            "first_window": since.isoformat(timespec="seconds"),
            "unit": "models" if of_models else "calls",
            "next": COVERAGE,
            **more,
        },
        timestamp=now,
    )


def _second(moment: datetime) -> datetime:
    """As the warehouse keeps it."""
    return moment.replace(microsecond=0)
