"""``record(fields...)``: what a host has in its hands becomes an event, or is refused and counted; it never raises."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import costream
from costream import ProducerStats, UsageEvent
from costream.delivery.fields import Fields
from costream.events import (
    DURATION_MS_MAX,
    ERROR_CHARS_MAX,
    METADATA_BYTES_MAX,
    NAME_CHARS_MAX,
    UNITS_MAX,
    EventFields,
)
from costream.lenient import CHANGED, LABELS, Cut, LeftOut, shown, snapshot, text_of
from costream.testing import MemoryProducer, capture

AT = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
AN_ID = UUID("7d0f3c5e-0000-4000-8000-000000000000")


class Plan(Enum):
    PRO = "pro"


class Level(IntEnum):
    THREE = 3


class Hostile:
    """An object of the host's own whose every question raises."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__", "__name__", "_repr_pretty_"):  # pytest and hypothesis ask for these
            return object.__getattribute__(self, name)
        raise RuntimeError(f"no {name}")

    __str__ = __repr__ = __index__ = __float__ = __hash__ = None  # type: ignore[assignment] # what is tested


class OnlyAnIndex:
    def __index__(self) -> int:
        return 7


class OnlyAFloat:
    def __float__(self) -> float:
        return 7.5


class Presentable(Hostile):
    def __repr__(self) -> str:  # what hypothesis prints
        return "Presentable()"


class HostileMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 3


def recorded(**fields: Any) -> tuple[UsageEvent | None, list[str], ProducerStats]:
    """The event that these fields have become, or None; the reasons of a refusal; the counts."""
    with MemoryProducer() as producer:
        producer.record(**{"provider": "openai", "model": "gpt-5", "request_id": "r-1", "occurred_at": AT} | fields)
        events = producer.events
        return (events[0] if events else None), producer.refusals, producer.stats()


def one(**fields: Any) -> UsageEvent:
    event, refusals, stats = recorded(**fields)
    assert event is not None, refusals
    assert (stats.recorded, stats.delivered, stats.refused) == (1, 1, 0)
    return event


@pytest.mark.parametrize(
    ("field", "value", "becomes"),
    [
        ("user_id", 17, "17"),
        ("user_id", AN_ID, str(AN_ID)),
        ("user_id", np.int64(17), "17"),
        ("user_id", b"u-17", "u-17"),
        ("user_id", "line\nbreak\tand\x7f", "line break and"),
        ("user_id", "\ud800", "\ufffd"),
        ("user_id", "使用者", "使用者"),
        ("request_id", AN_ID, str(AN_ID)),
        ("request_id", 12, "12"),
        ("team", Plan.PRO, "pro"),
        ("team", Level.THREE, "3"),
        ("feature", PurePosixPath("a/b"), "a/b"),
        ("model", "gpt-5\n", "gpt-5"),
        ("operation", "Chat ", "chat"),
        ("input_tokens", np.int32(12), 12),
        ("input_tokens", np.float64(12.0), 12),
        ("input_tokens", 12.0, 12),
        ("input_tokens", Decimal(12), 12),
        ("input_tokens", Level.THREE, 3),
        ("duration_ms", 12.7, 13),
        ("duration_ms", 12.5, 12),
        ("duration_ms", Decimal("0.4"), 0),
        ("duration_ms", np.float32(812.2), 812),
        ("duration_ms", timedelta(seconds=1.5), 1_500),
        ("duration_ms", DURATION_MS_MAX, DURATION_MS_MAX),
        ("reported_cost_usd", 0.05, Decimal("0.05")),
        ("reported_cost_usd", 1.2e-05, Decimal("0.000012")),
        ("reported_cost_usd", "1.2e-05", Decimal("0.000012")),
        ("reported_cost_usd", 0, Decimal(0)),
        ("revenue_usd", np.float64(0.1), Decimal("0.1")),
        ("revenue_usd", Decimal("999999.999999999999"), Decimal("999999.999999999999")),
        ("revenue_usd", Decimal("1e-12"), Decimal("0.000000000001")),
        ("utilization", 0.85, Decimal("0.85")),
        ("utilization", 1 / 3, Decimal("0.333333")),
        ("utilization", np.float32(0.5), Decimal("0.5")),
        ("utilization", "1", Decimal(1)),
        ("utilization", 0, Decimal(0)),
        ("utilization", Decimal("0.9999999"), Decimal(1)),
        ("user_id", OnlyAnIndex(), "7"),
        ("input_tokens", OnlyAnIndex(), 7),
        ("team", OnlyAFloat(), "7.5"),
        ("duration_ms", OnlyAFloat(), 8),
        ("error", ValueError("quota exceeded"), "ValueError: quota exceeded"),
        ("error", TimeoutError(), "TimeoutError"),
        ("error", "a\nb", "a\nb"),
        ("occurred_at", "2025-01-01T00:30:00+09:00", datetime(2024, 12, 31, 15, 30, tzinfo=UTC)),
        ("occurred_at", datetime(2025, 1, 1, 21, tzinfo=timezone(timedelta(hours=9))), AT),
    ],
)
def test_what_can_be_made_honest_is_recorded(field: str, value: Any, becomes: Any) -> None:
    assert getattr(one(**{field: value}), field) == becomes


