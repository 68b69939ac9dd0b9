"""What a rollup sums is what its table has columns for: no column stays at nothing because nobody fills it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sinks.clickhouse import migrate
from stream.rollup.sums import DAILY, HOURLY, LEDGER, UNITS, USER_DAILY, RollupSpec

MIGRATIONS = Path(migrate.__file__).parent / "migrations"
IN_PICO = {"cost_usd": "cost_pico", "revenue_usd": "revenue_pico"}  # 1e-12 USD in memory
NOT_SUMMED = {"source", "version"}  # one for all rows of a worker; the offset applied last
OF_BEFORE = {"quantities", "amount"}  # until units had rows of their own; and told by two sums


@pytest.mark.parametrize("spec", [HOURLY, UNITS, DAILY, USER_DAILY, LEDGER], ids=lambda spec: spec.table)
def test_every_column_of_the_table_is_filled(spec: RollupSpec) -> None:
    sql = "".join(path.read_text() for path in sorted(MIGRATIONS.glob("*.sql")) if ".down" not in path.name)
    ddl = re.split(rf"CREATE TABLE IF NOT EXISTS {spec.table}(?:_rows)? \(", sql)[1].split(") ENGINE")
    columns = set(re.findall(r"^  (\w+) [A-Z]", ddl[0], re.MULTILINE)) - NOT_SUMMED - OF_BEFORE
    assert {IN_PICO.get(name, name) for name in columns} == set(spec.schema) - {"applied"}
    key = re.search(r"ORDER BY \((.*)\)", ddl[1])
    assert key is not None
    assert {"source", *spec.by} == set(key[1].split(", "))
