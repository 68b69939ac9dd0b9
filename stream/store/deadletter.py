"""Dead letters: reading them from the warehouse, and publishing corrected ones again.

A letter is replayed with its original bytes unless somebody corrected it. Whatever is sent has passed the contract
first: what is still bad is refused with the reason and stays where it is. Replaying a letter twice does no harm: the
second copy is a duplicate of the first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, assert_never

import msgspec
import polars as pl

from costream.events import UsageEvent
from costream.topics import FORWARDED_HEADER, REPLAYED_HEADER
from sinks.clickhouse.reader import Reader
from stream.decode.cut import Cut, Header
from stream.decode.frame import AgeLimits, Refusal, canonical, examine
from stream.store.flush import Outgoing
from stream.store.letters import sendable

LETTERS_AT_ONCE: Final = 200  # read in one question; a letter may be as large as its topic allows
DROPPED_HEADERS: Final = frozenset({FORWARDED_HEADER, REPLAYED_HEADER})  # its way starts anew

# Bytes travel as base64: a refused value may hold anything. Pages follow the sort key, so none is read twice.
LETTERS: Final = """
SELECT source, toInt64(source_partition) AS source_partition, toInt64(source_offset) AS source_offset,
  received_at, kind, reason, request_id, base64Encode(key) AS key, base64Encode(value) AS value, headers,
  toInt64(value_bytes) AS value_bytes, value_sha256, toInt64(key_bytes) AS key_bytes, key_sha256,
  toInt64(headers_count) AS headers_count, toInt64(headers_bytes) AS headers_bytes, headers_sha256
