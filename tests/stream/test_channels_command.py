"""costream channels: what is on, what is missing, and whether a sample gets through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sinks.clickhouse.deliveries import DELIVERIES, Attempt, attempt_rows
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli.channels import app
from tests.support.commands import Commands
from tests.support.ingest import Warehouse
from tests.support.receivers import HttpReceiver
from tests.support.rules import publish_rules
from tests.support.told import alert
from tests.support.warehouse import Embedded

RULES_TEXT = '[[channel.slack]]\n[[channel.webhook]]\nname = "hook"\nfrom_level = "critical"\nurl = "{}"\n'


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def commands(clickhouse_embedded: Embedded, tmp_path: Path) -> Iterator[Commands]:
    with closing(Reader(clickhouse_embedded.fresh())) as reader:
        yield Commands(app, reader, tmp_path)


def publish(commands: Commands, text: str) -> None:
    with closing(Writer(commands.reader.address)) as writer:
        publish_rules(Warehouse(commands.reader, writer), text)


def test_a_sample_goes_to_each_channel_and_nothing_is_written(commands: Commands, receiver: HttpReceiver) -> None:
    publish(commands, RULES_TEXT.format(receiver.url))
    told = commands.told("test", COSTREAM_SECRET_SLACK_WEBHOOK=f"{receiver.url}/services/T0SECRET")
    assert told == "slack delivered hook delivered"
    assert {posted.path for posted in receiver.got} == {"/", "/services/T0SECRET"}
    sample = next(posted.json for posted in receiver.got if posted.path == "/")
    assert (sample["rule"], sample["level"]) == ("sample", "critical")
    assert "costream channels test" in sample["message"]
    assert commands.reader.frame("SELECT count() FROM alert_deliveries").item() == 0


def test_one_that_does_not_get_through_is_said_and_is_a_failure(commands: Commands, receiver: HttpReceiver) -> None:
    file = commands.file("rules.toml", RULES_TEXT.format(receiver.url))
    receiver.does, receiver.says = 404, b"no_service"
    told = commands.told("test", "--rules", file, status=1)
    assert "hook not delivered: the receiver answered 404 no_service" in told
    assert (
        "slack not delivered: the secret 'slack_webhook' is not set: give it as COSTREAM_SECRET_SLACK_WEBHOOK" in told
    )


def test_the_channels_that_are_named_are_tried_alone(commands: Commands, receiver: HttpReceiver) -> None:
    file = commands.file("rules.toml", RULES_TEXT.format(receiver.url))
    assert commands.answer("test", "hook", "--rules", file) == [
        {"channel": "hook", "kind": "webhook", "delivered": True, "reason": None}
    ]
    assert receiver.asked == 1
    assert "no channel is named nobody" in commands.told("test", "nobody", "--rules", file, status=2)


def test_the_list_says_levels_missing_secrets_and_what_became_of_the_last_message(
    commands: Commands, receiver: HttpReceiver
) -> None:
    publish(commands, RULES_TEXT.format(receiver.url))
    at = datetime(2026, 3, 2, 10, tzinfo=UTC)
    with closing(Writer(commands.reader.address)) as writer:
        failed = Attempt("slack", "a", 1, 0, 1, at, "failed", "Slack answered 404 no_service")
        writer.insert(DELIVERIES, attempt_rows([(failed, alert("a"))]))
    told = commands.told("list")
    assert "hook webhook, from critical" in told
    assert "slack slack, from info COSTREAM_SECRET_SLACK_WEBHOOK is not set here" in told
    assert "2026-03-02T10:00:00+00:00: failed: Slack answered 404 no_service" in told
    found = {one["channel"]: one for one in commands.answer("list", COSTREAM_SECRET_SLACK_WEBHOOK="https://T0SECRET")}
    assert found["slack"]["missing_secrets"] == []
    assert found["slack"]["last_outcome"] == "failed"
    assert found["hook"]["last_at"] is None
    assert "T0SECRET" not in str(found)


def test_without_a_channel_the_list_says_where_alerts_are(commands: Commands) -> None:
    assert "no channel is on: alerts are on usage.alerts alone" in commands.told("list")
    assert "nothing to test" in commands.told("test", status=1)
    assert commands.answer("list") == []
