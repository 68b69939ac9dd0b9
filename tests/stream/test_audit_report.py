"""What an audit found, as JSON has it: every part of it, and every kind of value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from stream.audit.report import AuditReport, Check, Finding, NextStep, PartitionTotals, plain

AT = datetime(2026, 11, 23, 12, 30, 1, 250_000, tzinfo=UTC)
FINDING = Finding({"source": "s", "source_partition": 3}, "a rule", {"cost_usd_raw": Decimal("1E-12"), "at": AT})
HOLDS, BROKEN = (
    Check("ids", "each id counts once", 7, drawn=8, left_out={"without a price": 1}),
    Check("raw rows", "all are there", 9, 2, (FINDING,)),
)
TOTALS = PartitionTotals("s", 3, 0, 9, 10, 8, 1, 1, 0, 0, 0, 0, lag=4)
STEPS = (NextStep("raw rows", "Read them again.", "costream reread"), NextStep("ids", "From a backup."))


def report(*checks: Check) -> AuditReport:
    return AuditReport(AT, date(2026, 9, 1), checks, (TOTALS,), STEPS)


def test_a_report_holds_if_every_check_does() -> None:
    assert report(HOLDS).holds
    assert not report(HOLDS, BROKEN).holds
    assert not report(BROKEN, HOLDS).holds


def test_a_check_is_found_by_its_name() -> None:
    assert report(HOLDS, BROKEN).check("raw rows") is BROKEN
    with pytest.raises(StopIteration):
        report(HOLDS).check("raw rows")


def test_the_whole_report_is_in_its_json() -> None:
    assert json.loads(report(HOLDS, BROKEN).to_json()) == {
        "holds": False,
        "at": "2026-11-23T12:30:01.250Z",
        "since": "2026-09-01",
        "checks": [
            {
                "name": "ids",
                "question": "each id counts once",
                "holds": True,
                "compared": 7,
                "differing": 0,
                "findings": [],
                "drawn": 8,
                "left_out": {"without a price": 1},
            },
            {
                "name": "raw rows",
                "question": "all are there",
                "holds": False,
                "compared": 9,
                "differing": 2,
                "findings": [
                    {
                        "where": {"source": "s", "source_partition": 3},
                        "rule": "a rule",
                        "numbers": {"cost_usd_raw": "0.000000000001", "at": "2026-11-23T12:30:01.250Z"},
                    }
                ],
                "drawn": 0,
                "left_out": {},
            },
        ],
        "partitions": [
            {
                "source": "s",
                "partition": 3,
                "offset_first": 0,
                "offset_last": 9,
                "received": 10,
                "stored": 8,
                "duplicates": 1,
                "dead_lettered": 1,
                "forwarded": 0,
                "offsets_without_record": 0,
                "in_flight": 0,
                "beyond_retention": 0,
                "committed": None,
                "log_begin": None,
                "log_end": None,
                "lag": 4,
            }
        ],
        "next_steps": [
            {"check": "raw rows", "text": "Read them again.", "command": "costream reread"},
            {"check": "ids", "text": "From a backup.", "command": None},
        ],
    }


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.10"),
        (AT.replace(microsecond=0), "2026-11-23T12:30:01.000Z"),
        (AT.astimezone(timezone(timedelta(hours=9))), "2026-11-23T21:30:01.250+09:00"),
        (date(2026, 1, 2), "2026-01-02"),
        ({"audio_seconds": Decimal("1.5"), "none": None}, {"audio_seconds": "1.5", "none": None}),
        (17, 17),
        ("text", "text"),
        (None, None),
    ],
)
def test_values_are_plain_and_exact(value: Any, told: Any) -> None:
    assert plain(value) == told
