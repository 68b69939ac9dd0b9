"""How fast the page and the API answer, over a large warehouse that is made in SQL.

    python -m benchmarks.run --only serve
    python -m benchmarks.serve 50000000            the same, as one JSON object; the number is of single calls

The warehouse of ``benchmarks.queries``, served by `costream clickhouse`, and `costream serve` before it. Each question
is asked once when nothing of it is kept; then a mix of them 100 times a second over eight connections.
The first paint is Chromium's own figure of the overview, with nothing kept at the server and then again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.ground import COSTREAM, Ground, ask_child, python_module
from benchmarks.queries import make
from benchmarks.sizes import Sizes
from sinks.clickhouse.connect import ClickHouseAddress
from tests.support.kafka import free_ports

QUESTIONS: Final = (
    *("/v1/total?span=month", "/v1/spend?span=24h&by=feature", "/v1/spend?span=30d&by=model"),
    *("/v1/spend?span=90d&by=feature&by=team", "/v1/spend?span=30d&by=user_id&limit=100"),
    *("/v1/spend/over-time?span=30d&by=model", "/v1/system/metrics?period_hours=24", "/v1/months?by=feature"),
    *("/v1/forecast", "/v1/calls?span=24h&limit=50"),
)
PER_SECOND: Final = 100
CONNECTIONS: Final = 8
SECONDS: Final = 20.0
SECONDS_MAX: Final = 3_600.0
READY_SECONDS_MAX: Final = 90.0
GOAL_P99_MS, GOAL_PAINT_MS = 100.0, 1_000.0


@dataclass(frozen=True, slots=True)
class Served:
    """Milliseconds. ``first`` has each question, when nothing of it was kept."""

    calls: int
    first: dict[str, float]
    p50_ms: float
    p99_ms: float
    per_second: float
    paint_first_ms: float
    paint_again_ms: float


def run(ground: Ground, sizes: Sizes) -> Served:
    folder = ground.new_folder("serve")
    return Served(**ask_child(python_module("serve", sizes.raw_rows), folder=folder, seconds_max=SECONDS_MAX))


def measure(folder: Path, calls: int) -> Served:
    # The engine gives its folder free with the process that had it open.
    subprocess.run([sys.executable, "-m", "benchmarks.serve", "--make", str(folder), str(calls)], check=True)
    engine_port, page_port = free_ports(2)
    engine = (COSTREAM, "clickhouse", "--data-dir", str(folder), "--port", str(engine_port))
    with _running(engine, f"http://127.0.0.1:{engine_port}/ping"):
        url, serve = f"http://127.0.0.1:{page_port}", (COSTREAM, "serve", "--port", str(page_port))
        with _running(serve, f"{url}/healthz", engine_port=engine_port):
            paint_first, paint_again = _paints(url)
        with _running(serve, f"{url}/healthz", engine_port=engine_port):  # it keeps nothing of the one before
            first, taken, seconds = asyncio.run(_asked(url))
    taken.sort()
    return Served(
        calls=calls,
        first=first,
        p50_ms=round(statistics.median(taken), 1),
        p99_ms=round(taken[int(len(taken) * 0.99)], 1),
        per_second=round(len(taken) / seconds, 1),
        paint_first_ms=round(paint_first),
        paint_again_ms=round(paint_again),
    )


@contextmanager
def _running(command: tuple[str, ...], url: str, *, engine_port: int = 0) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    environment |= {
        "COSTREAM_CLICKHOUSE_URL": f"http://127.0.0.1:{engine_port}",
        "COSTREAM_SERVE_REQUESTS_A_MINUTE": "1000000",
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        asyncio.run(_ready(url))
        yield
    finally:
        process.terminate()
        process.wait(30)


async def _ready(url: str) -> None:
    end = time.monotonic() + READY_SECONDS_MAX
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            assert time.monotonic() < end, f"{url} does not answer"
            await asyncio.sleep(0.1)


def _paints(url: str) -> tuple[float, float]:
    """First contentful paint of the overview, twice, each in a browser that knows nothing of it."""
    from playwright.sync_api import sync_playwright

    script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(2):
            context = browser.new_context()
            page = context.new_page()
            page.goto(url, wait_until="load")
            page.wait_for_timeout(500)
            found.append(float(page.evaluate(script)))
            context.close()
        browser.close()
    return found[0], found[1]


async def _asked(url: str) -> tuple[dict[str, float], list[float], float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        first = {question: round(await _milliseconds(session, url + question), 1) for question in QUESTIONS}
        taken: list[float] = []
        began = time.perf_counter()

        async def ask(number: int) -> None:
            await asyncio.sleep(max(0.0, number / PER_SECOND - (time.perf_counter() - began)))
            taken.append(await _milliseconds(session, url + QUESTIONS[number % len(QUESTIONS)]))

        await asyncio.gather(*(ask(number) for number in range(int(PER_SECOND * SECONDS))))
        return first, taken, time.perf_counter() - began


async def _milliseconds(session: aiohttp.ClientSession, url: str) -> float:
    start = time.perf_counter()
    async with session.get(url) as answer:
        await answer.read()
        assert answer.status == 200, f"{url}: {answer.status}"
    return (time.perf_counter() - start) * 1000


def main() -> None:
    if sys.argv[1] == "--make":
        make(ClickHouseAddress(f"chdb://{sys.argv[2]}"), calls=int(sys.argv[3]))
        return
    print(json.dumps(asdict(measure(Path.cwd() / "warehouse", int(sys.argv[1])))))


if __name__ == "__main__":
    main()
