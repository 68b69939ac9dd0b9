"""Chaos: real traffic through real processes while they are killed, and then a plain recount of every cell.

    python -m tests.chaos.run                  200,000 events, 24 SIGKILLs, 3 outages, 3 re-pricings killed: 8 minutes
    python -m tests.chaos.run --short          the form inside `make test`
    python -m tests.chaos.run --hour           1,000,000 events, 200 kills, 12 outages, 10 full disks: an hour, as root
    python -m tests.chaos.run --full-disks 5   and the warehouse's disk fills and empties five times (takes root)
    python -m tests.chaos.run --seed 7 --json  the same timetable and traffic again; one object at the end

Exit status 1 if anything is lost, counted twice or differs in any cell.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from costream.topics import ALERTS, DEADLETTER, EVENTS, ROLLUPS
from stream.audit import audit, kafka_facts
from tests.chaos.cluster import Cluster, WorkerProcess, end_with_cleanup
from tests.chaos.hostile import HostileProducer
from tests.chaos.people import People, compare_told
from tests.chaos.recount import own_prices, recount
from tests.chaos.storm import FULL, HOUR, SHORT, Act, Form, Strike, timetable
from tests.chaos.tail import Tail
from tests.chaos.topic_dump import dump
from tests.chaos.traffic import Publisher, now, plan
from tests.chaos.verdict import Verdict, compare, compare_alerts, compare_dead_letter_topic
from tests.support.small_disk import MIB, SmallDisk

TICK_S: Final = 0.05
TELL_S: Final = 5.0
READY_MAX_S: Final = 60.0
TOLD_MAX_S: Final = 240.0  # a channel that fails twice for each of some twenty messages waits 15 s for each
TOLD_LAST_S: Final = 3.0  # what was published a moment ago
SENT_IN_AN_OUTAGE: Final = 4  # alerts about the pipeline: a stall and a flood, opened and cleared
DISK_BYTES_MIN: Final = 192 * MIB  # the engine's own files, and rollups written anew with every flush
DISK_BYTES_PER_EVENT: Final = 400  # ten times what one takes once it is merged

FACTORS: Final = (Decimal("0.5"), Decimal("0.85"), Decimal("1.25"))  # of own prices, one revision after the other

Tell = Callable[[str], None]


def run(form: Form, *, seed: int, tell: Tell) -> Verdict:
    """One storm and its verdict. The folder with the workers' logs is kept if the verdict does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="costream-chaos-"))
    tell(f"chaos, {form.name} form, seed {seed}: {form.events} events in {form.seconds:.0f} s; logs in {folder}")
    started = time.monotonic()
    prefix = f"chaos-{secrets.token_hex(4)}."
    with (
        small_disk(form) as disk,
        People(random.Random(seed)) as people,
        Cluster(folder, partitions=form.partitions, prefix=prefix, disk=disk) as cluster,
    ):
        cluster.publish_rules(people.rules)
        events, log = cluster.settings.topic(EVENTS), folder / "log.jsonl"
        with Tail(cluster.broker.bootstrap_servers, events, partitions=form.partitions, path=log) as tail:
            storm = Storm(form, seed=seed, cluster=cluster, tail=tail, folder=folder, tell=tell)
            lag = storm.blow()
        verdict = judge(storm, seed=seed, lag=lag)
        log_of_alerts = dump(cluster.broker.bootstrap_servers, cluster.settings.topic(ALERTS))
        compare_told(verdict, people.heard, log_of_alerts, repeats_max=storm.repeats_max)
    verdict.figures["seconds"] = round(time.monotonic() - started)
    if verdict.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        tell(f"does not hold: what the workers said and what was published is in {folder}")
    return verdict


def small_disk(form: Form) -> AbstractContextManager[SmallDisk | None]:
    """A disk that can be filled, where the form fills one: room for every event as stored, in parts not yet merged."""
    return SmallDisk(DISK_BYTES_MIN + DISK_BYTES_PER_EVENT * form.events) if form.full_disks else nullcontext()


