"""A flood of dead letters: each keeps its place, and the first of a minute their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import uuid4

import pytest

from stream.audit import audit
from stream.decode.cut import Cut, encoded
from stream.decode.frame import Refusal
from stream.store import flood
from stream.store.deadletter import Refused, plan
from stream.store.flood import NOTE, Flood
from stream.store.letters import dead_letter_message
from stream.store.stored_letters import Which, latest
from tests.support.ingest import Warehouse, ingest_of, run
from tests.support.records import LIMITS, NOW, FakeRecord, log_of, wire

MINUTE_MS = 60_000


def refused(offset: int, *, partition: int = 0, at: int = 0, value: bytes = b"junk") -> Refusal:
    return Refusal(FakeRecord(value, partition, offset, timestamp=at), "malformed", "no JSON")


def whole(refusals: list[Refusal]) -> list[int]:
    return [refusal.record.offset for refusal in refusals if refusal.record.value is not None]


@pytest.fixture(autouse=True)
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "LETTERS_KEPT_MAX", 3)


def test_the_first_of_each_minute_and_partition_are_kept_whole() -> None:
    letters = [refused(n) for n in range(4)] + [refused(n, partition=1) for n in range(4)]
    letters += [refused(n, at=MINUTE_MS) for n in range(4, 8)]
    kept, cut = Flood().held_back(letters)
    assert whole(kept) == [0, 1, 2, 0, 1, 2, 4, 5, 6]
    assert (cut, len(kept)) == (3, 12)


def test_a_minute_that_is_over_does_not_come_again() -> None:
    letters = [refused(n, at=at) for n, at in enumerate((MINUTE_MS, 0, 0, 0, MINUTE_MS - 1))]
    assert whole(Flood().held_back(letters)[0]) == [0, 1, 2]


def test_the_bytes_of_a_minute_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "LETTER_BYTES_KEPT_MAX", 1_000)
    letters = [refused(0, value=b"x" * 600), refused(1, value=b"x" * 400), refused(2, value=b"x")]
    assert whole(Flood().held_back(letters)[0]) == [0, 1]


def test_the_bytes_of_a_letter_are_those_of_its_key_value_and_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "LETTER_BYTES_KEPT_MAX", 10)
    record = FakeRecord(b"1234", 0, 0, key=b"567", headers=[("8", b"9"), ("0", None)])
    at_the_bound = Refusal(record, "malformed", "no JSON")
    assert whole(Flood().held_back([at_the_bound])[0]) == [0]
    beyond = replace(at_the_bound, record=replace(record, key=b"5678"))
    assert whole(Flood().held_back([beyond])[0]) == []
    empty = replace(at_the_bound, record=FakeRecord(None, 0, 0))
    assert Flood().held_back([empty]) == ([empty], 0)


def test_a_minute_is_sixty_seconds_of_the_broker_s() -> None:
    times = (MINUTE_MS - 1, MINUTE_MS - 1, MINUTE_MS - 1, MINUTE_MS, 2 * MINUTE_MS - 1, 2 * MINUTE_MS - 1)
    letters = [refused(n, at=at) for n, at in enumerate((*times, 2 * MINUTE_MS - 1))]
    assert whole(Flood().held_back(letters)[0]) == [0, 1, 2, 3, 4, 5]


def test_letters_are_counted_in_the_order_of_the_log_and_told_in_their_own() -> None:
    letters = [refused(n) for n in (3, 0, 2, 1)]
    kept, cut = Flood().held_back(letters)
    assert ([letter.record.offset for letter in kept], whole(kept), cut) == ([3, 0, 2, 1], [0, 2, 1], 1)


def one_of_a_flood(record: FakeRecord, reason: str = "no JSON") -> Refusal:
    letters = [Refusal(replace(record, offset=record.offset + n), "malformed", reason) for n in range(4)]
    return Flood().held_back(letters)[0][3]


def test_a_letter_without_its_bytes_has_its_place_and_the_measures_of_each_part() -> None:
    record = FakeRecord(b"value", 2, 7, timestamp=55, key=b"k", headers=[("h", b"v"), ("n", None)], fault="torn")
    letter = one_of_a_flood(record)
    kept = letter.record
    assert (kept.partition, kept.offset, kept.timestamp, kept.fault) == (2, 10, 55, "torn")
    assert (kept.key, kept.value, list(kept.headers)) == (None, None, [])
    wire_of_headers = encoded(record.headers)
    assert kept.cut == Cut(
        *(5, hashlib.sha256(b"value").hexdigest()),
        *(1, hashlib.sha256(b"k").hexdigest()),
        *(2, len(wire_of_headers), hashlib.sha256(wire_of_headers).hexdigest()),
    )
    assert (letter.kind, letter.reason) == ("malformed", "no JSON" + NOTE)


def test_of_what_was_not_there_no_digest_is_told() -> None:
    assert one_of_a_flood(FakeRecord(None)).record.cut == Cut()


def test_what_was_cut_before_keeps_the_measures_of_the_whole() -> None:
    given = Cut(9_000, "V", 8_000, "K", 70, 7_000, "H")
    assert one_of_a_flood(FakeRecord(b"v", key=b"k", headers=[("h", b"v")], cut=given)).record.cut == given


def test_a_long_reason_of_a_flood_is_cut() -> None:
    assert one_of_a_flood(FakeRecord(b"v"), "x" * 240).reason == "x" * 240 + NOTE
    assert one_of_a_flood(FakeRecord(b"v"), "x" * 240 + "y").reason == "x" * 240 + NOTE


def test_what_is_not_kept_is_told_by_length_and_digest_and_the_audit_counts_it(warehouse: Warehouse) -> None:
    source = f"test-{uuid4()}"
    record = FakeRecord(b"\x00" * 5_000, 0, 9, key=b"k", headers=[("h", b"v")])
    log = [*log_of([wire(f"{source}-a"), *[b"junk"] * 8]), record]
    (flush,) = run(warehouse, ingest_of(warehouse, source), log)
    assert (len(flush.refusals), flush.letters_cut) == (9, 6)
    rows = {row["source_offset"]: row for row in warehouse.rows("dead_letters", source)}
    assert [len(row["value"]) for _, row in sorted(rows.items())] == [4, 4, 4, 0, 0, 0, 0, 0, 0]
    last = rows[9]
    assert (last["value_bytes"], last["key_bytes"], last["headers_count"]) == (5_000, 1, 1)
    assert last["value_sha256"] == hashlib.sha256(b"\x00" * 5_000).hexdigest()
    assert last["reason"].endswith(NOTE)
    message = dead_letter_message(flush.refusals[-1], source=source)
    told = dict(message.headers)
    assert (message.key, message.value, told["costream-value-bytes"]) == (None, None, b"5000")
    report = audit(warehouse.reader, clock=lambda: NOW, pause=lambda: None)
    mine = [total for total in report.partitions if total.source == source]
    assert [(total.received, total.stored, total.dead_lettered) for total in mine] == [(10, 1, 9)]
    assert [f for f in report.check("dead letters").findings if f.where["source"] == source] == []
    (letter,) = [each for each in latest(warehouse.reader, Which(), limit=1_000) if each.place == f"{source}/0/9"]
    assert isinstance(plan(letter, now=NOW, limits=LIMITS), Refused)


def test_a_flood_delivered_again_is_judged_as_before(warehouse: Warehouse) -> None:
    source = f"test-{uuid4()}"
    log = log_of([b"junk"] * 8)
    run(warehouse, ingest_of(warehouse, source), log, batch=5)
    before = warehouse.rows("dead_letters", source)
    run(warehouse, ingest_of(warehouse, source), log, batch=3)
    assert warehouse.rows("dead_letters", source) == before


def test_a_letter_of_no_flood_is_left_alone() -> None:
    letters = [refused(n) for n in range(3)]
    assert Flood().held_back(letters) == (letters, 0)
