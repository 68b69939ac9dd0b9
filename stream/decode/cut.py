"""What is kept of a record that is too large: a head of each part, its length, and the SHA-256 of the whole.

An event within its bounds is never cut. The head of a value is one byte longer than an event may be, so that nobody
takes a head for an event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from costream.topics import EVENT_BYTES_MAX

VALUE_KEPT_BYTES_MAX: Final = EVENT_BYTES_MAX + 1
KEY_KEPT_BYTES_MAX: Final = 4_096  # the longest request_id takes 512; a key has no part in what an event counts
# Tracing sends a dozen headers of some hundred bytes. They have no part in what an event counts either.
HEADERS_KEPT_MAX: Final = 64
HEADERS_KEPT_BYTES_MAX: Final = 16_384

Header = tuple[str, bytes | None]


class Cut(msgspec.Struct, frozen=True, gc=False):
    """How large a record was of which not all is kept. A digest is empty where the part is whole."""

    value_bytes: int = 0
    value_sha256: str = ""
    key_bytes: int = 0
    key_sha256: str = ""
    headers_count: int = 0
    headers_bytes: int = 0
    headers_sha256: str = ""  # of all of them as Kafka encodes them, after their count


class Part(msgspec.Struct, frozen=True, gc=False):
    """A key or value as it is kept; ``sha256`` is empty if that is all of it."""

    head: bytes | None
    length: int
    sha256: str = ""


def part(whole: bytes | None, kept_max: int) -> Part:
    if whole is None or len(whole) <= kept_max:
        return Part(whole, len(whole or b""))
    return Part(whole[:kept_max], len(whole), hashlib.sha256(whole).hexdigest())


class Headers(msgspec.Struct, frozen=True, gc=False):
    """The headers that are kept; ``sha256`` is empty if those are all."""

    kept: list[Header]
    count: int
    length: int
    sha256: str = ""


def cut_of(value: Part, key: Part, headers: Headers) -> Cut | None:
    """None if the record is whole."""
    if not (value.sha256 or key.sha256 or headers.sha256):
        return None
    return Cut(value.length, value.sha256, key.length, key.sha256, headers.count, headers.length, headers.sha256)


def text_of(name: bytes) -> str:
    """A header's name. Bytes that are not UTF-8 become lone surrogates, and ``bytes_of`` gives them back."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def encoded(headers: Iterable[Header]) -> bytes:
    """Headers as Kafka encodes them, after their count."""
    parts: list[bytes] = []
    for name, value in headers:
        name_bytes = name.encode() if name.isascii() else bytes_of(name)
        if value is None:
            parts += (_length(len(name_bytes)), name_bytes, _NO_VALUE)
        else:
            parts += (_length(len(name_bytes)), name_bytes, _length(len(value)), value)
    return b"".join(parts)


def _length(number: int) -> bytes:
    return _SHORT_LENGTHS[number] if number < len(_SHORT_LENGTHS) else _varint(number)


def _varint(number: int) -> bytes:
    left, out = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


_NO_VALUE: Final = _varint(-1)
_SHORT_LENGTHS: Final = tuple(map(_varint, range(256)))  # a record may have a hundred thousand headers
