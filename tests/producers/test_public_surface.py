"""What a host gets when it imports the client: a small surface, and nothing it did not ask for."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import costream
from costream import BudgetGuard, BudgetLimited, CostreamError, InvalidSettings, UsageEvent, UsageProducer
from costream.delivery.complaints import INTERVAL_S, Complaints
from costream.testing import MemoryGuard, MemoryProducer, capture


def test_all_is_sorted_and_is_what_can_be_imported() -> None:
    public = {
        name
        for name, value in vars(costream).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert list(costream.__all__) == sorted(costream.__all__)
    assert set(costream.__all__) == public


def test_every_error_is_in_the_tree_and_is_the_builtin_a_caller_expects() -> None:
    assert issubclass(InvalidSettings, CostreamError)
    assert issubclass(InvalidSettings, ValueError)


IMPORT_WATCHED = """
import socket, sys, threading
def refuse(*args, **kwargs):
    raise AssertionError("importing opened a socket")
socket.socket.__init__ = refuse
before = threading.active_count()
import costream, costream.testing, costream.schema
assert threading.active_count() == before, "importing started a thread"
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_importing_opens_no_socket_starts_no_thread_and_brings_no_application_in() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_WATCHED], capture_output=True, text=True, check=True)
    unwanted = {"genai_prices", "polars", "pyarrow", "faust", "mode", "aiokafka", "msgspec", "numpy", "aiohttp"}
    unwanted |= {"clickhouse_connect", "chdb", "structlog", "pydantic_settings", "typer", "rich", "stream", "sinks"}
    assert not unwanted & set(done.stdout.split())


def test_the_memory_producer_has_the_interface_of_the_real_one() -> None:
    for name, method in inspect.getmembers(UsageProducer, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(method) == inspect.signature(getattr(MemoryProducer, name)), name


def test_the_memory_guard_has_the_interface_of_the_real_one_and_the_limits_of_its_test() -> None:
    for name, method in inspect.getmembers(BudgetGuard, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(method) == inspect.signature(getattr(MemoryGuard, name)), name
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    with MemoryGuard(clock=lambda: now) as guard:
        assert guard.ready()
        assert guard.check(user_id=17) is None
        guard.limit("user_daily_budget", user_id=17, lasts=timedelta(hours=1))
        limited = guard.check(user_id="17", feature="chatbot")
        assert limited is not None
        assert (limited.budget, limited.resets_at) == ("user_daily_budget", now + timedelta(hours=1))
        now += timedelta(hours=1)
        assert guard.check(user_id=17) is None
        guard.limit("daily_budget")
        with pytest.raises(BudgetLimited, match="budget daily_budget is limited until 2026-12-01 13:00:00 UTC"):
            guard.require(user_id="anybody")


def test_capture_takes_what_the_module_records_and_puts_the_default_back(usage_event: Callable[..., Any]) -> None:
    with capture() as usage:
        costream.record(usage_event(1, feature="chatbot"))
        assert costream.get_default_producer() is usage
    assert [event.feature for event in usage.events] == ["chatbot"]
    with capture() as again:
        assert again.events == []


def test_capture_records_even_where_the_switch_is_off(
    monkeypatch: pytest.MonkeyPatch, usage_event: Callable[..., Any]
) -> None:
    monkeypatch.setenv("COSTREAM_ENABLED", "false")
    with capture() as usage:
        costream.record(usage_event())
    assert len(usage.events) == 1


def test_the_memory_of_a_test_is_bounded(monkeypatch: pytest.MonkeyPatch, usage_event: Callable[..., Any]) -> None:
    monkeypatch.setattr("costream.testing.EVENTS_MAX", 10)
    with MemoryProducer() as producer:
        for number in range(25):
            producer.record(usage_event(number))
    assert len(producer.events) == 10
    assert producer.stats().dropped == 15


def test_messages_carry_our_headers_and_lie_where_kafkas_murmur2_puts_them(
    bootstrap: str, topic: str, read_topic: Any, usage_event: Callable[..., UsageEvent]
) -> None:
    with UsageProducer(bootstrap_servers=bootstrap, topic=topic) as producer:
        for number in range(64):
            producer.record(usage_event(number))
    messages = read_topic(bootstrap, topic)
    assert len({message.partition for message in messages}) == 4
    for message in messages:
        assert message.partition == (murmur2(message.key.encode()) & 0x7FFFFFFF) % 4
        assert message.headers["content-type"] == b"application/json"
        assert message.headers["costream-client"].startswith(b"python/")
        assert message.headers["schema-version"] == b"1"


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key, written down once more from its definition."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_a_trouble_is_said_at_once_and_then_once_a_minute_with_its_count() -> None:
    now = 0.0
    said: list[str] = []
    complaints = Complaints(lambda level, kind, text: said.append(text), lambda: now)
    for _ in range(1_000):
        complaints.say("lost", "events are lost")
    assert said == ["events are lost"]
    now = INTERVAL_S - 0.001
    complaints.say_what_is_due()
    assert len(said) == 1
    now = INTERVAL_S
    complaints.say_what_is_due()
    assert said[1:] == ["events are lost (999 x since the last such line)"]
    complaints.say("other", "another trouble")
    assert said[2:] == ["another trouble"]
