"""Publishing dead letters again, as they came or corrected.

A letter is replayed with its original bytes unless somebody corrected it. Whatever is sent has passed the contract
first: what is still bad is refused with the reason and stays where it is. A letter is marked as replayed once Kafka has
acknowledged it, never before. After a crash in between it is open still and may be sent again, which does no harm: the
second copy is a duplicate of the first. One that is refused again is a letter of its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol, assert_never

import msgspec
import polars as pl

from costream.events import UsageEvent
from costream.topics import FORWARDED_HEADER, REPLAYED_HEADER
from sinks.clickhouse.reader import Reader
from sinks.errors import WarehouseError
from stream.decode.cut import Cut, Header
from stream.decode.frame import AgeLimits, Refusal, canonical, examine
from stream.runtime.errors import StreamError
from stream.store.decisions import TABLE, Decision, Sent, decision_rows
from stream.store.flush import Outgoing
from stream.store.letters import sendable
from stream.store.stored_letters import (
    LETTERS_AT_ONCE,
    DeadLetter,
    Which,
    as_object,
    places,
    places_of,
    refuse_constant,
)

DROPPED_HEADERS: Final = frozenset({FORWARDED_HEADER, REPLAYED_HEADER})  # its way starts anew


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
        return json.loads(value, parse_constant=refuse_constant)
    except ValueError:
        return value


# --- replaying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replay:
    """A letter that passes now, and the record that goes out."""

    letter: DeadLetter
    message: Outgoing
    corrected: bool
    sent: Sent | None = None  # where it went, once Kafka has acknowledged it


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
    if letter.decision is not None and letter.state != "open":
        return Refused(letter, f"it was {letter.decision.told()}; `costream deadletter reopen` comes first")
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

    def placed(self, topic: str, messages: Sequence[Outgoing]) -> list[tuple[int | None, int | None]]: ...


class Tables(Protocol):
    """The part of a Writer that is needed."""

    def insert(self, table: str, frame: pl.DataFrame) -> int: ...


class SentNotMarked(StreamError):
    """Kafka has the letters, and the warehouse did not take that they were sent."""

    def __init__(self, *, letters: int, topic: str, reason: str) -> None:
        super().__init__(
            f"Kafka has what was sent last to {topic} (dead letters: {letters}), and it could not be marked as "
            f"replayed: {reason}. The letters are open still. Say it again: what is sent twice counts once"
        )


def publish(
    outbox: Publisher,
    writer: Tables,
    topic: str,
    outcomes: Iterable[Replay | Refused],
    *,
    clock: Callable[[], datetime],
    by: str = "",
) -> Iterator[Replay | Refused]:
    """Send what passes, in blocks; what is yielded as Replay has been acknowledged by Kafka and then marked."""
    waiting = iter(outcomes)
    while block := list(islice(waiting, LETTERS_AT_ONCE)):
        passing = [outcome for outcome in block if isinstance(outcome, Replay)]
        places = outbox.placed(topic, [outcome.message for outcome in passing])
        sent = [replace(each, sent=Sent(topic, *place)) for each, place in zip(passing, places, strict=True)]
        _mark(writer, topic, sent, at=clock(), by=by)
        acknowledged = iter(sent)
        yield from (next(acknowledged) if isinstance(outcome, Replay) else outcome for outcome in block)


def _mark(writer: Tables, topic: str, sent: Sequence[Replay], *, at: datetime, by: str) -> None:
    decisions = [Decision("replayed", at=at, by=by, sent=each.sent) for each in sent]
    try:
        writer.insert(TABLE, decision_rows(places_of([each.letter for each in sent]), decisions))
    except WarehouseError as error:
        raise SentNotMarked(letters=len(sent), topic=topic, reason=str(error)) from error


# --- deciding of many ------------------------------------------------------------------------------------------------


def decide(reader: Reader, writer: Tables, which: Which, decision: Decision) -> int:
    """Write the decision for all of these letters; returns how many."""
    count = 0
    for page in places(reader, which):
        count += writer.insert(TABLE, decision_rows(page, [decision] * page.height))
    return count
