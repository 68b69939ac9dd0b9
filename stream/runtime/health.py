"""Liveness, readiness and metrics of a worker, over HTTP on loopback unless set otherwise.

Alive is not enough: a worker can answer pings and consume nothing. Ready means that it holds partitions, or rightly
none, and that what waits in them is getting stored. An outage of ClickHouse makes a worker not ready, but not dead:
a restart would not help. A right that is missing makes it not ready at once: a person is needed.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Mapping
from typing import Final, Protocol

import structlog
from aiohttp import web
from faust.types import TP
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream.runtime.errors import ConfigurationError
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry

DEAD_AFTER: Final = 10  # times stall_max: then a restart is worth the rebalance it costs

log = structlog.get_logger(__name__)


class Progress(Protocol):
    """What is needed of ``stream.consume.progress.Progress``. Partitions are those of usage.events."""

    @property
    def partitions(self) -> Collection[TP] | None:
        """Those held; None while none are assigned."""

    @property
    def moved_at(self) -> float:
        """When a batch was last stored, or partitions came or went, on the monotonic clock."""

    @property
    def taking_over(self) -> bool:
        """Whether what is stored is being read back: that takes as long as it takes."""

    def lag(self) -> Mapping[int, int | None]: ...

    def withheld(self) -> Mapping[int, int]: ...


class Health:
    """Serves /healthz, /readyz and /metrics."""

    def __init__(self, settings: Settings, *, patience: Patience, progress: Progress, telemetry: Telemetry) -> None:
        self._settings = settings
        self._patience = patience
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
        await self._listen(self._runner)
        self.port = self._runner.addresses[0][1]
        log.info("health", url=f"http://{self._settings.health_bind}:{self.port}/readyz")

    async def _listen(self, runner: web.AppRunner) -> None:
        """On the port that is set; where nobody has set one and the usual one is taken, as by another worker of this
        host, on a free one."""
        bind, port = self._settings.health_bind, self._settings.health_port
        try:
            await web.TCPSite(runner, bind, port).start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or "health_port" in self._settings.model_fields_set:
                raise ConfigurationError(
                    f"health and metrics cannot be served at {bind}:{port} (COSTREAM_HEALTH_BIND, "
                    f"COSTREAM_HEALTH_PORT): {os.strerror(error.errno or 0)}; nothing was started. "
                    "Set another port, or 0 for a free one"
                ) from error
            log.info("the usual port of health and metrics is taken", port=port, next="a free one is used")
            await web.TCPSite(runner, bind, 0).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def faults(self) -> list[str]:
        """Why this worker is not ready; empty if it is."""
        refusals = self._patience.refusals
        if self._progress.partitions is None:
            return ["no partitions are assigned yet", *refusals]
        waiting, idle = self._waiting(), self._behind_seconds()
        if idle > self._stall_seconds():
            return [
                f"{'unknown' if waiting is None else waiting} records wait and nothing was stored for {idle:.0f} s",
                *refusals,
            ]
        return refusals

    def dead(self) -> bool:
        """Beyond waiting: no partitions or no progress for long, and neither an outage nor a take-over explains it."""
        if self._patience.waiting or self._progress.taking_over:
            return False
        unassigned = time.monotonic() - self._progress.moved_at if self._progress.partitions is None else 0.0
        return max(unassigned, self._behind_seconds()) > DEAD_AFTER * self._stall_seconds()

    def _stall_seconds(self) -> float:
        return self._settings.stall_max.total_seconds()

    def _behind_seconds(self) -> float:
        """For how long records have been waiting without any being stored. A quiet topic is not behind."""
        if self._waiting() == 0:
            self._behind_since = None
            return 0.0
        self._behind_since = max(self._behind_since or time.monotonic(), self._progress.moved_at)
        return time.monotonic() - self._behind_since

    def _waiting(self) -> int | None:
        """The records that wait, at most; None while that is not known of a partition."""
        lags = self._progress.lag().values()
        return None if None in lags else sum(records or 0 for records in lags)

    def _measure(self) -> None:
        """Gauges of the partitions held, and of no other: whoever holds those tells of them."""
        self._telemetry.lag.clear()
        self._telemetry.withheld.clear()
        for partition, records in self._progress.lag().items():
            if records is not None:
                self._telemetry.lag.labels(partition).set(records)
        for partition, offsets in self._progress.withheld().items():
            self._telemetry.withheld.labels(partition).set(offsets)
        self._telemetry.partitions.set(len(self._progress.partitions or ()))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"alive": not self.dead(), "faults": self.faults()}, status=503 if self.dead() else 200
        )

    async def _readyz(self, _: web.Request) -> web.Response:
        faults = self.faults()
        partitions = sorted(tp.partition for tp in self._progress.partitions or ())
        answer = {"ready": not faults, "faults": faults, "partitions": partitions, "lag": self._waiting()}
        return web.json_response(answer, status=503 if faults else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._measure()
        body = generate_latest(self._telemetry.registry) + self._telemetry.usage_text().encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
