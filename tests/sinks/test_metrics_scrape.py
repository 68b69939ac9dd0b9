"""Prometheus itself reads the page by the configuration that is supplied: exact names, one series of all workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CONTENT_TYPE_LATEST

from sinks.metrics.counts import Count
from sinks.metrics.families import families
from sinks.metrics.text import text_of
from tests.sinks.test_metrics_text import COUNTS, GAUGES, HOSTILE, TODAY
from tests.support.records import until
from tests.support.warehouse import free_port

pytestmark = pytest.mark.slow

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"


class Page(ThreadingHTTPServer):
    """What a worker shows, as its own page does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.text = ""


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Page)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.end_headers()
        self.wfile.write(self.server.text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[tuple[Page, Page]]:
    with ExitStack() as running:
        made = [running.enter_context(Page()) for _ in range(2)]
        for page in made:
            threading.Thread(target=page.serve_forever, daemon=True).start()
            running.callback(page.shutdown)
        yield made[0], made[1]


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str) -> dict[tuple[tuple[str, str], ...], str]:
        """Values by labels; none while it does not answer."""
        asked = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {tuple(sorted(one["metric"].items())): one["value"][1] for one in found}

    def value(self, query: str) -> str | None:
        """Of the one series that there is."""
        (value,) = [*self.ask(query).values()] or [None]
        return value


@pytest.fixture
def prometheus(pages: tuple[Page, Page], tmp_path: Path) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        assert not os.environ.get("CI"), "no prometheus (Debian: apt-get install prometheus)"
        pytest.skip("no prometheus (Debian: apt-get install prometheus)")
    given = yaml.safe_load(CONFIGURATION.read_text())
    (job,) = given["scrape_configs"]
    del given["rule_files"], job["dns_sd_configs"]
    given["global"]["scrape_interval"] = "1s"
    job["static_configs"] = [{"targets": [f"127.0.0.1:{page.server_port}" for page in pages]}]
    file, listen = tmp_path / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(given))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={file}",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address={listen}",
            ],
            stderr=log,
        )
        yield Prometheus(f"http://{listen}")
        process.terminate()
        process.wait(30)


def text(calls: int) -> str:
    """One more for each hostile name, with the last digit that there is."""
    labels = [("openai", "gpt-4o", name, name) for name in HOSTILE]
    counts = replace(
        COUNTS,
        cost_usd={one: Count(calls + Decimal("0.000000000001"), TODAY) for one in labels},
        calls={("openai", "gpt-4o", "ok"): Count(calls, TODAY)},
    )
    return text_of(families(counts, GAUGES, by_user=True))


def test_prometheus_reads_each_name_and_goes_on_over_a_hand_over(
    pages: tuple[Page, Page], prometheus: Prometheus
) -> None:
    here, there = pages
    here.text = text(5)
    until(lambda: prometheus.value("llm_api_calls_total") == "5", "it is scraped", seconds=60)
    costs = prometheus.ask("llm_total_cost_usd")
    assert {dict(labels)["user_id"]: value for labels, value in costs.items()} == dict.fromkeys(
        HOSTILE, "5.000000000001"
    )
    assert set(dict(next(iter(costs)))) == {"__name__", "job", "provider", "model", "task_type", "user_id"}
    assert prometheus.value('llm_token_usage_bucket{le="500.0"}') == "1"
    assert prometheus.value("llm_cost_per_hour_usd") == "7e-12"
    assert prometheus.value('budget_usage_ratio{budget_type="daily"}') == "0.8"

    for calls, page, other in ((7, here, there), (9, there, here), (12, here, there)):
        other.text, page.text = "", text(calls)
        until(lambda: prometheus.value("llm_api_calls_total") == str(calls), f"{calls} are scraped", seconds=60)  # noqa: B023 - done before the next
    assert prometheus.value("count(llm_api_calls_total)") == "1"
    assert prometheus.value("resets(llm_api_calls_total[10m])") == "0"
    assert prometheus.value("max_over_time(llm_api_calls_total[10m]) - min_over_time(llm_api_calls_total[10m])") == "7"
