"""Where the warehouse is, by the settings."""

from __future__ import annotations

from sinks.clickhouse.connect import ClickHouseAddress
from stream.runtime.settings import Settings


def warehouse_address(settings: Settings) -> ClickHouseAddress:
    return ClickHouseAddress(
        url=settings.clickhouse_url,
        database=settings.clickhouse_database,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
    )
