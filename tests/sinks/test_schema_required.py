"""A build works with its own schema: what lacks a migration is waited for, what has another is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.errors import SchemaAhead, SchemaBehind, WarehouseUnavailable
from tests.support.databases import drop_database
from tests.support.warehouse import Endpoint, free_port


@pytest.fixture
def empty(clickhouse_endpoint: Endpoint) -> Iterator[ClickHouseAddress]:
    address = clickhouse_endpoint.unmade()
    yield address
    drop_database(address)


def test_a_schema_that_is_missing_or_behind_says_which_migrations_and_the_command(empty: ClickHouseAddress) -> None:
    with pytest.raises(SchemaBehind, match=r"lacks migration 1 001_tables, .*: run `costream migrate up`"):
        migrate.require_current(empty)
    migrate.up(empty, target=1)
    with pytest.raises(SchemaBehind, match="lacks migration 2 002_views"):
        migrate.require_current(empty)
    migrate.up(empty)
    migrate.require_current(empty)


def test_a_schema_of_a_newer_build_is_left_alone(
    empty: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in migrate.FOLDER.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "099_later.sql").write_text("SELECT 1;\n")
    with monkeypatch.context() as newer:
        newer.setattr(migrate, "FOLDER", tmp_path)
        migrate.up(empty)
    with pytest.raises(SchemaAhead, match="has migration 99, which this build does not have"):
        migrate.require_current(empty)


@pytest.mark.slow
def test_a_schema_made_by_another_text_is_not_this_builds(
    empty: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(empty)
    for file in migrate.FOLDER.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text() + "-- changed\n")
    monkeypatch.setattr(migrate, "FOLDER", tmp_path)
    with pytest.raises(SchemaAhead, match=r"has migration 1 001_tables \(with another text\)"):
        migrate.require_current(empty)


def test_a_warehouse_that_is_away_is_said_to_be_away() -> None:
    with pytest.raises(WarehouseUnavailable, match="does not answer"):
        migrate.require_current(ClickHouseAddress(f"http://127.0.0.1:{free_port()}"))
