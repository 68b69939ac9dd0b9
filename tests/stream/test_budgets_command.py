"""costream budgets list: where each budget stands, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from typer.testing import CliRunner, Result

from costream.alerts import Level
from sinks.clickhouse.connect import ClickHouseAddress
from stream.audit.budget_sums import state
from stream.budgets.budget import Step
from stream.budgets.counted import Counted
from stream.budgets.limits import News
from stream.budgets.periods import span_at
from stream.cli import application, common
from stream.store.outbox import Outbox
from stream.up.broker import EmbeddedBroker
from stream.watch.budget_topic import publish_states
from tests.producers.test_budget_state import state as state_of
from tests.stream.test_budget_rule import DAY, LIMIT, USER, WON, spent, use
from tests.support.databases import emptied
from tests.support.records import STEADY_ZONE
from tests.support.repriced import NOW, Place
from tests.support.warehouse import Server, settings_of

IDLE = replace(DAY, name="idle", scope=("feature",), only={"feature": ("none",)}, steps=(Step(Decimal(1), Level.INFO),))
BUDGETS = [replace(budget, zone=STEADY_ZONE) for budget in (DAY, USER, LIMIT, WON, IDLE)]


@pytest.fixture(scope="module")
def address(clickhouse_endpoint: Server) -> Iterator[ClickHouseAddress]:
    address = clickhouse_endpoint.fresh()
    with closing(Place(emptied(address))) as place:
        use(place, BUDGETS)
        place.store([spent(f"r-{number}", tokens=3_000_000) for number in range(2)])
        place.store([spent("x", model="nobody-knows"), spent("b", user_id="b,o=b\u202e")])
        state(place.reader, place.warehouse.writer, BUDGETS, Counted.by(BUDGETS), now=NOW, kept=NOW.date())
    yield address


NOBODY = "127.0.0.1:1"  # refuses every connection


def run(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch, *arguments: str, kafka: str = NOBODY) -> Result:
    monkeypatch.setattr(common.console, "_width", 100)
    settings = settings_of(address) | {"kafka_bootstrap_servers": kafka}
    environment = {f"COSTREAM_{name.upper()}": str(value) for name, value in settings.items()}
    return CliRunner().invoke(application(), ["budgets", "list", *arguments], env=environment)


def test_each_budget_stands_with_its_share_and_the_nearest_subject_first(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(address, monkeypatch)
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if not line.startswith("    ")]
    assert lines == [
        "day  1.05 of 3.00 USD, 35.0 %",
        "idle  nothing of 3.00 USD",
        "limit of user ann  0.90 of 1.00 USD, 90.0 %  CRITICAL",
        "limit of user b,o=b\\u{202e}  0.15 of 1.00 USD, 15.0 %",
        "user of user ann  0.90 of 1.00 USD, 90.0 %  WARNING",
        "user of user b,o=b\\u{202e}  0.15 of 1.00 USD, 15.0 %",
        "won of user ann  not known of 1,500.00 KRW: a day of it has no exchange rate of KRW",
        "won of user b,o=b\\u{202e}  not known of 1,500.00 KRW: a day of it has no exchange rate of KRW",
    ]
    assert f"a day ({STEADY_ZONE}), told above it" in result.stdout
    assert "1 call unpriced" in result.stdout


def test_of_many_subjects_the_first_are_shown_and_the_others_counted(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(address, monkeypatch, "--subjects", "1", "--budget", "user").stdout.splitlines()
    assert told[0] == "user of user ann  0.90 of 1.00 USD, 90.0 %  WARNING"
    assert told[-1] == "    2 subjects have spent something of it; --subjects shows more of them"
    assert len(told) == 3


def test_a_program_gets_every_figure_exactly(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    day, *_ = json.loads(run(address, monkeypatch, "--json").stdout)
    assert (day["budget"], day["spent"], day["amount"], day["ratio"]) == ("day", "1.05", "3", "0.35")
    assert (day["calls"], day["unpriced_calls"], day["subjects"], day["level"]) == (4, 1, 1, "")
    assert (day["limited"], day["limited_until"]) == (None, None), "there is no Kafka that could tell"
    today = span_at(NOW, "day", STEADY_ZONE)
    assert today.end is not None
    assert (day["period_start"], day["period_end"]) == (today.start.isoformat(), today.end.isoformat())


def test_what_is_limited_now_says_so_and_until_when(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    limited, session = state_of(budget="user", subject={"user_id": "ann"}), {"period_start": None, "period_end": None}
    limited = limited.model_copy(update={"period_end": now + timedelta(hours=1)})
    over = limited.model_copy(update={"subject": {"user_id": "b,o=b\u202e"}, "period_end": now})
    with EmbeddedBroker({"usage.budgets": 1}) as broker:
        outbox = Outbox({"bootstrap.servers": broker.bootstrap_servers})
        states = [limited, over, limited.model_copy(update={"budget": "limit"} | session)]
        publish_states(outbox, "usage.budgets", [News(each.key, each) for each in states])
        told = run(address, monkeypatch, kafka=broker.bootstrap_servers)
        rows = json.loads(run(address, monkeypatch, "--json", kafka=broker.bootstrap_servers).stdout)
    lines = [line for line in told.stdout.splitlines() if "LIMITED" in line]
    until = f"{now + timedelta(hours=1):%Y-%m-%d %H:%M:%S} UTC"
    assert lines == [
        "limit of user ann  0.90 of 1.00 USD, 90.0 %  CRITICAL  LIMITED for the whole session",
        f"user of user ann  0.90 of 1.00 USD, 90.0 %  WARNING  LIMITED until {until}",
    ]
    assert told.stderr == ""
    found = {(row["budget"], row["subject"]): (row["limited"], row["limited_until"]) for row in rows}
    assert found["user", "user=ann"] == (True, (now + timedelta(hours=1)).isoformat())
    assert found["limit", "user=ann"] == (True, None)
    assert found["day", ""] == (False, None)


def test_where_kafka_cannot_be_asked_it_is_said_and_the_rest_is_told(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = run(address, monkeypatch)
    assert told.exit_code == 0
    assert "costream: which of them are limited is not known: Kafka at 127.0.0.1:1 does not answer" in told.stderr


def test_a_name_that_nothing_is_judged_by_is_refused(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(address, monkeypatch, "--budget", "dayly")
    assert result.exit_code == 1
    assert (
        "no budget or limit named 'dayly' is judged by; `costream budgets list` names those that are" in result.stderr
    )
