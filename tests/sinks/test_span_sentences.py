"""What a person is told who asks a view for a span, or a user, and leaves something out."""

from __future__ import annotations

import pytest

from sinks.clickhouse.asking import ask
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.spans import explained
from sinks.errors import WarehouseRefused

SPAN = "(from = '2026-11-01', to = '2026-12-01', zone = 'UTC', currency = 'USD')"
NEEDS = f"usage_between takes parameters, and one is missing: write usage_between{SPAN}"


@pytest.mark.parametrize(
    ("sql", "code", "says"),
    [
        ("SELECT * FROM usage_between", 51, NEEDS),
        ("SELECT calls FROM usage_between", 47, NEEDS),
        ("SELECT count() FROM usage_between", 90, NEEDS),
        ("SELECT u.calls FROM usage_between AS u", 47, NEEDS),
        ("SELECT * FROM usage_between(from = '2026-11-01')", 456, NEEDS),
        ("SELECT * FROM usage_between('2026-11-01', '2026-12-01', 'UTC')", 456, NEEDS),
        ("SELECT * FROM user_cost_summary", 51, "user_cost_summary(user_id = 'u-7', period_hours = 24)"),
        ("SELECT * FROM check_cost_threshold", 51, "write check_cost_threshold(threshold = 500)"),
        ("SELECT * FROM check_cost_threshold()", 456, "write check_cost_threshold(threshold = 500)"),
        (
            "SELECT * FROM check_cost_threshold_between(threshold = 1)",
            456,
            f"write check_cost_threshold_between(threshold = 500000, {SPAN[1:].replace('USD', 'KRW')}",
        ),
        (f"SELECT * FROM usage_between{SPAN.replace('UTC', 'Mars')}", 36, "write one such as 'Asia/Kolkata'"),
        (f"SELECT * FROM usage_between{SPAN.replace('2026-11-01', 'yesterday')}", 41, "write days or times"),
        ("SELECT * FROM usage_between(from = '2026-11-01', to = '2026-12-01', zone = 'UTC')", 456, NEEDS),
        (f"SELECT * FROM usage_between{SPAN.replace('2026-12', '2026-10')}", 395, "the span is empty"),
        (f"SELECT * FROM usage_between{SPAN.replace('USD', 'KRW')}", 395, "there is no exchange rate of 'KRW', and"),
    ],
)
def test_it_is_said_what_to_write(reader: Reader, sql: str, code: int, says: str) -> None:
    with pytest.raises(WarehouseRefused) as refused:
        ask(reader.address, sql, output="CSV")
    said = str(refused.value)
    assert refused.value.code == code
    assert says in said
    assert "In scope" not in said
    assert "executing" not in said


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM usage_hourly", "Code: 47. DB::Exception: Unknown expression identifier `nothing`. (X_Y)"),
        (f"SELECT nothing FROM usage_between{SPAN}", "Code: 47. DB::Exception: Unknown identifier `nothing`. (X_Y)"),
        ("SELECT {a:String} FROM usage_hourly", "Code: 456. DB::Exception: Substitution `a` is not set. (X_Y)"),
        ("SELECT throwIf(1) FROM usage_hourly", "Code: 395. DB::Exception: Value passed: while executing x. (X_Y)"),
        ("SELECT * FROM usage_between", "the network is down"),
    ],
)
def test_any_other_word_of_the_engine_stays_as_it_is(sql: str, message: str) -> None:
    assert explained(sql, message) == message


@pytest.mark.parametrize("name", ["", " (UNKNOWN_QUERY_PARAMETER)"])
def test_the_code_stands_before_the_sentence_and_behind_it_its_name_if_the_engine_gave_one(name: str) -> None:
    message = f"Code: 456. DB::Exception: Substitution `to` is not set.{name}"
    said = explained("SELECT * FROM usage_between(from = '2026-11-01')", message)
    assert said == f"Code: 456. DB::Exception: {NEEDS}.{name}"
