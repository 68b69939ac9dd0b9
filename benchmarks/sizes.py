"""How much each benchmark does: the full form for docs/benchmarks.md, the quick one to see that all of it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    form: str
    rounds: int  # of the contest; the contenders alternate, so that a slow minute of the machine meets all of them
    events: int  # on the topic, the same for all contenders
    contender_seconds: float  # how long plain Faust and Quix Streams run; both are steady long before
    raw_seconds: float
    latency_seconds: float
    latency_per_second: int
    alerts: int
    record_calls: int
    record_rate_calls: int  # of the calls at 1,000 a second
    checks: int  # of a guard
    ids: int
    series: int  # different ones in an hour, and as many events
    raw_rows: int  # single calls of the warehouse that is asked
    repriced_calls: int


FULL: Final = Sizes(
    form="full",
    rounds=3,
    events=2_000_000,
    contender_seconds=20,
    raw_seconds=8,
    latency_seconds=45,
    latency_per_second=1_000,
    alerts=8,
    record_calls=100_000,
    record_rate_calls=10_000,
    checks=100_000,
    ids=5_000_000,
    series=2_000_000,
    raw_rows=50_000_000,
    repriced_calls=1_000_000,
)
QUICK: Final = Sizes(
    form="quick",
    rounds=1,
    events=200_000,  # several flushes, or there is no rate to speak of
    contender_seconds=3,
    raw_seconds=1,
    latency_seconds=5,
    latency_per_second=200,
    alerts=2,
    record_calls=10_000,
    record_rate_calls=500,
    checks=10_000,
    ids=300_000,
    series=100_000,
    raw_rows=500_000,
    repriced_calls=20_000,
)
