"""docker-compose.yml started for real: `make test-containers` names this file, other runs do not collect it.

From an empty machine to a figure: the topics and tables are made, events from this machine are stored by the worker,
boards get their answers and Prometheus scrapes. Grafana is not started, and the embedded engine stands in ClickHouse's
place (tests/images/compose.override.yml says how).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml

from costream import UsageProducer
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseRefused
from tests.support.compose import docker_compose
from tests.support.grafana import View, expand, in_force, questions

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ("docker-compose.yml", "tests/images/compose.override.yml")
SERVICES: Final = ("kafka", "clickhouse", "worker", "page", "prometheus")  # and `setup`, which the worker waits for
PORTS: Final = (9092, 8123, 8000, 9090)
EVENTS: Final = 1_000
BUILD_SECONDS_MAX: Final = 1_800
SECONDS_MAX: Final = 180.0  # a broker, an engine and a worker that start together on two busy cores


@dataclass(frozen=True)
class Stack:
    """The services as they run, under a project of their own."""

    project: str
    env_file: Path

    def compose(self, *arguments: str, seconds: float = SECONDS_MAX) -> str:
        names = [argument for file in FILES for argument in ("--file", file)]
        command = [*docker_compose(), "--project-name", self.project, "--env-file", str(self.env_file), *names]
        # No variable of this shell decides in place of the file that is tested.
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("COSTREAM_", "GRAFANA_"))}
        return _run([*command, *arguments], seconds=seconds, env=bare)

    @property
    def passwords(self) -> dict[str, str]:
        lines = self.env_file.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def inspect(self, service: str) -> dict[str, Any]:
        """The state of the one container of a service."""
        container = self.compose("ps", "--all", "--quiet", service).split() or _ids(self.project, service)
        (state,) = json.loads(_run(["docker", "inspect", container[0]]))
        return dict(state["State"])

    def port(self, service: str, inside: int) -> int:
        """Where a port is published: of a range, any that is free."""
        return int(self.compose("port", service, str(inside)).strip().rpartition(":")[2])

    def warehouse(self, *, password: str) -> Reader:
        return Reader(ClickHouseAddress("http://127.0.0.1:8123", password=self.passwords[password]))


def _ids(project: str, service: str) -> list[str]:
    labels = (f"com.docker.compose.project={project}", f"com.docker.compose.service={service}")
    return _run(["docker", "ps", "--all", "--quiet", *(f"--filter=label={label}" for label in labels)]).split()


def _run(command: list[str], *, seconds: float = SECONDS_MAX, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds, env=env)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    taken = [port for port in PORTS if _answers(port)]
    assert not taken, f"docker-compose.yml publishes the ports {PORTS}; {taken} are in use: end what holds them"
    folder = tmp_path_factory.mktemp("env")
    (folder / "deploy").mkdir()
    for name in (".env.example", "deploy/write-env"):
        shutil.copy(ROOT / name, folder / name)
    _run([str(folder / "deploy/write-env")])
    stack, started = Stack(f"costream-test-{uuid4().hex[:8]}", folder / ".env"), False
    try:
        stack.compose("build", "worker", "clickhouse", "prometheus", seconds=BUILD_SECONDS_MAX)
        stack.compose("up", "--detach", "--no-build", *SERVICES)
        started = True
        yield stack
    finally:
        if not started or request.session.testsfailed:
            sys.stderr.write(stack.compose("logs", "--no-color", "--tail", "60"))
        stack.compose("down", "--volumes", "--timeout", "60")
        assert not _run(["docker", "ps", "--all", "--quiet", f"--filter=name={stack.project}"]).split()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(what: str, found: Callable[[], Any]) -> Any:
    """The first answer that is not nothing."""
    end = time.monotonic() + SECONDS_MAX
    while not (answer := found()):
        assert time.monotonic() < end, f"{what}: not within {SECONDS_MAX:.0f} s"
        time.sleep(0.5)
    return answer


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def _prometheus(path: str, **arguments: str) -> Any:
    answer = json.loads(_get(9090, f"/api/v1/{path}?{urllib.parse.urlencode(arguments)}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def _value(expression: str) -> float | None:
    found = _prometheus("query", query=expression)["result"]
    return float(found[0]["value"][1]) if found else None


def test_setup_ends_well_and_every_other_service_becomes_healthy(stack: Stack) -> None:
    state = stack.inspect("setup")
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    for service in SERVICES:
        _until(f"{service} is healthy", lambda service=service: stack.inspect(service)["Health"]["Status"] == "healthy")


def test_events_from_this_machine_are_stored_and_priced_by_the_worker(stack: Stack) -> None:
    producer = UsageProducer(bootstrap_servers="127.0.0.1:9092")
    for number in range(EVENTS):
        model = "gpt-4o-mini" if number % 10 else "aurora-9-preview"
        producer.record(
            provider="openai", model=model, feature="chatbot", user_id=number % 7, input_tokens=1_000, output_tokens=0
        )
    assert producer.flush(60.0) == 0
    producer.close()

    with closing(stack.warehouse(password="COSTREAM_CLICKHOUSE_PASSWORD")) as reader:
        asked = "SELECT calls, cost_usd, unpriced_calls FROM feature_cost_summary WHERE calls = {calls:Int64}"
        rows = _until("the events are stored", lambda: reader.frame(asked, calls=EVENTS).to_dicts())
    assert rows == [{"calls": EVENTS, "cost_usd": 900 * Decimal("0.00015"), "unpriced_calls": 100}]
    assert f'costream_records_total{{outcome="stored"}} {EVENTS}.0' in _get(stack.port("worker", 9108), "/metrics")


def test_the_page_and_the_api_tell_the_same_to_whoever_has_the_token(stack: Stack) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _get(8000, "/v1/total")
    told = {"Authorization": f"Bearer {stack.passwords['COSTREAM_SERVE_TOKENS']}"}
    for path, says in (("/v1/total?span=24h", '"cost_usd":"0.135"'), ("/", "1,000 calls")):
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:8000{path}", headers=told)) as answer:
            assert says in answer.read().decode()


def test_the_command_of_the_readme_tells_that_nothing_waits(stack: Stack) -> None:
    told = _until(
        "nothing waits",
        lambda: (text := stack.compose("exec", "-T", "worker", "costream", "status")) and "waiting" in text and text,
    )
    assert "waiting       0 records in 12 partitions" in told
    assert f"stored        {EVENTS:,} events" in told


def test_boards_are_answered_with_the_password_of_grafana_which_may_only_read(stack: Stack) -> None:
    now = datetime.now(UTC)
    view = View(start=now - timedelta(hours=6), end=now + timedelta(minutes=1), zone="Asia/Kolkata")
    with closing(stack.warehouse(password="GRAFANA_CLICKHOUSE_PASSWORD")) as reader:
        answers = {str(each): reader.frame(expand(each.sql, view)).to_dicts() for each in questions() if each.sql}
        assert answers["costream-explore: Who spent it, by ${by} (A)"][0]["cost"] == Decimal("0.135")
        assert answers["costream-pipeline: Where the records went (A)"][0]["stored"] == EVENTS
        with pytest.raises(WarehouseRefused):
            reader.frame("SELECT count() FROM usage_events_rows")


def test_prometheus_scrapes_the_worker_and_has_its_rules(stack: Stack) -> None:
    _until("the worker is scraped", lambda: _value('up{job="costream"}') == 1)
    _until("its figures have come", lambda: _value('sum(costream_records_total{outcome="stored"})') == EVENTS)
    _until("what was used has come", lambda: _value("sum(llm_api_calls_total)") == EVENTS)
    assert _value('count(llm_api_calls_total{instance!=""})') is None
    (group,) = _prometheus("rules")["groups"]
    written = yaml.safe_load((ROOT / "deploy/prometheus/costream-rules.yml").read_text())["groups"][0]["rules"]
    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in written]
    _until("the rules are judged", lambda: all(r["health"] == "ok" for r in _prometheus("rules")["groups"][0]["rules"]))
    _until("no rule fires", lambda: _value('count(ALERTS{alertstate="firing"})') is None)


def test_prometheus_answers_what_the_panels_ask(stack: Stack) -> None:
    asked = {each.panel["title"]: in_force(each.promql) for each in questions() if each.promql}
    for expression in asked.values():
        _prometheus("query", query=expression)
    assert _value(asked["Waiting"]) == 0
    assert _value("count(costream_partitions)") == 1
    assert _value("sum(costream_partitions)") == 12


def test_a_second_start_changes_nothing_and_the_data_is_kept(stack: Stack) -> None:
    stack.compose("stop", "--timeout", "60")
    assert stack.inspect("worker")["ExitCode"] == 0, "it ended by itself when it was told to, and was not killed"
    stack.compose("up", "--detach", "--no-build", *SERVICES)
    assert stack.inspect("setup")["ExitCode"] == 0
    with closing(stack.warehouse(password="COSTREAM_CLICKHOUSE_PASSWORD")) as reader:
        assert reader.frame("SELECT sum(calls) AS calls FROM usage_hourly").item() == EVENTS
    _until("the worker is healthy again", lambda: stack.inspect("worker")["Health"]["Status"] == "healthy")
