"""An eighth dimension needs the event, one migration and one line: done on a copy of the code, and counted."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("producers/src/costream", "stream", "sinks")

# What a person writes. CONTRIBUTING.md has the same steps.
EDITS = {
    "producers/src/costream/events.py": [
        ('    environment: Label = ""\n', '    region: Label = ""\n'),
        ("    environment: str | None\n", "    region: str | None\n"),
    ],
    "sinks/clickhouse/vocabulary.py": [
        (
            'DIMENSIONS: Final = ("provider", "model", "operation", "feature", "task_type", "team", "environment")\n',
            'DIMENSIONS: Final = ("provider", "model", "operation", "feature", "task_type", "team", "environment", '
            '"region")\n',
        ),
    ],
}
KEY = "hour, model, feature, provider, operation, task_type, team, environment"
MIGRATION = f"""
ALTER TABLE usage_events_rows ADD COLUMN IF NOT EXISTS region LowCardinality(String) AFTER environment;
ALTER TABLE usage_hourly_rows ADD COLUMN IF NOT EXISTS region LowCardinality(String) AFTER environment,
  MODIFY ORDER BY ({KEY}, source, source_partition, region);
ALTER TABLE usage_daily_rows ADD COLUMN IF NOT EXISTS region LowCardinality(String) AFTER environment,
  MODIFY ORDER BY ({KEY.replace("hour", "day")}, source, source_partition, region);
ALTER TABLE usage_hourly_units_rows ADD COLUMN IF NOT EXISTS region LowCardinality(String) AFTER environment,
  MODIFY ORDER BY ({KEY}, unit, source, source_partition, region);
"""

PROOF = """
import json, sys
from pathlib import Path
import costream, sinks, stream
from costream.events import UsageEvent
from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import audit
from stream.store.order import hourly_messages
from tests.support.ingest import Warehouse, flush_of, ingest_of, run
from tests.support.records import NOW, log_of, wire

copy = Path(sys.argv[1])
assert all(Path(module.__path__[0]).is_relative_to(copy) for module in (costream, sinks, stream))
address = ClickHouseAddress(f"chdb://{copy}/warehouse", database="eighth")
migrate.up(address)
warehouse = Warehouse(Reader(address), Writer(address))
values = [wire(f"{region}-{n}", region=region, quantities={"images": "1"}) for region in ("eu", "us") for n in range(3)]
records = log_of([*values, wire("eu-0", region="us", quantities={"images": "1"})])
(flush,) = run(warehouse, ingest_of(warehouse, "s"), records)
again = flush_of(ingest_of(warehouse, "s"), records)  # read back, and delivered again
warehouse.store(again)
hours = warehouse.reader.frame("SELECT region, calls FROM usage_hourly_rows FINAL ORDER BY region").rows()
units = warehouse.reader.frame("SELECT region, amount_whole FROM usage_hourly_units_rows FINAL ORDER BY region").rows()
report = audit(warehouse.reader, clock=lambda: NOW)
print(json.dumps({
    "hours": hours,
    "units": [(region, int(amount)) for region, amount in units],
    "conflicts": [refusal.kind for refusal in flush.refusals],
    "keys": sorted(json.loads(message.key)["region"] for message in hourly_messages(flush)),
    "holds": report.holds,
    "schema": "region" in UsageEvent.json_schema()["properties"],
}))
"""


def edited(text: str, edits: list[tuple[str, str]]) -> str:
    for anchor, line in edits:
        assert text.count(anchor) == 1, f"{anchor!r} stands once"
        replaced = line if anchor.startswith("DIMENSIONS") else anchor + line
        text = text.replace(anchor, replaced)
    return text


@pytest.mark.slow
def test_an_eighth_dimension_needs_the_event_one_migration_and_one_line(tmp_path: Path) -> None:
    for folder in CODE:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    changed = {}
    for name, edits in EDITS.items():
        before = (ROOT / name).read_text()
        after = edited(before, edits)
        (tmp_path / name).write_text(after)
        changed[name] = sum(line.startswith("+ ") for line in difflib.ndiff(before.splitlines(), after.splitlines()))
    assert changed == {"producers/src/costream/events.py": 2, "sinks/clickhouse/vocabulary.py": 1}
    migrations = tmp_path / "sinks/clickhouse/migrations"
    number = max(int(file.name[:3]) for file in migrations.glob("*.sql")) + 1
    (migrations / f"{number:03}_region.sql").write_text(MIGRATION)

    path = os.pathsep.join(str(each) for each in (tmp_path / "producers/src", tmp_path, ROOT))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    done = subprocess.run(
        [sys.executable, "-c", PROOF, str(tmp_path)],
        env=environment | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "hours": [["eu", 3], ["us", 3]],
        "units": [["eu", 3], ["us", 3]],
        "conflicts": ["conflict"],
        "keys": ["eu", "us"],
        "holds": True,
        "schema": True,
    }
