"""The people under attack: two receivers that are told of every alert, one of which fails, hangs and cuts connections.

What they got is held against the topic by a plain count. Each channel may repeat one message for every worker that was
killed, and those that it sent while the warehouse was away.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from costream.alerts import Alert
from tests.chaos.topic_dump import Record
from tests.chaos.verdict import Verdict
from tests.support.receivers import HttpReceiver

STEADY, SHAKY = "steady", "shaky"
DOES: Final = (200, 200, 200, 500, 503, "cut")  # of the one that fails, drawn for each message
FAILS_MAX: Final = 2  # one after another: with each the wait doubles, and six of them are longer than the run

Told = tuple[str, int]  # alert_id and revision


@dataclass(frozen=True, slots=True)
class Heard:
    """What one receiver was told, in this order; and under how many keys."""

    told: Sequence[Told]
    keys: Sequence[str]


class Shaky:
    """What the receiver that fails does with the next message. One thread at a time asks it."""

    def __init__(self, dice: random.Random) -> None:
        self._dice, self._failed = dice, 0

    def __call__(self) -> int | str:
        does = self._dice.choice(DOES) if self._failed < FAILS_MAX else DOES[0]
        self._failed = 0 if does == DOES[0] else self._failed + 1
        return does


class People:
    """Use as a context."""

    def __init__(self, dice: random.Random) -> None:
        self._receivers = {STEADY: HttpReceiver(), SHAKY: HttpReceiver(does=Shaky(dice))}

    def __enter__(self) -> Self:
        for receiver in self._receivers.values():
            receiver.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for receiver in self._receivers.values():
            receiver.__exit__(kind, error, at)

    @property
    def rules(self) -> str:
        return "".join(
            f'[[channel.webhook]]\nname = "{name}"\nurl = "{receiver.url}"\nremind_hours = 0\nhourly_max = 10000\n'
            for name, receiver in self._receivers.items()
        )

    @property
    def heard(self) -> dict[str, Heard]:
        return {
            name: Heard(
                [(posted.json["alert_id"], posted.json["revision"]) for posted in receiver.got],
                [posted.headers["Idempotency-Key"] for posted in receiver.got],
            )
            for name, receiver in self._receivers.items()
        }


def compare_told(verdict: Verdict, heard: Mapping[str, Heard], log: Iterable[Record], *, repeats_max: int) -> None:
    """Nothing that is not on the topic, no end without a beginning, no revision after a later one, no more repeats than
    the bound, and each subject of which an alert stands at the end was told of."""
    alerts = {(one.alert_id, one.revision): one for one in (Alert.from_json(record.value or b"") for record in log)}
    latest = {alert_id: alerts[alert_id, revision] for alert_id, revision in sorted(alerts)}
    for name, each in heard.items():
        told, repeats = Counter(each.told), sum(Counter(each.keys).values()) - len(set(each.keys))
        verdict.figures[f"told_{name}"] = len(each.told)
        verdict.figures[f"repeated_{name}"] = repeats
        verdict.fault(f"told_{name}_of_nothing", (f"{key}" for key in told.keys() - alerts.keys()))
        verdict.fault(f"told_{name}_out_of_order", _out_of_order(each.told))
        verdict.fault(f"told_{name}_ends_alone", _ends_alone(each.told, alerts))
        subjects = {_subject(alerts[key]) for key in told if key in alerts}
        unheard = [one for one in latest.values() if one.standing and _subject(one) not in subjects]
        verdict.fault(f"told_{name}_never", (f"{one.alert_id}: {one.title}" for one in unheard))
        beyond = [f"{repeats} repeats, of {repeats_max} at the most"] if repeats > repeats_max else []
        verdict.fault(f"told_{name}_too_often", beyond)


def _out_of_order(told: Sequence[Told]) -> Iterable[str]:
    last: dict[str, int] = {}
    for alert_id, revision in told:
        if revision < last.get(alert_id, 0):
            yield f"{alert_id}: revision {revision} after {last[alert_id]}"
        last[alert_id] = revision


def _ends_alone(told: Sequence[Told], alerts: Mapping[Told, Alert]) -> Iterable[str]:
    begun = set[str]()
    for key in told:
        if key in alerts and not alerts[key].standing and key[0] not in begun:
            yield f"{key}: {alerts[key].status}"
        begun.add(key[0])


def _subject(alert: Alert) -> tuple[Any, ...]:
    return (alert.rule, alert.metric_name, alert.scope)
