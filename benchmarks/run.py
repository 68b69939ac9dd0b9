"""All benchmarks, one after the other, on one broker.

    python -m benchmarks.run                       all, about ten minutes on a quiet machine
    python -m benchmarks.run --only latency        one; may be given several times
    python -m benchmarks.run --quick               small sizes: shows that everything runs, its figures mean nothing
    python -m benchmarks.run --json                one object on standard output

Progress goes to standard error. Exit status 1 if a benchmark could not be measured, or the full job was not exact; a
goal that was missed is printed and is no error.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks import (
    alert,
    budgets,
    contenders,
    full_job,
    guard,
    hostile,
    latency,
    memory,
    queries,
    record,
    reprice,
    series,
    serve,
    stored_bytes,
)
from benchmarks.events import MIXED, PLAIN, Loaded, Recipe, load
from benchmarks.ground import Ground, ground
from benchmarks.machine import machine
from benchmarks.report import Report, show
from benchmarks.sizes import FULL, QUICK, Sizes
from costream.topics import EVENTS

CONTEST: Final = ("costream", "costream-mixed", "plain-faust", "quix", "raw-aiokafka", "raw-confluent")
OTHERS: Final = (
    *("bytes", "latency", "alert", "budgets", "record", "guard", "memory", "hostile", "series", "queries"),
    *("serve", "reprice"),
)
NAMES: Final = (*CONTEST, *OTHERS)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended on the way out
    wanted = options.only or list(NAMES)
    started = time.monotonic()
    facts = machine(datetime.now(UTC))

    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", file=sys.stderr, flush=True)

    with ground(tell) as here:
        bench = Bench(here, sizes)
        bench.run(wanted)
    report = Report(facts, sizes, bench.results, bench.failures, seconds=time.monotonic() - started)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        show(report, Console(width=None if sys.stdout.isatty() else 110))
    return 1 if bench.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=" | ".join(NAMES))
    parser.add_argument("--rounds", type=int, help="of the contest; 3 in the full form")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", action="store_true", help="print one object")
    return parser


@dataclass
class Bench:
    """Runs what is wanted and keeps what came of it, by name; a benchmark that fails does not take the others along."""

    ground: Ground
    sizes: Sizes

    def __post_init__(self) -> None:
        self.results: dict[str, list[Any]] = {}
        self.failures: dict[str, str] = {}
        self._warehouse: Path | None = None  # of the last full job on plain events

    def run(self, wanted: Sequence[str]) -> None:
        contest = [name for name in CONTEST if name in wanted]
        for number in range(1, self.sizes.rounds + 1):
            for name in contest:
                self._try(name, lambda name=name, number=number: self._contender(name, number))  # type: ignore[misc]  # mypy cannot type a lambda's defaults
        alone: dict[str, Callable[[], Any]] = {
            "bytes": self._stored_bytes,
            "latency": lambda: latency.run(self.ground, self.sizes),
            "alert": lambda: alert.run(self.ground, self.sizes),
            "budgets": lambda: budgets.run(self.ground, self.sizes),
            "record": lambda: record.run(self.ground, self.sizes),
            "guard": lambda: guard.run(self.ground, self.sizes),
            "memory": lambda: memory.run(self.ground, self.sizes),
            "hostile": lambda: hostile.run(self.ground),
            "series": lambda: series.run(self.ground, self.sizes),
            "queries": lambda: queries.run(self.ground, self.sizes),
            "serve": lambda: serve.run(self.ground, self.sizes),
            "reprice": lambda: reprice.run(self.ground, self.sizes),
        }
        for name, measure in alone.items():
            if name in wanted:
                self._try(name, measure)

    def _try(self, name: str, measure: Callable[[], Any]) -> None:
        try:
            result = measure()
        except Exception as error:  # noqa: BLE001 - it is reported, and what was measured before is not lost
            self.failures[name] = f"{type(error).__name__}: {error}"
            self.ground.tell(f"{name} FAILED: {self.failures[name]}")
            return
        self.results.setdefault(name, []).append(result)
        self.ground.tell(f"{name}: {_said(result)}")

    @cached_property
    def loaded(self) -> Loaded:
        return self._loaded(PLAIN, topic_prefix="")

    @cached_property
    def loaded_mixed(self) -> Loaded:
        return self._loaded(MIXED, topic_prefix="mixed.")

    def _loaded(self, recipe: Recipe, *, topic_prefix: str) -> Loaded:
        settings = self.ground.settings(topic_prefix=topic_prefix)
        topic = settings.topic(EVENTS)
        self.ground.tell(f"loading {self.sizes.events:,} events into {topic}")
        self.ground.create_topics(settings)
        loaded = load(
            self.ground.bootstrap_servers, topic, events=self.sizes.events, now=datetime.now(UTC), recipe=recipe
        )
        self.ground.tell(f"loaded: {_said(loaded)}")
        self.results.setdefault("topics", []).append(loaded)
        return loaded

    def _contender(self, name: str, number: int) -> full_job.FullJob | contenders.Rate:
        group, seconds = f"{name}-{number}", self.sizes.contender_seconds
        match name:
            case "costream":
                return self._full_job(group, self.loaded)
            case "costream-mixed":
                return self._full_job(group, self.loaded_mixed)
            case "plain-faust":
                return contenders.plain_faust(self.ground, self.loaded, group=group, seconds=seconds)
            case "quix":
                return contenders.quix(self.ground, self.loaded, group=group, seconds=seconds)
            case _:
                client = name.removeprefix("raw-")
                return contenders.raw(
                    self.ground, self.loaded, client=client, group=group, seconds=self.sizes.raw_seconds
                )

    def _full_job(self, group: str, loaded: Loaded) -> full_job.FullJob:
        folder = self.ground.new_folder(group)
        result = full_job.run(self.ground, loaded, folder, group=group)
        if loaded is self.loaded:
            self._warehouse = folder
        return result

    def _stored_bytes(self) -> stored_bytes.StoredBytes:
        if self._warehouse is None:
            self._full_job("costream-for-bytes", self.loaded)
        assert self._warehouse is not None, "the full job has set it"
        return stored_bytes.run(f"chdb://{self._warehouse / 'clickhouse'}", self._warehouse)


def _said(result: Any) -> str:
    if isinstance(result, tuple):
        return " | ".join(map(_said, result))
    figures = asdict(result)
    return ", ".join(
        f"{name} {value:,.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )


if __name__ == "__main__":
    sys.exit(main())
