"""Rollups recomputed from the calls that they are made of: the digits that they had, whatever became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from sinks.clickhouse import claims
from sinks.clickhouse.connect import ClickHouseAddress
from stream.audit.ground import RowsMissing, SpanNotKept
from stream.audit.rebuild import Rebuilt, differing, rebuild
from stream.cli import application
from tests.support.databases import emptied
from tests.support.repriced import NOW, Killed, MortalWriter, Place, call
from tests.support.warehouse import Server, settings_of

TABLES = ("usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily")
START, END = NOW.date() - timedelta(days=6), NOW.date() + timedelta(days=1)
NOTHING = dict.fromkeys(TABLES, 0)


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A warehouse with 200 calls of two days, ten of them sent twice."""
    monkeypatch.setattr(claims, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr("stream.audit.checks.PAUSE_SECONDS", 0.01)
    with closing(Place(emptied(one_database))) as place:
        place.store([call(number) for number in range(200)])
        place.store([call(number) for number in range(10)])
        yield place


def rebuilt(place: Place, *, writer: Any = None, **options: Any) -> Rebuilt:
    usual = {"start": START, "end": END, "clock": lambda: NOW, "pause": lambda: None}
    return rebuild(place.reader, writer or place.warehouse.writer, **usual | options)


def figures(place: Place, *, without: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
    """Every row of every rollup, as its view has it."""
    rows = {table: place.frame(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES}
    return {table: frame.drop(*without, strict=False) for table, frame in rows.items()}


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    return all(one[table].equals(other[table]) for table in TABLES)


def cells(place: Place, table: str) -> int:
    """Rows as they are stored: one of each partition."""
    rows: int = place.frame(f"SELECT toInt64(count()) FROM {table}_rows FINAL").item()
    return rows


def drop(place: Place) -> None:
    for table in TABLES:
        place.command(f"TRUNCATE TABLE {table}_rows")


def test_dropped_rollups_come_back_with_every_digit_but_the_repeats(place: Place) -> None:
    before = figures(place, without=("duplicates",))
    drop(place)
    assert not same(figures(place, without=("duplicates",)), before)
    done = rebuilt(place)
    assert same(figures(place, without=("duplicates",)), before)
    assert (done.rows, done.restless) == ({table: cells(place, table) for table in TABLES}, 0)
    assert place.broken() == {}


def test_rows_that_were_changed_get_their_digits_and_keep_their_repeats(place: Place) -> None:
    before = figures(place)
    assert before["usage_hourly"]["duplicates"].sum() == 10
    place.command(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (r.cost_usd * 2 AS cost_usd) FROM usage_hourly_rows AS r"
    )
    place.command(
        "INSERT INTO usage_hourly_units_rows SELECT * REPLACE (0 AS amount_pico) FROM usage_hourly_units_rows"
    )
    rebuilt(place)
    assert same(figures(place), before)
    assert place.broken() == {}


@pytest.mark.slow
def test_rollups_of_calls_that_were_priced_anew_come_back_as_these_calls_are(place: Place) -> None:
    place.reprice()
    parts = ("duplicates", "price_versions")  # a rollup goes on naming the prices before
    before = figures(place, without=parts)
    drop(place)
    rebuilt(place)
    assert same(figures(place, without=parts), before)
    assert place.broken() == {}


@pytest.mark.slow
def test_a_worker_that_goes_on_over_rebuilt_rows_counts_right(place: Place) -> None:
    """Its rows are in memory from before: it writes them whole, and the correction takes them off again."""
    drop(place)
    rebuilt(place)
    place.store([call(number) for number in range(200, 260)])
    rebuilt(place)
    assert place.broken() == {}
    assert place.frame("SELECT sum(calls) FROM usage_hourly").item() == 260
    place.ingest = place.started()
    place.store([call(number) for number in range(260, 300)])
    assert place.broken() == {}


@pytest.mark.slow
def test_the_second_time_nothing_changes(place: Place) -> None:
    drop(place)
    rebuilt(place)
    writer = MortalWriter(place.warehouse.writer, dies_at=1)
    assert rebuilt(place, writer=writer).rows == NOTHING
    assert writer.writes == []


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", range(1, len(TABLES) + 1))
def test_one_that_breaks_off_is_finished_by_the_next(place: Place, dies_at: int) -> None:
    before = figures(place, without=("duplicates",))
    drop(place)
    with pytest.raises(Killed):
        rebuilt(place, writer=MortalWriter(place.warehouse.writer, dies_at=dies_at))
    rebuilt(place)
    assert same(figures(place, without=("duplicates",)), before)


@pytest.mark.slow
def test_other_days_stay_as_they_are(place: Place) -> None:
    yesterday = NOW.date() - timedelta(days=1)
    drop(place)
    rebuilt(place, start=yesterday, end=yesterday + timedelta(days=1))
    assert set(place.frame("SELECT day FROM usage_daily")["day"]) == {yesterday}
    assert set(place.frame("SELECT toDate(hour) AS day FROM usage_hourly")["day"]) == {yesterday}


def test_days_that_are_not_kept_whole_and_partitions_that_lack_calls_are_refused(place: Place) -> None:
    with pytest.raises(SpanNotKept, match=r"what is older cannot be worked out again\. Nothing was changed"):
        rebuilt(place, start=NOW.date() - timedelta(days=89))
    place.command("DELETE FROM usage_events_rows WHERE request_id = 'call-8'")
    before = figures(place)
    with pytest.raises(RowsMissing):
        rebuilt(place)
    with pytest.raises(RowsMissing):
        differing(place.reader, start=START, end=END, now=NOW)
    assert same(figures(place), before)


# --- as a person gives it --------------------------------------------------------------------------------------------


def asked(place: Place, *arguments: str, status: int = 0) -> Result:
    settings = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(place.address).items()}
    result = CliRunner().invoke(application(only="rebuild"), ["rebuild", *arguments], env=settings)
    assert result.exit_code == status, result.output
    return result


def test_it_is_told_before_done_and_told_after(place: Place) -> None:
    hours = cells(place, "usage_hourly")
    place.command("TRUNCATE TABLE usage_hourly_rows")
    told = asked(place, "--from", str(START), "--dry-run").stdout
    assert told.splitlines()[2].split() == ["usage_hourly", str(hours)]
    assert told.splitlines()[3].split() == ["usage_hourly_units", "0"]
    assert told.endswith("nothing was changed\n")
    assert cells(place, "usage_hourly") == 0
    assert asked(place, "--from", str(START)).stdout.endswith(f"\n{hours} rows corrected\n")
    assert place.broken() == {}
    assert asked(place, "--from", str(START)).stdout.endswith("\nevery row is the sum of its calls\n")


@pytest.mark.slow
def test_as_json_it_is_one_object(place: Place) -> None:
    hours = cells(place, "usage_hourly")
    place.command("TRUNCATE TABLE usage_hourly_rows")
    span = ("--from", str(START), "--to", str(END), "--json")
    told = {"from": str(START), "to": str(END), "differing_rows": NOTHING | {"usage_hourly": hours}}
    assert json.loads(asked(place, *span, "--dry-run").stdout) == told | {"dry_run": True, "uncorrected_rows": hours}
    assert json.loads(asked(place, *span).stdout) == told | {"dry_run": False, "uncorrected_rows": 0}


def test_what_cannot_be_done_is_refused_in_a_sentence(place: Place) -> None:
    told = asked(place, "--from", str(END), "--to", str(START), status=2).output
    assert f"the span is empty: {END} is not before {START}; nothing was done" in " ".join(told.split())
    told = asked(place, "--from", "2020-01-01", status=1).output
    assert "single calls are kept whole from" in " ".join(told.split())
