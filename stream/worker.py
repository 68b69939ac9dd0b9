"""Running one worker: start, wait, end cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from aiokafka.errors import KafkaError
from faust.contrib.asgi import faust_app_running
from mode.utils.locks import Event

from stream.app import EXIT_BUG, Worker
from stream.memory import calm_the_collector
from stream.patience import EXIT_TEMPORARY
from stream.settings import Settings
from stream.store import EVENTS
from stream.topics import KafkaUnavailable, partition_count

log = structlog.get_logger(__name__)

EXIT_OK: Final = 0


async def run_worker(settings: Settings) -> int:
    """Consume until SIGTERM or SIGINT; returns the exit status. A second signal ends the process at once: that is safe,
    what was not acknowledged is read again."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    worker = Worker(settings)
    calm_the_collector()
    await worker.health.start()
    try:
        await _find_kafka(worker, settings, stop)
        async with faust_app_running(worker.app):
            crashed = await _first(stop, worker.app._crashed)
            worker.patience.stop()
            _end_within(settings.stop_max)
            if crashed:
                log.error("Faust ended", reason=repr(worker.app.crash_reason), next="nothing unstored was acknowledged")
                return EXIT_BUG
    except KafkaError as error:  # it went again during the start; later on Faust waits for the brokers by itself
        raise KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason=str(error)) from error
    finally:
        await worker.health.stop()
    log.info("stopped", next="all that was taken is stored and acknowledged")
    return EXIT_OK


async def _find_kafka(worker: Worker, settings: Settings, stop: asyncio.Event) -> None:
    """Wait for Kafka to answer, as later on for anything else. A signal meanwhile ends the process: nothing was taken.
    Raises ``TopicMissing`` if Kafka answers and has no usage.events."""
    ask = partial(partition_count, settings, settings.topic(EVENTS))
    asking = asyncio.ensure_future(asyncio.to_thread(worker.patience.insist, ask, doing="waiting for Kafka"))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        worker.patience.stop()
    await asking


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
