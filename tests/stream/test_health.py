"""Ready, alive and behind: what the pages say of a worker, at moments that the test sets."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from faust.types import TP

from stream import health as health_module
from stream.delivery import Chunk
from stream.health import DEAD_AFTER, Health, Progress
from stream.settings import Settings
from stream.telemetry import Telemetry
from tests.support.records import log_of

STALL = 60.0
HERE, THERE = TP("usage.events", 0), TP("usage.events", 1)


class Site:
    """A worker's health, with a clock and ends of partitions that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.ends = 1_000.0, {HERE: 0, THERE: 0}
        monkeypatch.setattr(health_module.time, "monotonic", lambda: self.now)
        self.progress, self.telemetry = Progress(), Telemetry()
        self.health = Health(
            Settings(health_port=0, stall_max=timedelta(seconds=STALL)),
            app=SimpleNamespace(started=True, consumer=SimpleNamespace(highwater=self.ends.get)),  # type: ignore[arg-type]  # the edge
            progress=self.progress,
            telemetry=self.telemetry,
        )

    def chunk(self, first: int, rows: int, tp: TP = HERE) -> Chunk:
        return Chunk(tp, log_of([b"x"] * rows, partition=tp.partition, first=first))  # type: ignore[arg-type]  # as read

    def behind(self) -> None:
        """Ten records were fetched and wait."""
        self.progress.assigned([HERE, THERE])
        self.ends[HERE] = 10
        self.progress.fetched([self.chunk(0, 5)])
        self.health.faults()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_before_partitions_are_assigned_a_worker_is_not_ready(site: Site) -> None:
    assert site.health.faults() == ["no partitions are assigned yet"]


def test_a_worker_that_rightly_holds_no_partition_is_ready(site: Site) -> None:
    site.progress.assigned([])
    assert site.health.faults() == []


def test_a_quiet_topic_is_not_behind_however_long(site: Site) -> None:
    site.progress.assigned([HERE])
    site.now += 1_000_000
    assert (site.health.faults(), site.health.dead()) == ([], False)


def test_records_that_wait_make_it_unready_after_the_stall_and_not_before(site: Site) -> None:
    site.behind()
    site.now += STALL
    assert site.health.faults() == []
    site.now += 1
    assert site.health.faults() == ["10 records wait and nothing was stored for 61 s"]


def test_each_flush_that_is_stored_starts_the_clock_anew(site: Site) -> None:
    site.behind()
    site.now += STALL
    site.progress.stored([site.chunk(0, 5)])
    site.now += STALL
    assert site.health.faults() == []
    assert site.progress.lag(site.health._app.consumer) == {0: 5}


def test_records_that_come_after_a_quiet_hour_start_it_too(site: Site) -> None:
    site.progress.assigned([HERE])
    site.progress.stored([site.chunk(0, 5)])
    site.ends[HERE] = 5
    site.now += 3_600
    assert site.health.faults() == []
    site.ends[HERE] = 6
    assert site.health.faults() == []
    site.now += STALL + 1
    assert len(site.health.faults()) == 1


def test_it_is_dead_only_after_ten_stalls_and_never_in_an_outage(site: Site) -> None:
    site.behind()
    site.now += DEAD_AFTER * STALL
    assert not site.health.dead()
    site.now += 1
    assert site.health.dead()
    site.telemetry.stalled.set(1)
    assert not site.health.dead()


def test_without_partitions_for_ten_stalls_it_is_dead(site: Site) -> None:
    site.progress.assigned([HERE])
    site.progress.revoked()
    site.now += DEAD_AFTER * STALL
    assert not site.health.dead()
    site.now += 1
    assert site.health.dead()


def test_lag_is_told_by_partition_and_only_where_it_is_known(site: Site) -> None:
    site.progress.assigned([HERE, THERE])
    site.ends |= {HERE: 10, THERE: 7}
    site.progress.stored([site.chunk(0, 4)])
    assert site.progress.lag(site.health._app.consumer) == {0: 6}
    site.progress.fetched([site.chunk(2, 3, THERE)])
    assert site.progress.lag(site.health._app.consumer) == {0: 6, 1: 5}
    site.progress.revoked()
    assert site.progress.lag(site.health._app.consumer) == {}


async def test_the_pages_answer_on_loopback_with_the_status_that_an_orchestrator_reads(site: Site) -> None:
    await site.health.start()
    try:
        assert await page(site, "/readyz") == (
            503,
            {"ready": False, "faults": [UNASSIGNED], "partitions": [], "lag": 0},
        )
        site.behind()
        assert await page(site, "/readyz") == (200, {"ready": True, "faults": [], "partitions": [0, 1], "lag": 10})
        site.now += DEAD_AFTER * STALL + 1
        status, told = await page(site, "/healthz")
        assert (status, told["alive"]) == (503, False)
    finally:
        await site.health.stop()


UNASSIGNED = "no partitions are assigned yet"


async def page(site: Site, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{site.health.port}{path}") as answer:
        return answer.status, json.loads(await answer.text())
