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

from costream.topics import REPLAYED_HEADER
from sinks.clickhouse.reader import Reader
from stream.decode.cut import Cut, Header
from stream.store.decisions import Decision, Sent, State

LETTERS_AT_ONCE: Final = 200  # read in one question; a letter may be as large as its topic allows
PLACES_AT_ONCE: Final = 10_000  # without their bytes
TIMES: Final = pl.Datetime("ms", "UTC")

FOUND: Final = """
FROM dead_letters AS letter
WHERE (empty({kinds:Array(String)}) OR letter.kind IN {kinds:Array(String)})
  AND (empty({request_ids:Array(String)}) OR letter.request_id IN {request_ids:Array(String)})
  AND letter.received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND ({until:Int64} = 0 OR letter.received_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC'))
  AND (letter.source, letter.source_partition, letter.source_offset)
    > ({source:String}, {partition:Int64}, {offset:Int64})
  AND (empty({states:Array(String)}) OR letter.state IN {states:Array(String)})"""
# Bytes travel as base64: a refused value may hold anything. Pages follow the sort key, so none is read twice.
LETTERS: Final = f"""
SELECT letter.source AS source, toInt64(letter.source_partition) AS source_partition,
  toInt64(letter.source_offset) AS source_offset, letter.received_at AS received_at, letter.kind AS kind,
  letter.reason AS reason, letter.request_id AS request_id, base64Encode(letter.key) AS key,
  base64Encode(letter.value) AS value, letter.headers AS headers, toInt64(letter.value_bytes) AS value_bytes,
  letter.value_sha256 AS value_sha256, toInt64(letter.key_bytes) AS key_bytes, letter.key_sha256 AS key_sha256,
  toInt64(letter.headers_count) AS headers_count, toInt64(letter.headers_bytes) AS headers_bytes,
  letter.headers_sha256 AS headers_sha256, letter.state AS state, letter.state_reason AS state_reason,
  letter.decided_at AS decided_at, letter.decided_by AS decided_by, letter.sent_topic AS sent_topic,
  toInt64(letter.sent_partition) AS sent_partition, toInt64(letter.sent_offset) AS sent_offset
{FOUND}"""
PAGE: Final = f"""{LETTERS}
ORDER BY letter.source, letter.source_partition, letter.source_offset
LIMIT {{limit:UInt32}}"""
LATEST: Final = f"""{LETTERS}
ORDER BY letter.received_at DESC, letter.source, letter.source_partition, letter.source_offset
LIMIT {{limit:UInt32}}"""
PLACES: Final = f"""
SELECT letter.source AS source, toInt64(letter.source_partition) AS source_partition,
  toInt64(letter.source_offset) AS source_offset, letter.received_at AS received_at
{FOUND}
ORDER BY letter.source, letter.source_partition, letter.source_offset
LIMIT {{limit:UInt32}}"""
COUNTS: Final = (
    f"SELECT letter.kind AS kind, toInt64(count()) AS letters {FOUND} GROUP BY kind ORDER BY letters DESC, kind"
)


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
    decision: Decision | None = None  # None: it is open, and nobody has decided anything of it

    @property
    def state(self) -> State:
        return self.decision.state if self.decision else "open"

    @property
    def place(self) -> str:
        return f"{self.source}/{self.partition}/{self.offset}"

    @property
    def copy_of(self) -> str:
        """The place of the letter that this one is a copy of, where it was sent again; else empty."""
        return next(
            (text.decode(errors="replace") for name, text in self.headers if name == REPLAYED_HEADER and text), ""
        )

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
            "state": self.state,
        }
        if self.decision is not None:
            told |= self.decision.to_dict()
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
    since: datetime | None = None  # what arrived then, or later
    until: datetime | None = None  # what arrived before
    states: Sequence[State] = ()

    def parameters(self, *, after: tuple[str, int, int] = ("", -1, -1)) -> dict[str, Any]:
        """``after`` is where the page before has ended."""
        source, partition, offset = after
        return {
            "kinds": list(self.kinds),
            "request_ids": list(self.request_ids),
            "since": _milliseconds(self.since),
            "until": _milliseconds(self.until),
            "states": list(self.states),
            "source": source,
            "partition": partition,
            "offset": offset,
        }


def latest(reader: Reader, which: Which, *, limit: int) -> list[DeadLetter]:
    """The letters that arrived last, the latest first."""
    return _letters(reader.frame(LATEST, **which.parameters(), limit=limit))


def letters(reader: Reader, which: Which) -> Iterator[DeadLetter]:
    """All letters, in the order of their logs; a page in memory at a time."""
    after = ("", -1, -1)
    while True:
        page = _letters(reader.frame(PAGE, **which.parameters(after=after), limit=LETTERS_AT_ONCE))
        yield from page
        if len(page) < LETTERS_AT_ONCE:
            return
        after = (page[-1].source, page[-1].partition, page[-1].offset)


def places(reader: Reader, which: Which) -> Iterator[pl.DataFrame]:
    """Where the letters stand and when they arrived, in the order of their logs; a page in memory at a time."""
    after = ("", -1, -1)
    while True:
        page = reader.frame(PLACES, **which.parameters(after=after), limit=PLACES_AT_ONCE)
        if page.height:
            yield page
        if page.height < PLACES_AT_ONCE:
            return
        source, partition, offset, _ = page.row(-1)
        after = (source, partition, offset)


def places_of(found: Sequence[DeadLetter]) -> pl.DataFrame:
    """The same of letters that were read."""
    return pl.DataFrame(
        {
            "source": [letter.source for letter in found],
            "source_partition": [letter.partition for letter in found],
            "source_offset": [letter.offset for letter in found],
            "received_at": [letter.received_at for letter in found],
        },
        schema={"source": pl.String, "source_partition": pl.Int64, "source_offset": pl.Int64, "received_at": TIMES},
    )


def counts(reader: Reader, which: Which) -> dict[str, int]:
    """How many letters there are, by kind; the most first."""
    return dict(reader.frame(COUNTS, **which.parameters()).iter_rows())


def _milliseconds(moment: datetime | None) -> int:
    return round(moment.timestamp() * 1000) if moment else 0


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
            decision=_decision(row),
        )
        for row in frame.iter_rows(named=True)
    ]


def _cut(row: Mapping[str, Any]) -> Cut | None:
    if not any(row[digest] for digest in ("value_sha256", "key_sha256", "headers_sha256")):
        return None
    return Cut(**{name: row[name] for name in Cut.__struct_fields__})


def _decision(row: Mapping[str, Any]) -> Decision | None:
    if row["decided_at"] is None:
        return None
    sent = Sent(row["sent_topic"], row["sent_partition"], row["sent_offset"]) if row["sent_topic"] else None
    at = row["decided_at"].astimezone(UTC)
    return Decision(row["state"], at=at, reason=row["state_reason"], by=row["decided_by"], sent=sent)