def test_quantities_and_unit_prices_may_be_floats_and_are_kept_as_they_were_written() -> None:
    event = one(quantities={"audio_seconds": 90.5, "images": np.int64(2)}, unit_prices={"images": 1e-7})
    assert event.quantities == {"audio_seconds": Decimal("90.5"), "images": Decimal(2)}
    assert event.unit_prices == {"images": Decimal("0.0000001")}
    assert CHANGED not in event.metadata


def test_more_than_twelve_digits_after_the_point_are_rounded_and_marked() -> None:
    event = one(quantities={"audio_seconds": 0.1234567890125})
    assert event.quantities == {"audio_seconds": Decimal("0.123456789012")}
    assert event.metadata[CHANGED] == ["quantities.audio_seconds: 0.1234567890125 rounded at 12 digits after the point"]


@pytest.mark.parametrize("text", ["1.50", "2", "2.000000000000", "100", "0"])
def test_an_amount_keeps_its_spelling_by_which_two_reports_of_a_call_are_compared(text: str) -> None:
    assert json.loads(one(quantities={"images": text}).to_json())["quantities"] == {"images": text}
    assert json.loads(one(quantities={"images": Decimal(text)}).to_json())["quantities"] == {"images": text}


@pytest.mark.parametrize(
    ("given_text", "kept", "rounded"),
    [
        ("999999999999999999.999999999999", "999999999999999999.999999999999", False),
        ("999999999999999999.9999999999985", "999999999999999999.999999999998", True),
        ("0.5" + "0" * 4_000, "0.5", False),
        ("0.5" + "0" * 70 + "1", "0.5", True),
        ("0.0000000000005" + "0" * 70 + "1", "0.000000000001", True),
        ("1e-999999", "0", True),
    ],
)
def test_an_amount_of_any_number_of_digits_is_rounded_once_and_marked_if_it_was(
    given_text: str, kept: str, *, rounded: bool
) -> None:
    event = one(quantities={"images": given_text})
    assert event.quantities == {"images": Decimal(kept)}
    assert (CHANGED in event.metadata) is rounded


def test_an_error_makes_it_a_failed_call_unless_the_caller_says_otherwise() -> None:
    assert one(error=ValueError("x")).status == "error"
    assert one(error="quota").status == "error"
    assert one(error="retried", status="ok").status == "ok"
    assert one(error="").status == "ok"


@pytest.mark.parametrize("error", ["x" * 5_000, ValueError("x" * 5_000)])
def test_a_long_error_text_is_cut_and_says_so(error: Any) -> None:
    event = one(error=error)
    assert len(event.error) == ERROR_CHARS_MAX
    assert event.error.endswith("characters)")
    assert event.metadata[CHANGED] == ["error: cut"]
    assert one(error="x" * ERROR_CHARS_MAX).error == "x" * ERROR_CHARS_MAX


