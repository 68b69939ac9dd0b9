"""What the tests of the stream share: one warehouse in this process; tests stay apart by their source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.ingest import Warehouse
from tests.support.warehouse import Embedded


@pytest.fixture(scope="session")
def embedded_address(clickhouse_embedded: Embedded) -> ClickHouseAddress:
    return clickhouse_embedded.fresh()


@pytest.fixture(scope="session")
def warehouse(embedded_address: ClickHouseAddress) -> Iterator[Warehouse]:
    warehouse = Warehouse(Reader(embedded_address), Writer(embedded_address))
    yield warehouse
    warehouse.reader.close()
    warehouse.writer.close()
