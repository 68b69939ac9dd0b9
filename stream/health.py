"""Liveness, readiness and metrics of a worker, over HTTP on loopback unless set otherwise.

Alive is not enough: a worker can answer pings and consume nothing. Ready means that it holds partitions, or rightly
none, and that what waits in them is getting stored. An outage of ClickHouse makes a worker not ready, but not dead:
a restart would not help.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import faust
import structlog
from aiohttp import web
from faust.types import TP
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream.delivery import Chunk
from stream.settings import Settings
from stream.telemetry import Telemetry

DEAD_AFTER: Final = 10  # times stall_max: then a restart is worth the rebalance it costs

log = structlog.get_logger(__name__)


class Progress:
    """What the worker was last seen doing, on the monotonic clock."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self.partitions: frozenset[TP] | None = None
        self._positions: dict[TP, int] = {}

    def assigned(self, partitions: Iterable[TP]) -> None:
        self.partitions = frozenset(partitions)
        self.moved_at = time.monotonic()

    def revoked(self) -> None:
        self.partitions = None
        self._positions.clear()
        self.moved_at = time.monotonic()

    def fetched(self, chunks: Iterable[Chunk]) -> None:
        """What was fetched waits to be stored from its first offset on."""
        for chunk in chunks:
            self._positions.setdefault(chunk.tp, chunk.offset_first)

    def stored(self, chunks: Iterable[Chunk]) -> None:
        self._positions |= {chunk.tp: chunk.offset_last + 1 for chunk in chunks}
        self.moved_at = time.monotonic()

    def lag(self, consumer: Any) -> dict[int, int]:
        """Records between the last stored one and the end of each partition, where both are known."""
        ends = {tp: consumer.highwater(tp) for tp in self.partitions or ()}
        return {
            tp.partition: max(0, end - self._positions[tp])
            for tp, end in ends.items()
            if end is not None and tp in self._positions
        }


class Health:
    """Serves /healthz, /readyz and /metrics."""

    def __init__(self, settings: Settings, *, app: faust.App, progress: Progress, telemetry: Telemetry) -> None:
        self._settings = settings
        self._app = app
        self._progress = progress
        self._telemetry = telemetry
        self._runner: web.AppRunner | None = None
        self._behind_since: float | None = None
        self.port = settings.health_port

    async def start(self) -> None:
        pages = web.Application()
        pages.router.add_get("/healthz", self._healthz)
        pages.router.add_get("/readyz", self._readyz)
        pages.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(pages, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.health_bind, self._settings.health_port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        log.info("health", url=f"http://{self._settings.health_bind}:{self.port}/readyz")

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def faults(self) -> list[str]:
        """Why this worker is not ready; empty if it is."""
        if self._progress.partitions is None:
            return ["no partitions are assigned yet"]
        waiting, idle = sum(self._lag().values()), self._behind_seconds()
        if idle > self._stall_seconds():
            return [f"{waiting} records wait and nothing was stored for {idle:.0f} s"]
        return []

    def dead(self) -> bool:
        """Beyond waiting: no partitions or no progress for long, and no outage that explains it."""
        outage = self._telemetry.stalled._value.get() > 0
        unassigned = time.monotonic() - self._progress.moved_at if self._progress.partitions is None else 0.0
        return not outage and max(unassigned, self._behind_seconds()) > DEAD_AFTER * self._stall_seconds()

    def _stall_seconds(self) -> float:
        return self._settings.stall_max.total_seconds()

    def _behind_seconds(self) -> float:
        """For how long records have been waiting without any being stored. A quiet topic is not behind."""
        if not any(self._lag().values()):
            self._behind_since = None
            return 0.0
        self._behind_since = max(self._behind_since or time.monotonic(), self._progress.moved_at)
        return time.monotonic() - self._behind_since

    def _lag(self) -> dict[int, int]:
        lag = self._progress.lag(self._app.consumer) if self._app.started else {}
        for partition, records in lag.items():
            self._telemetry.lag.labels(partition).set(records)
        return lag

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"alive": not self.dead(), "faults": self.faults()}, status=503 if self.dead() else 200
        )

    async def _readyz(self, _: web.Request) -> web.Response:
        faults = self.faults()
        partitions = sorted(tp.partition for tp in self._progress.partitions or ())
        answer = {"ready": not faults, "faults": faults, "partitions": partitions, "lag": sum(self._lag().values())}
        return web.json_response(answer, status=503 if faults else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._lag()
        return web.Response(
            body=generate_latest(self._telemetry.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