def test_names_that_are_cut_stay_different_names() -> None:
    first, second = (one(user_id="x" * NAME_CHARS_MAX + end).user_id for end in "ab")
    assert len(first) == len(second) == NAME_CHARS_MAX
    assert first != second
    assert one(user_id="x" * NAME_CHARS_MAX).user_id == "x" * NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duration_ms", -3.2),
        ("duration_ms", float("nan")),
        ("duration_ms", float("inf")),
        ("duration_ms", "12"),
        ("duration_ms", True),
        ("duration_ms", DURATION_MS_MAX + 1),
        ("duration_ms", 10**400),
        ("time_to_first_token_ms", timedelta(days=-1)),
        ("user_id", object()),
        ("user_id", b"\xff"),
        ("user_id", memoryview(b"12")),
        pytest.param("user_id", Hostile(), id="a hostile id"),
        ("feature", ["a"]),
        ("metadata", "text"),
        pytest.param("metadata", HostileMapping(), id="hostile metadata"),
        ("reported_cost_usd", "free"),
        ("reported_cost_usd", -1),
        ("reported_cost_usd", float("inf")),
        ("reported_cost_usd", 10**30),
        ("revenue_usd", Decimal("NaN")),
        ("utilization", 85),
        ("utilization", 1.000001),
        ("utilization", -0.1),
        ("utilization", "busy"),
        pytest.param("error", Hostile(), id="a hostile error"),
    ],
)
def test_what_only_describes_the_call_never_costs_the_event_and_says_that_it_was_left_out(
    field: str, value: Any
) -> None:
    event, refusals, stats = recorded(**{field: value}, input_tokens=7)
    assert event is not None, refusals
    assert event.input_tokens == 7
    assert getattr(event, field) == UsageEvent.model_fields[field].get_default(call_default_factory=True) or (
        field == "metadata" and set(event.metadata) == {CHANGED}
    )
    (mark,) = event.metadata[CHANGED]
    assert mark.startswith(f"{field} left out")
    assert stats.changed == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"occurred_at": datetime(2025, 1, 1)}, "occurred_at = datetime.datetime(2025, 1, 1, 0, 0): a time without"),  # noqa: DTZ001 - what is tested
        ({"occurred_at": datetime.fromisoformat("2025-01-01T00:00:00")}, "use datetime.now(UTC), not utcnow()"),
        ({"occurred_at": "2025-01-01T00:00:00"}, "not RFC 3339 with a zone"),
        ({"occurred_at": 1735689600}, "no moment; give a datetime with a zone"),
        ({"occurred_at": date(2025, 1, 1)}, "no moment; give a datetime with a zone"),
        ({"provider": None}, "provider: it is required"),
        ({"model": ""}, "model = ''"),
        ({"model": object()}, "model = "),
        ({"input_tokens": -1}, "input_tokens = -1"),
        ({"input_tokens": 1.5}, "input_tokens = 1.5: a count is a whole number"),
        ({"input_tokens": "12"}, "input_tokens = '12': a count"),
        ({"input_tokens": np.str_("12")}, "input_tokens = np.str_('12'): a count"),
        ({"input_tokens": np.bytes_(b"12")}, "input_tokens = np.bytes_(b'12'): a count"),
        ({"input_tokens": bytearray(b"12")}, "input_tokens = bytearray(b'12'): a count"),
        ({"input_tokens": memoryview(b"12")}, "a count is a whole number"),
        ({"input_tokens": True}, "input_tokens = True: a count"),
        ({"input_tokens": float("nan")}, "input_tokens = nan: a count"),
        pytest.param({"input_tokens": Hostile()}, "input_tokens = ", id="a hostile count"),
        (
            {"cache_read_tokens": 9_000, "input_tokens": 100},
            "the event: the details of input_tokens sum to 9000, more than input_tokens = 100",
        ),
        ({"operation": "completion"}, "operation = 'completion'"),
        ({"status": "failed"}, "status = 'failed'"),
        ({"quantities": {"Audio Seconds": 1}}, "quantities.Audio Seconds"),
        ({"quantities": {"images": -1}}, "quantities.images"),
        ({"quantities": {"images": "many"}}, "no decimal number"),
        ({"quantities": {"images": " 1"}}, "no decimal number"),
        ({"quantities": {"images": True}}, "a bool is no amount"),
        ({"quantities": {"images": Decimal("Infinity")}}, "not finite"),
        ({"quantities": {"images": Decimal("sNaN")}}, "not finite"),
        ({"quantities": {"images": "1e999999999"}}, "not finite"),
        ({"quantities": {"images": Decimal("1e999999999")}}, "not finite"),
        ({"quantities": {"images": 10**18}}, "not below 1e18"),
        ({"quantities": {"images": -(10**18)}}, "not below 1e18"),
        ({"quantities": {"images": "999999999999999999.9999999999995"}}, "is not between 0 and 1e18"),
        ({"quantities": {"images": "9" * 4_000}}, "not below 1e18"),
        ({"quantities": [1]}, "not a mapping"),
        ({"quantities": {f"unit_{n}": 1 for n in range(17)}}, "at most 16 units"),
        ({"unit_prices": HostileMapping()}, ""),
        ({"promt_tokens": 12}, "promt_tokens = 12: there is no such field"),
        ({"zzz": 1, "aaa": 2, "mmm": 3}, "aaa = 2: there is no such field"),
        ({"usage_status": "missing", "input_tokens": 1}, "usage_status is 'missing' but usage is given"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused_with_field_value_and_rule(
    fields: dict[str, Any], reason: str
) -> None:
    event, refusals, stats = recorded(**fields)
    assert event is None
    assert len(refusals) == 1
    assert reason in refusals[0]
    assert (stats.recorded, stats.refused, stats.delivered) == (1, 1, 0)


def test_an_object_that_cannot_even_be_asked_for_its_class_is_refused_and_counted() -> None:
    class Unaskable:
        @property
        def __class__(self) -> Any:  # type: ignore[override] # what is tested
            raise RuntimeError

    event, refusals, stats = recorded(user_id=Unaskable())
    assert (event, stats.recorded, stats.refused) == (None, 1, 1)
    assert "cannot be read: RuntimeError" in refusals[0]


def test_an_empty_id_gets_one_of_its_own_and_none_given_too() -> None:
    assert UUID(one(request_id="").request_id).version == 4
    assert UUID(one(request_id=None).request_id).version == 4


def test_a_call_without_a_time_happened_now() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= one(occurred_at=None).occurred_at <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["2026-11-23T12:00:00Z", "2026-11-23t12:00:00z", "2026-11-23T21:00:00.000+09:00"])
def test_a_time_may_be_written_in_either_case(text: str) -> None:
    assert one(occurred_at=text).occurred_at == datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_what_was_changed_stands_under_the_name_that_is_documented() -> None:
    assert CHANGED == "costream_changed"
    assert f"`{CHANGED}`" in (Path(__file__).parents[2] / "docs" / "event.md").read_text()


