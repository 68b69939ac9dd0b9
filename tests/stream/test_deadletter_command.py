"""costream deadletter as a person runs it: what is open, what was sent again and where to, what was given up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from typer.testing import CliRunner

from sinks.clickhouse.writer import Writer
from stream.cli.deadletter import app
from stream.decode.frame import Refusal
from stream.store.letters import dead_letter_rows
from stream.up.broker import EmbeddedBroker
from tests.support.records import FakeRecord
from tests.support.warehouse import Server, settings_of

NOW = datetime.now(UTC).replace(microsecond=0)
ARRIVED = NOW - timedelta(hours=2)
GOOD = json.dumps({"request_id": "r-1", "occurred_at": NOW.isoformat(), "provider": "openai", "model": "m"}).encode()


class Letters:
    """Two refused records: one that is no JSON, and one that came too early and is fine by now."""

    def __init__(self, endpoint: Server, broker: EmbeddedBroker) -> None:
        self.address, self.broker = endpoint.fresh(), broker
        self.variables = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "COLUMNS": "200"} | {
            f"COSTREAM_{name.upper()}": value for name, value in settings_of(self.address).items()
        }
        self.refuse(0, b"{", "malformed", "not JSON")
        self.refuse(1, GOOD, "too_early", "early", "r-1")

    def refuse(self, offset: int, value: bytes, kind: Any, reason: str, request_id: str = "", **given: Any) -> None:
        arrived = round(ARRIVED.timestamp() * 1000)
        refusal = Refusal(FakeRecord(value, 0, offset, arrived, **given), kind, reason, request_id)
        with closing(Writer(self.address)) as writer:
            writer.insert("dead_letters", dead_letter_rows([refusal], source="topic-1", now=NOW))

    def run(self, *arguments: str, status: int = 0, **changed: str) -> Any:
        result = CliRunner().invoke(app, list(arguments), env=self.variables | changed)
        assert result.exit_code == status, result.output
        return result

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("list", "--json", *arguments).stdout.splitlines()]

    def offsets(self, *arguments: str) -> list[int]:
        return sorted(letter["offset"] for letter in self.listed(*arguments))

    def published(self) -> dict[str, tuple[bytes | None, Any]]:
        """What is on usage.events, by topic/partition/offset."""
        config = {
            "bootstrap.servers": self.broker.bootstrap_servers,
            "group.id": "looks-on",
            "enable.partition.eof": True,
        }
        consumer, found, ends = Consumer(config), list[Message](), 0
        consumer.assign([TopicPartition("usage.events", partition, 0) for partition in range(2)])
        while ends < 2:
            messages = consumer.consume(num_messages=1, timeout=10)
            assert messages, "a record, or the end of a partition"
            for message in messages:
                if message.error() is None:
                    found.append(message)
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF
                    ends += 1
        consumer.close()
        return {f"{one.topic()}/{one.partition()}/{one.offset()}": (one.value(), one.headers()) for one in found}


@pytest.fixture
def letters(clickhouse_endpoint: Server) -> Iterator[Letters]:
    with EmbeddedBroker({"usage.events": 2}) as broker:
        yield Letters(clickhouse_endpoint, broker)


def test_what_was_sent_again_is_no_longer_listed_and_says_where_it_went(letters: Letters, tmp_path: Path) -> None:
    assert "not JSON" in letters.run("list").stdout
    file = tmp_path / "bad.jsonl"
    assert "2 dead letters" in letters.run("export", str(file)).stdout
    replayed = letters.run("replay", "--edit", str(file), "--by", "Ada", status=1)
    assert "1 sent, 1 refused" in replayed.stdout
    assert letters.offsets() == [0]
    (letter,) = letters.listed("--state", "replayed")
    assert (letter["state"], letter["decided_by"], letter["request_id"]) == ("replayed", "Ada", "r-1")
    assert letters.published() == {letter["sent_to"]: (GOOD, [("costream-replayed", b"topic-1/0/1")])}
    assert f"to {letter['sent_to']}" in replayed.stdout
    told = letters.run("list", "--state", "all").stdout
    assert "replayed on " in told
    assert f"by Ada to {letter['sent_to']}" in told


def test_a_letter_in_a_file_that_was_sent_already_is_refused_until_it_is_opened_again(
    letters: Letters, tmp_path: Path
) -> None:
    file = tmp_path / "good.jsonl"
    letters.run("export", str(file), "--request-id", "r-1")
    letters.run("replay", "--edit", str(file))
    again = letters.run("replay", "--edit", str(file), status=1)
    assert "0 sent, 1 refused" in again.stdout
    assert "it was replayed on " in again.stderr
    assert "`costream deadletter reopen` comes first" in again.stderr
    assert "0 sent, 0 refused" in letters.run("replay", "--request-id", "r-1").stdout
    assert len(letters.published()) == 1
    assert "1 dead letter open again" in letters.run("reopen", "--request-id", "r-1", "--yes").stdout
    assert letters.offsets() == [0, 1]
    assert "opened again on " in letters.run("list").stdout
    assert "1 sent, 0 refused" in letters.run("replay", "--edit", str(file)).stdout
    assert len(letters.published()) == 2


def test_a_letter_that_is_given_up_says_why_and_is_neither_listed_nor_sent(letters: Letters) -> None:
    chosen = ("--kind", "malformed", "--kind", "too_early")
    rehearsed = letters.run("give-up", *chosen, "--reason", "a load test").stdout
    assert "2 dead letters would be given up (malformed 1, too_early 1)" in rehearsed
    assert "a rehearsal: nothing was changed" in rehearsed
    assert "not JSON" in rehearsed
    assert letters.offsets() == [0, 1]
    assert "2 dead letters given up" in letters.run("give-up", *chosen, "--reason", "a load test", "--yes").stdout
    assert letters.offsets() == []
    assert "no dead letters that are open" in letters.run("list").stdout
    assert {letter["state_reason"] for letter in letters.listed("--state", "given_up")} == {"a load test"}
    assert "given up on " in letters.run("list", "--state", "given_up").stdout
    assert "0 sent, 0 refused" in letters.run("replay", *chosen).stdout
    assert "0 dead letters given up" in letters.run("give-up", *chosen, "--reason", "again", "--yes").stdout
    assert "1 dead letter would be open again (malformed 1)" in letters.run("reopen", "--kind", "malformed").stdout
    assert letters.offsets() == []
    letters.run("reopen", "--kind", "malformed", "--yes")
    assert letters.offsets() == [0]


def test_a_rehearsal_shows_some_and_counts_the_rest(letters: Letters) -> None:
    for offset in range(2, 8):
        letters.refuse(offset, b"{", "malformed", f"fault {offset}")
    told = letters.run("give-up", "--since", "2026-01-01", "--reason", "no use").stdout
    assert "8 dead letters would be given up (malformed 7, too_early 1)" in told
    assert "and 3 more" in told


def test_a_copy_that_is_refused_again_names_the_letter_that_it_is_a_copy_of(letters: Letters) -> None:
    letters.run("replay", "--request-id", "r-1")
    letters.refuse(9, GOOD, "conflict", "other", "r-1", headers=[("costream-replayed", b"topic-1/0/1")])
    assert letters.offsets() == [0, 9]
    assert "sent again as a copy of topic-1/0/1" in letters.run("list").stdout


def test_letters_are_chosen_by_when_they_arrived(letters: Letters) -> None:
    moment = ARRIVED.strftime("%Y-%m-%dT%H:%M:%S")
    later = (ARRIVED + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S")
    assert letters.offsets("--since", moment) == [0, 1]
    assert letters.offsets("--since", later) == []
    assert letters.offsets("--until", moment) == []
    assert letters.offsets("--until", later, "--kind", "malformed") == [0]


def test_a_dry_run_sends_and_marks_nothing(letters: Letters) -> None:
    told = letters.run("replay", "--kind", "too_early", "--dry-run").stdout
    assert "would send topic-1/0/1" in told
    assert "1 would be sent, 0 refused" in told
    assert letters.published() == {}
    assert letters.offsets() == [0, 1]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["replay"], "nothing was sent"),
        (["reopen", "--yes"], "say which: --kind, --request-id, --since or --until; nothing was changed"),
        (["give-up", "--reason", "why", "--yes"], "say which"),
        (["give-up", "--kind", "invalid", "--reason", " ", "--yes"], "--reason is empty: say why; nothing was changed"),
        (["give-up", "--kind", "invalid", "--reason", "x" * 1_001, "--yes"], "1,001 characters, and 1,000 are kept"),
        (["reopen", "--kind", "odd", "--yes"], "'odd' is none of malformed"),
    ],
)
def test_what_is_not_said_in_full_changes_nothing(letters: Letters, command: list[str], told: str) -> None:
    assert told in letters.run(*command, status=2).stderr
    assert letters.offsets("--state", "all") == letters.offsets() == [0, 1]


def test_a_reason_cannot_steer_the_terminal(letters: Letters) -> None:
    letters.run("give-up", "--kind", "malformed", "--reason", "red \x1b[31m", "--by", "\x07Ada", "--yes")
    told = letters.run("list", "--state", "given_up").stdout
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "Ada" in told
