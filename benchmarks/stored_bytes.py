"""What an event takes on disk: the warehouse that the full job filled, merged to the end.

python -m benchmarks.stored_bytes chdb:///FOLDER      in a process of its own: a folder belongs to one process
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import ask_child, python_module
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.vocabulary import rows_of

RAW: Final = "usage_events_rows"
ROLLUPS: Final = tuple(
    map(rows_of, ("usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily", "ingest_ledger"))
)
NO_PARTS: Final = (0, 0)  # of a table that has no rows, such as that of units here
SECONDS_MAX: Final = 180.0


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes on disk of active parts after OPTIMIZE FINAL, divided by the events stored. Ids are random UUIDs."""

    events: int
    per_event: float
    data_per_event: float  # column files alone, without marks, indexes and checksums
    rollups_per_event: float
    largest_columns: tuple[tuple[str, float], ...]


def run(clickhouse_url: str, folder: Path) -> StoredBytes:
    answer = ask_child(python_module("stored_bytes", clickhouse_url), folder=folder, seconds_max=SECONDS_MAX)
    sizes, events = answer["tables"], answer["events"]
    return StoredBytes(
        events=events,
        per_event=sizes[RAW][0] / events,
        data_per_event=sizes[RAW][1] / events,
        rollups_per_event=sum(sizes.get(table, NO_PARTS)[0] for table in ROLLUPS) / events,
        largest_columns=tuple((name, size / events) for name, size in answer["columns"]),
    )


def main(url: str) -> None:
    client = open_client(ClickHouseAddress(url))
    for table in (RAW, *ROLLUPS):
        client.command(f"OPTIMIZE TABLE {table} FINAL")

    def rows(sql: str) -> list[Any]:
        return [list(row) for row in client.query(sql).result_rows]

    tables = rows(
        "SELECT table, toInt64(sum(bytes_on_disk)), toInt64(sum(data_compressed_bytes)) FROM system.parts "
        "WHERE active AND database = currentDatabase() GROUP BY table"
    )
    columns = rows(
        "SELECT column, toInt64(sum(column_data_compressed_bytes)) AS size FROM system.parts_columns "
        f"WHERE active AND database = currentDatabase() AND table = '{RAW}' GROUP BY column ORDER BY size DESC LIMIT 6"
    )
    ((events,),) = rows(f"SELECT count() FROM {RAW}")
    client.close()
    print(json.dumps({"events": events, "tables": {name: sizes for name, *sizes in tables}, "columns": columns}))


if __name__ == "__main__":
    main(sys.argv[1])