# --- both sides of every bound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"error": "quota"},
        {"error": "x" * ERROR_CHARS_MAX},
        {"user_id": "x" * NAME_CHARS_MAX},
        {"user_id": " ~\x80\xa0é"},
        {"duration_ms": 0},
        {"duration_ms": 0.0},
        {"duration_ms": DURATION_MS_MAX},
        {"duration_ms": timedelta(0)},
        {"reported_cost_usd": Decimal("0.000000000001")},
        {"reported_cost_usd": "999999.999999999999"},
        {"utilization": 2 / 3},
        {"quantities": {f"unit_{n}": 1 for n in range(UNITS_MAX)}},
        {"metadata": {"a": 1}},
    ],
)
def test_what_loses_nothing_is_not_marked(fields: dict[str, Any]) -> None:
    event, refusals, stats = recorded(**fields)
    assert event is not None, refusals
    assert CHANGED not in event.metadata
    assert stats.changed == 0


def test_a_name_that_is_cut_ends_with_sixteen_digits_of_the_digest_of_what_was_given() -> None:
    given_name = "x" * (NAME_CHARS_MAX + 1)
    event = one(user_id=given_name)
    assert event.user_id == "x" * (NAME_CHARS_MAX - 17) + "~" + sha256(given_name.encode()).hexdigest()[:16]
    assert event.metadata[CHANGED] == [f"user_id: cut from {NAME_CHARS_MAX + 1} characters, with their digest"]
    assert len(one(user_id="\x00" + "x" * NAME_CHARS_MAX).user_id) == NAME_CHARS_MAX, "a space in front is taken off"