class Storm:
    """Traffic and strikes at their times, until all that was published is stored."""

    def __init__(self, form: Form, *, seed: int, cluster: Cluster, tail: Tail, folder: Path, tell: Tell) -> None:
        self.form = form
        self.cluster = cluster
        self.tail = tail
        self._tell = tell
        self._dice = random.Random(seed)
        self._strikes = timetable(self._dice, form)
        letters = plan(self._dice, start=now(), events=form.events, seconds=form.seconds)
        self.publisher = Publisher(
            letters,
            bootstrap_servers=cluster.broker.bootstrap_servers,
            topic=cluster.settings.topic(EVENTS),
            folder=folder,
        )
        self.hostile = HostileProducer(
            seed,
            bootstrap_servers=cluster.broker.bootstrap_servers,
            events=cluster.settings.topic(EVENTS),
            rollups=cluster.settings.topic(ROLLUPS),
            partitions=form.partitions,
        )
        self._turn = itertools.count()
        self._published = 0  # revisions of own prices
        self.factor = Decimal(1)
        self.span = now() - timedelta(days=5), now() + timedelta(hours=2)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._started = self._told = time.monotonic()

    def blow(self) -> int | None:
        """Returns the records that were still not committed at the end: 0, or the product got stuck."""
        for _ in range(self.form.workers):
            self.cluster.start_worker()
        self._await_workers()
        self._started = time.monotonic()
        for strike in self._strikes:
            self._at(strike.at_s, lambda strike=strike: self._strike(strike))  # type: ignore[misc]  # a default, no argument
        with self.hostile, ThreadPoolExecutor(1, "publisher") as thread:
            publishing = thread.submit(self.publisher.run)
            self._until(lambda: not self._due and publishing.done() and self.cluster.all_back(), max_s=None)
            publishing.result()
        return self._drain(publishing)

    def _await_workers(self) -> None:
        ready = {worker.name for worker in self.cluster.workers}
        self._until(lambda: ready <= {line["worker"] for line in self.cluster.log_lines("health")}, max_s=READY_MAX_S)

    def _drain(self, published: Future[None]) -> int | None:
        self._tell(f"the storm is over: {self.publisher.sent} sent; waiting until everything is stored")
        self._until(lambda: self.cluster.lag(self.tail) == 0, max_s=self.form.drain_max_s)
        lag = self.cluster.lag(self.tail)
        self._until(self.cluster.all_told, max_s=TOLD_MAX_S)
        self._until(lambda: False, max_s=TOLD_LAST_S)
        self.cluster.stop_workers()
        return lag

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_s, next(self._turn), action))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(time.monotonic() - self._started + seconds, action)

    def _until(self, done: Callable[[], bool], *, max_s: float | None) -> bool:
        """Do what is due, keep the workers' number, tell how far it is."""
        began = time.monotonic()
        while not done():
            if max_s is not None and time.monotonic() - began > max_s:
                return False
            while self._due and self._due[0][0] <= time.monotonic() - self._started:
                heapq.heappop(self._due)[2]()
            for _ in range(self.cluster.supervise()):
                self._later(1.0, self._start_worker)
            self._tell_progress()
            time.sleep(TICK_S)
        return True

    def _tell_progress(self) -> None:
        if time.monotonic() - self._told < TELL_S:
            return
        self._told = time.monotonic()
        counts, stored = self.cluster.counts, self.cluster.stored()
        self._tell(
            f"{self._told - self._started:4.0f} s  sent {self.publisher.sent}/{self.publisher.total}"
            f"  stored {'(warehouse away)' if stored is None else stored}  workers {len(self.cluster.staying)}"
            f"  kills {counts.kills}  outages {counts.outages}  broker restarts {counts.broker_restarts}"
        )

    # --- strikes ---

    def _strike(self, strike: Strike) -> None:
        cluster, counts = self.cluster, self.cluster.counts
        match strike.act:
            case Act.KILL:
                if (victim := self._any_worker()) is None:
                    self._later(0.5, lambda: self._strike(strike))
                    return
                cluster.kill(victim)
                counts.kills += 1
                self._later(strike.lasts_s, self._start_worker)
            case Act.LEAVE:
                self._one_leaves()
                self._later(strike.lasts_s, self._start_worker)
            case Act.JOIN:
                self._start_worker()
                counts.joins += 1
                self._later(strike.lasts_s, self._one_leaves)
            case Act.WAREHOUSE:
                cluster.take_warehouse_away(rudely=strike.rudely)
                counts.outages += 1
                self._later(strike.lasts_s, cluster.bring_warehouse_back)
            case Act.BROKER:
                cluster.take_broker_away(rudely=strike.rudely)
                counts.broker_restarts += 1
                self._later(strike.lasts_s, cluster.bring_broker_back)
            case Act.DISK:
                cluster.fill_disk()
                counts.full_disks += 1
                self._later(strike.lasts_s, cluster.make_room)
            case Act.REPRICE:
                self._next_prices()
                cluster.start_repricing(*self.span)
                self._later(strike.lasts_s, lambda: self._kill_repricing(strike))
            case Act.EXPIRE:
                expired = cluster.expire(self.tail)
                if expired is None:
                    self._later(1.0, lambda: self._strike(strike))
                    return
                counts.expired_records += expired

    def _next_prices(self) -> None:
        """Another price, so that every call of the model changes; not while the warehouse is away."""
        factor = FACTORS[self._published % len(FACTORS)]
        if self.cluster.publish_prices(own_prices(factor)):
            self._published, self.factor = self._published + 1, factor

    def _kill_repricing(self, strike: Strike) -> None:
        """One that had ended before, for the warehouse was away or since it was quick, is begun again, and killed a
        little sooner."""
        if not self.cluster.kill_repricing():
            sooner = replace(strike, lasts_s=strike.lasts_s * 0.7)
            self._later(1.0, lambda: self._strike(sooner))

    def reprice_to_the_end(self) -> int:
        """Returns the exit status of the run that nobody kills."""
        return self.cluster.finish_repricing(*self.span)

    @property
    def repeats_max(self) -> int:
        """One of each channel for each worker that was killed or left, and a few of each outage of the warehouse."""
        counts = self.cluster.counts
        return counts.kills + counts.leaves + SENT_IN_AN_OUTAGE * (counts.outages + counts.full_disks)

    def _any_worker(self) -> WorkerProcess | None:
        staying = self.cluster.staying
        return self._dice.choice(staying) if staying else None

    def _start_worker(self) -> None:
        assert len(self.cluster.staying) < self.form.partitions, "never more workers than partitions"
        self.cluster.start_worker()

    def _one_leaves(self) -> None:
        if (worker := self._any_worker()) is not None:
            self.cluster.ask_to_leave(worker)
            self.cluster.counts.leaves += 1


