"""costream alerts show, ack and silence: what people do about alerts, and what the warehouse has of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sinks.clickhouse.alert_rows import TABLE, alert_rows
from sinks.clickhouse.deliveries import DELIVERIES, Attempt, attempt_rows
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli.alerts import app
from tests.support.commands import Commands
from tests.support.told import alert
from tests.support.warehouse import Embedded

AT = datetime(2099, 3, 2, 10, tzinfo=UTC)


@pytest.fixture
def commands(clickhouse_embedded: Embedded, tmp_path: Path) -> Iterator[Commands]:
    address = clickhouse_embedded.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        of = {"window_start": AT, "window_end": AT + timedelta(hours=1), "timestamp": AT}
        revisions = [alert("5e1f", **of), alert("5e1f", 2, status="cleared", title="over\x1b[31m", **of)]
        writer.insert(TABLE, alert_rows(revisions))
        attempts = [
            Attempt("slack", "5e1f", 1, 0, 1, AT, "failed", "Slack answered 500"),
            Attempt("slack", "5e1f", 1, 0, 2, AT + timedelta(seconds=5), "delivered"),
        ]
        writer.insert(DELIVERIES, attempt_rows((attempt, revisions[0]) for attempt in attempts))
        yield Commands(app, reader, tmp_path)


def test_an_alert_is_shown_with_its_revisions_who_was_told_and_who_sees_to_it(commands: Commands) -> None:
    commands.run("ack", "5e1f", "--by", "ann", "--note", "on it\x1b[31m")
    told = commands.told("show", "5e1f")
    assert "open Hourly cost is 4.2x the usual" in told
    assert "cleared over\\u{1b}[31m" in told
    assert "2099-03-02 10:00:05 UTC slack: revision 1 delivered, 2 attempts" in told
    assert "seen to by ann, until " in told
    assert "on it\\u{1b}[31m" in told
    found = commands.answer("show", "5e1f")
    assert [one["revision"] for one in found["revisions"]] == [1, 2]
    assert [one["outcome"] for one in found["deliveries"]] == ["delivered"]
    assert [one["acted_by"] for one in found["acts"]] == ["ann"]


@pytest.mark.parametrize("arguments", [("show", "nobody"), ("ack", "nobody")])
def test_an_alert_that_there_is_not_is_a_failure_that_says_what_to_do(
    commands: Commands, arguments: tuple[str, ...]
) -> None:
    assert "no alert 'nobody' is stored" in commands.told(*arguments, status=1)
    assert commands.reader.frame("SELECT count() FROM alert_acts").item() == 0


def test_a_silence_has_an_end_and_can_be_ended_before(commands: Commands) -> None:
    made = commands.answer("silence", "--rule", "hourly_spike", "--for", "2h", "--note", "load test", "--by", "ann")
    assert (made["kind"], made["rule"], made["scope"]) == ("silence", "hourly_spike", "")
    until = datetime.fromisoformat(made["until"])
    assert timedelta(minutes=119) < until - datetime.now(UTC) <= timedelta(hours=2)
    told = commands.told("silences")
    assert (
        f"{made['act_id']} silence of rule hourly_spike, until {until:%Y-%m-%d %H:%M:%S} UTC, by ann: load test" in told
    )
    assert commands.told("silence", "--end", made["act_id"]) == f"silence {made['act_id']} is over"
    assert commands.answer("silences") == []
    assert "no silence" in commands.told("silence", "--end", made["act_id"], status=1)
    assert "nothing is silenced" in commands.told("silences")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["silence"], "a silence needs --rule or --scope, nothing was silenced"),
        (["silence", "--rule", "x", "--for", "soon"], "--for 'soon' is not a duration such as 90s, 30m, 24h or 7d"),
        (["ack", "5e1f", "--for", "1y"], "--for '1y' is not a duration"),
        (["ack", "5e1f", "--note", "x" * 1_001], "--note has 1,001 characters, of 1,000 at most"),
    ],
)
def test_what_cannot_be_meant_is_refused(commands: Commands, arguments: list[str], fault: str) -> None:
    assert fault in commands.told(*arguments, status=2)
    assert commands.reader.frame("SELECT count() FROM alert_acts").item() == 0