@pytest.mark.parametrize("code", [*range(32), 127])
def test_each_control_character_becomes_a_space_and_is_marked(code: int) -> None:
    event = one(user_id=f"a{chr(code)}b")
    assert event.user_id == "a b"
    assert event.metadata[CHANGED] == ["user_id: control characters replaced"]


@pytest.mark.parametrize("code", [32, 33, 126, 128, 160])
def test_what_is_no_control_character_stays(code: int) -> None:
    assert one(user_id=f"a{chr(code)}b").user_id == f"a{chr(code)}b"


def test_a_text_is_held_up_to_4096_characters_before_it_is_cut_to_its_field() -> None:
    assert snapshot({"user_id": "x" * 4_096})["user_id"] == "x" * 4_096
    assert snapshot({"user_id": "x" * 4_097})["user_id"] == "x" * 4_096
    assert snapshot({"error": "x" * ERROR_CHARS_MAX})["error"] == "x" * ERROR_CHARS_MAX
    cut = snapshot({"error": "x" * (ERROR_CHARS_MAX + 1)})["error"]
    mark = f" ... (cut from {ERROR_CHARS_MAX + 1} characters)"
    assert cut == "x" * (ERROR_CHARS_MAX - len(mark)) + mark
    assert isinstance(cut, Cut)
    assert snapshot({"feature": ValueError("x")}) == {"feature": "ValueError: x"}


def test_a_mapping_of_too_many_units_is_not_copied_and_one_at_the_bound_is() -> None:
    for count, copied in ((UNITS_MAX, True), (UNITS_MAX + 1, False)):
        given = {f"unit_{n}": 1 for n in range(count)}
        found = snapshot({"quantities": given, "unit_prices": given})
        assert found["quantities"] == found["unit_prices"] == given
        assert (found["quantities"] is not given) is copied
        assert (found["unit_prices"] is not given) is copied


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"n": list(range(1_998))}, True),  # with the mapping and the list two thousand values
        ({"n": list(range(1_999))}, False),
        ({"n": nested(30)}, True),
        ({"n": nested(31)}, False),
        ({"n": "x" * 4_096}, True),
        ({"n": "x" * 4_097}, False),
    ],
)
def test_metadata_is_copied_up_to_its_values_its_levels_and_its_texts(metadata: dict[str, Any], *, kept: bool) -> None:
    copy = snapshot({"metadata": metadata})["metadata"]
    assert (copy == metadata) is kept
    assert isinstance(copy, LeftOut) is not kept


def test_of_a_key_with_a_meaning_256_characters_outlive_metadata_that_is_too_large() -> None:
    large = {"huge": "x" * METADATA_BYTES_MAX, "parent_id": "p" * 257, "workflow_id": 7, "requested_model": ["m"]}
    event = one(metadata=large)
    assert event.metadata["parent_id"] == "p" * 256
    assert event.metadata["workflow_id"] == 7
    assert "requested_model" not in event.metadata


@pytest.mark.parametrize("name", ["parent_id", "workflow_id", "requested_model"])
@pytest.mark.parametrize("huge", ["x" * METADATA_BYTES_MAX, "x" * 5_000], ids=["too large in all", "too large a text"])
def test_each_key_with_a_meaning_outlives_metadata_that_is_too_large(name: str, huge: str) -> None:
    event = one(metadata={"huge": huge, name: "kept", "other": "lost"})
    assert {key: value for key, value in event.metadata.items() if key != CHANGED} == {name: "kept"}


