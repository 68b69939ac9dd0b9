"""The public alert: its bytes, its schema, its rows, and text that no event can forge."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from costream.alerts import (
    Alert,
    Driver,
    Level,
    episode_id,
    fault_of,
    json_schema,
    plain,
)
from sinks.clickhouse.alert_rows import alert_rows, alerts_from_rows

HOUR = datetime(2026, 3, 2, 14, tzinfo=UTC)


def alert(**changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_id": "5e1f",
        "revision": 1,
        "status": "open",
        "level": "warning",
        "rule": "hourly_spike",
        "title": "Hourly cost is 4.2x the usual",
        "message": "…",
        "metric_name": "hourly_cost_spike",
        "scope": "system",
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "current_value": "4.200000000001",
        "threshold_value": Decimal("3.00"),
        "expected_value": "1",
        "ratio": "4.2",
        "unpriced_calls": 2,
        "drivers": [Driver(kind="calls", text="more", unit="calls", before=Decimal(100), after=Decimal(420))],
        "metadata": {"first_window": "2026-03-02T14:00:00+00:00", "note": "naïve ✓"},
        "timestamp": HOUR + timedelta(minutes=30, milliseconds=7),
    }
    return Alert.model_validate(fields | changes)


def test_every_alert_is_valid_under_the_published_schema() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    for each in (alert(), alert(status="retracted", expected_value=None, ratio=None, drivers=[], current_value="-1")):
        Draft202012Validator(schema).validate(json.loads(each.to_json()))


def test_the_schema_refuses_money_written_as_a_number() -> None:
    wrong = json.loads(alert().to_json()) | {"current_value": 4.2}
    assert not Draft202012Validator(json_schema()).is_valid(wrong)


def test_an_alert_carries_the_fields_that_subscribers_were_promised() -> None:
    promised = "level title message metric_name current_value threshold_value user_id metadata timestamp alert_id"
    assert set(promised.split()) <= set(json.loads(alert().to_json()))


def test_an_alert_survives_its_bytes_unchanged() -> None:
    assert Alert.from_json(alert().to_json()) == alert()
    assert Alert.from_json(alert().to_json()).to_json() == alert().to_json()


def test_money_on_the_topic_is_exact_decimal_text() -> None:
    fields = json.loads(alert(current_value=Decimal("1E+3"), threshold_value="0.000000000001").to_json())
    assert (fields["current_value"], fields["threshold_value"]) == ("1000", "0.000000000001")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0.1, 'an amount is decimal text such as "0.05", not float 0.1'),
        (True, 'an amount is decimal text such as "0.05", not bool True'),
        (None, 'an amount is decimal text such as "0.05", not NoneType None'),
        ("NaN", "NaN is not an amount"),
        ("-Infinity", "-Infinity is not an amount"),
        ("ten", "'ten' is not decimal text"),
        ("1e26", "1E+26 is not an amount: 26 digits may stand before the point"),
    ],
)
def test_an_amount_that_is_not_exact_is_refused_with_the_field_and_the_reason(value: object, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        alert(current_value=value)
    (fault,) = refused.value.errors()
    assert (fault["loc"], fault["msg"]) == (("current_value",), f"Value error, {why}")


ODD = (None, True, 0, -1, 2**64, 10**400, 1e308, "", "x", "1e999999999", "-1e999999999", "1e-999999999", "1e26", "NaN",
    "9" * 5_000, "9999-12-31T23:59:59.999-23:59", "0001-01-01T00:00:00+23:59", [], {}, [[]], "\ud800")  # fmt: skip


@pytest.mark.parametrize("field", Alert.model_fields)
def test_whatever_stands_in_a_field_it_is_read_or_refused_in_words(field: str) -> None:
    """Anybody may write to the topic; any other error would end the worker that reads it."""
    for odd in ODD:
        with contextlib.suppress(ValidationError):
            Alert.from_json(json.dumps(json.loads(alert().to_json()) | {field: odd})).to_json()


@pytest.mark.parametrize("amount", ["1e26", "-1e26", "1e999999999", "1e-77", "1e-999999999", 10**26])
def test_an_amount_that_is_larger_or_finer_than_any_of_ours_is_refused(amount: str | int) -> None:
    with pytest.raises(ValidationError, match="current_value"):
        alert(current_value=amount)
    assert alert(current_value="9" * 26 + "." + "9" * 12).current_value == Decimal("9" * 26 + "." + "9" * 12)


OURS = alert(alert_id=episode_id(rule="hourly_spike", scope="system", first_window=HOUR))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alert_id": "5e1f"}, "alert_id"),
        ({"scope": "feature=x"}, "alert_id"),
        ({"metadata": {}}, "metadata.first_window"),
        ({"metadata": {"first_window": 5}}, "metadata.first_window"),
        ({"metadata": {"first_window": "2026-03-02T14:00:00"}}, "no zone"),
        ({"metadata": {"first_window": "0001-01-01T00:00:00+14:00"}}, "metadata.first_window"),
        ({"window_end": datetime(9999, 1, 1, tzinfo=UTC)}, "years 2000 to 2199"),
        ({"timestamp": datetime(1999, 12, 31, tzinfo=UTC)}, "years 2000 to 2199"),
        ({"timestamp": datetime(2200, 1, 1, tzinfo=UTC)}, "years 2000 to 2199"),
        ({"revision": 2**31 + 1}, "larger than any of ours"),
        ({"unpriced_calls": 2**62 + 1}, "larger than any of ours"),
        ({"unpriced_calls": -(2**62) - 1}, "larger than any of ours"),
        ({"ratio": Decimal("1000000.0001")}, "larger than any of ours"),
        ({"ratio": Decimal("-1000000.0001")}, "larger than any of ours"),
    ],
)
def test_an_alert_that_no_worker_can_have_written_is_known_by_what_it_says(changes: dict[str, Any], told: str) -> None:
    assert fault_of(OURS) == ""
    assert told in fault_of(OURS.model_copy(update=changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": None},
        {"ratio": Decimal(1_000_000)},
        {"revision": 2**31},
        {"unpriced_calls": 2**62},
        {"unpriced_calls": -(2**62)},
        {"timestamp": datetime(2000, 1, 1, tzinfo=UTC)},
        {"window_end": datetime(2199, 12, 31, 23, 59, tzinfo=UTC)},
    ],
)
def test_the_largest_figures_of_a_worker_are_no_fault_and_neither_is_a_ratio_that_is_not_known(
    changes: dict[str, Any],
) -> None:
    assert fault_of(OURS.model_copy(update=changes)) == ""


@pytest.mark.parametrize("year", [1999, 2200])
def test_an_episode_that_began_in_no_credible_year_is_none_of_ours(year: int) -> None:
    first = HOUR.replace(year=year)
    made = episode_id(rule="hourly_spike", scope="system", first_window=first)
    told = fault_of(alert(alert_id=made, metadata={"first_window": first.isoformat()}))
    assert told == "one of its times lies outside the years 2000 to 2199"


def test_a_field_added_later_does_not_break_an_older_reader() -> None:
    newer = json.loads(alert().to_json()) | {"silenced_until": None}
    assert Alert.from_json(json.dumps(newer)) == alert()


def test_the_levels_are_a_closed_ordered_set() -> None:
    assert [level.value for level in sorted(Level)] == ["info", "warning", "critical", "emergency"]
    assert Level.EMERGENCY > Level.CRITICAL > Level.WARNING > Level.INFO
    assert [level < Level.WARNING for level in Level] == [True, False, False, False]
    with pytest.raises(TypeError, match="not supported"):
        assert Level.INFO < "warning"  # type: ignore[operator] # what is tested
    with pytest.raises(ValidationError, match="level"):
        alert(level="urgent")


def test_the_rows_have_the_columns_of_the_table_and_read_back_as_the_same_alerts() -> None:
    alerts = [alert(), alert(revision=2, status="cleared", expected_value=None, ratio=None, user_id="u-1", drivers=[])]
    rows = alert_rows(alerts)
    assert rows.columns == _columns_of_the_table()
    assert rows["current_value"].dtype == pl.Decimal(38, 12)
    assert rows["current_value"].to_list() == [Decimal("4.200000000001")] * 2
    assert list(alerts_from_rows(rows)) == alerts
    assert [each.to_json() for each in alerts_from_rows(rows)] == [each.to_json() for each in alerts]


def _columns_of_the_table() -> list[str]:
    migration = Path(__file__).parents[2] / "sinks" / "clickhouse" / "migrations" / "001_tables.sql"
    table = migration.read_text(encoding="utf-8").split("CREATE TABLE IF NOT EXISTS alerts (")[1].split("\n) ENGINE")[0]
    names = [line.split()[0] for line in table.strip().splitlines()]
    return [name for name in names if name != "stored_at"]


def test_no_alerts_are_no_rows_of_the_same_shape() -> None:
    assert alert_rows([]).schema == alert_rows([alert()]).schema


def test_an_episode_has_one_id_that_differs_by_rule_scope_and_first_window() -> None:
    first = episode_id(rule="hourly_spike", scope="system", first_window=HOUR)
    assert first == episode_id(rule="hourly_spike", scope="system", first_window=HOUR)
    others = {
        episode_id(rule="hourly_anomaly", scope="system", first_window=HOUR),
        episode_id(rule="hourly_spike", scope="feature=", first_window=HOUR),
        episode_id(rule="hourly_spike", scope="system", first_window=HOUR + timedelta(hours=1)),
    }
    assert len({first} | others) == 4


def test_an_id_is_the_same_in_every_release_so_that_an_upgrade_finds_the_alerts_that_stand() -> None:
    made = episode_id(rule="hourly_spike", scope="feature=chat", first_window=HOUR)
    # sha256 of "hourly_spike|feature=chat|2026-03-02T14:00:00Z", as sha256sum gives it
    assert made == "b7a2623c5a5a54b69183ca3b"
    # Of half a surrogate pair the three bytes that UTF-8 would have: "hourly_anomaly|feature=\xed\xa0\x80|2026-…"
    odd = episode_id(rule="hourly_anomaly", scope="feature=\ud800", first_window=HOUR)
    assert odd == "4f77b7ee00cc7ed99e7aadac"


def test_text_from_an_event_cannot_break_a_line_or_turn_it_around() -> None:
    assert plain("eve\r\nSubject: paid\x1b[2J\u202etxt\u2028.\x00") == (
        "eve\\u{d}\\u{a}Subject: paid\\u{1b}[2J\\u{202e}txt\\u{2028}.\\u{0}"
    )
    assert plain("Größe 東京 <b>&") == "Größe 東京 <b>&"
    hidden = {"\x7f": "7f", "\u200b": "200b", "\ud800": "d800", "\u2028": "2028", "\u2029": "2029"}
    assert {sign: plain(sign) for sign in hidden} == {sign: f"\\u{{{code}}}" for sign, code in hidden.items()}


@given(st.text(st.characters()))
def test_text_from_an_event_is_always_one_printable_line(text: str) -> None:
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 for character in line)
    line.encode()
