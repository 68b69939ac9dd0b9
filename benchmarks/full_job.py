"""costream's whole job: decode, dedup, price, roll up, store with fsync, publish, acknowledge. One worker process."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.events import Loaded
from benchmarks.ground import COSTREAM, TICK_S, BenchmarkFailed, Ground, WorkerProcess, run_child
from costream.topics import EVENTS
from stream.runtime.settings import Settings

SECONDS_MAX: Final = 300.0
COUNTED: Final = (
    "SELECT (SELECT count() FROM usage_events_rows) AS rows, "
    "(SELECT uniqExact(request_id) FROM usage_events_rows) AS ids, "
    "(SELECT toInt64(sum(calls)) FROM usage_hourly_rows FINAL) AS calls_by_hour, "
    "(SELECT toInt64(sum(calls)) FROM usage_user_daily_rows FINAL) AS calls_by_day, "
    "(SELECT toInt64(sum(duplicates)) FROM usage_hourly_rows FINAL) AS duplicates, "
    "(SELECT count() FROM dead_letters_rows) AS dead_letters"
)


@dataclass(frozen=True, slots=True)
class FullJob:
    """``seconds`` run from the first stored batch, which is not counted, until all is stored and acknowledged."""

    events: int
    events_measured: int
    seconds: float
    per_second: float
    start_to_stored_seconds: float
    cpu_us_per_event: float
    ids: int
    memory_mb: float
    memory_peak_mb: float
    ids_memory_mb: float


def run(ground: Ground, loaded: Loaded, folder: Path, *, group: str) -> FullJob:
    """Work the topic off into a new warehouse in ``folder``, then count what is in it; raises if that is not exact."""
    settings = ground.settings(
        clickhouse_url=f"chdb://{folder / 'clickhouse'}",
        consumer_group=group,
        topic_prefix=loaded.topic.removesuffix(EVENTS),
    )
    ground.empty_what_workers_write(settings)
    run_child([COSTREAM, "migrate", "up"], folder=folder, seconds_max=SECONDS_MAX, settings=settings)
    started = time.monotonic()
    with WorkerProcess(settings, folder) as worker:
        result = _measure(worker, loaded, started)
        worker.stop()
    _verify(ground, settings, loaded, folder)
    return result


def _measure(worker: WorkerProcess, loaded: Loaded, started: float) -> FullJob:
    """Poll what is stored and acknowledged; both ends of the measurement are late by one poll at most."""
    first, first_at, cpu_before, peak = 0, 0.0, 0.0, 0
    while True:
        done, now = worker.handled(), time.monotonic()
        if done and not first:
            first, first_at, cpu_before = done, now, worker.cpu_seconds()
        if done >= loaded.events:
            break
        if now - started > SECONDS_MAX:
            raise BenchmarkFailed(f"{done} of {loaded.events} events in {SECONDS_MAX:.0f} s:\n{worker.log_tail()}")
        if done:
            peak = max(peak, worker.memory_bytes())
        time.sleep(2 * TICK_S)
    measured = loaded.events - first
    if measured < loaded.events / 4:
        raise BenchmarkFailed(f"{first} of {loaded.events} events came in the first batch: too few are left to measure")
    metrics = worker.metrics()
    return FullJob(
        events=loaded.events,
        events_measured=measured,
        seconds=now - first_at,
        per_second=measured / (now - first_at),
        start_to_stored_seconds=now - started,
        cpu_us_per_event=(worker.cpu_seconds() - cpu_before) / measured * 1e6,
        ids=int(metrics["costream_dedup_ids"]),
        memory_mb=worker.memory_bytes() / 1e6,
        memory_peak_mb=peak / 1e6,
        ids_memory_mb=metrics["costream_dedup_memory_bytes"] / 1e6,
    )


def _verify(ground: Ground, settings: Settings, loaded: Loaded, folder: Path) -> None:
    """A fast worker that loses or doubles events would be worth nothing."""
    text = run_child([COSTREAM, "query", "--json", COUNTED], folder=folder, seconds_max=120, settings=settings)
    (counted,) = json.loads(text)
    distinct = loaded.distinct
    expected = {
        "rows": distinct,
        "ids": distinct,
        "calls_by_hour": distinct,
        "calls_by_day": distinct,
        "duplicates": loaded.events - distinct - loaded.bad,
        "dead_letters": loaded.bad,
    }
    if counted != expected:
        raise BenchmarkFailed(f"the warehouse does not hold what was published: {counted} instead of {expected}")
    if uncommitted := ground.uncommitted(settings):
        raise BenchmarkFailed(f"{uncommitted} records are stored and not acknowledged")