def test_of_many_marks_the_last_ten_are_kept_of_two_hundred_characters_each() -> None:
    """Marks of a large event: they must fit into metadata themselves."""
    labels = dict.fromkeys(LABELS, "x" * 129)
    amounts = {"quantities": {f"unit_{n}": 0.1234567890123 for n in range(16)}}
    event = one(**labels, **amounts, metadata={"huge": "x" * METADATA_BYTES_MAX, "parent_id": "p"})
    marks = event.metadata[CHANGED]
    assert len(marks) == 10
    assert marks[-1].startswith("metadata left out, ")
    assert event.metadata["parent_id"] == "p"


def test_a_mark_is_cut_at_two_hundred_characters_only_where_metadata_is_too_large() -> None:
    unknown = type("x" * 300, (), {"__repr__": lambda self: "v"})()
    mark = f"duration_ms left out, a {'x' * 300} is no number of milliseconds: v"
    large = {"huge": "x" * (METADATA_BYTES_MAX - len('{"huge":""}'))}
    assert one(duration_ms=unknown, metadata=large).metadata[CHANGED][0] == mark[:200]
    assert one(duration_ms=unknown).metadata[CHANGED] == [mark]


@pytest.mark.parametrize(("length", "told"), [(78, "'" + "v" * 78 + "'"), (79, "'" + "v" * 76 + "...")])
def test_a_value_is_shown_up_to_eighty_characters(length: int, told: str) -> None:
    assert shown("v" * length) == told
    assert len(told) == 80


def test_a_value_is_shown_on_one_line_whatever_its_repr_does() -> None:
    class Lines:
        def __repr__(self) -> str:
            return "a\nb\x7fc"

    assert shown(Lines()) == "a b c"
    assert shown(b"\xff\n") == ascii(b"\xff\n")
    assert shown(Hostile()) == "a Hostile whose repr raises TypeError"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("t", "t"), (AN_ID, str(AN_ID)), (Decimal("1.50"), "1.50"), (PurePosixPath("a/b"), "a/b"), (b"b", "b"),
        (bytearray(b"c"), "c"), (Plan.PRO, "pro"), (Level.THREE, "3"), (np.int64(7), "7"), (1.5, "1.5"), (True, "1"),
    ],
)  # fmt: skip
def test_ids_and_names_are_text_as_they_are_commonly_kept(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (AT, "2025-01-01T12:00:00+00:00"), (date(2025, 1, 2), "2025-01-02"), (AT.time(), "12:00:00"),
        (timedelta(seconds=1.5), 1.5), ((1,), [1]), ({1}, [1]), (frozenset({1}), [1]), ([1], [1]), ({1: 2}, {"1": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}), (Decimal("0.10"), "0.10"), (np.float32(0.5), 0.5), (np.int8(3), 3),
        (float("inf"), "inf"), (float("-inf"), "-inf"), (1.5, 1.5), (object, "(type)"), ({object: 1}, {"(type)": 1}),
        (True, True), (None, None), (b"x", "x"), (2**70, 2**70),
    ],
)  # fmt: skip
def test_each_value_of_metadata_has_one_form(value: Any, becomes: Any) -> None:
    made = snapshot({"metadata": {"v": value}})["metadata"]["v"]
    assert made == becomes
    assert type(made) is type(becomes)


def test_a_mapping_of_the_hosts_own_that_fails_is_left_out_with_the_error_and_nothing_of_it() -> None:
    left = snapshot({"metadata": HostileMapping()})["metadata"]
    assert left == LeftOut("reading it raised RuntimeError", {})


@pytest.mark.parametrize(
    ("names", "value", "becomes"),
    [
        (("request_id", "provider", "model", *LABELS), 12, "12"),
        (("duration_ms", "time_to_first_token_ms"), 12.4, 12),
        (("input_tokens", "output_tokens"), np.int64(3), 3),
        (("reported_cost_usd", "revenue_usd"), 0.25, Decimal("0.25")),
        (("utilization",), 0.25, Decimal("0.25")),
        (("quantities", "unit_prices"), {"images": 0.25}, {"images": Decimal("0.25")}),
        (("operation",), " CHAT", "chat"),
        (("status",), "OK ", "ok"),
        (("usage_status",), "Estimated", "estimated"),
    ],
)
def test_every_field_is_made_honest_like_its_kin(names: tuple[str, ...], value: Any, becomes: Any) -> None:
    for name in names:
        assert getattr(one(**{name: value}), name) == becomes, name


