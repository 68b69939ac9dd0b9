"""A refused record as a dead letter: its row in the warehouse, and its message for people and for a replay."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec
import polars as pl

from costream.topics import NAMES_HEADER
from stream.decode import arrival
from stream.decode.cut import Cut, Header, bytes_of, encoded
from stream.decode.frame import UTC_MILLISECONDS, Record, Refusal, is_credible
from stream.store.flush import Outgoing


def conflict(record: Record, request_id: str) -> Refusal:
    """The refusal of a record whose id is counted with other content."""
    reason = f"request_id: {request_id!r} was counted before with other content; the first one stays counted"
    return Refusal(record, "conflict", reason, request_id)


NEW: Final[Mapping[arrival.Place, int]] = MappingProxyType({})  # none of them was stored before


def dead_letter_rows(
    refusals: Sequence[Refusal], *, source: str, now: datetime, known: Mapping[arrival.Place, int] = NEW
) -> pl.DataFrame:
    """Rows of table dead_letters. Bytes are kept as they are: ClickHouse strings hold any.

    A row is kept for a time that counts from when its record came. Where the record's own time can be no such time,
    that is now, or ``known``, if it was stored before; the reason names what the record said.
    """
    records = [refusal.record for refusal in refusals]
    whole = [record.cut or _measured(record) for record in records]
    return pl.DataFrame(
        {
            "source": pl.Series([source] * len(records), dtype=pl.String),
            "source_partition": pl.Series([record.partition for record in records], dtype=pl.Int64),
            "source_offset": pl.Series([record.offset for record in records], dtype=pl.Int64),
            "received_at": _received_at(records, now, known),
            "kind": pl.Series([refusal.kind for refusal in refusals], dtype=pl.String),
            "reason": pl.Series([refusal.reason for refusal in refusals], dtype=pl.String),
            "request_id": pl.Series([refusal.request_id for refusal in refusals], dtype=pl.String),
            "key": pl.Series([record.key or b"" for record in records], dtype=pl.Binary),
            "value": pl.Series([record.value or b"" for record in records], dtype=pl.Binary),
            "headers": pl.Series([_headers_json(record) for record in records], dtype=pl.String),
            "value_bytes": pl.Series([cut.value_bytes for cut in whole], dtype=pl.Int64),
            "value_sha256": pl.Series([cut.value_sha256 for cut in whole], dtype=pl.String),
            "key_bytes": pl.Series([cut.key_bytes for cut in whole], dtype=pl.Int64),
            "key_sha256": pl.Series([cut.key_sha256 for cut in whole], dtype=pl.String),
            "headers_count": pl.Series([cut.headers_count for cut in whole], dtype=pl.Int64),
            "headers_bytes": pl.Series([cut.headers_bytes for cut in whole], dtype=pl.Int64),
            "headers_sha256": pl.Series([cut.headers_sha256 for cut in whole], dtype=pl.String),
        }
    )


def _measured(record: Record) -> Cut:
    """The lengths of a record that is whole."""
    return Cut(
        value_bytes=len(record.value or b""),
        key_bytes=len(record.key or b""),
        headers_count=len(record.headers),
        headers_bytes=len(encoded(record.headers)),
    )


def _received_at(records: Sequence[Record], now: datetime, known: Mapping[arrival.Place, int]) -> pl.Series:
    moment = round(now.timestamp() * 1000)
    times = [
        arrival.arrived(record, now=now, known=known)
        if record.own_time
        else record.timestamp
        if is_credible(record.timestamp)
        else moment
        for record in records
    ]
    return pl.Series(times, dtype=pl.Int64).cast(UTC_MILLISECONDS)


def arrivals(letters: pl.DataFrame) -> dict[arrival.Place, int]:
    rows = letters.select("source_partition", "source_offset", "received_at").iter_rows()
    return {(partition, offset): received_at for partition, offset, received_at in rows}


def dead_letter_message(refusal: Refusal, *, source: str) -> Outgoing:
    """The record as it came, or as much of it as was kept, with what was wrong and where it stood."""
    record = refusal.record
    told = {
        "costream-kind": refusal.kind,
        "costream-reason": refusal.reason,
        "costream-source": source,
        "costream-partition": str(record.partition),
        "costream-offset": str(record.offset),
    }
    if record.cut is not None:
        told |= {
            f"costream-{name.replace('_', '-')}": str(size)
            for name, size in msgspec.structs.asdict(record.cut).items()
            if size != ""
        }
    return Outgoing(
        record.key, record.value, [*sendable(record.headers), *((name, text.encode()) for name, text in told.items())]
    )


def sendable(headers: Iterable[Header]) -> list[tuple[str, str | bytes | None]]:
    """Headers as librdkafka takes them: their names are text without a NUL. A name that is not is written with
    backslashes, and what it was stands in a header of its own, as base64 by the name that took its place."""
    named = [(_told_name(name), name, value) for name, value in headers]
    renamed = {told: base64.b64encode(bytes_of(name)).decode() for told, name, _ in named if told != name}
    sent: list[tuple[str, str | bytes | None]] = [(told, value) for told, _, value in named]
    return [*sent, (NAMES_HEADER, json.dumps(renamed).encode())] if renamed else sent


# A head of the value, of the key and of the headers, whose names may take nine times as much: four to be readable, five
# in the header that says what they were. Then the reason, and the lengths.
LETTER_BYTES_MAX: Final = 327_680


def _told_name(name: str) -> str:
    return bytes_of(name).decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _headers_json(record: Record) -> str:
    return json.dumps(
        [[name, None if value is None else base64.b64encode(value).decode()] for name, value in record.headers]
    )