FROM dead_letters
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
        fields = json.loads(value, object_pairs_hook=_unambiguous, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice")
    return members


def _refuse(constant: str) -> Any:
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


# --- correcting ------------------------------------------------------------------------------------------------------


class BadCorrection(Exception):
    """A line of the edited file, or a ``--set``, that cannot be used; nothing is sent."""


Place = tuple[str, int, int]


def corrections(lines: Iterator[str]) -> dict[Place, bytes]:
    """The values of an edited file (JSON Lines, as ``export`` wrote it) by the place of their letter."""
    found: dict[Place, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place, value = _correction(number, line)
            if place in found:
                raise BadCorrection(f"line {number}: {'/'.join(map(str, place))} stands twice; nothing was sent")
            found[place] = value
    return found


def _correction(number: int, line: str) -> tuple[Place, bytes]:
    try:
        told = msgspec.json.decode(line, type=_EditedLine)
        event = json.loads(line).get("event")
        given = [event is not None, told.value is not None, told.value_base64 is not None]
        if sum(given) != 1:
            raise ValueError("one of event, value and value_base64 must be there")
        value = base64.b64decode(told.value_base64, validate=True) if told.value_base64 is not None else b""
    except (ValueError, RecursionError) as error:
        raise BadCorrection(f"line {number}: {error}; nothing was sent") from error
    if event is not None:
        value = json.dumps(event, ensure_ascii=False).encode()
    elif told.value is not None:
        value = told.value.encode()
    return (told.source, told.partition, told.offset), value


class _EditedLine(msgspec.Struct):
    """What is read of a line; kind and reason are there for the person."""

    source: str
    partition: int
    offset: int
    value: str | None = None
    value_base64: str | None = None


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """``field=value`` pairs. A value that is JSON is taken as such (null, 5, {"a": "b"}), anything else as text."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in UsageEvent.model_fields:
            known = ", ".join(UsageEvent.model_fields)
            raise BadCorrection(f"--set {text!r} is not FIELD=VALUE with a field of the event ({known})")
        fields[name] = _json_or_text(value)
    return fields


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_refuse)
    except ValueError:
        return value


# --- replaying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replay:
    """A letter that passes now, and the record that goes out."""

    letter: DeadLetter
    message: Outgoing
    corrected: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that stays where it is, and why."""

    letter: DeadLetter
    reason: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A record as the gate sees it."""

    value: bytes
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: Sequence[Header] = ()
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False


def plan(
    letter: DeadLetter,
    *,
    corrected: bytes | None = None,
    fields: Mapping[str, Any] | None = None,
    now: datetime,
    limits: AgeLimits,
) -> Replay | Refused:
    """Whether a letter would be counted if it were sent now, and what is sent."""
    value = letter.value if corrected is None or same_json(corrected, letter.value) else corrected
    if letter.value_is_cut and value == letter.value:
        return Refused(
            letter,
            f"only a head of its value is kept ({letter.kept_told()}), so it cannot be sent; give the whole value with "
            "--edit, or have its sender send it again",
        )
    if fields:
        members = as_object(value)
        if members is None:
            return Refused(letter, "its value is no JSON object, so no field of it can be set; edit it with --edit")
        value = json.dumps({**members, **fields}, ensure_ascii=False).encode()
    match examine(_Candidate(value)):
        case Refusal(reason=reason):
            return Refused(letter, reason)
        case UsageEvent() as event:
            return _judged(letter, event, value, now, limits)
        case unreachable:
            assert_never(unreachable)


def same_json(one: bytes, other: bytes) -> bool:
    """Whether a line was left as it was exported: then the original bytes are sent, not their new spelling."""
    members = as_object(one)
    return one == other or (members is not None and members == as_object(other))


def _judged(letter: DeadLetter, event: UsageEvent, value: bytes, now: datetime, limits: AgeLimits) -> Replay | Refused:
    if letter.kind == "conflict" and event.request_id == letter.request_id:
        return Refused(
            letter, f"request_id {event.request_id!r} is counted with other content; give it an id of its own"
        )
    if event.occurred_at - now > limits.future_max:
        return Refused(letter, f"occurred_at {event.occurred_at.isoformat()} still lies ahead; replay it then")
    if now - event.occurred_at > limits.past_max:
        return Refused(letter, f"occurred_at {event.occurred_at.isoformat()} is older than the retention")
    untouched = value == letter.value
    headers: list[tuple[str, str | bytes | None]] = [
        *sendable((name, given) for name, given in letter.headers if name not in DROPPED_HEADERS),
        (REPLAYED_HEADER, letter.place.encode()),
    ]
    sent = value if untouched else canonical(event)
    return Replay(letter, Outgoing(event.request_id.encode(), sent, headers), corrected=not untouched)


def replays(
    found: Iterable[DeadLetter],
    *,
    edited: Mapping[Place, bytes] | None = None,
    fields: Mapping[str, Any] | None = None,
    now: datetime,
    limits: AgeLimits,
) -> Iterator[Replay | Refused]:
    """What becomes of each letter. With an edited file, only the letters in it are looked at."""
    for letter in found:
        place = (letter.source, letter.partition, letter.offset)
        if edited is None or place in edited:
            corrected = edited[place] if edited else None
            yield plan(letter, corrected=corrected, fields=fields, now=now, limits=limits)


class Publisher(Protocol):
    """The part of an Outbox that is needed."""

    def publish(self, topic: str, messages: Iterable[Outgoing]) -> int: ...


def publish(outbox: Publisher, topic: str, outcomes: Iterable[Replay | Refused]) -> Iterator[Replay | Refused]:
    """Send what passes, in blocks; what is yielded as Replay has been acknowledged by Kafka."""
    block: list[Replay | Refused] = []
    for outcome in outcomes:
        block.append(outcome)
        if len(block) == LETTERS_AT_ONCE:
            yield from _published(outbox, topic, block)
            block = []
    yield from _published(outbox, topic, block)


def _published(outbox: Publisher, topic: str, block: list[Replay | Refused]) -> list[Replay | Refused]:
    outbox.publish(topic, [outcome.message for outcome in block if isinstance(outcome, Replay)])
    return block
