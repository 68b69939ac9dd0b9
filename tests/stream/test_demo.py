"""The demo: what it publishes, and that its figures are those of a plain recount of what it published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, calc_price

from sinks.errors import WarehouseUnavailable
from stream.demo import plan as demo
from stream.demo import run
from stream.runtime.settings import Settings
from stream.up.stack import Stack, Tell, Wanted, free_port

NOW = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)
RUN_SECONDS_MAX = 240


@pytest.fixture(scope="module")
def planned() -> demo.Plan:
    return demo.plan(span=timedelta(days=7), now=NOW, run="a")


def test_every_request_of_the_trace_is_published(planned: demo.Plan) -> None:
    distinct = {event.request_id for event in planned.events}
    assert len(distinct) == planned.counted == 28_185 + demo.SPIKE_REQUESTS + demo.UNKNOWN_REQUESTS


def test_the_plan_is_the_same_for_the_same_arguments(planned: demo.Plan) -> None:
    assert demo.plan(span=timedelta(days=7), now=NOW, run="a") == planned


def test_two_in_a_hundred_are_repeated_and_five_contradict_their_first(planned: demo.Plan) -> None:
    contents = Counter(event.request_id for event in planned.events)
    assert sum(count - 1 for count in contents.values()) == planned.duplicates + planned.conflicts
    assert planned.duplicates == int(planned.counted * 0.02)
    assert planned.conflicts == 5


def test_no_event_is_from_the_future_or_before_the_span(planned: demo.Plan) -> None:
    moments = [event.occurred_at for event in planned.events]
    assert NOW - timedelta(days=7, seconds=6) <= min(moments)
    assert max(moments) <= NOW


def test_the_spike_lies_in_the_last_whole_hour(planned: demo.Plan) -> None:
    spike = [event.occurred_at for event in planned.events if event.model == "gpt-4-turbo"]
    assert {moment.replace(minute=0, second=0, microsecond=0) for moment in spike} == {
        datetime(2026, 11, 22, 11, tzinfo=UTC)
    }


def test_a_span_without_history_for_the_spike_is_refused() -> None:
    with pytest.raises(demo.SpanTooShort, match="needs 1 day, 2:00:00"):
        demo.plan(span=timedelta(hours=25), now=NOW, run="a")


def test_what_is_left_of_a_plan_has_nothing_of_a_request_that_is_stored(planned: demo.Plan) -> None:
    assert planned.without(()) == planned
    stored = {event.request_id for event in planned.events[::2]} | {planned.events[-1].request_id}
    left = planned.without(stored)
    ids = {event.request_id for event in left.events}
    assert ids == {event.request_id for event in planned.events} - stored
    assert left.counted == len(ids)
    assert left.records == left.counted + left.duplicates + left.conflicts, "nothing malformed is sent again"
    assert left.conflicts == sum(event.request_id in ids for event in planned.events[-planned.conflicts :])


def test_a_folder_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "clickhouse").mkdir()
    with pytest.raises(run.DataDirInUse, match="holds an earlier run"):
        play(tmp_path, wait_max=timedelta(minutes=1))
    assert [each.name for each in tmp_path.iterdir()] == ["clickhouse"]


def test_a_span_that_is_too_short_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(demo.SpanTooShort):
        play(tmp_path, wait_max=timedelta(minutes=1), span=timedelta(hours=25))
    assert not list(tmp_path.iterdir())


def play(folder: Path, *, wait_max: timedelta, span: timedelta = timedelta(days=7)) -> run.Outcome:
    return run.run(folder=folder, span=span, now=datetime.now(UTC), show=lambda _: None, wait_max=wait_max)


@pytest.mark.slow
def test_a_demo_that_is_not_worked_off_in_time_says_how_far_it_came_and_ends_its_parts(tmp_path: Path) -> None:
    with pytest.raises(run.DemoStuck, match=r"of 30,136 records were handled within 0:00:00.*kept, in DIR/logs"):
        play(tmp_path, wait_max=timedelta(0))
    children = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    )
    assert "clickhouse" not in children.stdout
    assert "worker" not in children.stdout
    assert "this machine only" in (tmp_path / "logs" / "clickhouse.log").read_text()


# --- on a stack that stays ---


def stack_of(folder: Path) -> Stack:
    wanted = Wanted(folder, "embedded", clickhouse_port=free_port(), health_port=0)
    return Stack(wanted, settings=Settings(), environment=os.environ, tell=pytest.fail)


def played(folder: Path, *, tell: Tell) -> None:
    run.play_into(
        stack_of(folder),
        span=timedelta(days=7),
        now=NOW,
        broken_off=lambda: False,
        tell=tell,
        wait_max=timedelta(0),
    )


def test_a_folder_whose_plan_cannot_be_read_is_told_and_nothing_is_published(tmp_path: Path) -> None:
    (tmp_path / run.BEGUN).write_text('{"at": "yesterday"')
    with pytest.raises(run.NoPlan, match=r"demo\.json does not say when .* nothing was published\. Remove it"):
        played(tmp_path, tell=pytest.fail)


@pytest.mark.parametrize(("days", "told"), [(83, False), (84, True)])
def test_a_demo_whose_rows_expire_is_not_played_again(tmp_path: Path, days: int, told: bool) -> None:
    begun = {"at": (NOW - timedelta(days=days)).isoformat(), "span": "P7D"}
    (tmp_path / run.BEGUN).write_text(json.dumps(begun))
    said: list[str] = []
    with nullcontext() if told else pytest.raises(WarehouseUnavailable):  # else it asks what is stored
        played(tmp_path, tell=said.append)
    assert any("its rows expire by now; nothing was published" in line for line in said) is told


@pytest.mark.slow
def test_the_demo_holds_and_its_totals_are_those_of_a_recount(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from stream.cli import main; main()",
        "demo",
        "--json",
        "--data-dir",
        str(tmp_path),
    ]
    # Of the environment it takes nothing.
    strange = {"COSTREAM_BATCH_ROWS_MAX": "7", "COSTREAM_TOPIC_PREFIX": "x.", "COSTREAM_ENABLED": "false"}
    environment = {**os.environ, "TERM": "dumb", **strange}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=RUN_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    outcome = json.loads(done.stdout)
    recount = _recount(tmp_path / "published.jsonl")
    assert outcome["holds"]
    assert outcome["totals"]["calls"] == recount["calls"]
    assert Decimal(outcome["totals"]["cost_usd"]) == recount["cost_usd"]
    assert outcome["totals"]["unpriced_calls"] == recount["unpriced"]
    unknown = {row["model"] for row in outcome["by_model"] if row["cost_usd"] is None}
    assert unknown == {row["model"] for row in outcome["unpriced"]}, "a model without any price has no cost, not 0"
    assert outcome["totals"]["duplicates"] == outcome["published"]["duplicates"]
    assert {row["kind"]: row["records"] for row in outcome["dead_letters"]} == {
        "conflict": 5,
        "invalid": 4,
        "malformed": 2,
    }
    assert {alert["rule"] for alert in outcome["alerts"]} >= {"hourly_spike"}


def _recount(path: Path) -> dict[str, Any]:
    """Without the product: the first event of each id, priced by the library one by one."""
    first: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        first.setdefault(event["request_id"], event)
    costs = [_cost(event) for event in first.values()]
    return {
        "calls": len(costs),
        "cost_usd": sum((cost for cost in costs if cost is not None), Decimal(0)),
        "unpriced": costs.count(None),
    }


def _cost(event: dict[str, Any]) -> Decimal | None:
    usage = Usage(input_tokens=event["input_tokens"], output_tokens=event["output_tokens"])
    moment = datetime.fromisoformat(event["occurred_at"])
    try:
        price = calc_price(usage, event["model"], provider_id=event["provider"], genai_request_timestamp=moment)
    except LookupError:
        return None
    return price.total_price
