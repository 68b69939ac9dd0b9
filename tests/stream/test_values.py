"""What the pure core hands on are values: nobody changes one that another holds. What does change is named here."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

PURE = (
    *(
        "consume.batches",
        "decode.cut",
        "decode.examination",
        "decode.frame",
        "dedup.seen",
        "consume.fetching",
        "store.flood",
        "store.flush",
        "dedup.home",
        "dedup.ids",
        "consume.positions",
        "rollup.packed",
        "rollup.sums",
        "rollup.rows",
    ),
    *(
        "pricing.columns",
        "reread.judge",
        "reread.restore",
        "consume.wire",
    ),
    *("audit.checks", "audit.kafka", "audit.ledger", "audit.queries", "audit.repair", "audit.report", "audit.vanished"),
    *(
        "watch.baseline",
        "watch.case",
        "watch.reasons.difference",
        "watch.reasons.drivers",
        "watch.reasons.evidence",
        "watch.judge",
        "watch.noticed",
        "watch.series",
    ),
    *(
        f"watch.rules.{name}"
        for name in ("anomaly", "audit", "flood", "hourly", "rule", "spike", "stall", "trouble", "vanished")
    ),
)
MODULES = (
    *(f"stream.{name}" for name in PURE),
    *(f"costream.pricing.{name}" for name in ("book", "bundled", "rates")),
    *("sinks.clickhouse.codes", "costream.lenient"),
)
CHANGES = {  # counters and results that are filled in by their owner alone
    *(
        "stream.decode.frame.Gate",
        "stream.consume.fetching.Consumption",
        "stream.store.flood._Minute",
        "stream.consume.positions._Place",
    ),
    *("stream.reread.judge.Judged", "stream.reread.restore.Outcome", "stream.reread.restore._Part"),
    *("stream.rollup.rows._Piece", "stream.watch.noticed._RollupRow", "stream.consume.wire.FetchedRecord"),
    *("stream.decode.frame._WithId", "stream.decode.examination.Known"),
}


def classes(module: str) -> Iterator[type[Any]]:
    for found in vars(importlib.import_module(module)).values():
        if isinstance(found, type) and found.__module__ == module:
            yield found


def named(found: type[Any]) -> str:
    return f"{found.__module__}.{found.__qualname__}"


@pytest.mark.parametrize("module", MODULES)
def test_every_value_is_frozen_but_for_those_that_are_named(module: str) -> None:
    for found in classes(module):
        if dataclasses.is_dataclass(found):
            assert found.__dataclass_params__.frozen is (named(found) not in CHANGES), named(found)
            assert "__slots__" in vars(found), named(found)
        elif issubclass(found, msgspec.Struct):
            assert found.__struct_config__.frozen is (named(found) not in CHANGES), named(found)


def test_prices_and_histories_are_told_by_identity_where_they_are_keys() -> None:
    """A table holds each price once; comparing two by their rates would cost more than pricing by them."""
    by_identity = {
        named(found)
        for module in MODULES
        for found in classes(module)
        if dataclasses.is_dataclass(found) and not found.__dataclass_params__.eq
    }
    assert by_identity == {"costream.pricing.rates.Linear"}
