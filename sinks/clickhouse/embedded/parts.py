"""Whether the embedded engine's parts are whole, and whether a start found all of them.

While somebody else fills the disk, a merge may put a part in place of its sources whose files are empty or short, and
report nothing (chDB 4.4.0, measured in tests/sinks/test_parts.py). The sources stay on the disk for a while
(engine.xml), and come back at the engine's next start, which sets aside what it cannot read. So each new part is looked
at soon, and the engine is started anew if one is broken.

What a start has set aside is made good if other parts hold all of its blocks: a part holds the blocks from its lowest
to its highest number, and a mutation takes a number too. If not, rows are missing, and nobody may go on from what is
left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from sinks.clickhouse.connect import ClickHouseAddress, open_client, quoted, translated
from sinks.clickhouse.reader import Reader
from sinks.errors import RowsSetAside, WarehouseError

LOOK_SECONDS: Final = 5.0

# Answers a question with rows of Python values. Raises whatever its engine raises.
Ask = Callable[[str], Sequence[tuple[Any, ...]]]

PARTS: Final = """
SELECT database, table, name, path, toInt64(bytes_on_disk) AS bytes_on_disk, toInt64(rows) AS rows
FROM system.parts WHERE active AND database != 'system'"""

# What the engine does not count among a part's bytes.
UNCOUNTED: Final = frozenset(
    (
        "checksums.txt",
        "columns.txt",
        "columns_substreams.txt",
        "default_compression_codec.txt",
        "metadata_version.txt",
    )
)

SET_ASIDE: Final = """
SELECT database, table, name, partition_id, toInt64(min_block_number) AS lowest, toInt64(max_block_number) AS highest
FROM system.detached_parts
WHERE startsWith(ifNull(reason, ''), 'broken') AND partition_id IS NOT NULL
ORDER BY database, table, name"""
BLOCKS: Final = """
SELECT database, table, partition_id, toInt64(min_block_number) AS lowest, toInt64(max_block_number) AS highest
FROM system.parts WHERE active
UNION ALL
SELECT database, table, '' AS partition_id, number AS lowest, number AS highest
FROM system.mutations ARRAY JOIN block_numbers.number AS number"""


@dataclass(frozen=True, slots=True)
class Part:
    """A part by its name: one in use, or one that a start has set aside, which is called otherwise since."""

    database: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} of {self.database}.{self.table}"


@dataclass(frozen=True, slots=True)
class PartOnDisk(Part):
    """A part in use, with the folder of its files and what the engine counted when it wrote them."""

    path: str
    size_bytes: int
    rows: int


class Watch:
    """Looks at each part once, soon after it was made."""

    def __init__(self, ask: Ask) -> None:
        """What is there now was read by the engine when it started, or cannot be told any more."""
        self._ask = ask
        self._whole: frozenset[PartOnDisk] = frozenset(self._parts())

    def broken(self) -> list[PartOnDisk]:
        """The parts made since the last look whose files are not what the engine believes them to be."""
        parts = frozenset(self._parts())
        broken = [part for part in parts - self._whole if not (sizes_agree(part) or self._passes(part))]
        self._whole = parts.difference(broken)
        return sorted(broken, key=str)

    def _parts(self) -> Iterator[PartOnDisk]:
        return (PartOnDisk(*row) for row in self._ask(PARTS))

    def _passes(self, part: PartOnDisk) -> bool:
        """The engine's own verdict, which takes reading all of it."""
        table = f"{quoted(part.database)}.{quoted(part.table)}"
        try:
            answer = self._ask(f"CHECK TABLE {table} PART '{part.name}' SETTINGS check_query_single_value_result = 1")
        except (RuntimeError, WarehouseError):
            return part not in self._parts()  # merged away, or dropped, since it was listed
        return bool(answer[0][0])


def sizes_agree(part: PartOnDisk) -> bool:
    """Whether the files together have the size that the engine counted when it wrote them, and none is empty that it
    does not count."""
    try:
        sizes = {file.name: file.stat().st_size for file in os.scandir(part.path)}
    except FileNotFoundError:
        return False
    counted = sum(size for name, size in sizes.items() if name not in UNCOUNTED)
    return counted == part.size_bytes and all(sizes.get(name) for name in UNCOUNTED & sizes.keys())


def set_aside(ask: Ask) -> tuple[list[Part], list[Part]]:
    """The broken parts that starts have set aside: those whose blocks other parts hold, and those whose rows are
    missing."""
    made_good: list[Part] = []
    missing: list[Part] = []
    if not (found := ask(SET_ASIDE)):
        return made_good, missing
    active = ask(BLOCKS)
    for database, table, name, partition, lowest, highest in found:
        blocks = ((row[3], row[4]) for row in active if row[:2] == (database, table) and row[2] in (partition, ""))
        held = covers(blocks, lowest, highest)
        (made_good if held else missing).append(Part(database, table, name))
    return made_good, missing


def covers(blocks: Iterable[tuple[int, int]], lowest: int, highest: int) -> bool:
    """Whether the spans hold each number from ``lowest`` to ``highest``."""
    for start, end in sorted(blocks):
        if start <= lowest <= end:
            lowest = end + 1
    return lowest > highest


def drop_statement(part: Part) -> str:
    """Deletes what was set aside, for good."""
    table = f"{quoted(part.database)}.{quoted(part.table)}"
    return f"ALTER TABLE {table} DROP DETACHED PART '{part.name}' SETTINGS allow_drop_detached = 1"


def require_all(address: ClickHouseAddress) -> None:
    """Raises ``RowsSetAside`` where a start of the warehouse has set rows of ours aside that nothing else holds.

    An engine in this process has nobody else to delete what was made good; what a server has set aside is its owner's.
    """
    with closing(Reader(address)) as reader:
        made_good, missing = set_aside(lambda sql: reader.frame(sql).rows())
    if address.embedded and made_good:
        with closing(open_client(address)) as client, translated(address):
            for part in made_good:
                client.command(drop_statement(part))
    missing = [part for part in missing if part.database == address.database]
    if missing:
        raise RowsSetAside(where=address.url, parts=[str(part) for part in missing], drop=drop_statement(missing[0]))
