"""The kinds of messages that cost most: those that somebody thought of, and those that hostile_search.py has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from stream.decode.frame import AgeLimits
from tests.support.records import wire
from tests.support.wire import Headers

NOW: Final = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
LIMITS: Final = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))
LEGAL: Final = " (legal)"
OLD_HOURS: Final = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """``value`` has the id ``r-1``, or one that cannot be found; legal ones get an id each in its place."""

    name: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    vary: Callable[[bytes, int], bytes] = lambda value, _: value

    @property
    def legal(self) -> bool:
        return self.name.endswith(LEGAL)

    @property
    def size(self) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.value) + len(self.key or b"") + headers

    def numbered(self, number: int) -> bytes:
        return self.vary(self.value.replace(b'"r-1"', b'"h-%d"' % number), number)


def kinds() -> Iterator[Kind]:
    for name, value in _values():
        yield Kind(name, value)
    yield from _records()


def _with(member: bytes) -> bytes:
    return wire()[:-1] + b"," + member + b"}"


def _many(name: str, members: Iterator[str]) -> bytes:
    return _with(f'"{name}":{{{",".join(members)}}}'.encode())


def _in_metadata(value: bytes) -> bytes:
    return _with(b'"metadata":{"a":' + value + b"}")


def _values() -> Iterator[tuple[str, bytes]]:
    yield from _legal()
    yield from _refused()


def _legal() -> Iterator[tuple[str, bytes]]:
    """Each near the 64 KiB that an event may have, or near the bound that it presses on."""
    yield "metadata of 4 KB (legal)", wire(metadata={f"k{n:03}": n for n in range(330)})
    spaced = wire(metadata={f"k{n:03}": n for n in range(330)}).replace(b",", b" , ").replace(b'":', b'" : ')
    yield "metadata of 4 KB, spaced out (legal)", spaced
    yield "metadata of 2 KB (legal)", wire(metadata={f"k{n:03}": n for n in range(180)})
    yield "metadata of 1,300 empty lists (legal)", wire(metadata={"a": [[]] * 1300})
    yield "metadata of 1,300 empty objects (legal)", wire(metadata={"a": [{}] * 1300})
    yield "metadata of 1,000 floats (legal)", wire(metadata={"a": [0.5] * 1000})
    yield "metadata of 1,000 lists and an escape (legal)", _in_metadata(rb'["\u0041"' + b",[]" * 1300 + b"]")
    yield "metadata of 480 objects of one key (legal)", wire(metadata={"a": [{"b": 1}] * 450})
    yield "metadata of escaped quotes (legal)", wire(metadata={"a": '"' * 1500})
    yield "metadata of escaped letters (legal)", _in_metadata(b'"' + rb"\u0041" * 4_000 + b'"')
    yield "metadata a hundred deep (legal)", _in_metadata(b"[" * 100 + b"]" * 100)
    yield "metadata, a number of 4,000 digits (legal)", _in_metadata(b"7" * 4_000)
    yield "metadata, a fraction of 60,000 digits (legal)", _in_metadata(b"0." + b"1" * 60_000)
    yield (
        "metadata, 200 fractions of 300 digits (legal)",
        _in_metadata(b"[" + b",".join([b"0." + b"1" * 300] * 200) + b"]"),
    )
    yield (
        "16 quantities and 16 prices (legal)",
        wire(quantities={f"u{n}": "1.5" for n in range(16)}, unit_prices={f"u{n}": "1.5" for n in range(16)}),
    )
    yield "64 KB of spaces (legal)", b"{" + b" " * 64_000 + wire()[1:]
    yield "64 KB of line breaks (legal)", b"{" + b"\n" * 64_000 + wire()[1:]
    yield "a time of 60,000 digits (legal)", wire(occurred_at="2026-11-23T12:00:00." + "0" * 60_000 + "Z")
    yield "an error text of escapes (legal)", _with(b'"error":"' + rb"\u0041" * 1024 + b'"')
    yield (
        "every text at its bound, escaped (legal)",
        _with(
            b",".join(
                b'"%s":"%s"' % (name, rb"\ud83d\ude00" * 128)
                for name in (b"task_type", b"team", b"environment", b"session_id")
            )
            + b',"error":"'
            + rb"\ud83d\ude00" * 1024
            + b'"'
        ),
    )
    yield "a time in another spelling (legal)", wire(occurred_at="2026-11-23t12:00:00+00:00")


def _refused() -> Iterator[tuple[str, bytes]]:
    """Likewise."""
    yield "metadata that repeats its last key", _many("metadata", (f'"k{n % 5299:05}":1' for n in range(5300)))
    yield "metadata of 4 KB that repeats a key", _many("metadata", (f'"{n % 329:03}":1' for n in range(400)))
    yield "metadata of 1,300 objects, a key repeated", _in_metadata(b"[" + b"{}," * 1_300 + b'{"b":0,"b":0}]')
    yield "tiny metadata keys, one repeated", _many("metadata", (f'"{n % 5999:x}":0' for n in range(6000)))
    yield "metadata of 21,000 empty objects", _in_metadata(b"[" + b",".join([b"{}"] * 21_000) + b"]")
    yield "metadata of 2,800 empty objects", _in_metadata(b"[" + b",".join([b"{}"] * 2_800) + b"]")
    yield "metadata of 31,000 numbers", _in_metadata(b"[" + b",".join([b"1"] * 31_000) + b"]")
    yield "metadata of 4,000 numbers", _in_metadata(b"[" + b",".join([b"1"] * 4_000) + b"]")
    yield "metadata of 4,000 fractions", _in_metadata(b"[" + b",".join([b"0.12345678"] * 4_000) + b"]")
    yield "metadata with a number beyond all", _in_metadata(b"[" + b"[]," * 1_300 + b"1e999]")
    yield "metadata 30,000 deep", _in_metadata(b"[" * 30_000 + b"]" * 30_000)
    yield "metadata 250 deep", _in_metadata(b"[" * 250 + b"]" * 250)
    yield "6,000 unknown fields", _with(",".join(f'"x{n:04}":0' for n in range(6000)).encode())
    yield "1,400 unknown fields", _with(",".join(f'"x{n:04}":0' for n in range(1400)).encode())
    yield (
        "100 unknown fields, one of 60 KB",
        _with(",".join(f'"x{n:04}":0' for n in range(90)).encode() + b',"y":"' + b"x" * 60_000 + b'"'),
    )
    yield "4,500 times the same field", _with(b",".join([b'"feature":"x"'] * 4500))
    yield "1,400 times the same field", _with(b",".join([b'"duration_ms":1'] * 1400))
    yield "3,500 times the same field, of escapes", _with(b",".join([rb'"user_id":"\"\""'] * 3500))
    yield "5,900 quantities", _many("quantities", (f'"u{n:04}":0' for n in range(5900)))
    yield "4,900 units that are no units", _many("quantities", (f'"U{n:04}":"x"' for n in range(4900)))
    yield "a unit that is a list of 8,000", _with(b'"quantities":{"a":[' + b"1," * 7_999 + b"1]}")
    yield "units that are a text of escapes", _with(b'"quantities":"' + rb"\u0041" * 9_000 + b'"')
    yield "an id of escapes", wire(request_id="?").replace(b"?", rb"\u0041" * 9_000)
    yield "a list of 16,000 texts for a text", _with(b'"feature":[' + b'"a",' * 16_000 + b'"a"]')
    yield "an object of 60 KB for a text", _with(b'"feature":{"a":"' + b"x" * 60_000 + b'"}')
    yield "a list for an event", b"[" + b"{}," * 21_000 + b"{}]"
    yield "bytes that are no JSON", b"x" * 65_000
    yield "a text that does not end", _with(b'"feature":"' + b"x" * 64_000)
    yield "a number of 64,000 digits", _with(b'"duration_ms":' + b"9" * 64_000)
    yield "escaped control characters", _with(b'"team":"' + rb"\u0001" * 10_600 + b'"')
    yield "escaped control characters in a field given twice", _with(b'"feature":"' + rb"\u0001" * 10_600 + b'"')
    yield "combining marks", _with(b'"team":"' + "e\u0301".encode() * 20_000 + b'"')
    yield "invisible characters", _with(b'"team":"' + "\u200b".encode() * 20_000 + b'"')
    yield "a field name of 60,000 letters", _with(b'"' + b"x" * 60_000 + b'":1')
    yield "bad UTF-8 at the end", _with(b'"error":"' + b"x" * 60_000 + b'\xff"')
    yield "amounts of 60,000 digits", _with(b'"revenue_usd":"' + b"9" * 60_000 + b'"')


def _records() -> Iterator[Kind]:
    """What is dear about the record and not about its value."""
    yield Kind("a key of 60 KB (legal)", wire(), key=b"k" * 60_000)
    yield Kind("64 headers of 200 bytes (legal)", wire(), headers=[(b"h%d" % n, b"x" * 200) for n in range(64)])
    yield Kind("5,000 headers (legal)", wire(), headers=[(b"h", b"x")] * 5_000)
    yield Kind("refused, with 64 headers", b"x" * 65_000, headers=[(b"h%d" % n, b"x" * 200) for n in range(64)])
    yield Kind("a value of 900 KB", b"x" * 900_000)
    yield Kind("a number among 40 digits, in a value of its own (legal)", _in_metadata(b"7" * 40))

    def late(value: bytes, number: int) -> bytes:
        moment = NOW - timedelta(days=2, hours=number % OLD_HOURS)
        return value.replace(b"2026-11-23T12:00:00Z", moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode())

    yield Kind("an event of an old hour, each of another (legal)", wire(), vary=late)

    def anew(value: bytes, number: int) -> bytes:
        return value.replace(b'"u-1"', b'"u-%d"' % number).replace(b"chatbot", b"f-%d" % number)

    yield Kind("a feature and a user of its own (legal)", wire(), vary=anew)
    units = wire(quantities={f"u{n}": "1.5" for n in range(16)}, unit_prices={f"u{n}": "1.5" for n in range(16)})
    yield Kind("16 units of a feature of its own (legal)", units, vary=anew)
