"""The stream, from top to bottom: what happens to a usage event between Kafka and the warehouse.

    usage.events ─▶ ingest ─▶ ClickHouse ─▶ usage.rollups ─▶ watch ─▶ usage.alerts
                      └─▶ usage.deadletter

Kafka remembers what is not done yet (offsets), ClickHouse what is (rows); the worker itself may be killed at any line.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Any, Final, NoReturn, TypeVar

import faust
import structlog
from faust.types import TP

from costream.alerts import Alert
from costream.topics import ALERTS, EVENTS, ROLLUPS
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseError
from stream.audit import AuditReport, audit, kafka_facts
from stream.audit.schedule import REACH, Auditor
from stream.consume.aiokafka_patches import read_what_brokers_accept
from stream.consume.batches import Batch, batches
from stream.consume.delivery import (
    ChunkScheduler,
    ChunkSchema,
    ChunkTransport,
    StatelessApp,
    chunk_events,
    require_compiled_streams,
)
from stream.consume.fetching import Consumption, LostPlace
from stream.consume.progress import Progress
from stream.decode.frame import AgeLimits, Decoded
from stream.ingest import Ingest
from stream.pricing import PriceBook
from stream.runtime import topics
from stream.runtime.errors import StreamError
from stream.runtime.health import Health
from stream.runtime.kafka import faust_credentials, kafka_config
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.runtime.telemetry import Telemetry
from stream.store import flood
from stream.store.flush import Flush
from stream.store.order import Store
from stream.store.outbox import Outbox
from stream.store.vanished import VanishedRecords
from stream.watch import Watcher
from stream.watch.alert_topic import publish_alerts, published_alerts
from stream.watch.keeper import Keeper, pipeline_rules
from stream.watch.noticed import noticed
from stream.watch.pipeline import AuditRule
from stream.watch.turn import Turn

T = TypeVar("T")

EXIT_REFUSED: Final = 78  # EX_CONFIG: Kafka or the warehouse says no, and goes on saying it until a person acts
WHEN_REFUSED: Final = "the process ends; nothing was acknowledged: mend it and start again, all replays"
EXIT_BUG: Final = 70  # EX_SOFTWARE: an error nobody expected; the offsets replay after the restart
WATCH_TICK_SECONDS: Final = 0.25  # how often the watch asks itself whether it is due
AUDIT_TICK_SECONDS: Final = 1.0
KEEP_TICK_SECONDS: Final = 1.0
LOST_PLACES_TICK_SECONDS: Final = 1.0
# A partition's share of a fetch, compressed; bounds what is fetched ahead. A worker that lags behind should get much of
# few partitions at a time: each partition has rollup rows of its own, so a batch of all touches several times as many.
PARTITION_FETCH_BYTES_MAX: Final = 4_194_304
METADATA_AGE_MS_MAX: Final = 10_000  # how soon added partitions are noticed; until then nobody reads them
FLOOD_TOLD_SECONDS: Final = 60.0
TRIM_SECONDS: Final = 600.0  # how often memory is brought back within its bounds

log = structlog.get_logger(__name__)


class Worker:
    """One worker: a Faust application and the parts it moves bytes between. Build it inside the running loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        end_process: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        require_compiled_streams()
        read_what_brokers_accept()
        self._settings = settings
        self._clock = clock
        self._end_process = end_process
        self.telemetry = Telemetry()
        self.patience = Patience(self.telemetry.stalled)
        self._consumption = Consumption(self.patience, settings.kafka_bootstrap_servers, settings.kafka_sasl_username)
        self.progress = Progress(self._consumption.positions)
        address = warehouse_address(settings)
        self._reader, self._writer = Reader(address), Writer(address)
        # Two, since a flush waits for all that a producer has: the stages must not wait for one another.
        self._outbox, self._alert_outbox = (Outbox(kafka_config(settings)) for _ in range(2))
        self._ingest = Ingest(
            reader=self._reader,
            book=PriceBook.bundled(),
            limits=AgeLimits(future_max=settings.event_future_max, past_max=settings.retention),
            ids_max=settings.dedup_ids_max,
            clock=clock,
        )
        self._store = Store(writer=self._writer, outbox=self._outbox, settings=settings)
        self._watcher = Watcher(
            reader=self._reader, writer=self._writer, publish=self._publish_alerts, settings=settings, clock=clock
        )
        self._auditor = Auditor(
            prove=self._prove,
            telemetry=self.telemetry,
            interval=settings.audit_interval,
            clock=clock,
            suspect_since=self._suspect_since,
        )
        self._stalls = Stalls(self.patience, clock=clock)
        self._keeper = Keeper(
            pipeline_rules(settings, reader=self._reader, stalls=self._stalls, report=lambda: self._auditor.report),
            writer=self._writer,
            publish=self._publish_pipeline_alerts,
            clock=clock,
        )
        self._vanished = VanishedRecords(reader=self._reader, writer=self._writer, settings=settings, clock=clock)
        self._noting = asyncio.Lock()
        self._source = ""
        self._loaded: frozenset[int] = frozenset()
        self._turn = Turn()
        self._judged_in = 0  # the turn that the watch has restored itself for
        self._kept_in = 0  # and the keeper
        self._trimmed = time.monotonic()
        self._flood_told = -FLOOD_TOLD_SECONDS
        self._strangers_told: set[str] = set()
        # One thread a stage: while one batch is stored the next is worked out and the one after it is decoded; no stage
        # runs twice at a time.
        self._decoding, self._working, self._storing, self._judging, self._auditing, self._keeping = (
            ThreadPoolExecutor(1, name) for name in ("decode", "work", "store", "watch", "audit", "keep")
        )
        self._decoded: asyncio.Queue[tuple[Batch, Decoded]] = asyncio.Queue(maxsize=1)
        self._flushes: asyncio.Queue[tuple[Batch, Flush]] = asyncio.Queue(maxsize=1)
        self.app = self._faust_app()
        self.health = Health(settings, patience=self.patience, progress=self.progress, telemetry=self.telemetry)

    # --- usage.events -> ClickHouse, usage.rollups, usage.deadletter ---

    async def ingest(self, stream: faust.Stream[Any]) -> None:
        """Batches in, decoded batches out. A queue between two stages holds one: at most six batches are in memory."""
        settings = self._settings
        async for batch in batches(
            chunk_events(stream), rows_max=settings.batch_rows_max, wait_max=settings.batch_wait_max
        ):
            await self._note_lost_places()
            await self._take_over_partitions(batch)
            decoded = await self._in(self._decoding, partial(self._decode, batch))
            await self._decoded.put((batch, decoded))

    def _decode(self, batch: Batch) -> Decoded:
        return self._ingest.decode(batch.records)

    async def work(self) -> None:
        """Decoded batches in, flushes out."""
        while True:
            batch, decoded = await self._decoded.get()
            flush = await self._in(self._working, partial(self._process, decoded))
            await self._flushes.put((batch, flush))
            self._decoded.task_done()

    def _process(self, decoded: Decoded) -> Flush:
        return self._stalls.insist(lambda: self._ingest.process(decoded), doing="looking up what is stored")

    async def store(self) -> None:
        """Store, then acknowledge, in the order of delivery. What cannot be stored now is tried until it can."""
        while True:
            batch, flush = await self._flushes.get()
            with self.telemetry.flush_seconds.time():
                await self._in(self._storing, partial(self._save, flush))
            batch.ack()
            self._ingest.settle(flush)
            self._flushes.task_done()
            self._count(batch, flush)

    def _save(self, flush: Flush) -> None:
        self._stalls.insist(lambda: self._store.save(flush, source=self._source), doing="storing a batch")

    async def _take_over_partitions(self, batch: Batch) -> None:
        """Before the first batch of a partition: read back what is stored of it. Never while a flush is on its way, or
        what it stores would not be seen."""
        if {chunk.tp.partition for chunk in batch.chunks} <= self._loaded:
            await self._trim()
            return
        await self._all_stored()
        held = [tp.partition for tp in self.app.consumer.assignment() if tp.topic == self._settings.topic(EVENTS)]
        await self._in(self._working, partial(self._read_back, held))
        self._loaded = frozenset(held)

    def _read_back(self, partitions: list[int]) -> None:
        with self.progress.take_over():
            self._stalls.insist(lambda: self._assign(partitions), doing="reading back the state of partitions")

    def _assign(self, partitions: list[int]) -> None:
        started = time.monotonic()
        topic = self._settings.topic(EVENTS)
        self._source = topics.source_of(self._settings, topic)
        self._ingest.assign(
            partitions,
            partition_count=topics.partition_count(self._settings, topic),
            source=self._source,
            since=self._clock() - self._settings.dedup_window,
        )
        seconds = round(time.monotonic() - started, 2)
        log.info("partitions taken over", partitions=sorted(partitions), ids=len(self._ingest.seen), seconds=seconds)

    async def note_lost_places(self) -> None:
        """Also where nothing comes after what vanished, as on a topic that is quiet since."""
        while True:
            await asyncio.sleep(LOST_PLACES_TICK_SECONDS)
            await self._note_lost_places()

    async def _note_lost_places(self) -> None:
        """Records that vanished stand in the warehouse before any record beyond them is acknowledged."""
        places = self._consumption.lost_places
        async with self._noting:
            while places:
                await self._in(self._storing, partial(self._note_lost_place, places[0]))
                places.popleft()

    def _note_lost_place(self, place: LostPlace) -> None:
        vanished = self._stalls.insist(lambda: self._vanished.note(place), doing="noting where reading goes on")
        self.telemetry.vanished.inc(vanished)

    async def _trim(self) -> None:
        if time.monotonic() - self._trimmed < TRIM_SECONDS:
            return
        await self._all_stored()
        since = self._clock() - self._settings.dedup_window
        await self._in(self._working, partial(self._ingest.trim, since))
        self._trimmed = time.monotonic()

    async def _all_stored(self) -> None:
        await self._decoded.join()
        await self._flushes.join()

    def _count(self, batch: Batch, flush: Flush) -> None:
        self.progress.stored(batch.chunks)
        outcomes = {
            "stored": flush.stored,
            "duplicates": flush.duplicates,
            "dead_lettered": len(flush.refusals),
            "forwarded": len(flush.forwards),
        }
        for outcome, records in outcomes.items():
            self.telemetry.records.labels(outcome).inc(records)
        if flush.letters_cut:
            self.telemetry.dead_letters_cut.inc(flush.letters_cut)
            self._tell_of_flood(flush)
        if flush.replayed:
            self.telemetry.replayed.inc(flush.replayed)
            log.info("delivered again", records=flush.replayed, next="applied only where they were not yet")
        for (provider, model), calls in flush.unpriced.items():
            self.telemetry.unpriced_calls(provider, model, calls)
        self._measure_memory()

    def _tell_of_flood(self, flush: Flush) -> None:
        """Once a minute: there may be thousands a second."""
        if time.monotonic() - self._flood_told < FLOOD_TOLD_SECONDS:
            return
        self._flood_told = time.monotonic()
        reason = next(refusal.reason for refusal in flush.refusals if refusal.reason.endswith(flood.NOTE))
        log.warning(
            "a flood of dead letters",
            without_their_bytes=flush.letters_cut,
            one_of_them=reason,
            next="all are counted; mend the sender, `costream deadletter list` has the first of each minute whole",
        )

    def _measure_memory(self) -> None:
        seen = self._ingest.seen
        self.telemetry.dedup_ids.set(len(seen))
        self.telemetry.dedup_memory_bytes.set(seen.memory_bytes)
        for rollup in self._ingest.rollups:
            self.telemetry.rollup_memory(
                rollup.spec.table, rows=len(rollup), evicted=rollup.evicted, read_back=rollup.read_back
            )
        self.telemetry.dedup_window_seconds.set((self._clock() - seen.known_since).total_seconds())

    # --- usage.rollups -> usage.alerts ---

    async def watch(self, stream: faust.Stream[Any]) -> None:
        """Note which hours changed. Acknowledged at once: whoever watches next judges all hours in reach anew."""
        async for batch in batches(
            chunk_events(stream), rows_max=self._settings.batch_rows_max, wait_max=self._settings.watch_interval
        ):
            self._notice(batch)
            batch.ack()

    def _notice(self, batch: Batch) -> None:
        found = noticed(record.value for record in batch.records)
        self._watcher.notice(found.rows)
        if found.strange:
            self._tell_of_strangers(ROLLUPS, found.strange, found.reason, metric="costream_strange_rollups")
        self.telemetry.strange_rollups.inc(found.strange)

    def _tell_of_strangers(self, name: str, records: int, reason: str, *, metric: str) -> None:
        """Once a topic: there may be thousands."""
        if name in self._strangers_told:
            return
        self._strangers_told.add(name)
        told = {"topic": self._settings.topic(name), "records": records, "reason": reason}
        log.warning("records of somebody else", **told, next=f"passed over, said once, and counted in {metric}")

    async def judge(self) -> None:
        """Evaluate when due, while this worker holds usage.rollups. Each turn begins with what the last one left."""
        while True:
            await asyncio.sleep(WATCH_TICK_SECONDS)
            if self._turn.number is None:
                continue
            if self._turn.number != self._judged_in:
                self._judged_in = self._turn.number
                await self._in(self._judging, self._restore_watch)
            for alert in await self._in(self._judging, self._watcher.tick):
                self.telemetry.alerts.labels(alert.rule, alert.status).inc()

    def _restore_watch(self) -> None:
        self.patience.insist(lambda: self._watcher.restore(self._published_alerts()), doing="reading back the alerts")

    def _published_alerts(self) -> list[Alert]:
        found = published_alerts(self._settings)
        self.telemetry.strange_alerts.set(found.strange)
        if found.strange:
            self._tell_of_strangers(ALERTS, found.strange, found.reason, metric="costream_strange_alerts")
        return found.alerts

    def _publish_alerts(self, alerts: Any) -> None:
        with self._turn.publishing(self._judged_in):
            publish_alerts(self._alert_outbox, self._settings.topic(ALERTS), alerts)

    # --- everything stored -> does it add up? ---

    async def audit(self) -> None:
        """Prove the totals when due, while this worker holds usage.rollups."""
        audited_in: int | None = None
        while True:
            await asyncio.sleep(AUDIT_TICK_SECONDS)
            if self._turn.number != audited_in:
                audited_in = self._turn.number
                if audited_in is None:
                    self._auditor.end()
                else:
                    self._auditor.begin()
            await self._in(self._auditing, self._auditor.tick)

    def _prove(self, since: datetime) -> AuditReport:
        turn = self._turn.number
        settings = self._settings
        return audit(
            self._reader,
            clock=self._clock,
            kafka=kafka_facts(settings),
            since=since,
            retention=settings.retention,
            cancelled=lambda: turn is None or self._turn.number != turn,
        )

    # --- the pipeline itself -> usage.alerts ---

    async def keep(self) -> None:
        """Tell what is wrong with the pipeline, while this worker holds usage.rollups; also in an outage of the
        warehouse, so it waits for nothing else here."""
        while True:
            await asyncio.sleep(KEEP_TICK_SECONDS)
            number = self._turn.number
            if number is None:
                continue
            if number != self._kept_in:
                self._kept_in = number
                await self._in(self._keeping, self._restore_keeper)
            for alert in await self._in(self._keeping, self._keeper.tick):
                self.telemetry.alerts.labels(alert.rule, alert.status).inc()

    def _restore_keeper(self) -> None:
        self.patience.insist(
            lambda: self._keeper.restore(published_alerts(self._settings).alerts),
            doing="reading back the alerts about the pipeline",
        )

    def _publish_pipeline_alerts(self, alerts: Any) -> None:
        """By the outbox of the watch: whoever publishes holds the turn, so the two do not meet."""
        with self._turn.publishing(self._kept_in):
            publish_alerts(self._alert_outbox, self._settings.topic(ALERTS), alerts)

    def _suspect_since(self) -> datetime | None:
        """From where on the audit last found something that is not known to be mended."""
        alert = self._keeper.standing(AuditRule.name)
        return alert.window_start - REACH if alert else None

    # --- Faust ---

    def _faust_app(self) -> faust.App:
        settings = self._settings
        app = StatelessApp(
            settings.consumer_group,
            broker=[f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")],
            broker_credentials=faust_credentials(settings),
            ConsumerScheduler=ChunkScheduler,
            consumer_auto_offset_reset="none",  # fetching.py finds the place and tells; aiokafka jumps in silence
            consumer_metadata_max_age_ms=METADATA_AGE_MS_MAX,
            consumer_max_fetch_size=PARTITION_FETCH_BYTES_MAX,
            stream_buffer_maxsize=4,  # chunks; batches.py holds what is fetched ahead
            stream_wait_empty=True,  # a rebalance waits for the flushes under way
            broker_commit_interval=1.0,
            broker_commit_every=1_000,  # chunks
            broker_session_timeout=settings.session_timeout.total_seconds(),
            broker_heartbeat_interval=settings.session_timeout.total_seconds() / 5,
            topic_allow_declare=False,  # `costream topics create` makes them, with partitions and retention
            topic_disable_leader=True,
            table_standby_replicas=0,
            store="memory://",
            web_enabled=False,  # its default pages show data; ours are in health.py
        )
        app.consumption = self._consumption
        app.before_leaving = partial(asyncio.to_thread, self._turn.end)
        app.transport = ChunkTransport(app.conf.broker_consumer, app)
        events, rollups = (app.topic(settings.topic(name), schema=ChunkSchema()) for name in (EVENTS, ROLLUPS))
        app.agent(events, name="ingest")(self._guarded(self.ingest))
        app.agent(rollups, name="watch")(self._guarded(self.watch))
        app.task(self._guarded(self.work))
        app.task(self._guarded(self.store))
        app.task(self._guarded(self.note_lost_places))
        app.task(self._guarded(self.judge))
        app.task(self._guarded(self.audit))
        app.task(self._guarded(self.keep))
        # Faust types its signal handlers more narrowly than it calls them.
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)  # type: ignore[arg-type]
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)  # type: ignore[arg-type]
        return app

    async def _on_revoked(self, _app: Any, *_args: Any, **_: Any) -> None:
        """Faust has waited until all that was delivered is stored and acknowledged (stream_wait_empty)."""
        self._loaded = frozenset()
        self.progress.revoked()

    async def _on_assigned(self, _app: Any, *args: Any, **_: Any) -> None:
        assigned: set[TP] = args[0]
        held = [tp for tp in assigned if tp.topic == self._settings.topic(EVENTS)]
        if any(tp.topic == self._settings.topic(ROLLUPS) for tp in assigned):
            self._turn.begin()
        self.progress.assigned(held)

    def _guarded(self, run: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
        """An error that escaped would make Faust acknowledge what was not stored. So it ends the process instead."""

        @wraps(run)  # Faust looks at the signature to know what a task or agent takes
        async def guarded(*args: Any) -> None:
            try:
                await run(*args)
            except asyncio.CancelledError:
                raise
            except (WarehouseError, StreamError) as error:
                log.error("refused for good", task=run.__name__, reason=str(error), next=WHEN_REFUSED)
                self._end_process(EXIT_REFUSED)
            except BaseException:
                log.exception("bug", task=run.__name__, next="the process ends; nothing was acknowledged, all replays")
                self._end_process(EXIT_BUG)

        return guarded

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def warehouse_address(settings: Settings) -> ClickHouseAddress:
    return ClickHouseAddress(
        url=settings.clickhouse_url,
        database=settings.clickhouse_database,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
    )


def source_of(settings: Settings) -> str:
    """The name of the topic's incarnation: offsets mean something only together with it."""
    return topics.source_of(settings, settings.topic(EVENTS))
