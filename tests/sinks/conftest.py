"""The same cases on both ways to the engine: in this process, and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.databases import emptied
from tests.support.warehouse import Embedded, Server, one_way_and_the_other


@pytest.fixture(scope="session", params=one_way_and_the_other)
def one_database(request: pytest.FixtureRequest) -> ClickHouseAddress:
    warehouse: Embedded | Server = request.getfixturevalue(request.param)
    return warehouse.fresh()


@pytest.fixture
def address(one_database: ClickHouseAddress) -> ClickHouseAddress:
    """A database with every table and view, and no rows. Emptying one takes a millisecond, making one a second."""
    return emptied(one_database)


@pytest.fixture
def writer(address: ClickHouseAddress) -> Iterator[Writer]:
    writer = Writer(address)
    yield writer
    writer.close()


@pytest.fixture
def reader(address: ClickHouseAddress) -> Iterator[Reader]:
    reader = Reader(address)
    yield reader
    reader.close()
