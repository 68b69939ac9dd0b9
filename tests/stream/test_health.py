"""Ready, alive and behind: what the pages say of a worker, at moments that the test sets."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from faust.types import TP

from stream.consume.delivery import Chunk
from stream.consume.positions import Positions, Reading
from stream.consume.progress import Progress
from stream.runtime import health as health_module
from stream.runtime.errors import ConfigurationError
from stream.runtime.health import DEAD_AFTER, Health
from stream.runtime.patience import Patience
from stream.runtime.settings import Settings
from stream.runtime.telemetry import Telemetry
from tests.support.records import log_of

STALL = 60.0
HERE, THERE = TP("usage.events", 0), TP("usage.events", 1)


class Site:
    """A worker's health, with a clock and ends of partitions that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(health_module.time, "monotonic", lambda: self.now)
        self.positions, self.telemetry = Positions(), Telemetry()
        self.progress = Progress(self.positions)
        self.patience = Patience(self.telemetry.stalled)
        self.health = Health(
            Settings(health_port=0, stall_max=timedelta(seconds=STALL)),
            patience=self.patience,
            progress=self.progress,
            telemetry=self.telemetry,
        )

    def fetched(self, first: int, rows: int, end: int, tp: TP = HERE) -> Chunk:
        """Records that a fetch brought, and the end that it told."""
        self.positions.read({tp: Reading(first + rows, end, handed=(first, first + rows - 1))})
        return Chunk(tp, log_of([b"x"] * rows, partition=tp.partition, first=first))  # type: ignore[arg-type]  # as read

    def nothing_fetched(self, position: int, end: int, tp: TP = HERE) -> None:
        self.positions.read({tp: Reading(position, end)})

    def behind(self) -> Chunk:
        """Ten records wait, five of which were fetched."""
        self.progress.assigned([HERE, THERE])
        self.nothing_fetched(0, 0, THERE)
        chunk = self.fetched(0, 5, 10)
        self.health.faults()
        return chunk


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
    site.nothing_fetched(7, 7)
    site.now += 1_000_000
    assert (site.health.faults(), site.health.dead()) == ([], False)


def test_records_that_wait_make_it_unready_after_the_stall_and_not_before(site: Site) -> None:
    site.behind()
    site.now += STALL
    assert site.health.faults() == []
    site.now += 1
    assert site.health.faults() == ["10 records wait and nothing was stored for 61 s"]


def test_a_partition_of_which_nothing_is_known_for_long_makes_it_unready(site: Site) -> None:
    site.progress.assigned([HERE])
    site.health.faults()
    site.now += STALL + 1
    assert site.health.faults() == ["unknown records wait and nothing was stored for 61 s"]


def test_each_flush_that_is_stored_starts_the_clock_anew(site: Site) -> None:
    chunk = site.behind()
    site.now += STALL
    site.progress.stored([chunk])
    site.now += STALL
    assert site.health.faults() == []
    assert site.progress.lag() == {0: 5, 1: 0}


def test_records_that_come_after_a_quiet_hour_start_it_too(site: Site) -> None:
    site.progress.assigned([HERE])
    site.progress.stored([site.fetched(0, 5, 5)])
    site.now += 3_600
    assert site.health.faults() == []
    site.nothing_fetched(5, 6)
    assert site.health.faults() == []
    site.now += STALL + 1
    assert len(site.health.faults()) == 1


def test_it_is_dead_only_after_ten_stalls_and_never_in_an_outage(site: Site) -> None:
    site.behind()
    site.now += DEAD_AFTER * STALL
    assert not site.health.dead()
    site.now += 1
    assert site.health.dead()
    outage = site.patience.outage("storing a batch")
    outage.because(ValueError("away"))
    assert not site.health.dead()
    outage.over()
    assert site.health.dead()


def test_reading_back_what_is_stored_takes_as_long_as_it_takes(site: Site) -> None:
    site.behind()
    with site.progress.take_over():
        site.now += 100 * DEAD_AFTER * STALL
        assert not site.health.dead()
    assert not site.health.dead(), "the clock begins when it is done"
    site.now += DEAD_AFTER * STALL + 1
    assert site.health.dead()


def test_without_partitions_for_ten_stalls_it_is_dead(site: Site) -> None:
    site.progress.assigned([HERE])
    site.progress.revoked()
    site.now += DEAD_AFTER * STALL
    assert not site.health.dead()
    site.now += 1
    assert site.health.dead()


async def test_the_metrics_tell_of_the_partitions_held_and_of_no_other(site: Site) -> None:
    await site.health.start()
    try:
        site.behind()
        assert await told(site) == {"0": "10.0", "1": "0.0"}
        site.positions.forget()
        site.progress.assigned([THERE])
        assert await told(site) == {}, "not known yet is not zero"
        site.fetched(3, 4, 9, THERE)
        assert await told(site) == {"1": "6.0"}
        site.progress.revoked()
        assert await told(site) == {}
    finally:
        await site.health.stop()


async def told(site: Site) -> dict[str, str]:
    """The lag of each partition as a scraper reads it."""
    url = f"http://127.0.0.1:{site.health.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return dict(re.findall(r'^costream_lag_records\{partition="(\d+)"\} (\S+)$', await answer.text(), re.M))


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


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """The usual port, on an address of this machine that nothing else of it uses."""
    with socket.socket() as usual:
        usual.bind(("127.0.0.7", Settings.model_fields["health_port"].default))
        usual.listen()
        yield usual


def health_of(settings: Settings) -> Health:
    telemetry = Telemetry()
    patience = Patience(telemetry.stalled)
    return Health(settings, patience=patience, progress=Progress(Positions()), telemetry=telemetry)


async def test_a_second_worker_of_a_host_takes_a_free_port_and_says_which(taken: socket.socket) -> None:
    second = health_of(Settings(health_bind="127.0.0.7"))
    await second.start()
    try:
        assert second.port not in (0, taken.getsockname()[1])
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.7:{second.port}/readyz") as answer:
            assert answer.status == 503
    finally:
        await second.stop()


async def test_a_port_that_somebody_has_set_is_that_one_or_an_error_in_words(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    set_by_hand = health_of(Settings(health_bind="127.0.0.7", health_port=port))
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.7:{port} .*in use; nothing was started"):
        await set_by_hand.start()
    await set_by_hand.stop()


UNASSIGNED = "no partitions are assigned yet"


async def page(site: Site, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{site.health.port}{path}") as answer:
        return answer.status, json.loads(await answer.text())


def test_a_worker_that_waits_for_a_right_is_not_ready_at_once_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.progress.assigned([HERE])
    site.nothing_fetched(5, 5)
    assert site.health.faults() == []
    outage = site.patience.outage("reading from Kafka")
    outage.because(PermissionError("grant it"), refused=True)
    assert site.health.faults() == ["reading from Kafka: grant it"]
    assert not site.health.dead()
    outage.over()
    assert site.health.faults() == []
