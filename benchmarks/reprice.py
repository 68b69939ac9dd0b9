"""How long it takes to price calls anew while a worker goes on storing others, over the warehouse's HTTP protocol.

The events of the contest are worked off, then a revision of prices is published that gives every one of them another
price, and `costream reprice` runs while a producer records events at a steady rate.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from benchmarks.events import PLAIN, load
from benchmarks.ground import COSTREAM, BenchmarkFailed, Ground, WorkerProcess, ask_child, run_child
from benchmarks.latency import Sender
from benchmarks.sizes import Sizes
from costream import UsageProducer
from costream.topics import EVENTS
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from tests.support.databases import migrated
from tests.support.warehouse import Endpoint

SECONDS_MAX: Final = 600.0
CALM_LOOKS: Final = 15  # one after the other without a merge: three seconds
DEARER: Final = "".join(
    f'[[price]]\nprovider = "{provider}"\nmodels = ["*"]\nfactor = "1.5"\nsource = "benchmark"\n'
    for provider in ("openai", "anthropic", "google", "mistral")
)


@dataclass(frozen=True, slots=True)
class Repriced:
    """``seconds`` are those of the whole command, from its start to its end."""

    calls: int
    seconds: float
    per_second: float
    corrected_rows: int
    live_per_second: float  # events that the worker stored meanwhile


def run(ground: Ground, sizes: Sizes) -> Repriced:
    """Raises where the audit does not hold afterwards."""
    folder = ground.new_folder("reprice")
    with Endpoint(folder / "clickhouse") as endpoint:
        migrated(endpoint.address())
        settings = ground.settings(topic_prefix="reprice.", consumer_group="reprice", clickhouse_url=endpoint.url)
        ground.create_topics(settings)
        now = datetime.now(UTC)
        loaded = load(
            ground.bootstrap_servers, settings.topic(EVENTS), events=sizes.repriced_calls, now=now, recipe=PLAIN
        )
        with (
            WorkerProcess(settings, folder) as worker,
            UsageProducer(
                bootstrap_servers=ground.bootstrap_servers, topic=settings.topic(EVENTS), spool_dir=folder / "spool"
            ) as producer,
        ):
            worker.wait_until_handled(loaded.events, seconds=SECONDS_MAX)
            prices = folder / "dearer.toml"
            prices.write_text(DEARER)
            run_child(
                [COSTREAM, "prices", "publish", str(prices)], folder=folder, seconds_max=SECONDS_MAX, settings=settings
            )
            _wait_for_merges(endpoint.address())
            live = threading.Thread(
                target=Sender(producer, per_second=sizes.latency_per_second).send, args=(SECONDS_MAX,), daemon=True
            )
            live.start()
            before, started = worker.handled(), time.monotonic()
            span = [f"--from={now - timedelta(days=1):%Y-%m-%d}", f"--to={now:%Y-%m-%dT%H:%M:%S}"]
            told = ask_child(
                [COSTREAM, "reprice", *span, "--reason", "a benchmark", "--json"],
                folder=folder,
                seconds_max=SECONDS_MAX,
                settings=settings,
            )
            seconds = time.monotonic() - started
            handled = worker.handled() - before
            audit = ask_child(
                [COSTREAM, "audit", "--no-kafka", "--json"], folder=folder, seconds_max=SECONDS_MAX, settings=settings
            )
    if not audit["holds"] or told["uncorrected_rows"]:
        raise BenchmarkFailed(f"the audit does not hold after it: {json.dumps(audit)[:2_000]}")
    calls = told["changed_calls"]
    return Repriced(calls, seconds, calls / seconds, told["corrected_rows"], handled / seconds)


def _wait_for_merges(address: ClickHouseAddress) -> None:
    with closing(Reader(address)) as reader:
        calm = 0
        while calm < CALM_LOOKS:
            running = reader.frame("SELECT toInt64(count()) FROM system.merges").item()
            calm = 0 if running else calm + 1
            time.sleep(0.2)
