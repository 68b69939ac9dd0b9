"""A warehouse of the release that kept units in a map: its rows become rows of their own, and a replay changes none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseError
from stream.audit import audit
from tests.support.databases import drop_database
from tests.support.ingest import Warehouse, cut, flush_of, ingest_of, run
from tests.support.records import NOW, log_of, wire
from tests.support.releases import LAST_WITH_MAPS, Release
from tests.support.warehouse import Embedded


@pytest.fixture
def old(clickhouse_embedded: Embedded) -> Iterator[Warehouse]:
    """A warehouse as the release before had it."""
    address = clickhouse_embedded.unmade()
    migrate.up(address, target=LAST_WITH_MAPS)
    warehouse = Warehouse(Reader(address), Writer(address))
    yield warehouse
    warehouse.reader.close()
    warehouse.writer.close()
    drop_database(address)


TORN = ("usage_events", "usage_hourly")  # what a torn flush has stored


def values_of(source: str) -> list[bytes]:
    given: list[dict[str, Any]] = [
        {"quantities": {"images": "0.000000000001", "audio_seconds": str(n)}} if n % 3 else {} for n in range(30)
    ]
    return [wire(f"{source}-{n}", feature=f"f{n % 2}", **fields) for n, fields in enumerate(given)]


def recounted(values: list[bytes]) -> dict[tuple[str, str], Decimal]:
    sums: dict[tuple[str, str], Decimal] = {}
    for event in map(json.loads, values):
        for unit, amount in event.get("quantities", {}).items():
            sums[event["feature"], unit] = sums.get((event["feature"], unit), Decimal(0)) + Decimal(amount)
    return sums


def summed(warehouse: Warehouse) -> dict[tuple[str, str], Decimal]:
    sql = "SELECT feature, quantities FROM usage_hourly WHERE notEmpty(quantities)"
    rows = warehouse.reader.frame(sql).to_dicts()
    assert len({row["feature"] for row in rows}) == len(rows)
    return {(row["feature"], unit): amount for row in rows for unit, amount in row["quantities"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("replayed_from", [0, 13, 20])
def test_units_of_the_release_before_equal_a_plain_recount_after_a_torn_flush_and_a_replay(
    warehouse: Warehouse, old: Warehouse, replayed_from: int
) -> None:
    source = f"test-{uuid4()}"
    values = values_of(source)
    log = log_of(values)
    release, ingest = Release(old), ingest_of(warehouse, source)
    *flushes, last = [flush_of(ingest, some) for some in cut(log[:24], 4)]
    for flush in flushes:
        release.store(flush)
    release.store(last, TORN)
    assert migrate.up(old.reader.address).versions[0] == LAST_WITH_MAPS + 1
    run(old, ingest_of(old, source), log[replayed_from:], batch=7)
    assert summed(old) == recounted(values)
    report = audit(old.reader, clock=lambda: NOW, pause=lambda: None)
    assert report.check("usage_hourly_units").compared == 4
    assert [check.name for check in report.checks if not check.holds] == []


def test_a_worker_of_the_release_before_cannot_write_what_nobody_reads(warehouse: Warehouse, old: Warehouse) -> None:
    source = f"test-{uuid4()}"
    flush = flush_of(ingest_of(warehouse, source), log_of(values_of(source)))
    release = Release(old)
    migrate.up(old.reader.address)
    with pytest.raises(WarehouseError):
        release.store(flush)
    assert old.rows("usage_hourly", source) == []


@pytest.mark.slow
def test_the_way_down_puts_the_map_back_and_the_way_up_takes_it_again(warehouse: Warehouse, old: Warehouse) -> None:
    source = f"test-{uuid4()}"
    values, address = values_of(source), old.reader.address
    release = Release(old)
    release.store(flush_of(ingest_of(warehouse, source), log_of(values[:20])))
    before = hours_of_before(old)
    migrate.up(address)
    back_to_maps(address)
    assert hours_of_before(old) == before
    migrate.up(address)
    run(old, ingest_of(old, source), log_of(values))
    assert summed(old) == recounted(values)


def hours_of_before(old: Warehouse) -> list[tuple[Any, ...]]:
    """The rows that count, as the release before kept them. Two columns that are newer stay on the way down."""
    newer = "unpriced_tokens, partial_tokens"
    return sorted(old.reader.frame(f"SELECT * EXCEPT ({newer}) FROM usage_hourly FINAL").rows(), key=repr)


def back_to_maps(address: ClickHouseAddress) -> None:
    with closing(open_client(address)) as client:
        newer = client.query(f"SELECT count() FROM schema_versions WHERE version > {LAST_WITH_MAPS}").result_rows
    migrate.down(address, steps=newer[0][0], drop_data=True)
