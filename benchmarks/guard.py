"""What BudgetGuard.check() costs the caller: p50, p99 and the longest call.

    python -m benchmarks.guard CHECKS LIMITS

Each call is timed on its own, in the thread of a host that does nothing else. ``LIMITS`` users are limited by the day,
and three features, unless it is 0; every second call is of such a user. The timer's own cost, about 0.05 us, is in the
figures. Kafka is the embedded one: no call ever reaches it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from confluent_kafka import Producer

from benchmarks.ground import Ground, ask_child, python_module
from benchmarks.sizes import Sizes
from costream import BudgetGuard
from costream.budgets import BudgetState
from costream.topics import BUDGETS

WARM_UP: Final = 1_000
READ_SECONDS_MAX: Final = 60.0
FEATURES: Final = ("translate", "summarise", "transcribe")


@dataclass(frozen=True, slots=True)
class Checks:
    """Microseconds of a single call, and how many of them were limited."""

    limits: int
    checks: int
    limited: int
    p50_us: float
    p99_us: float
    max_us: float


def run(ground: Ground, sizes: Sizes) -> tuple[Checks, ...]:
    return tuple(_in_child(ground, sizes.checks, limits) for limits in (0, 10_000))


def _in_child(ground: Ground, checks: int, limits: int) -> Checks:
    """A host with no other threads but the guard's own."""
    command = python_module("guard", checks, limits)
    return Checks(**ask_child(command, folder=ground.new_folder("guard"), seconds_max=180))


def measure(checks: int, limits: int) -> Checks:
    broker = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (found,) = broker.list_topics(BUDGETS, timeout=10).brokers.values()
    address = f"{found.host}:{found.port}"
    _publish(address, limits)
    with BudgetGuard(bootstrap_servers=address, enabled=True) as guard:
        assert guard.ready(READ_SECONDS_MAX), "the guard has not read the topic"
        _timed(guard, WARM_UP, limits)
        taken, limited = _timed(guard, checks, limits)
    del broker  # it lives as long as this producer
    p50, p99 = (taken[int(len(taken) * share)] / 1_000 for share in (0.5, 0.99))
    return Checks(limits, checks, limited, p50, p99, taken[-1] / 1_000)


def _publish(address: str, limits: int) -> None:
    producer = Producer({"bootstrap.servers": address, "compression.type": "zstd", "log_level": 0})
    users = (("users", {"user_id": f"user-{number}"}) for number in range(limits))
    features = (("features", {"feature": name}) for name in FEATURES if limits)
    for budget, subject in (*users, *features):
        state = _limited(budget, subject)
        producer.produce(BUDGETS, state.to_json(), state.key, partition=0)
        producer.poll(0)
    assert producer.flush(READ_SECONDS_MAX) == 0, "the states were not acknowledged"


def _limited(budget: str, subject: dict[str, str]) -> BudgetState:
    now = datetime.now(UTC)
    return BudgetState(
        budget=budget,
        subject=subject,
        period="day",
        zone="UTC",
        period_start=now - timedelta(hours=1),
        period_end=now + timedelta(hours=1),
        limited=True,
        spent=Decimal("9.6"),
        amount=Decimal(10),
        limit=Decimal("9.5"),
        currency="USD",
        ratio=Decimal("0.96"),
        rules_revision=1,
        timestamp=now,
    )


def _timed(guard: BudgetGuard, checks: int, limits: int) -> tuple[list[int], int]:
    """Nanoseconds of each call, the shortest first, and how many were limited."""
    taken, limited = list[int](), 0
    for number in range(checks):
        user = f"user-{number % max(limits, 1)}" if number % 2 else f"other-{number}"
        began = time.perf_counter_ns()
        found = guard.check(provider="openai", model="gpt-4o-mini", feature="chatbot", user_id=user)
        taken.append(time.perf_counter_ns() - began)
        limited += found is not None
    return sorted(taken), limited


def main(checks: str, limits: str) -> None:
    print(json.dumps(asdict(measure(int(checks), int(limits)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
