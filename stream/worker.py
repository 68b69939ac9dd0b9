"""Running one worker: start, wait, end cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from typing import Any, Final, NoReturn

import structlog
from aiokafka.errors import KafkaError
from faust.contrib.asgi import faust_app_running
from mode.utils.locks import Event

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.embedded import parts
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError
from stream.app import Worker
from stream.consume.faust_patches import crash_of
from stream.runtime.errors import ConfigurationError
from stream.runtime.memory import calm_the_collector
from stream.runtime.patience import REFUSALS, WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, WAITED_OUT, Outage
from stream.runtime.preconditions import Precondition, preconditions
from stream.runtime.process import EXIT_BUG, EXIT_OK, EXIT_REFUSED, EXIT_TEMPORARY, WHEN_REFUSED
from stream.runtime.settings import Settings
from stream.runtime.topics import TOPICS
from stream.runtime.warehouse import warehouse_address

log = structlog.get_logger(__name__)

SAY_SECONDS: Final = 4.5  # who starts a worker learns within 5 s what it waits for


async def run_worker(settings: Settings) -> int:
    """Consume until SIGTERM or SIGINT; returns the exit status. A second signal ends the process at once: that is safe,
    what was not acknowledged is read again."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    address = warehouse_address(settings)
    log.info(
        "starting",
        kafka=settings.kafka_bootstrap_servers,
        group=settings.consumer_group,
        topics=[settings.topic(spec.name) for spec in TOPICS],
        warehouse=address.url,
        database=address.database,
    )
    worker = Worker(settings)
    calm_the_collector()
    await worker.health.start()
    try:
        for precondition in preconditions(settings, address):
            await _wait_for(precondition, worker.patience.outage(precondition.name), stop)
        async with AsyncExitStack() as running:
            telling = asyncio.ensure_future(_tell_of_the_join(worker, settings))
            running.callback(telling.cancel)
            if address.embedded:
                watching = asyncio.ensure_future(_watch_parts(address))
                running.callback(watching.cancel)
            entering = asyncio.ensure_future(running.enter_async_context(faust_app_running(worker.app)))
            await _first_of(entering, stop)
            if not entering.done():
                _end_start(worker, settings)
            await entering
            crashed = await _first(stop, crash_of(worker.app))
            worker.patience.stop()
            _end_within(settings.stop_max)
            if crashed:
                log.error("Faust ended", reason=repr(worker.app.crash_reason), next="nothing unstored was acknowledged")
                return EXIT_BUG
    except WarehouseError as error:  # of another build, or of another retention: no waiting mends it
        log.error("refused for good", reason=str(error), next=WHEN_REFUSED)
        return EXIT_REFUSED
    except KafkaError as error:  # Faust waits for brokers by itself; whatever else it could not start with
        log.error("Kafka failed the start", reason=repr(error), next="nothing was taken; start it again")
        return EXIT_TEMPORARY
    finally:
        await worker.health.stop()
        await worker.close()
    log.info("stopped", next="all that was taken is stored and acknowledged")
    return EXIT_OK


async def _tell_of_the_join(worker: Worker, settings: Settings) -> None:
    """A group lets a member in once the others have stored what they hold, which takes as long as it takes."""
    await asyncio.sleep(SAY_SECONDS)
    if worker.progress.partitions is None:
        log.info(
            "waiting for the consumer group",
            kafka=settings.kafka_bootstrap_servers,
            group=settings.consumer_group,
            next="it hands out partitions once its other members have stored what they hold, or are gone",
        )


async def _watch_parts(address: ClickHouseAddress) -> None:
    """Where the engine is in this process: if a merge has broken a part, end. The next start brings back what was
    merged, for as long as it is kept (engine.xml)."""
    with closing(Reader(address)) as reader:
        watch: parts.Watch | None = None
        while True:
            try:
                if watch is None:
                    watch = await asyncio.to_thread(parts.Watch, lambda sql: reader.frame(sql).rows())
                elif broken := await asyncio.to_thread(watch.broken):
                    _end_for(broken)
            except (WarehouseError, OSError) as error:
                log.warning("parts were not looked at", reason=str(error), next=f"again in {parts.LOOK_SECONDS:.0f} s")
            await asyncio.sleep(parts.LOOK_SECONDS)


def _end_for(broken: list[parts.PartOnDisk]) -> NoReturn:
    log.error(
        "a merge broke a part",
        parts=[str(part) for part in broken],
        next="the process ends, since the engine must start anew; start it again: what was merged comes back",
    )
    sys.stderr.flush()
    os._exit(EXIT_TEMPORARY)


async def _wait_for(precondition: Precondition, outage: Outage, stop: asyncio.Event) -> None:
    """Return when it holds. A signal meanwhile ends the process: nothing was taken."""
    wait = WAIT_SECONDS_FIRST
    while True:
        checking = asyncio.ensure_future(asyncio.to_thread(precondition.check))
        await _first_of(checking, stop, seconds=SAY_SECONDS)
        if not checking.done() and not stop.is_set():
            outage.because(TimeoutError(f"no answer yet from {precondition.where}"))
            await _first_of(checking, stop)
        if stop.is_set():
            _end_at_once(precondition.name)
        try:
            await checking
        except (*WAITED_OUT, ConfigurationError) as error:
            outage.because(error, refused=isinstance(error, REFUSALS))
        else:
            outage.over()
            return
        await _first_of(asyncio.ensure_future(asyncio.sleep(wait)), stop)
        wait = min(wait * 2, WAIT_SECONDS_MAX)


async def _first_of(work: asyncio.Future[Any], stop: asyncio.Event, *, seconds: float | None = None) -> None:
    """Return when the work is done, or somebody wants the process to end, or the seconds are over."""
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((work, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def _end_start(worker: Worker, settings: Settings) -> None:
    """Somebody wants the process to end while it joins the group. Partitions may be held before Faust has started all
    of its services: then records may have been taken, and the start is waited for, to be ended like any other run."""
    if worker.progress.partitions is None:
        _end_at_once("joining the consumer group")
    _end_within(settings.stop_max)


def _end_at_once(doing: str) -> NoReturn:
    """A question to a broker that does not answer cannot be broken off, and Python would wait for its thread."""
    log.warning("stopped while starting", doing=doing, next="nothing was taken; start it again")
    sys.stderr.flush()
    os._exit(EXIT_OK)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


def _end_within(limit: timedelta) -> None:
    """A stop waits for the flushes under way and for the group; should that hang, the process ends all the same, as it
    would by the orchestrator's SIGKILL a little later. Both are safe: what was not acknowledged is read again."""

    def end() -> None:
        log.warning("stopping took too long", limit=str(limit), next="what was not stored stays in Kafka")
        os._exit(EXIT_TEMPORARY)

    timer = threading.Timer(limit.total_seconds(), end)  # a thread: the loop itself may be what hangs
    timer.daemon = True
    timer.start()


async def _first(stop: asyncio.Event, crashed: Event) -> bool:
    """Whether the crash came first."""
    waits = [asyncio.ensure_future(event.wait()) for event in (stop, crashed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return crashed.is_set()
