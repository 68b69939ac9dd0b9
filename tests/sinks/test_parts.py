"""What a full disk does to merges of the embedded engine, and that no row is lost by it."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from sinks.clickhouse.connect import open_client
from sinks.clickhouse.embedded import parts
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import RowsSetAside, WarehouseUnavailable
from tests.support.databases import migrated
from tests.support.small_disk import SmallDisk
from tests.support.warehouse import Embedded, Endpoint, fill_and_merge, lose_what_was_merged
from tests.support.warehouse_rows import events, hourly

ROWS: Final = 40
BATCH: Final = 1_000
BREAKS: Final = 2  # a second one shows that the engine that was started anew looks after its parts too
BREAKS_WITHIN_S: Final = 150.0
MENDED_WITHIN_S: Final = 60.0


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with Endpoint(tmp_path / "clickhouse") as endpoint:
        yield endpoint


@pytest.mark.slow
def test_a_broken_part_is_mended_while_readers_see_all_rows_or_an_error(endpoint: Endpoint) -> None:
    address = migrated(endpoint.address())
    fill_and_merge(address)
    with closing(Reader(address)) as reader:
        assert count(reader) == ROWS
        time.sleep(parts.LOOK_SECONDS + 1)  # a look finds all of it whole
        assert not said(endpoint, "broke a part")
        for file in fill_and_merge(address).iterdir():
            file.write_bytes(b"")
        seen = set[int]()
        deadline = time.monotonic() + MENDED_WITHIN_S
        while not said(endpoint, "the engine was started anew"):
            assert time.monotonic() < deadline
            with suppress(WarehouseUnavailable):
                seen.add(count(reader))
        assert seen <= {ROWS}
        assert count(reader) == ROWS
        assert reader.frame("SELECT count() AS n FROM system.detached_parts").item() == 0
    parts.require_all(address)
    assert said(endpoint, "a broken part was made good") == 1
    assert not said(endpoint, "ROWS ARE MISSING")


@pytest.mark.slow
def test_rows_that_no_other_part_holds_are_said_to_be_missing_until_a_person_has_seen_to_it(endpoint: Endpoint) -> None:
    address = migrated(endpoint.address())
    broken = fill_and_merge(address)
    endpoint.kill()
    lose_what_was_merged(broken)
    for _ in range(2):  # it stays so over starts
        endpoint.start()
        assert said(endpoint, "ROWS ARE MISSING")
        with pytest.raises(RowsSetAside, match=f"set aside broken-on-start_{broken.name} of ") as told:
            parts.require_all(address)
        endpoint.log.clear()
        endpoint.stop()
    endpoint.start()
    with closing(open_client(address)) as client:
        client.command(re.findall("`(ALTER TABLE .*)`$", str(told.value))[0])
    parts.require_all(address)


def test_whole_parts_of_every_kind_are_told_by_their_sizes_alone(clickhouse_embedded: Embedded) -> None:
    """The engine's own check reads all of a part, so it is asked only of one that is broken."""
    address = clickhouse_embedded.fresh()
    with (
        closing(Writer(address)) as writer,
        closing(Reader(address)) as reader,
        closing(open_client(address)) as client,
    ):
        for wide in (0, 1 << 30):
            settings = f"min_bytes_for_wide_part = {wide}, min_rows_for_wide_part = {wide}"
            for table in ("usage_events_rows", "usage_hourly_rows"):
                client.command(f"ALTER TABLE {table} MODIFY SETTING {settings}")
            for number in range(3):
                writer.insert("usage_events", events([{"request_id": f"{wide}-{number}-{row}"} for row in range(50)]))
                writer.insert("usage_hourly", hourly([{"model": f"{wide}-{number}-{row}"} for row in range(50)]))
            client.command("OPTIMIZE TABLE usage_events_rows FINAL")
            client.command(
                "ALTER TABLE usage_hourly_rows DELETE WHERE model LIKE '%-7'", settings={"mutations_sync": "1"}
            )
            client.command("DELETE FROM usage_events_rows WHERE request_id LIKE '%-7'")
        asked = list[str]()

        def ask(sql: str) -> list[tuple[object, ...]]:
            asked.append(sql)
            return [row for row in reader.frame(sql).rows() if row[0] == address.database and len(asked) > 1]

        watch = parts.Watch(ask)  # there were none yet
        assert watch.broken() == []
        assert asked == [parts.PARTS, parts.PARTS]


def test_parts_hold_a_span_of_blocks_only_without_a_gap() -> None:
    assert parts.covers([(1, 4), (5, 5), (6, 9)], 1, 9)
    assert parts.covers([(6, 9), (1, 5)], 2, 8)
    assert parts.covers([(1, 20)], 5, 9)
    assert not parts.covers([(1, 4), (6, 9)], 1, 9)
    assert not parts.covers([(2, 9)], 1, 9)
    assert not parts.covers([(1, 8)], 1, 9)
    assert not parts.covers([], 3, 3)


@pytest.mark.slow
@pytest.mark.chaos
def test_what_a_merge_breaks_on_a_disk_that_fills_meanwhile_is_all_there_soon_after(small_disk: SmallDisk) -> None:
    with Endpoint(small_disk.path / "clickhouse") as endpoint:
        address = migrated(endpoint.address())
        with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
            dice, written = random.Random(7), 0
            deadline = time.monotonic() + BREAKS_WITHIN_S
            while said(endpoint, "the engine was started anew") < BREAKS:
                assert time.monotonic() < deadline, "no merge was broken: the disk is no test any more"
                written += round_of_filling(small_disk, writer, dice)
            time.sleep(2 * parts.LOOK_SECONDS)
            assert reader.frame("SELECT count() AS n FROM usage_hourly_rows FINAL").item() == written
            assert reader.frame("SELECT count() AS n FROM system.detached_parts").item() == 0
            parts.require_all(address)
    assert not said(endpoint, "ROWS ARE MISSING")


def said(endpoint: Endpoint, what: str) -> int:
    return sum(what in line for line in endpoint.log)


def count(reader: Reader) -> int:
    return int(reader.frame("SELECT count() AS n FROM (SELECT model, calls FROM usage_hourly_rows FINAL)").item())


def round_of_filling(disk: SmallDisk, writer: Writer, dice: random.Random) -> int:
    """Fill the disk just when merges are under way, and make room again; returns the rows said to be written."""
    written = 0
    for _ in range(6):
        with suppress(WarehouseUnavailable):
            written += writer.insert("usage_hourly", batch(dice))
    time.sleep(dice.random() * 0.02)
    disk.fill()
    for _ in range(3):
        with suppress(WarehouseUnavailable):
            written += writer.insert("usage_hourly", batch(dice))
    time.sleep(dice.random() * 0.3)
    disk.empty()
    return written


def batch(dice: random.Random) -> pl.DataFrame:
    return hourly([{"model": dice.randbytes(12).hex()} for _ in range(BATCH)])
