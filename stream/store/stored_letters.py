"""Dead letters as the warehouse has them: which there are, as they came, with what was wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import polars as pl

from sinks.clickhouse.reader import Reader
from stream.decode.cut import Cut, Header

LETTERS_AT_ONCE: Final = 200  # read in one question; a letter may be as large as its topic allows

# Bytes travel as base64: a refused value may hold anything. Pages follow the sort key, so none is read twice.
LETTERS: Final = """
SELECT source, toInt64(source_partition) AS source_partition, toInt64(source_offset) AS source_offset,
  received_at, kind, reason, request_id, base64Encode(key) AS key, base64Encode(value) AS value, headers,
  toInt64(value_bytes) AS value_bytes, value_sha256, toInt64(key_bytes) AS key_bytes, key_sha256,
  toInt64(headers_count) AS headers_count, toInt64(headers_bytes) AS headers_bytes, headers_sha256
FROM dead_letters FINAL
WHERE (empty({kinds:Array(String)}) OR kind IN {kinds:Array(String)})
  AND (empty({request_ids:Array(String)}) OR request_id IN {request_ids:Array(String)})
  AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"""
PAGE: Final = f"""{LETTERS}
  AND (source, source_partition, source_offset) > ({{source:String}}, {{partition:Int64}}, {{offset:Int64}})
ORDER BY dead_letters.source, dead_letters.source_partition, dead_letters.source_offset
LIMIT {{limit:UInt32}}"""
LATEST: Final = f"""{LETTERS}
ORDER BY received_at DESC, source, source_partition, source_offset
LIMIT {{limit:UInt32}}"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record as it came, with what was wrong. ``partition``, ``offset`` and ``timestamp`` are its own."""

    source: str
    partition: int
    offset: int
    received_at: datetime
    kind: str
    reason: str
    request_id: str
    key: bytes | None
    value: bytes
    headers: Sequence[Header] = field(default=())
    cut: Cut | None = None  # how large it was, if not all of it was kept

    @property
    def place(self) -> str:
        return f"{self.source}/{self.partition}/{self.offset}"

    @property
    def timestamp(self) -> int:
        return round(self.received_at.timestamp() * 1000)

    def to_json(self) -> str:
        """One line for a person to edit: ``event`` if the value is an object, else ``value`` as text or base64."""
        told: dict[str, Any] = {
            "source": self.source,
            "partition": self.partition,
            "offset": self.offset,
            "received_at": self.received_at.isoformat(timespec="milliseconds"),
            "kind": self.kind,
            "reason": self.reason,
            "request_id": self.request_id,
        }
        if self.cut is not None:
            told["cut"] = msgspec.structs.asdict(self.cut)
        return json.dumps(told | _value_told(self.value), ensure_ascii=False)

    @property
    def value_is_cut(self) -> bool:
        return self.cut is not None and bool(self.cut.value_sha256)

    def kept_told(self) -> str:
        """What is there of a letter of which something is missing; empty for all others."""
        if self.cut is None:
            return ""
        kept = {
            "value": (len(self.value), self.cut.value_bytes, self.cut.value_sha256),
            "key": (len(self.key or b""), self.cut.key_bytes, self.cut.key_sha256),
        }
        told = [
            f"{name} {of:,} bytes, {head:,} kept, sha256 {digest}"
            for name, (head, of, digest) in kept.items()
            if digest
        ]
        if self.cut.headers_sha256:
            told.append(
                f"{self.cut.headers_count:,} headers of {self.cut.headers_bytes:,} bytes, {len(self.headers)} kept, "
                f"sha256 {self.cut.headers_sha256}"
            )
        return "; ".join(told)


def _value_told(value: bytes) -> dict[str, Any]:
    fields = as_object(value)
    if fields is not None:
        return {"event": fields}
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}


def as_object(value: bytes) -> dict[str, Any] | None:
    """The members of a JSON object; None if the bytes are something else, or would not be the same written again."""
    try:
        fields = json.loads(value, object_pairs_hook=_unambiguous, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice")
    return members


def refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Which:
    """The letters that are meant: an empty part leaves all of them."""

    kinds: Sequence[str] = ()
    request_ids: Sequence[str] = ()
    since: datetime | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "kinds": list(self.kinds),
            "request_ids": list(self.request_ids),
            "since": _milliseconds(self.since),
        }


def latest(reader: Reader, which: Which, *, limit: int) -> list[DeadLetter]:
    """The letters that arrived last, the latest first."""
    return _letters(reader.frame(LATEST, **which.parameters(), limit=limit))


def letters(reader: Reader, which: Which) -> Iterator[DeadLetter]:
    """All letters, in the order of their logs; a page in memory at a time."""
    after = ("", -1, -1)
    while True:
        source, partition, offset = after
        page = _letters(
            reader.frame(
                PAGE,
                **which.parameters(),
                source=source,
                partition=partition,
                offset=offset,
                limit=LETTERS_AT_ONCE,
            )
        )
        yield from page
        if len(page) < LETTERS_AT_ONCE:
            return
        after = (page[-1].source, page[-1].partition, page[-1].offset)


def _milliseconds(since: datetime | None) -> int:
    return round(since.timestamp() * 1000) if since else 0


def _letters(frame: pl.DataFrame) -> list[DeadLetter]:
    return [
        DeadLetter(
            source=row["source"],
            partition=row["source_partition"],
            offset=row["source_offset"],
            received_at=row["received_at"].astimezone(UTC),
            kind=row["kind"],
            reason=row["reason"],
            request_id=row["request_id"],
            key=base64.b64decode(row["key"]) or None,
            value=base64.b64decode(row["value"]),
            headers=[
                (name, None if text is None else base64.b64decode(text))
                for name, text in json.loads(row["headers"] or "[]")
            ],
            cut=_cut(row),
        )
        for row in frame.iter_rows(named=True)
    ]


def _cut(row: Mapping[str, Any]) -> Cut | None:
    if not any(row[digest] for digest in ("value_sha256", "key_sha256", "headers_sha256")):
        return None
    return Cut(**{name: row[name] for name in Cut.__struct_fields__})
