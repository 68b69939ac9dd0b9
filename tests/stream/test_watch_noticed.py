"""Anybody may write to usage.rollups: what is not ours is passed over and told."""

from __future__ import annotations

import pytest

from stream.watch.noticed import noticed

OURS = b'{"table":"usage_hourly","hour":"2026-11-23T12:00:00Z","calls":3}'
ROW = {"table": "usage_hourly", "hour": "2026-11-23T12:00:00Z"}


def test_each_hour_is_named_once_and_a_tombstone_says_nothing() -> None:
    assert noticed([OURS, None, OURS]) == ([ROW], 0, "")


def test_rows_of_our_other_tables_are_no_strangers() -> None:
    units = b'{"table":"usage_hourly_units","hour":"2026-11-23T12:00:00Z","unit":"images"}'
    users = b'{"table":"usage_user_daily","day":"2026-11-23","user_id":"u"}'
    found = noticed([units, users])
    assert found.strange == 0
    assert {row["table"] for row in found.rows} == {"usage_hourly_units", "usage_user_daily"}


@pytest.mark.parametrize(
    "strange",
    [
        b'{"table":"usage_hourly","hour":null}', b'{"hour":null}', b"{}", b"", b"not JSON", b"null", b"[1]",
        b"\xff\xfe",
        b'{"table":"usage_hourly"}', b'{"table":"usage_hourly","hour":"yesterday"}', b'{"table":5}',
        b'{"table":"usage_hourly","hour":"9999999-01-01T00:00:00Z"}', b"[" * 100_000, b"x" * 1_000_000,
        b'{"table":"usage_hourly","hour":"2026-11-23T12:00:00Z","x":"' + b"y" * 65_500,
        b'{"table":"usage_hourly","hour":"0001-01-01T00:00:00+14:00"}',
        b'{"table":"usage_hourly","hour":"9999-12-31T23:00:00-14:00"}',
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_not_ours_is_counted_with_a_reason_and_its_neighbours_are_read(strange: bytes) -> None:
    found = noticed([strange, OURS, strange])
    assert (found.rows, found.strange) == ([ROW], 2)
    assert 0 < len(found.reason) <= 200


def test_of_a_long_reason_two_hundred_characters_are_told() -> None:
    found = noticed([b'{"table":"usage_hourly","hour":"' + b"y" * 500 + b'"}', b"{}"])
    assert (found.rows, found.strange) == ([], 2)
    assert found.reason == f"Invalid isoformat string: '{'y' * 500}'"[:200]
