"""What one message costs the worker at most, of the kinds that are worst: from its bytes to its row or its dead letter.

python -m benchmarks.run --only hostile
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from stream.cut import Cut, Header
from stream.decode import AgeLimits, decode
from stream.ingest import dead_letter_message, dead_letter_rows
from stream.memory import calm_the_collector

NOW: Final = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
LIMITS: Final = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))
NEIGHBOURS: Final = 2_000  # plain events in the batch: their cost is taken off
ROUNDS: Final = 5  # the quickest counts
BYTES_MEASURED: Final = 2_500_000  # of each kind


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of one message of a kind; ``ratio`` is to a plain one of the same batch."""

    kind: str
    bytes: int
    us: float
    ratio: float


@dataclass(frozen=True, slots=True)
class _Record:
    value: bytes
    offset: int
    partition: int = 0
    timestamp: int = round(NOW.timestamp() * 1000)
    key: bytes | None = None
    headers: Sequence[Header] = ()
    cut: Cut | None = None
    fault: str = ""


def run() -> tuple[Cost, ...]:
    """The dearest first. The collector is as calm as in a worker."""
    calm_the_collector()
    alone = _seconds(())
    plain_us = alone / NEIGHBOURS * 1e6
    costs = []
    for kind, value in kinds():
        count = max(20, min(500, BYTES_MEASURED // len(value)))
        us = max(0.0, (_seconds([value] * count) - alone) / count * 1e6)
        costs.append(Cost(kind, len(value), us, us / plain_us))
    return (Cost("a plain event", len(_event()), plain_us, 1.0), *sorted(costs, key=lambda cost: -cost.us))


def _seconds(values: Sequence[bytes]) -> float:
    plain = [_event(request_id=f"p-{number}") for number in range(NEIGHBOURS)]
    records = [_Record(value, offset) for offset, value in enumerate([*plain, *values])]
    return min(_once(records) for _ in range(ROUNDS))


def _once(records: Sequence[_Record]) -> float:
    started = time.process_time()
    refusals = decode(records, source="s", limits=LIMITS).refusals
    dead_letter_rows(refusals, source="s", now=NOW)
    for refusal in refusals:
        dead_letter_message(refusal, source="s")
    return time.process_time() - started


def _event(**fields: object) -> bytes:
    usual = {
        "request_id": "r-1",
        "occurred_at": "2026-11-23T12:00:00Z",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "input_tokens": 1000,
        "output_tokens": 500,
        "feature": "chatbot",
        "user_id": "u-1",
    }
    return json.dumps(usual | fields, ensure_ascii=False, separators=(",", ":")).encode()


def _with(member: bytes) -> bytes:
    return _event()[:-1] + b"," + member + b"}"


def _many(name: str, members: Iterator[str]) -> bytes:
    return _with(f'"{name}":{{{",".join(members)}}}'.encode())


def kinds() -> Iterator[tuple[str, bytes]]:
    """Legal ones and others, each near the 64 KiB that a message may have, or near the bound that it presses on."""
    yield "metadata of 4 KB (legal)", _event(metadata={f"k{n:03}": n for n in range(330)})
    yield "metadata of 1,300 empty lists (legal)", _event(metadata={"a": [[]] * 1300})
    yield "metadata of escaped quotes (legal)", _event(metadata={"a": '"' * 1500})
    yield "metadata a hundred deep (legal)", _with(b'"metadata":{"a":' + b"[" * 100 + b"]" * 100 + b"}")
    yield (
        "16 quantities and 16 prices (legal)",
        _event(quantities={f"u{n}": "1.5" for n in range(16)}, unit_prices={f"u{n}": "1.5" for n in range(16)}),
    )
    yield "64 KB of spaces (legal)", b"{" + b" " * 64_000 + _event()[1:]
    yield "64 KB of line breaks (legal)", b"{" + b"\n" * 64_000 + _event()[1:]
    yield "a time of 60,000 digits (legal)", _event(occurred_at="2026-11-23T12:00:00." + "0" * 60_000 + "Z")
    yield "an error text of escapes (legal)", _with(b'"error":"' + b"\\u0041" * 1024 + b'"')
    yield "a time in another spelling (legal)", _event(occurred_at="2026-11-23t12:00:00+00:00")
    yield "metadata that repeats its last key", _many("metadata", (f'"k{n % 5299:05}":1' for n in range(5300)))
    yield "tiny metadata keys, one repeated", _many("metadata", (f'"{n % 5999:x}":0' for n in range(6000)))
    yield "metadata of 21,000 empty objects", _with(b'"metadata":{"a":[' + b",".join([b"{}"] * 21_000) + b"]}")
    yield "metadata of 31,000 numbers", _with(b'"metadata":{"a":[' + b",".join([b"1"] * 31_000) + b"]}")
    yield "metadata 30,000 deep", _with(b'"metadata":{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}")
    yield "6,000 unknown fields", _with(",".join(f'"x{n:04}":0' for n in range(6000)).encode())
    yield "4,500 times the same field", _with(b",".join([b'"feature":"x"'] * 4500))
    yield "5,900 quantities", _many("quantities", (f'"u{n:04}":0' for n in range(5900)))
    yield "4,900 units that are no units", _many("quantities", (f'"U{n:04}":"x"' for n in range(4900)))
    yield "a list of 16,000 texts for a text", _with(b'"feature":[' + b'"a",' * 16_000 + b'"a"]')
    yield "a list for an event", b"[" + b"{}," * 21_000 + b"{}]"
    yield "bytes that are no JSON", b"x" * 65_000
    yield "a text that does not end", _with(b'"feature":"' + b"x" * 64_000)
    yield "a number of 64,000 digits", _with(b'"duration_ms":' + b"9" * 64_000)
    yield "escaped control characters", _with(b'"feature":"' + b"\\u0001" * 10_600 + b'"')
    yield "combining marks", _with(b'"feature":"' + "e\u0301".encode() * 20_000 + b'"')
    yield "invisible characters", _with(b'"feature":"' + "\u200b".encode() * 20_000 + b'"')
    yield "a field name of 60,000 letters", _with(b'"' + b"x" * 60_000 + b'":1')
    yield "bad UTF-8 at the end", _with(b'"error":"' + b"x" * 60_000 + b'\xff"')