def judge(storm: Storm, *, seed: int, lag: int | None) -> Verdict:
    """Everything that was done and found, and what must be 0."""
    cluster, counts, verdict = storm.cluster, storm.cluster.counts, Verdict()
    bootstrap, settings = cluster.broker.bootstrap_servers, cluster.settings
    repriced = storm.reprice_to_the_end()
    published = recount(storm.publisher.path, factor=storm.factor)
    verdict.figures |= {
        "form": storm.form.name,
        "seed": seed,
        "sent": published.lines,
        "events": len(published.events),
        **{f"sent_{kind}": published.sent[kind] for kind in ("repeat", "conflict", "malformed", "aborted")},
        "kills": counts.kills,
        "joins": counts.joins,
        "leaves": counts.leaves,
        "outages": counts.outages,
        "broker_restarts": counts.broker_restarts,
        "full_disks": counts.full_disks,
        "repricings": counts.repricings,
        "repricings_killed": counts.repricings_killed,
        "merges_broken": sum("a merge broke a part" in line for line in cluster.endpoint.log),
        "hostile_batches_refused": storm.hostile.refused,
        "hostile_batches_unanswered": storm.hostile.unknown,
        "hostile_records_on_usage.rollups": storm.hostile.rollups_sent,
        "expired_after_reading": counts.expired_records,
        "rebalances": len(cluster.log_lines("partitions taken over")),
        "redelivered": sum(line["records"] for line in cluster.log_lines("delivered again")),
        "stalls": len(cluster.log_lines("stalled")),
        "ended_unasked": [f"{each.name}, status {each.status}: {each.last_words}" for each in cluster.ended],
    }
    hostile = storm.tail.hostile()
    verdict.fault("hostile_lost_by_kafka", (f"{place}" for place in storm.hostile.acknowledged - hostile.keys()))
    compare(verdict, published, cluster.reader, storm.tail.records(), hostile=hostile, partitions=cluster.partitions)
    compare_dead_letter_topic(verdict, published, dump(bootstrap, settings.topic(DEADLETTER)), hostile=hostile)
    compare_alerts(verdict, cluster.reader, dump(bootstrap, settings.topic(ALERTS)))
    _audit(verdict, cluster)
    verdict.fault("not_committed", [] if lag == 0 else [f"{lag} records of lag after {storm.form.drain_max_s} s"])
    verdict.fault("not_repriced", [] if repriced == 0 else [f"the last re-pricing ended with status {repriced}"])
    verdict.fault("hung", cluster.hung)
    verdict.fault("bugs", (f"{line['worker']}: {line.get('exception', '')}" for line in cluster.log_lines("bug")))
    return verdict


def _audit(verdict: Verdict, cluster: Cluster) -> None:
    """What the product says of itself; the recount above does not depend on it."""
    report = audit(cluster.reader, kafka=kafka_facts(cluster.settings), retention=cluster.settings.retention)
    verdict.figures["audit"] = "holds" if report.holds else "does not hold"
    failed = (check for check in report.checks if not check.holds)
    verdict.fault("audit", (f"{check.question} {check.differing} differ: {check.findings[:3]}" for check in failed))


def tell_on_stderr(line: str) -> None:
    """Progress goes beside the result, not into it."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def report(verdict: Verdict) -> str:
    """For people: first what was done, then what must be 0."""
    lines = [f"  {name:28} {value}" for name, value in verdict.figures.items()]
    lines += [f"{'  ' if not value else '! '}{name:28} {value}" for name, value in verdict.must_be_0.items()]
    lines += [f"    {example}" for example in verdict.examples]
    return "\n".join([*lines, "the recount agrees" if verdict.holds else "THE RECOUNT DOES NOT AGREE"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the form that runs inside `make test`")
    parser.add_argument("--hour", action="store_true", help="the form that takes an hour")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of traffic and timetable")
    parser.add_argument("--events", type=int, help="instead of the form's number")
    parser.add_argument("--full-disks", type=int, help="how often the warehouse's disk fills; takes root")
    parser.add_argument("--json", action="store_true", help="one object on standard output instead of lines")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, end_with_cleanup)
    form = SHORT if given.short else HOUR if given.hour else FULL
    if given.full_disks is not None:
        form = replace(form, full_disks=given.full_disks)
    if given.events:
        form = replace(form, events=given.events)
    verdict = run(form, seed=given.seed, tell=tell_on_stderr)
    sys.stdout.write((json.dumps(verdict.as_json()) if given.json else report(verdict)) + "\n")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
