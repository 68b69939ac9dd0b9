"""Databases with every table and view and no rows, which tests are lent.

To make one takes a second, to empty one takes milliseconds. So what a fixture or a test has been lent is lent again
once that is over, if its tables, views and migrations are still what they were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress, open_client, quoted

PARTS = """
SELECT create_table_query FROM system.tables WHERE database = {database:String}
ORDER BY engine = 'View', metadata_modification_time"""

SHAPE = """
SELECT count(), sum(cityHash64(name, replaceAll(create_table_query, concat(database, '.'), '')))
FROM system.tables WHERE database = {database:String}"""

FILLED = """
SELECT name FROM system.tables
WHERE database = {database:String} AND engine LIKE '%MergeTree' AND total_rows > 0
  AND name NOT IN ('schema_versions', 'schema_views')"""

MIGRATIONS = ("schema_versions", "schema_views")  # what these tables hold is a part of the schema


class Databases(ABC):
    """The databases of one engine."""

    def __init__(self) -> None:
        self._pattern: ClickHouseAddress | None = None
        self._shape: tuple[Any, ...] = ()
        self._returned: deque[ClickHouseAddress] = deque()  # the one that was returned first is lent first

    @abstractmethod
    def unmade(self) -> ClickHouseAddress:
        """The address of a database that does not exist yet."""

    def fresh(self) -> ClickHouseAddress:
        """The address of a database with every table and view, and no rows."""
        if self._pattern is None:
            self._pattern = migrated(self.unmade())
            self._shape = shape_of(self._pattern)
        address = self._as_it_was() or copied(self._pattern, self.unmade())
        LENDING.note(self, address)
        return address

    def take_back(self, address: ClickHouseAddress) -> None:
        """Nobody uses it any more."""
        self._returned.append(address)

    def _as_it_was(self) -> ClickHouseAddress | None:
        while self._returned:
            address = self._returned.popleft()
            if shape_of(address) == self._shape:
                return emptied(address)
            drop_database(address)
        return None


class Lending:
    """Who has been lent what: of those who are asking, fixtures and a test, the innermost is the last."""

    def __init__(self) -> None:
        self._asking: list[list[Callable[[], None]]] = []

    def note(self, owner: Databases, address: ClickHouseAddress) -> None:
        if self._asking:
            self._asking[-1].append(partial(owner.take_back, address))

    @contextmanager
    def asking(self) -> Iterator[list[Callable[[], None]]]:
        """Collects how that is given back which is lent in the meantime."""
        given_back: list[Callable[[], None]] = []
        self._asking.append(given_back)
        try:
            yield given_back
        finally:
            self._asking.pop()


LENDING = Lending()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    with LENDING.asking() as given_back:
        made = yield
    for give_back in given_back:
        fixturedef.addfinalizer(give_back)
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    with LENDING.asking() as given_back:
        try:
            return (yield)
        finally:
            for give_back in given_back:
                give_back()


def shape_of(address: ClickHouseAddress) -> tuple[Any, ...]:
    """What makes two databases equal but for their names and their rows."""
    with closing(open_client(address, database="system")) as client:
        shape = client.query(SHAPE, parameters={"database": address.database}).result_rows[0]
        if not all(client.command(f"EXISTS {quoted(address.database)}.{table}") for table in MIGRATIONS):
            return tuple(shape)
        rows = [
            client.query(f"SELECT count(), sum(cityHash64(*)) FROM {quoted(address.database)}.{table}").result_rows[0]
            for table in MIGRATIONS
        ]
    return (*shape, *rows)


def copied(pattern: ClickHouseAddress, address: ClickHouseAddress) -> ClickHouseAddress:
    """A database as the migrations have left ``pattern``, in half of the time that they take."""
    with closing(open_client(pattern, database="system")) as client:
        client.command(f"CREATE DATABASE {quoted(address.database)}")
        for (statement,) in client.query(PARTS, parameters={"database": pattern.database}).result_rows:
            client.command(statement.replace(f"{pattern.database}.", f"{address.database}."))
        for table in MIGRATIONS:
            rows = f"SELECT * FROM {quoted(pattern.database)}.{table}"
            client.command(f"INSERT INTO {quoted(address.database)}.{table} {rows}")
    return address


def emptied(address: ClickHouseAddress) -> ClickHouseAddress:
    """The same database without a row in any table. One that is empty is left alone: to empty it takes as long."""
    with closing(open_client(address)) as client:
        for (table,) in client.query(FILLED, parameters={"database": address.database}).result_rows:
            client.command(f"TRUNCATE TABLE {quoted(table)}")
    return address


def migrated(address: ClickHouseAddress) -> ClickHouseAddress:
    migrate.up(address)
    return address


def drop_database(address: ClickHouseAddress) -> None:
    with closing(open_client(address, database="system")) as client:
        client.command(f"DROP DATABASE IF EXISTS {quoted(address.database)}")
