"""costream replay, as a person runs it: what is published, what is said, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner, Result

from costream import UsageEvent
from costream.topics import EVENTS
from stream.cli.replay import FAULTS_SHOWN_MAX, replay
from stream.up.broker import EmbeddedBroker

app = typer.Typer()
app.command()(replay)

NOW = datetime.now(UTC).replace(microsecond=0)
HEADER = "time,provider,model,prompt_tokens\n"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({EVENTS: 1}) as broker:
        monkeypatch.setenv("COSTREAM_KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
        yield broker


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Two calls, and a line that is none."""
    path = tmp_path / "calls.csv"
    good = "".join(f"{(NOW - timedelta(hours=hours)).isoformat()},openai,gpt-4o,{hours}\n" for hours in (2, 1))
    path.write_text(HEADER + good + f"{NOW.isoformat()},openai,gpt-4o,many\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def published(broker: EmbeddedBroker) -> list[UsageEvent]:
    settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader", "auto.offset.reset": "earliest"}
    with closing(Consumer(settings)) as consumer:
        _, count = consumer.get_watermark_offsets(TopicPartition(EVENTS, 0), timeout=20)
        consumer.assign([TopicPartition(EVENTS, 0, 0)])
        messages = consumer.consume(count, timeout=20) if count else []
    return [UsageEvent.model_validate_json(message.value() or b"") for message in messages]


def test_the_good_lines_are_published_and_the_bad_one_is_named(broker: EmbeddedBroker, calls: Path) -> None:
    told = run(calls)
    assert told.exit_code == 1
    assert f"{calls}, line 4, column prompt_tokens: 'many' is no number" in told.stderr
    assert "2 events; 2 acknowledged by Kafka; 1 line refused" in told.stdout
    assert "request_id is derived from the file's bytes and the line" in " ".join(told.stdout.split())
    assert [event.input_tokens for event in published(broker)] == [2, 1]


def test_names_that_are_stored_under_another_are_told(calls: Path) -> None:
    calls.write_text(HEADER + "".join(f"{NOW.isoformat()},{names},1\n" for names in ("OpenAI,GPT-4o", "openai,gpt-4o")))
    assert "OpenAI GPT-4o is stored as openai gpt-4o" in run(calls, "--dry-run").stderr.splitlines()
    assert json.loads(run(calls, "--dry-run", "--json").stdout)["names"] == {"OpenAI GPT-4o": "openai gpt-4o"}


def test_published_twice_the_events_are_the_same(broker: EmbeddedBroker, calls: Path) -> None:
    assert (run(calls).exit_code, run(calls).exit_code) == (1, 1)
    first, second, *again = published(broker)
    assert again == [first, second]


def test_a_rehearsal_publishes_nothing_and_prints_the_events_alone(broker: EmbeddedBroker, calls: Path) -> None:
    told = run(calls, "--dry-run")
    assert [UsageEvent.model_validate_json(line).input_tokens for line in told.stdout.splitlines()] == [2, 1]
    assert "2 events; none published: a rehearsal; 1 line refused" in told.stderr
    assert published(broker) == []


def test_as_json_it_tells_what_became_of_the_lines_and_why(broker: EmbeddedBroker, calls: Path) -> None:
    report = json.loads(run(calls, "--json").stdout)
    assert (report["events"], report["acknowledged"], report["unacknowledged"], report["refused"]) == (2, 2, 0, 1)
    assert report["faults"] == [{"line": 4, "column": "prompt_tokens", "reason": "'many' is no number"}]
    assert report["columns"]["input_tokens"] == "prompt_tokens"
    assert report["first"] == (NOW - timedelta(hours=2)).isoformat()
    rehearsal = json.loads(run(calls, "--json", "--dry-run").stdout)
    assert (rehearsal["events"], rehearsal["acknowledged"], rehearsal["dry_run"]) == (2, 0, True)


def test_a_flood_of_bad_lines_is_cut_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "x,openai,gpt-4o,1\n" * (FAULTS_SHOWN_MAX + 3))
    told = run(path, "--dry-run")
    assert told.stderr.count("is no time that can be read") == FAULTS_SHOWN_MAX
    assert "3 more lines refused: --json tells the first 1,000" in told.stderr


def test_what_a_worker_will_refuse_for_its_time_is_said(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    times = [NOW - timedelta(days=100), NOW, NOW + timedelta(days=2)]
    path.write_text(HEADER + "".join(f"{time.isoformat()},openai,gpt-4o,1\n" for time in times))
    told = run(path, "--dry-run")
    assert told.exit_code == 0
    assert "1 event happened before COSTREAM_RETENTION (90 days): a worker refuses them as too_old" in told.stderr
    assert "1 event happened in the future: a worker refuses them as too_early" in told.stderr


def test_a_trace_is_stretched_over_the_time_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97996,48,1\n2023-11-16 19:17:03.9,31,8\n"
    )
    told = run(path, "--dry-run", "--provider", "openai", "--model", "gpt-4o", "--span", "24h", "--zone", "UTC")
    first, last = (UsageEvent.model_validate_json(line) for line in told.stdout.splitlines())
    assert last.occurred_at - first.occurred_at == timedelta(hours=24)
    assert abs(last.occurred_at - datetime.now(UTC)) < timedelta(minutes=10)


def test_what_steers_a_terminal_is_not_printed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(HEADER.replace("prompt_tokens", "\x1b[2J") + f"{NOW.isoformat()},openai,gpt-4o,1\n\x1b[31m,a,b,1\n")
    told = run(path, "--dry-run")
    assert "\x1b" not in told.stderr
    assert "columns not used" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--zone", "Berlin"], 2, "--zone 'Berlin' is no zone of the time zone database"),
        (["--zone", "../UTC"], 2, "--zone '../UTC' is no zone"),
        (["--map", "when=time"], 2, "--map 'when=time' is not FIELD=COLUMN with a field of an event"),
        (["--map", "occurred_at"], 2, "--map 'occurred_at' is not FIELD=COLUMN"),
        (["--cached", "outside"], 2, "--cached 'outside' is neither inside nor beside"),
        (["--span", "long"], 2, "--span 'long' is not a duration"),
        (["--map", "feature=project"], 1, "there is no column 'project' for feature"),
    ],
)
def test_what_is_misused_is_said_and_nothing_is_published(
    broker: EmbeddedBroker, calls: Path, arguments: list[str], status: int, reason: str
) -> None:
    told = run(calls, *arguments)
    assert (told.exit_code, told.stdout) == (status, "")
    assert reason in told.stderr
    assert "nothing was" in told.stderr
    assert published(broker) == []
