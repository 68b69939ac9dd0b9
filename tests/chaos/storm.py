"""What goes wrong, and when: a timetable made from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

RUSH: Final = 1 / 3  # of the small strikes follow the one before within RUSH_S: in the middle of its rebalance
RUSH_S: Final = 2.0
RESTART_S: Final = (0.1, 3.0)  # how long a killed worker stays away
GUEST_S: Final = (4.0, 12.0)  # how long one stays that joins, and one stays away that leaves
REPRICING_S: Final = (1.5, 6.0)  # until a re-pricing is killed: it starts, claims its right, and then it writes
BROKER_AWAY_S: Final = (0.0, 3.0)  # beside the seconds that its own start takes


class Act(Enum):
    """Each has an end: the worker is replaced or leaves again, the warehouse or the broker is back. What has expired
    stays away."""

    KILL = "worker killed"
    LEAVE = "worker leaves"
    JOIN = "worker joins"
    WAREHOUSE = "warehouse away"
    BROKER = "broker away"
    EXPIRE = "what was read expires"
    DISK = "the warehouse's disk full"
    REPRICE = "calls priced anew, and the process killed"


@dataclass(frozen=True, slots=True)
class Strike:
    at_s: float
    act: Act
    lasts_s: float
    rudely: bool = False  # SIGKILL instead of SIGTERM, for what may be either


@dataclass(frozen=True, slots=True)
class Form:
    """How much of everything."""

    name: str
    events: int
    seconds: float
    partitions: int
    kills: int
    leaves: int
    joins: int
    outages: int
    outage_s: tuple[float, float]
    drain_max_s: float
    broker_restarts: int = 1
    workers: int = 3
    expiries: int = 2
    repricings: int = 3
    full_disks: int = 0  # only where the warehouse has a small disk of its own


FULL: Final = Form(
    "full",
    events=200_000,
    seconds=300,
    partitions=8,
    kills=24,
    leaves=3,
    joins=3,
    outages=3,
    outage_s=(5.0, 20.0),
    drain_max_s=240,
)
HOUR: Final = Form(
    "hour",
    events=1_000_000,
    seconds=3_000,
    partitions=8,
    kills=200,
    leaves=20,
    joins=20,
    outages=12,
    outage_s=(5.0, 30.0),
    drain_max_s=400,
    broker_restarts=4,
    expiries=20,
    full_disks=10,
    repricings=10,
)
SHORT: Final = Form(
    "short",
    events=32_000,
    seconds=70,
    partitions=6,
    kills=6,
    leaves=1,
    joins=1,
    outages=1,
    outage_s=(5.0, 9.0),
    drain_max_s=150,
    repricings=1,
)


def timetable(dice: random.Random, form: Form) -> list[Strike]:
    """Every strike of a storm, in order. Workers die at any moment; warehouse, broker and room go one at a time."""
    strikes = [*_absences(dice, form), *_small_strikes(dice, form), *_expiries(dice, form), *_repricings(dice, form)]
    return sorted(strikes, key=lambda strike: strike.at_s)


def _absences(dice: random.Random, form: Form) -> list[Strike]:
    acts = [Act.WAREHOUSE] * form.outages + [Act.BROKER] * form.broker_restarts + [Act.DISK] * form.full_disks
    dice.shuffle(acts)
    slot_s = form.seconds / len(acts)
    return [
        Strike(
            at_s=slot_s * (number + dice.random() * 0.4),
            act=act,
            lasts_s=dice.uniform(*(BROKER_AWAY_S if act is Act.BROKER else form.outage_s)),
            rudely=dice.random() < 0.5,
        )
        for number, act in enumerate(acts)
    ]


def _expiries(dice: random.Random, form: Form) -> list[Strike]:
    return [Strike(dice.uniform(0, form.seconds), Act.EXPIRE, 0.0) for _ in range(form.expiries)]


def _repricings(dice: random.Random, form: Form) -> list[Strike]:
    """One after the other: the next one waits until the right of the one that was killed has lapsed."""
    slot_s = form.seconds / max(form.repricings, 1)
    return [
        Strike(slot_s * (number + 0.2 + dice.random() * 0.2), Act.REPRICE, dice.uniform(*REPRICING_S))
        for number in range(form.repricings)
    ]


def _small_strikes(dice: random.Random, form: Form) -> list[Strike]:
    acts = [Act.KILL] * form.kills + [Act.LEAVE] * form.leaves + [Act.JOIN] * form.joins
    dice.shuffle(acts)
    moments = sorted(dice.uniform(0, form.seconds) for _ in acts)
    for number, (before, _) in enumerate(pairwise(moments), start=1):
        if dice.random() < RUSH:
            moments[number] = before + dice.random() * RUSH_S
    lasts_s = {Act.KILL: RESTART_S, Act.LEAVE: GUEST_S, Act.JOIN: GUEST_S}
    return [Strike(at_s, act, dice.uniform(*lasts_s[act])) for at_s, act in zip(sorted(moments), acts, strict=True)]