@pytest.mark.parametrize("name", ["cache_read_tokens", "cache_write_tokens", "reasoning_tokens"])
def test_every_part_of_a_count_is_made_honest_like_its_total(name: str) -> None:
    assert getattr(one(**{name: np.int64(3)}, input_tokens=9, output_tokens=9), name) == 3


DECIDES = {
    *("request_id", "provider", "model", "occurred_at", "operation", "status", "usage_status", "quantities"),
    *("unit_prices", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("schema_version", "service_tier", "inference_geo"),
}


def test_the_version_of_the_contract_may_be_named() -> None:
    assert one(schema_version=1).schema_version == 1


@pytest.mark.parametrize("name", UsageEvent.model_fields)
def test_a_field_costs_the_event_only_if_it_decides_which_call_it_was_or_what_it_cost(name: str) -> None:
    event, _, stats = recorded(**{name: Hostile()})
    assert (event is None) is (name in DECIDES)
    assert stats.refused == (name in DECIDES)


def test_the_values_of_a_call_that_are_not_told_are_not_looked_at() -> None:
    fields = {"provider": "openai", "input_tokens": 7, "metadata": "text", "quantities": [1]}
    assert snapshot(dict(fields)) == fields


# --- metadata --------------------------------------------------------------------------------------------------------


def test_metadata_is_made_of_what_json_holds() -> None:
    event = one(
        metadata={
            "at": AT,
            "day": date(2025, 1, 1),
            "cost": Decimal("0.10"),
            "id": AN_ID,
            "took": timedelta(seconds=2.5),
            "tags": {"a"},
            "pair": (1, 2),
            "n": np.int64(3),
            "x": np.float64(0.5),
            "nan": float("nan"),
            "plan": Plan.PRO,
            "object": Plan,
            "half": "\ud800",
            "halves": ["\ud800", {"\udc00": "\ud83d\ude00"}],
            7: "key",
            "deep": [{"list": [None, True, 1.5]}],
        }
    )
    assert event.metadata == {
        "at": "2025-01-01T12:00:00+00:00",
        "day": "2025-01-01",
        "cost": "0.10",
        "id": str(AN_ID),
        "took": 2.5,
        "tags": ["a"],
        "pair": [1, 2],
        "n": 3,
        "x": 0.5,
        "nan": "nan",
        "plan": "pro",
        "object": "(EnumType)",
        "half": "\ufffd",
        "halves": ["\ufffd", {"\ufffd": "😀"}],
        "7": "key",
        "deep": [{"list": [None, True, 1.5]}],
    }


def test_metadata_that_is_too_large_is_left_out_but_for_the_keys_with_a_meaning() -> None:
    room = METADATA_BYTES_MAX - len('{"key":""}')
    assert one(metadata={"key": "x" * room}).metadata == {"key": "x" * room}
    event = one(metadata={"key": "x" * (room + 1), "parent_id": "http-1", "workflow_id": "w" * 5_000})
    assert event.metadata["parent_id"] == "http-1"
    assert event.metadata["workflow_id"] == "w" * 256
    assert "key" not in event.metadata
    assert event.metadata[CHANGED][0].startswith("metadata left out")


@pytest.mark.parametrize("huge", [list(range(10**6)), "x" * 10**7, [[[]] * 1_000] * 1_000])
def test_metadata_of_any_size_is_looked_at_no_further_than_its_bound(huge: Any) -> None:
    event = one(metadata={"parent_id": 7, "huge": huge})
    assert event.metadata["parent_id"] == 7
    assert set(event.metadata) == {"parent_id", CHANGED}


def test_metadata_that_contains_itself_is_left_out() -> None:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    assert set(one(metadata=metadata).metadata) == {CHANGED}


def test_what_the_caller_changes_after_the_call_changes_no_event(tmp_path: Path, topic: str) -> None:
    metadata = {"tags": ["a"], "nested": {"n": 1}}
    quantities: dict[str, Any] = {"images": 1}
    with costream.UsageProducer(bootstrap_servers="127.0.0.1:1", topic=topic, spool_dir=tmp_path) as producer:
        for number in range(50):
            producer.record(provider="p", model="m", request_id=number, metadata=metadata, quantities=quantities)
        metadata["tags"].append("b")  # type: ignore[attr-defined] # a list
        metadata["nested"]["n"] = object()  # type: ignore[call-overload] # a dict
        quantities["images"] = "many"
        assert producer.flush(20) == 0
    stats = producer.stats()
    assert (stats.spool_rows, stats.refused, stats.changed) == (50, 0, 0)


# --- never raises ----------------------------------------------------------------------------------------------------

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters())
    | st.binary()
    | st.uuids()
    | st.datetimes()
    | st.timedeltas()
    | st.sampled_from(
        [Presentable(), Hostile, HostileMapping(), ValueError("no"), Plan.PRO, np.float64("nan"), object()]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*UsageEvent.model_fields, "no_such_field"]), ANYTHING, max_size=6))
