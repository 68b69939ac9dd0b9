"""The wire contract: what an event may be, on both sides of every bound."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_UP, Context, Decimal, Inexact, Rounded, localcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from costream import UsageEvent
from costream.events import (
    DURATION_MS_MAX,
    ERROR_CHARS_MAX,
    METADATA_BYTES_MAX,
    NAME_CHARS_MAX,
    TOKENS_MAX,
    UNITS_MAX,
)

AT = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
REQUIRED = {"request_id": "r-1", "occurred_at": AT, "provider": "openai", "model": "gpt-5"}
FIXTURES = Path(__file__).parent / "fixtures"
METADATA_ROOM = METADATA_BYTES_MAX - len('{"key":""}')


def build(**fields: Any) -> UsageEvent:
    return UsageEvent(**REQUIRED | fields)  # type: ignore[arg-type] # the values are what is tested


def read(**fields: Any) -> UsageEvent:
    wire = REQUIRED | {"occurred_at": "2025-01-01T12:00:00Z"} | fields
    return UsageEvent.model_validate_json(json.dumps(wire))


INSIDE = {
    "request_id": ["r", "x" * NAME_CHARS_MAX, "使" * NAME_CHARS_MAX],
    "provider": ["x" * NAME_CHARS_MAX],
    "feature": ["", "any-new-name of 2025!", "x" * NAME_CHARS_MAX],
    "user_id": [""],
    "error": ["", "x" * ERROR_CHARS_MAX, "line\nline"],
    "metadata": [{}, {"key": "x" * METADATA_ROOM}, {"deep": [{"list": [None, True, 1.5]}]}],
    "input_tokens": [0, TOKENS_MAX, 930.0, 1e9, -0.0],
    "output_tokens": [0, TOKENS_MAX],
    "duration_ms": [0, DURATION_MS_MAX, 12.0],
    "time_to_first_token_ms": [0, DURATION_MS_MAX],
    "quantities": [{}, {f"unit_{number}": "1" for number in range(UNITS_MAX)}, {"a" * 64: "9" * 18 + "." + "9" * 12}],
    "unit_prices": [{"calls": "0.000000000001"}],
    "reported_cost_usd": ["0", "0.05", "999999.999999999999", "0.0000000000001", "1e-3", "1.2E-05", "0." + "3" * 64],
    "revenue_usd": ["0.000000000001", 0, 5, 0.05, 1e-05, 999_999.999999],
    "utilization": ["0", "0.85", "1", "1.000000", "0.000001", "0." + "9" * 64, "9.9e-01", 0, 1, 0.85, 1 / 3, 1.0, -0.0],
    "operation": ["chat", "gpu", "api"],
    "status": ["ok", "error"],
    "usage_status": ["reported", "estimated", "missing"],
}
OUTSIDE = {
    "schema_version": [0, 2, "1", 1.5],
    "request_id": ["", "x" * (NAME_CHARS_MAX + 1), "a\nb", "a\x00b", "a\x7f", 7, None],
    "provider": ["", "x" * (NAME_CHARS_MAX + 1), "open\tai", None],
    "model": ["", None],
    "feature": ["x" * (NAME_CHARS_MAX + 1), "\r", 1],
    "error": ["x" * (ERROR_CHARS_MAX + 1)],
    "metadata": [{"key": "x" * (METADATA_ROOM + 1)}, [], "text", {"key": "é" * (METADATA_ROOM // 2 + 1)}],
    "input_tokens": [-1, TOKENS_MAX + 1, 1.5, -1.0, 1e10, "1", True],
    "output_tokens": [-1, TOKENS_MAX + 1, 0.5],
    "duration_ms": [-1, DURATION_MS_MAX + 1, 0.2],
    "quantities": [
        {f"unit_{number}": "1" for number in range(UNITS_MAX + 1)},
        {"Audio": "1"},
        {"a" * 65: "1"},
        {"": "1"},
        {"calls": "1" + "0" * 18},
        {"calls": "0.0000000000001"},
        {"calls": "-1"},
        {"calls": "1e3"},
        {"calls": "01"},
        {"calls": ""},
        {"calls": "NaN"},
        {"calls": "٣"},
    ],
    "unit_prices": [{"calls": "-0.1"}, {"calls": "Infinity"}],
    "reported_cost_usd": ["1000000", "-0.01", "1e3", "1e+0", "1e-100", "0." + "3" * 65, ".5", "5.", " 5", True],
    "revenue_usd": ["-1", "free", -0.01, 1e6, 1_000_000, [1]],
    "utilization": ["1.000001", "85", "-0.1", "0." + "3" * 65, "1e0", "5e-00", "01", "", 1.000001, 85, -1e-9, True, {}],
    "operation": ["speak", ""],
    "status": ["failed"],
    "usage_status": ["unknown"],
    "total_tokens": [3],
    "prompt": ["never"],
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{i}") for name, values in table.items() for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(("name", "value"), cases(INSIDE))
def test_what_is_inside_the_bounds_is_taken_and_comes_back(name: str, value: Any) -> None:
    event = read(**{name: value})
    assert UsageEvent.model_validate_json(event.to_json()) == event


@pytest.mark.parametrize(("name", "value"), cases(OUTSIDE))
def test_what_is_outside_is_refused_with_the_fields_name(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        read(**{name: value})


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_the_four_required_fields_have_no_default(name: str) -> None:
    wire = {key: value for key, value in (REQUIRED | {"occurred_at": "2025-01-01T12:00:00Z"}).items() if key != name}
    with pytest.raises(ValidationError, match=name):
        UsageEvent.model_validate_json(json.dumps(wire))


OPTIONAL = sorted(UsageEvent.model_fields.keys() - REQUIRED.keys())


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_says_the_same_as_leaving_an_optional_field_out(name: str) -> None:
    assert read(**{name: None}) == read()
    assert build(**{name: None}) == build()


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_null_is_no_value_of_a_required_field(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        read(**{name: None})


@pytest.mark.parametrize("count", ["930.0", "930.000", "9.3e2", "93E+1", "930"])
def test_an_integer_may_be_written_with_a_point_or_an_exponent(count: str) -> None:
    """To JSON Schema it is an integer, so it is one to the model."""
    value = build().to_json().replace(b"{", b'{"input_tokens":%s,' % count.encode(), 1)
    event = UsageEvent.model_validate_json(value)
    assert (event.input_tokens, type(event.input_tokens)) == (930, int)


def test_in_python_a_float_is_no_count() -> None:
    with pytest.raises(ValidationError, match="input_tokens"):
        build(input_tokens=930.0)


@pytest.mark.parametrize("amount", [0.05, 1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["reported_cost_usd", "revenue_usd"])
def test_in_python_a_float_is_no_amount_of_money(name: str, amount: float) -> None:
    with pytest.raises(ValidationError, match=name):
        build(**{name: amount})


@pytest.mark.parametrize("name", ["reported_cost_usd", "revenue_usd"])
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0.1", "0.1"),
        ("5", "5"),
        ("5e2", "500.0"),
        ("1.2e-05", "0.000012"),
        ("0.00033949999999999996", "0.000339500000"),  # a float's last digits
        ("0.0000000000005", "0.000000000000"),  # half to even
        ("0.0000000000015", "0.000000000002"),
        ("-0.0", "0.0"),
        ("999999.9999999999", "999999.9999999999"),
        ('"1.2e-05"', "0.000012"),
        ('"12E-1"', "1.2"),
        ('"0.00033949999999999996"', "0.000339500000"),
        ('"999999.9999999999999"', "999999.999999999999"),  # never up to what an amount must stay below
        ('"0.50"', "0.50"),
    ],
)
def test_what_is_only_noted_may_be_a_number_or_have_an_exponent(name: str, sent: str, kept: str) -> None:
    event = UsageEvent.model_validate_json(build().to_json()[:-1] + f',"{name}":{sent}}}'.encode())
    assert json.loads(event.to_json()) == json.loads(build().to_json()) | {name: kept}
    assert getattr(event, name) == Decimal(kept)


def test_an_amount_is_rounded_alike_whatever_the_hosts_decimal_context_says() -> None:
    with localcontext(Context(prec=3, rounding=ROUND_UP, traps=[Inexact, Rounded])):
        event = read(reported_cost_usd="123456.1234567890123")
    assert event.reported_cost_usd == Decimal("123456.123456789012")


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -0.01, 1e6, 999_999.9999999999999, 10**400])
def test_a_number_outside_the_bounds_of_an_amount_is_refused(amount: float) -> None:
    with pytest.raises(ValidationError, match=r"reported_cost_usd\n.* is not between 0 and 1e6"):
        read(reported_cost_usd=amount)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('"0.85"', "0.85"),
        ("0.85", "0.85"),
        ("0.3333333333333333", "0.333333"),
        ('"0.3333333333333333"', "0.333333"),
        ("0.0000005", "0.000000"),  # half to even
        ("0.0000015", "0.000002"),
        ("0.9999999", "1.000000"),
        ('"5e-05"', "0.00005"),
        ("1", "1"),
    ],
)
def test_how_busy_a_server_was_is_kept_to_six_digits_after_the_point(sent: str, kept: str) -> None:
    event = UsageEvent.model_validate_json(build().to_json()[:-1] + f',"utilization":{sent}}}'.encode())
    assert json.loads(event.to_json()) == json.loads(build().to_json()) | {"utilization": kept}
    assert event.utilization == Decimal(kept)


@pytest.mark.parametrize("share", [0.85, Decimal("1.000001"), Decimal("0.0000001"), Decimal(-1), Decimal("NaN"), True])
def test_in_python_a_share_is_a_decimal_from_0_to_1_of_six_digits(share: Any) -> None:
    for inside in (Decimal("0.000001"), Decimal("1.000000"), Decimal(0), 1, "0.5"):
        assert build(utilization=inside).utilization == Decimal(inside)
    with pytest.raises(ValidationError, match="utilization"):
        build(utilization=share)


@pytest.mark.parametrize("name", ["quantities", "unit_prices"])
def test_what_decides_the_cost_is_text_and_no_number(name: str) -> None:
    for amount in (5, 0.05, "5e-2"):
        with pytest.raises(ValidationError, match="decimal text"):
            read(**{name: {"calls": amount}})


@pytest.mark.parametrize("amount", [Decimal("0.05"), Decimal("5E-2"), "0.05"])
def test_an_amount_in_python_is_a_decimal_or_its_text(amount: Any) -> None:
    assert json.loads(build(reported_cost_usd=amount).to_json())["reported_cost_usd"] == "0.05"


def test_an_amount_in_python_may_be_a_whole_number_and_stays_exact() -> None:
    event = build(reported_cost_usd=5, quantities={"bytes": 123_456_789_012_345_678})
    assert (event.reported_cost_usd, event.quantities) == (Decimal(5), {"bytes": Decimal("123456789012345678")})
    with pytest.raises(ValidationError, match="not bool True"):
        build(reported_cost_usd=True)


@pytest.mark.parametrize(
    "amount", [Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal("1E+6"), Decimal("1E-13")]
)
def test_a_decimal_outside_the_bounds_is_refused(amount: Decimal) -> None:
    with pytest.raises(ValidationError, match="reported_cost_usd"):
        build(reported_cost_usd=amount)


# --- time ------------------------------------------------------------------------------------------------------------


def test_half_past_midnight_in_tokyo_is_in_the_afternoon_hour_of_utc_the_day_before() -> None:
    event = read(occurred_at="2025-01-01T00:30:00+09:00")
    assert event.occurred_at == datetime(2024, 12, 31, 15, 30, tzinfo=UTC)
    assert json.loads(event.to_json())["occurred_at"] == "2024-12-31T15:30:00.000Z"
    assert build(occurred_at=datetime(2025, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=9)))) == event


def test_a_naive_time_is_refused_because_it_leaves_the_hour_to_a_guess() -> None:
    with pytest.raises(ValidationError, match="occurred_at"):
        build(occurred_at=datetime(2025, 1, 1))  # noqa: DTZ001 - what is tested
    with pytest.raises(ValidationError, match="RFC 3339 with a zone"):
        read(occurred_at="2025-01-01T00:30:00")


@pytest.mark.parametrize(
    "text",
    [
        "1735689600",
        "2025-01-01",
        "2025-01-01T00:30+09:00",
        "2025-01-01T24:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-01-01T00:00:60Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00+24:00",
        "0001-01-01T00:00:00+09:00",
        "9999-12-31T23:59:59-09:00",
        " 2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z\n",
        1735689600,
        None,
    ],
)
def test_a_time_in_any_other_form_is_refused(text: Any) -> None:
    with pytest.raises(ValidationError, match="occurred_at"):
        read(occurred_at=text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2025-01-01T10:59:59.999Z", "2025-01-01T10:59:59.999Z"),
        ("2025-01-01T10:59:59.9999Z", "2025-01-01T10:59:59.999Z"),  # never rounded into the next hour
        ("2025-01-01T10:59:59.999999999Z", "2025-01-01T10:59:59.999Z"),
        ("2025-01-01T11:00:00.000Z", "2025-01-01T11:00:00.000Z"),
        ("2025-01-01t11:00:00z", "2025-01-01T11:00:00.000Z"),
        ("2025-01-01 11:00:00-00:00", "2025-01-01T11:00:00.000Z"),
    ],
)
def test_time_is_kept_to_the_millisecond_and_cut_not_rounded(text: str, kept: str) -> None:
    assert json.loads(read(occurred_at=text).to_json())["occurred_at"] == kept


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens",
    [
        {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 4},
        {"input_tokens": 0, "cache_read_tokens": 0},
        {"output_tokens": 10, "reasoning_tokens": 10},
        {"input_tokens": 10},
        {"usage_status": "missing"},
    ],
)
def test_details_up_to_their_total_keep_the_convention(tokens: dict[str, Any]) -> None:
    event = build(**tokens)
    assert event.model_dump(include=set(tokens)) == tokens


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (
            {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 5},
            "sum to 11, more than input_tokens = 10",
        ),
        ({"output_tokens": 10, "reasoning_tokens": 11}, "sum to 11, more than output_tokens = 10"),
        ({"cache_read_tokens": 0}, "without input_tokens itself"),
        ({"input_tokens": 5, "reasoning_tokens": 0}, "without output_tokens itself"),
        ({"usage_status": "missing", "output_tokens": 0}, "usage_status is 'missing' but usage is given"),
        ({"usage_status": "missing", "quantities": {"images": "1"}}, "usage_status is 'missing' but usage is given"),
    ],
)
def test_a_broken_token_convention_is_refused_with_its_figures(tokens: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        build(**tokens)


def test_absent_tokens_stay_absent_and_zero_stays_zero() -> None:
    event = UsageEvent.model_validate_json(build(input_tokens=0).to_json())
    assert event.input_tokens == 0
    assert event.output_tokens is None


@given(st.integers(0, TOKENS_MAX), st.integers(0, TOKENS_MAX), st.integers(0, TOKENS_MAX), st.integers(0, TOKENS_MAX))
def test_an_event_is_taken_exactly_if_its_details_fit(total: int, read_: int, write: int, reasoning: int) -> None:
    fields = {
        "input_tokens": total,
        "cache_read_tokens": read_,
        "cache_write_tokens": write,
        "output_tokens": total,
        "reasoning_tokens": reasoning,
    }
    if read_ + write <= total and reasoning <= total:
        build(**fields)
    else:
        with pytest.raises(ValidationError):
            build(**fields)


# --- building and writing --------------------------------------------------------------------------------------------


def test_create_makes_an_id_and_a_time_where_the_caller_gives_none() -> None:
    first = UsageEvent.create(provider="openai", model="gpt-5")
    second = UsageEvent.create(provider="openai", model="gpt-5", request_id=None)
    assert UUID(first.request_id).version == UUID(second.request_id).version == 4
    assert first.request_id != second.request_id
    assert first.occurred_at.tzinfo == UTC


def test_create_takes_clock_and_ids_from_outside() -> None:
    event = UsageEvent.create(clock=lambda: AT, new_id=lambda: "given", provider="openai", model="gpt-5")
    assert (event.occurred_at, event.request_id) == (AT, "given")


def test_three_calls_of_one_http_request_are_three_events_with_a_shared_parent() -> None:
    events = [UsageEvent.create(provider="p", model="m", metadata={"parent_id": "http-1"}) for _ in range(3)]
    assert len({event.request_id for event in events}) == 3
    assert {event.metadata["parent_id"] for event in events} == {"http-1"}


def test_an_empty_id_is_a_mistake_and_not_a_missing_one() -> None:
    with pytest.raises(ValidationError, match="request_id"):
        UsageEvent.create(request_id="", provider="openai", model="gpt-5")


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build().model = "another"  # type: ignore[misc] # what is tested


def test_defaults_are_left_out_on_the_wire_and_the_version_never() -> None:
    assert json.loads(build().to_json()) == {
        "schema_version": 1,
        "request_id": "r-1",
        "occurred_at": "2025-01-01T12:00:00.000Z",
        "provider": "openai",
        "model": "gpt-5",
    }


def test_metadata_that_json_cannot_hold_is_refused() -> None:
    for value in ({"x": float("nan")}, {"x": object()}, {1: "x"}, {"x": "\ud800"}):
        with pytest.raises(ValidationError, match="metadata"):
            build(metadata=value)


# --- versions --------------------------------------------------------------------------------------------------------


def version_1_lines() -> list[str]:
    return (FIXTURES / "usage-event.v1.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", version_1_lines())
def test_every_event_of_version_1_is_readable_for_ever(line: str) -> None:
    event = UsageEvent.model_validate_json(line)
    assert UsageEvent.model_validate_json(event.to_json()) == event


def test_version_1_keeps_its_fields_and_requires_no_more_than_it_did() -> None:
    """A field that goes, or one that becomes required, breaks the producers in the field: that is version 2."""
    used = set().union(*(json.loads(line) for line in version_1_lines()))
    assert used <= UsageEvent.model_fields.keys()
    assert {name for name, field in UsageEvent.model_fields.items() if field.is_required()} == REQUIRED.keys()
