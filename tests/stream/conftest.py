"""What the tests of the stream share: one warehouse, in this process unless a server is named; tests stay apart by
their source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.support.ingest import Warehouse
from tests.support.site import Site
from tests.support.warehouse import Embedded, Server, named_server


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Embedded | Server:
    """The engine in this process, which is the quickest, or the server of COSTREAM_TEST_CLICKHOUSE."""
    name = "clickhouse_endpoint" if named_server() else "clickhouse_embedded"
    found: Embedded | Server = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="session")
def warehouse(engine: Embedded | Server) -> Iterator[Warehouse]:
    address = engine.fresh()
    warehouse = Warehouse(Reader(address), Writer(address))
    yield warehouse
    warehouse.reader.close()
    warehouse.writer.close()


@pytest.fixture
def site(kafka_bootstrap: str, kafka_prefix: str, clickhouse_endpoint: Server) -> Iterator[Site]:
    """Topics of its own on a real Kafka, and a warehouse of its own over HTTP."""
    site = Site(kafka_bootstrap, kafka_prefix, clickhouse_endpoint.fresh())
    yield site
    site.totals.close()
