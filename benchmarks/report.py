"""What a run found, as tables for a person and as one object for a program, each figure beside its goal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.hostile_kinds import LEGAL
from benchmarks.machine import Machine
from benchmarks.serve import GOAL_P99_MS, GOAL_PAINT_MS
from benchmarks.sizes import Sizes

DONE: Final = {
    "costream": "costream, the full job",
    "costream-mixed": "the same, on mixed events",
    "plain-faust": "plain Faust, a no-op agent",
    "quix": "Quix Streams, dedup and hourly window",
    "raw-aiokafka": "aiokafka and JSON to a dict",
    "raw-confluent": "librdkafka and JSON to a dict",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """``goal`` is empty where there is none; ``met`` is None then."""

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    machine: Machine
    sizes: Sizes
    results: Mapping[str, Sequence[Any]]
    failures: Mapping[str, str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "machine": asdict(self.machine),
            "sizes": asdict(self.sizes),
            "seconds": round(self.seconds),
            "figures": [asdict(figure) for figure in self.figures()],
            "results": {name: [_plain(result) for result in results] for name, results in self.results.items()},
            "failures": dict(self.failures),
        }

    def rates(self, name: str) -> list[float]:
        """Events a second, round by round."""
        return [result.per_second for result in self.results.get(name, ())]

    def ratios(self, name: str) -> list[float]:
        """costream to the other, round by round. None if a round of one is missing: it would shift the others."""
        ours, theirs = self.rates("costream"), self.rates(name)
        if len(ours) != len(theirs):
            return []
        return [our / their for our, their in zip(ours, theirs, strict=True)]

    def figures(self) -> list[Figure]:
        alone = (
            self._bytes,
            self._latency,
            self._alert,
            self._budgets,
            self._record,
            self._guard,
            self._memory,
            self._hostile,
            self._series,
        )
        return [
            *self._contest(),
            *(figure for figures in (*alone, self._queries, self._serve, self._reprice) for figure in figures()),
        ]

    def _contest(self) -> Iterator[Figure]:
        if rates := self.rates("costream"):
            yield _at_least("events stored per second, best round", max(rates), 50_000, "/s")
            yield Figure("events stored per second, median", statistics.median(rates), "/s")
        if ratios := self.ratios("costream-mixed"):
            yield _at_least("mixed events to plain ones, median", 1 / statistics.median(ratios), 0.8, "x")
        for name, least in (("plain-faust", 12), ("quix", 8)):
            if ratios := self.ratios(name):
                yield _at_least(f"costream to {name}, best round", max(ratios), least, "x")
                yield Figure(f"costream to {name}, median", statistics.median(ratios), "x")
        if jobs := self.results.get("costream"):
            cpu = statistics.median(job.cpu_us_per_event for job in jobs)
            yield Figure("CPU time of the worker per event, median", cpu, "us")
            yield Figure("events read by the worker", jobs[-1].events, "")
            yield Figure("memory of the worker at the end", jobs[-1].memory_mb, "MB")
            yield Figure("memory of the worker, greatest seen", max(job.memory_peak_mb for job in jobs), "MB")

    def _bytes(self) -> Iterator[Figure]:
        for result in self.results.get("bytes", ()):
            yield _at_most("stored bytes per event, raw", result.per_event, 40, "B")
            yield Figure("stored bytes per event, rollups and ledger", result.rollups_per_event, "B")

    def _latency(self) -> Iterator[Figure]:
        for result in self.results.get("latency", ()):
            at = f"event to queryable at {result.per_second:,.0f}/s"
            yield Figure(f"{at}, p50", result.p50_ms / 1_000, "s")
            yield _below(f"{at}, p99", result.p99_ms / 1_000, 1, "s")
            yield Figure(f"{at}, longest", result.max_ms / 1_000, "s")
            for stage in result.stages:
                yield Figure(f"  {stage.name}, p50", stage.p50_ms / 1_000, "s")
                yield Figure(f"  {stage.name}, p99", stage.p99_ms / 1_000, "s")

    def _alert(self) -> Iterator[Figure]:
        for result in self.results.get("alert", ()):
            yield Figure("event to alert on the topic, median", result.median, "s")
            yield _below("event to alert on the topic, longest", result.max, 5, "s")

    def _budgets(self) -> Iterator[Figure]:
        for result in self.results.get("budgets", ()):
            of = f"{result.users:,} users, {result.rules} rules"
            yield Figure(f"call to the alert of its budget, {of}, median", result.p50_s, "s")
            yield _below(f"call to the alert of its budget, {of}, p99", result.p99_s, 5, "s")

    def _record(self) -> Iterator[Figure]:
        for calls in (each for result in self.results.get("record", ()) for each in result):
            pace = f"{calls.per_second:,}/s" if calls.per_second else "in a loop"
            yield Figure(f"record(), Kafka {calls.kafka}, {pace}, p50", calls.p50_us, "us")
            yield _below(f"record(), Kafka {calls.kafka}, {pace}, p99", calls.p99_us, 20, "us")

    def _guard(self) -> Iterator[Figure]:
        for checks in (each for result in self.results.get("guard", ()) for each in result):
            yield Figure(f"check() of a guard, {checks.limits:,} users limited, p50", checks.p50_us, "us")
            yield _below(f"check() of a guard, {checks.limits:,} users limited, p99", checks.p99_us, 1_000, "us")

    def _memory(self) -> Iterator[Figure]:
        for result in self.results.get("memory", ()):
            yield Figure("memory per million ids, the table", result.table_mb_per_million, "MB")
            yield Figure("memory per million ids, the process", result.process_mb_per_million, "MB")

    def _series(self) -> Iterator[Figure]:
        for few, many in self.results.get("series", ()):
            share = many.events_per_second / few.events_per_second
            yield _at_least(f"{many.series:,} series in an hour to {few.series:,}, events per second", share, 0.5, "x")
            again = many.again_per_second / many.events_per_second
            yield Figure(f"the same {many.series:,} series again, in random order", again, "x")
            yield _at_most(f"memory above idle, {many.series:,} series", many.memory_above_idle_mb, 1_000, "MB")
            yield Figure("memory above idle, after each of them again", many.memory_after_again_mb, "MB")
            yield Figure(f"memory above idle, {few.series:,} series", few.memory_above_idle_mb, "MB")

    def _hostile(self) -> Iterator[Figure]:
        for costs in self.results.get("hostile", ()):
            for cost in costs:
                yield Figure(f"{cost.kind}, the whole job", cost.us, "us")
            legal = [cost.ratio for cost in costs if cost.kind.endswith(LEGAL)]
            yield _at_most("the dearest legal message to a plain one", max(legal), 20, "x")
            yield _at_most("the dearest message to a plain one", max(cost.ratio for cost in costs), 20, "x")

    def _queries(self) -> Iterator[Figure]:
        for asked in self.results.get("queries", ()):
            for each in asked:
                yield Figure(f"{each.name}, p50", each.p50_ms, "ms")
                yield _below(f"{each.name}, p95", each.p95_ms, each.goal_ms, "ms")

    def _serve(self) -> Iterator[Figure]:
        for result in self.results.get("serve", ()):
            yield Figure("the API from what is kept, at 100 requests/s, p50", result.p50_ms, "ms")
            yield _below("the API from what is kept, at 100 requests/s, p99", result.p99_ms, GOAL_P99_MS, "ms")
            yield _below("the overview's first paint, nothing kept", result.paint_first_ms, GOAL_PAINT_MS, "ms")
            yield Figure("the overview's first paint, again", result.paint_again_ms, "ms")
            for question, milliseconds in result.first.items():
                yield Figure(f"{question}, nothing kept", milliseconds, "ms")

    def _reprice(self) -> Iterator[Figure]:
        for result in self.results.get("reprice", ()):
            at = f"while {result.live_per_second:,.0f}/s are stored"
            yield _below(f"{result.calls:,} calls priced anew {at}", result.seconds, 30, "s")
            yield Figure("calls priced anew per second", result.per_second, "/s")


def _at_least(name: str, value: float, least: float, unit: str) -> Figure:
    return Figure(name, value, unit, f">= {least:,}", value >= least)


def _at_most(name: str, value: float, most: float, unit: str) -> Figure:
    return Figure(name, value, unit, f"<= {most:,}", value <= most)


def _below(name: str, value: float, most: float, unit: str) -> Figure:
    return Figure(name, value, unit, f"< {most:,}", value < most)


def _plain(result: Any) -> Any:
    return [asdict(each) for each in result] if isinstance(result, tuple) else asdict(result)


def show(report: Report, console: Console) -> None:
    facts = asdict(report.machine)
    console.print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()), highlight=False)
    for topic in report.results.get("topics", ()):
        console.print(
            f"topic {topic.topic}: {topic.events:,} records, {topic.distinct:,} different events, {topic.bad:,} bad "
            f"ones, {topic.bytes_mean:.0f} bytes of JSON each, 12 partitions, lz4",
            highlight=False,
        )
    if any(report.rates(name) for name in DONE):
        console.print(_contest_table(report))
    console.print(_figures_table(report))
    for name, reason in report.failures.items():
        console.print(f"{name} could not be measured: {reason}", style="red", markup=False)
    console.print(f"{report.sizes.form} form, {report.seconds:.0f} s", highlight=False)


def _contest_table(report: Report) -> Table:
    table = Table("events per second", *(f"round {n + 1}" for n in range(report.sizes.rounds)), "median", "best")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, label in DONE.items():
        if rates := report.rates(name):
            padded = [*(f"{rate:,.0f}" for rate in rates), *[""] * (report.sizes.rounds - len(rates))]
            table.add_row(label, *padded, f"{statistics.median(rates):,.0f}", f"{max(rates):,.0f}")
    return table


def _figures_table(report: Report) -> Table:
    table = Table("figure", "measured", "goal", "")
    table.columns[1].justify = "right"
    for figure in report.figures():
        digits = 0 if figure.value >= 1_000 or figure.unit in ("", "MB") else 2 if figure.unit == "s" else 1
        verdict = "" if figure.met is None else "met" if figure.met else "MISSED"
        table.add_row(figure.name, f"{figure.value:,.{digits}f} {figure.unit}".rstrip(), figure.goal, verdict)
    return table
