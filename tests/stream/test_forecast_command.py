"""`costream forecast` as a person gives it, on calls that are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from sinks.clickhouse.connect import ClickHouseAddress
from stream.cli import application, common
from stream.cli import forecast as forecast_command
from tests.support.databases import emptied
from tests.support.records import wire
from tests.support.repriced import NOW, Place
from tests.support.warehouse import Server, settings_of

DAYS = 40
USD_1 = {"provider": "openai", "model": "gpt-4o", "input_tokens": 400_000, "output_tokens": 0}


def call(request_id: str, occurred_at: datetime, **fields: Any) -> bytes:
    return wire(request_id, **{"occurred_at": occurred_at.isoformat(), "feature": "chat", **USD_1, **fields})


@pytest.fixture(scope="module")
def address(clickhouse_endpoint: Server) -> Iterator[ClickHouseAddress]:
    """A dollar a day of chat and one of search at midnight, and one call that nobody knows the price of."""
    address = clickhouse_endpoint.fresh()
    midnight = NOW.replace(hour=0, minute=0)
    with closing(Place(emptied(address))) as place:
        place.store(
            [
                call(f"{feature}-{day}", midnight - timedelta(days=day), feature=feature)
                for day in range(DAYS + 1)
                for feature in ("chat", "search")
            ]
            + [call("strange", midnight - timedelta(days=1), model="nobody-knows")]
            + [call(f"young-{day}", midnight - timedelta(days=day), feature="young\u202e") for day in range(3)]
        )
    yield address


def run(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr(common.console, "_width", 100)
    monkeypatch.setattr(forecast_command, "_now", lambda: NOW.replace(hour=12, minute=0))  # an hour after all calls
    environment = {f"COSTREAM_{name.upper()}": str(value) for name, value in settings_of(address).items()}
    return CliRunner().invoke(application(), ["forecast", *arguments], env=environment)


def as_json(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    result = run(address, monkeypatch, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_scope_is_forecast_from_its_own_hours(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    found = as_json(address, monkeypatch, "--feature", "chat", "--provider", "openai")
    assert found["scope"] == {"provider": "openai", "feature": "chat"}
    assert (found["zone"], found["currency"], found["method"]) == ("UTC", "USD", "rhythm")
    assert (found["whole_days"], found["weeks"]) == (DAYS - 1, 5)
    assert (found["calls"], found["unpriced_calls"]) == (DAYS + 2, 1)
    day, week, month = found["outlooks"]
    today = NOW.date()
    first = today.replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    assert (day["period"], day["so_far"], day["expected"], day["low"], day["high"]) == ("day", "1", "1", "1", "1")
    assert (week["so_far"], week["expected"]) == (str(today.weekday() + 1), "7")
    assert (month["so_far"], month["expected"]) == (str(today.day), str((after - first).days))
    assert month["start"] == datetime.combine(first, time.min, UTC).isoformat()
    assert month["end"] == datetime.combine(after, time.min, UTC).isoformat()


def test_everything_together_is_all_of_it(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    day = as_json(address, monkeypatch)["outlooks"][0]
    assert day["so_far"] == "3"
    assert Decimal(2) < Decimal(day["expected"]) < Decimal(4)


def test_days_are_those_of_the_zone(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    found = as_json(address, monkeypatch, "--feature", "chat", "--zone", "Asia/Seoul")
    assert found["zone"] == "Asia/Seoul"
    there = datetime.fromisoformat(found["made_at"]).astimezone(ZoneInfo("Asia/Seoul"))
    start = datetime.fromisoformat(found["outlooks"][0]["start"])
    assert start == there.replace(hour=0, minute=0, second=0, microsecond=0)


def test_a_person_reads_a_table_and_what_is_not_in_it(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(address, monkeypatch, "--feature", "chat")
    first, *rows = result.stdout.splitlines()
    assert first.startswith("cost of feature 'chat', as of 20")
    assert first.endswith(" (UTC)")
    said = " ".join(result.stdout.split())
    assert "the last two weeks, the trend of 5 weeks, and what each weekday usually is; from 39 whole days" in said
    assert all(column in said for column in ("ends", "so far USD", "expected USD", "80 % from", "to"))
    day = next(row for row in rows if row.startswith("day")).split()
    assert day[3:] == ["1.00", "1.00", "1.00", "1.00"]
    assert "1 of 42 calls have no price: they are in none of these figures" in result.stdout


def test_with_little_history_the_simple_projection_is_told_as_one(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = " ".join(run(address, monkeypatch, "--feature", "young\u202e").stdout.split())
    assert "feature 'young\\u{202e}'" in said
    assert "too little history (1 whole day; 14 are needed): what was spent so far, divided by" in said
    assert "unknown" in said


def test_of_what_never_was_nothing_is_told(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(address, monkeypatch, "--team", "nobody")
    assert result.exit_code == 0
    assert "no call of it is stored in the last 112 days" in result.stdout
    assert as_json(address, monkeypatch, "--team", "")["calls"] == 2 * (DAYS + 1) + 4, "an empty value is one too"


def test_a_zone_that_is_none_is_a_sentence(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(address, monkeypatch, "--zone", "Mars/Olympus")
    assert result.exit_code == common.EXIT_USAGE
    assert "--zone: 'Mars/Olympus' is no time zone such as Asia/Seoul; nothing was asked" in result.output
