"""The embedded engine on a disk that is full: what it reports is what is stored, and it goes on once there is room."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import pytest

from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.embedded.handover import handover
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from tests.support.databases import migrated
from tests.support.records import until
from tests.support.small_disk import SmallDisk
from tests.support.warehouse import Endpoint
from tests.support.warehouse_rows import hourly

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 24
BATCH = 4_000

pytestmark = pytest.mark.slow


def test_over_http_what_is_reported_as_written_on_a_filling_disk_is_there(small_disk: SmallDisk) -> None:
    with Endpoint(small_disk.path / "clickhouse") as endpoint:
        told = rounds_of_little_room(migrated(endpoint.address()), small_disk)
    assert told["stored"] and told["refused"]


def test_in_the_process_what_is_reported_as_written_on_a_filling_disk_is_there(small_disk: SmallDisk) -> None:
    # A process opens one folder only, so this one has a process of its own.
    script = "import sys; from tests.sinks.test_full_disk import main; main(sys.argv[1], int(sys.argv[2]))"
    command = [sys.executable, "-c", script, str(small_disk.path), str(small_disk.size_bytes)]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=120).stdout)
    assert told["stored"] and told["refused"]


def main(path: str, size_bytes: int) -> None:
    """The rounds in a process of their own, on a disk that is mounted already."""
    address = migrated(ClickHouseAddress(f"chdb://{path}/clickhouse"))
    with closing(open_client(address)) as client:
        client.command("SYSTEM STOP MERGES")  # one that breaks a part is mended by an engine that starts anew
        told = rounds_of_little_room(address, SmallDisk(size_bytes, path=Path(path)))
    print(json.dumps(told), flush=True)  # noqa: T201 - its parent reads it


def rounds_of_little_room(address: ClickHouseAddress, disk: SmallDisk) -> dict[str, int]:
    """Insert again and again with a random bit of room left, from none to twice what a batch takes."""
    dice = random.Random(19)
    told = {"stored": 0, "refused": 0}
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        for round_ in range(ROUNDS):
            disk.fill(leave_bytes=dice.choice([0, dice.randrange(200_000), dice.randrange(4_000_000)]))
            written = 0
            try:
                written = writer.insert("usage_hourly", batch(f"round-{round_}", dice))
                told["stored"] += 1
            except WarehouseUnavailable:
                told["refused"] += 1
            disk.empty()
            assert stored(reader, f"round-{round_}") == written
    return told


def batch(mark: str, dice: random.Random) -> pl.DataFrame:
    return hourly([{"feature": mark, "model": dice.randbytes(12).hex()} for _ in range(BATCH)])


def stored(reader: Reader, mark: str) -> int:
    """A part that a merge broke on the full disk is an error until the endpoint has mended it (test_parts.py), which is
    waited out."""
    sql = "SELECT count() AS n FROM usage_hourly_rows WHERE feature = {mark:String}"
    counted: list[int] = []

    def answers() -> bool:
        with suppress(WarehouseUnavailable):
            counted.append(int(reader.frame(sql, mark=mark).item()))
        return bool(counted)

    until(answers, "it answers", seconds=60)
    return counted[0]


def test_an_engine_killed_or_ended_on_a_full_disk_opens_there_again_with_every_row(small_disk: SmallDisk) -> None:
    dice = random.Random(20)
    with Endpoint(small_disk.path / "clickhouse") as endpoint:
        address = migrated(endpoint.address())
        with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
            acknowledged = 0
            for end in (endpoint.kill, endpoint.stop):
                acknowledged += writer.insert("usage_hourly", batch("kept", dice))
                small_disk.fill()
                with pytest.raises(WarehouseUnavailable):
                    writer.insert("usage_hourly", batch("refused", dice))
                end()
                endpoint.start()
                assert stored(reader, "kept") == acknowledged
                with pytest.raises(WarehouseUnavailable):
                    writer.insert("usage_hourly", batch("refused", dice))
                small_disk.empty()
            assert writer.insert("usage_hourly", batch("kept", dice)) == BATCH
            assert (stored(reader, "kept"), stored(reader, "refused")) == (acknowledged + BATCH, 0)
            broken = reader.frame("SELECT count() AS n FROM system.detached_parts WHERE startsWith(reason, 'broken')")
            assert broken.item() == 0


def test_where_there_are_no_files_in_memory_rows_are_handed_over_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    with handover() as given:
        given.file.write(b"rows")
        given.file.flush()
        path = Path(given.path)
        assert path.read_bytes() == b"rows"
    assert not path.exists()
