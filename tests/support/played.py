"""A turn of one rule on a clock that the test turns: the four verbs in their order, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from costream.alerts import Alert
from stream.watch.judge import latest
from stream.watch.rules.rule import Past, Rule, news_of


class Played:
    """What a rule says while time goes on; ``said`` is all of it."""

    def __init__(self, rule: Rule[Any], start: datetime) -> None:
        self.rule, self.now = rule, start
        self.said: list[Alert] = []
        self.looks: list[datetime] = []
        self._past = Past()

    def changed(self, hours: Iterable[datetime]) -> None:
        """usage.rollups names hours."""
        self._past = Past(self._past.looked_at, self._past.failed, self._past.changed | set(hours))

    def after(self, wait: timedelta, *, step: timedelta = timedelta(seconds=1)) -> list[tuple[str, str]]:
        """What is told meanwhile: scope and status, asked again and again."""
        told: list[Alert] = []
        for _ in range(wait // step):
            self.now += step
            told += self._tick()
        self.said += told
        return [(alert.scope, alert.status) for alert in told]

    def begin_again(self) -> None:
        """Another worker goes on from what was said, as it is read back."""
        self.said = [Alert.from_json(alert.to_json()) for alert in self.said]
        self._past = Past()

    def _tick(self) -> list[Alert]:
        if not self.rule.is_due(self.now, self._past):
            return []
        past, self._past = self._past, Past(self.now)
        self.looks.append(self.now)
        known = latest(self.said)
        reading = self.rule.read(self.now, past, list(known.values()))
        return news_of(self.rule, reading, known, self.now)
