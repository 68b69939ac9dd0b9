"""What a test is lent has every table and view and no rows, whatever the test before it has done."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from copy import copy

import pytest

from sinks.clickhouse.connect import ClickHouseAddress, open_client
from tests.support.databases import LENDING
from tests.support.warehouse import Embedded


def lender(engine: Embedded) -> Embedded:
    """One that makes databases as ``engine`` does, and has none to lend yet."""
    engine.fresh()  # the pattern is made once, which takes seconds
    mine = copy(engine)
    mine._returned = deque()
    return mine


def lent_while(engine: Embedded, *statements: str) -> ClickHouseAddress:
    """The address that somebody had who did this with it, and has ended."""
    with LENDING.asking() as given_back:
        address = engine.fresh()
        with closing(open_client(address)) as client:
            for statement in statements:
                client.command(statement)
    for give_back in given_back:
        give_back()
    return address


def rows_of(address: ClickHouseAddress, table: str) -> int:
    with closing(open_client(address)) as client:
        return int(client.command(f"SELECT count() FROM {table}"))


def test_one_that_was_filled_is_lent_again_without_its_rows(clickhouse_embedded: Embedded) -> None:
    engine = lender(clickhouse_embedded)
    filled = lent_while(engine, "INSERT INTO prices_rows (price_id) VALUES ('a')", "SELECT 1")
    assert rows_of(filled, "prices_rows") == 1
    assert engine.fresh() == filled
    assert rows_of(filled, "prices_rows") == 0
    assert engine.fresh() != filled, "it is lent already"


@pytest.mark.slow
def test_one_whose_tables_views_or_migrations_were_changed_is_not_lent_again(clickhouse_embedded: Embedded) -> None:
    for change in (
        "ALTER TABLE prices_rows ADD COLUMN other UInt8",
        "DROP VIEW prices",
        "ALTER TABLE usage_hourly_rows MODIFY TTL hour + INTERVAL 2 YEAR",
        "TRUNCATE TABLE schema_views",
    ):
        engine = lender(clickhouse_embedded)
        changed = lent_while(engine, change)
        assert engine.fresh() != changed, change


def test_one_that_was_dropped_is_not_lent_again(clickhouse_embedded: Embedded) -> None:
    engine = lender(clickhouse_embedded)
    dropped = lent_while(engine)
    with closing(open_client(dropped, database="system")) as client:
        client.command(f"DROP DATABASE {dropped.database}")
    assert engine.fresh() != dropped
