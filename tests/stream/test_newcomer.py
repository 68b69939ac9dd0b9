"""A newcomer's day on one machine, as README tells it: by commands and the public client alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from costream import UsageEvent
from tests.support.kafka import ROOT
from tests.support.records import until
from tests.support.up import Up, require_jvm
from tests.support.worker import MAIN

pytestmark = pytest.mark.slow

COMMAND_SECONDS_MAX: Final = 120.0
HISTORY_HOURS: Final = 30  # a spike needs 24 whole hours to stand out from
TWICE: Final = """
import costream

for tokens in (10, 20):
    costream.record(request_id="order-1", provider="openai", model="gpt-4o-mini", input_tokens=tokens, output_tokens=1)
    assert costream.flush(30) == 0
"""


class Newcomer:
    """Somebody in a folder of their own, who types what `costream up` and README tell them."""

    def __init__(self, up: Up, folder: Path) -> None:
        self.up, self.folder = up, folder
        folder.mkdir()

    def python(self, source: str) -> None:
        done = self._run("-c", source)
        assert done.returncode == 0, done.stderr

    def types(self, *command: str, status: int = 0) -> str:
        """What `costream ...` prints."""
        done = self._run("-c", MAIN, *command)
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sees(self, *command: str) -> list[Any]:
        """The lines of `costream ... --json`."""
        return [json.loads(line) for line in self.types(*command, "--json").splitlines()]

    def asks(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.types("query", sql, "--json"))
        return found

    def status(self) -> Any:
        (found,) = self.sees("status")
        return found

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
        environment |= self.up.exports | {"XDG_STATE_HOME": str(self.folder / "state"), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )


@pytest.fixture(params=["embedded", "jvm"])
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Up]:
    if request.param == "jvm":
        require_jvm()
    up = Up(tmp_path / "costream-data", broker=request.param)
    yield up
    up.close()


def readme_example() -> str:
    found = re.search(
        r"Publish an event from any service.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    assert found is not None
    return found[1]


def history(now: datetime) -> str:
    """Two calls an hour at 0.10 USD each, and one at 5 USD a minute ago: JSON Lines for `costream replay`."""
    calls = [(now - timedelta(minutes=30 * number), 40_000) for number in range(2 * HISTORY_HOURS, 1, -1)]
    calls.append((now - timedelta(minutes=1), 2_000_000))
    events = [
        UsageEvent(
            request_id=f"history-{number}",
            occurred_at=occurred_at,
            provider="openai",
            model="gpt-4o",
            feature="reports",
            input_tokens=tokens,
            output_tokens=0,
        )
        for number, (occurred_at, tokens) in enumerate(calls)
    ]
    return "".join(f"{event.to_json().decode()}\n" for event in events)


def test_a_day_from_an_empty_folder_to_the_same_totals_after_a_restart(up: Up, tmp_path: Path) -> None:
    up.start()
    person = Newcomer(up, tmp_path / "person")

    person.python(readme_example())
    until(lambda: totals(person) == {"chatbot": 1}, "the example of README is counted", seconds=120)
    (row,) = person.asks("SELECT * FROM feature_cost_summary")
    assert row["feature"] == "chatbot"

    (person.folder / "history.jsonl").write_text(history(datetime.now(UTC)))
    calls = 2 * HISTORY_HOURS
    assert f"{calls} events; {calls} acknowledged by Kafka" in person.types("replay", "history.jsonl")
    until(lambda: totals(person) == {"chatbot": 1, "reports": calls}, "the history is counted", seconds=120)
    until(lambda: "hourly_spike" in standing(person), "the spike is an alert", seconds=120)
    assert "hourly_spike" in {alert["rule"] for alert in person.sees("alerts", "tail", "--no-follow")}
    assert "Hourly cost is" in person.types("alerts", "list")

    person.python(TWICE)
    until(lambda: letters(person) == ["order-1"], "the second one is a dead letter", seconds=120)
    assert "was counted before with other content" in person.types("deadletter", "list")
    person.types("deadletter", "export", "bad.jsonl", "--request-id", "order-1")
    line = json.loads((person.folder / "bad.jsonl").read_text())
    line["event"]["request_id"] = "order-2"
    (person.folder / "good.jsonl").write_text(json.dumps(line) + "\n")
    assert "1 sent, 0 refused" in person.types("deadletter", "replay", "--edit", "good.jsonl")
    counted = {"": 2, "chatbot": 1, "reports": calls}
    until(lambda: totals(person) == counted, "the repaired one is counted", seconds=120)
    assert letters(person) == []
    assert letters(person, "--state", "replayed") == ["order-1"]

    until(lambda: person.status()["kafka"]["lag"] == 0, "all is worked off", seconds=120)
    status = person.status()
    assert status["warehouse"]["events"] == calls + 3
    assert (status["warehouse"]["dead_letters"], status["warehouse"]["dead_letters_open"]) == ({"conflict": 1}, {})
    assert "hourly_spike" in {alert["rule"] for alert in status["alerts"]}
    assert status["worker"]["ready"]
    assert status["faults"] == []
    said = person.types("status")
    assert re.search(rf"stored +{calls + 3} events", said)
    assert "none open; 1 new in 24 hours" in said
    assert re.search(r"alerts +WARNING hourly_", said)

    assert up.end() == 0
    up.start()
    assert totals(person) == counted
    person.types("replay", "history.jsonl")
    until(lambda: repeats(person) == calls, "all are recognised as repeats", seconds=120)
    assert totals(person) == counted
    assert "hourly_spike" in standing(person)
    assert letters(person, "--state", "replayed") == ["order-1"]
    assert up.end() == 0


def totals(person: Newcomer) -> dict[str, int]:
    rows = person.asks(
        "SELECT feature, toInt64(sum(calls)) AS calls FROM usage_hourly GROUP BY feature ORDER BY feature"
    )
    return {row["feature"]: row["calls"] for row in rows}


def repeats(person: Newcomer) -> int:
    (row,) = person.asks("SELECT toInt64(sum(duplicates)) AS repeats FROM usage_hourly")
    return int(row["repeats"])


def standing(person: Newcomer) -> set[str]:
    return {alert["rule"] for alert in person.sees("alerts", "list")}


def letters(person: Newcomer, *which: str) -> list[str]:
    return [letter["request_id"] for letter in person.sees("deadletter", "list", *which)]