def test_whatever_it_is_given_it_raises_nothing_and_every_call_is_counted(fields: dict[str, Any]) -> None:
    with MemoryProducer() as producer:
        producer.record(**{"provider": "p", "model": "m"} | fields)
        stats = producer.stats()
        assert stats.recorded == stats.delivered + stats.refused == 1
        assert len(producer.events) + len(producer.refusals) == 1  # and what was delivered keeps the contract


@given(st.sampled_from(LABELS), st.text(st.characters(), max_size=300))
def test_every_text_is_a_label(name: str, text: str) -> None:
    one(**{name: text})


def test_switched_off_it_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_USAGE_ENABLED", "false")
    monkeypatch.setattr("costream.producer._default", {})
    monkeypatch.setattr("costream.producer.gather", lambda *_, **__: pytest.fail("looked at it"))
    costream.record(provider=Hostile(), no_such_field=1)  # type: ignore[call-overload] # what is tested
    assert costream.stats() == ProducerStats()


def test_the_default_client_can_be_flushed_and_asked_before_and_after_its_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("costream.producer._default", {})
    assert costream.flush(0) == 0
    assert costream.stats() == ProducerStats()
    with capture():
        costream.record(provider="openai", model="gpt-5")
        assert costream.flush(0) == 0
        assert costream.stats().delivered == 1


# --- the type checker ------------------------------------------------------------------------------------------------


def test_the_typed_arguments_are_the_fields_of_the_event() -> None:
    assert Fields.__annotations__.keys() == EventFields.__annotations__.keys() - {"schema_version"}
    assert EventFields.__annotations__.keys() == UsageEvent.model_fields.keys()


TYPED = """
import costream
from costream import UsageEvent
costream.record(UsageEvent.create(provider="p", model="m", input_tokens=1))
costream.record(provider="p", model="m", user_id=17, error=ValueError("x"), duration_ms=12.7, input_tokens=None)
costream.UsageProducer().record(provider="p", model="m", metadata={"a": object()})
costream.record(provider="p", model="m", promt_tokens=1)
costream.record(model="m")
costream.record(17)
costream.record(provider="p", model="m", input_tokens="12")
UsageEvent.create(provider="p", model="m", promt_tokens=1)
UsageEvent.create(provider="p", model="m", user_id=17)
"""


@pytest.mark.slow
def test_mypy_sees_a_misspelt_field_and_a_wrong_type_and_lets_the_right_ones_pass(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--output", "json"]
    done = subprocess.run(
        [*command, str(tmp_path / "caller.py")], capture_output=True, check=False, text=True, timeout=120
    )
    lines = {found["line"] for found in map(json.loads, done.stdout.splitlines()) if found["severity"] == "error"}
    assert lines == {7, 8, 9, 10, 11, 12}, done.stdout + done.stderr
