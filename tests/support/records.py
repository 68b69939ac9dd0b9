"""Records as a Kafka consumer hands them over, and the bytes in them, with only what a test is about written down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from stream.decode.cut import Cut, Header
from stream.decode.frame import AgeLimits

NOW: Final = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)  # when the broker took the records of a test
# By its clocks no day, and so no month, ends within three hours: midnight is at 15:00 UTC in Seoul, and at 07:00 or
# 08:00 in Los Angeles. Budgets of a test that asks a view which goes by the engine's own clock go by it.
STEADY_ZONE: Final = "America/Los_Angeles" if 12 <= datetime.now(UTC).hour < 16 else "Asia/Seoul"
LIMITS: Final = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """What the stream reads of aiokafka's ConsumerRecord."""

    value: bytes | None
    partition: int = 0
    offset: int = 0
    timestamp: int = round(NOW.timestamp() * 1000)
    key: bytes | None = None
    headers: Sequence[Header] = ()
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False

    def at(self, partition: int, offset: int) -> Self:
        return replace(self, partition=partition, offset=offset)


def fields(request_id: str = "r-1", **given: Any) -> dict[str, Any]:
    """The members of a good event; one that is given as None is left out."""
    usual = {
        "request_id": request_id,
        "occurred_at": "2026-11-23T12:00:00Z",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "input_tokens": 1000,
        "output_tokens": 500,
        "feature": "chatbot",
        "user_id": "u-1",
    }
    return {name: value for name, value in (usual | given).items() if value is not None}


def wire(request_id: str = "r-1", **given: Any) -> bytes:
    return json.dumps(fields(request_id, **given), ensure_ascii=False, separators=(",", ":")).encode()


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log_of(values: Iterable[bytes | None], *, partition: int = 0, first: int = 0) -> list[FakeRecord]:
    """Consecutive records of one partition."""
    return [FakeRecord(value, partition, offset) for offset, value in enumerate(values, first)]


def until(condition: Callable[[], object], what: str, *, seconds: float = 30.0) -> None:
    """Return once the condition holds; how long that takes is nobody's business below the bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
