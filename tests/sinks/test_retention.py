"""Retention is one number: the tables' TTL, what the worker was told, and what the audit compares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from sinks.clickhouse import retention
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import RetentionDiffers, RowsWouldExpire
from stream.audit.ground import ground
from stream.runtime.settings import Settings
from tests.support.records import until
from tests.support.warehouse import Server
from tests.support.warehouse_rows import events, this_hour

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def days(count: int) -> timedelta:
    return timedelta(days=count)


@pytest.fixture
def schema(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def reader(schema: ClickHouseAddress) -> Iterator[Reader]:
    with closing(Reader(schema)) as reader:
        yield reader


def store(address: ClickHouseAddress, *ages: int) -> None:
    with closing(Writer(address)) as writer:
        rows = [{"request_id": f"{age} days", "occurred_at": this_hour() - days(age)} for age in ages]
        writer.insert("usage_events", events(rows))


def stored(reader: Reader) -> list[str]:
    return sorted(reader.frame("SELECT request_id FROM usage_events_rows FINAL")["request_id"])


@pytest.mark.parametrize("told", ["P400D", "P366D", "P2D", "PT36H", "P30DT1S"])
def test_a_retention_that_no_one_could_keep_or_audit_is_refused(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("COSTREAM_RETENTION", told)
    monkeypatch.setenv("COSTREAM_DEDUP_WINDOW", "P1D")
    with pytest.raises(ValidationError, match="it must be 3 to 365 whole days"):
        Settings()


@pytest.mark.parametrize("told", ["P3D", "P365D"])
def test_a_retention_of_three_days_and_of_a_year_are_taken(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv("COSTREAM_RETENTION", told)
    monkeypatch.setenv("COSTREAM_DEDUP_WINDOW", "P3D")
    assert f"P{Settings().retention.days}D" == told


def test_ids_are_not_promised_for_longer_than_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTREAM_RETENTION", "P6D")
    with pytest.raises(ValidationError, match="COSTREAM_DEDUP_WINDOW is above COSTREAM_RETENTION"):
        Settings()


def test_a_new_schema_keeps_what_the_setting_says_by_default(schema: ClickHouseAddress) -> None:
    retention.require(schema, Settings().retention)
    assert not retention.apply(schema, Settings().retention, now=NOW)


@pytest.mark.parametrize("other", [days(30), days(365)])
def test_a_worker_with_another_number_is_refused_in_words(schema: ClickHouseAddress, other: timedelta) -> None:
    with pytest.raises(RetentionDiffers) as refused:
        retention.require(schema, other)
    said = str(refused.value)
    assert f"COSTREAM_RETENTION is {other.days} days, but" in said
    assert "usage_events for 90 days and dead_letters for 90 days" in said
    assert f"`costream migrate up` with COSTREAM_RETENTION=P{other.days}D" in said
    retention.apply(schema, other, now=NOW)
    retention.require(schema, other)
    with pytest.raises(RetentionDiffers):
        retention.require(schema, days(90))


def test_one_table_that_keeps_its_rows_for_another_time_is_enough(schema: ClickHouseAddress) -> None:
    with closing(open_client(schema)) as client:
        client.command("ALTER TABLE dead_letters_rows MODIFY TTL toDateTime(received_at) + INTERVAL 5 DAY")
        with pytest.raises(RetentionDiffers, match="dead_letters for 5 days"):
            retention.require(schema, days(90))
        client.command("ALTER TABLE dead_letters_rows REMOVE TTL")
        with pytest.raises(RetentionDiffers, match="dead_letters for a time that is not ours"):
            retention.require(schema, days(90))
    assert retention.apply(schema, days(90), now=NOW, drop_data=True)
    retention.require(schema, days(90))


def test_what_was_decided_of_a_dead_letter_is_kept_as_long_as_the_letter(schema: ClickHouseAddress) -> None:
    retention.apply(schema, days(30), now=NOW)
    with closing(Reader(schema)) as reader:
        kept = retention.kept(reader)
    assert kept["dead_letters"] == kept["dead_letter_states"] == days(30)


def test_a_shorter_retention_drops_rows_only_when_that_is_asked_for(schema: ClickHouseAddress, reader: Reader) -> None:
    now = datetime.now(UTC)
    store(schema, 29, 31)
    with pytest.raises(RowsWouldExpire, match=r"drops 1 row of usage_events kept today; the retention was not changed"):
        retention.apply(schema, days(30), now=now)
    retention.require(schema, days(90))
    assert stored(reader) == ["29 days", "31 days"]
    assert retention.apply(schema, days(30), now=now, drop_data=True)
    optimize(schema)
    assert stored(reader) == ["29 days"]


def test_a_longer_retention_holds_for_the_rows_that_there_are(schema: ClickHouseAddress, reader: Reader) -> None:
    """A part knows when its rows go from the moment it was written."""
    store(schema, 89)
    assert retention.apply(schema, days(120), now=datetime.now(UTC))
    sql = """SELECT max(delete_ttl_info_max) AS goes FROM system.parts
      WHERE active AND database = currentDatabase() AND table = 'usage_events_rows'"""
    until(lambda: reader.frame(sql)["goes"][0] > datetime.now(UTC) + days(30), "the part knows")
    assert stored(reader) == ["89 days"]


def optimize(address: ClickHouseAddress) -> None:
    with closing(open_client(address)) as client:
        client.command("OPTIMIZE TABLE usage_events_rows FINAL")


def test_what_expired_under_a_shorter_retention_is_not_taken_for_lost_under_a_longer_one(
    schema: ClickHouseAddress, reader: Reader
) -> None:
    assert retention.raw_since(reader, now=NOW) == NOW - days(90)
    retention.apply(schema, days(30), now=NOW)
    assert retention.raw_since(reader, now=NOW) == NOW - days(30)
    later = NOW + days(10)
    retention.apply(schema, days(60), now=later)
    assert retention.raw_since(reader, now=later) == later - days(30)
    assert retention.raw_since(reader, now=later + days(20)) == later - days(30)
    assert retention.raw_since(reader, now=later + days(40)) == later - days(20)
    assert ground(reader, now=later, retention=days(60)).start == (later - days(28)).date()
    assert ground(reader, now=later, retention=days(10)).start == (later - days(8)).date()


def test_a_change_that_broke_off_before_it_was_recorded_is_recorded_by_the_next_run(
    schema: ClickHouseAddress, reader: Reader
) -> None:
    retention.apply(schema, days(120), now=NOW)
    with closing(open_client(schema)) as client:
        client.command("TRUNCATE TABLE retention_changes_rows")  # the power went before it
    assert retention.apply(schema, days(120), now=NOW + days(1))
    assert retention.raw_since(reader, now=NOW + days(1)) == NOW - days(89)
    assert not retention.apply(schema, days(120), now=NOW + days(2))
