"""What a rollup sums is what its table has columns for: no column stays at nothing because nobody fills it."""

from __future__ import annotations

import pytest

from stream.rollup.sums import DAILY, HOURLY, LEDGER, UNITS, USER_DAILY, RollupSpec
from tests.support.tables import columns_of, key_of

IN_PICO = {"cost_usd": "cost_pico", "revenue_usd": "revenue_pico"}  # 1e-12 USD in memory
NOT_SUMMED = {"source", "version"}  # one for all rows of a worker; the offset applied last
OF_BEFORE = {"quantities", "amount"}  # until units had rows of their own; and told by two sums


@pytest.mark.parametrize("spec", [HOURLY, UNITS, DAILY, USER_DAILY, LEDGER], ids=lambda spec: spec.table)
def test_every_column_of_the_table_is_filled(spec: RollupSpec) -> None:
    columns = columns_of(spec.table) - NOT_SUMMED - OF_BEFORE
    assert {IN_PICO.get(name, name) for name in columns} == set(spec.schema) - {"applied"}
    assert {"source", *spec.by} == key_of(spec.table)
